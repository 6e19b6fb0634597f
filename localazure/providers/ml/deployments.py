"""What online and batch deployments share: an update takes the place of what was before only once it is done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from localazure.arm import ids
from localazure.arm.errors import parent_not_found, resource_not_found
from localazure.arm.operations import Kind
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Operation, Resource, now
from localazure.providers.cloud import Cloud
from localazure.providers.common import envelope, long_headers, require_location, with_state
from localazure.providers.ml import endpoint_lists, endpoint_rules
from localazure.providers.ml.endpoints import Sort
from localazure.providers.ml.names import (
    DELETING,
    FAILED,
    SUCCEEDED,
    UPDATING,
    front_end_system_data,
    guid,
    region,
    workspace_of,
)

Json = dict[str, Any]


class Deployments(ABC):
    """PUT, PATCH, GET, list and DELETE of the deployments of one sort of endpoints.

    A new deployment is stored at once. An update travels in the operation, and until that is done the deployment is
    what it was, `Updating`.
    """

    def __init__(self, cloud: Cloud, sort: Sort) -> None:
        self._cloud = cloud
        self._sort = sort
        write = Kind(self._work, self._done, self._failed)
        cloud.operations.register(f"{sort.word}.deployment.write", write)
        cloud.operations.register(f"{sort.word}.deployment.delete", Kind(self._take_down, self._gone, self._failed))

    def routes(self) -> list[Route]:
        path = self._sort.deployment_path
        return [
            Route.of("PUT", path, self.create, simplified=self._sort.deployment_simplified),
            Route.of("PATCH", path, self.patch),
            Route.of("GET", path, lambda call: Answer(200, self._view(call, self._find(call).document))),
            Route.of("DELETE", path, self.delete),
            Route.of("GET", path.rpartition("/")[0], self.list),
        ]

    # What each sort says ---------------------------------------------------------------------------------------

    @abstractmethod
    def _compose(self, body: Json, existing: Resource | None, workspace: Resource) -> Json:
        """`properties`, and what else stands beside them. Raises ArmError to refuse."""

    @abstractmethod
    def _patched(self, existing: Resource, sent: Json) -> tuple[Json, str]:
        """What a PATCH makes of a deployment, and the state it is in meanwhile. Raises ArmError to refuse."""

    @abstractmethod
    def _answer(self, desired: Json, existing: Resource | None, poll: str) -> Json:
        """What a PUT answers while its operation runs; for a new deployment it is what is stored, too."""

    def _view(self, call: Call, document: Json) -> Json:
        """A document as the request's api-version has it."""
        return document

    @abstractmethod
    def _work(self, operation: Operation) -> Json | None:
        """Makes what is desired run; what it answers reaches `_finish`."""

    def _finish(self, desired: Json, existing: Resource, outcome: Mapping[str, Any]) -> Resource:
        """The deployment once its operation is done."""
        return replace(existing, document=desired, hidden={**existing.hidden, "created": True})

    @abstractmethod
    def _take_down(self, operation: Operation) -> None:
        """Ends what a deployment runs."""

    @abstractmethod
    def _refuse_delete(self, deployment: Resource, endpoint: Resource) -> None:
        """Raises ArmError (400) for a deployment that requests still go to."""

    # Read ------------------------------------------------------------------------------------------------------

    def _endpoint_id(self, call: Call) -> str:
        return f"{workspace_of(self._cloud, call).id}/{self._sort.collection}/{call.params['endpoint']}"

    def _find(self, call: Call) -> Resource:
        path = f"{self._endpoint_id(call)}/deployments/{call.params['deployment']}"
        found = self._cloud.store.get(path)
        if found is None:
            raise resource_not_found(path)
        return found

    def list(self, call: Call) -> Answer:
        """The deployments of an endpoint."""
        endpoint = self._cloud.store.get(self._endpoint_id(call))
        if endpoint is None:
            raise parent_not_found(self._endpoint_id(call))
        found = self._cloud.store.below(endpoint.id, self._sort.deployment_type)
        return endpoint_lists.deployments(
            call, [replace(each, document=self._view(call, each.document)) for each in found]
        )

    # Write -----------------------------------------------------------------------------------------------------

    def create(self, call: Call) -> Answer:
        """PUT: 201 always, for an update too."""
        document, operation = self._write(call, call.json(), UPDATING)
        return Answer(201, self._view(call, document), self._headers(call, operation, document["id"]))

    def patch(self, call: Call) -> Answer:
        """PATCH: tags, and what each sort can change without a whole PUT."""
        existing = self._find(call)
        body, state = self._patched(existing, call.json())
        _document, operation = self._write(call, body, state)
        return Answer(202, headers=self._headers(call, operation))

    def _headers(self, call: Call, operation: Operation, resource: str = "") -> dict[str, str]:
        place = region(workspace_of(self._cloud, call))
        return long_headers(self._cloud, call, self._sort.deployment_family, operation, place, resource=resource)

    def _begin(self, call: Call, kind: str, resource_id: str, payload: Json | None = None) -> Operation:
        prefix = f"{self._sort.deployment_family.prefix}:{guid(workspace_of(self._cloud, call))}"
        name = f"{self._sort.word}.deployment.{kind}"
        return self._cloud.operations.begin(name, resource_id, payload, prefix=prefix)

    def _write(self, call: Call, body: Json, meanwhile: str) -> tuple[Json, Operation]:
        endpoint = self._cloud.store.get(self._endpoint_id(call))
        if endpoint is None:
            raise parent_not_found(self._endpoint_id(call))
        name = call.params["deployment"]
        existing = self._cloud.store.get(f"{endpoint.id}/deployments/{name}")
        self._refuse(endpoint, existing, name)
        require_location(body, existing)
        endpoint_rules.check_location(name, str(body["location"]), endpoint)
        resource_id = existing.id if existing else f"{endpoint.id}/deployments/{name}"
        desired = self._desired(call, body, existing, resource_id)
        operation = self._begin(call, "write", resource_id, {"desired": desired})
        answer = self._answer(desired, existing, self._headers(call, operation)["Azure-AsyncOperation"])
        if existing is None:
            self._cloud.store.put(Resource(resource_id, self._sort.deployment_type, answer, {"created": False}))
        else:
            self._cloud.store.put(with_state(existing, meanwhile))
        return answer, operation

    def _refuse(self, endpoint: Resource, existing: Resource | None, name: str) -> None:
        endpoint_rules.refuse_below_broken_endpoint(endpoint)
        endpoint_rules.refuse_broken_deployment(existing)
        what = "update a deployment" if existing else "create a deployment"
        endpoint_rules.refuse_busy(self._cloud, endpoint, f"{what} in endpoint {endpoint.name}")
        if existing is None:
            endpoint_rules.check_new_deployment(self._cloud, endpoint, name)

    def _desired(self, call: Call, body: Json, existing: Resource | None, resource_id: str) -> Json:
        data = self._cloud.system_data(call.caller, existing.created if existing else None, now())
        parts = self._compose(body, existing, workspace_of(self._cloud, call))
        parts["properties"]["provisioningState"] = SUCCEEDED
        own = front_end_system_data(existing, data)
        return envelope(resource_id, self._sort.deployment_type, body, systemData=own, **parts)

    def _done(self, operation: Operation, outcome: Mapping[str, Any]) -> None:
        if existing := self._cloud.store.get(operation.resource):
            self._cloud.store.put(self._finish(operation.payload["desired"], existing, outcome))

    def _failed(self, operation: Operation, _failure: object) -> None:
        if deployment := self._cloud.store.get(operation.resource):
            self._cloud.store.put(with_state(deployment, FAILED))

    # Delete ----------------------------------------------------------------------------------------------------

    def delete(self, call: Call) -> Answer:
        """DELETE: refused while requests go to it. 204 where there was nothing."""
        workspace_of(self._cloud, call)
        found = self._cloud.store.get(call.path)
        endpoint = self._cloud.store.get(ids.parent(found.id)) if found else None
        if endpoint is None or found is None:
            return Answer(204)
        endpoint_rules.refuse_busy(self._cloud, endpoint, f"delete a deployment in endpoint {endpoint.name}")
        self._refuse_delete(found, endpoint)
        self._cloud.store.put(with_state(found, DELETING))
        return Answer(202, None, self._headers(call, self._begin(call, "delete", found.id)))

    def _gone(self, operation: Operation, _outcome: object) -> None:
        self._cloud.store.delete(operation.resource)
