"""What the clusters of a workspace have in common, whatever they are made of."""

from abc import ABC
from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi_azure_native import machinelearningservices as ml

from components.existing import look_up
from components.ground import WORKSPACE_ID
from components.unchangeable import Unchangeable, kept
from components.workspace import MLWorkspace
from dynamic.purge import ClusterRemoval


class Cluster(pulumi.ComponentResource, ABC):
    """A compute of the workspace; a kind of cluster is a subclass. `name` is its name in Azure.

    It is removed by a resource of its own: azure-native's DELETE lacks what Azure asks for, and is refused whether or
    not there is anything left.
    """

    removed_by: str
    """What becomes of it: `Delete`, or `Detach`, after which the cluster itself is still there."""

    def __init__(
        self, name: str, *, cluster_name: str, workspace: MLWorkspace, opts: pulumi.ResourceOptions | None
    ) -> None:
        super().__init__(f"azureml-endpoints:index:{type(self).__name__}", name, None, opts)
        self._prefix, self._workspace = name, workspace
        self.name = cluster_name

    def _bring_up(
        self, role: str, *, stays: Sequence[Unchangeable], ignore_changes: Sequence[str] = (), **compute: Any
    ) -> None:
        """The compute, as Azure describes it, and what removes it. `stays` is what of it cannot be changed."""
        workspace = self._workspace
        # Made first, so that a cluster whose creation is interrupted has it too.
        inputs = {**workspace.address, "name": self.name, "action": self.removed_by}
        removal = ClusterRemoval(f"{self._prefix}-removal", inputs=inputs, opts=workspace.in_workspace(self))
        cluster = ml.Compute(
            f"{self._prefix}-{role}",
            compute_name=self.name,
            resource_group_name=workspace.resource_group_name,
            workspace_name=workspace.name,
            location=workspace.location,
            **compute,
            opts=workspace.in_workspace(
                self,
                # Nodes without a public address begin by the private endpoint of their workspace, where it has one
                # (https://learn.microsoft.com/azure/machine-learning/how-to-secure-training-vnet).
                depends_on=[*workspace.cluster_roles, *workspace.links, removal],
                ignore_changes=list(ignore_changes),
                retain_on_delete=True,
                hooks=kept(f"{self._prefix}-{role}", *stays),
            ),
        )
        self.id = cluster.id

    def _identity_of_clusters(self) -> ml.ManagedServiceIdentityArgs:
        own = self._workspace.cluster_identity
        ids = [own.id] if own else []
        return ml.ManagedServiceIdentityArgs(type="UserAssigned", user_assigned_identities=ids)


def compute_there(path: str, name: str, workspace: MLWorkspace) -> pulumi.Output[str]:
    """The ARM id of a compute that is in the workspace already: named at `path` by that, or as `azureml:<name>`.

    It is looked up, so that one that is not there ends a preview. Raises `pulumi.RunError`.
    """
    unique = WORKSPACE_ID.format(workspace.subscription_id, workspace.group_name, workspace.workspace_name)
    below = f"/computes/{name.removeprefix('azureml:')}"
    names = {"workspace_name": "workspaces", "compute_name": "computes"}
    there = name if name.startswith("/") else unique + below
    look_up(path, there, workspace.subscription_id, ml.get_compute, **names)
    return pulumi.Output.from_input(name) if there == name else workspace.id.apply(lambda id_: id_ + below)
