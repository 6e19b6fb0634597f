"""The workspace and what it stands on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_azure_native import authorization, managedidentity, resources
from pulumi_azure_native import machinelearningservices as ml

from components.existing import look_up, only_in, segments
from components.ground import WORKSPACE_ID, Ground
from components.naming import name_in_azure
from components.new_workspace import NewWorkspace
from components.protection import Protection
from components.roles import (
    ACR_PULL,
    ACR_PUSH,
    STORAGE_BLOB_DATA_CONTRIBUTOR,
    STORAGE_QUEUE_DATA_CONTRIBUTOR,
    STORAGE_TABLE_DATA_CONTRIBUTOR,
    Roles,
)
from components.uploader import Uploader
from dynamic.purge import WorkspacePurge
from settings import Settings
from settings.network_rules import NO_LOGIC_APP


@dataclass(frozen=True)
class Foundation:
    """A workspace, new or existing, and the ids of what it stands on; `resource` only where it is the stack's own."""

    id: pulumi.Output[str]
    guid: pulumi.Output[str]
    storage: pulumi.Input[str]
    registry: pulumi.Input[str] | None
    location: str
    new: NewWorkspace | None = None

    @property
    def resource(self) -> pulumi.CustomResource | None:
        return self.new and self.new.resource


class MLWorkspace(pulumi.ComponentResource):
    """An Azure ML workspace with storage, key vault, insights, registry, and an identity for its clusters.

    With `settings.workspace.existing` the workspace of that ARM id is used as it is, and only the identity is added.
    `address` is how dynamic resources name the workspace; its children are `deleted_with` the `resource`. `registry_id`
    is none where an existing workspace has no registry. What is uploaded, or scored, waits for `ready`; a cluster for
    the private ways in alone (`links`).

    ```python
    workspace = MLWorkspace("workspace", settings=settings)
    ```
    """

    def __init__(self, name: str, *, settings: Settings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("azureml-endpoints:index:MLWorkspace", name, None, opts)
        self._prefix, self._settings = name, settings
        self._client = self._log_in()
        self.subscription_id = self._client.subscription_id
        self.group_name, self.workspace_name = self._names()
        unique = WORKSPACE_ID.format(self.subscription_id, self.group_name, self.workspace_name)
        self.roles = Roles(self.subscription_id, unique, settings)
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
        self._builder = self._own_builder()
        self.cluster_identity, self.cluster_roles = self._cluster_identity()
        self._may_build = self._wait_to_build()
        self.keyless, self.network = settings.security.keyless, settings.network
        self.cluster_subnet = foundation.new and foundation.new.clusters
        self.purge: list[pulumi.Resource] = []
        self.links = self._complete(foundation.new)
        self.ready = [*self.links, *self._uploader()]
        self.outputs = {
            "subscriptionId": self.subscription_id,
            "resourceGroupName": self.group_name,
            "workspaceName": self.workspace_name,
        }
        self.register_outputs({"id": self.id, "name": self.name, "location": self.location})

    def protect(self, others: Sequence[pulumi.Resource]) -> None:
        """Where the stack is protected, has a destroy end before it deletes anything of the workspace or of these."""
        enabled = self._settings.protect
        if enabled is not None:
            Protection(f"{self._prefix}-protection", keeps=[self, *others], enabled=enabled)

    def in_workspace(self, parent: pulumi.Resource, **options: Any) -> pulumi.ResourceOptions:
        """Options for what Azure deletes together with the workspace."""
        return pulumi.ResourceOptions(parent=parent, deleted_with=self.resource, **options)

    def builders(self, clusters: Mapping[str, pulumi.Resource]) -> list[pulumi.Resource]:
        """The one of the stack's `clusters` that builds images, and its right to; none where something else does."""
        builder = clusters.get(self._builder or "")
        return [builder, *self._may_build] if builder else []

    def asset_id(self, reference: str) -> pulumi.Output[str]:
        """The ARM id of `<kind>/<name>/versions/<version>` in this workspace; a registry's reference stays as it is."""
        if reference.startswith("azureml://"):
            return pulumi.Output.from_input(reference)
        return self.id.apply(lambda id_: f"{id_}/{reference}")

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
        return self.roles.assign(name, scope, role, identity.principal_id, parent=parent, depends_on=depends_on)

    def _log_in(self) -> authorization.GetClientConfigResult:
        try:
            return authorization.get_client_config(opts=pulumi.InvokeOptions(parent=self))
        except Exception as error:
            # Pulumi raises plain exceptions here; this is the first time that anything asks for Azure.
            raise pulumi.RunError(f"cannot log in to Azure: {error}") from None

    def _opts(self, **options: Any) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, **options)

    def _names(self) -> tuple[str, str]:
        """The names of the resource group and the workspace, as the configuration says them."""
        workspace, group = self._settings.workspace, self._settings.resource_group
        if workspace.existing is None:
            if group and group.startswith("/"):
                only_in("resourceGroup", group, self.subscription_id)
                group = segments(group)["resourcegroups"]
            return group or f"rg-{workspace.name}", str(workspace.name)
        only_in("workspace.existing", workspace.existing, self.subscription_id)
        found = segments(workspace.existing)
        return found["resourcegroups"], found["workspaces"]

    def _existing(self) -> Foundation:
        path, there = "workspace.existing", str(self._settings.workspace.existing)
        found: Any = look_up(path, there, self.subscription_id, ml.get_workspace, workspace_name="workspaces")
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
        """Raises `pulumi.RunError`."""
        endpoints = self._settings.batch_endpoints.items()
        if keys := [f"batchEndpoints.{name}.schedules" for name, endpoint in endpoints if endpoint.schedules]:
            raise pulumi.RunError(
                f"{', '.join(keys)}: workspace {self.workspace_name} has no public network access, so that "
                f"{NO_LOGIC_APP}"
            )

    def _new(self, location: str) -> Foundation:
        ground = Ground(
            prefix=self._prefix,
            parent=self,
            settings=self._settings,
            subscription_id=self.subscription_id,
            tenant_id=self._client.tenant_id,
            group_name=self.group_name,
            workspace_name=self.workspace_name,
            group=self._group(location),
            location=location,
            roles=self.roles,
        )
        new = NewWorkspace(ground)
        made = new.resource
        return Foundation(made.id, made.workspace_id, new.parts.storage, new.parts.registry, location, new)

    def _group(self, location: str) -> pulumi.Input[str]:
        """The name of the resource group, which the stack makes unless it is there."""
        group, protect = self._settings.resource_group, True if self._settings.protect else None
        if group and group.startswith("/"):
            look_up("resourceGroup", group, self.subscription_id, resources.get_resource_group)
            return self.group_name
        made = resources.ResourceGroup(
            f"{self._prefix}-group",
            resource_group_name=self.group_name,
            location=location,
            # Whoever deletes a group deletes all that is in it.
            opts=self._opts(protect=protect),
        )
        return name_in_azure(made)

    def _own_builder(self) -> str | None:
        """The cluster that builds images, where the stack makes it: another works under an identity of its own."""
        name = self._settings.workspace.image_build_compute
        cluster = self._settings.compute_clusters.get(name or "")
        return name if cluster and cluster.existing is None else None

    def _wait_to_build(self) -> list[pulumi.Resource]:
        """The wait until images that are built can be stored: a deployment whose first build fails stays broken."""
        if not self._builder:
            return []
        return [self.roles.effective(f"{self._prefix}-identity-effective", self.cluster_roles, parent=self)]

    def _cluster_identity(
        self,
    ) -> tuple[managedidentity.UserAssignedIdentity | None, list[authorization.RoleAssignment]]:
        """The identity of the stack's clusters and its roles; none where no cluster works under it."""
        settings = self._settings
        made = any(cluster.existing is None for cluster in settings.compute_clusters.values())
        if not made and all(cluster.identity != "user" for cluster in settings.kubernetes_clusters.values()):
            return None, []
        identity_name = settings.azure_name(f"id-{self.workspace_name}-clusters")
        identity = managedidentity.UserAssignedIdentity(
            f"{self._prefix}-identity",
            resource_name_=identity_name,
            resource_group_name=self.resource_group_name,
            location=self.location,
            opts=self._opts(),
        )
        needs = self._cluster_needs()
        return identity, [
            self.assign_role(f"{self._prefix}-identity-{suffix}", scope, role, identity, parent=self)
            for suffix, (scope, role) in needs.items()
        ]

    def _cluster_needs(self) -> dict[str, tuple[pulumi.Input[str], str]]:
        """The scopes and roles, by what they are for.

        Source: https://learn.microsoft.com/azure/machine-learning/how-to-identity-based-service-authentication and, for
        what batch jobs need where there are no keys (parallel run step), how-to-disable-local-auth-storage.
        """
        settings = self._settings
        # To read models, code and inputs, and to write predictions and logs.
        needs: dict[str, tuple[pulumi.Input[str], str]] = {"blobs": (self.storage_id, STORAGE_BLOB_DATA_CONTRIBUTOR)}
        if self.registry_id:
            # To pull the images of environments.
            needs["images"] = (self.registry_id, ACR_PULL)
        if self.registry_id and self._builder:
            # What the cluster has built it stores there.
            needs["built"] = (self.registry_id, ACR_PUSH)
        if settings.security.keyless and settings.batch_endpoints:
            # A batch job keeps its progress there, by whoever it works under where there are no keys.
            needs["queues"] = (self.storage_id, STORAGE_QUEUE_DATA_CONTRIBUTOR)
            needs["tables"] = (self.storage_id, STORAGE_TABLE_DATA_CONTRIBUTOR)
        return needs

    def _complete(self, new: NewWorkspace | None) -> list[pulumi.Resource]:
        """What goes before the workspace does, and what leads to it. Returns what its users wait for."""
        if new is None:
            return []
        inputs = {**self.address, "enabled": self._settings.purge_on_destroy}
        opts = self._opts(depends_on=[new.resource])
        self.purge = [WorkspacePurge(f"{self._prefix}-purge", inputs=inputs, opts=opts)]
        return new.complete(self.purge, self.address)

    def _uploader(self) -> list[pulumi.Resource]:
        """The wait until whoever deploys may upload, where there are no keys for that."""
        security = self._settings.security
        principals = (self._client.object_id,) if security.deployers is None else security.deployers
        if not security.keyless or not principals:
            return []
        name, opts = f"{self._prefix}-uploader", self._opts()
        uploader = Uploader(name, principals=principals, storage_id=self.storage_id, roles=self.roles, opts=opts)
        return [uploader.effective]
