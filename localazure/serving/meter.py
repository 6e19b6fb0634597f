"""Takes what runs down, again and again: readings become minutes of the history."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from localazure.periodic import Periodic
from localazure.serving.counters import Reading, Running, Statistics, Usage
from localazure.serving.metrics import ROUTER, Clock, Gauge, History, Minute, minute_of

SAMPLE_SECONDS = 5.0
# A clock that was set, or a laptop that slept: what was used in between says nothing of any minute.
_LONGEST_GAP = 120.0


class Meter:
    """Keeps a history of what online deployments do."""

    def __init__(self, read: Callable[[], Reading], history: History, clock: Clock) -> None:
        """`read` looks at everything at once; counters in it begin at zero when their router does."""
        self._read = read
        self._history = history
        self._clock = clock
        self._before = Reading()
        self._sampled: datetime | None = None
        self._lock = threading.Lock()
        self._thread = Periodic("metrics", SAMPLE_SECONDS, self.sample)

    def start(self) -> None:
        """Reads what an earlier run wrote down, and begins."""
        self._history.load(minute_of(self._clock()))
        self._thread.start()

    def stop(self) -> None:
        """Ends, with everything on disk that is known."""
        self._thread.stop()
        # What came since the last look: the router counts from zero when it is started again.
        with suppress(Exception):
            self.sample()
        self._history.close()

    def sample(self) -> None:
        """One look: what was added since the last one belongs to the present minute."""
        with self._lock:
            reading, now = self._read(), self._clock()
            seconds = (now - self._sampled).total_seconds() if self._sampled else 0.0
            for (endpoint, name), part in self._parts(reading, seconds).items():
                self._history.add(endpoint, name, minute_of(now), part)
            # While the router is down it says nothing, and what it said before must not be counted again.
            statistics = reading.statistics if reading.statistics.counters else self._before.statistics
            self._before = Reading(reading.running, statistics, reading.usages)
            self._sampled = now
            self._history.keep(minute_of(now))

    def _parts(self, reading: Reading, seconds: float) -> dict[tuple[str, str], Minute]:
        grown = reading.statistics.since(self._before.statistics)
        running = {(each.endpoint, each.deployment): each for each in reading.running}
        parts = {
            key: _part(grown, key, running.get(key), reading, self._before, seconds)
            for key in {*running, *grown.clusters()}
        }
        # One that has gone is in the router's statistics for ever, with nothing new.
        parts = {key: part for key, part in parts.items() if key in running or part != Minute()}
        if grown.counters:
            opened, active = grown.connections()[0], reading.statistics.connections()[1]
            parts[ROUTER] = Minute(connections=Gauge(active, 1), opened=opened)
        return parts


def _part(
    grown: Statistics,
    key: tuple[str, str],
    running: Running | None,
    reading: Reading,
    before: Reading,
    seconds: float,
) -> Minute:
    """What is new of one deployment."""
    live, mirrored = grown.traffic(*key, running.timeout_ms if running else 0.0)
    part = Minute(live, mirrored, grown.bytes(*key))
    if running is None:
        return part
    cpu, memory = {}, {}
    for process in running.processes:
        usage = reading.usages.get(process, Usage())
        memory[str(process)] = Gauge(usage.memory, 1)
        # What it took to start is no load: a new process counts from its second look on.
        if process in before.usages and 0 < seconds <= _LONGEST_GAP:
            cpu[str(process)] = Gauge(usage.cores(before.usages[process], seconds), 1)
    return part.plus(Minute(capacity=Gauge(running.capacity, 1), cpu=cpu, memory=memory))
