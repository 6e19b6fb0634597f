"""User-assigned identities and role assignments; who needs which role is the other providers'."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid, not_emulated
from localazure.arm.ids import GROUP
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource, now
from localazure.providers.cloud import Cloud
from localazure.providers.common import (
    IDENTITY_TYPE,
    Composed,
    Plain,
    check_name,
    envelope,
    is_guid,
    listing,
    require_subscription,
)
from localazure.providers.filters import Term, read_filter
from localazure.providers.role_definitions import DEFINITIONS, RoleDefinitions, require_role

IDENTITY = GROUP + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{identity}"
AUTHORIZATION = "/providers/Microsoft.Authorization"
ASSIGNMENT_TYPE = "Microsoft.Authorization/roleAssignments"
ASSIGNMENTS = "/{scope*}" + AUTHORIZATION + "/roleAssignments"
ASSIGNMENT = ASSIGNMENTS + "/{assignment}"
PRINCIPAL_TYPES = ("User", "Group", "ServicePrincipal", "ForeignGroup", "Device")


class Identities:
    """`Microsoft.ManagedIdentity/userAssignedIdentities` and `Microsoft.Authorization`."""

    def __init__(self, cloud: Cloud, reassigned: Callable[[], None] = lambda: None) -> None:
        """`reassigned` is called after each change of a role assignment, once it is on disk."""
        self._cloud = cloud
        self._reassigned = reassigned
        self._identities = Plain(cloud, IDENTITY_TYPE, IDENTITY, self._compose)
        self._definitions = RoleDefinitions(cloud, self._require_scope, reassigned)

    def routes(self) -> list[Route]:
        recorded = "asked for by scoring with Entra tokens, and by deployments whose endpoint has an identity of yours"
        return [
            *self._identities.routes(),
            Route.of("PUT", ASSIGNMENT, self.assign, simplified=recorded),
            Route.of("GET", ASSIGNMENT, self.get),
            Route.of("DELETE", ASSIGNMENT, self.revoke),
            Route.of("GET", ASSIGNMENTS, self.list),
            *self._definitions.routes(),
        ]

    def _compose(self, _call: Call, body: dict[str, Any], existing: Resource | None, resource_id: str) -> Composed:
        check_name(
            ids.name(resource_id),
            r"[A-Za-z0-9][A-Za-z0-9_-]{2,127}",
            "identity",
            "3 to 128 letters, digits, hyphens and underscores, beginning with a letter or digit",
        )
        before = existing.properties if existing else {}
        properties = {
            "tenantId": self._cloud.settings.tenant_id,
            "principalId": before.get("principalId") or str(uuid.uuid4()),
            "clientId": before.get("clientId") or str(uuid.uuid4()),
        }
        return Composed(envelope(resource_id, IDENTITY_TYPE, body, properties=properties), {})

    # Role assignments ----------------------------------------------------------------------------------------

    def assign(self, call: Call) -> Answer:
        """PUT of a role assignment. A second one that says the same is refused, and so is a change of who or what."""
        scope = self._require_scope(call)
        sent = read.mapping(call.json(), "properties", required=True)
        role = read.text(sent, "roleDefinitionId", "properties", required=True) or ""
        principal = (read.text(sent, "principalId", "properties", required=True) or "").lower()
        _require_guid(call.params["assignment"], "role assignment ID")
        _require_guid(principal, "principal ID")
        resource_id = f"{scope}{AUTHORIZATION}/roleAssignments/{call.params['assignment'].lower()}"
        role = self._role_id(role)
        existing = self._cloud.store.get(resource_id)
        if existing is not None:
            _refuse_change(existing, role, principal)
        else:
            self._refuse_twin(scope, role, principal)
        kind = self._principal_type(sent, principal)
        properties = self._properties(call, sent, existing) | {
            "roleDefinitionId": role,
            "principalId": principal,
            "principalType": kind,
            "scope": scope,
        }
        document = {"id": resource_id, "name": ids.name(resource_id), "type": ASSIGNMENT_TYPE, "properties": properties}
        self._cloud.store.put(Resource(resource_id, ASSIGNMENT_TYPE, document))
        self._cloud.store.after_commit(self._reassigned)
        return Answer(200 if existing else 201, document)

    def _properties(self, call: Call, sent: dict[str, Any], existing: Resource | None) -> dict[str, Any]:
        moment = now()
        who = str(call.caller.get("oid") or self._cloud.caller)
        condition = read.text(sent, "condition", "properties")
        version = read.choice(sent, "conditionVersion", ("1.0", "2.0"), None, "properties")
        if condition and not version:
            raise invalid("'properties.conditionVersion' is required with a condition: 2.0.", "ValidationError")
        before = existing.properties if existing else {"createdOn": moment, "createdBy": who}
        return {
            "condition": condition,
            "conditionVersion": version,
            "description": read.text(sent, "description", "properties"),
            "delegatedManagedIdentityResourceId": read.text(sent, "delegatedManagedIdentityResourceId", "properties"),
            "createdOn": before["createdOn"],
            "updatedOn": moment,
            "createdBy": before["createdBy"],
            "updatedBy": who,
        }

    def _require_scope(self, call: Call) -> str:
        """The scope as its resource is spelled. Raises ArmError for what no role can be assigned on."""
        scope = "/" + call.params["scope"].strip("/")
        parts = scope.strip("/").split("/")
        if [part.lower() for part in parts[:2]] == ["providers", "microsoft.management"]:
            raise not_emulated(f"management groups ({scope})")
        if parts[0].lower() != "subscriptions" or len(parts) < 2:
            raise invalid(
                f"The scope '{scope}' is none that Local Azure knows: it begins with /subscriptions/…", "InvalidScope"
            )
        require_subscription(self._cloud, parts[1])
        if len(parts) == 2:
            return f"/subscriptions/{self._cloud.settings.subscription_id}"
        found = self._cloud.store.get(scope)
        if found is None:
            raise ArmError(
                404, "ResourceNotFound", f"The resource '{scope}' was not found, so no role can be assigned on it."
            )
        return found.id

    def _role_id(self, role: str) -> str:
        """The full id of a role. Raises ArmError (400, 404)."""
        guid = ids.name(role).lower()
        if not re.fullmatch(rf"(/subscriptions/[^/]+)?{DEFINITIONS}/[^/]+", role, re.IGNORECASE):
            raise invalid(
                f"The role definition ID '{role}' is not valid. It is "
                "/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{GUID}.",
                "InvalidRoleDefinitionId",
            )
        _require_guid(guid, "role definition ID")
        require_role(self._cloud, guid)
        return f"/subscriptions/{self._cloud.settings.subscription_id}{DEFINITIONS}/{guid}"

    def _principal_type(self, sent: dict[str, Any], principal: str) -> str:
        """What kind of principal it is; only Local Azure's own identities are known, others are taken at their word."""
        claimed = read.choice(sent, "principalType", PRINCIPAL_TYPES, None, "properties")
        known = principal in self._service_principals()
        if known and claimed not in (None, "ServicePrincipal"):
            raise invalid(
                f"The PrincipalId '{principal.replace('-', '')}' has type 'ServicePrincipal' , which is different from "
                f"specified PrinciaplType '{claimed}'.",
                "UnmatchedPrincipalType",
            )
        if known or claimed:
            return claimed or "ServicePrincipal"
        raise invalid(
            f"Principal {principal.replace('-', '')} does not exist in the directory {self._cloud.settings.tenant_id}. "
            "Check that you have the correct principal ID. If you are creating this principal and then immediately "
            "assigning a role, this error might be related to a replication delay. In this case, set the role "
            "assignment principalType property to a value, such as ServicePrincipal, User, or Group.  See "
            "https://aka.ms/docs-principaltype",
            "PrincipalNotFound",
        )

    def principal(self, selector: str) -> str | None:
        """The object id of a user-assigned identity by its client id, object id or resource id; None if unknown."""
        folded = selector.lower()
        for each in self._cloud.store.of_type(IDENTITY_TYPE):
            if folded in (each.properties["clientId"], each.properties["principalId"], each.id.lower()):
                return each.properties["principalId"]
        return None

    def _service_principals(self) -> set[str]:
        """The object ids of the managed identities: the caller's, the users' and the system's."""
        found = {self._cloud.caller.lower()}
        for each in self._cloud.store.below(f"/subscriptions/{self._cloud.settings.subscription_id}"):
            if each.type.lower() == IDENTITY_TYPE.lower():
                found.add(each.properties["principalId"].lower())
            block = each.document.get("identity") or {}
            if block.get("principalId"):
                found.add(str(block["principalId"]).lower())
        return found

    def _refuse_twin(self, scope: str, role: str, principal: str) -> None:
        for other in self._cloud.store.of_type(ASSIGNMENT_TYPE):
            found = other.properties
            if (
                found["principalId"] == principal
                and ids.same(found["scope"], scope)
                and ids.same(found["roleDefinitionId"], role)
            ):
                raise ArmError(
                    409,
                    "RoleAssignmentExists",
                    "The role assignment already exists. The ID of the conflicting role assignment is "
                    f"{other.name.replace('-', '')}.",
                )

    def get(self, call: Call) -> Answer:
        found = self._cloud.store.get(call.path)
        if found is None:
            self._require_scope(call)
            raise ArmError(
                404, "RoleAssignmentNotFound", f"The role assignment '{call.params['assignment']}' is not found."
            )
        return Answer(200, found.document)

    def revoke(self, call: Call) -> Answer:
        """DELETE: 204 where there was nothing."""
        found = self._cloud.store.get(call.path)
        if found is None:
            return Answer(204)
        self._cloud.store.delete(found.id)
        self._cloud.store.after_commit(self._reassigned)
        return Answer(200, found.document)

    def list(self, call: Call) -> Answer:
        """The assignments on a scope, above it and below it; with `atScope()` not those below."""
        scope = ids.key(self._require_scope(call)) + "/"
        wanted = read_filter(call, frozenset({"principalid", "assignedto", "atscope"}))

        def satisfies(each: Resource, term: Term) -> bool:
            if term.name == "atscope":
                return scope.startswith(ids.key(each.properties["scope"]) + "/")
            principal = each.properties["principalId"]
            if term.op == "call":
                return principal == term.value.strip("'").lower()
            return term.compares(principal)

        def is_near(each: Resource) -> bool:
            own = ids.key(each.properties["scope"]) + "/"
            return own.startswith(scope) or scope.startswith(own)

        found = [each for each in self._cloud.store.of_type(ASSIGNMENT_TYPE) if is_near(each)]
        return listing([each for each in found if wanted.keeps(lambda term, each=each: satisfies(each, term))])


def _refuse_change(existing: Resource, role: str, principal: str) -> None:
    held = existing.properties
    if held["principalId"] != principal or not ids.same(held["roleDefinitionId"], role):
        raise ArmError(
            400,
            "RoleAssignmentUpdateNotPermitted",
            "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
        )


def _require_guid(text: str, what: str) -> None:
    if not is_guid(text):
        raise invalid(f"The {what} '{text}' is not valid. The {what} must be a GUID.")
