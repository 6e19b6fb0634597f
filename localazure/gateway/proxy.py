"""The CONNECT proxy: serves Azure's host names from loopback, refuses other Azure hosts, tunnels the rest untouched.

It sits between clients and the scoring servers, so it works on transports, not streams: one copy a direction, and a
side that cannot keep up stops the other from being read.
"""

import asyncio
import contextlib
import logging
import re
import socket
import ssl
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

from localazure.gateway import hosts
from localazure.gateway.ca import CertificateAuthority
from localazure.gateway.outer import OuterProxy

log = logging.getLogger(__name__)

HEAD_BYTES = 16 * 1024
HEAD_SECONDS = 15.0
CONNECT_SECONDS = 30.0
HANDSHAKE_SECONDS = 15.0
BUFFER_BYTES = 256 * 1024
DECIDERS = 32
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@dataclass(frozen=True)
class Serve:
    """End TLS here, as the host that was asked for, and pipe to plain HTTP on a loopback port."""

    port: int


@dataclass(frozen=True)
class Forward:
    """Pipe the bytes as they are to a loopback port that ends TLS itself."""

    port: int


@dataclass(frozen=True)
class Pass:
    """Tunnel to the real host."""


@dataclass(frozen=True)
class Refuse:
    """Answer 403; the reason says what and why, for most clients show nothing else."""

    reason: str


Upstream = Serve | Forward | Pass | Refuse


class Refused(Exception):
    """An answer other than a tunnel."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class _Pump(asyncio.Protocol):
    """One side of a tunnel: what arrives goes to the other side."""

    transport: asyncio.Transport

    def __init__(self, live: set[asyncio.Transport]) -> None:
        self._live = live
        self._peer: _Pump | None = None
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Nothing is lost of a server that speaks first: it is read when the other side is there.
        self.adopt(cast(asyncio.Transport, transport))
        self.transport.pause_reading()

    def adopt(self, transport: asyncio.Transport) -> None:
        """Take over a transport that was made by somebody else."""
        self.transport = transport
        transport.set_write_buffer_limits(high=BUFFER_BYTES)
        self._live.add(transport)

    def send_to(self, peer: "_Pump") -> None:
        """Name the other side; until then nothing may arrive."""
        self._peer = peer

    def data_received(self, data: bytes) -> None:
        if self._peer:
            self._peer.transport.write(data)

    def pause_writing(self) -> None:
        if self._peer and not self._peer.transport.is_closing():
            self._peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._peer and not self._peer.transport.is_closing():
            self._peer.transport.resume_reading()

    def eof_received(self) -> bool:
        self._ended = True
        if self._peer is None:
            return False
        if not self._peer.transport.can_write_eof():
            # TLS has no half: what is still buffered is sent, then both sides close.
            self._peer.transport.close()
            return False
        self._peer.transport.write_eof()
        # Kept open for the answer, unless that has come, or the protocol cannot be half open.
        return not self._peer._ended and self.transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self._live.discard(self.transport)
        if self._peer:
            self._peer.transport.close()


class _Head(asyncio.Protocol):
    """Collects one message's head; what follows it is kept for whoever comes next."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._done: asyncio.Future[tuple[bytes, bytes]] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, rest = bytes(self._received).partition(b"\r\n\r\n")
        if self._done.done():
            return
        if end:
            self._done.set_result((head, rest))
        elif len(self._received) > HEAD_BYTES:
            self._done.set_exception(Refused(431, f"The request's head is larger than {HEAD_BYTES} bytes"))

    def eof_received(self) -> None:
        self._give_up()

    def connection_lost(self, exc: Exception | None) -> None:
        self._give_up()

    def _give_up(self) -> None:
        if not self._done.done():
            self._done.set_exception(ConnectionError("the connection was closed before a whole request came"))

    async def read(self, seconds: float) -> tuple[bytes, bytes]:
        """The head and the first bytes after it."""
        return await asyncio.wait_for(self._done, seconds)


class _Client(_Head):
    """A connection to the proxy, until its request is understood."""

    def __init__(self, serve: Callable[[asyncio.Transport, "_Client"], Awaitable[None]]) -> None:
        super().__init__()
        self._serve = serve
        self._task: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._task = asyncio.ensure_future(self._serve(cast(asyncio.Transport, transport), self))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        # Gone before it was connected: do not go on connecting.
        if self._task:
            self._task.cancel()


class Proxy:
    """A CONNECT proxy on a loopback socket. `upstream` decides for each connection, in a thread: it may block."""

    def __init__(
        self,
        authority: CertificateAuthority,
        upstream: Callable[[str, int], Upstream],
        *,
        outer: OuterProxy | None = None,
    ) -> None:
        self._authority = authority
        self._upstream = upstream
        self._outer = outer or OuterProxy()
        self._live: set[asyncio.Transport] = set()
        self._server: asyncio.Server | None = None
        # Their own, and many: those that wait for a storage account to start must not hold up the others.
        self._deciders = ThreadPoolExecutor(DECIDERS, thread_name_prefix="upstream")

    @property
    def connections(self) -> int:
        """Sockets and TLS layers in use by tunnels: 0 when nobody is connected."""
        return len(self._live)

    async def start(self, listener: socket.socket) -> None:
        """Accept connections on a bound socket."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Client(self._converse), sock=listener, backlog=1024)

    async def stop(self) -> None:
        """Close the listener and every tunnel."""
        if self._server:
            self._server.close()
        self._deciders.shutdown(wait=False, cancel_futures=True)
        for transport in list(self._live):
            transport.abort()
        await asyncio.sleep(0)

    async def _converse(self, client: asyncio.Transport, head: _Client) -> None:
        try:
            request, rest = await head.read(HEAD_SECONDS)
            host, port = _target(request)
            client.pause_reading()
            await self._tunnel(client, host, port, rest)
        except Refused as refused:
            log.warning("refused: %s", refused.reason)
            _answer(client, refused)
        except (OSError, TimeoutError):
            # A client that closes, or does not trust the certificate, is not worth a traceback.
            client.abort()
        except BaseException:
            client.abort()
            raise

    async def _tunnel(self, client: asyncio.Transport, host: str, port: int, rest: bytes) -> None:
        choice = await asyncio.get_running_loop().run_in_executor(self._deciders, self._upstream, host, port)
        if isinstance(choice, Refuse):
            raise Refused(403, choice.reason)
        server = await self._connect(choice, host, port)
        try:
            await self._join(client, server, rest, host if isinstance(choice, Serve) else None)
        except BaseException:
            server.transport.abort()
            raise

    async def _connect(self, choice: Serve | Forward | Pass, host: str, port: int) -> _Pump:
        if isinstance(choice, Pass):
            if self._outer.applies_to(host) and not hosts.is_loopback(host):
                return await self._connect_outer(host, port)
            return await self._open(host, port, f"{host}:{port} cannot be reached")
        return await self._open("127.0.0.1", choice.port, f"Local Azure's server for {host} does not answer")

    async def _open(self, host: str, port: int, failure: str, tls: ssl.SSLContext | None = None) -> _Pump:
        loop = asyncio.get_running_loop()
        opening = loop.create_connection(lambda: _Pump(self._live), host, port, ssl=tls)
        try:
            _, pump = await asyncio.wait_for(opening, CONNECT_SECONDS)
        except (OSError, TimeoutError) as error:
            raise Refused(502, f"{failure}: {str(error) or type(error).__name__}") from None
        # A name may resolve to the address of the metadata service.
        if hosts.is_metadata_address(pump.transport.get_extra_info("peername")[0]):
            pump.transport.abort()
            raise Refused(403, f"Local Azure refuses {host}: it resolves to the metadata service of a cloud machine")
        _keep_alive(pump.transport)
        return pump

    async def _connect_outer(self, host: str, port: int) -> _Pump:
        outer, port_of_outer = self._outer.address
        if not self._outer.supported:
            raise Refused(502, f"the proxy in force, {outer}:{port_of_outer}, speaks neither http nor https")
        tls = ssl.create_default_context() if self._outer.secure else None
        pump = await self._open(outer, port_of_outer, f"the proxy in force, {outer}:{port_of_outer}, fails", tls)
        try:
            await _ask_outer(pump, self._outer.connect_request(host, port), f"{host}:{port}")
        except BaseException:
            pump.transport.abort()
            raise
        return pump

    async def _join(self, client: asyncio.Transport, server: _Pump, rest: bytes, terminate: str | None) -> None:
        _keep_alive(client)
        front = _Pump(self._live)
        front.send_to(server)
        client.write(ESTABLISHED)
        if terminate:
            client = await self._terminate(client, front, terminate)
        else:
            client.set_protocol(front)
            if rest:
                server.transport.write(rest)
        front.adopt(client)
        server.send_to(front)
        if server.transport.is_closing():
            # It hung up during the handshake, when it had no peer to tell.
            client.close()
            return
        server.transport.resume_reading()
        client.resume_reading()

    async def _terminate(self, client: asyncio.Transport, front: _Pump, host: str) -> asyncio.Transport:
        loop = asyncio.get_running_loop()
        context = self._authority.server_context(host)
        # The old protocol must not take the handshake's failure for a client that went away.
        client.set_protocol(front)
        front.transport = client
        secure = await loop.start_tls(client, front, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS)
        if secure is None or secure.is_closing():
            raise ConnectionError("the client went away during the handshake")
        return secure


async def _ask_outer(pump: _Pump, request: bytes, target: str) -> None:
    head = _Head()
    pump.transport.set_protocol(head)
    pump.transport.write(request)
    pump.transport.resume_reading()
    try:
        answer, rest = await head.read(CONNECT_SECONDS)
    except (OSError, TimeoutError):
        raise Refused(502, f"the proxy in force gave no answer about {target}") from None
    status = answer.split(b"\r\n", 1)[0].decode("latin-1")
    if not re.match(r"HTTP/1\.[01] 2\d\d", status) or rest:
        raise Refused(502, f"the proxy in force does not connect to {target}: {status[:120]}")
    pump.transport.pause_reading()
    pump.transport.set_protocol(pump)


def _target(request: bytes) -> tuple[str, int]:
    line = request.split(b"\r\n", 1)[0].decode("latin-1")
    method, _, rest = line.partition(" ")
    place = rest.split(" ", 1)[0]
    if method != "CONNECT":
        raise _not_tunnelled(place)
    host, _, port = place.rpartition(":")
    host = hosts.fold(host)
    if not (hosts.is_host(host) and port.isdecimal() and 0 < int(port) < 65536):
        raise Refused(400, "a CONNECT request names host:port")
    return host, int(port)


def _not_tunnelled(place: str) -> Refused:
    host = hosts.fold(re.sub(r"^[a-z]+://", "", place.lower()).split("/", 1)[0].rsplit(":", 1)[0])
    if hosts.is_metadata_address(host) or hosts.azure_service(host):
        return Refused(
            403, f"Local Azure refuses {host}: neither Azure nor a metadata service is reached by plain http"
        )
    return Refused(501, "Local Azure's proxy tunnels https (CONNECT) and forwards no plain http: unset http_proxy")


def _answer(client: asyncio.Transport, refused: Refused) -> None:
    # Python's clients show the reason phrase and curl the body: both carry the text.
    text = refused.reason.encode("ascii", "replace").decode()
    phrase = re.sub(r"[^ -~]", " ", text)[:300]
    lines = [
        f"HTTP/1.1 {refused.status} {phrase}",
        "Content-Type: text/plain",
        f"Content-Length: {len(text) + 1}",
        "Connection: close",
    ]
    client.write("\r\n".join([*lines, "", f"{text}\n"]).encode())
    client.close()


def _keep_alive(transport: asyncio.Transport) -> None:
    # A tunnel may rightly be silent for minutes; only the kernel's probes tell it from one whose other end is dead.
    connection = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
