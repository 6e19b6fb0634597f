"""The points of Azure Monitor's metrics of online endpoints and deployments, from what was measured by minute.

A minute gives samples: one for each instance of what instances use, one for all requests of what counts requests.
Source of names and dimensions: https://learn.microsoft.com/azure/azure-monitor/reference/supported-metrics/
microsoft-machinelearningservices-workspaces-onlineendpoints-metrics and …-onlineendpoints-deployments-metrics.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import psutil

from localazure.arm import ids
from localazure.arm.store import Resource
from localazure.providers.ml import sizes
from localazure.providers.ml.names import ONLINE_DEPLOYMENT_TYPE, ONLINE_ENDPOINT_TYPE
from localazure.serving.metrics import ROUTER, Code, History, Minute

Value = float | Mapping[float, int]
Dimensions = Mapping[str, str]
Select = Callable[[Dimensions], bool]


@dataclass(frozen=True)
class Stat:
    """What samples come to."""

    total: float
    count: int
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Stat | None:
        """None of no samples."""
        return cls(sum(values), len(values), min(values), max(values)) if values else None

    @property
    def average(self) -> float:
        return self.total / self.count


@dataclass(frozen=True)
class Machine:
    """What an instance has: of its size what this machine has, too."""

    cores: float
    memory: float

    @classmethod
    def of(cls, size: str) -> Machine:
        """That of a size of Azure's; one that is not known has all of this machine."""
        cores, memory = float(os.cpu_count() or 1), float(psutil.virtual_memory().total)
        found = sizes.find(size)
        return cls(min(found.cores, cores), min(found.memory * 2**30, memory)) if found else cls(cores, memory)


@dataclass(frozen=True)
class _Seen:
    """A minute of a deployment, as a metric looks at it."""

    deployment: str
    minute: Minute
    machine: Machine


Row = tuple[Dimensions, Value]
Rows = Callable[[_Seen], list[Row]]
Fold = Callable[[Sequence[Sequence[Value]]], Stat | None]


@dataclass(frozen=True)
class _Source:
    """Where a metric's values come from, and how those of several minutes come to one.

    Attributes:
        rows: what a minute gives, by dimensions.
        fold: makes one of many; it gets the values of each minute.
        everywhere: whether the router knows it only for all endpoints together.
    """

    rows: Rows
    fold: Fold
    everywhere: bool = False


# What a minute gives ---------------------------------------------------------------------------------------------


def _live_requests(seen: _Seen) -> list[Row]:
    return [
        _no_requests({"deployment": seen.deployment}),
        *((_answered(seen.deployment, code), float(count)) for code, count in seen.minute.live.codes.items()),
    ]


def _no_requests(dimensions: Dimensions) -> Row:
    # A minute in which a deployment ran and nobody asked is one with 0 requests, of whatever code.
    return dimensions, 0.0


def _answered(deployment: str, code: Code) -> Dimensions:
    return {
        "deployment": deployment,
        "statusCode": str(code.status),
        "statusCodeClass": f"{code.status // 100}xx",
        "modelStatusCode": str(code.model) if code.model else "",
    }


def _all_requests(seen: _Seen) -> list[Row]:
    counts: Counter[int] = Counter()
    for traffic in (seen.minute.live, seen.minute.mirrored):
        for code, count in traffic.codes.items():
            counts[code.model or code.status] += count
    return [_no_requests({}), *(({"envoy_response_code": str(code)}, float(count)) for code, count in counts.items())]


def _live_latency(seen: _Seen) -> list[Row]:
    found = seen.minute.live.latency
    return [({"deployment": seen.deployment}, found)] if found else []


def _all_latency(seen: _Seen) -> list[Row]:
    found = seen.minute.live.plus(seen.minute.mirrored).latency
    return [({}, found)] if found else []


def _cpu(seen: _Seen) -> list[Row]:
    return [
        ({"instanceId": instance}, _percent(cores.mean, seen.machine.cores))
        for instance, cores in seen.minute.cpu.items()
    ]


def _memory(seen: _Seen) -> list[Row]:
    return [
        ({"instanceId": instance}, _percent(size.mean, seen.machine.memory))
        for instance, size in seen.minute.memory.items()
    ]


def _percent(part: float, whole: float) -> float:
    return min(100.0, 100.0 * part / whole)


def _capacity(seen: _Seen) -> list[Row]:
    found = seen.minute.capacity
    return [({"State": "Ready"}, found.mean)] if found.count else []


def _bytes_a_second(seen: _Seen) -> list[Row]:
    return [({}, seen.minute.bytes / 60)]


def _connections(seen: _Seen) -> list[Row]:
    return [({}, seen.minute.connections.mean)] if seen.minute.connections.count else []


def _opened_a_second(seen: _Seen) -> list[Row]:
    return [({}, seen.minute.opened / 60)]


# What many come to -----------------------------------------------------------------------------------------------


def _summed(minutes: Sequence[Sequence[Value]]) -> Stat | None:
    """Each minute is one sample."""
    return Stat.of([sum(_numbers(values)) for values in minutes if values])


def _sampled(minutes: Sequence[Sequence[Value]]) -> Stat | None:
    """Each value is one sample."""
    return Stat.of([value for values in minutes for value in _numbers(values)])


def _took(minutes: Sequence[Sequence[Value]]) -> Stat | None:
    """Each request is one sample."""
    counts = _merged(minutes)
    if not counts:
        return None
    return Stat(sum(at * count for at, count in counts.items()), sum(counts.values()), min(counts), max(counts))


def _percentile(share: int) -> Fold:
    """How long the fastest `share` percent of all requests took at most."""

    def fold(minutes: Sequence[Sequence[Value]]) -> Stat | None:
        counts = _merged(minutes)
        rank = math.ceil(sum(counts.values()) * share / 100)
        for at in sorted(counts):
            rank -= counts[at]
            if rank <= 0:
                return Stat.of([at])
        return None

    return fold


def _numbers(values: Iterable[Value]) -> list[float]:
    return [float(value) for value in values if not isinstance(value, Mapping)]


def _merged(minutes: Sequence[Sequence[Value]]) -> dict[float, int]:
    counts: Counter[float] = Counter()
    for values in minutes:
        for value in values:
            if isinstance(value, Mapping):
                counts.update(value)
    return dict(counts)


def _latencies(rows: Rows) -> dict[str, _Source]:
    return {f"RequestLatency_P{share}": _Source(rows, _percentile(share)) for share in (50, 90, 95, 99)}


_SOURCES: Mapping[str, Mapping[str, _Source]] = {
    ONLINE_ENDPOINT_TYPE.lower(): {
        "ConnectionsActive": _Source(_connections, _sampled, everywhere=True),
        "NetworkBytes": _Source(_bytes_a_second, _summed),
        "NewConnectionsPerSecond": _Source(_opened_a_second, _summed, everywhere=True),
        "RequestLatency": _Source(_live_latency, _took),
        "RequestsPerMinute": _Source(_live_requests, _summed),
        **_latencies(_live_latency),
    },
    ONLINE_DEPLOYMENT_TYPE.lower(): {
        "CpuMemoryUtilizationPercentage": _Source(_memory, _sampled),
        "CpuUtilizationPercentage": _Source(_cpu, _sampled),
        "DeploymentCapacity": _Source(_capacity, _sampled),
        "RequestsPerMinute": _Source(_all_requests, _summed),
        **_latencies(_all_latency),
    },
}


# Series ----------------------------------------------------------------------------------------------------------


def everything(_dimensions: Dimensions) -> bool:
    """Selects every sample."""
    return True


@dataclass(frozen=True)
class Span:
    """Whole minutes, cut into steps: minute numbers since 1970, the last one outside; `step` in minutes."""

    first: int
    last: int
    step: int

    @property
    def starts(self) -> range:
        return range(self.first, self.last, self.step)


Series = Mapping[int, Stat]
"""What each step comes to, by its first minute; steps without samples are left out."""


def series(
    history: History,
    resource: Resource,
    metric: str,
    span: Span,
    select: Select = everything,
    split: Sequence[str] = (),
) -> dict[tuple[str, ...], Series]:
    """The points of a metric, by the values of the dimensions that it is split by.

    A metric that nothing is measured of (disks, GPUs, data collection) has none.
    """
    source = _SOURCES.get(resource.type.lower(), {}).get(metric)
    if source is None:
        return {}
    groups: dict[tuple[str, ...], dict[int, dict[int, list[Value]]]] = {}
    for number, seen in _seen(history, resource, source, span):
        for dimensions, value in source.rows(seen):
            if select(dimensions) and all(name in dimensions for name in split):
                group = groups.setdefault(tuple(dimensions[name] for name in split), {})
                start = number - (number - span.first) % span.step
                group.setdefault(start, {}).setdefault(number, []).append(value)
    return {
        values: {start: stat for start in sorted(steps) if (stat := source.fold(list(steps[start].values())))}
        for values, steps in groups.items()
    }


def _seen(history: History, resource: Resource, source: _Source, span: Span) -> Iterable[tuple[int, _Seen]]:
    endpoint = ids.segment(resource.id, "onlineEndpoints")
    if source.everywhere:
        names, endpoint = [ROUTER[1]], ROUTER[0]
    elif ids.same(resource.type, ONLINE_DEPLOYMENT_TYPE):
        names = [resource.name]
    else:
        names = history.deployments(endpoint)
    machine = Machine.of(str(resource.properties.get("instanceType") or ""))
    for name in names:
        for number, minute in history.between(endpoint, name, span.first, span.last).items():
            yield number, _Seen(name, minute, machine)
