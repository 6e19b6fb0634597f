"""Reading logs: their end, and what is added to them, whoever writes them now and whatever becomes of their files."""

from __future__ import annotations

import codecs
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TextIO

from localazure.admin import Admin
from localazure.errors import LocalAzureError, NotRunning, UnknownName

READ_SECONDS = 0.2
ASK_SECONDS = 1.0


@dataclass(frozen=True)
class Found:
    """The files of something that logs; `ended` says that nothing more will come."""

    files: tuple[Path, ...]
    ended: bool = False


class LogFile:
    """A file that others append to, cut off, move away or write anew; it need not be there yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def tail(self, lines: int) -> str:
        """What it holds, but for all except the last lines."""
        held = self.added().splitlines(keepends=True)
        return "".join(held[max(len(held) - lines, 0) :])

    def added(self) -> str:
        """What has come since the last call."""
        # What was written to a file before it was moved away comes before what is in the new one.
        text = self._read()
        if self._replaced():
            self.close()
            with suppress(FileNotFoundError):
                self._file = self.path.open("rb")
        return text + self._read()

    def close(self) -> None:
        """Lets go of the file."""
        if self._file:
            self._file.close()
        self._file = None

    def _read(self) -> str:
        return self._decoder.decode(self._file.read()) if self._file else ""

    def _replaced(self) -> bool:
        if self._file is None:
            return True
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return False
        held = os.fstat(self._file.fileno())
        return (now.st_dev, now.st_ino) != (held.st_dev, held.st_ino) or now.st_size < self._file.tell()


class Named:
    """The logs of a deployment or a job, as the daemon knows them.

    It may be gone for a while, when somebody stops and starts it, and a deployment may give way to its next revision.
    """

    def __init__(self, admin: Admin, asked: str, container: str | None) -> None:
        """`container` is the name of a file without its ending; without it the one that tells most.

        Raises:
            LocalAzureError: nothing has this name, or several have it, or there is no daemon.
        """
        self._admin = admin
        self._asked = asked
        self._container = container
        self._answer = admin.get("logs", name=asked)

    def __call__(self) -> Found:
        """The files as they are now; the last that were known while the daemon is away."""
        with suppress(NotRunning):
            self._answer = self._ask()
        return Found(self._chosen(), bool(self._answer["ended"]))

    def _ask(self) -> Mapping[str, Any]:
        try:
            return self._admin.get("logs", name=self._answer["name"])
        except UnknownName:
            # Its next revision, if there is one.
            try:
                return self._admin.get("logs", name=self._asked)
            except UnknownName:
                return {**self._answer, "ended": True}

    def _chosen(self) -> tuple[Path, ...]:
        files = tuple(map(Path, self._answer["files"]))
        if self._answer["kind"] == "job":
            return files
        if self._container:
            return tuple(file for file in files if file.stem == self._container)
        # While its environment is being built a deployment has no server that could log.
        written = [file for file in files if file.is_file() and file.stat().st_size]
        return tuple(written[:1]) or files[:1]


def show(find: Callable[[], Found], tail: int, follow: bool, out: TextIO = sys.stdout) -> None:
    """Print the end of logs, and with `follow` go on until what logs has ended.

    Raises:
        LocalAzureError: there is no log yet, and nobody waits for one.
    """
    view, found = _View(out), find()
    files = view.open(found.files)
    view.write([(file, file.tail(max(tail, 0))) for file in files])
    if not follow and not any(file.path.is_file() for file in files):
        where = " or ".join(str(file.path) for file in files) or "Its folder"
        raise LocalAzureError(f"{where} does not exist: nothing has been logged yet.")
    while follow:
        asked = time.monotonic()
        while not found.ended and time.monotonic() < asked + ASK_SECONDS:
            view.write_added()
            time.sleep(READ_SECONDS)
        ended, found = found.ended, find()
        view.open(found.files)
        view.write_added()
        if ended and found.ended:
            return


class _View:
    """Prints several files as `tail -f` does: where the file changes it is named."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._files: dict[Path, LogFile] = {}
        self._last: Path | None = None

    def open(self, files: Iterable[Path]) -> list[LogFile]:
        return [self._files.setdefault(file, LogFile(file)) for file in files]

    def write_added(self) -> None:
        self.write([(file, file.added()) for file in self._files.values()])

    def write(self, texts: Sequence[tuple[LogFile, str]]) -> None:
        said = [(file, text) for file, text in texts if text]
        for file, text in said:
            if (self._last or len(said) > 1) and file.path != self._last:
                named = "/".join(file.path.parts[-2:])
                print("" if self._last is None else "\n", f"==> {named} <==", sep="", file=self._out)
            self._last = file.path
            print(text, end="", file=self._out, flush=True)
