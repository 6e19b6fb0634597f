"""The workspace and what it stands on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_azure_native import (
    applicationinsights,
    authorization,
    containerregistry,
    keyvault,
    managedidentity,
    operationalinsights,
    resources,
    storage,
)
from pulumi_azure_native import machinelearningservices as ml

from components.naming import global_name, name_in_azure, role_assignment_name
from dynamic.purge import VaultPurge, WorkspacePurge
from settings import Settings

# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
STORAGE_BLOB_DATA_CONTRIBUTOR = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"


WORKSPACE_ID = "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.MachineLearningServices/workspaces/{}"


@dataclass(frozen=True)
class Foundation:
    """A workspace, new or existing, and the ids of what it stands on; `resource` only where it is the stack's own."""

    id: pulumi.Output[str]
    guid: pulumi.Output[str]
    storage: pulumi.Input[str]
    registry: pulumi.Input[str] | None
    location: str
    resource: pulumi.CustomResource | None = None


class MLWorkspace(pulumi.ComponentResource):
    """An Azure ML workspace with storage, key vault, insights, registry, and an identity for its clusters.

    With `settings.workspace.existing` the workspace of that ARM id is used as it is, and only the identity is added.
    `address` is how dynamic resources name the workspace; its children are `deleted_with` the `resource`. `registry_id`
    is none where an existing workspace has no registry.

    ```python
    workspace = MLWorkspace("workspace", settings=settings)
    ```
    """

    def __init__(self, name: str, *, settings: Settings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("azureml-endpoints:index:MLWorkspace", name, None, opts)
        self._prefix, self._settings = name, settings
        client = self._client()
        self.subscription_id, self._tenant_id = client.subscription_id, client.tenant_id
        self.group_name, self.workspace_name = self._names()
        foundation = self._existing() if settings.workspace.existing else self._new(str(settings.location))
        self.id, self.guid, self.location = foundation.id, foundation.guid, foundation.location
        self.storage_id, self.registry_id = foundation.storage, foundation.registry
        self.role_assignment_seconds = settings.role_assignment_seconds
        self.resource = foundation.resource
        # Taken from the id, so that what is in the workspace also waits for it.
        self.resource_group_name = self.id.apply(lambda id_: id_.split("/")[4])
        self.group_id = self.id.apply(lambda id_: "/".join(id_.split("/")[:5]))
        self.name = self.id.apply(lambda id_: id_.rpartition("/")[2])
        self.address = {
            "subscriptionId": self.subscription_id,
            "resourceGroupName": self.resource_group_name,
            "workspaceName": self.name,
        }
        self.cluster_identity, self.cluster_roles = self._cluster_identity(foundation)
        self.purge: list[pulumi.Resource] = []
        if foundation.resource:
            inputs = {**self.address, "enabled": settings.purge_on_destroy}
            opts = self._opts(depends_on=[foundation.resource])
            self.purge = [WorkspacePurge(f"{name}-purge", inputs=inputs, opts=opts)]
        self.register_outputs({"id": self.id, "name": self.name, "location": self.location})

    def in_workspace(self, parent: pulumi.Resource, **options: Any) -> pulumi.ResourceOptions:
        """Options for what Azure deletes together with the workspace."""
        return pulumi.ResourceOptions(parent=parent, deleted_with=self.resource, **options)

    def asset_id(self, reference: str) -> pulumi.Output[str]:
        """The ARM id of `<kind>/<name>/versions/<version>` in this workspace; a registry's reference stays as it is."""
        if reference.startswith("azureml://"):
            return pulumi.Output.from_input(reference)
        return self.id.apply(lambda id_: f"{id_}/{reference}")

    def _client(self) -> authorization.GetClientConfigResult:
        try:
            return authorization.get_client_config(opts=pulumi.InvokeOptions(parent=self))
        except Exception as error:
            # Pulumi raises plain exceptions here; this is the first time that anything asks for Azure.
            raise pulumi.RunError(f"cannot log in to Azure: {error}") from None

    def _opts(self, **options: Any) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, **options)

    def _names(self) -> tuple[str, str]:
        """The names of the resource group and the workspace, as the configuration says them."""
        workspace = self._settings.workspace
        if workspace.existing is None:
            return self._settings.resource_group or f"rg-{workspace.name}", str(workspace.name)
        parts = workspace.existing.split("/")
        if parts[2].lower() != self.subscription_id.lower():
            raise pulumi.RunError(
                f"workspace.existing: it is in subscription {parts[2]}, but the stack deploys to "
                f"{self.subscription_id}; pulumi config set azure-native:subscriptionId {parts[2]}."
            )
        return parts[4], parts[8]

    def _existing(self) -> Foundation:
        found = ml.get_workspace(
            resource_group_name=self.group_name,
            workspace_name=self.workspace_name,
            opts=pulumi.InvokeOptions(parent=self),
        )
        if found.public_network_access == "Disabled":
            self._refuse_schedules()
        return Foundation(
            id=pulumi.Output.from_input(found.id),
            guid=pulumi.Output.from_input(found.workspace_id),
            storage=str(found.storage_account),
            registry=found.container_registry,
            location=str(found.location),
        )

    def _refuse_schedules(self) -> None:
        """Logic Apps of the consumption plan are in no network but Azure's public one. Raises `pulumi.RunError`."""
        endpoints = self._settings.batch_endpoints.items()
        if keys := [f"batchEndpoints.{name}.schedules" for name, endpoint in endpoints if endpoint.schedules]:
            raise pulumi.RunError(
                f"{', '.join(keys)}: workspace {self.workspace_name} has no public network access, so that a Logic App "
                "cannot reach it; remove schedules, and invoke the endpoint from within the network: by a pipeline of "
                "Azure Data Factory that has a managed private endpoint to the workspace, or by cron on a machine "
                "there (az ml batch-endpoint invoke)."
            )

    def _new(self, location: str) -> Foundation:
        group = resources.ResourceGroup(
            f"{self._prefix}-group", resource_group_name=self.group_name, location=location, opts=self._opts()
        )
        place: dict[str, Any] = {
            "resource_group_name": name_in_azure(group),
            "location": location,
            "opts": self._opts(),
        }
        account, registry = self._storage(place), self._registry(place)
        workspace = ml.Workspace(
            f"{self._prefix}-workspace",
            workspace_name=self.workspace_name,
            friendly_name=self.workspace_name,
            kind="Default",
            sku=ml.SkuArgs(name="Basic", tier=ml.SkuTier.BASIC),
            identity=ml.ManagedServiceIdentityArgs(type="SystemAssigned"),
            storage_account=account.id,
            key_vault=self._vault(place).id,
            application_insights=self._insights(place).id,
            container_registry=registry.id,
            public_network_access="Enabled",
            **place,
        )
        return Foundation(workspace.id, workspace.workspace_id, account.id, registry.id, location, workspace)

    def _global_name(self, longest: int) -> str:
        unique = WORKSPACE_ID.format(self.subscription_id, self.group_name, self.workspace_name)
        return global_name(self.workspace_name, unique, longest)

    def _storage(self, place: dict[str, Any]) -> storage.StorageAccount:
        return storage.StorageAccount(
            f"{self._prefix}-storage",
            account_name=self._global_name(24),
            kind="StorageV2",
            sku=storage.SkuArgs(name="Standard_LRS"),
            allow_blob_public_access=False,
            enable_https_traffic_only=True,
            minimum_tls_version="TLS1_2",
            **place,
        )

    def _vault(self, place: dict[str, Any]) -> keyvault.Vault:
        # A vault's name begins with a letter, a workspace's may not.
        vault_name = "kv" + self._global_name(22)
        inputs = {
            "subscriptionId": self.subscription_id,
            "location": place["location"],
            "name": vault_name,
            "enabled": self._settings.purge_on_destroy,
        }
        purge = VaultPurge(f"{self._prefix}-vault-purge", inputs=inputs, opts=self._opts())
        properties = keyvault.VaultPropertiesArgs(
            tenant_id=self._tenant_id,
            sku=keyvault.SkuArgs(family="A", name=keyvault.SkuName.STANDARD),
            enable_rbac_authorization=True,
            enable_soft_delete=True,
        )
        place = {**place, "opts": self._opts(depends_on=[purge])}
        return keyvault.Vault(f"{self._prefix}-vault", vault_name=vault_name, properties=properties, **place)

    def _insights(self, place: dict[str, Any]) -> applicationinsights.Component:
        logs = operationalinsights.Workspace(
            f"{self._prefix}-logs",
            # Log Analytics takes no underscore, and no hyphen at the end.
            workspace_name=f"log-{self.workspace_name.replace('_', '-').strip('-')}",
            sku=operationalinsights.WorkspaceSkuArgs(name="PerGB2018"),
            retention_in_days=30,
            **place,
        )
        return applicationinsights.Component(
            f"{self._prefix}-insights",
            resource_name_=f"appi-{self.workspace_name}",
            kind="web",
            application_type="web",
            workspace_resource_id=logs.id,
            **place,
        )

    def _registry(self, place: dict[str, Any]) -> containerregistry.Registry:
        return containerregistry.Registry(
            f"{self._prefix}-registry",
            registry_name=self._global_name(50),
            sku=containerregistry.SkuArgs(name="Basic"),
            admin_user_enabled=False,
            **place,
        )

    def _cluster_identity(
        self, foundation: Foundation
    ) -> tuple[managedidentity.UserAssignedIdentity, list[pulumi.Resource]]:
        """The identity of the clusters, with what Azure asks of one: to pull images, and to read and write blobs."""
        identity_name = self._settings.azure_name(f"id-{self.workspace_name}-clusters")
        identity = managedidentity.UserAssignedIdentity(
            f"{self._prefix}-identity",
            resource_name_=identity_name,
            resource_group_name=self.resource_group_name,
            location=foundation.location,
            opts=self._opts(),
        )
        blobs, images = f"{self._prefix}-identity-blobs", f"{self._prefix}-identity-images"
        roles: list[pulumi.Resource] = [
            self.assign_role(blobs, foundation.storage, STORAGE_BLOB_DATA_CONTRIBUTOR, identity, parent=self)
        ]
        if foundation.registry:
            roles.append(self.assign_role(images, foundation.registry, ACR_PULL, identity, parent=self))
        return identity, roles

    def assign_role(
        self,
        name: str,
        scope: pulumi.Input[str],
        role: str,
        identity: managedidentity.UserAssignedIdentity,
        *,
        parent: pulumi.Resource,
        depends_on: Sequence[pulumi.Resource] = (),
    ) -> authorization.RoleAssignment:
        """Gives an identity a role by its GUID, which a built-in one has everywhere."""
        workspace = WORKSPACE_ID.format(self.subscription_id, self.group_name, self.workspace_name)
        definitions = f"/subscriptions/{self.subscription_id}/providers/Microsoft.Authorization/roleDefinitions"
        return authorization.RoleAssignment(
            name,
            role_assignment_name=role_assignment_name(workspace, role, self._settings.azure_name(name)),
            scope=scope,
            role_definition_id=f"{definitions}/{role}",
            principal_id=identity.principal_id,
            # Without it Azure looks the principal up in a directory that may not know it yet.
            principal_type="ServicePrincipal",
            opts=pulumi.ResourceOptions(parent=parent, depends_on=[*depends_on]),
        )
