"""A fast stand-in for an instance, in a process of its own: `python upstream.py NAME KEEP_SECONDS` prints its port.

It answers with its name and the size of what it was sent, and then as many further bytes as the header x-more says; the
header x-pause has it wait that long before it reads a body. It says that it closes each connection, as the inference
server does, or keeps one for KEEP_SECONDS after its last answer.
"""

import asyncio
import json
import re
import sys

HEAD = b"\r\n\r\n"


class Instance(asyncio.Protocol):
    """One connection."""

    def __init__(self, name: str, keep: float) -> None:
        self._name = name
        self._keep = keep
        self._end: asyncio.TimerHandle | None = None
        self._head = b""
        self._read = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._end:
            self._end.cancel()
        if HEAD in self._head:
            self._read += len(data)
        else:
            self._head, found, body = (self._head + data).partition(HEAD)
            self._head += found
            self._read = len(body)
            if found and (pause := self._said("x-pause")):
                self._transport.pause_reading()
                asyncio.get_running_loop().call_later(pause, self._transport.resume_reading)
        if HEAD in self._head and self._read >= self._said("content-length"):
            self._reply()

    def _said(self, header: str) -> float:
        found = re.search(rf"{header}: *([\d.]+)".encode(), self._head, re.IGNORECASE)
        return float(found[1]) if found else 0

    def _reply(self) -> None:
        body = json.dumps({"by": self._name, "size": self._read}).encode() + b"x" * int(self._said("x-more"))
        closing = b"" if self._keep else b"connection: close\r\n"
        self._transport.write(b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n" % (closing, len(body)) + body)
        self._head, self._read = b"", 0
        if self._keep:
            self._end = asyncio.get_running_loop().call_later(self._keep, self._transport.close)
        else:
            self._transport.close()


async def main(name: str, keep: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Instance(name, keep), "127.0.0.1", backlog=128)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
