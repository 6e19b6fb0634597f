"""A cluster of virtual machines for batch jobs."""

import pulumi
from pulumi_azure_native import machinelearningservices as ml

from components.workspace import MLWorkspace
from dynamic.purge import ClusterRemoval
from settings import ComputeClusterSettings

TIERS = {"dedicated": "Dedicated", "low_priority": "LowPriority"}


class ComputeCluster(pulumi.ComponentResource):
    """A compute cluster that scales with its jobs and works under the workspace's cluster identity.

    ```python
    cluster = ComputeCluster("aml-cluster", cluster_name="aml-cluster", settings=settings, workspace=workspace)
    ```
    """

    def __init__(
        self,
        name: str,
        *,
        cluster_name: str,
        settings: ComputeClusterSettings,
        workspace: MLWorkspace,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("azureml-endpoints:index:ComputeCluster", name, None, opts)
        # This deletes it, see dynamic/purge.py; made first, so that a cluster whose creation is interrupted has it too.
        inputs = {**workspace.address, "name": cluster_name}
        removal = ClusterRemoval(f"{name}-removal", inputs=inputs, opts=workspace.in_workspace(self))
        identity = workspace.cluster_identity
        cluster = ml.Compute(
            f"{name}-cluster",
            compute_name=cluster_name,
            resource_group_name=workspace.resource_group_name,
            workspace_name=workspace.name,
            location=workspace.location,
            identity=ml.ManagedServiceIdentityArgs(type="UserAssigned", user_assigned_identities=[identity.id]),
            properties=ml.AmlComputeArgs(compute_type="AmlCompute", properties=_machines(settings)),
            # azure-native's DELETE lacks what Azure asks for, and is refused whether or not there is anything left.
            opts=workspace.in_workspace(self, depends_on=[*workspace.cluster_roles, removal], retain_on_delete=True),
        )
        self.id, self.name = cluster.id, cluster_name
        self.register_outputs({"id": self.id, "name": self.name})


def _machines(settings: ComputeClusterSettings) -> ml.AmlComputePropertiesArgs:
    return ml.AmlComputePropertiesArgs(
        vm_size=settings.vm_size,
        vm_priority=TIERS[settings.tier],
        os_type="Linux",
        remote_login_port_public_access="Disabled",
        scale_settings=ml.ScaleSettingsArgs(
            min_node_count=settings.min_instances,
            max_node_count=settings.max_instances,
            node_idle_time_before_scale_down=f"PT{settings.idle_time_before_scale_down}S",
        ),
    )
