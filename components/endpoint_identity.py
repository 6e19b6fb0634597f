"""The identity that the deployments of an endpoint work under, where the stack makes it."""

import pulumi
from pulumi_azure_native import managedidentity

from components.roles import (
    ACR_PULL,
    AZUREML_METRICS_WRITER,
    STORAGE_BLOB_DATA_CONTRIBUTOR,
    STORAGE_BLOB_DATA_READER,
)
from components.workspace import MLWorkspace


class EndpointIdentity(pulumi.ComponentResource):
    """A user-assigned identity with the roles that Azure gives an identity of its own, and the wait for them.

    Deployments fetch their model and their image with it, so they depend on `effective`; the endpoint itself does not,
    and is made meanwhile. With `collects` a data collector may write, too. `id` is the identity's ARM id.

    ```python
    identity = EndpointIdentity("tumor-online-identity", identity_name="id-tumor-online", workspace=workspace)
    ```
    """

    def __init__(
        self,
        name: str,
        *,
        identity_name: str,
        workspace: MLWorkspace,
        collects: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("azureml-endpoints:index:EndpointIdentity", name, None, opts)
        identity = managedidentity.UserAssignedIdentity(
            f"{name}-user",
            resource_name_=identity_name,
            resource_group_name=workspace.resource_group_name,
            location=workspace.location,
            opts=pulumi.ResourceOptions(parent=self),
        )
        assignments = [
            # Azure may refuse to take an assignment off a workspace that is being deleted: so it goes before that.
            workspace.assign_role(f"{name}-{suffix}", scope, role, identity, parent=self, depends_on=workspace.purge)
            for suffix, (scope, role) in _needs(workspace, collects).items()
        ]
        self.effective = workspace.roles.effective(f"{name}-effective", assignments, parent=self)
        self.id = identity.id
        self.register_outputs({"id": self.id})


def _needs(workspace: MLWorkspace, collects: bool) -> dict[str, tuple[pulumi.Input[str], str]]:
    """The scopes and roles, by what they are for.

    Source: https://learn.microsoft.com/azure/machine-learning/concept-endpoints-online-auth. That the system's own
    identity also gets the right to write metrics is seen in the service.
    """
    needs: dict[str, tuple[pulumi.Input[str], str]] = {
        # To fetch models and code.
        "blobs": (workspace.storage_id, STORAGE_BLOB_DATA_READER),
        # To record what deployments measure of themselves.
        "metrics": (workspace.id, AZUREML_METRICS_WRITER),
    }
    if workspace.registry_id is None:
        raise pulumi.RunError(
            f"identity: user needs the role AcrPull on the registry of workspace {workspace.workspace_name}, which "
            "has none yet; attach one to the workspace, or use identity: system."
        )
    # To pull the images of environments.
    needs["images"] = (workspace.registry_id, ACR_PULL)
    if collects:
        # The data collector writes as the deployment.
        needs["collected"] = (workspace.storage_id, STORAGE_BLOB_DATA_CONTRIBUTOR)
    return needs
