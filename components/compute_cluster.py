"""A cluster of virtual machines for batch jobs."""

import pulumi
from pulumi_azure_native import machinelearningservices as ml

from components.cluster import Cluster
from components.workspace import MLWorkspace
from settings import ComputeClusterSettings

TIERS = {"dedicated": "Dedicated", "low_priority": "LowPriority"}


class ComputeCluster(Cluster):
    """A compute cluster that scales with its jobs and works under the workspace's cluster identity.

    ```python
    cluster = ComputeCluster("aml-cluster", cluster_name="aml-cluster", settings=settings, workspace=workspace)
    ```
    """

    removed_by = "Delete"

    def __init__(
        self,
        name: str,
        *,
        cluster_name: str,
        settings: ComputeClusterSettings,
        workspace: MLWorkspace,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(name, cluster_name=cluster_name, workspace=workspace, opts=opts)
        self._bring_up(
            "cluster",
            identity=self._identity_of_clusters(),
            properties=ml.AmlComputeArgs(compute_type="AmlCompute", properties=_machines(settings)),
        )
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
