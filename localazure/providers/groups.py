"""Resource groups, and the lists of all that lies in a group or in the subscription."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, group_not_found, invalid
from localazure.arm.ids import GROUP, SUBSCRIPTION, Template
from localazure.arm.operations import Family, Kind, OperationFailed
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Operation, Resource
from localazure.providers.cloud import Cloud
from localazure.providers.common import (
    DELETION_BLOCKED,
    envelope,
    long_headers,
    normal_location,
    page,
    poll_routes,
    require_location,
    require_subscription,
    with_state,
)
from localazure.providers.filters import Filter, Term, read_filter

TYPE = "Microsoft.Resources/resourceGroups"
FAMILY = Family("", "", "", "operationresults", "Deleting", timeout="")
_PAGE = 1000
_DELETE = "group.delete"
_FILTERS = frozenset({"resourcetype", "name", "location", "tagname", "tagvalue", "resourcegroup", "substringof"})
# What a list of resources tells of each; the rest is for a GET of it.
_GENERIC = ("id", "name", "type", "kind", "location", "tags", "sku", "identity", "plan", "managedBy")
# Rows that are no resources of a group: names kept for a while, and clusters, which a workspace's own list has.
_UNLISTED = ("/softdeleted", "/computes")


class Groups:
    """`Microsoft.Resources/resourceGroups`. Deleting one deletes all that is in it."""

    def __init__(
        self, cloud: Cloud, remove: Callable[[Resource], None], refuse: Callable[[Resource, str], None]
    ) -> None:
        """`remove` takes down what a resource of any type runs outside the store; `refuse` raises ArmError where one
        may not go with the group of an id."""
        self._cloud = cloud
        self._remove = remove
        self._refuse = refuse
        cloud.operations.register(_DELETE, Kind(self._take_down, self._gone, self._failed))

    def routes(self) -> list[Route]:
        return [
            Route.of("GET", SUBSCRIPTION + "/resourceGroups", self.list),
            Route.of("GET", SUBSCRIPTION + "/resources", self.all_resources),
            Route.of("PUT", GROUP, self.create),
            Route.of("PATCH", GROUP, self.patch),
            Route.of("GET", GROUP, self.get),
            Route.of("HEAD", GROUP, self.exists),
            Route.of("DELETE", GROUP, self.delete),
            Route.of("GET", GROUP + "/resources", self.resources),
            *poll_routes(self._cloud, FAMILY),
        ]

    def list(self, call: Call) -> Answer:
        """The groups; `$filter` by tag, `$top` at a time."""
        require_subscription(self._cloud, call.params["subscription"])
        wanted = read_filter(call, frozenset({"tagname", "tagvalue"}))
        found = [each for each in self._cloud.store.of_type(TYPE) if _is_kept(each, wanted)]
        return page(call, call.path, found, _top(call))

    def create(self, call: Call) -> Answer:
        """PUT: synchronous, as in Azure."""
        require_subscription(self._cloud, call.params["subscription"])
        _check_name(call.params["group"])
        return self._write(call, call.json(), self._cloud.store.get(call.path))

    def patch(self, call: Call) -> Answer:
        """PATCH: tags."""
        existing = self._require(call)
        return self._write(call, {**existing.document, **call.json()}, existing)

    def _write(self, call: Call, body: dict[str, Any], existing: Resource | None) -> Answer:
        if existing is not None and existing.state == "Deleting":
            raise ArmError(409, "ResourceGroupBeingDeleted", f"The resource group '{existing.name}' is being deleted.")
        _refuse_move(body, existing)
        require_location(body, existing, TYPE)
        resource_id = existing.id if existing else self._id(call)
        document = envelope(resource_id, TYPE, body, properties={"provisioningState": "Succeeded"})
        if manager := read.text(body, "managedBy"):
            document["managedBy"] = manager
        self._cloud.store.put(Resource(resource_id, TYPE, document))
        return Answer(200 if existing else 201, document)

    def _id(self, call: Call) -> str:
        # The subscription's id is spelled as it is, however the caller spells it.
        return Template(GROUP).fill({**call.params, "subscription": self._cloud.settings.subscription_id})

    def get(self, call: Call) -> Answer:
        return Answer(200, self._require(call).document)

    def exists(self, call: Call) -> Answer:
        return Answer(204 if self._cloud.store.get(call.path) else 404)

    def resources(self, call: Call) -> Answer:
        """What lies in the group, in the short form of ARM's lists."""
        return self._listed(call, self._require(call).id)

    def all_resources(self, call: Call) -> Answer:
        """What lies in the subscription's groups, in the short form of ARM's lists."""
        require_subscription(self._cloud, call.params["subscription"])
        return self._listed(call, f"/subscriptions/{self._cloud.settings.subscription_id}/resourceGroups")

    def _listed(self, call: Call, above: str) -> Answer:
        wanted = read_filter(call, _FILTERS)
        found = [
            _generic(each) for each in self._cloud.store.below(above) if _is_listed(each) and _is_kept(each, wanted)
        ]
        return page(call, call.path, found, _top(call))

    def delete(self, call: Call) -> Answer:
        """DELETE: 202 and a `Location` to poll; the same one while it is being deleted."""
        group = self._require(call)
        running = [each for each in self._cloud.store.running(group.id) if each.kind == _DELETE]
        self._cloud.store.put(with_state(group, "Deleting"))
        # A second operation could outlive the first and delete a group that was created in between.
        operation = running[0] if running else self._cloud.operations.begin(_DELETE, group.id)
        return Answer(202, headers=long_headers(self._cloud, call, FAMILY, operation, ""))

    def _take_down(self, operation: Operation) -> None:
        self._refuse_blocked(operation.resource)
        # Children before parents: an endpoint's deployments stop before its route goes.
        for resource in reversed(self._cloud.store.below(operation.resource)):
            self._remove(resource)

    def _refuse_blocked(self, group_id: str) -> None:
        """Raises OperationFailed where something in a group is in use by what is not in it."""
        blocked: list[tuple[str, ArmError]] = []
        for resource in self._cloud.store.below(group_id):
            try:
                self._refuse(resource, group_id)
            except ArmError as refusal:
                blocked.append((resource.id.rpartition("/providers/")[2], refusal))
        if blocked:
            named = ",".join(name for name, _ in blocked)
            raise OperationFailed(
                DELETION_BLOCKED,
                f"Deletion of resource group '{ids.name(group_id)}' failed as resources with identifiers '{named}' "
                "could not be deleted. The provisioning state of the resource group will be rolled back. "
                + " ".join(str(refusal) for _, refusal in blocked),
            )

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


def _check_name(name: str) -> None:
    wrong = "".join(sorted(set(re.sub(r"[\w.()-]", "", name))))
    rule = "The name can only be a letter, digit, '-', '.', '(', ')' or '_'"
    if wrong:
        message = f"The provided resource group name '{name}' has these invalid characters: '{wrong}'. {rule}."
    elif len(name) > 90:
        message = f"The provided resource group name has {len(name)} characters; it may have 90."
    elif name.endswith("."):
        message = f"The provided resource group name '{name}' cannot end with a period."
    else:
        return
    raise invalid(message, "InvalidResourceGroup")


def _refuse_move(body: dict[str, Any], existing: Resource | None) -> None:
    sent = read.text(body, "location")
    has = existing.document["location"] if existing else sent
    if sent and normal_location(sent) != has and existing is not None:
        raise ArmError(
            409,
            "InvalidResourceGroupLocation",
            f"Invalid resource group location '{sent}'. The Resource group already exists in location '{has}'.",
        )


def _top(call: Call) -> int:
    text = call.query.get("$top") or str(_PAGE)
    size = read.natural(text, 0)
    if size < 1:
        raise invalid(f"The value '{text[:40]}' of the query parameter '$top' must be a whole number above 0.")
    return size


def _is_listed(resource: Resource) -> bool:
    return bool(resource.document.get("location")) and not resource.type.lower().endswith(_UNLISTED)


def _generic(resource: Resource) -> Resource:
    told = {name: resource.document[name] for name in _GENERIC if resource.document.get(name) is not None}
    return Resource(resource.id, resource.type, {**told, "name": _full_name(resource)})


def _full_name(resource: Resource) -> str:
    # ARM's lists name a nested resource with all that it lies in: `workspace/endpoint/deployment`.
    return "/".join(resource.id.rpartition("/providers/")[2].split("/")[2::2])


def _is_kept(resource: Resource, wanted: Filter) -> bool:
    def holds(terms: tuple[Term, ...]) -> bool:
        return all(_satisfies(resource, term) for term in terms) and _has_pair(resource, terms)

    return not wanted.alternatives or any(holds(terms) for terms in wanted.alternatives)


def _has_pair(resource: Resource, terms: tuple[Term, ...]) -> bool:
    # `tagName eq 'a' and tagValue eq 'b'` means one tag, not two.
    asked = {term.name: term.value.lower() for term in terms if term.op == "eq"}
    if not asked.keys() >= {"tagname", "tagvalue"}:
        return True
    pairs = {(name.lower(), value.lower()) for name, value in (resource.document.get("tags") or {}).items()}
    return (asked["tagname"], asked["tagvalue"]) in pairs


def _satisfies(resource: Resource, term: Term) -> bool:
    document = resource.document
    if term.name == "substringof":
        text, _, field = term.value.partition(",")
        return field.strip().lower() == "name" and text.strip().strip("'").lower() in resource.name.lower()
    if term.name in ("tagname", "tagvalue"):
        held = document.get("tags") or {}
        found = held if term.name == "tagname" else held.values()
        return any(each.lower() == term.value.lower() for each in found) == (term.op == "eq")
    if term.name == "resourcegroup":
        return term.compares(resource.id.split("/")[4])
    if term.name == "location":
        return (normal_location(term.value) == document.get("location")) == (term.op == "eq")
    return term.compares(document["type"] if term.name == "resourcetype" else _full_name(resource))
