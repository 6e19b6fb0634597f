"""User-assigned identities, role definitions and role assignments: recorded, but nothing is refused by them yet."""

from __future__ import annotations

import uuid
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid
from localazure.arm.ids import GROUP
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource, now
from localazure.providers.cloud import Cloud
from localazure.providers.common import IDENTITY_TYPE, Composed, Plain, check_name, envelope, require_subscription

IDENTITY = GROUP + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{identity}"
ASSIGNMENT_TYPE = "Microsoft.Authorization/roleAssignments"
ASSIGNMENTS = "/{scope*}/providers/Microsoft.Authorization/roleAssignments"
ASSIGNMENT = ASSIGNMENTS + "/{assignment}"
DEFINITION = "/{scope*}/providers/Microsoft.Authorization/roleDefinitions/{definition}"

# Azure's built-in roles that Azure ML endpoints need, by the GUIDs that Azure gives them everywhere.
BUILT_IN_ROLES = {
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635": "Owner",
    "b24988ac-6180-42a0-ab88-20f7382dd24c": "Contributor",
    "acdd72a7-3385-48ef-bd42-f606fba81ae7": "Reader",
    "7f951dda-4ed3-4680-a7ca-43fe172d538d": "AcrPull",
    "8311e382-0749-4cb8-b61a-304f252e45ec": "AcrPush",
    "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": "Storage Blob Data Reader",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "69566ab7-960f-475b-8e7c-b3118f30c6bd": "Storage File Data Privileged Contributor",
    "f6c7c914-8db3-469d-8ca1-694a8f32e121": "AzureML Data Scientist",
    "e503ece1-11d0-4e8e-8e2c-7a6c3bf38815": "AzureML Compute Operator",
    "00482a5a-887f-4fb3-b363-3b7fe8e74483": "Key Vault Administrator",
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": "Key Vault Secrets Officer",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
}


class Identities:
    """`Microsoft.ManagedIdentity/userAssignedIdentities` and `Microsoft.Authorization`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._identities = Plain(cloud, IDENTITY_TYPE, IDENTITY, self._compose)

    def routes(self) -> list[Route]:
        return [
            *self._identities.routes(),
            Route.of("PUT", ASSIGNMENT, self.assign),
            Route.of("GET", ASSIGNMENT, self.get),
            Route.of("DELETE", ASSIGNMENT, self.revoke),
            Route.of("GET", ASSIGNMENTS, self.list),
            Route.of("GET", DEFINITION, self.definition),
        ]

    def _compose(self, _call: Call, body: dict[str, Any], existing: Resource | None, resource_id: str) -> Composed:
        check_name(
            ids.name(resource_id),
            r"[A-Za-z0-9][A-Za-z0-9_-]{2,127}",
            "identity",
            "3 to 128 letters, digits, hyphens and underscores",
        )
        before = existing.properties if existing else {}
        properties = {
            "tenantId": self._cloud.settings.tenant_id,
            "principalId": before.get("principalId") or str(uuid.uuid4()),
            "clientId": before.get("clientId") or str(uuid.uuid4()),
        }
        return Composed(envelope(resource_id, IDENTITY_TYPE, body, properties=properties), {})

    def assign(self, call: Call) -> Answer:
        """PUT of a role assignment. A second one that says the same is refused, and so is any change."""
        scope = "/" + call.params["scope"].strip("/")
        self._require_scope(scope)
        sent = read.mapping(call.json(), "properties", required=True)
        role = read.text(sent, "roleDefinitionId", "properties", required=True) or ""
        principal = read.text(sent, "principalId", "properties", required=True) or ""
        _require_role(role)
        _require_guid(call.params["assignment"], "role assignment ID")
        _require_guid(principal, "principal ID")
        existing = self._cloud.store.get(call.path)
        if existing is not None:
            self._refuse_change(existing, role, principal)
            return Answer(200, existing.document)
        self._refuse_twin(scope, role, principal)
        document = self._document(call, sent, scope)
        self._cloud.store.put(Resource(document["id"], ASSIGNMENT_TYPE, document))
        return Answer(201, document)

    def _document(self, call: Call, sent: dict[str, Any], scope: str) -> dict[str, Any]:
        moment = now()
        who = str(call.caller.get("oid") or self._cloud.caller)
        filled = {"principalType": "User", "condition": None, "conditionVersion": None, "description": None, **sent}
        filled |= {"scope": scope, "createdOn": moment, "updatedOn": moment, "createdBy": who, "updatedBy": who}
        filled.setdefault("delegatedManagedIdentityResourceId", None)
        return {"id": call.path, "name": call.params["assignment"], "type": ASSIGNMENT_TYPE, "properties": filled}

    def _require_scope(self, scope: str) -> None:
        parts = scope.strip("/").split("/")
        if parts[0].lower() != "subscriptions" or len(parts) < 2:
            raise invalid(
                f"The scope '{scope}' is none that Local Azure knows: it begins with /subscriptions/…", "InvalidScope"
            )
        require_subscription(self._cloud, parts[1])
        if len(parts) > 2 and self._cloud.store.get(scope) is None:
            raise ArmError(
                404, "ResourceNotFound", f"The resource '{scope}' was not found, so no role can be assigned on it."
            )

    def _refuse_change(self, existing: Resource, role: str, principal: str) -> None:
        if existing.properties["principalId"] != principal or not ids.same(
            existing.properties["roleDefinitionId"], role
        ):
            raise ArmError(
                400,
                "RoleAssignmentUpdateNotPermitted",
                "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
            )

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
                    f"The role assignment already exists. The ID of the conflicting role assignment is {other.name}.",
                )

    def get(self, call: Call) -> Answer:
        found = self._cloud.store.get(call.path)
        if found is None:
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
        return Answer(200, found.document)

    def list(self, call: Call) -> Answer:
        """The assignments on a scope and below it."""
        scope = "/" + call.params["scope"].strip("/").lower()
        found = self._cloud.store.of_type(ASSIGNMENT_TYPE)
        return Answer(
            200,
            {
                "value": [
                    each.document for each in found if (each.properties["scope"].lower() + "/").startswith(scope + "/")
                ]
            },
        )

    def definition(self, call: Call) -> Answer:
        """GET of a built-in role."""
        guid = call.params["definition"].lower()
        _require_role(guid)
        properties = {"roleName": BUILT_IN_ROLES[guid], "type": "BuiltInRole", "assignableScopes": ["/"]}
        return Answer(
            200,
            {
                "id": call.path,
                "name": guid,
                "type": "Microsoft.Authorization/roleDefinitions",
                "properties": properties,
            },
        )


def _require_guid(text: str, what: str) -> None:
    try:
        uuid.UUID(text)
    except ValueError:
        raise invalid(f"The {what} '{text}' is not valid. The {what} must be a GUID.") from None


def _require_role(role: str) -> None:
    if ids.name(role).lower() not in BUILT_IN_ROLES:
        raise ArmError(
            404,
            "RoleDefinitionDoesNotExist",
            f"The specified role definition with ID '{ids.name(role)}' does not exist.",
        )
