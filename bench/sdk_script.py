"""The same work as `pulumi up`, as teams do it without: SDK calls one after another, each waited for.

Run with the variables of a Local Azure and with the stack's endpoints as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from azure.ai.ml import MLClient
from azure.ai.ml.constants import AssetTypes
from azure.ai.ml.entities import (
    AmlCompute,
    BatchEndpoint,
    CodeConfiguration,
    Environment,
    ManagedOnlineDeployment,
    ManagedOnlineEndpoint,
    Model,
    ModelBatchDeployment,
    ModelBatchDeploymentSettings,
    Workspace,
)
from azure.identity import DefaultAzureCredential
from azure.mgmt.core import ARMPipelineClient
from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy

GROUP, WORKSPACE, LOCATION, CLUSTER = "rg-script", "aml-script", "eastus", "aml-cluster"
ARM = "https://management.azure.com"
IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04"


def main() -> None:
    work = json.loads(sys.argv[1])
    credential = DefaultAzureCredential()
    make_group(credential)
    ml = MLClient(credential, os.environ["ARM_SUBSCRIPTION_ID"], GROUP, WORKSPACE, show_progress=False)
    ml.workspaces.begin_create(Workspace(name=WORKSPACE, location=LOCATION)).result()
    for name, colours in work["online"].items():
        make_online(ml, name, colours, Path(work["folder"]))
    if work["batch"]:
        make_batch(ml)


def make_group(credential: DefaultAzureCredential) -> None:
    """The resource group, for which azure-ai-ml has no call."""
    from azure.core.rest import HttpRequest

    login = ARMChallengeAuthenticationPolicy(credential, f"{ARM}/.default")
    path = f"{ARM}/subscriptions/{os.environ['ARM_SUBSCRIPTION_ID']}/resourceGroups/{GROUP}?api-version=2024-03-01"
    with ARMPipelineClient(base_url=ARM, policies=[login]) as client:
        client.send_request(HttpRequest("PUT", path, json={"location": LOCATION})).raise_for_status()


def make_online(ml: MLClient, name: str, colours: list[str], folder: Path) -> None:
    """An endpoint, its deployments, then its traffic."""
    endpoint = ml.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name, auth_mode="key")).result()
    for colour in colours:
        deployment = ManagedOnlineDeployment(
            name=colour,
            endpoint_name=name,
            model=Model(path=folder / "model.txt", type=AssetTypes.CUSTOM_MODEL),
            code_configuration=CodeConfiguration(code=str(folder), scoring_script="score.py"),
            environment=Environment(image=IMAGE, conda_file=folder / "conda.yaml"),
            instance_type="Standard_DS2_v2",
            instance_count=1,
        )
        ml.online_deployments.begin_create_or_update(deployment).result()
    endpoint.traffic = {colours[0]: 90, colours[1]: 10}
    ml.online_endpoints.begin_create_or_update(endpoint).result()


def make_batch(ml: MLClient) -> None:
    """The sample's cluster and batch endpoint with its two deployments and its default."""
    cluster = AmlCompute(name=CLUSTER, size="Standard_DS3_v2", min_instances=0, max_instances=4)
    ml.compute.begin_create_or_update(cluster).result()
    endpoint: Any = ml.batch_endpoints.begin_create_or_update(BatchEndpoint(name="tumor-batch")).result()
    script = CodeConfiguration(code="scoring/batch", scoring_script="score.py")
    environment = Environment(image=IMAGE, conda_file="scoring/batch/conda.yaml")
    make_batch_deployment(ml, "mlflow", AssetTypes.MLFLOW_MODEL)
    make_batch_deployment(ml, "custom", AssetTypes.CUSTOM_MODEL, code_configuration=script, environment=environment)
    endpoint.defaults.deployment_name = "mlflow"
    ml.batch_endpoints.begin_create_or_update(endpoint).result()


def make_batch_deployment(ml: MLClient, name: str, kind: str, **runs: Any) -> None:
    deployment = ModelBatchDeployment(
        name=name,
        endpoint_name="tumor-batch",
        # Named: under the name of its content a model has one type.
        model=Model(name=f"tumor-{name}", path="scoring/models/mlflow", type=kind),
        compute=CLUSTER,
        settings=ModelBatchDeploymentSettings(instance_count=1, mini_batch_size=2, output_action="append_row"),
        **runs,
    )
    ml.batch_deployments.begin_create_or_update(deployment).result()


if __name__ == "__main__":
    main()
