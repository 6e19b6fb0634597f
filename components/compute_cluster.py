"""A cluster of virtual machines for batch jobs."""

import pulumi
from pulumi_azure_native import machinelearningservices as ml

from components.cluster import Cluster
from components.existing import look_up, segments
from components.unchangeable import Unchangeable, both_or_neither
from components.workspace import MLWorkspace
from settings import ComputeClusterSettings

TIERS = {"dedicated": "Dedicated", "low_priority": "LowPriority"}


class ComputeCluster(Cluster):
    """A compute cluster that scales with its jobs and works under the workspace's cluster identity.

    One that is there (`existing`) is used as it is. `name` is its name in Azure.

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
        in_azure = segments(settings.existing)["computes"] if settings.existing else cluster_name
        super().__init__(name, cluster_name=in_azure, workspace=workspace, opts=opts)
        if settings.existing:
            self._use(settings.existing)
        else:
            properties = ml.AmlComputeArgs(
                compute_type="AmlCompute",
                disable_local_auth=True if workspace.keyless else None,
                properties=_machines(settings, workspace),
            )
            stays = _stays(f"computeClusters.{name}")
            self._bring_up("cluster", stays=stays, identity=self._identity_of_clusters(), properties=properties)
        self.register_outputs({"id": self.id, "name": self.name})

    def _use(self, existing: str) -> None:
        names = {"workspace_name": "workspaces", "compute_name": "computes"}
        path = f"computeClusters.{self._prefix}.existing"
        look_up(path, existing, self._workspace.subscription_id, ml.get_compute, **names)
        self.id = pulumi.Output.from_input(existing)


def _machines(settings: ComputeClusterSettings, workspace: MLWorkspace) -> ml.AmlComputePropertiesArgs:
    subnet = settings.subnet or workspace.cluster_subnet
    # In the managed network, or with the workspace's private endpoint, nodes need no address of their own.
    private = workspace.network.mode == "managed" or workspace.network.is_private
    return ml.AmlComputePropertiesArgs(
        vm_size=settings.vm_size,
        vm_priority=TIERS[settings.tier],
        os_type="Linux",
        remote_login_port_public_access="Disabled",
        subnet=ml.ResourceIdArgs(id=subnet) if subnet else None,
        enable_node_public_ip=False if private else None,
        scale_settings=ml.ScaleSettingsArgs(
            min_node_count=settings.min_instances,
            max_node_count=settings.max_instances,
            node_idle_time_before_scale_down=f"PT{settings.idle_time_before_scale_down}S",
        ),
    )


def _stays(key: str) -> list[Unchangeable]:
    machines = "properties.properties"
    another = "add a cluster of another name, let the batch deployments use that one, and remove this one."
    return [
        Unchangeable(f"{key}.vmSize", f"{machines}.vmSize", another),
        Unchangeable(f"{key}.tier", f"{machines}.vmPriority", another),
        Unchangeable(f"{key}.subnet", f"{machines}.subnet.id", another),
        # Not set is with addresses.
        Unchangeable("network", f"{machines}.enableNodePublicIp", f"{key}: {another}", both_or_neither(False)),
        Unchangeable("security.keyless", "properties.disableLocalAuth", f"{key}: {another}", both_or_neither(True)),
    ]
