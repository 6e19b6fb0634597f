"""A job's progress on disk: the rows of each mini-batch, and one record that makes them count.

Rows are appended to one file, then a record that says how many bytes they are to another. A process that is killed
between the two leaves rows without a record, and one that is killed within a write half a row or half a record: what
no whole record vouches for is cut off when the journal is taken up, and its mini-batch is scored again. Both carry
checksums, so a machine that lost its power costs some work and never a row. Nothing is synced before the end: what a
process has written outlives it. How the job ended is a file of its own, written before the rows move to the output.
"""

import contextlib
import fcntl
import json
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from localazure.batch.executor import Failed, Scored
from localazure.batch.spec import BatchResult, JobRefused, MiniBatch
from localazure.home import write_private

# A run that was told to end is gone within a second.
LOCK_SECONDS = 10.0
_CHECKSUM = 9  # "%08x "


class Journal:
    """What one job has done so far. Used by the job's own thread only."""

    def __init__(self, folder: Path, identity: str) -> None:
        """Open the journal in `folder`, or begin one; what another job or other inputs left there is discarded.

        Raises:
            JobRefused: another run of the job still goes on.
            OSError: the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.rows = folder / "rows"
        self._result_file = folder / "result"
        self._identity = identity
        self.tries: dict[int, int] = {}
        """Failed tries of mini-batches that have no final outcome yet; complete once `past` is exhausted."""
        self.discarded = False
        """Whether what was found belonged to another job or to other inputs; known once `past` is exhausted."""
        with contextlib.ExitStack() as opened:
            self._records_file = opened.enter_context(_open(folder / "records"))
            _lock(self._records_file, folder)
            self.result = self._read_result()
            """How the job ended, if it has."""
            if self.result is None:
                # Not otherwise: its rows have gone to the output, and an empty file must not take their place.
                self._rows_file = opened.enter_context(_open(self.rows))
            self._files = opened.pop_all()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; what they hold stays for the next run. Idempotent."""
        self._files.close()

    def past(self, batches: Sequence[MiniBatch]) -> Iterator[Scored | Failed]:
        """The final outcomes of an earlier run, without their rows; to be exhausted before anything is written."""
        records = rows = 0
        for end, record in _whole_records(self._records_file):
            if records == 0 and record.get("identity") != self._identity:
                self.discarded = True
                break
            size = record.get("bytes", 0)
            if size and not self._has_rows(record):
                break
            records, rows = end, rows + size
            if outcome := self._read(record, batches):
                yield outcome
        self._cut(records, rows)

    def scored(self, outcome: Scored) -> None:
        """Keep a mini-batch's rows, exactly once."""
        data = _encoded(outcome.rows)
        _write(self._rows_file, data)
        record: dict[str, Any] = {"batch": outcome.batch.number, "succeeded": outcome.succeeded}
        if data:
            record |= {"bytes": len(data), "checksum": zlib.crc32(data)}
        if outcome.failures:
            record["failures"] = dict(outcome.failures)
        self._append(record)

    def failed(self, outcome: Failed, *, final: bool) -> None:
        """Keep that a try failed; after a final one the mini-batch is not tried again."""
        batch = outcome.batch
        if final:
            self._append({"batch": batch.number, "kind": outcome.kind, "reason": outcome.reason})
        else:
            self._append({"batch": batch.number, "tries": batch.attempt})

    def end(self, result: BatchResult) -> None:
        """Keep how the job ended; its rows may leave for the output then."""
        os.fsync(self._rows_file.fileno())
        write_private(self._result_file, json.dumps({"identity": self._identity, **asdict(result)}))

    def _read_result(self) -> BatchResult | None:
        try:
            found = json.loads(self._result_file.read_text())
        except FileNotFoundError:
            return None
        return BatchResult(**found) if found.pop("identity") == self._identity else None

    def _has_rows(self, record: dict[str, Any]) -> bool:
        data = self._rows_file.read(record["bytes"])
        return len(data) == record["bytes"] and zlib.crc32(data) == record["checksum"]

    def _read(self, record: dict[str, Any], batches: Sequence[MiniBatch]) -> Scored | Failed | None:
        if "tries" in record:
            self.tries[record["batch"]] = record["tries"]
        elif "batch" in record:
            self.tries.pop(record["batch"], None)
            batch = batches[record["batch"]]
            if "reason" in record:
                return Failed(batch, record["kind"], record["reason"])
            return Scored(batch, "", record["succeeded"], record.get("failures", {}))
        return None

    def _cut(self, records: int, rows: int) -> None:
        for file, size in ((self._rows_file, rows), (self._records_file, records)):
            file.truncate(size)
            file.seek(size)
        if records == 0:
            self._append({"identity": self._identity})

    def _append(self, record: dict[str, Any]) -> None:
        # ASCII: file names that are not UTF-8 are lone surrogates, which only escapes can carry.
        text = json.dumps(record, separators=(",", ":")).encode("ascii")
        _write(self._records_file, b"%08x %b\n" % (zlib.crc32(text), text))


def _open(path: Path) -> IO[bytes]:
    # Unbuffered: what is written is the kernel's at once, and stays when this process is killed.
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)


def _lock(file: IO[bytes], folder: Path) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise JobRefused(f"Another run of this job still goes on: it holds {folder}.") from None
            time.sleep(0.05)


def _whole_records(file: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each record up to the first that is not whole, with the offset of its end."""
    end = 0
    with open(os.dup(file.fileno()), "rb") as lines:  # noqa: PTH123 - a descriptor, not a path
        for line in lines:
            text = line[_CHECKSUM:-1]
            if not line.endswith(b"\n") or line[:_CHECKSUM] != b"%08x " % zlib.crc32(text):
                return
            end += len(line)
            yield end, json.loads(text)


def _encoded(rows: str) -> bytes:
    try:
        # surrogateescape: a file name that is not UTF-8 is written as the bytes it is.
        return rows.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return rows.encode("utf-8", "backslashreplace")


def _write(file: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
