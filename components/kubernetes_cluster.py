"""A Kubernetes cluster that is attached to the workspace, for online endpoints to run on."""

from collections.abc import Mapping

import pulumi
from pulumi_azure_native import machinelearningservices as ml

from components.cluster import Cluster
from components.unchangeable import Unchangeable
from components.workspace import MLWorkspace
from settings import KubernetesClusterSettings
from settings.kubernetes import Amounts, InstanceTypeSettings

# What Kubernetes calls the things that a node has.
RESOURCES = {"cpu": "cpu", "memory": "memory", "gpu": "nvidia.com/gpu"}
# By Azure, where the configuration has none.
FILLED_IN = ["properties.properties.instanceTypes"]


class KubernetesCluster(Cluster):
    """An AKS or Arc cluster, attached: what waits for it is gone before it is detached. The cluster itself stays.

    ```python
    cluster = KubernetesCluster("aks", cluster_name="aks", settings=settings, workspace=workspace)
    ```
    """

    removed_by = "Detach"

    def __init__(
        self,
        name: str,
        *,
        cluster_name: str,
        settings: KubernetesClusterSettings,
        workspace: MLWorkspace,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(name, cluster_name=cluster_name, workspace=workspace, opts=opts)
        self.usual_type = settings.usual_type()
        self._bring_up(
            "attached",
            stays=_stays(f"kubernetesClusters.{name}"),
            identity=self._identity(settings),
            properties=ml.KubernetesArgs(
                compute_type="Kubernetes", resource_id=settings.cluster, properties=_offers(settings)
            ),
            ignore_changes=[] if settings.instance_types else FILLED_IN,
        )
        self.register_outputs({"id": self.id, "name": self.name})

    def _identity(self, settings: KubernetesClusterSettings) -> ml.ManagedServiceIdentityArgs | None:
        if settings.identity == "none":
            return None
        if settings.identity == "system":
            return ml.ManagedServiceIdentityArgs(type="SystemAssigned")
        return self._identity_of_clusters()


def _stays(key: str) -> list[Unchangeable]:
    another = "attach it under another name, let the endpoints use that one, and remove this one."
    return [
        Unchangeable(f"{key}.cluster", "properties.resourceId", another),
        Unchangeable(f"{key}.namespace", "properties.properties.namespace", another),
    ]


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
