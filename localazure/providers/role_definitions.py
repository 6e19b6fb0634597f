"""`Microsoft.Authorization/roleDefinitions`: the built-in roles, and custom ones with what they allow.

Source: https://learn.microsoft.com/azure/role-based-access-control/custom-roles and
https://learn.microsoft.com/azure/role-based-access-control/troubleshooting#custom-roles.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource, now
from localazure.providers.cloud import Cloud
from localazure.providers.common import is_guid
from localazure.providers.filters import Term, read_filter
from localazure.providers.roles import BUILT_IN_ROLES

Json = dict[str, Any]

TYPE = "Microsoft.Authorization/roleDefinitions"
DEFINITIONS = "/providers/Microsoft.Authorization/roleDefinitions"
DEFINITION = DEFINITIONS + "/{definition}"
SCOPED = "/{scope*}" + DEFINITIONS
_ASSIGNMENT_TYPE = "Microsoft.Authorization/roleAssignments"
_CUSTOM = "CustomRole"
_KINDS = ("actions", "notActions", "dataActions", "notDataActions")
_ACTION = re.compile(r"\*|[A-Za-z*][\w.*-]*(/[\w.*-]+)+", re.ASCII)
# The least is a resource group: docs, "Custom role properties", AssignableScopes.
_ASSIGNABLE = re.compile(r"/subscriptions/[^/]+(/resourceGroups/[^/]+)?", re.IGNORECASE)


class RoleDefinitions:
    """Role definitions, as ARM shows them."""

    def __init__(self, cloud: Cloud, require_scope: Callable[[Call], str], changed: Callable[[], None]) -> None:
        """`require_scope` refuses what no role can be for; `changed` is called once a change is on disk."""
        self._cloud, self._require_scope, self._changed = cloud, require_scope, changed

    def routes(self) -> list[Route]:
        partly = "some of the built-in roles, without their permissions, and custom roles"
        asked = "of what a custom role allows, only starting batch jobs and scoring are asked for"
        return [
            Route.of("GET", DEFINITIONS, self.list, simplified=partly),
            Route.of("GET", DEFINITION, self.get, simplified=partly),
            Route.of("GET", SCOPED, self.list, simplified=partly),
            Route.of("GET", SCOPED + "/{definition}", self.get, simplified=partly),
            Route.of("PUT", SCOPED + "/{definition}", self.put, simplified=asked),
            Route.of("DELETE", SCOPED + "/{definition}", self.delete),
        ]

    def list(self, call: Call) -> Answer:
        """The roles; `$filter` by name or type."""
        if "scope" in call.params:
            self._require_scope(call)
        wanted = read_filter(call, frozenset({"rolename", "type", "atscopeandbelow", "atscope"}))

        def satisfies(role: Json, term: Term) -> bool:
            properties = role["properties"]
            return term.op == "call" or term.compares(
                properties["roleName"] if term.name == "rolename" else properties["type"]
            )

        custom = [each.document for each in self._cloud.store.of_type(TYPE)]
        roles = [*(self._built_in(call, guid) for guid in BUILT_IN_ROLES), *custom]
        found = [each for each in roles if wanted.keeps(lambda term, each=each: satisfies(each, term))]
        return Answer(200, {"value": found})

    def get(self, call: Call) -> Answer:
        """GET of a role."""
        if "scope" in call.params:
            self._require_scope(call)
        guid = call.params["definition"].lower()
        if found := custom_role(self._cloud, guid):
            return Answer(200, found.document)
        require_role(self._cloud, guid)
        return Answer(200, self._built_in(call, guid))

    def put(self, call: Call) -> Answer:
        """PUT of a custom role. Raises ArmError (400; 403 for a built-in one; 409 for a name that is taken)."""
        self._require_scope(call)
        guid = call.params["definition"].lower()
        if not is_guid(guid):
            raise invalid(f"The role definition ID '{guid}' is not valid. The role definition ID must be a GUID.")
        if guid in BUILT_IN_ROLES:
            raise ArmError(403, "RoleDefinitionCannotBeUpdated", f"'{BUILT_IN_ROLES[guid]}' is a built-in role.")
        existing = custom_role(self._cloud, guid)
        properties = self._properties(call, existing)
        resource_id = _id(self._cloud, guid)
        document = {"properties": properties, "id": resource_id, "type": TYPE, "name": guid}
        self._cloud.store.put(Resource(resource_id, TYPE, document))
        self._cloud.store.after_commit(self._changed)
        return Answer(201, document)

    def _properties(self, call: Call, existing: Resource | None) -> Json:
        sent = read.mapping(call.json(), "properties", required=True)
        read.choice(sent, "type", (_CUSTOM,), _CUSTOM, "properties")
        name = read.text(sent, "roleName", "properties", required=True) or ""
        self._refuse_twin(name, existing)
        moment, who = now(), str(call.caller.get("oid") or self._cloud.caller)
        before = existing.properties if existing else {"createdOn": moment, "createdBy": who}
        return {
            "roleName": name,
            "type": _CUSTOM,
            "description": read.text(sent, "description", "properties") or "",
            "assignableScopes": _scopes(sent),
            "permissions": _permissions(sent),
            "createdOn": before["createdOn"],
            "updatedOn": moment,
            "createdBy": before["createdBy"],
            "updatedBy": who,
        }

    def _refuse_twin(self, name: str, existing: Resource | None) -> None:
        custom = {each.properties["roleName"].lower(): each.id for each in self._cloud.store.of_type(TYPE)}
        taken = custom.keys() | {each.lower() for each in BUILT_IN_ROLES.values()}
        if name.lower() in taken and not (existing and custom.get(name.lower()) == existing.id):
            raise ArmError(
                409,
                "RoleDefinitionWithSameNameExists",
                f"A custom role with the same name '{name}' already exists in this directory. Use a different name.",
            )

    def delete(self, call: Call) -> Answer:
        """DELETE: 204 where there was nothing. Raises ArmError (403; 409 for a role that somebody has)."""
        self._require_scope(call)
        guid = call.params["definition"].lower()
        if guid in BUILT_IN_ROLES:
            raise ArmError(403, "RoleDefinitionCannotBeDeleted", f"'{BUILT_IN_ROLES[guid]}' is a built-in role.")
        found = custom_role(self._cloud, guid)
        if found is None:
            return Answer(204)
        held = self._cloud.store.of_type(_ASSIGNMENT_TYPE)
        if any(ids.name(each.properties["roleDefinitionId"]).lower() == guid for each in held):
            raise ArmError(
                409,
                "RoleDefinitionHasAssignments",
                "There are existing role assignments referencing role. Remove them first.",
            )
        self._cloud.store.delete(found.id)
        return Answer(200, found.document)

    def _built_in(self, call: Call, guid: str) -> Json:
        above = f"/subscriptions/{self._cloud.settings.subscription_id}" if "scope" in call.params else ""
        properties = {
            "roleName": BUILT_IN_ROLES[guid],
            "type": "BuiltInRole",
            "description": "",
            "assignableScopes": ["/"],
            "permissions": [],
        }
        return {"id": f"{above}{DEFINITIONS}/{guid}", "name": guid, "type": TYPE, "properties": properties}


def custom_role(cloud: Cloud, guid: str) -> Resource | None:
    """A custom role by its GUID."""
    return cloud.store.get(_id(cloud, guid))


def require_role(cloud: Cloud, guid: str) -> None:
    """Raises ArmError (404) for a role that there is not."""
    if guid.lower() not in BUILT_IN_ROLES and custom_role(cloud, guid) is None:
        raise ArmError(
            404, "RoleDefinitionDoesNotExist", f"The specified role definition with ID '{guid}' does not exist."
        )


def allows(role: Resource, action: str) -> bool:
    """Whether a custom role allows an action of the control plane."""
    return any(
        _matches(each["actions"], action) and not _matches(each["notActions"], action)
        for each in role.properties["permissions"]
    )


def _matches(patterns: Sequence[str], action: str) -> bool:
    return any(_covers(pattern.lower(), action.lower()) for pattern in patterns)


def _covers(pattern: str, action: str) -> bool:
    # Not a regular expression: those go back for each `*`, which takes longer than anybody waits after a few.
    first, *rest = pattern.split("*")
    if not rest:
        return action == first
    last, start = rest.pop(), len(first)
    for part in rest:
        found = action.find(part, start)
        if found < 0:
            return False
        start = found + len(part)
    return action.startswith(first) and action.endswith(last) and start + len(last) <= len(action)


def _id(cloud: Cloud, guid: str) -> str:
    return f"/subscriptions/{cloud.settings.subscription_id}{DEFINITIONS}/{guid.lower()}"


def _texts(sent: Json, name: str, where: str) -> list[str]:
    return [read.text({name: each}, name, where, required=True) or "" for each in read.sequence(sent, name, where)]


def _scopes(sent: Json) -> list[str]:
    scopes = _texts(sent, "assignableScopes", "properties")
    if not scopes:
        raise invalid("'properties.assignableScopes' must name at least one scope.", "MissingAssignableScopes")
    for scope in scopes:
        if not _ASSIGNABLE.fullmatch(scope):
            raise invalid(
                f"'{scope[:200]}' is not a valid assignable scope: a subscription or a resource group.",
                "InvalidAssignableScope",
            )
    return scopes


def _permissions(sent: Json) -> list[Json]:
    where, found = "properties.permissions", []
    for each in read.sequence(sent, "permissions", "properties"):
        own = read.mapping({"permissions": each}, "permissions", "properties", required=True)
        found.append({kind: _texts(own, kind, where) for kind in _KINDS})
    named = [action for permission in found for actions in permission.values() for action in actions]
    for action in named:
        if not _ACTION.fullmatch(action) or any(part.count("*") > 1 for part in action.split("/")):
            raise invalid(f"'{action[:200]}' does not match any of the actions supported.", "InvalidActionOrNotAction")
    if not named:
        raise invalid("'properties.permissions' allows nothing.", "RoleDefinitionHasNoPermissions")
    return found
