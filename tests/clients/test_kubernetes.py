"""azure-ai-ml, as it is: a Kubernetes cluster is attached, and an online endpoint on it is made, called and removed."""

# The client declares less than it takes and more than it returns: unions and optionals that no answer of it is.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportOptionalMemberAccess=false

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import (
    KubernetesCompute,
    KubernetesOnlineDeployment,
    KubernetesOnlineEndpoint,
    Model,
    OnlineRequestSettings,
    ResourceRequirementsSettings,
    ResourceSettings,
    TargetUtilizationScaleSettings,
)
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential

from tests.clients.conftest import LOCATION, SCORING, Place, Waits

TYPES = {"small": {"resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1"}}}}
# No operation is slept on for as long as this, in seconds: without word from the server it would be 5 or 30.
SHORT = 1.0


@pytest.fixture(scope="module")
def ml(place: Place, environment: None) -> MLClient:
    return MLClient(DefaultAzureCredential(), place.subscription, place.group, place.workspace)


@pytest.fixture(scope="module")
def aks(place: Place, environment: None) -> str:
    """The id of an AKS cluster."""
    path = f"{place.group_id}/providers/Microsoft.ContainerService/managedClusters/aks"
    pools = [{"name": "system", "count": 1, "vmSize": "Standard_D4ds_v5", "mode": "System"}]
    return place.put(path, {"location": LOCATION, "properties": {"dnsPrefix": "aks", "agentPoolProfiles": pools}})["id"]


def attach(ml: MLClient, aks: str) -> str:
    """Attaches the cluster; the compute's name."""
    name = f"aks-x{uuid.uuid4().hex[:7]}"
    offered = {"instanceTypes": TYPES, "defaultInstanceType": "small"}
    wanted = KubernetesCompute(name=name, resource_id=aks, namespace="models", properties=offered)
    ml.compute.begin_create_or_update(wanted).result()
    return name


def test_a_cluster_is_attached_read_updated_and_detached(ml: MLClient, aks: str, waits: Waits) -> None:
    name = attach(ml, aks)
    read = ml.compute.get(name)
    assert (read.type, read.namespace, read.resource_id) == ("kubernetes", "models", aks)
    assert read.provisioning_state == "Succeeded"
    assert read.properties["instanceTypes"]["small"]["resources"]["limits"]["cpu"] == "1"
    ml.compute.begin_create_or_update(read).result()
    assert ml.compute.get(name).properties == read.properties
    assert name in [each.name for each in ml.compute.list(compute_type="Kubernetes")]
    ml.compute.begin_delete(name, action="Detach").result()
    with pytest.raises(ResourceNotFoundError):
        ml.compute.get(name)
    assert waits.longest < SHORT


def test_a_model_is_served_on_a_cluster(ml: MLClient, aks: str, tmp_path: Path, waits: Waits) -> None:
    cluster, name = attach(ml, aks), f"tumor-x{uuid.uuid4().hex[:7]}"
    made = ml.online_endpoints.begin_create_or_update(
        KubernetesOnlineEndpoint(name=name, compute=cluster, auth_mode="key")
    ).result()
    assert isinstance(made, KubernetesOnlineEndpoint)
    assert made.compute.endswith(f"/computes/{cluster}")

    blue = KubernetesOnlineDeployment(
        name="blue",
        endpoint_name=name,
        model=Model(path=SCORING / "models/mlflow", type="mlflow_model"),
        resources=ResourceRequirementsSettings(
            requests=ResourceSettings(cpu="100m", memory="0.5Gi"), limits=ResourceSettings(memory="1Gi")
        ),
        request_settings=OnlineRequestSettings(request_timeout_ms=300_000),
        scale_settings=TargetUtilizationScaleSettings(min_instances=1, max_instances=2, polling_interval=10),
    )
    done = ml.online_deployments.begin_create_or_update(blue).result()
    assert isinstance(done, KubernetesOnlineDeployment)
    read = ml.online_deployments.get("blue", name)
    assert (read.provisioning_state, read.instance_type, read.instance_count) == ("Succeeded", "small", 1)
    assert (read.resources.requests.cpu, read.resources.limits.memory) == ("100m", "1Gi")
    assert (read.scale_settings.max_instances, read.scale_settings.polling_interval) == (2, 10)
    assert read.request_settings.request_timeout_ms == 300_000

    made.traffic = {"blue": 100}
    ml.online_endpoints.begin_create_or_update(made).result()
    assert ml.online_endpoints.get(name).traffic == {"blue": 100}
    a_request_is_answered(ml, name, tmp_path)
    with pytest.raises(HttpResponseError, match="cannot be detached"):
        ml.compute.begin_delete(cluster, action="Detach").result()
    ml.online_endpoints.begin_delete(name).result()
    ml.compute.begin_delete(cluster, action="Detach").result()
    assert waits.longest < SHORT


def a_request_is_answered(ml: MLClient, endpoint: str, folder: Path) -> None:
    rows = json.loads((SCORING / "samples/request.json").read_text())["input_data"]
    request = folder / "request.json"
    request.write_text(json.dumps({"input_data": rows}))
    assert len(json.loads(ml.online_endpoints.invoke(endpoint, request_file=request))) == len(rows["data"])
