"""A Kubernetes cluster that is attached to the workspace, for online endpoints to run on."""

from collections.abc import Mapping

import pulumi
from pulumi_azure_native import machinelearningservices as ml

from components.workspace import MLWorkspace
from dynamic.purge import ClusterRemoval
from settings import KubernetesClusterSettings
from settings.kubernetes import Amounts, InstanceTypeSettings

# What Kubernetes calls the things that a node has.
RESOURCES = {"cpu": "cpu", "memory": "memory", "gpu": "nvidia.com/gpu"}
# By Azure, where the configuration has none.
FILLED_IN = ["properties.properties.instanceTypes"]


class KubernetesCluster(pulumi.ComponentResource):
    """An AKS or Arc cluster, attached: what waits for it is gone before it is detached. The cluster itself stays.

    ```python
    cluster = KubernetesCluster("aks", cluster_name="aks", settings=settings, workspace=workspace)
    ```
    """

    def __init__(
        self,
        name: str,
        *,
        cluster_name: str,
        settings: KubernetesClusterSettings,
        workspace: MLWorkspace,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("azureml-endpoints:index:KubernetesCluster", name, None, opts)
        self._settings, self._workspace = settings, workspace
        # This detaches it, see dynamic/purge.py; made first, so that one whose attachment is interrupted has it too.
        inputs = {**workspace.address, "name": cluster_name, "action": "Detach"}
        removal = ClusterRemoval(f"{name}-removal", inputs=inputs, opts=workspace.in_workspace(self))
        cluster = ml.Compute(
            f"{name}-attached",
            compute_name=cluster_name,
            resource_group_name=workspace.resource_group_name,
            workspace_name=workspace.name,
            location=workspace.location,
            identity=self._identity(),
            properties=ml.KubernetesArgs(
                compute_type="Kubernetes", resource_id=settings.cluster, properties=_offers(settings)
            ),
            opts=workspace.in_workspace(
                self,
                depends_on=[*workspace.cluster_roles, removal],
                ignore_changes=[] if settings.instance_types else FILLED_IN,
                # azure-native's DELETE lacks what Azure asks for, and is refused whether or not there is anything left.
                retain_on_delete=True,
            ),
        )
        self.id, self.name, self.usual_type = cluster.id, cluster_name, settings.usual_type()
        self.register_outputs({"id": self.id, "name": self.name})

    def _identity(self) -> ml.ManagedServiceIdentityArgs | None:
        if self._settings.identity == "none":
            return None
        if self._settings.identity == "system":
            return ml.ManagedServiceIdentityArgs(type="SystemAssigned")
        own = self._workspace.cluster_identity.id
        return ml.ManagedServiceIdentityArgs(type="UserAssigned", user_assigned_identities=[own])


def _offers(settings: KubernetesClusterSettings) -> ml.KubernetesPropertiesArgs:
    types = settings.instance_types
    return ml.KubernetesPropertiesArgs(
        namespace=settings.namespace,
        # Azure brings a type of its own where none is given.
        instance_types={name: _instance_type(each) for name, each in types.items()} or None,
        default_instance_type=settings.usual_type(),
    )


def _instance_type(settings: InstanceTypeSettings) -> ml.InstanceTypeSchemaArgs:
    return ml.InstanceTypeSchemaArgs(
        node_selector=dict(settings.node_selector) or None,
        resources=ml.InstanceTypeSchemaResourcesArgs(
            requests=_resources(settings.requests), limits=_resources(settings.limits)
        ),
    )


def _resources(amounts: Amounts) -> Mapping[str, str]:
    given = amounts.model_dump(exclude_none=True)
    return {RESOURCES[key]: amount for key, amount in given.items()}
