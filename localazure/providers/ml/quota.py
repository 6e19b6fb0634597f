"""Cores by family of sizes: what deployments and computes hold of them, and the refusal of what does not fit.

The rules (learn.microsoft.com/azure/machine-learning/how-to-manage-quotas): a managed online deployment needs
`ceil(1.2 * instances)` times the cores of its size, so that it can be upgraded; some GPU families need no such reserve.
A cluster holds the cores of the nodes that it has, a compute instance its own even while it is stopped.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from localazure.arm import ids
from localazure.arm.errors import ArmError
from localazure.arm.ids import SUBSCRIPTION
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.common import normal_location, require_subscription
from localazure.providers.ml import nodes, sizes
from localazure.providers.ml.names import COMPUTE_TYPE, NAMESPACE, ONLINE_DEPLOYMENT_TYPE, region
from localazure.providers.ml.sizes import TOTAL_CLUSTERS, TOTAL_DEDICATED, TOTAL_LOW_PRIORITY, Size

LOCATION = SUBSCRIPTION + "/providers/" + NAMESPACE + "/locations/{location}"

_HELP = "https://docs.microsoft.com/azure/machine-learning/how-to-manage-quotas#request-quota-increases"
_OUT_OF_QUOTA = "https://aka.ms/oe-tsg#error-outofquota"


def deployment_cores(size: Size, instances: int) -> int:
    """The cores that a managed online deployment needs."""
    return size.cores * (-(-instances * 6 // 5) if size.reserve else instances)


# What is held ------------------------------------------------------------------------------------------------


@dataclass
class Held:
    """What a region's deployments and computes hold: cores by family, dedicated and low priority, and clusters."""

    dedicated: Counter[str] = field(default_factory=Counter)
    low_priority: Counter[str] = field(default_factory=Counter)
    clusters: int = 0


def held(cloud: Cloud, location: str, *, without: str = "") -> Held:
    """What is held in a region; `without` is the id of a resource that does not count."""
    found = Held()
    for resource_id, name, instances in _deployments(cloud, location):
        size = sizes.find(name)
        if size is not None and not ids.same(resource_id, without):
            found.dedicated[size.family] += deployment_cores(size, instances)
    for compute in cloud.store.of_type(COMPUTE_TYPE):
        size = sizes.find((compute.properties.get("properties") or {}).get("vmSize") or "")
        if size is None or _place(compute) != location or ids.same(compute.id, without):
            continue
        found.clusters += 1
        priority = compute.properties["properties"].get("vmPriority")
        bucket = found.low_priority if priority == "LowPriority" else found.dedicated
        bucket[size.family] += size.cores * nodes.count(compute)
    return found


def _place(resource: Resource) -> str:
    return normal_location(resource.document.get("location") or "")


def _deployments(cloud: Cloud, location: str) -> Iterator[tuple[str, str, int]]:
    """Id, size and instance count of a region's deployments: the most that each has, or is about to have."""
    wanted: dict[str, dict[str, Any]] = {}
    for operation in cloud.store.running():
        if operation.kind == "online.deployment.write" and "desired" in operation.payload:
            wanted[ids.key(operation.resource)] = operation.payload["desired"]
    for deployment in cloud.store.of_type(ONLINE_DEPLOYMENT_TYPE):
        if _place(deployment) == location:
            documents = [deployment.document, wanted.get(ids.key(deployment.id), deployment.document)]
            name, instances = max(map(_asked, documents), key=lambda each: each[1])
            yield deployment.id, name, instances


def _asked(document: dict[str, Any]) -> tuple[str, int]:
    instances = (document.get("sku") or {}).get("capacity") or 1
    return document["properties"].get("instanceType") or "", int(instances)


# What there is -----------------------------------------------------------------------------------------------


def limit(cloud: Cloud, name: str) -> int:
    """The cores that a family, or all of them together, may hold (settings `quota` and `default_quota`)."""
    # Azure gives a new subscription no cores of a GPU family: they have to be asked for.
    usual = 0 if name.lower() in sizes.GPU_FAMILIES else cloud.settings.default_quota
    return cloud.settings.quota.get(name, usual)


def total(cloud: Cloud) -> int:
    """The cores that a region's dedicated machines may hold together.

    Where the settings do not say, it is what a family has by default, or the largest that they grant to one.
    """
    largest = max(limit(cloud, family) for family in sizes.FAMILIES.values())
    return cloud.settings.quota.get(TOTAL_DEDICATED, max(cloud.settings.default_quota, largest))


def clusters(cloud: Cloud) -> int:
    """The clusters and compute instances that a region may have together; 200 unless Azure's support granted more."""
    return cloud.settings.quota.get(TOTAL_CLUSTERS, 200)


def require(cloud: Cloud, workspace: Resource, name: str, capacity: int, existing: Resource | None) -> None:
    """Refuses a managed online deployment that the quota has no cores for, in the live service's words.

    Args:
        name: the size, `properties.instanceType`.
        capacity: its instance count.
        existing: the deployment as it is, whose cores become free; None for a new one.

    Raises:
        ArmError: 400 `InferencingClientCreateDeploymentFailed` within `BadRequest`.
    """
    size = sizes.find(name)
    if size is None:
        raise _refusal([f"The VM size '{name}' is not supported in {region(workspace)}: {_like(name)}."])
    if existing is not None and _is_no_more(existing, size, capacity):
        return
    used = held(cloud, normal_location(region(workspace)), without=existing.id if existing else "").dedicated
    needed = deployment_cores(size, capacity)
    for current, most in ((used[size.family], limit(cloud, size.family)), (used.total(), total(cloud))):
        if current + needed > most:
            raise _refusal(
                [
                    f"Not enough quota available for {size.name} in SubscriptionId {cloud.settings.subscription_id}. "
                    f"Current usage/limit: {current}/{most}. Additional needed: {needed} "
                    f"Please see troubleshooting guide, available here: {_OUT_OF_QUOTA}"
                ],
                size.family,
            )


def _is_no_more(existing: Resource, size: Size, capacity: int) -> bool:
    # A quota that was lowered since takes nothing from what runs.
    name, instances = _asked(existing.document)
    return size is sizes.find(name) and capacity <= instances


def _refusal(problems: list[str], family: str = "") -> ArmError:
    inner = {
        "errors": {"VmSize": problems},
        "type": "https://tools.ietf.org/html/rfc7231#section-6.5.1",
        "title": "One or more validation errors occurred.",
        "status": 400,
        "traceId": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01",
    }
    message = "InferencingClient HttpRequest error, error detail: " + json.dumps(inner, separators=(",", ":"))
    details = [_detail("InferencingClientCreateDeploymentFailed", message)]
    return ArmError(400, "BadRequest", "The request is invalid.", [*details, *_way_out(family)], front_end=True)


def _way_out(family: str) -> list[dict[str, Any]]:
    if not family:
        return []
    text = (
        f"Local Azure: quota is a setting, `quota` in settings.json or LOCALAZURE_QUOTA='{{\"{family}\": 100}}'; "
        "restart it after a change."
    )
    return [_detail("LocalAzureSetting", text)]


def _detail(code: str, message: str) -> dict[str, Any]:
    return {"code": code, "message": message, "details": [], "additionalInfo": []}


def _like(name: str) -> str:
    """The sizes that a wrong name may have meant."""
    series = name.lower().removeprefix("standard_")[:2]
    near = [size.name for size in sizes.SIZES.values() if series and size.name.lower()[9:].startswith(series)]
    return f"did you mean {', '.join(near[:8])}?" if near else "GET locations/vmSizes lists those that are"


def compute_size(name: str, location: str) -> Size:
    """The size of a compute. Raises ArmError (400) for a name that no size has."""
    if (size := sizes.find(name)) is not None:
        return size
    text = f"Invalid value '{name}' for property properties.properties.vmSize in {location}: {_like(name)}."
    raise ArmError(400, "BadRequest", text, [_detail("InvalidPropertyValue", text)], front_end=True)


def require_nodes(cloud: Cloud, size: Size, priority: str, least: int, location: str, existing: str = "") -> None:
    """Refuses a compute whose smallest number of nodes the quota has no cores for, in the live service's words.

    One that may shrink to nothing must be able to have one node; it holds none until it has it.

    Raises:
        ArmError: 400 `ClusterMinNodesExceedCoreQuota` within `BadRequest`.
    """
    now = held(cloud, location, without=existing)
    if now.clusters >= clusters(cloud):
        text = f"Operation results in exceeding quota limits of {TOTAL_CLUSTERS}: {now.clusters} of {clusters(cloud)}."
        raise ArmError(400, "BadRequest", text, _way_out(TOTAL_CLUSTERS), front_end=True)
    asked = max(least, 1)
    for what, most, used in _limits(cloud, size, priority, now):
        if size.cores * asked + (used if least else 0) > most:
            nodes_asked = f"{asked} requested managed compute node{'s' if asked > 1 else ''}"
            text = (
                f"The specified subscription has a {what} vCPU quota of {most} and cannot accomodate for at least "
                f"{nodes_asked} which maps to {size.cores * asked} vCPUs. Talk to your Subscription Admin or refer to "
                f"{_HELP} to increase the {what} vCPU quota."
            )
            named = (
                TOTAL_LOW_PRIORITY if priority == "LowPriority" else size.family if what != "total" else TOTAL_DEDICATED
            )
            details = [_detail("ClusterMinNodesExceedCoreQuota", text), *_way_out(named)]
            raise ArmError(400, "BadRequest", text, details, front_end=True)


def room(cloud: Cloud, cluster: Resource) -> int:
    """How many more nodes a cluster can have before its quota is used up."""
    size, limits = _of_cluster(cloud, cluster)
    return max(0, min((most - used) // size.cores for _, most, used in limits) - nodes.held(cluster))


def excess(cloud: Cloud, cluster: Resource, instances: int) -> str | None:
    """Why a job of so many instances can never have them by the quota, in the live service's words."""
    size, limits = _of_cluster(cloud, cluster)
    for what, most, _ in limits:
        if size.cores * instances > most:
            return (
                "Job submission to AzureML Compute encountered an Exception with status code "
                f"JobNodeCountExceedsCoreQuota, The specified subscription has a {what} vCPU quota of {most} and is "
                f"less than the requested job node count of {instances} which maps to {size.cores * instances} vCPUs. "
                f"Talk to your Subscription Admin or refer to {_HELP} to increase the {what} vCPU quota"
            )
    return None


def _of_cluster(cloud: Cloud, cluster: Resource) -> tuple[Size, list[tuple[str, int, int]]]:
    inner, location = cluster.properties["properties"], _place(cluster)
    size, others = compute_size(inner["vmSize"], location), held(cloud, location, without=cluster.id)
    return size, _limits(cloud, size, inner.get("vmPriority") or "", others)


def _limits(cloud: Cloud, size: Size, priority: str, used: Held) -> list[tuple[str, int, int]]:
    """The quotas that a node counts in: what Azure calls each, its limit, and what is held of it."""
    if priority == "LowPriority":
        return [("total", limit(cloud, TOTAL_LOW_PRIORITY), used.low_priority.total())]
    family = f"{sizes.title(size.family)} family"
    return [
        (family, limit(cloud, size.family), used.dedicated[size.family]),
        ("total", total(cloud), used.dedicated.total()),
    ]


# Look-ups ----------------------------------------------------------------------------------------------------


# Before it the list of sizes has the name of what they are for (azure-mgmt-machinelearningservices 1: 2020-08-01).
_SIZES_ARE_A_VALUE_SINCE = "2021-01-01"


class Quotas:
    """`locations/vmSizes`, `locations/usages` and `locations/quotas` of Azure ML."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        return [
            Route.of("GET", LOCATION + "/vmSizes", self.sizes, simplified="no prices, and the same sizes everywhere"),
            Route.of("GET", LOCATION + "/usages", self.usages, simplified="by region, not by workspace and cluster"),
            Route.of("GET", LOCATION + "/quotas", self.quotas, simplified="by region, not by workspace"),
        ]

    def sizes(self, call: Call) -> Answer:
        """GET vmSizes."""
        require_subscription(self._cloud, call.params["subscription"])
        name = "amlCompute" if "" < call.api_version < _SIZES_ARE_A_VALUE_SINCE else "value"
        return Answer(200, {name: [size.document() for size in sizes.SIZES.values()]})

    def usages(self, call: Call) -> Answer:
        """GET usages: clusters, all cores, and the cores of each family, dedicated and low priority."""
        rows = self._rows(call, "usages")
        return Answer(200, {"value": [{**row, "currentValue": used} for row, used in rows]})

    def quotas(self, call: Call) -> Answer:
        """GET quotas: the limits alone."""
        return Answer(200, {"value": [row for row, _ in self._rows(call, "quotas")]})

    def _rows(self, call: Call, what: str) -> Iterator[tuple[dict[str, Any], int]]:
        """Each quota of a region, with what is held of it."""
        require_subscription(self._cloud, call.params["subscription"])
        location = normal_location(call.params["location"])
        now = held(self._cloud, location)
        place = f"/subscriptions/{self._cloud.settings.subscription_id}/providers/{NAMESPACE}/locations/{location}"
        for name, label, kind, most, used in _buckets(self._cloud, now):
            yield (
                {
                    "id": f"{place}/{kind}/{what}/{name}",
                    "type": f"{NAMESPACE}/{kind}/{what}",
                    "amlWorkspaceLocation": None,
                    "unit": "Count",
                    "limit": most,
                    "name": {"value": name, "localizedValue": label},
                },
                used,
            )


def _buckets(cloud: Cloud, now: Held) -> Iterator[tuple[str, str, str, int, int]]:
    """Name, label, kind, limit and use of each quota; a family has no limit of low-priority cores of its own (-1)."""
    yield TOTAL_CLUSTERS, "Total Clusters", "totalClusters", clusters(cloud), now.clusters
    yield TOTAL_DEDICATED, "Total Cluster Dedicated Regional vCPUs", "totalCores", total(cloud), now.dedicated.total()
    low = limit(cloud, TOTAL_LOW_PRIORITY)
    label = "Total Cluster Low Priority Regional vCPUs"
    yield TOTAL_LOW_PRIORITY, label, "totalCores", low, now.low_priority.total()
    for family in sizes.FAMILIES.values():
        what = f"{sizes.title(family)} Family Cluster"
        yield family, f"{what} Dedicated vCPUs", "dedicatedCores", limit(cloud, family), now.dedicated[family]
        yield family, f"{what} Low Priority vCPUs", "lowPriorityCores", -1, now.low_priority[family]
