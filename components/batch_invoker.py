"""Who starts the jobs of a batch endpoint's schedules: an identity that may do what that takes.

That is what Microsoft lists for invoking; it includes the keys of the workspace's storage account.
"""

import pulumi
from pulumi_azure_native import authorization, managedidentity

from components.naming import role_definition_name
from components.roles import STORAGE_BLOB_DATA_READER
from components.workspace import MLWorkspace
from dynamic.roles import RoleDefined

# What Azure asks of whoever invokes a batch endpoint, below Microsoft.MachineLearningServices/workspaces
# (https://learn.microsoft.com/azure/machine-learning/how-to-authenticate-batch-endpoint).
ACTIONS = (
    "read",
    "data/versions/write",
    "datasets/registered/read",
    "datasets/registered/write",
    "datasets/unregistered/read",
    "datasets/unregistered/write",
    "datastores/read",
    "datastores/write",
    "datastores/listsecrets/action",
    "listStorageAccountKeys/action",
    "batchEndpoints/read",
    "batchEndpoints/write",
    "batchEndpoints/deployments/read",
    "batchEndpoints/deployments/write",
    "batchEndpoints/deployments/jobs/write",
    "batchEndpoints/jobs/write",
    "computes/read",
    "computes/listKeys/action",
    "metadata/secrets/read",
    "metadata/snapshots/read",
    "metadata/artifacts/read",
    "metadata/artifacts/write",
    "experiments/read",
    "experiments/runs/submit/action",
    "experiments/runs/read",
    "experiments/runs/write",
    "metrics/resource/write",
    "modules/read",
    "models/read",
    "endpoints/pipelines/read",
    "endpoints/pipelines/write",
    "environments/read",
    "environments/write",
    "environments/build/action",
    "environments/readSecrets/action",
)


class BatchInvoker(pulumi.ComponentResource):
    """A user-assigned identity that may start jobs in the workspace and read its blobs, and the wait until it may.

    Schedules work under it and depend on `effective`, so that none of them begins before it may. `id` is the identity's
    ARM id.

    ```python
    invoker = BatchInvoker("tumor-batch-invoker", endpoint_name="tumor-batch", workspace=workspace)
    ```
    """

    def __init__(
        self,
        name: str,
        *,
        endpoint_name: str,
        workspace: MLWorkspace,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("azureml-endpoints:index:BatchInvoker", name, None, opts)
        identity = managedidentity.UserAssignedIdentity(
            f"{name}-user",
            resource_name_=f"id-{endpoint_name}-schedules",
            resource_group_name=workspace.resource_group_name,
            location=workspace.location,
            opts=pulumi.ResourceOptions(parent=self),
        )
        role, definition = self._role(name, endpoint_name, workspace)
        defined = RoleDefined(
            f"{name}-defined",
            inputs={
                "definition": {"id": definition.id, "createdOn": definition.created_on},
                "seconds": workspace.role_assignment_seconds / 4,
            },
            opts=pulumi.ResourceOptions(parent=self),
        )
        # Azure may refuse to take an assignment off a workspace that is being deleted: so it goes before that.
        needs = [defined, *workspace.purge]
        allowed = workspace.assign_role(f"{name}-role", workspace.id, role, identity, parent=self, depends_on=needs)
        # A job reads a URL of a blob, and a datastore without credentials, as who started it.
        blobs = workspace.assign_role(
            f"{name}-blobs", workspace.storage_id, STORAGE_BLOB_DATA_READER, identity, parent=self
        )
        self.effective = workspace.roles.effective(f"{name}-effective", [allowed, blobs], parent=self)
        self.id = identity.id
        self.register_outputs({"id": self.id})

    def _role(self, name: str, endpoint_name: str, workspace: MLWorkspace) -> tuple[str, authorization.RoleDefinition]:
        """The role and its GUID. A resource group is the least that a role can be for, and its name is a tenant's."""
        scope = f"/subscriptions/{workspace.subscription_id}/resourceGroups/{workspace.group_name}"
        role = role_definition_name(scope, endpoint_name)
        definition = authorization.RoleDefinition(
            f"{name}-definition",
            role_definition_id=role,
            role_name=f"Batch endpoint invoker {endpoint_name} ({role[:8]})",
            description=f"What starting batch jobs takes, storage keys among it; for the schedules of {endpoint_name}.",
            role_type="CustomRole",
            scope=workspace.group_id,
            assignable_scopes=[workspace.group_id],
            permissions=[
                authorization.PermissionArgs(
                    actions=[f"Microsoft.MachineLearningServices/workspaces/{action}" for action in ACTIONS],
                    not_actions=[],
                    data_actions=[],
                    not_data_actions=[],
                )
            ],
            opts=pulumi.ResourceOptions(parent=self),
        )
        return role, definition
