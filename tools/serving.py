"""What a stack serves before and after an update: endpoints with traffic, deployments and timetables, from a preview.

Only what the program's own components hold is looked at, and of that only named properties: what else a resource has
in its inputs, such as the values of environment variables, never gets here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tools.previews import UNKNOWN, Preview, Props, Resource, at
from tools.words import LATER, plain

ML = "azure-native:machinelearningservices:"
OURS = "azureml-endpoints:index:"
DYNAMIC = "pulumi-python:dynamic/azureml:"
WORKFLOW = "azure-native:logic:Workflow"
AUTOSCALE = "azure-native:monitor:AutoscaleSetting"
ROLE = "azure-native:authorization:RoleAssignment"
USER = "azure-native:managedidentity:UserAssignedIdentity"
KINDS = {"online": "OnlineEndpoint", "batch": "BatchEndpoint"}
DEPLOYMENTS = {"online": "OnlineDeployment", "batch": "BatchDeployment"}
# Of a deployment, what Azure changes in place and what may be shown of it.
SETTINGS = (
    "requestSettings",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "scaleSettings",
    "appInsightsEnabled",
    "dataCollector",
    "egressPublicNetworkAccess",
    "modelMountPath",
    "miniBatchSize",
    "maxConcurrencyPerInstance",
    "retrySettings",
    "errorThreshold",
    "outputAction",
    "outputFileName",
    "loggingLevel",
)
ASSET = re.compile(r"/(?:models|codes|environments)/([^/]+)/(?:versions|labels)/([^/]+)$")


@dataclass(frozen=True)
class Asset:
    """A model, code or environment; `content` is the hash of what was uploaded, empty where somebody else did."""

    name: str
    version: str
    content: str = ""
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.name}:{self.version}" + (f", {self.detail}" if self.detail else "")


@dataclass(frozen=True)
class Deployment:
    """A revision: what it runs, and on what. A `count` of None is known only during the update.

    `size` is that of a virtual machine, `cluster` is what batch jobs run on instead, `bounds` are autoscale's.
    """

    name: str
    revision: str
    count: int | None
    size: str = ""
    cluster: str = ""
    model: Asset | None = None
    code: Asset | None = None
    environment: Asset | None = None
    bounds: tuple[int, int] | None = None
    variables: Mapping[str, Any] = field(default_factory=dict, repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def most(self) -> int:
        """The most instances that it may have at a time."""
        return max(self.count or 1, *(self.bounds or ()), 1)


@dataclass(frozen=True)
class Schedule:
    """A timetable of a batch endpoint, in words."""

    times: str
    paused: bool
    deployment: str
    input: str


@dataclass(frozen=True)
class Endpoint:
    """One side of an endpoint; deployments by revision, and shares in per cent by revision. None is not known yet."""

    name: str
    deployments: Mapping[str, Deployment]
    traffic: Mapping[str, float] | None = field(default_factory=dict)
    mirror: Mapping[str, float] | None = field(default_factory=dict)
    access: Mapping[str, str] = field(default_factory=dict)
    default: str = ""
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    kubernetes: str = ""
    tested: frozenset[str] = frozenset()
    """The revisions that must answer a smoke test before they get traffic."""


@dataclass(frozen=True)
class Served:
    """An endpoint of the stack: its kind (online or batch), what happens to it, and both sides; None where it is not.

    `set_traffic` is what the stack itself set last, which differs from what is live where somebody else has set it.
    """

    key: str
    kind: str
    resource: Resource
    before: Endpoint | None
    after: Endpoint | None
    set_traffic: tuple[Mapping[str, float], Mapping[str, float]] | None
    members: tuple[Resource, ...]

    @property
    def name(self) -> str:
        side = self.after or self.before
        return side.name if side else self.key

    @property
    def made_anew(self) -> frozenset[str]:
        """The revisions that are deleted and made anew under the same name."""
        own = [each for each in self.members if each.type == ML + DEPLOYMENTS[self.kind]]
        return frozenset(text_of(at(each.now, "deploymentName")) for each in own if each.action == "replace")


@dataclass(frozen=True)
class Cluster:
    """A cluster of virtual machines for batch jobs."""

    name: str
    size: str
    most: int
    low_priority: bool


def endpoints(preview: Preview) -> list[Served]:
    """Every endpoint that the program's components hold, by kind and name."""
    components = [
        (kind, component)
        for kind, type_ in KINDS.items()
        for component in sorted(preview.of_type(OURS + type_), key=lambda each: each.name)
    ]
    found = [(kind, component, preview.children(component.urn, ML + KINDS[kind])) for kind, component in components]
    return [_Reader(preview, kind, component, own[0]).read() for kind, component, own in found if own]


def clusters(preview: Preview) -> list[tuple[Resource, Cluster | None, Cluster | None]]:
    """The clusters of virtual machines, before and after."""
    found = [each for each in preview.of_type(ML + "Compute") if _is_cluster(each)]
    return [(each, _cluster(each.before), _cluster(each.after)) for each in sorted(found, key=lambda each: each.name)]


def _is_cluster(resource: Resource) -> bool:
    return at(resource.now, "properties.computeType") == "AmlCompute"


def _cluster(props: Props | None) -> Cluster | None:
    if props is None:
        return None
    properties = at(props, "properties.properties", {})
    return Cluster(
        name=text_of(at(props, "computeName")),
        size=text_of(at(properties, "vmSize")),
        most=_number(at(properties, "scaleSettings.maxNodeCount")) or 0,
        low_priority=at(properties, "vmPriority") == "LowPriority",
    )


def colour(revision: str) -> str:
    """`blue` of `blue-3fb2a9c1`: the name in the configuration."""
    return revision.rpartition("-")[0] or revision


def share(traffic: Mapping[str, float] | None, revision: str) -> float:
    """How much of the traffic a revision has, in per cent; the service spells revisions in lower case."""
    return (traffic or {}).get(revision.lower(), 0)


def asset_of(reference: Any) -> Asset | None:
    """An asset by its ARM id, or by its address in a registry."""
    found = ASSET.search(reference) if isinstance(reference, str) else None
    return Asset(found[1], found[2]) if found else None


class _Reader:
    """Reads one endpoint from what is below its component."""

    def __init__(self, preview: Preview, kind: str, component: Resource, endpoint: Resource) -> None:
        self._preview, self._kind, self._component, self._endpoint = preview, kind, component, endpoint
        self._members = tuple(self._below(component.urn))
        self._split = self._single("TrafficSplit")
        self._default = self._single("DefaultDeployment")

    def read(self) -> Served:
        before, after = self._side("before"), self._side("after")
        return Served(self._component.name, self._kind, self._endpoint, before, after, self._set(), self._members)

    def _below(self, urn: str) -> Iterator[Resource]:
        for each in self._preview.resources.values():
            if each.parent == urn:
                yield each
                yield from self._below(each.urn)

    def _single(self, type_: str) -> Resource | None:
        return next(iter(self._preview.children(self._component.urn, DYNAMIC + type_)), None)

    def _side(self, side: str) -> Endpoint | None:
        props: Props | None = getattr(self._endpoint, side)
        if props is None:
            return None
        traffic, mirror = self._traffic(side)
        return Endpoint(
            name=text_of(at(props, "endpointName")),
            deployments={each.revision: each for each in self._deployments(side)},
            traffic=traffic,
            mirror=mirror,
            access=_access(props) if self._kind == "online" else {},
            default=self._default_of(side),
            schedules=self._schedules(side),
            kubernetes=_last_word(at(props, "properties.compute") or ""),
            tested=frozenset(at(self._split and getattr(self._split, side), "smokeTests", {})),
        )

    # traffic

    def _traffic(self, side: str) -> tuple[Mapping[str, float] | None, Mapping[str, float] | None]:
        if side == "after":
            wanted = self._split.after if self._split else None
            return _shares(at(wanted, "traffic")), _shares(at(wanted, "mirrorTraffic"))
        live, split = at(self._endpoint.found, "properties", {}), self._split
        if split and split.shown and split.after and at(split.after, "liveTraffic") != UNKNOWN:
            asked = split.after
            return _shares(at(asked, "liveTraffic")), _shares(at(asked, "liveMirrorTraffic"))
        if self._endpoint.shown or split is None:
            return _shares(at(live, "traffic")), _shares(at(live, "mirrorTraffic"))
        # Neither is shown, so neither changes: what is live is what was set.
        return _shares(at(split.recorded, "traffic")), _shares(at(split.recorded, "mirrorTraffic"))

    def _set(self) -> tuple[Mapping[str, float], Mapping[str, float]] | None:
        """What the last update set; an update that came to no end has left no record."""
        recorded = self._split and (self._split.recorded or self._split.before)
        if not recorded:
            return None
        return _shares(at(recorded, "traffic")) or {}, _shares(at(recorded, "mirrorTraffic")) or {}

    # deployments

    def _deployments(self, side: str) -> Iterator[Deployment]:
        for resource in self._preview.children(self._component.urn, ML + DEPLOYMENTS[self._kind]):
            props: Props | None = getattr(resource, side)
            if props is not None:
                yield self._deployment(resource, props, side)

    def _deployment(self, resource: Resource, props: Props, side: str) -> Deployment:
        revision = text_of(at(props, "deploymentName"))
        properties = at(props, "properties", {})
        online = self._kind == "online"
        count = at(props, "sku.capacity") if online else at(properties, "resources.instanceCount")
        compute = at(properties, "compute")
        if compute == UNKNOWN:
            # What a revision runs on is part of its name, so that it is the cluster that the revision has already.
            compute = at(resource.before, "properties.compute")
        return Deployment(
            name=colour(revision),
            revision=revision,
            size=text_of(at(properties, "instanceType") or ""),
            cluster="" if compute in (None, UNKNOWN) else _last_word(compute),
            count=_number(count),
            bounds=self._bounds(revision, properties, side),
            variables=_variables(at(properties, "environmentVariables")),
            settings=dict(_flat({key: properties[key] for key in SETTINGS if key in properties})),
            **self._assets(revision, properties, side),
        )

    def _assets(self, revision: str, properties: Props, side: str) -> dict[str, Asset | None]:
        model = at(properties, "model")
        references = {
            "model": at(model, "assetId", model),
            "code": at(properties, "codeConfiguration.codeId"),
            "environment": at(properties, "environmentId"),
        }
        script = text_of(at(properties, "codeConfiguration.scoringScript") or "")
        return {
            kind: self._asset(revision, kind, reference, script if kind == "code" else "", side)
            for kind, reference in references.items()
        }

    def _asset(self, revision: str, kind: str, reference: Any, detail: str, side: str) -> Asset | None:
        """By the id that the deployment has, else as the stack is about to register it."""
        if reference is None:
            return None
        given, registered = asset_of(reference), self._registered(revision, kind, side)
        if given is None:
            return registered and Asset(registered.name, registered.version, registered.content, detail)
        same = registered and (registered.name, registered.version) == (given.name, given.version)
        return Asset(plain(given.name), plain(given.version), registered.content if registered and same else "", detail)

    def _registered(self, revision: str, kind: str, side: str) -> Asset | None:
        """What the stack registers for a deployment."""
        holder = f"{self._component.name}-{colour(revision)}"
        for component in self._preview.children(self._component.urn, OURS + "DeploymentAssets"):
            for each in self._preview.children(component.urn, DYNAMIC + kind.capitalize()):
                props: Props | None = getattr(each, side)
                if component.name == holder and props is not None:
                    name, version = text_of(at(props, "name")), text_of(at(props, "version"))
                    return Asset(name, version, text_of(at(props, "contentHash") or ""))
        return None

    def _bounds(self, revision: str, properties: Props, side: str) -> tuple[int, int] | None:
        scale = at(properties, "scaleSettings", {})
        if at(scale, "scaleType") == "TargetUtilization":
            return _number(at(scale, "minInstances")) or 1, _number(at(scale, "maxInstances")) or 1
        for each in self._members:
            if each.type == AUTOSCALE and each.name.startswith(f"{self._component.name}-{revision}-"):
                profiles = at(getattr(each, side), "profiles", [])
                capacities = [at(profile, "capacity", {}) for profile in profiles]
                least = [_number(at(each, "minimum")) or 1 for each in capacities]
                return (min(least), max(_number(at(each, "maximum")) or 1 for each in capacities)) if least else None
        return None

    # batch

    def _default_of(self, side: str) -> str:
        if self._default is None:
            return ""
        if side == "before":
            live = at(self._endpoint.found, "properties.defaults.deploymentName")
            return text_of(live or at(self._default.before, "deploymentName") or "")
        return text_of(at(self._default.after, "deploymentName") or "")

    def _schedules(self, side: str) -> dict[str, Schedule]:
        found: dict[str, list[Props]] = {}
        for component in self._preview.children(self._component.urn, OURS + "BatchSchedule"):
            for workflow in self._preview.children(component.urn, WORKFLOW):
                props: Props | None = getattr(workflow, side)
                if props is not None:
                    name = component.name.removeprefix(f"{self._component.name}-")
                    found.setdefault(name, []).append(props)
        return {name: _schedule(workflows) for name, workflows in sorted(found.items())}


def _schedule(workflows: list[Props]) -> Schedule:
    """One timetable, also where Logic Apps need several for its times."""
    first = workflows[0]
    request = at(first, "definition.actions.Invoke.inputs", {})
    inputs = at(request, "body.properties.inputData", {})
    return Schedule(
        times="; ".join(
            dict.fromkeys(_times(at(each, "definition.triggers.Recurrence.recurrence", {})) for each in workflows)
        ),
        paused=at(first, "state") == "Disabled",
        deployment=text_of(at(request, "headers.azureml-model-deployment") or ""),
        input=next((text_of(at(each, "uri")) for each in inputs.values()), ""),
    )


def _times(recurrence: Props) -> str:
    """A recurrence of Logic Apps in words."""
    hours, minutes = at(recurrence, "schedule.hours", []), at(recurrence, "schedule.minutes", [])
    start = text_of(at(recurrence, "startTime") or "")
    if at(recurrence, "frequency") == "Hour":
        when = f"each hour at minute {start[14:16] or '00'}"
    else:
        clock = ", ".join(f"{int(hour):02}:{int(minute):02}" for hour in hours for minute in minutes)
        days = ", ".join(at(recurrence, "schedule.weekDays", []))
        when = (f"on {days}" if days else "each day") + f" at {clock}"
    end = at(recurrence, "endTime")
    return text_of(f"{when} ({at(recurrence, 'timeZone', 'UTC')})" + (f", until {end}" if end else ""))


def _access(props: Props) -> dict[str, str]:
    """How callers log in to an endpoint, from where, and what it works as."""
    users = sorted(map(_last_word, at(props, "identity.userAssignedIdentities", []) or []))
    works_as = ", ".join(users) or text_of(at(props, "identity.type") or "")
    cluster = _last_word(at(props, "properties.compute") or "")
    access = {
        "log-in": text_of(at(props, "properties.authMode") or ""),
        "public network": text_of(at(props, "properties.publicNetworkAccess") or ""),
        "identity": works_as,
        "Kubernetes cluster": cluster,
    }
    return {key: value for key, value in access.items() if value}


def _variables(given: Any) -> dict[str, Any]:
    """Variables by name; under a name that says so where they are not known yet, or a secret as a whole."""
    if isinstance(given, Mapping):
        return dict(given)
    return {} if given is None else {"all of them": given}


def _shares(traffic: Any) -> Mapping[str, float] | None:
    """Shares by revision, without those of nothing; None where they are not known."""
    if traffic is None:
        return {}
    if not isinstance(traffic, Mapping) or UNKNOWN in traffic.values():
        return None
    return {text_of(name).lower(): float(share) for name, share in sorted(traffic.items()) if float(share)}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield from _flat(value[key], f"{path}.{key}" if path else key)
    elif value is not None:
        yield plain(path), text_of(value)


def _number(value: Any) -> int | None:
    try:
        return int(float(value))
    except (TypeError, ValueError):
        return None


def text_of(value: Any) -> str:
    """A value in words that are safe in Markdown."""
    if value == UNKNOWN:
        return LATER
    return f"{value:g}" if isinstance(value, float) else plain(value)


def _last_word(reference: Any) -> str:
    """The name at the end of an ARM id."""
    return text_of(reference).rpartition("/")[2]
