"""Layer: components under Pulumi's mocks; an attached Kubernetes cluster, and the online endpoints on it."""

from pathlib import Path
from typing import Any

import pytest

from components.kubernetes_cluster import KubernetesCluster
from components.online_endpoint import OnlineEndpoint
from components.workspace import MLWorkspace
from settings import parse
from tests.components.test_program import MLFLOW, raw

AKS = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerService/managedClusters/aks"
TYPES = {
    "small": {"requests": {"cpu": 0.5, "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
    "large": {"nodeSelector": {"pool": "gpu"}, "limits": {"gpu": 1}},
}


def stack(run: Any, cluster: dict[str, Any], endpoint: dict[str, Any]) -> Any:
    """A workspace with one cluster and one endpoint on it."""

    def change(values: dict[str, Any]) -> None:
        values |= {"computeClusters": {}, "batchEndpoints": {}, "onlineEndpoints": {"tumor-aks": endpoint}}
        values["kubernetesClusters"] = {"aks": {"cluster": AKS, **cluster}} if cluster is not None else {}

    def program() -> None:
        settings = parse(raw(change))
        workspace = MLWorkspace("workspace", settings=settings)
        clusters = {
            name: KubernetesCluster(name, cluster_name=name, settings=own, workspace=workspace)
            for name, own in settings.kubernetes_clusters.items()
        }
        own = settings.online_endpoints["tumor-aks"]
        OnlineEndpoint("tumor-aks", endpoint_name="tumor-aks", settings=own, workspace=workspace, clusters=clusters)

    return run(program)


def endpoint(**deployment: Any) -> dict[str, Any]:
    return {"kubernetes": "aks", "deployments": {"blue": {**MLFLOW, **deployment}}, "traffic": {"blue": 100}}


def told(world: Any) -> dict[str, Any]:
    (deployment,) = world.of_type(":OnlineDeployment")
    return deployment.inputs["properties"]


def test_a_cluster_is_attached_with_its_instance_types(run: Any, project: Path) -> None:
    world = stack(run, {"namespace": "models", "instanceTypes": TYPES, "defaultInstanceType": "small"}, endpoint())
    properties = world["aks-attached"].inputs["properties"]
    assert (properties["computeType"], properties["resourceId"]) == ("Kubernetes", AKS)
    inner = properties["properties"]
    assert (inner["namespace"], inner["defaultInstanceType"]) == ("models", "small")
    assert inner["instanceTypes"]["small"]["resources"] == {
        "requests": {"cpu": "0.5", "memory": "1Gi"},
        "limits": {"memory": "1Gi"},
    }
    large = inner["instanceTypes"]["large"]
    assert (large["nodeSelector"], large["resources"]["limits"]) == ({"pool": "gpu"}, {"nvidia.com/gpu": "1"})
    assert "identity" not in world["aks-attached"].inputs
    assert world["aks-attached"].ignored == []


@pytest.mark.parametrize(("identity", "kind"), [("system", "SystemAssigned"), ("user", "UserAssigned")])
def test_a_cluster_works_under_the_identity_that_is_asked_for(
    run: Any, project: Path, identity: str, kind: str
) -> None:
    world = stack(run, {"identity": identity}, endpoint())
    assert world["aks-attached"].inputs["identity"]["type"] == kind
    assert "instanceTypes" not in world["aks-attached"].inputs["properties"]["properties"], "Azure brings its own"
    assert world["aks-attached"].ignored == ["properties.properties.instanceTypes"], "which is no drift"


def test_a_cluster_is_detached_after_the_endpoints_on_it(run: Any, project: Path) -> None:
    world = stack(run, {}, endpoint())
    assert world["aks-removal"].inputs["action"] == "Detach"
    assert "aks-removal" in world["aks-attached"].dependencies, "one whose attachment is interrupted has it too"
    assert world["aks-attached"].request.retainOnDelete, "azure-native's own DELETE would be refused"
    on_it = world["tumor-aks-endpoint"]
    assert {"aks-attached", "aks-removal"} <= on_it.dependencies, "else it would be detached under the endpoint"
    assert on_it.inputs["properties"]["compute"].endswith("/aks")


def test_an_endpoint_can_be_on_a_cluster_that_is_attached_already(run: Any, project: Path) -> None:
    world = stack(run, {}, endpoint(instanceType="gpu") | {"kubernetes": "azureml:old"})
    assert world["tumor-aks-endpoint"].inputs["properties"]["compute"].endswith("/aml-test/computes/old")


def test_a_deployment_on_a_cluster_says_so_and_what_it_asks_for(run: Any, project: Path) -> None:
    resources = {"requests": {"cpu": "100m"}, "limits": {"memory": "2Gi", "gpu": 1}}
    properties = told(stack(run, {}, endpoint(resources=resources)))
    assert properties["endpointComputeType"] == "Kubernetes"
    assert properties["scaleSettings"] == {"scaleType": "Default"}
    assert properties["containerResourceRequirements"] == {
        "containerResourceRequests": {"cpu": "100m"},
        "containerResourceLimits": {"memory": "2Gi", "gpu": "1"},
    }


@pytest.mark.parametrize(
    ("cluster", "named", "told_type"),
    [
        ({}, None, "defaultinstancetype"),
        ({"instanceTypes": {"small": TYPES["small"]}}, None, "small"),
        ({"instanceTypes": TYPES, "defaultInstanceType": "large"}, None, "large"),
        ({"instanceTypes": TYPES, "defaultInstanceType": "large"}, "small", "small"),
    ],
)
def test_a_deployment_is_of_an_instance_type_of_the_cluster(
    run: Any, project: Path, cluster: dict[str, Any], named: str | None, told_type: str
) -> None:
    more = {"instanceType": named} if named else {}
    found = told(stack(run, cluster, endpoint(**more)))["instanceType"]
    assert found == told_type, "azure-native fills in the size of a virtual machine where none is said"


def test_what_a_container_asks_for_makes_a_revision(run: Any, project: Path) -> None:
    names = [
        stack(run, {}, endpoint(**more)).of_type(":OnlineDeployment")[0].inputs["deploymentName"]
        for more in ({}, {"resources": {"requests": {"cpu": 1}}}, {"resources": {"requests": {"cpu": 2}}})
    ]
    assert len({*names}) == 3


def test_on_a_cluster_its_router_scales_and_not_azure_monitor(run: Any, project: Path) -> None:
    autoscale = {"minInstances": 2, "maxInstances": 6, "pollingInterval": 10}
    world = stack(run, {}, endpoint(autoscale=autoscale))
    assert told(world)["scaleSettings"] == {
        "scaleType": "TargetUtilization",
        "minInstances": 2.0,
        "maxInstances": 6.0,
        "targetUtilizationPercentage": 70.0,
        "pollingInterval": "PT10S",
    }
    assert not world.of_type(":AutoscaleSetting")
    (deployment,) = world.of_type(":OnlineDeployment")
    assert "sku.capacity" in deployment.ignored
