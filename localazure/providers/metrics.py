"""Azure Monitor's metrics of online endpoints and deployments: their definitions, and queries of what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, not_emulated, resource_not_found
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.common import require_subscription
from localazure.providers.metric_filters import Filter, parse
from localazure.providers.metric_forms import MonitorError, stamp
from localazure.providers.metric_forms import form as metric_form
from localazure.providers.metric_points import Span, series
from localazure.providers.ml.names import ONLINE_DEPLOYMENT_TYPE, ONLINE_ENDPOINT_TYPE
from localazure.serving.metrics import KEPT_MINUTES, Clock, History, minute_of

MONITORED = "/{resource*}/providers/Microsoft.Insights"
_LIMITS = ("Minimum", "Maximum", "Average")


@dataclass(frozen=True)
class Metric:
    """A platform metric.

    Attributes:
        title: what the portal calls it.
        unit: Azure Monitor's unit.
        dimensions: what it can be split by.
        aggregations: how its values can be summed up; the last is the usual one.
    """

    title: str
    unit: str
    dimensions: tuple[str, ...] = ()
    aggregations: tuple[str, ...] = _LIMITS


_REQUEST = ("deployment", "modelStatusCode", "statusCode", "statusCodeClass")
_LATENCY = {
    f"RequestLatency_P{part}": Metric(f"Request Latency P{part}", "MilliSeconds", ("deployment",), ("Average",))
    for part in (50, 90, 95, 99)
}
_ENDPOINT_METRICS = {
    "ConnectionsActive": Metric("Connections Active", "Count", (), ("Average",)),
    "DataCollectionErrorsPerMinute": Metric(
        "Data Collection Errors Per Minute", "Count", ("deployment", "reason", "type")
    ),
    "DataCollectionEventsPerMinute": Metric("Data Collection Events Per Minute", "Count", ("deployment", "type")),
    "NetworkBytes": Metric("Network Bytes", "BytesPerSecond", (), ("Average",)),
    "NewConnectionsPerSecond": Metric("New Connections Per Second", "CountPerSecond", (), ("Average",)),
    "RequestLatency": Metric("Request Latency", "MilliSeconds", ("deployment",), ("Average",)),
    **_LATENCY,
    "RequestsPerMinute": Metric("Requests Per Minute", "Count", _REQUEST, ("Average",)),
}
_INSTANCE = ("instanceId",)
_DEPLOYMENT_METRICS = {
    "CpuMemoryUtilizationPercentage": Metric("CPU Memory Utilization Percentage", "Percent", _INSTANCE),
    "CpuUtilizationPercentage": Metric("CPU Utilization Percentage", "Percent", _INSTANCE),
    "DataCollectionErrorsPerMinute": Metric(
        "Data Collection Errors Per Minute", "Count", ("instanceId", "reason", "type")
    ),
    "DataCollectionEventsPerMinute": Metric("Data Collection Events Per Minute", "Count", ("instanceId", "type")),
    "DeploymentCapacity": Metric("Deployment Capacity", "Count", ("instanceId", "State")),
    "DiskUtilization": Metric("Disk Utilization", "Percent", ("instanceId", "disk")),
    "GpuEnergyJoules": Metric("GPU Energy in Joules", "Count", _INSTANCE),
    "GpuMemoryUtilizationPercentage": Metric("GPU Memory Utilization Percentage", "Percent", _INSTANCE),
    "GpuUtilizationPercentage": Metric("GPU Utilization Percentage", "Percent", _INSTANCE),
    **{name: Metric(each.title, each.unit, (), ("Average",)) for name, each in _LATENCY.items()},
    "RequestsPerMinute": Metric("Requests Per Minute", "Count", ("envoy_response_code",), ("Average",)),
}
METRICS: Mapping[str, Mapping[str, Metric]] = {
    ONLINE_ENDPOINT_TYPE: _ENDPOINT_METRICS,
    ONLINE_DEPLOYMENT_TYPE: _DEPLOYMENT_METRICS,
}
"""The metrics that Azure documents, by resource type."""

# The time grains of a query, in seconds.
_GRAINS = {
    "PT1M": 60,
    "PT5M": 300,
    "PT15M": 900,
    "PT30M": 1800,
    "PT1H": 3600,
    "PT6H": 21600,
    "PT12H": 43200,
    "P1D": 86400,
}
_GRAIN_TEXTS = "00:01:00,00:05:00,00:15:00,00:30:00,01:00:00,06:00:00,12:00:00,1.00:00:00"
_MOST_NAMES = 20


class Metrics:
    """`Microsoft.Insights/metrics` and `metricDefinitions` of online endpoints and their deployments."""

    def __init__(self, cloud: Cloud, history: History, clock: Clock) -> None:
        self._cloud = cloud
        self._history = history
        self._clock = clock

    def routes(self) -> list[Route]:
        short = (
            "kept for a day; connections are those of all endpoints together; nothing is measured of disks, GPUs and "
            "data collection, nor of requests that the router refuses (401, 404)"
        )
        return [
            Route.of("GET", MONITORED + "/metrics", self.query, simplified=short),
            Route.of("GET", MONITORED + "/metricDefinitions", self.definitions),
            Route.of("GET", MONITORED + "/metricNamespaces", self.namespaces),
        ]

    def query(self, call: Call) -> Answer:
        """GET metrics."""
        resource, kind = self._resource(call)
        known = METRICS[kind]
        names = _names(call, kind)
        grain = _interval(call)
        now = self._clock()
        start, end = _timespan(call, now)
        form = metric_form(call, _filter(call, names, known))
        span = _span(start, end, grain, now)
        values = []
        for name in names:
            found = series(self._history, resource, name, span, form.filter.selects, form.filter.dimensions)
            values.append(_metric(resource, name, known[name], form.series(found, span)))
        return Answer(
            200,
            {
                "cost": 0,
                "timespan": f"{stamp(start)}/{stamp(end)}",
                "interval": grain,
                "value": values,
                "namespace": kind,
                "resourceregion": resource.document.get("location", ""),
            },
        )

    def definitions(self, call: Call) -> Answer:
        """GET metricDefinitions."""
        resource, kind = self._resource(call)
        _check_namespace(call, kind)
        return Answer(200, {"value": [_definition(resource, kind, name, one) for name, one in METRICS[kind].items()]})

    def namespaces(self, call: Call) -> Answer:
        """GET metricNamespaces: the resource's own type."""
        resource, kind = self._resource(call)
        flat = kind.replace("/", "-")
        document = {
            "id": f"{resource.id}/providers/microsoft.insights/metricNamespaces/{flat}",
            "type": "Microsoft.Insights/metricNamespaces",
            "name": flat,
            "classification": "Platform",
            "properties": {"metricNamespaceName": kind},
        }
        return Answer(200, {"value": [document]})

    def _resource(self, call: Call) -> tuple[Resource, str]:
        """What is measured, and its type. Raises ArmError (400, 404, 501)."""
        resource_id = "/" + call.params["resource"].strip("/")
        parts = resource_id.split("/")
        if len(parts) > 2 and parts[1].lower() == "subscriptions":
            require_subscription(self._cloud, parts[2])
        found = self._cloud.store.get(resource_id)
        if found is None:
            raise resource_not_found(resource_id)
        kind = next((each for each in METRICS if each.lower() == found.type.lower()), None)
        if kind is None:
            raise not_emulated(f"metrics of {found.document.get('type', found.type)}")
        return found, kind


def _names(call: Call, kind: str) -> list[str]:
    """The metrics that are asked for, as Azure spells them; all of them where none is named."""
    _check_namespace(call, kind)
    known = {name.lower(): name for name in METRICS[kind]}
    asked = [name.strip() for name in call.query.get("metricnames", "").split(",") if name.strip()]
    if len(asked) > _MOST_NAMES:
        raise MonitorError(f"Requested metrics count: {len(asked)} bigger than allowed max: {_MOST_NAMES}")
    for name in asked:
        if name.lower() not in known:
            provider, _, rest = kind.partition("/")
            raise MonitorError(
                f"Failed to find metric configuration for provider: {provider}, resource Type: {rest}, "
                f"metric: {name}, Valid metrics: {','.join(METRICS[kind])}"
            )
    return [known[name.lower()] for name in asked] or list(METRICS[kind])


def _check_namespace(call: Call, kind: str) -> None:
    namespace = call.query.get("metricnamespace", "")
    if namespace and namespace.lower() != kind.lower():
        raise MonitorError(f"The metric namespace '{namespace}' is not known for this resource; it has: {kind}.")


def _interval(call: Call) -> str:
    sent = call.query.get("interval", "") or "PT1M"
    if sent.upper() == "FULL":
        return "FULL"
    try:
        asked = read.seconds(sent.upper(), "interval")
    except ArmError:
        asked = -1
    for grain, length in _GRAINS.items():
        if asked == length:
            return grain
    raise MonitorError(f"Invalid time grain duration: {sent}, supported ones are: {_GRAIN_TEXTS}")


def _timespan(call: Call, now: datetime) -> tuple[datetime, datetime]:
    """Beginning and end of a query: the last hour where it does not say."""
    sent = call.query.get("timespan", "")
    if not sent:
        return now - timedelta(hours=1), now
    first, slash, last = sent.partition("/")
    try:
        if not slash:
            return now - timedelta(seconds=read.seconds(first.upper(), "timespan")), now
        start, end = _moment(first), _moment(last)
    except (ValueError, OverflowError, ArmError):
        raise MonitorError(
            f"Detect invalid value: {sent} for query parameter: 'timespan', the value should be an ISO 8601 duration, "
            "or two RFC 3339 times such as 2026-01-01T00:00:00Z/2026-01-01T01:00:00Z."
        ) from None
    if start >= end:
        raise MonitorError(f"Start time: {stamp(start)} must be earlier than end time: {stamp(end)}.")
    return start, end


def _moment(text: str) -> datetime:
    # A `+` of a time zone is a space once a URL was decoded.
    found = datetime.fromisoformat(text.strip().replace(" ", "+"))
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


def _span(start: datetime, end: datetime, grain: str, now: datetime) -> Span:
    """The steps of a query, without those of which nothing can be known: before what is kept, and to come."""
    first, last = minute_of(start), max(math.ceil(end.timestamp() / 60), minute_of(start) + 1)
    step = last - first if grain == "FULL" else _GRAINS[grain] // 60
    present = minute_of(now)
    if grain != "FULL":
        first += max(0, (present - KEPT_MINUTES - first) // step) * step
    return Span(first, min(last, present + 1), step)


def _filter(call: Call, names: list[str], known: Mapping[str, Metric]) -> Filter:
    """The `$filter`, with the dimensions spelled as those of the metrics. Raises MonitorError."""
    text = call.query.get("$filter", "")
    found = parse(text)
    if found is None:
        raise MonitorError(f"Invalid $filter '{text[:200]}': it is like deployment eq 'blue'.")
    asked = found.dimensions
    for name in names:
        supported = known[name].dimensions
        if any(each.lower() not in [one.lower() for one in supported] for each in asked):
            raise MonitorError(
                f"Metric: {name} does not support requested dimension combination: {','.join(asked)}, "
                f"supported ones are: {','.join(supported)}"
            )
    return found.spelled([each for name in names for each in known[name].dimensions])


def _metric(resource: Resource, name: str, metric: Metric, found: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": f"{resource.id}/providers/Microsoft.Insights/metrics/{name}",
        "type": "Microsoft.Insights/metrics",
        "name": {"value": name, "localizedValue": metric.title},
        "displayDescription": metric.title,
        "unit": metric.unit,
        "timeseries": found,
        "errorCode": "Success",
    }


def _definition(resource: Resource, kind: str, name: str, metric: Metric) -> dict[str, Any]:
    return {
        "id": f"{resource.id}/providers/microsoft.insights/metricdefinitions/{name}",
        "resourceId": resource.id,
        "namespace": kind,
        "name": {"value": name, "localizedValue": metric.title},
        "displayDescription": metric.title,
        "isDimensionRequired": False,
        "unit": metric.unit,
        "primaryAggregationType": metric.aggregations[-1],
        "supportedAggregationTypes": list(metric.aggregations),
        "metricAvailabilities": [{"timeGrain": grain, "retention": "P93D"} for grain in _GRAINS],
        "dimensions": [{"value": each, "localizedValue": each} for each in metric.dimensions],
    }


def metric_of(resource: Resource, name: str) -> str | None:
    """How Azure spells a metric that a resource has, or None where it has none of that name."""
    known = next((METRICS[kind] for kind in METRICS if ids.same(kind, resource.type)), {})
    return next((each for each in known if each.lower() == name.lower()), None)
