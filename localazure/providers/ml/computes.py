"""Computes: clusters and their nodes, compute instances that start and stop, attached Kubernetes clusters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid, user_error
from localazure.arm.operations import Kind
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Operation, Resource, now
from localazure.providers.cloud import Cloud
from localazure.providers.common import (
    canonical,
    check_name,
    identity,
    long_headers,
    normal_location,
    page,
    poll_routes,
    require_location,
    tags,
    with_state,
)
from localazure.providers.ml import compute_types as types
from localazure.providers.ml import kubernetes, managed_network, nodes, quota
from localazure.providers.ml.clusters import Clusters
from localazure.providers.ml.compute_types import AML_COMPUTE, COMPUTE_INSTANCE, KUBERNETES
from localazure.providers.ml.names import (
    COMPUTE_FAMILY,
    COMPUTE_TYPE,
    CREATING,
    DELETING,
    FAILED,
    SUCCEEDED,
    UPDATING,
    WORKSPACE,
    region,
    workspace_above,
    workspace_of,
)

COMPUTE = WORKSPACE + "/computes/{compute}"
# Before it the scale settings are the properties themselves (azure-mgmt-machinelearningservices 1 speaks 2020-08-01).
_PATCH_IS_NESTED_SINCE = "2021-07-01"
_NAME = r"[a-zA-Z](?![a-zA-Z0-9-]*-\d+$)[a-zA-Z0-9\-]{2,23}"
_NAME_RULE = "3 to 24 letters, digits and hyphens, beginning with a letter, and not ending in a hyphen and digits"
_NO_MACHINE = "states only: there is no machine behind it"
# What an instance must be for an action, and what it is while it runs and afterwards.
_ACTIONS = {
    "start": (("Stopped",), "Starting", "Running"),
    "stop": (("Running",), "Stopping", "Stopped"),
    "restart": (("Running", "Stopped"), "Restarting", "Running"),
}


class Computes:
    """`…/workspaces/computes`. What a cluster's nodes do is in `clusters.py`."""

    def __init__(self, cloud: Cloud, clusters: Clusters) -> None:
        self._cloud = cloud
        self._clusters = clusters
        nothing = lambda operation: None  # noqa: E731
        cloud.operations.register("compute.write", Kind(nothing, self._ready, self._failed))
        cloud.operations.register("compute.delete", Kind(nothing, self._gone, self._failed))
        cloud.operations.register("compute.action", Kind(nothing, self._acted, self._failed))

    def routes(self) -> list[Route]:
        return [
            Route.of("PUT", COMPUTE, self.create),
            Route.of("PATCH", COMPUTE, self.patch),
            Route.of("GET", COMPUTE, lambda call: Answer(200, self._shown(self._find(call)))),
            Route.of("DELETE", COMPUTE, self.delete),
            Route.of("GET", COMPUTE.rpartition("/")[0], self.list),
            Route.of("POST", COMPUTE + "/listNodes", self.list_nodes, simplified="nodes have no addresses"),
            Route.of(
                "POST", COMPUTE + "/listKeys", self.list_keys, simplified="always refused: no compute here has keys"
            ),
            *(
                Route.of("POST", f"{COMPUTE}/{action}", self._action(action), simplified=_NO_MACHINE)
                for action in _ACTIONS
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

    def _shown(self, compute: Resource) -> dict[str, Any]:
        return nodes.shown(compute) if nodes.is_cluster(compute) else compute.document

    def list(self, call: Call) -> Answer:
        """The computes of a workspace."""
        found = self._cloud.store.below(workspace_of(self._cloud, call).id, COMPUTE_TYPE)
        return page(call, call.path, [replace(each, document=self._shown(each)) for each in found], 100)

    # Write ---------------------------------------------------------------------------------------------------

    def create(self, call: Call) -> Answer:
        """PUT: 201 with counts still null, then a cluster at its minimum size."""
        return self._write(call, call.json(), 201)

    def patch(self, call: Call) -> Answer:
        """PATCH: the scale settings of a cluster, and nothing else."""
        existing = self._of_type(call, AML_COMPUTE, "be scaled")
        outer = read.mapping(call.json(), "properties")
        if "" < call.api_version < _PATCH_IS_NESTED_SINCE:
            outer = {"properties": outer}
        sent = read.mapping(outer, "properties", "properties")
        other = [*(set(call.json()) - {"properties"}), *(set(outer) - {"properties"}), *(set(sent) - {"scaleSettings"})]
        if other:
            raise invalid(
                f"PATCH of a compute changes 'properties.properties.scaleSettings' only, not '{sorted(other)[0]}'; "
                "PUT the whole compute instead.",
                "ValidationError",
            )
        inner = {**existing.properties["properties"], **sent}
        body = {**existing.document, "properties": {**existing.properties, "properties": inner}}
        return self._write(call, body, 200)

    def _write(self, call: Call, body: dict[str, Any], status: int) -> Answer:
        workspace = workspace_of(self._cloud, call)
        resource_id = canonical(self._cloud, call)
        existing = self._cloud.store.get(resource_id)
        if existing is not None:
            _refuse_busy(existing)
        check_name(ids.name(resource_id), _NAME, "compute", _NAME_RULE)
        document = self._compose(call, body, existing, resource_id, workspace)
        if existing is not None:
            types.refuse_change(existing, document["properties"])
            kubernetes.refuse_types_gone(self._cloud, existing, document["properties"]["properties"])
        self._cloud.store.put(Resource(resource_id, COMPUTE_TYPE, document, existing.hidden if existing else {}))
        operation = self._cloud.operations.begin("compute.write", resource_id)
        headers = long_headers(self._cloud, call, COMPUTE_FAMILY, operation, region(workspace))
        first = document["properties"]["computeType"] == AML_COMPUTE and status == 201
        return Answer(status, _as_first_answered(document, existing) if first else document, headers)

    def _compose(
        self, call: Call, body: dict[str, Any], existing: Resource | None, resource_id: str, workspace: Resource
    ) -> dict[str, Any]:
        body = {"location": region(workspace), **{name: value for name, value in body.items() if value is not None}}
        require_location(body, existing, COMPUTE_TYPE)
        sent = read.mapping(body, "properties", required=True)
        location = normal_location(str(body["location"]))
        kind = types.compute_type(sent)
        before = existing.properties if existing else {}
        inner = self._inner(call, kind, sent, existing, resource_id, location)
        if existing is None:
            managed_network.refuse_compute(self._cloud, workspace, inner, resource_id)
        moment = now()
        properties = {
            "computeType": kind,
            "computeLocation": location,
            "description": read.text(sent, "description", "properties"),
            # Set for good: the client sends another value than the one it read.
            "disableLocalAuth": before.get(
                "disableLocalAuth", read.flag(sent, "disableLocalAuth", False, "properties")
            ),
            "resourceId": self._cluster(sent) if kind == KUBERNETES else None,
            "isAttachedCompute": kind == KUBERNETES,
            "provisioningErrors": None,
            "provisioningWarnings": {},
            "createdOn": before.get("createdOn") or moment,
            "modifiedOn": moment,
            "provisioningState": CREATING,
            "properties": inner,
        }
        document: dict[str, Any] = {"id": resource_id, "name": ids.name(resource_id), "type": COMPUTE_TYPE}
        document |= {"location": location, "tags": tags(body), "properties": properties}
        if (block := identity(self._cloud, body, existing)) is not None:
            document["identity"] = block
        return document

    def _inner(
        self, call: Call, kind: str, sent: dict[str, Any], existing: Resource | None, resource_id: str, location: str
    ) -> dict[str, Any]:
        same_kind = existing is not None and existing.properties["computeType"] == kind
        before = existing.properties["properties"] if existing is not None and same_kind else {}
        inner = read.mapping(sent, "properties", "properties")
        if kind == KUBERNETES:
            return types.attached(inner, before)
        size = quota.compute_size(read.text(inner, "vmSize", types.WHERE, required=True) or "", location)
        if kind == AML_COMPUTE:
            made = types.cluster(inner, before)
            least = made["scaleSettings"]["minNodeCount"]
            quota.require_nodes(self._cloud, size, made["vmPriority"], least, location, resource_id)
            return made
        if existing is None:
            self._refuse_taken(resource_id, location)
        quota.require_nodes(self._cloud, size, "Dedicated", 1, location, resource_id)
        who = {
            "userName": "Local Azure",
            "userOrgId": self._cloud.settings.tenant_id,
            "userId": str(call.caller.get("oid") or self._cloud.caller),
        }
        return types.instance(inner, who, before)

    def _cluster(self, sent: dict[str, Any]) -> str:
        """The id of the cluster to attach, which has to be there. Raises ArmError (400)."""
        named = types.cluster_id(sent)
        if self._cloud.store.get(named) is None:
            raise user_error(
                400,
                f"The Kubernetes cluster '{named}' that 'properties.resourceId' names was not found; create it first.",
            )
        return named

    def _refuse_taken(self, resource_id: str, location: str) -> None:
        # A compute instance has a host name of its own, so its name is the region's, not the workspace's.
        for other in self._cloud.store.of_type(COMPUTE_TYPE):
            taken = ids.name(resource_id).lower() == other.name.lower() and other.document["location"] == location
            if taken and other.properties["computeType"] == COMPUTE_INSTANCE:
                raise user_error(
                    409,
                    f"The compute instance name '{ids.name(resource_id)}' is taken in {location}; the name of a "
                    "compute instance is unique in its region. Choose another.",
                )

    def _ready(self, operation: Operation, _outcome: object) -> None:
        compute = self._cloud.store.get(operation.resource)
        if compute is None:
            return
        inner = compute.properties["properties"]
        if compute.properties["computeType"] == COMPUTE_INSTANCE and inner["state"] == "Creating":
            done = {**inner["lastOperation"], "operationStatus": "Succeeded"}
            compute = compute.with_properties(properties={**inner, "state": "Running", "lastOperation": done})
        ready = replace(compute, hidden={**compute.hidden, "ready": True})
        self._cloud.store.put(with_state(ready, SUCCEEDED))
        if compute.properties["computeType"] != KUBERNETES:
            managed_network.provision(self._cloud, workspace_above(self._cloud, compute.id).id)
        self._clusters.step(compute.id)

    def _failed(self, operation: Operation, failure: Any) -> None:
        if compute := self._cloud.store.get(operation.resource):
            errors = [{"error": {"code": failure.code, "message": failure.message}}]
            failed = with_state(compute.with_properties(provisioningErrors=errors), FAILED)
            if nodes.is_cluster(failed) and not nodes.is_ready(failed):
                failed = self._clusters.close(failed)
            self._cloud.store.put(failed)
            self._clusters.step(failed.id)

    # Start, stop, restart ------------------------------------------------------------------------------------

    def _action(self, name: str) -> Any:
        """The handler of POST start, stop or restart."""
        return lambda call: self._act(call, name)

    def _act(self, call: Call, name: str) -> Answer:
        workspace = workspace_of(self._cloud, call)
        found = self._of_type(call, COMPUTE_INSTANCE, f"be {name}{'p' if name == 'stop' else ''}ed")
        _refuse_busy(found)
        wanted, under_way, _ = _ACTIONS[name]
        inner = found.properties["properties"]
        if inner["state"] not in wanted:
            raise user_error(
                400,
                f"The compute instance '{found.name}' is {inner['state']}; to {name} it, it must be "
                f"{' or '.join(wanted)}.",
            )
        last = types.last_operation(name.capitalize(), "InProgress")
        changed = found.with_properties(properties={**inner, "state": under_way, "lastOperation": last})
        self._cloud.store.put(with_state(changed, UPDATING))
        operation = self._cloud.operations.begin("compute.action", found.id, {"action": name})
        return Answer(202, headers=long_headers(self._cloud, call, COMPUTE_FAMILY, operation, region(workspace)))

    def _acted(self, operation: Operation, _outcome: object) -> None:
        if compute := self._cloud.store.get(operation.resource):
            inner = compute.properties["properties"]
            done = {**inner["lastOperation"], "operationStatus": "Succeeded"}
            state = _ACTIONS[operation.payload["action"]][2]
            changed = compute.with_properties(properties={**inner, "state": state, "lastOperation": done})
            self._cloud.store.put(with_state(changed, SUCCEEDED))

    # Look-ups ------------------------------------------------------------------------------------------------

    def _of_type(self, call: Call, kind: str, what: str) -> Resource:
        found = self._find(call)
        if found.properties["computeType"] != kind:
            raise user_error(
                400,
                f"The compute '{found.name}' is of type {found.properties['computeType']}; only computes of type "
                f"{kind} can {what}.",
            )
        return found

    def list_nodes(self, call: Call) -> Answer:
        """POST listNodes: each node's state, and the job that it works for."""
        found = self._of_type(call, AML_COMPUTE, "list nodes")
        return Answer(200, {"nodes": nodes.listed(found)})

    def list_keys(self, call: Call) -> Answer:
        """POST listKeys: only computes that Local Azure does not emulate have keys."""
        found = self._find(call)
        raise user_error(400, f"The compute '{found.name}' of type {found.properties['computeType']} has no keys.")

    # Delete --------------------------------------------------------------------------------------------------

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
        _refuse_busy(found)
        wanted = "Detach" if found.properties["isAttachedCompute"] else "Delete"
        if action != wanted:
            raise user_error(
                400,
                f"The compute '{found.name}' of type {found.properties['computeType']} cannot be removed with "
                f"underlyingResourceAction={action}; use {wanted}.",
            )
        kubernetes.refuse_detach(self._cloud, found)
        deleting = with_state(found, DELETING)
        self._cloud.store.put(self._clusters.close(deleting) if nodes.is_cluster(found) else deleting)
        operation = self._cloud.operations.begin("compute.delete", found.id)
        return Answer(202, headers=long_headers(self._cloud, call, COMPUTE_FAMILY, operation, region(workspace)))

    def _gone(self, operation: Operation, _outcome: object) -> None:
        self._cloud.store.delete(operation.resource)


def _refuse_busy(compute: Resource) -> None:
    if compute.state in (CREATING, UPDATING, DELETING):
        raise ArmError(
            409,
            "Conflict",
            f"The compute '{compute.name}' is in {compute.state} provisioning state; try again when it is done.",
        )


def _as_first_answered(document: dict[str, Any], existing: Resource | None) -> dict[str, Any]:
    # The live service's 201: counts not known yet, no computeLocation, no tags, the size in capitals, no login; for an
    # update the id of the pool behind it, which no GET shows.
    nulls = dict.fromkeys(
        ("currentNodeCount", "targetNodeCount", "nodeStateCounts", "allocationState", "allocationStateTransitionTime")
    )
    outer = {name: value for name, value in document["properties"].items() if name != "computeLocation"}
    inner = {**outer["properties"], **nulls, "vmSize": outer["properties"]["vmSize"].upper()}
    inner.pop("userAccountCredentials")
    pool = document["id"].replace("Microsoft.MachineLearningServices", "Microsoft.BatchAI")
    outer |= {"provisioningWarnings": None, "properties": inner}
    outer["resourceId"] = pool.replace("/computes/", "/clusters/") if existing else None
    return {**document, "tags": None, "properties": outer}
