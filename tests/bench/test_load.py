"""The instrument: what the load counts as lost, against servers that lose requests in every way there is."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.load import Load, Rates, Request, Target, capacity

BODY = '{"data": 1}'
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nazureml-model-deployment: blue-1\r\n\r\n{}"
Answers = Callable[[int, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]


async def read(reader: asyncio.StreamReader) -> None:
    """One request."""
    await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(len(BODY))


@contextmanager
def serving(answers: Answers) -> Iterator[str]:
    """A server; `answers` deals with the n-th request of a connection, and says whether the connection stays."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        count = 0
        try:
            while await answers(count, reader, writer):
                count += 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    async def serve(started: Future[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
        server, ended = await asyncio.start_server(converse, "127.0.0.1", 0), asyncio.Event()
        started.set_result((server.sockets[0].getsockname()[1], asyncio.get_running_loop(), ended))
        await ended.wait()
        server.close()

    started: Future[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(serve(started)))
    thread.start()
    port, loop, ended = started.result(timeout=10)
    try:
        yield f"http://127.0.0.1:{port}/score"
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(timeout=10)


def asked(uri: str, folder: Path, count: int = 40) -> list[Request]:
    """The requests of a short load."""
    with Load(Target(uri, BODY), folder, Rates(100, 100), connections=4) as load:
        load.wait_for(count)
    return load.requests()


async def always(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    await read(reader)
    writer.write(OK)
    return True


async def twice(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answers twice, and closes without having said so."""
    await always(number, reader, writer)
    return number == 0


async def busy(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    await read(reader)
    writer.write(b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 4\r\n\r\nbusy")
    return True


async def silent(_: int, reader: asyncio.StreamReader, __: asyncio.StreamWriter) -> bool:
    await read(reader)
    return False


async def half(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    await read(reader)
    writer.write(OK[:-1])
    return False


def test_what_is_answered_is_counted_with_who_answered(tmp_path: Path) -> None:
    with serving(always) as uri:
        requests = asked(uri, tmp_path)
    assert not [each for each in requests if each.lost]
    assert {each.deployment for each in requests} == {"blue-1"}
    assert {each.kept for each in requests} == {True, False}, "both sorts of connection are used"
    assert all(0 < each.began <= each.sent <= each.ended for each in requests)


def test_a_kept_connection_that_is_closed_between_requests_loses_none(tmp_path: Path) -> None:
    with serving(twice) as uri:
        requests = asked(uri, tmp_path)
    assert not [each for each in requests if each.lost]


@pytest.mark.parametrize(
    ("answers", "status", "said"),
    [(busy, 429, "busy"), (silent, 0, "closed after 0 bytes"), (half, 0, "closed after 1 bytes")],
)
def test_anything_but_a_whole_200_is_lost(tmp_path: Path, answers: Answers, status: int, said: str) -> None:
    with serving(answers) as uri:
        requests = asked(uri, tmp_path)
    assert all(each.lost for each in requests)
    assert Counter(each.status for each in requests) == {status: len(requests)}
    assert all(said in each.error for each in requests)


def test_a_request_without_a_connection_is_lost(tmp_path: Path) -> None:
    with serving(always) as uri:
        pass
    requests = asked(uri, tmp_path)
    assert all(each.lost and not each.sent for each in requests)


def test_no_capacity_is_measured_where_requests_are_lost(tmp_path: Path) -> None:
    with serving(busy) as uri, pytest.raises(RuntimeError, match="lost, the first to: busy"):
        capacity(Target(uri, BODY), tmp_path, seconds=0.2, connections=2)
    with serving(always) as uri:
        rates = capacity(Target(uri, BODY), tmp_path, seconds=0.2, connections=2)
    assert rates.kept > 0
    assert rates.new > 0
