"""Azure's built-in roles by their GUIDs, and who gives them.

Source: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import authorization

from components.naming import role_assignment_name
from dynamic.roles import RolesEffective
from settings import Settings

ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
ACR_PUSH = "8311e382-0749-4cb8-b61a-304f252e45ec"
AZUREML_METRICS_WRITER = "635dd51f-9968-44d3-b7fb-6d9a6bd613ae"
CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"
KEY_VAULT_ADMINISTRATOR = "00482a5a-887f-4fb3-b363-3b7fe8e74483"
# Azure AI Enterprise Network Connection Approver.
NETWORK_CONNECTION_APPROVER = "b556d68e-0be0-4f35-a333-ad7ee1ce17ea"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
STORAGE_BLOB_DATA_CONTRIBUTOR = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
STORAGE_BLOB_DATA_READER = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"
STORAGE_FILE_DATA_PRIVILEGED_CONTRIBUTOR = "69566ab7-960f-475b-8e7c-b3118f30c6bd"
STORAGE_QUEUE_DATA_CONTRIBUTOR = "974c5e8b-45b9-4653-ba55-5f855dd0fb88"
STORAGE_TABLE_DATA_CONTRIBUTOR = "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3"


@dataclass(frozen=True)
class Roles:
    """Gives roles for one workspace, whose id (`unique`) makes the names of the assignments."""

    subscription_id: str
    unique: str
    settings: Settings

    def assign(
        self,
        name: str,
        scope: pulumi.Input[str],
        role: str,
        principal_id: pulumi.Input[str],
        *,
        parent: pulumi.Resource,
        is_new: bool = True,
        depends_on: Sequence[pulumi.Resource] = (),
    ) -> authorization.RoleAssignment:
        """Gives a role by its GUID, which a built-in one has everywhere.

        Of a new identity Azure must be told what it is, since its directory may not know it yet. What is there already
        (not `is_new`) Azure looks up: it may be a person, a group or a service principal. A plain None would be a
        person to azure-native.
        """
        kind = pulumi.Output.from_input("ServicePrincipal" if is_new else None)
        definitions = f"/subscriptions/{self.subscription_id}/providers/Microsoft.Authorization/roleDefinitions"
        return authorization.RoleAssignment(
            name,
            role_assignment_name=role_assignment_name(self.unique, role, self.settings.azure_name(name)),
            scope=scope,
            role_definition_id=f"{definitions}/{role}",
            principal_id=principal_id,
            principal_type=kind,
            opts=pulumi.ResourceOptions(parent=parent, depends_on=[*depends_on]),
        )

    def effective(
        self, name: str, assignments: Sequence[authorization.RoleAssignment], *, parent: pulumi.Resource
    ) -> RolesEffective:
        """The wait until Azure goes by these assignments."""
        ids = [{"id": each.id, "createdOn": each.created_on} for each in assignments]
        inputs = {"assignments": ids, "seconds": self.settings.role_assignment_seconds}
        return RolesEffective(name, inputs=inputs, opts=pulumi.ResourceOptions(parent=parent))
