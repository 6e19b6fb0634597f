"""What a home knows of its daemon between two commands: its ports, its process, and who may start or be it."""

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

from localazure.home import Home, write_private


@dataclass(frozen=True)
class Ports:
    """Loopback ports; 0 means: any that is free."""

    proxy: int = 0
    identity: int = 0
    control: int = 0
    inner: int = 0
    """The proxy of what runs in the networks of workspaces."""


@dataclass(frozen=True)
class Runtime:
    """`pid` is 0 when no daemon answers. The ports stay, so that the next daemon takes the same if it can."""

    pid: int = 0
    ports: Ports = Ports()

    @classmethod
    def read(cls, home: Home) -> "Runtime":
        """What the home's runtime file says; nothing is known when it is missing or broken."""
        try:
            values = json.loads(home.runtime_file.read_text())
            return cls(int(values["pid"]), Ports(**values["ports"]))
        except (OSError, ValueError, KeyError, TypeError):
            return cls()

    def write(self, home: Home) -> None:
        """Keep it, readable by the owner alone."""
        write_private(home.runtime_file, json.dumps(asdict(self)))

    def without_pid(self) -> "Runtime":
        """The same ports, nobody answering."""
        return replace(self, pid=0)


def listen(preferred: int) -> socket.socket:
    """A listening loopback socket, on the preferred port unless somebody else has it."""
    for port in (preferred, 0):
        # The protocol must be named: asyncio sets TCP_NODELAY only on sockets that say they are TCP, and without it
        # each answer waits 40 ms for an acknowledgement.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(1024)
        except OSError:
            listener.close()
            if not port:
                raise
        else:
            return listener
    raise AssertionError("unreachable")


@contextlib.contextmanager
def starting(home: Home) -> Iterator[None]:
    """Held by a command that starts, stops or resets: two at once take turns."""
    file = _lock(home.path / "start.lock", wait=True)
    try:
        yield
    finally:
        if file:
            file.close()


def claim(home: Home) -> IO[bytes] | None:
    """The daemon's lock: it is the home's daemon for as long as it keeps the file open. None when another is."""
    for _ in range(20):
        if file := _lock(_daemon_lock(home), wait=False):
            file.truncate(0)
            file.write(str(os.getpid()).encode())
            file.flush()
            return file
        # It may only be `claimed`, having a look.
        time.sleep(0.02)
    return None


def claimed(home: Home) -> bool:
    """Whether a daemon is alive. The kernel gives the lock up with the process, whatever ended it."""
    if not home.exists:
        return False
    file = _lock(_daemon_lock(home), wait=False)
    if file is None:
        return True
    file.close()
    return False


def claimant(home: Home) -> int:
    """The process that has the daemon's lock; 0 when nobody has."""
    text = _daemon_lock(home).read_text() if claimed(home) else ""
    return int(text) if text.isdecimal() else 0


def _daemon_lock(home: Home) -> Path:
    return home.path / "daemon.lock"


def _lock(path: Path, *, wait: bool) -> IO[bytes] | None:
    while True:
        file = path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.close()
            return None
        # `reset` may have removed the file while we waited: then the lock is on nothing.
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()
        if not path.parent.is_dir():
            raise FileNotFoundError(path)
