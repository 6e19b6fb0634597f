"""A proxy and plain servers on loopback, each on a thread, for clients that block."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from localazure.gateway.ca import CertificateAuthority
from localazure.gateway.outer import OuterProxy
from localazure.gateway.proxy import Proxy, Upstream
from localazure.runtime import listen

SECONDS = 20


@dataclass(frozen=True)
class RunningProxy:
    """A proxy's port, and what its clients need."""

    port: int
    proxy: Proxy
    bundle: Path

    def connect(self) -> socket.socket:
        """A connection to the proxy itself."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)

    def ask(self, request: bytes) -> str:
        """All that the proxy answers to a request that it does not grant."""
        with self.connect() as connection:
            connection.sendall(request)
            return read_all(connection).decode()

    def tunnel(self, host: str, port: int = 443) -> socket.socket:
        """A tunnel that the proxy has granted."""
        connection = self.connect()
        connection.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)
            assert byte, f"the proxy hung up after {answer!r}"
            answer += byte
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        return connection

    def secure_tunnel(self, host: str, port: int = 443) -> ssl.SSLSocket:
        """A tunnel with TLS in it, checked against the home's authority."""
        client = ssl.create_default_context(cafile=str(self.bundle))
        return client.wrap_socket(self.tunnel(host, port), server_hostname=host)


@contextlib.contextmanager
def running_proxy(
    authority: CertificateAuthority, upstream: Callable[[str, int], Upstream], outer: OuterProxy | None = None
) -> Iterator[RunningProxy]:
    """A proxy on an event loop of its own."""
    proxy = Proxy(authority, upstream, outer=outer)
    listener = listen(0)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(proxy.start(listener), loop).result(SECONDS)
        yield RunningProxy(listener.getsockname()[1], proxy, authority.certificate)
    finally:
        asyncio.run_coroutine_threadsafe(_stop(proxy), loop).result(SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SECONDS)
        loop.close()


async def _stop(proxy: Proxy) -> None:
    await proxy.stop()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_default_executor()


@contextlib.contextmanager
def server(talk: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that talks to each client in a thread; yields its port."""
    listener = listen(0)
    threads: list[threading.Thread] = []

    def converse(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(SECONDS)
            talk(tls.wrap_socket(connection, server_side=True) if tls else connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threads.append(threading.Thread(target=converse, args=(listener.accept()[0],)))
                threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        # Closing alone does not wake a thread in accept().
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in [acceptor, *threads]:
            thread.join(SECONDS)


def read_all(connection: socket.socket) -> bytes:
    """Everything until the other side is done."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def echo(connection: socket.socket) -> None:
    """Answer with what came."""
    while part := connection.recv(65536):
        connection.sendall(part)
