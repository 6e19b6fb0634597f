"""Steady load on a scoring URI, as its callers see it: every request with its instants, its answer and who gave it.

`python -m bench.load TARGET RESULTS` runs in a process of its own until its standard input ends, so that whoever
started it takes nothing of its time, and it does not outlive them. Half of its connections are kept alive; the others
are made for one request each, with CONNECT and TLS where the target is behind a proxy.

A request is lost when its answer is anything but 200, when its connection cannot be made, or breaks before the whole
answer is there. A kept connection that the server closes between two requests is made again, and that is no loss; one
that it closes after the first byte of a request was written is a loss.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import ssl
import subprocess
import sys
import time
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO
from urllib.parse import urlsplit

import httptools

ROOT = Path(__file__).resolve().parent.parent
CONNECTIONS = 16
# Longer than any request timeout that a bench configures: what has no answer by then has none.
PATIENCE = 90.0
FLUSH_SECONDS = 0.1
CHUNK = 64 * 1024
DEPLOYMENT = b"azureml-model-deployment"


@dataclass(frozen=True)
class Target:
    """Where to send what: straight to `uri`, or through the CONNECT proxy, trusting `bundle`."""

    uri: str
    body: str
    key: str = ""
    deployment: str = ""
    proxy: str = ""
    bundle: str = ""

    @classmethod
    def through(cls, variables: str, uri: str, key: str, body: str) -> Target:
        """The way that `python -m localazure env` shows a client; `variables` is what that printed."""
        proxy, bundle = (
            re.findall(rf"^export {name}='?([^'\n]+)", variables, re.MULTILINE)[0]
            for name in ("HTTPS_PROXY", "SSL_CERT_FILE")
        )
        return cls(uri, body, key, proxy=proxy, bundle=bundle)

    def request(self, keep: bool) -> bytes:
        """The bytes of one request."""
        place, body = urlsplit(self.uri), self.body.encode()
        headers = {
            "Host": place.netloc,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "keep-alive" if keep else "close",
            "Authorization": self.key and f"Bearer {self.key}",
            DEPLOYMENT.decode(): self.deployment,
        }
        lines = [f"{name}: {value}" for name, value in headers.items() if value]
        return "\r\n".join([f"POST {place.path or '/'} HTTP/1.1", *lines, "", ""]).encode() + body


@dataclass(frozen=True)
class Rates:
    """Requests/s on the connections that are kept, and on those that are made for one request; 0: as many as go."""

    kept: float = 0.0
    new: float = 0.0

    @property
    def total(self) -> float:
        """Of both together."""
        return self.kept + self.new

    def times(self, factor: float) -> Rates:
        """A part of them, or a multiple."""
        return Rates(self.kept * factor, self.new * factor)


@dataclass(frozen=True)
class Request:
    """One request. Instants are of the monotonic clock, which is one for all processes of a machine.

    Attributes:
        began: before the connection was looked for or made.
        sent: before the first byte of the request was written; 0 where it never was.
        ended: when the whole answer was there, or the connection broken.
        kept: whether it was meant for a connection that is kept.
        status: of the answer; 0 where there was none.
        deployment: who answered, as the answer's header says.
        digest: of the answer's body.
        error: what an answer other than 200 said, or how the connection broke.
    """

    began: float
    sent: float
    ended: float
    kept: bool
    status: int
    deployment: str
    digest: int
    error: str

    @property
    def lost(self) -> bool:
        """Whether the caller did not get what it asked for."""
        return self.status != 200


# In a process of its own ----------------------------------------------------------------------------------------------


class _Answer:
    """Collects one answer; httptools calls the methods."""

    def __init__(self) -> None:
        self.complete = False
        self.last = False
        self.deployment = ""
        self.body = bytearray()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == DEPLOYMENT:
            self.deployment = value.decode("latin-1")
        elif name.lower() == b"connection":
            self.last = value.lower() == b"close"

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


class _Connection:
    """A connection to the target, made when it is needed."""

    def __init__(self, target: Target, context: ssl.SSLContext | None) -> None:
        self._target = target
        self._context = context
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ready(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The streams; new ones where there are none, or the server has closed them since the last request."""
        if self._streams and (self._streams[0].at_eof() or self._streams[1].is_closing()):
            self.close()
        if self._streams is None:
            self._streams = await self._open()
        return self._streams

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        uri, proxy = urlsplit(self._target.uri), urlsplit(self._target.proxy)
        near = proxy if self._target.proxy else uri
        reader, writer = await asyncio.open_connection(near.hostname, near.port or 443)
        try:
            if self._target.proxy:
                place = f"{uri.hostname}:{uri.port or 443}"
                writer.write(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
                if not head.startswith(b"HTTP/1.1 200 "):
                    raise ConnectionError(head.partition(b"\r\n")[0].decode("latin-1"))
            if self._context:
                await writer.start_tls(self._context, server_hostname=uri.hostname)
        except BaseException:
            writer.transport.abort()
            raise
        return reader, writer

    async def answer(self, request: bytes) -> tuple[int, _Answer]:
        """Sends a request and reads the whole answer."""
        reader, writer = await self.ready()
        writer.write(request)
        answer = _Answer()
        parser = httptools.HttpResponseParser(answer)
        while not answer.complete:
            data = await reader.read(CHUNK)
            if not data:
                raise ConnectionError(f"closed after {len(answer.body)} bytes of the answer's body")
            parser.feed_data(data)
        if answer.last:
            self.close()
        return parser.get_status_code(), answer

    def close(self) -> None:
        """Lets go of the connection."""
        if self._streams:
            self._streams[1].transport.abort()
        self._streams = None


class _Caller:
    """One of the connections: asks again and again, at its own instants."""

    def __init__(self, target: Target, context: ssl.SSLContext | None, keep: bool, record: list[Request]) -> None:
        self._connection = _Connection(target, context)
        self._keep = keep
        self._request = target.request(keep)
        self._record = record

    async def call(self, first: float, interval: float, ended: asyncio.Event) -> None:
        """Calls at `first` and then every `interval` seconds, or as soon as the answer to the last one is there."""
        due = first
        while not ended.is_set():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self._record.append(await self._ask())
            # What is late is not caught up with: load that waited would come as a burst, and be no steady load.
            due = max(due + interval, time.monotonic())

    async def _ask(self) -> Request:
        began = time.monotonic()
        sent, status, deployment, digest, error = 0.0, 0, "", 0, ""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._connection.ready()
                sent = time.monotonic()
                status, answer = await self._connection.answer(self._request)
            deployment, digest = answer.deployment, zlib.crc32(answer.body)
            error = "" if status == 200 else answer.body.decode(errors="replace")[:300]
        except (OSError, EOFError, TimeoutError, httptools.HttpParserError) as broken:
            error = f"{type(broken).__name__}: {broken}"
            self._connection.close()
        ended = time.monotonic()
        if not self._keep:
            self._connection.close()
        return Request(began, sent, ended, self._keep, status, deployment, digest, error)


async def _run(target: Target, results: IO[str], rates: Rates, connections: int) -> None:
    ended = asyncio.Event()
    context = ssl.create_default_context(cafile=target.bundle) if target.bundle else None
    record: list[Request] = []
    tasks = []
    for keep, rate in ((True, rates.kept), (False, rates.new)):
        count = connections // 2
        interval, now = count / rate if rate else 0.0, time.monotonic()
        for number in range(count):
            caller = _Caller(target, context, keep, record)
            # Spread over the interval, so that the load is steady and not a beat.
            tasks.append(asyncio.create_task(caller.call(now + interval * number / count, interval, ended)))
    end = asyncio.create_task(asyncio.to_thread(sys.stdin.buffer.read))
    while not end.done():
        await asyncio.wait([end], timeout=FLUSH_SECONDS)
        _flush(record, results)
    ended.set()
    await asyncio.gather(*tasks)
    _flush(record, results)


def _flush(record: list[Request], results: IO[str]) -> None:
    lines = [json.dumps(list(asdict(request).values())) + "\n" for request in record]
    record.clear()
    results.writelines(lines)
    results.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path, help="a file with the target, as JSON")
    parser.add_argument("results", type=Path, help="gets one line for each request")
    every = "requests/s of all %s connections; 0: as many as go"
    parser.add_argument("--kept", type=float, default=0.0, help=every % "kept")
    parser.add_argument("--new", type=float, default=0.0, help=every % "new")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="half of them kept")
    options = parser.parse_args()
    target = Target(**json.loads(options.target.read_text()))
    with options.results.open("w") as results:
        asyncio.run(_run(target, results, Rates(options.kept, options.new), options.connections))
    return 0


# For those who start it -----------------------------------------------------------------------------------------------


class Load:
    """Load on a target for as long as the context lasts."""

    def __init__(
        self, target: Target, folder: Path, rates: Rates | None = None, *, connections: int = CONNECTIONS
    ) -> None:
        rates = rates or Rates()
        folder.mkdir(parents=True, exist_ok=True)
        self._results = folder / f"requests-{time.monotonic_ns()}.jsonl"
        self._target = folder / "target.json"
        self._target.touch(mode=0o600)
        self._target.write_text(json.dumps(asdict(target)))
        self._arguments = ["--kept", str(rates.kept), "--new", str(rates.new), "--connections", str(connections)]
        self._process: subprocess.Popen[bytes] | None = None
        self._seen: list[Request] = []
        self._read = 0

    def __enter__(self) -> Load:
        argv = [sys.executable, "-m", "bench.load", str(self._target), str(self._results), *self._arguments]
        self._process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if self._process and self._process.stdin:
            self._process.stdin.close()
            self._process.wait()

    def requests(self) -> list[Request]:
        """All that have ended so far."""
        with contextlib.suppress(FileNotFoundError), self._results.open() as file:
            file.seek(self._read)
            while (line := file.readline()).endswith("\n"):
                self._read = file.tell()
                self._seen.append(Request(*json.loads(line)))
        return self._seen

    def wait_for(self, count: int, since: float = 0.0) -> list[Request]:
        """Returns the requests begun since an instant, once `count` of them have ended.

        Raises:
            RuntimeError: the process has ended.
        """
        while len(found := [each for each in self.requests() if each.began >= since]) < count:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError("the load has ended")
            time.sleep(FLUSH_SECONDS)
        return found


def capacity(target: Target, folder: Path, *, seconds: float = 3.0, connections: int = CONNECTIONS) -> Rates:
    """How many requests a second the target answers when every connection asks as fast as it can.

    Raises:
        RuntimeError: some were lost already, so nothing was measured.
    """
    with Load(target, folder, connections=connections) as load:
        began = load.wait_for(2 * connections)[-1].ended
        time.sleep(seconds)
        ended = time.monotonic()
    requests = load.requests()
    if lost := [each for each in requests if each.lost]:
        raise RuntimeError(f"{len(lost)} of {len(requests)} requests were lost, the first to: {lost[0].error}")
    kept = [each.kept for each in requests if began <= each.ended <= ended]
    return Rates(kept.count(True), kept.count(False)).times(1 / (ended - began))


if __name__ == "__main__":
    sys.exit(main())
