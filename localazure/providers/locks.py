"""Management locks: what lies at or below a locked scope is not deleted, or not written at all."""

from __future__ import annotations

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.common import Json, listing, system_data
from localazure.providers.scopes import delete_below, scope_of

LOCK_TYPE = "Microsoft.Authorization/locks"
LOCKS = "/{scope*}/providers/Microsoft.Authorization/locks"
LOCK = LOCKS + "/{lock}"
LEVELS = ("CanNotDelete", "ReadOnly")


class Locks:
    """`Microsoft.Authorization/locks`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        return [
            Route.of("PUT", LOCK, self.create),
            Route.of("GET", LOCK, self.get),
            Route.of("DELETE", LOCK, self.delete),
            Route.of("GET", LOCKS, self.list),
        ]

    def create(self, call: Call) -> Answer:
        """PUT: it holds at once, for the scope and for all below it."""
        scope, _ = scope_of(self._cloud, call, "locks")
        name = call.params["lock"]
        if name.endswith(".") or len(name) > 260:
            raise invalid(f"The lock name '{name}' is invalid: 1 to 260 characters, no period at the end.")
        sent = read.mapping(call.json(), "properties", required=True)
        level = read.choice(sent, "level", LEVELS, None, "properties")
        if level is None:
            raise invalid("'properties.level' is required: CanNotDelete or ReadOnly.", "LockLevelNotSpecified")
        properties: Json = {"level": level}
        if notes := read.text(sent, "notes", "properties"):
            if len(notes) > 512:
                raise invalid(f"'properties.notes' has {len(notes)} characters; it may have 512.")
            properties["notes"] = notes
        if owners := read.sequence(sent, "owners", "properties"):
            properties["owners"] = owners
        existing = self._cloud.store.get(self._id(scope, name))
        resource_id = existing.id if existing else self._id(scope, name)
        document = {"id": resource_id, "name": ids.name(resource_id), "type": LOCK_TYPE, "properties": properties}
        document["systemData"] = system_data(self._cloud, call, existing)
        self._cloud.store.put(Resource(resource_id, LOCK_TYPE, document))
        return Answer(200 if existing else 201, document)

    def get(self, call: Call) -> Answer:
        """GET."""
        scope, _ = scope_of(self._cloud, call, "locks")
        found = self._cloud.store.get(self._id(scope, call.params["lock"]))
        if found is None:
            raise ArmError(404, "LockNotFound", f"The lock '{call.params['lock']}' could not be found.")
        return Answer(200, found.document)

    def delete(self, call: Call) -> Answer:
        """DELETE: 204 where there was nothing."""
        return delete_below(self._cloud, call)

    def list(self, call: Call) -> Answer:
        """The locks of a scope and of all below it; with `$filter=atScope()` also of what is above, and none below."""
        scope, _ = scope_of(self._cloud, call, "locks")
        at_scope = "atscope" in call.query.get("$filter", "").lower()
        own = ids.key(scope) + "/"
        found = [
            each
            for each in self._cloud.store.of_type(LOCK_TYPE)
            if (own.startswith(_scope(each)) if at_scope else _scope(each).startswith(own))
        ]
        return listing(found)

    @staticmethod
    def _id(scope: str, name: str) -> str:
        return f"{scope}/providers/Microsoft.Authorization/locks/{name}"


def refuse_locked(cloud: Cloud, method: str, resource_id: str) -> None:
    """Refuses a write that a lock forbids: of what is at or below a locked scope, or of what holds one.

    A POST counts as a write, even one that lists keys.

    Raises:
        ArmError: 409.

    Source: https://learn.microsoft.com/azure/azure-resource-manager/management/lock-resources.
    """
    own = ids.key(resource_id) + "/"
    if "/providers/microsoft.authorization/locks/" in own:
        return
    deleting = method == "DELETE"
    levels = LEVELS if deleting else ("ReadOnly",)
    for lock in cloud.store.of_type(LOCK_TYPE):
        scope = _scope(lock)
        # A delete takes what is below along; a write does not.
        reached = own.startswith(scope) or (deleting and scope.startswith(own))
        if reached and lock.properties["level"] in levels:
            what = "delete" if deleting else "write"
            raise ArmError(
                409,
                "ScopeLocked",
                f"The scope '{resource_id}' cannot perform {what} operation because following scope(s) are locked: "
                f"'{scope_id(lock)}'. Please remove the lock and try again.",
            )


def scope_id(lock: Resource) -> str:
    """The id of what a lock is on."""
    return lock.id[: ids.key(lock.id).rindex("/providers/microsoft.authorization/locks/")]


def _scope(lock: Resource) -> str:
    return ids.key(scope_id(lock)) + "/"
