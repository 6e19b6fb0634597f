"""Compute clusters: their definition, states and node counts."""

from __future__ import annotations

import re
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid, not_emulated, user_error
from localazure.arm.operations import Kind
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Operation, Resource, now
from localazure.providers.cloud import Cloud
from localazure.providers.common import (
    canonical,
    check_name,
    identity,
    listing,
    long_headers,
    normal_location,
    poll_routes,
    require_location,
    with_state,
)
from localazure.providers.ml.names import (
    COMPUTE_FAMILY,
    COMPUTE_TYPE,
    CREATING,
    DELETING,
    FAILED,
    SUCCEEDED,
    WORKSPACE,
    region,
    workspace_of,
)

COMPUTE = WORKSPACE + "/computes/{compute}"
# What an in-place update keeps, and the most nodes that Azure gives a cluster without asking its support.
_FIXED = ("vmSize", "vmPriority")
_MOST_NODES = 100
KINDS = (
    "AKS",
    "Kubernetes",
    "AmlCompute",
    "ComputeInstance",
    "DataFactory",
    "VirtualMachine",
    "HDInsight",
    "Databricks",
    "DataLakeAnalytics",
    "SynapseSpark",
)
_IDLE = {"nodeIdleTimeBeforeScaleDown": "PT120S", "minNodeCount": 0}
_NO_NODES = {f"{state}NodeCount": 0 for state in ("idle", "running", "preparing", "unusable", "leaving", "preempted")}


class Computes:
    """`…/workspaces/computes` of type AmlCompute. Nodes are this machine's processes: it rests at its minimum."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        nothing = lambda operation: None  # noqa: E731
        cloud.operations.register("compute.write", Kind(nothing, self._ready, self._failed))
        cloud.operations.register("compute.delete", Kind(nothing, self._gone, self._failed))

    def routes(self) -> list[Route]:
        return [
            Route.of("PUT", COMPUTE, self.create),
            Route.of("PATCH", COMPUTE, self.patch),
            Route.of("GET", COMPUTE, lambda call: Answer(200, self._find(call).document)),
            Route.of("DELETE", COMPUTE, self.delete),
            Route.of("GET", COMPUTE.rpartition("/")[0], self.list),
            Route.of(
                "POST", COMPUTE + "/listNodes", lambda call: Answer(200, {"nodes": []} if self._find(call) else {})
            ),
            *poll_routes(self._cloud, COMPUTE_FAMILY),
        ]

    def _find(self, call: Call) -> Resource:
        workspace_of(self._cloud, call)
        found = self._cloud.store.get(call.path)
        if found is None:
            raise user_error(
                404, f"Requested resource was not found. Compute '{call.params['compute']}' does not exist."
            )
        return found

    def list(self, call: Call) -> Answer:
        return listing(self._cloud.store.below(workspace_of(self._cloud, call).id, COMPUTE_TYPE))

    def create(self, call: Call) -> Answer:
        """PUT: 201 with counts still null, then a cluster at its minimum size."""
        return self._write(call, call.json())

    def patch(self, call: Call) -> Answer:
        """PATCH: scale settings only, as in Azure."""
        existing = self._find(call)
        sent = read.mapping(read.mapping(call.json(), "properties"), "properties", "properties")
        inner = {**existing.properties["properties"], **sent}
        return self._write(call, {**existing.document, "properties": {**existing.properties, "properties": inner}})

    def _write(self, call: Call, body: dict[str, Any]) -> Answer:
        workspace = workspace_of(self._cloud, call)
        resource_id = canonical(self._cloud, call)
        existing = self._cloud.store.get(resource_id)
        if existing is not None and existing.state in (CREATING, DELETING):
            raise ArmError(
                409,
                "Conflict",
                f"The compute '{existing.name}' is in {existing.state} provisioning state; try again when it is done.",
            )
        document = self._compose(body, existing, resource_id, workspace)
        if existing is not None:
            _refuse_change(existing, document["properties"]["properties"])
        self._cloud.store.put(Resource(resource_id, COMPUTE_TYPE, document))
        operation = self._cloud.operations.begin("compute.write", resource_id)
        headers = long_headers(self._cloud, call, COMPUTE_FAMILY, operation, region(workspace))
        return Answer(201, _as_first_answered(document), headers)

    def _compose(
        self, body: dict[str, Any], existing: Resource | None, resource_id: str, workspace: Resource
    ) -> dict[str, Any]:
        rule = "3 to 24 letters, digits and hyphens, beginning with a letter, and not ending in a hyphen and digits"
        check_name(ids.name(resource_id), r"[a-zA-Z](?![a-zA-Z0-9-]*-\d+$)[a-zA-Z0-9\-]{2,23}", "compute", rule)
        body = {"location": region(workspace), **body}
        require_location(body, existing)
        sent = read.mapping(body, "properties", required=True)
        kind = read.choice(sent, "computeType", KINDS, None, "properties")
        if kind is None:
            raise invalid("'properties.computeType' is required.", "ValidationError")
        if kind != "AmlCompute":
            raise not_emulated(f"computes of type {kind}")
        location = normal_location(str(body["location"]))
        moment = now()
        properties = {
            "computeType": kind,
            "computeLocation": location,
            "description": read.text(sent, "description", "properties"),
            "disableLocalAuth": read.flag(sent, "disableLocalAuth", False, "properties"),
            "resourceId": None,
            "isAttachedCompute": False,
            "provisioningErrors": None,
            "provisioningWarnings": {},
            "createdOn": existing.properties["createdOn"] if existing else moment,
            "modifiedOn": moment,
            "provisioningState": CREATING,
            "properties": _cluster(read.mapping(sent, "properties", "properties"), moment),
        }
        document: dict[str, Any] = {
            "id": resource_id,
            "name": ids.name(resource_id),
            "type": COMPUTE_TYPE,
            "location": location,
        }
        document |= {"tags": read.strings(body, "tags"), "properties": properties}
        if (block := identity(self._cloud, body, existing)) is not None:
            document["identity"] = block
        return document

    def _ready(self, operation: Operation, _outcome: object) -> None:
        if compute := self._cloud.store.get(operation.resource):
            self._cloud.store.put(with_state(compute, SUCCEEDED))

    def _failed(self, operation: Operation, _failure: object) -> None:
        if compute := self._cloud.store.get(operation.resource):
            self._cloud.store.put(with_state(compute, FAILED))

    def delete(self, call: Call) -> Answer:
        """DELETE: `underlyingResourceAction` has to be said, as in Azure."""
        workspace = workspace_of(self._cloud, call)
        action = read.choice(call.query, "underlyingresourceaction", ("Delete", "Detach"), None)
        if action is None:
            raise invalid(
                "The query parameter 'underlyingResourceAction' is required: Delete or Detach.", "ValidationError"
            )
        found = self._cloud.store.get(call.path)
        if found is None:
            return Answer(204)
        if action == "Detach":
            raise user_error(400, f"The compute '{found.name}' is an AmlCompute; it can be deleted, not detached.")
        self._cloud.store.put(with_state(found, DELETING))
        operation = self._cloud.operations.begin("compute.delete", found.id)
        return Answer(202, headers=long_headers(self._cloud, call, COMPUTE_FAMILY, operation, region(workspace)))

    def _gone(self, operation: Operation, _outcome: object) -> None:
        self._cloud.store.delete(operation.resource)


def _cluster(sent: dict[str, Any], moment: str) -> dict[str, Any]:
    where = "properties.properties"
    size = read.text(sent, "vmSize", where, required=True) or ""
    if not re.fullmatch(r"(?i)(standard|basic)_\w+", size):
        raise user_error(400, f"The VM size '{size}' is not a size of Azure's: they look like Standard_DS3_v2.")
    scale = {**_IDLE, **read.mapping(sent, "scaleSettings", where)}
    most = read.integer(scale, "maxNodeCount", -1, f"{where}.scaleSettings", least=0, most=_MOST_NODES)
    least = read.integer(scale, "minNodeCount", 0, f"{where}.scaleSettings", least=0)
    if most < 0:
        raise invalid(f"'{where}.scaleSettings.maxNodeCount' is required.", "ValidationError")
    if least > most:
        raise invalid(
            f"'{where}.scaleSettings.minNodeCount' is {least}, more than maxNodeCount, which is {most}.",
            "ValidationError",
        )
    read.seconds(str(scale["nodeIdleTimeBeforeScaleDown"]), f"{where}.scaleSettings.nodeIdleTimeBeforeScaleDown")
    return {
        "vmSize": size,
        "vmPriority": read.choice(sent, "vmPriority", ("Dedicated", "LowPriority"), "Dedicated", where),
        "osType": read.choice(sent, "osType", ("Linux", "Windows"), "Linux", where),
        "scaleSettings": {**scale, "maxNodeCount": most, "minNodeCount": least},
        "subnet": sent.get("subnet"),
        "isolatedNetwork": sent.get("isolatedNetwork"),
        "enableNodePublicIp": read.flag(sent, "enableNodePublicIp", True, where),
        "remoteLoginPortPublicAccess": sent.get("remoteLoginPortPublicAccess") or "NotSpecified",
        "virtualMachineImage": sent.get("virtualMachineImage"),
        "userAccountCredentials": _login(read.mapping(sent, "userAccountCredentials", where)),
        "currentNodeCount": least,
        "targetNodeCount": least,
        "nodeStateCounts": {**_NO_NODES, "idleNodeCount": least},
        "allocationState": "Steady",
        "allocationStateTransitionTime": moment,
        "errors": None,
        "propertyBag": {},
    }


def _refuse_change(existing: Resource, wanted: dict[str, Any]) -> None:
    before = existing.properties["properties"]
    for name in _FIXED:
        if before[name].lower() != wanted[name].lower():
            raise user_error(
                400,
                f"The compute '{existing.name}' has {name} {before[name]}, which cannot become {wanted[name]}: "
                "delete the cluster and create it again.",
            )


def _login(sent: dict[str, Any]) -> dict[str, Any] | None:
    if not sent:
        return None
    return {
        "adminUserName": sent.get("adminUserName"),
        "adminUserPassword": None,
        "adminUserSshPublicKey": sent.get("adminUserSshPublicKey"),
    }


def _as_first_answered(document: dict[str, Any]) -> dict[str, Any]:
    # The live service's 201: counts not known yet, no computeLocation, no tags, the size in capitals.
    nulls = dict.fromkeys(
        ("currentNodeCount", "targetNodeCount", "nodeStateCounts", "allocationState", "allocationStateTransitionTime")
    )
    outer = {name: value for name, value in document["properties"].items() if name != "computeLocation"}
    inner = {**outer["properties"], **nulls, "vmSize": outer["properties"]["vmSize"].upper()}
    return {**document, "tags": None, "properties": {**outer, "provisioningWarnings": None, "properties": inner}}
