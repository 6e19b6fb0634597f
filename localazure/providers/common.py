"""What most resource types have in common: envelope, parents, lists, identities, and a plain kind of resource."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, group_not_found, invalid, parent_not_found, resource_not_found
from localazure.arm.ids import GROUP, SUBSCRIPTION
from localazure.arm.operations import FAILED, RUNNING, Family
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Operation, Resource, now
from localazure.providers.cloud import Cloud
from localazure.providers.regions import REGIONS

Json = dict[str, Any]

# What the poll of a group's deletion answers where something else uses what is in the group.
DELETION_BLOCKED = "ResourceGroupDeletionBlocked"
IDENTITY_TYPE = "Microsoft.ManagedIdentity/userAssignedIdentities"


# Parents and look-ups -----------------------------------------------------------------------------------------------


def require_subscription(cloud: Cloud, subscription: str) -> None:
    """Raises ArmError (400, 404) for any but Local Azure's own subscription."""
    if subscription.lower() != cloud.settings.subscription_id.lower():
        if not is_guid(subscription):
            raise invalid(
                f"The provided subscription identifier '{subscription}' is malformed or invalid.",
                "InvalidSubscriptionId",
            )
        raise ArmError(
            404,
            "SubscriptionNotFound",
            f"The subscription '{subscription}' could not be found. Local Azure has one: "
            f"'{cloud.settings.subscription_id}'.",
        )


def is_guid(text: str) -> bool:
    """Whether a text is a GUID as Azure writes them."""
    return re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text) is not None


def require_group(cloud: Cloud, call: Call) -> Resource:
    """The resource group of a request. Raises ArmError (404) without one."""
    require_subscription(cloud, call.params["subscription"])
    group = cloud.store.get(ids.Template(GROUP).fill(dict(call.params)))
    if group is None:
        raise group_not_found(call.params["group"])
    return group


def require_parent(cloud: Cloud, call: Call) -> Resource:
    """What contains the resource of a request. Raises ArmError (404) where any of it is missing."""
    group = require_group(cloud, call)
    # A storage account's one blob service is in the path of its containers, and is no resource that anybody creates.
    above = ids.parent(call.path).removesuffix("/blobServices/default")
    if ids.same(above, group.id):
        return group
    found = cloud.store.get(above)
    if found is None:
        raise parent_not_found(above)
    return found


_CONTAINERS = (
    re.compile(r"(/subscriptions/[^/]+/resourceGroups/[^/]+)/.+", re.IGNORECASE),
    re.compile(r"(/.+/providers/Microsoft\.MachineLearningServices/workspaces/[^/]+)/.+", re.IGNORECASE),
)


def guarded(cloud: Cloud, route: Route, refuse: Callable[[Cloud, str, str], None]) -> Route:
    """A route that refuses (409) to write below a group or a workspace that is being created or deleted, and what
    `refuse` forbids besides: POST, too, whether or not it changes anything."""
    acts = route.method == "POST"
    if route.method in ("GET", "HEAD") or (acts and route.template.text.endswith(_CHECKS)):
        return route

    def handler(call: Call) -> Answer:
        refuse(cloud, call.method, call.path)
        if not acts:
            refuse_unsettled(cloud, call.path)
        return route.handler(call)

    return replace(route, handler=handler)


# What only asks the subscription.
_CHECKS = "/checkNameAvailability"


def refuse_unsettled(cloud: Cloud, resource_id: str) -> None:
    """Raises ArmError (409) where the group or the workspace above is being created or deleted."""
    for pattern in _CONTAINERS:
        found = pattern.fullmatch(resource_id)
        above = cloud.store.get(found.group(1)) if found else None
        if above is not None and above.state in ("Creating", "Deleting"):
            what = above.type.rpartition("/")[2].removesuffix("s")
            raise ArmError(
                409,
                "Conflict",
                f"The {what} '{above.name}' is in {above.state} provisioning state; try again when it is done.",
            )


def canonical(cloud: Cloud, call: Call) -> str:
    """The id of the request's resource, with its parents spelled as they were created."""
    existing = cloud.store.get(call.path)
    if existing is not None:
        return existing.id
    above = require_parent(cloud, call).id
    return above + call.path[len(above) :]


def require(cloud: Cloud, call: Call) -> Resource:
    """The resource of a request. Raises ArmError (404)."""
    found = cloud.store.get(call.path)
    if found is None:
        require_parent(cloud, call)
        raise resource_not_found(call.path)
    return found


def listing(resources: list[Resource]) -> Answer:
    """A list of one page: no `nextLink`, as the live service sends none."""
    return Answer(200, {"value": [resource.document for resource in resources]})


def page(call: Call, path: str, resources: list[Resource], size: int) -> Answer:
    """A list cut at `size` (at least 1), with the `nextLink` to go on from. Raises ArmError (400) for a bad `$skip`."""
    skip = read.size(call.query, "$skip", 0, least=0)
    chunk = resources[skip : skip + size]
    answer: Json = {"value": [resource.document for resource in chunk]}
    if skip + size < len(resources):
        query = urlencode({**call.query, "$skip": skip + size}, safe="$")
        answer["nextLink"] = f"https://{call.host}{quote(path)}?{query}"
    return Answer(200, answer)


# Envelopes ---------------------------------------------------------------------------------------------------


def envelope(resource_id: str, resource_type: str, body: Json, **rest: Any) -> Json:
    """The document of a resource: id, name, type, then what was sent."""
    document: Json = {"id": resource_id, "name": ids.name(resource_id), "type": resource_type}
    if "location" in body:
        document["location"] = normal_location(read.text(body, "location") or "")
    return {**document, "tags": tags(body), **rest}


_RESERVED_IN_TAGS = re.compile(r"[<>%&\\?/\x00-\x1f\x7f]")


def tags(body: Json) -> dict[str, str]:
    """The tags of a body.

    Raises:
        ArmError: 400 beyond ARM's limits: 50 tags, names of 512 characters, values of 256.
    """
    sent = read.strings(body, "tags")
    if len(sent) > 50:
        raise invalid(
            "Too many tags on the resource/resource group. "
            f"Requested tag count - '{len(sent)}'. Maximum number of tags allowed - '50'.",
            "TooManyTags",
        )
    for name, value in sent.items():
        if not name or len(name) > 512 or len(value) > 256:
            rule = "a name has 1 to 512 characters, a value at most 256"
            raise invalid(f"The tag '{name[:80]}' with value '{value[:80]}' is invalid: {rule}.", "InvalidTag")
        if _RESERVED_IN_TAGS.search(name):
            raise invalid(
                f"The tag names '{name}' have reserved characters '<,>,%,&,\\,?,/' or control characters.",
                "InvalidTagNameCharacters",
            )
    if len({name.lower() for name in sent}) < len(sent):
        raise invalid("Two tags have the same name; ARM compares them without case.", "InvalidTag")
    return sent


def system_data(cloud: Cloud, call: Call, existing: Resource | None) -> Json:
    """`systemData` of a write: who created the resource stays, who modified it is the caller."""
    moment = now()
    fresh = cloud.system_data(call.caller, existing.created if existing else None, moment)
    before = (existing.document.get("systemData") if existing else None) or {}
    return {**fresh, **{name: value for name, value in before.items() if name.startswith("created")}}


def normal_location(location: str) -> str:
    """`East US` and `eastus` are one region."""
    return location.replace(" ", "").lower()


def require_location(body: Json, existing: Resource | None, kind: str = "") -> None:
    """A tracked resource needs a location of Azure's, and keeps the one it has. Raises ArmError (400, 409).

    `kind` is the resource's type, for the refusal's text.
    """
    sent = read.text(body, "location")
    if not sent:
        raise ArmError(400, "LocationRequired", "The location property is required for this definition.")
    if normal_location(sent) not in REGIONS:
        raise invalid(
            f"The provided location '{sent}' is not available for resource type '{kind or 'of this request'}'. "
            f"List of available regions for the resource type is '{','.join(REGIONS)}'.",
            "LocationNotAvailableForResourceType",
        )
    has = (existing.document.get("location") if existing else None) or sent
    if normal_location(sent) != normal_location(has):
        raise ArmError(
            409,
            "InvalidResourceLocation",
            f"The resource '{existing.name if existing else ''}' already exists in location '{has}'. "
            f"A resource with the same name cannot be created in location '{sent}'. Please select a new resource name.",
        )


def check_name(name: str, pattern: str, what: str, rule: str) -> None:
    """Raises ArmError (400) for a name that Azure would refuse."""
    if not re.fullmatch(pattern, name):
        raise invalid(f"The {what} name '{name}' is invalid: {rule}.", "ValidationError")


def identity(cloud: Cloud, body: Json, existing: Resource | None, *, default: str | None = None) -> Json | None:
    """The identity block of an answer: principals of the system's and of the users' identities filled in.

    Raises:
        ArmError: 400 for an unknown type, or a user-assigned identity that does not exist.
    """
    sent = read.mapping(body, "identity")
    kinds = ("None", "SystemAssigned", "UserAssigned", "SystemAssigned,UserAssigned")
    folded = {**sent, "type": (read.text(sent, "type", "identity") or default or "").replace(" ", "") or None}
    kind = read.choice(folded, "type", kinds, None, "identity")
    if kind is None:
        return None
    answer: Json = {"type": kind}
    before = (existing.document.get("identity") if existing else None) or {}
    if "SystemAssigned" in kind:
        answer |= {"principalId": before.get("principalId") or str(uuid.uuid4()), "tenantId": cloud.settings.tenant_id}
    if "UserAssigned" in kind.split(","):
        named = read.mapping(sent, "userAssignedIdentities", "identity")
        answer["userAssignedIdentities"] = {each: _principal(cloud, each) for each in named}
    return answer


def _principal(cloud: Cloud, identity_id: str) -> Json:
    found = cloud.store.get(identity_id)
    if found is None or found.type.lower() != IDENTITY_TYPE.lower():
        raise ArmError(400, "FailedIdentityOperation", f"The user-assigned identity '{identity_id}' does not exist.")
    return {"clientId": found.properties["clientId"], "principalId": found.properties["principalId"]}


# Long operations ---------------------------------------------------------------------------------------------


def long_headers(
    cloud: Cloud, call: Call, family: Family, operation: Operation, location: str, *, resource: str = ""
) -> dict[str, str]:
    """The headers that send a client polling; `resource` is what `Location` names in place of a result route."""
    query = f"?api-version={call.api_version}"
    subscription = call.params["subscription"]
    headers = {"retry-after-ms": str(cloud.settings.operation_retry_after_ms)}
    if family.status:
        headers["Azure-AsyncOperation"] = (
            f"https://{call.host}{family.path(family.status, subscription, location, operation.id)}{query}"
        )
    if resource:
        headers["Location"] = f"https://{call.host}{resource}{query}"
    elif family.result:
        headers["Location"] = (
            f"https://{call.host}{family.path(family.result, subscription, location, operation.id)}{query}"
        )
    if family.timeout:
        headers["x-ms-async-operation-timeout"] = family.timeout
    return headers


def poll_routes(cloud: Cloud, *families: Family) -> list[Route]:
    """The routes at which operations are polled; families that share one are told apart by their prefix."""

    def status(call: Call) -> Answer:
        operation = _operation(cloud, call)
        prefix = operation.id.rpartition(":")[0].partition(":")[0]
        family = next((each for each in families if each.prefix == prefix), families[0])
        return Answer(200, family.poll(operation, call.path), _again(cloud, operation))

    def result(call: Call) -> Answer:
        operation = _operation(cloud, call)
        if operation.status == RUNNING:
            link = {"Location": f"https://{call.host}{call.path}?api-version={call.api_version}"}
            return Answer(202, headers=link | _again(cloud, operation))
        if operation.status == FAILED:
            error = operation.error or {}
            status = 409 if error.get("code") == DELETION_BLOCKED else 400
            raise ArmError(
                status, error.get("code") or "OperationFailed", error.get("message") or "The operation failed."
            )
        left = cloud.store.get(operation.resource)
        return Answer(200, left.document) if left else Answer(200)

    return [
        Route.of("GET", template, handler)
        for template, handler in zip(families[0].templates, (status, result), strict=True)
        if template
    ]


def _operation(cloud: Cloud, call: Call) -> Operation:
    found = cloud.store.operation(call.params["operation"])
    if found is None:
        raise ArmError(404, "OperationNotFound", f"The operation '{call.params['operation']}' was not found.")
    return found


def _again(cloud: Cloud, operation: Operation) -> dict[str, str]:
    return {"retry-after-ms": str(cloud.settings.operation_retry_after_ms)} if operation.status == RUNNING else {}


# A plain kind of resource ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Composed:
    """What a PUT makes of a body."""

    document: Json
    hidden: Json


Compose = Callable[[Call, Json, Resource | None, str], Composed]


@dataclass(frozen=True)
class Plain:
    """A resource type whose PUT is done when it is answered.

    Attributes:
        cloud: the cloud it lives in.
        type: ARM type.
        path: the path's template.
        compose: makes the document from call, body, what exists and the canonical id; raises ArmError to refuse.
        removed: called in the transaction of a DELETE, before the row goes.
        tracked: whether it has a location and can be listed by subscription.
        put: statuses for a new resource and for one that exists.
    """

    cloud: Cloud
    type: str
    path: str
    compose: Compose
    removed: Callable[[Call, Resource], None] | None = None
    tracked: bool = True
    put: tuple[int, int] = (201, 200)

    def routes(self) -> list[Route]:
        """PUT, PATCH, GET, DELETE and the lists."""
        collection = self.path.rpartition("/")[0]
        routes = [
            Route.of("PUT", self.path, self.create),
            Route.of("GET", self.path, lambda call: Answer(200, require(self.cloud, call).document)),
            Route.of("DELETE", self.path, self.delete),
            Route.of("GET", collection, self.list),
        ]
        if self.tracked:
            routes.append(Route.of("PATCH", self.path, self.patch))
            if "{" not in collection.removeprefix(GROUP):
                routes.append(Route.of("GET", collection.replace(GROUP, SUBSCRIPTION), self.list_all))
        return routes

    def create(self, call: Call) -> Answer:
        """PUT."""
        return self._write(call, call.json())

    def patch(self, call: Call) -> Answer:
        """PATCH: tags replaced, properties merged over what is there."""
        existing = require(self.cloud, call)
        sent = call.json()
        properties = {**existing.properties, **read.mapping(sent, "properties")}
        return self._write(call, {**existing.document, **sent, "properties": properties})

    def _write(self, call: Call, body: Json) -> Answer:
        require_parent(self.cloud, call)
        resource_id = canonical(self.cloud, call)
        existing = self.cloud.store.get(resource_id)
        self._check_location(body, existing)
        composed = self.compose(call, body, existing, resource_id)
        created = existing.created if existing else now()
        self.cloud.store.put(Resource(resource_id, self.type, composed.document, composed.hidden, created))
        return Answer(self.put[1] if existing else self.put[0], composed.document)

    def _check_location(self, body: Json, existing: Resource | None) -> None:
        if self.tracked:
            require_location(body, existing, self.type)

    def delete(self, call: Call) -> Answer:
        """DELETE: 204 where there was nothing."""
        require_group(self.cloud, call)
        existing = self.cloud.store.get(call.path)
        if existing is None:
            return Answer(204)
        if self.removed:
            self.removed(call, existing)
        self.cloud.store.delete(existing.id)
        return Answer(200)

    def list(self, call: Call) -> Answer:
        """The resources of this type in the group or the parent."""
        group = require_group(self.cloud, call)
        above = ids.Template(ids.parent(self.path)).fill(dict(call.params))
        if not ids.same(above, group.id) and self.cloud.store.get(above) is None:
            raise parent_not_found(above)
        return listing(self.cloud.store.below(above, self.type))

    def list_all(self, call: Call) -> Answer:
        """The resources of this type in the subscription."""
        require_subscription(self.cloud, call.params["subscription"])
        return listing(self.cloud.store.of_type(self.type))


def defaults(sent: Mapping[str, Any], **filled: Any) -> Json:
    """What was sent, over what Azure fills in; a null that was sent counts as not sent."""
    return {**filled, **{name: value for name, value in sent.items() if value is not None}}


def asked_name(cloud: Cloud, call: Call, kind: str) -> str:
    """The name that a `checkNameAvailability` is about. Raises ArmError (400, 404) for a type other than `kind`."""
    require_subscription(cloud, call.params["subscription"])
    sent = call.json()
    name = read.text(sent, "name", required=True) or ""
    asked = read.text(sent, "type", required=True) or ""
    if asked.lower() != kind.lower():
        raise invalid(f"'type' is '{asked}'; it must be {kind}.", "ValidationError")
    return name


def unavailable(reason: str, message: str) -> Json:
    """The answer of `checkNameAvailability` for a name that cannot be had."""
    return {"nameAvailable": False, "reason": reason, "message": message}


def keep_hidden(existing: Resource | None, **fresh: Any) -> Json:
    """What is kept beside a document: as it was, or fresh for a new resource."""
    return dict(existing.hidden) if existing else fresh


def with_state(resource: Resource, state: str) -> Resource:
    """A copy in another provisioning state."""
    return replace(resource.with_properties(provisioningState=state))
