"""What the router's statistics and the processes' accounts say, as numbers that only grow, and what was added since."""

from __future__ import annotations

import os
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

from localazure.serving.metrics import Code, Traffic

Json = Mapping[str, Any]

# What the router is asked for: per deployment (a cluster) its answers and bytes, and the callers' connections.
_PER_CLUSTER = (
    r"(internal|external)\.upstream_rq_(\d\d\d|time)",
    r"upstream_rq_(timeout|active_overflow|pending_overflow|retry_limit_exceeded)",
    r"upstream_cx_(none_healthy|destroy_remote_with_active_rq|[rt]x_bytes_total)",
)
WANTED = (
    rf"^(cluster\.[^.]*\.({'|'.join(_PER_CLUSTER)})"
    r"|http\.scoring\.downstream_cx_(active|total))$"
)
_CLUSTER, _LISTENER = "cluster.", "http.scoring."
_TIME = "upstream_rq_time"
# Envoy marks the copies that it makes as its own requests, and callers cannot.
LIVE, MIRRORED = "external.", "internal."
# What the router answered by itself stands in its statistics under the status that it usually gives: the counters that
# tell of it, and the status that the configuration has callers see instead.
_OWN_ANSWERS: tuple[tuple[int, tuple[str, ...], int], ...] = (
    (504, ("upstream_rq_timeout",), 408),
    (503, ("upstream_rq_active_overflow", "upstream_rq_pending_overflow"), 429),
    (503, ("upstream_cx_destroy_remote_with_active_rq",), 502),
    (503, ("upstream_cx_none_healthy", "upstream_rq_retry_limit_exceeded"), 503),
)


@dataclass(frozen=True)
class Statistics:
    """What the router has counted since it started.

    Attributes:
        counters: by name.
        latency: how many requests took how long (milliseconds), by name.
    """

    counters: Mapping[str, int] = field(default_factory=dict)
    latency: Mapping[str, Mapping[float, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Json) -> Statistics:
        """Envoy's own answer (`/stats?format=json&histogram_buckets=detailed`); empty where it gave none."""
        found = document.get("stats", [])
        counters = {each["name"]: int(each["value"]) for each in found if "name" in each and "value" in each}
        details = [one for each in found for one in each.get("histograms", {}).get("details", [])]
        return cls(counters, {each["name"]: dict(map(_bucket, each["totals"])) for each in details})

    def plus(self, other: Statistics) -> Statistics:
        """Both together."""
        latency = {
            name: Counter(self.latency.get(name, {})) + Counter(other.latency.get(name, {}))
            for name in {*self.latency, *other.latency}
        }
        return Statistics(Counter(self.counters) + Counter(other.counters), latency)

    def since(self, before: Statistics) -> Statistics:
        """What was counted since. A counter that has become smaller was begun again, with its router."""
        counters = {name: _grown(value, before.counters.get(name, 0)) for name, value in self.counters.items()}
        latency = {name: _grown_each(each, before.latency.get(name, {})) for name, each in self.latency.items()}
        return Statistics(counters, latency)

    def clusters(self) -> set[tuple[str, str]]:
        """The deployments that are counted: endpoint and name."""
        names = {name.removeprefix(_CLUSTER).partition(".")[0] for name in self.counters if name.startswith(_CLUSTER)}
        return {(endpoint, name) for endpoint, slash, name in (each.partition("/") for each in names) if slash}

    def bytes(self, endpoint: str, deployment: str) -> int:
        """Bytes to and from a deployment's instances."""
        own = f"{_CLUSTER}{endpoint}/{deployment}.upstream_cx_"
        return sum(self.counters.get(f"{own}{way}_bytes_total", 0) for way in ("rx", "tx"))

    def answered(self, endpoint: str, deployment: str) -> int:
        """Requests that got an answer of a deployment, copies included."""
        return sum(sum(each.codes.values()) for each in self.traffic(endpoint, deployment, 0))

    def connections(self) -> tuple[int, int]:
        """Callers' connections: those that were opened, and those that are open, which is no count."""
        opened, active = (self.counters.get(f"{_LISTENER}downstream_cx_{what}", 0) for what in ("total", "active"))
        return opened, active

    def traffic(self, endpoint: str, deployment: str, timeout_ms: float) -> tuple[Traffic, Traffic]:
        """Requests of callers, and copies of requests.

        A request that ran into its time limit is in no histogram of Envoy's; it took `timeout_ms`.
        """
        own = f"{_CLUSTER}{endpoint}/{deployment}."
        live, mirrored = (
            {
                status: count
                for status in range(100, 600)
                if (count := self.counters.get(f"{own}{kind}upstream_rq_{status}"))
            }
            for kind in (LIVE, MIRRORED)
        )
        said = {name: self.counters.get(own + name, 0) for _, names, _ in _OWN_ANSWERS for name in names}
        return (
            _traffic(live, said, self.latency.get(f"{own}{LIVE}{_TIME}", {}), timeout_ms),
            _traffic(mirrored, said, self.latency.get(f"{own}{MIRRORED}{_TIME}", {}), timeout_ms),
        )


class Tally:
    """Totals that go on where Envoy's begin again: with itself, and for a cluster each time its settings change."""

    def __init__(self) -> None:
        self._carried = Statistics()
        self._last = Statistics()
        self._lock = threading.Lock()

    def take(self, ask: Callable[[], Statistics]) -> Statistics:
        """The totals, from what Envoy says when asked; nothing is what it says while it is down."""
        with self._lock:
            # Asked in here: an older answer that comes after a newer one would look like a new beginning.
            found = ask()
            if found.counters:
                self._carry(found)
                self._last = found
            return self._carried.plus(self._last)

    def _carry(self, found: Statistics) -> None:
        last = self._last
        # How many connections are open is no count: it goes down by itself.
        counters = {
            name: value
            for name, value in last.counters.items()
            if found.counters.get(name, 0) < value and not name.endswith("_active")
        }
        latency = {
            name: counts
            for name, counts in last.latency.items()
            if any(found.latency.get(name, {}).get(at, 0) < count for at, count in counts.items())
        }
        self._carried = self._carried.plus(Statistics(counters, latency))


def _bucket(found: Json) -> tuple[float, int]:
    # Whole milliseconds are counted: up to 100 a bucket holds one value, its lower bound.
    lower, width = float(found["lower_bound"]), float(found["width"])
    return lower + (width / 2 if width > 1 else 0.0), int(found["count"])


def _grown(value: int, before: int) -> int:
    return value - before if value >= before else value


def _grown_each(counts: Mapping[float, int], before: Mapping[float, int]) -> Mapping[float, int]:
    begun_again = any(counts.get(at, 0) < count for at, count in before.items())
    grown = {at: count - (0 if begun_again else before.get(at, 0)) for at, count in counts.items()}
    return {at: count for at, count in grown.items() if count}


def _traffic(answers: dict[int, int], said: dict[str, int], latency: Mapping[float, int], timeout_ms: float) -> Traffic:
    """Takes what is this traffic's share of the router's own answers from `said`, which counts both kinds together."""
    codes: dict[Code, int] = defaultdict(int)
    for status, names, seen in _OWN_ANSWERS:
        for name in names:
            count = min(answers.get(status, 0), said[name])
            said[name] -= count
            if count:
                answers[status] -= count
                codes[Code(seen, 0)] += count
    for status, count in answers.items():
        if count:
            # Whatever a model answers but 200, its caller sees as 424.
            codes[Code(200 if status == 200 else 424, status)] += count
    late = codes.get(Code(408, 0), 0)
    took = {**latency, timeout_ms: latency.get(timeout_ms, 0) + late} if late else latency
    return Traffic(dict(codes), took)


# Processes -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Usage:
    """What a process and all that it started have used.

    Attributes:
        cpu: seconds of processor time, by process id.
        memory: resident bytes now.
    """

    cpu: Mapping[int, float] = field(default_factory=dict)
    memory: int = 0

    def cores(self, before: Usage, seconds: float) -> float:
        """Cores in use since `before`, which was `seconds` ago. What ended meanwhile is not known any more."""
        used = sum(max(now - before.cpu.get(process, 0.0), 0.0) for process, now in self.cpu.items())
        return used / seconds


def usages(leaders: Iterable[int]) -> dict[int, Usage]:
    """What each of these processes uses, with all of its session: every instance leads one of its own."""
    members: dict[int, list[int]] = {leader: [leader] for leader in leaders}
    for process in psutil.pids() if members else ():
        with suppress(OSError):
            if (leader := os.getsid(process)) in members and process != leader:
                members[leader].append(process)
    return {leader: _usage(found) for leader, found in members.items()}


def _usage(processes: Iterable[int]) -> Usage:
    cpu: dict[int, float] = {}
    memory = 0
    for number in processes:
        with suppress(psutil.Error):
            process = psutil.Process(number)
            times = process.cpu_times()
            cpu[number] = times.user + times.system
            memory += process.memory_info().rss
    return Usage(cpu, memory)


# All of it -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Running:
    """A deployment that runs, as it is measured.

    Attributes:
        capacity: its instance count, as asked for.
        timeout_ms: how long a request may take.
        processes: one for each instance that runs.
    """

    endpoint: str
    deployment: str
    capacity: int
    timeout_ms: int
    processes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Reading:
    """One look at everything that is measured.

    Attributes:
        running: the deployments.
        statistics: what the router has counted.
        usages: what processes use, by their leader's id.
    """

    running: tuple[Running, ...] = ()
    statistics: Statistics = field(default_factory=Statistics)
    usages: Mapping[int, Usage] = field(default_factory=dict)
