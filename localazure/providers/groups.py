"""Resource groups, the subscription and the look-ups of providers and locations."""

from __future__ import annotations

from collections.abc import Callable

from localazure.arm import body as read
from localazure.arm.errors import ArmError, group_not_found
from localazure.arm.ids import GROUP, SUBSCRIPTION, Template
from localazure.arm.operations import Family, Kind
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Operation, Resource
from localazure.providers.cloud import Cloud
from localazure.providers.common import (
    envelope,
    listing,
    long_headers,
    poll_routes,
    require_location,
    require_subscription,
    with_state,
)

TYPE = "Microsoft.Resources/resourceGroups"
FAMILY = Family("", "", "", "operationresults", "Deleting", timeout="")


class Groups:
    """`Microsoft.Resources/resourceGroups`. Deleting one deletes all that is in it."""

    def __init__(self, cloud: Cloud, remove: Callable[[Resource], None]) -> None:
        """`remove` takes down what a resource of any type runs outside the store."""
        self._cloud = cloud
        self._remove = remove
        cloud.operations.register("group.delete", Kind(self._take_down, self._gone, self._failed))

    def routes(self) -> list[Route]:
        return [
            Route.of("GET", SUBSCRIPTION, self.subscription),
            Route.of("GET", SUBSCRIPTION + "/resourceGroups", self.list),
            Route.of("PUT", GROUP, self.create),
            Route.of("PATCH", GROUP, self.patch),
            Route.of("GET", GROUP, self.get),
            Route.of("HEAD", GROUP, self.exists),
            Route.of("DELETE", GROUP, self.delete),
            Route.of("GET", GROUP + "/resources", self.resources),
            *poll_routes(self._cloud, FAMILY),
        ]

    def subscription(self, call: Call) -> Answer:
        """GET of the subscription."""
        require_subscription(self._cloud, call.params["subscription"])
        settings = self._cloud.settings
        return Answer(
            200,
            {
                "id": f"/subscriptions/{settings.subscription_id}",
                "subscriptionId": settings.subscription_id,
                "tenantId": settings.tenant_id,
                "displayName": "Local Azure",
                "state": "Enabled",
            },
        )

    def list(self, call: Call) -> Answer:
        require_subscription(self._cloud, call.params["subscription"])
        return listing(self._cloud.store.of_type(TYPE))

    def create(self, call: Call) -> Answer:
        """PUT: synchronous, as in Azure."""
        require_subscription(self._cloud, call.params["subscription"])
        return self._write(call, call.json(), self._cloud.store.get(call.path))

    def patch(self, call: Call) -> Answer:
        """PATCH: tags."""
        existing = self._require(call)
        return self._write(call, {**existing.document, **call.json()}, existing)

    def _write(self, call: Call, body: dict, existing: Resource | None) -> Answer:
        if existing is not None and existing.state == "Deleting":
            raise ArmError(409, "ResourceGroupBeingDeleted", f"The resource group '{existing.name}' is being deleted.")
        require_location(body, existing)
        resource_id = existing.id if existing else call.path
        document = envelope(resource_id, TYPE, body, properties={"provisioningState": "Succeeded"})
        if manager := read.text(body, "managedBy"):
            document["managedBy"] = manager
        self._cloud.store.put(Resource(resource_id, TYPE, document))
        return Answer(200 if existing else 201, document)

    def get(self, call: Call) -> Answer:
        return Answer(200, self._require(call).document)

    def exists(self, call: Call) -> Answer:
        return Answer(204 if self._cloud.store.get(call.path) else 404)

    def resources(self, call: Call) -> Answer:
        """All that lies directly in the group."""
        group = self._require(call)
        depth = len(group.id.split("/")) + 4
        return listing([each for each in self._cloud.store.below(group.id) if len(each.id.split("/")) == depth])

    def delete(self, call: Call) -> Answer:
        """DELETE: 202 and a `Location` to poll."""
        group = self._require(call)
        self._cloud.store.put(with_state(group, "Deleting"))
        operation = self._cloud.operations.begin("group.delete", group.id)
        return Answer(202, headers=long_headers(self._cloud, call, FAMILY, operation, ""))

    def _take_down(self, operation: Operation) -> None:
        # Children before parents: an endpoint's deployments stop before its route goes.
        for resource in reversed(self._cloud.store.below(operation.resource)):
            self._remove(resource)

    def _gone(self, operation: Operation, _outcome: object) -> None:
        self._cloud.store.delete(operation.resource)

    def _failed(self, operation: Operation, _failure: object) -> None:
        # What is left can be used, and deleted again.
        if group := self._cloud.store.get(operation.resource):
            self._cloud.store.put(with_state(group, "Succeeded"))

    def _require(self, call: Call) -> Resource:
        require_subscription(self._cloud, call.params["subscription"])
        found = self._cloud.store.get(Template(GROUP).fill(dict(call.params)))
        if found is None:
            raise group_not_found(call.params["group"])
        return found
