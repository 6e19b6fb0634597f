"""What online deployments do and use, by minute: kept for a day, in memory and in a file that a restart reads."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from localazure.home import write_private

Json = dict[str, Any]
Key = tuple[str, str]
_K = TypeVar("_K")

Clock = Callable[[], datetime]
"""Says what time it is, in UTC. A test may have one that it moves."""

KEPT_MINUTES = 24 * 60
ROUTER: Key = ("", "")
"""What is known of all endpoints together only, for they share one listener."""


def utc_now() -> datetime:
    """The clock of everybody but tests."""
    return datetime.now(UTC)


def minute_of(moment: datetime) -> int:
    """The number of a minute, since 1970."""
    return int(moment.timestamp() // 60)


class Gauge(NamedTuple):
    """What was seen of a value that goes up and down."""

    total: float = 0.0
    count: int = 0

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def plus(self, other: Gauge) -> Gauge:
        return Gauge(self.total + other.total, self.count + other.count)


NOTHING = Gauge()


class Code(NamedTuple):
    """How a request was answered: the caller's status, and the model's own; 0 where the model gave none."""

    status: int
    model: int


@dataclass(frozen=True)
class Traffic:
    """Requests that were answered.

    Attributes:
        codes: how many, by how.
        latency: how many took how long, by milliseconds.
    """

    codes: Mapping[Code, int] = field(default_factory=dict)
    latency: Mapping[float, int] = field(default_factory=dict)

    def plus(self, other: Traffic) -> Traffic:
        return Traffic(_added(self.codes, other.codes), _added(self.latency, other.latency))


@dataclass(frozen=True)
class Minute:
    """What one deployment did and used in a minute, or in a part of it.

    Attributes:
        live: what callers asked.
        mirrored: copies, whose answers nobody sees.
        bytes: to and from its instances.
        capacity: its instance count.
        cpu: cores in use, by instance.
        memory: bytes in use, by instance.
        connections: callers' connections; of `ROUTER` only, as are those that were opened.
        opened: connections that callers opened.
    """

    live: Traffic = Traffic()
    mirrored: Traffic = Traffic()
    bytes: int = 0
    capacity: Gauge = NOTHING
    cpu: Mapping[str, Gauge] = field(default_factory=dict)
    memory: Mapping[str, Gauge] = field(default_factory=dict)
    connections: Gauge = NOTHING
    opened: int = 0

    def plus(self, other: Minute) -> Minute:
        return Minute(
            self.live.plus(other.live),
            self.mirrored.plus(other.mirrored),
            self.bytes + other.bytes,
            self.capacity.plus(other.capacity),
            _joined(self.cpu, other.cpu),
            _joined(self.memory, other.memory),
            self.connections.plus(other.connections),
            self.opened + other.opened,
        )


def _added(one: Mapping[_K, int], other: Mapping[_K, int]) -> Mapping[_K, int]:
    return Counter(one) + Counter(other) if other else one


def _joined(one: Mapping[str, Gauge], other: Mapping[str, Gauge]) -> Mapping[str, Gauge]:
    return {name: one.get(name, NOTHING).plus(other.get(name, NOTHING)) for name in {**one, **other}}


class History:
    """The last day, minute by minute. Every method may be called from any thread."""

    def __init__(self, file: Path | None = None) -> None:
        """`file` is where the minutes are kept for the next start; without one they end with the process."""
        self._file = file
        self._minutes: dict[Key, dict[int, Minute]] = {}
        # Parts of minutes that the file does not have yet.
        self._unwritten: dict[tuple[Key, int], Minute] = {}
        self._lines = 0
        self._lock = threading.Lock()

    def add(self, endpoint: str, deployment: str, minute: int, part: Minute) -> None:
        """Adds to what is known of a minute. Names count in any case, as Azure's do."""
        key = (endpoint.lower(), deployment.lower())
        with self._lock:
            self._put(key, minute, part)
            slot = (key, minute)
            self._unwritten[slot] = self._unwritten.get(slot, Minute()).plus(part)

    def _put(self, key: Key, minute: int, part: Minute) -> None:
        minutes = self._minutes.setdefault(key, {})
        minutes[minute] = minutes.get(minute, Minute()).plus(part)

    def between(self, endpoint: str, deployment: str, first: int, last: int) -> dict[int, Minute]:
        """What is known of a deployment from minute `first` on, before minute `last`."""
        with self._lock:
            found = self._minutes.get((endpoint.lower(), deployment.lower()), {})
            return {number: found[number] for number in sorted(found) if first <= number < last}

    def deployments(self, endpoint: str) -> list[str]:
        """The deployments of an endpoint that something is known of, in lower case."""
        with self._lock:
            return sorted(name for own, name in self._minutes if own == endpoint.lower())

    def keep(self, minute: int) -> None:
        """Forgets what is older than a day, and writes down the minutes that are over.

        Raises `OSError` where the file cannot be written; they are written the next time.
        """
        with self._lock:
            for key, minutes in list(self._minutes.items()):
                for number in [each for each in minutes if each <= minute - KEPT_MINUTES]:
                    del minutes[number]
                if not minutes:
                    del self._minutes[key]
            # Where the file cannot be written they wait, but not for longer than they count.
            for slot in [each for each in self._unwritten if each[1] <= minute - KEPT_MINUTES]:
                del self._unwritten[slot]
            self._write({slot: part for slot, part in self._unwritten.items() if slot[1] < minute})

    def close(self) -> None:
        """Writes down what is not on disk yet, where there still is a folder for it."""
        with self._lock, suppress(OSError):
            self._write(dict(self._unwritten))

    # The file ------------------------------------------------------------------------------------------------

    def load(self, minute: int) -> None:
        """Reads what an earlier process wrote in the day up to `minute`; a line that is cut off counts for nothing."""
        if self._file is None or not self._file.is_file():
            return
        with self._lock:
            for line in self._file.read_text(errors="replace").splitlines():
                self._lines += 1
                if (found := _parsed(line)) and minute - KEPT_MINUTES < found[1] <= minute:
                    self._put(*found)

    def _write(self, parts: Mapping[tuple[Key, int], Minute]) -> None:
        if self._file is not None and parts:
            self._put_down(self._file, parts)
        # Only now: what could not be written is tried again.
        for slot in parts:
            self._unwritten.pop(slot, None)

    def _put_down(self, file: Path, parts: Mapping[tuple[Key, int], Minute]) -> None:
        kept = sum(len(minutes) for minutes in self._minutes.values())
        if self._lines > 2 * kept + KEPT_MINUTES:
            # Most of its lines are older than a day.
            parts = {(key, at): part for key, minutes in self._minutes.items() for at, part in minutes.items()}
            write_private(file, _lines(parts))
            self._unwritten.clear()
            self._lines = len(parts)
        else:
            _append(file, _lines(parts).encode())
            self._lines += len(parts)


def _append(file: Path, lines: bytes) -> None:
    """Appends lines, all of them or, with an OSError, none: else the next try would count some of them twice."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        end = os.fstat(descriptor).st_size
        if end and os.pread(descriptor, 1, end - 1) != b"\n":
            # A process that was killed has left half a line, which must not swallow what follows.
            lines = b"\n" + lines
        try:
            while lines:
                lines = lines[os.write(descriptor, lines) :]
        except OSError:
            os.ftruncate(descriptor, end)
            raise
    finally:
        os.close(descriptor)


def _lines(parts: Mapping[tuple[Key, int], Minute]) -> str:
    return "".join(json.dumps([*key, number, _document(part)]) + "\n" for (key, number), part in parts.items())


def _document(minute: Minute) -> Json:
    """A minute as JSON, whose object keys are strings only: pairs instead."""

    def traffic(each: Traffic) -> list[Any]:
        return [[[*code, count] for code, count in each.codes.items()], list(each.latency.items())]

    return {
        "live": traffic(minute.live),
        "mirrored": traffic(minute.mirrored),
        "bytes": minute.bytes,
        "capacity": minute.capacity,
        "cpu": minute.cpu,
        "memory": minute.memory,
        "connections": minute.connections,
        "opened": minute.opened,
    }


def _parsed(line: str) -> tuple[Key, int, Minute] | None:
    try:
        endpoint, deployment, number, sent = json.loads(line)
        return (str(endpoint), str(deployment)), int(number), _minute(sent)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _minute(sent: Json) -> Minute:
    def traffic(codes: Iterable[tuple[int, int, int]], latency: Iterable[tuple[float, int]]) -> Traffic:
        return Traffic({Code(status, model): count for status, model, count in codes}, dict(latency))

    def gauges(each: Json) -> dict[str, Gauge]:
        return {name: Gauge(*values) for name, values in each.items()}

    return Minute(
        traffic(*sent["live"]),
        traffic(*sent["mirrored"]),
        sent["bytes"],
        Gauge(*sent["capacity"]),
        gauges(sent["cpu"]),
        gauges(sent["memory"]),
        Gauge(*sent["connections"]),
        sent["opened"],
    )
