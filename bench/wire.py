"""As many requests as go over so many connections, for where there is no `wrk`.

`python -m bench.wire PORT CONNECTIONS SECONDS` sends what its standard input holds, each time the last answer is there,
and prints the median and the 99th percentile of the time to an answer, and the requests/s.
"""

from __future__ import annotations

import json
import re
import select
import socket
import sys
import time
from array import array

CHUNK = 64 * 1024


class Caller:
    """One connection, kept."""

    def __init__(self, port: int, request: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request
        self._length = 0
        self._got = b""

    def send(self) -> None:
        """Asks."""
        self.began = time.perf_counter()
        self.socket.sendall(self._request)

    def receive(self) -> bool:
        """Takes what is there; whether the answer is whole. Raises ConnectionError for any answer but 200."""
        data = self.socket.recv(CHUNK)
        self._got += data
        head, found, _ = self._got.partition(b"\r\n\r\n")
        if not data or not head.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(self._got[:300].decode("latin-1") or "closed without an answer")
        if not self._length and found:
            size = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
            self._length = len(head) + len(found) + int(size[1] if size else 0)
        if not self._length or len(self._got) < self._length:
            return False
        self._got, self._length = b"", 0
        return True


def main(port: int, connections: int, seconds: float) -> None:
    request = sys.stdin.buffer.read()
    callers = {caller.socket.fileno(): caller for caller in (Caller(port, request) for _ in range(connections))}
    # A poll that forgets nothing between two calls, where there is one.
    poll = select.epoll() if hasattr(select, "epoll") else select.poll()
    taken = array("d")
    for number, caller in callers.items():
        poll.register(number, select.POLLIN)
        caller.send()
    began = time.perf_counter()
    while (now := time.perf_counter()) < began + seconds:
        for number, _ in poll.poll(1):
            caller = callers[number]
            if caller.receive():
                taken.append(time.perf_counter() - caller.began)
                caller.send()
    times = sorted(taken)
    answer = {"p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100], "rate": len(times) / (now - began)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
