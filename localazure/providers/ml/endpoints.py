"""What online and batch endpoints share: one write at a time, what is asked for in force when the operation is done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from localazure.arm import ids
from localazure.arm.errors import resource_not_found, user_error
from localazure.arm.operations import Family, Kind
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Operation, Resource, now
from localazure.providers.cloud import Cloud
from localazure.providers.common import canonical, envelope, long_headers, require_location, with_state
from localazure.providers.ml import endpoint_lists, endpoint_rules
from localazure.providers.ml.names import (
    BATCH_DEPLOYMENT_FAMILY,
    BATCH_DEPLOYMENT_TYPE,
    BATCH_ENDPOINT_FAMILY,
    BATCH_ENDPOINT_TYPE,
    DELETING,
    FAILED,
    ONLINE_DEPLOYMENT_FAMILY,
    ONLINE_DEPLOYMENT_TYPE,
    ONLINE_ENDPOINT_FAMILY,
    ONLINE_ENDPOINT_TYPE,
    SUCCEEDED,
    UPDATING,
    WORKSPACE,
    front_end_system_data,
    guid,
    region,
    workspace_of,
)

Json = dict[str, Any]


@dataclass(frozen=True)
class Sort:
    """One of the two sorts of endpoints.

    Attributes:
        word: `online` or `batch`, which the names of its operations begin with.
        collection: the segment of its path.
        type: ARM type of the endpoints; `deployment_type` that of their deployments.
        family: how the endpoints' long operations look; `deployment_family` those of their deployments.
        shows_poll: whether the documents carry the address of their last operation.
        simplified: how a PUT of an endpoint falls short of Azure's; `deployment_simplified` that of a deployment.
    """

    word: str
    collection: str
    type: str
    deployment_type: str
    family: Family
    deployment_family: Family
    shows_poll: bool
    simplified: str = ""
    deployment_simplified: str = ""

    @property
    def path(self) -> str:
        """The route template of an endpoint."""
        return f"{WORKSPACE}/{self.collection}/{{endpoint}}"

    @property
    def deployment_path(self) -> str:
        """The route template of a deployment."""
        return self.path + "/deployments/{deployment}"


ONLINE = Sort(
    "online",
    "onlineEndpoints",
    ONLINE_ENDPOINT_TYPE,
    ONLINE_DEPLOYMENT_TYPE,
    ONLINE_ENDPOINT_FAMILY,
    ONLINE_DEPLOYMENT_FAMILY,
    shows_poll=True,
    simplified="public network access is recorded and not enforced; Kubernetes endpoints answer as managed ones do, "
    "at a host of the same form and with the same statuses",
    deployment_simplified="egress, data collection and Application Insights are recorded only",
)
BATCH = Sort(
    "batch",
    "batchEndpoints",
    BATCH_ENDPOINT_TYPE,
    BATCH_DEPLOYMENT_TYPE,
    BATCH_ENDPOINT_FAMILY,
    BATCH_DEPLOYMENT_FAMILY,
    shows_poll=False,
    deployment_simplified="models only, no pipeline components",
)


def endpoint_of(cloud: Cloud, call: Call, collection: str) -> Resource:
    """The endpoint of a request to the front end's own host. Raises ArmError (404)."""
    workspace = workspace_of(cloud, call)
    found = cloud.store.get(f"{workspace.id}/{collection}/{call.params['endpoint']}")
    if found is None:
        detail = ("EndpointNotFound", f"Endpoint {call.params['endpoint']} not found.")
        raise user_error(404, "The specified resource was not found.", detail)
    return found


def shown(cloud: Cloud, endpoint: Resource) -> Json:
    """What a GET answers: an endpoint is `Updating` while it or one of its deployments is being written."""
    if endpoint.state == SUCCEEDED and cloud.store.running(endpoint.id):
        return endpoint.with_properties(provisioningState=UPDATING).document
    return endpoint.document


def inference_host(endpoint: Resource) -> str:
    """The host name that an endpoint answers requests at."""
    return f"{endpoint.name}.{endpoint.document['location']}.inference.ml.azure.com".lower()


class Endpoints(ABC):
    """PUT, PATCH, GET, list and DELETE of one sort of endpoints.

    A PUT's answer shows what was in force before it (traffic, the default deployment); the rest is stored at once. What
    comes into force travels in the operation, and is put in its place by `_in_force` when the work is done.
    """

    def __init__(self, cloud: Cloud, sort: Sort) -> None:
        self._cloud = cloud
        self._sort = sort
        write = Kind(self._work, self._settle, self._failed)
        cloud.operations.register(f"{sort.word}.endpoint.write", write)
        cloud.operations.register(f"{sort.word}.endpoint.delete", Kind(self._take_down, self._gone, self._failed))

    def routes(self) -> list[Route]:
        path = self._sort.path
        return [
            Route.of("PUT", path, self.create, simplified=self._sort.simplified),
            Route.of("PATCH", path, self.patch),
            Route.of("GET", path, lambda call: Answer(200, shown(self._cloud, self._find(call)))),
            Route.of("DELETE", path, self.delete),
            Route.of("GET", path.rpartition("/")[0], self.list),
        ]

    # What each sort says ---------------------------------------------------------------------------------------

    @abstractmethod
    def _compose(self, call: Call, body: Json, existing: Resource | None, resource_id: str) -> Json:
        """`properties`, and what else stands beside them. Raises ArmError to refuse."""

    @abstractmethod
    def _desired(self, body: Json, resource_id: str) -> Json:
        """What comes into force when the operation is done. Raises ArmError to refuse."""

    @abstractmethod
    def _in_force(self, endpoint: Resource, desired: Mapping[str, Any]) -> Json:
        """The properties that the end of the operation changes."""

    def _hidden(self, body: Json, existing: Resource | None) -> Json:
        """What is kept beside the document."""
        return existing.hidden if existing else {"created": False}

    @abstractmethod
    def _work(self, operation: Operation) -> None:
        """Puts what is desired in force, ahead of the store."""

    @abstractmethod
    def _ended(self, endpoint_id: str) -> None:
        """Called in the transaction that ends an operation, however it ends."""

    @abstractmethod
    def _take_down(self, operation: Operation) -> None:
        """Ends what an endpoint runs."""

    # Read ------------------------------------------------------------------------------------------------------

    def _find(self, call: Call) -> Resource:
        workspace = workspace_of(self._cloud, call)
        path = f"{workspace.id}/{self._sort.collection}/{call.params['endpoint']}"
        found = self._cloud.store.get(path)
        if found is None:
            raise resource_not_found(path)
        return found

    def list(self, call: Call) -> Answer:
        """The endpoints of a workspace."""
        found = self._cloud.store.below(workspace_of(self._cloud, call).id, self._sort.type)
        return endpoint_lists.endpoints(call, [replace(each, document=shown(self._cloud, each)) for each in found])

    # Write -----------------------------------------------------------------------------------------------------

    def create(self, call: Call) -> Answer:
        """PUT: 201 always, for an update too."""
        document, operation = self._write(call, call.json())
        return Answer(201, document, self._headers(call, operation, document["id"]))

    def patch(self, call: Call) -> Answer:
        """PATCH: tags and identity; what requests meet cannot be patched."""
        existing = self._find(call)
        sent = endpoint_rules.patched(call.json(), "tags", "identity")
        _document, operation = self._write(call, {**existing.document, **sent})
        return Answer(202, headers=self._headers(call, operation))

    def _headers(self, call: Call, operation: Operation, resource: str = "") -> dict[str, str]:
        place = region(workspace_of(self._cloud, call))
        return long_headers(self._cloud, call, self._sort.family, operation, place, resource=resource)

    def _begin(self, call: Call, kind: str, resource_id: str, payload: Mapping[str, Any] | None = None) -> Operation:
        prefix = f"{self._sort.family.prefix}:{guid(workspace_of(self._cloud, call))}"
        return self._cloud.operations.begin(f"{self._sort.word}.endpoint.{kind}", resource_id, payload, prefix=prefix)

    def _write(self, call: Call, body: Json) -> tuple[Json, Operation]:
        workspace_of(self._cloud, call)
        resource_id = canonical(self._cloud, call)
        existing = self._cloud.store.get(resource_id)
        require_location(body, existing)
        if existing is None:
            endpoint_rules.check_new_endpoint(self._cloud, resource_id, str(body["location"]))
        else:
            endpoint_rules.refuse_broken_endpoint(existing)
            endpoint_rules.refuse_busy(self._cloud, existing, f"update endpoint {existing.name}")
        moment = now()
        data = self._cloud.system_data(call.caller, existing.created if existing else None, moment)
        parts = self._compose(call, body, existing, resource_id)
        document = envelope(
            resource_id, self._sort.type, body, systemData=front_end_system_data(existing, data), **parts
        )
        hidden = self._hidden(body, existing)
        operation = self._begin(call, "write", resource_id, self._desired(body, resource_id))
        if self._sort.shows_poll:
            poll = self._headers(call, operation)["Azure-AsyncOperation"]
            document["properties"]["properties"]["AzureAsyncOperationUri"] = poll
        created = existing.created if existing else moment
        self._cloud.store.put(Resource(resource_id, self._sort.type, document, hidden, created))
        return document, operation

    def _settle(self, operation: Operation, _outcome: object) -> None:
        endpoint = self._cloud.store.get(operation.resource)
        if endpoint is not None:
            changed = endpoint.with_properties(
                provisioningState=SUCCEEDED, **self._in_force(endpoint, operation.payload)
            )
            self._cloud.store.put(replace(changed, hidden={**endpoint.hidden, "created": True}))
        self._ended(operation.resource)

    def _failed(self, operation: Operation, _failure: object) -> None:
        if endpoint := self._cloud.store.get(operation.resource):
            self._cloud.store.put(with_state(endpoint, FAILED))
        self._ended(operation.resource)

    # Delete ----------------------------------------------------------------------------------------------------

    def delete(self, call: Call) -> Answer:
        """DELETE: takes the deployments with it, whatever goes to them. 204 where there was nothing."""
        workspace_of(self._cloud, call)
        endpoint = self._cloud.store.get(call.path)
        if endpoint is None:
            return Answer(204)
        endpoint_rules.refuse_busy(self._cloud, endpoint, f"delete endpoint {endpoint.name}")
        self._cloud.store.put(with_state(endpoint, DELETING))
        return Answer(202, None, self._headers(call, self._begin(call, "delete", endpoint.id)))

    def _gone(self, operation: Operation, _outcome: object) -> None:
        self._cloud.store.delete(operation.resource)
        self._ended(operation.resource)


def same_ids(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two maps have the same resource ids for keys."""
    return {ids.key(each) for each in one} == {ids.key(each) for each in other}
