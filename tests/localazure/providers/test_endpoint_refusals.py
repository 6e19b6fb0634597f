"""What Azure refuses to write of endpoints and deployments, and the words it does it in; a refusal changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from localazure.providers.ml import content, endpoint_rules
from tests.localazure.providers.conftest import Cloud, FakeServing, booted

Json = dict[str, Any]
MODELS = "localazure.providers.ml.online_serving"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One Local Azure for all: the endpoint `online` with blue (all traffic) and green, and `batch` with first."""
    folder = tmp_path_factory.mktemp("refusals")
    with pytest.MonkeyPatch.context() as patch:
        found = content.ModelFiles(folder, folder / "model")
        patch.setattr(f"{MODELS}.model_files", lambda *args: found)
        patch.setattr(f"{MODELS}.code_folder", lambda *args: folder)
        with booted(folder / "home", FakeServing()) as made:
            made.prepare()
            prepare(made)
            yield made


def prepare(cloud: Cloud) -> None:
    online, batch = cloud.endpoint(), f"{cloud.workspace}/batchEndpoints/batch"
    cloud.put(online, cloud.endpoint_body())
    for name in ("blue", "green"):
        cloud.put(f"{online}/deployments/{name}", cloud.deployment_body())
    cloud.put(online, cloud.endpoint_body(traffic={"blue": 100}))
    size = {"vmSize": "Standard_DS3_v2", "scaleSettings": {"maxNodeCount": 1}}
    cluster = {"location": "eastus", "properties": {"computeType": "AmlCompute", "properties": size}}
    cloud.put(f"{cloud.workspace}/computes/cluster", cluster)
    cloud.put(batch, batch_endpoint())
    cloud.put(f"{batch}/deployments/first", batch_deployment(cloud))
    cloud.put(batch, batch_endpoint(defaults={"deploymentName": "first"}))
    workspace = cloud.get(cloud.workspace)
    own = {name: workspace["properties"][name] for name in ("storageAccount", "keyVault")}
    other = {"location": "eastus", "identity": {"type": "SystemAssigned"}, "properties": own}
    cloud.put(f"{cloud.workspace}2", other)
    model = {"properties": {"modelUri": "azureml://datastores/d/paths/m", "modelType": "mlflow_model"}}
    cloud.put(f"{cloud.workspace}2/models/mlflow/versions/1", model)


def batch_endpoint(**properties: Any) -> Json:
    return {"location": "eastus", "properties": {"authMode": "AADToken", **properties}}


def batch_deployment(cloud: Cloud, **properties: Any) -> Json:
    own = {
        "model": {"referenceType": "Id", "assetId": f"{cloud.workspace}/models/mlflow/versions/1"},
        "compute": f"{cloud.workspace}/computes/cluster",
        **properties,
    }
    return {"location": "eastus", "properties": own}


def refused(cloud: Cloud, method: str, path: str, body: Json | None, said: str, status: int = 400) -> None:
    """Sends what is refused, with `said` in the answer, and sees that nothing has changed."""
    kinds = ("onlineEndpoints", "onlineEndpoints/online/deployments")
    kinds += ("batchEndpoints", "batchEndpoints/batch/deployments")
    before = [cloud.get(f"{cloud.workspace}/{kind}") for kind in kinds]
    answer = cloud.send(method, path, body)
    assert said in cloud.refusal(answer, status)
    assert answer.headers["x-ms-response-type"] == "error"
    assert [cloud.get(f"{cloud.workspace}/{kind}") for kind in kinds] == before


# Endpoints --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"location": None}, "location property is required"),
        ({"location": "westus"}, "'eastus': they must be in the same"),
        ({"properties": None}, "'properties' is required"),
        ({"properties": {}}, "'properties.authMode' is required"),
        ({"properties": {"authMode": "Password"}}, "'Password'"),
        ({"properties": {"authMode": "Key", "publicNetworkAccess": "Perhaps"}}, "'Perhaps'"),
        ({"properties": {"authMode": "Key", "traffic": {"blue": 100}}}, "'blue'"),
        ({"properties": {"authMode": "Key", "traffic": {"blue": 0}}}, "its deployments are: none"),
        ({"properties": {"authMode": "Key", "properties": ["a"]}}, "must be an object"),
        ({"properties": {"authMode": "AMLToken", "keys": {"primaryKey": "a"}}}, "auth mode Key only"),
        ({"properties": {"authMode": "Key", "keys": {"primaryKey": "a", "secondaryKey": "a"}}}, "same key twice"),
        ({"properties": {"authMode": "Key", "keys": {"primaryKey": "a b"}}}, "printable ASCII"),
        ({"identity": {"type": "Nobody"}}, "Nobody"),
        ({"identity": {"type": "UserAssigned"}}, "names no identity"),
        ({"identity": {"type": "UserAssigned", "userAssignedIdentities": {"/x/y": {}}}}, "'/x/y' does not exist"),
        ({"tags": {"a": {}}}, "must be a string"),
    ],
)
def test_an_online_endpoint_that_says_something_wrong_is_not_created(cloud: Cloud, change: Json, said: str) -> None:
    body = {name: value for name, value in (cloud.endpoint_body() | change).items() if value is not None}
    refused(cloud, "PUT", cloud.endpoint("another"), body, said)


@pytest.mark.parametrize(
    ("change", "said", "status"),
    [
        ({"location": "westus"}, "already exists in location 'eastus'", 409),
        ({"properties": {"authMode": "AMLToken"}}, "cannot be changed from Key to AMLToken", 400),
        ({"properties": {"authMode": "Key", "keys": {"primaryKey": "mine"}}}, "at creation only", 400),
        ({"identity": {"type": "None"}}, "cannot be changed after its creation", 400),
        ({"properties": {"authMode": "Key", "traffic": {"blue": 90}}}, "add up to 90", 400),
        ({"properties": {"authMode": "Key", "traffic": {"blue": 90, "green": 20}}}, "add up to 110", 400),
        ({"properties": {"authMode": "Key", "traffic": {"blue": 50, "BLUE": 50}}}, "twice", 400),
        ({"properties": {"authMode": "Key", "traffic": ["blue"]}}, "must be an object", 400),
        ({"properties": {"authMode": "Key", "mirrorTraffic": {"green": 51}}}, "the most is 50", 400),
        ({"properties": {"authMode": "Key", "mirrorTraffic": {"purple": 10}}}, "'purple'", 400),
        (
            {"properties": {"authMode": "Key", "traffic": {"blue": 100}, "mirrorTraffic": {"blue": 10}}},
            "cannot receive mirrored traffic as well",
            400,
        ),
    ],
)
def test_an_online_endpoint_is_not_changed_into_what_azure_refuses(
    cloud: Cloud, change: Json, said: str, status: int
) -> None:
    refused(cloud, "PUT", cloud.endpoint(), cloud.endpoint_body() | change, said, status)


def test_a_third_kind_of_deployment_is_said_not_to_be_emulated(cloud: Cloud) -> None:
    body = cloud.deployment_body(endpointComputeType="AzureMLCompute")
    refused(cloud, "PUT", f"{cloud.endpoint()}/deployments/k8s", body, "AzureMLCompute", 501)


@pytest.mark.parametrize("name", ["ab", "1abc", "abc-", "a" * 33, "a_b", "a.b"])
@pytest.mark.parametrize("below", ["onlineEndpoints", "batchEndpoints", "onlineEndpoints/online/deployments"])
def test_a_name_has_3_to_32_letters_digits_and_hyphens(cloud: Cloud, name: str, below: str) -> None:
    body = batch_endpoint() if below == "batchEndpoints" else cloud.endpoint_body()
    body = cloud.deployment_body() if below.endswith("deployments") else body
    refused(cloud, "PUT", f"{cloud.workspace}/{below}/{name}", body, "3 to 32")


@pytest.mark.parametrize(
    ("workspace", "taken"),
    [("", "batchEndpoints/ONLINE"), ("", "onlineEndpoints/Batch"), ("2", "onlineEndpoints/Online")],
)
def test_a_name_is_taken_by_both_sorts_in_every_workspace_and_case(cloud: Cloud, workspace: str, taken: str) -> None:
    body = batch_endpoint() if taken.startswith("batch") else cloud.endpoint_body()
    path = f"{cloud.workspace}{workspace}/{taken}"
    refused(cloud, "PUT", path, body, "There is already an endpoint with this name", 409)


def test_a_region_has_so_many_endpoints_and_deployments_and_an_endpoint_20(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = (endpoint_rules.ENDPOINTS_PER_REGION, endpoint_rules.DEPLOYMENTS_PER_REGION)
    assert (*limits, endpoint_rules.DEPLOYMENTS_PER_ENDPOINT) == (100, 500, 20), "documented limits"
    third = f"{cloud.endpoint()}/deployments/third"
    monkeypatch.setattr(endpoint_rules, "ENDPOINTS_PER_REGION", 2)
    refused(cloud, "PUT", cloud.endpoint("third"), cloud.endpoint_body(), "has 2 endpoints in region 'eastus'")
    monkeypatch.setattr(endpoint_rules, "DEPLOYMENTS_PER_ENDPOINT", 2)
    refused(cloud, "PUT", third, cloud.deployment_body(), "Endpoint online has 2 deployments; the limit is 2")
    monkeypatch.setattr(endpoint_rules, "DEPLOYMENTS_PER_ENDPOINT", 20)
    monkeypatch.setattr(endpoint_rules, "DEPLOYMENTS_PER_REGION", 3)
    refused(cloud, "PUT", third, cloud.deployment_body(), "has 3 deployments in region 'eastus'")


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("onlineEndpoints/online", {"properties": {"traffic": {"green": 100}}}, "'properties' cannot be patched"),
        ("onlineEndpoints/online", {"identity": {"type": "None"}}, "cannot be changed after its creation"),
        ("onlineEndpoints/online/deployments/blue", {"properties": {}}, "only tags and sku can"),
        ("onlineEndpoints/online/deployments/blue", {"sku": {"capacity": 51}}, "between 1 and 50"),
        ("batchEndpoints/batch", {"properties": {}}, "only tags and identity can"),
        ("batchEndpoints/batch/deployments/first", {"properties": {"compute": "x"}}, "'compute' cannot be patched"),
        ("batchEndpoints/batch/deployments/first", {"sku": {}}, "'sku' cannot be patched"),
    ],
)
def test_a_patch_changes_only_what_a_patch_can(cloud: Cloud, path: str, body: Json, said: str) -> None:
    refused(cloud, "PATCH", f"{cloud.workspace}/{path}", body, said)


@pytest.mark.parametrize(
    ("action", "body", "said"),
    [
        ("regenerateKeys", {}, "'keyType' is required"),
        ("regenerateKeys", {"keyType": "Third"}, "'Third'"),
        ("regenerateKeys", {"keyType": "Primary", "keyValue": ""}, "printable ASCII"),
        ("regenerateKeys", {"keyType": "Primary", "keyValue": 5}, "must be a string"),
        ("token", None, "only one with AMLToken"),
    ],
)
def test_a_key_or_token_that_cannot_be_had_is_refused(cloud: Cloud, action: str, body: Json | None, said: str) -> None:
    keys = cloud.send("POST", f"{cloud.endpoint()}/listKeys").json()
    refused(cloud, "POST", f"{cloud.endpoint()}/{action}", body, said)
    assert cloud.send("POST", f"{cloud.endpoint()}/listKeys").json() == keys


def test_a_key_is_not_made_the_same_as_the_other(cloud: Cloud) -> None:
    keys = cloud.send("POST", f"{cloud.endpoint()}/listKeys").json()
    body = {"keyType": "Primary", "keyValue": keys["secondaryKey"]}
    refused(cloud, "POST", f"{cloud.endpoint()}/regenerateKeys", body, "is the secondary key")


# What is not there ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "PATCH"])
@pytest.mark.parametrize(
    "path", ["onlineEndpoints/none", "batchEndpoints/none", "onlineEndpoints/online/deployments/none"]
)
def test_what_is_not_there_is_answered_by_resource_manager(cloud: Cloud, method: str, path: str) -> None:
    error = cloud.send(method, f"{cloud.workspace}/{path}", {}).json()["error"]
    what = f"Microsoft.MachineLearningServices/workspaces/work/{path}"
    assert error == {
        "code": "ResourceNotFound",
        "message": f"The Resource '{what}' under resource group 'rg' was not found.",
    }


@pytest.mark.parametrize("collection", ["onlineEndpoints", "batchEndpoints"])
def test_nothing_is_deployed_to_an_endpoint_that_is_not_there(cloud: Cloud, collection: str) -> None:
    path = f"{cloud.workspace}/{collection}/none/deployments"
    answer = cloud.send("PUT", f"{path}/blue", cloud.deployment_body())
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "ParentResourceNotFound")
    assert cloud.send("GET", path).status_code == 404
    assert cloud.send("DELETE", f"{path}/blue").status_code == 204


# Online deployments -----------------------------------------------------------------------------------------------


SCRIPT = {"codeId": "azureml:code:1", "scoringScript": "score.py"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"endpointComputeType": None}, "'properties.endpointComputeType' is required"),
        ({"endpointComputeType": "Serverless"}, "'Serverless'"),
        ({"instanceType": None}, "'properties.instanceType' is required"),
        ({"instanceType": "huge"}, "'huge'"),
        ({"model": None}, "'properties.model' is required"),
        ({"model": "mlflow"}, "is no reference to an asset"),
        ({"model": "azureml:nothing:1"}, "'azureml:nothing:1' that 'properties.model' names was not found"),
        ({"model": "azureml:custom:1"}, "needs 'codeConfiguration'"),
        ({"model": "azureml:custom:1", "environmentId": "azureml:env:1"}, "needs 'codeConfiguration'"),
        ({"codeConfiguration": SCRIPT}, "needs 'environmentId'"),
        ({"codeConfiguration": {"codeId": "azureml:code:1"}}, "scoringScript' is required"),
        ({"codeConfiguration": {"scoringScript": "score.py"}}, "codeId' is required"),
        ({"codeConfiguration": SCRIPT | {"scoringScript": "../score.py"}}, "below the code's folder"),
        ({"codeConfiguration": SCRIPT | {"codeId": "azureml:code:2"}, "environmentId": "azureml:env:1"}, "code:2"),
        ({"codeConfiguration": SCRIPT, "environmentId": "azureml:env:2"}, "'azureml:env:2'"),
        ({"environmentVariables": ["A"]}, "must be an object"),
        ({"environmentVariables": {"A": []}}, "must be a string"),
        ({"appInsightsEnabled": "yes"}, "must be true or false"),
        ({"egressPublicNetworkAccess": "Some"}, "'Some'"),
        ({"scaleSettings": {"scaleType": "TargetUtilization"}}, "Default only"),
        ({"scaleSettings": {"maxInstances": 3}}, "scaleType' is required"),
        ({"requestSettings": {"requestTimeout": "PT181S"}}, "at most 180"),
        ({"requestSettings": {"requestTimeout": "PT0S"}}, "above 0"),
        ({"requestSettings": {"requestTimeout": "five"}}, "ISO-8601"),
        ({"requestSettings": {"maxQueueWait": "five"}}, "ISO-8601"),
        ({"requestSettings": {"maxConcurrentRequestsPerInstance": 0}}, "between 1"),
        ({"livenessProbe": {"initialDelay": "PT0S"}}, "at least 1 second"),
        ({"readinessProbe": {"timeout": "PT0.5S"}}, "at least 1 second"),
        ({"startupProbe": {"period": "often"}}, "ISO-8601"),
        ({"livenessProbe": {"failureThreshold": 0}}, "between 1"),
        ({"readinessProbe": {"successThreshold": 0}}, "between 1"),
        ({"readinessProbe": {"initialDelay": "PT1.5S"}}, "whole seconds"),
        ({"livenessProbe": {"period": "P2D"}}, "at most a day"),
        ({"livenessProbe": {"successThreshold": 2}}, "livenessProbe.successThreshold' is 2; it is fixed as 1"),
        ({"startupProbe": {"successThreshold": 2}}, "fixed as 1"),
        ({"livenessProbe": "often"}, "'properties.livenessProbe' must be an object"),
        ({"modelMountPath": "models"}, "absolute path"),
        ({"modelMountPath": "/var/../etc"}, "absolute path"),
        ({"modelMountPath": "/"}, "absolute path"),
        ({"modelMountPath": "/" + "a" * 300}, "absolute path"),
        ({"modelMountPath": "/a" * 600}, "1024 bytes at most"),
        ({"modelMountPath": ["/a"]}, "'properties.modelMountPath' must be a string"),
        ({"environmentVariables": {"A=B": "1"}}, "has 'A=B'"),
        ({"environmentVariables": {"": "1"}}, "has ''"),
        ({"environmentVariables": {"A": "a\0b"}}, "no null character"),
        ({"properties": {"a": []}}, "properties.properties.a' must be a string"),
        ({"dataCollector": {"collections": {"": {}}}}, "a collection without a name"),
        ({"dataCollector": {"collections": {"c": "on"}}}, "collections.c' must be an object"),
        ({"dataCollector": {"collections": {"c": {"samplingRate": 1.5}}}}, "samplingRate' is 1.5"),
        ({"dataCollector": {"collections": {"c": {"samplingRate": "all"}}}}, "samplingRate' must be a number"),
        ({"dataCollector": {"collections": {"c": {"dataId": 1}}}}, "dataId' must be a string"),
        ({"dataCollector": {"collections": {}, "requestLogging": {"captureHeaders": "x"}}}, "must be a list"),
        ({"dataCollector": {"collections": {}, "requestLogging": {"captureHeaders": ["x y"]}}}, "no name of a header"),
        ({"dataCollector": {"rollingRate": "Hour"}}, "collections' is required"),
        ({"dataCollector": {"collections": {}, "rollingRate": "Week"}}, "'Week'"),
        ({"dataCollector": {"collections": {"c": {"dataCollectionMode": "On"}}}}, "'On'"),
    ],
)
def test_an_online_deployment_that_says_something_wrong_is_not_created(cloud: Cloud, change: Json, said: str) -> None:
    refused(cloud, "PUT", f"{cloud.endpoint()}/deployments/wrong", cloud.deployment_body(**change), said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"location": None}, "location property is required"),
        ({"location": "westus"}, "its endpoint 'online' is in 'eastus'"),
        ({"properties": None}, "'properties' is required"),
        ({"sku": {"name": "Default", "capacity": 0}}, "between 1 and 50"),
        ({"sku": {"name": "Default", "capacity": 51}}, "between 1 and 50"),
        ({"sku": {"name": "Default", "capacity": 1.5}}, "whole number"),
        ({"sku": {"name": "Large", "capacity": 1}}, "SKU Default only"),
        ({"sku": {"capacity": 1}}, "'sku.name' is required"),
    ],
)
def test_an_online_deployment_has_a_place_and_1_to_50_instances(cloud: Cloud, change: Json, said: str) -> None:
    body = {name: value for name, value in (cloud.deployment_body() | change).items() if value is not None}
    refused(cloud, "PUT", f"{cloud.endpoint()}/deployments/wrong", body, said)


def test_what_is_deployed_is_of_the_workspace_and_of_no_registry(cloud: Cloud) -> None:
    path = f"{cloud.endpoint()}/deployments/wrong"
    other = cloud.deployment_body(model=f"{cloud.workspace}2/models/mlflow/versions/1")
    refused(cloud, "PUT", path, other, "not of workspace 'work'")
    registry = cloud.deployment_body(model="azureml://registries/azureml/models/x/versions/1")
    refused(cloud, "PUT", path, registry, "no registries", 501)


def test_the_size_of_a_deployment_is_chosen_once(cloud: Cloud) -> None:
    body = cloud.deployment_body(instanceType="Standard_DS2_v2")
    said = "cannot be changed from Standard_F4s_v2 to Standard_DS2_v2"
    refused(cloud, "PUT", f"{cloud.endpoint()}/deployments/green", body, said)


def test_where_a_deployment_may_reach_out_to_is_chosen_once(cloud: Cloud) -> None:
    body = cloud.deployment_body(egressPublicNetworkAccess="Disabled")
    said = "'properties.egressPublicNetworkAccess' of a deployment cannot be changed from Enabled to Disabled"
    refused(cloud, "PUT", f"{cloud.endpoint()}/deployments/green", body, said)


def test_a_deployment_that_the_quota_has_no_cores_for_is_not_created(cloud: Cloud) -> None:
    body = cloud.deployment_body(capacity=50, instanceType="Standard_F72s_v2")
    refused(cloud, "PUT", f"{cloud.endpoint()}/deployments/wrong", body, "Not enough quota available")


def test_a_deployment_with_live_traffic_is_not_deleted(cloud: Cloud) -> None:
    path = f"{cloud.endpoint()}/deployments/blue"
    refused(cloud, "DELETE", path, None, "Deployment blue has 100 % traffic; set it to 0")


@pytest.mark.parametrize("body", [{"containerType": "Sidecar"}, {"tail": 0}, {"tail": "all"}, {"containerType": 1}])
def test_logs_are_of_one_of_two_containers_and_so_many_lines(cloud: Cloud, body: Json) -> None:
    refused(cloud, "POST", f"{cloud.endpoint()}/deployments/blue/getLogs", body, next(iter(body)))


# Batch ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"location": None}, "location property is required"),
        ({"location": "westus"}, "'eastus': they must be in the same"),
        ({"properties": {}}, "'properties.authMode' is required"),
        ({"properties": {"authMode": "Key"}}, "AADToken"),
        ({"properties": {"authMode": "AMLToken"}}, "AADToken"),
        ({"properties": {"authMode": "AADToken", "keys": {"primaryKey": "a"}}}, "no keys"),
        ({"properties": {"authMode": "AADToken", "defaults": {"deploymentName": "first"}}}, "'first' does not exist"),
        ({"properties": {"authMode": "AADToken", "defaults": "first"}}, "must be an object"),
    ],
)
def test_a_batch_endpoint_that_says_something_wrong_is_not_created(cloud: Cloud, change: Json, said: str) -> None:
    body = {name: value for name, value in (batch_endpoint() | change).items() if value is not None}
    refused(cloud, "PUT", f"{cloud.workspace}/batchEndpoints/another", body, said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": None}, "'properties.model' is required"),
        ({"model": {"referenceType": "DataPath", "path": "x"}}, "must be Id"),
        ({"model": {"referenceType": "Id"}}, "assetId' is required"),
        ({"model": {"referenceType": "Id", "assetId": "azureml:custom:1"}}, "needs 'codeConfiguration'"),
        ({"codeConfiguration": SCRIPT}, "needs 'environmentId'"),
        ({"compute": None}, "'properties.compute' is required"),
        ({"compute": "none"}, "The compute 'none'"),
        ({"resources": {"instanceCount": 0}}, "between 1"),
        ({"errorThreshold": -2}, "between -1"),
        ({"miniBatchSize": 0}, "between 1"),
        ({"maxConcurrencyPerInstance": 0}, "between 1"),
        ({"retrySettings": {"maxRetries": -1}}, "between 0"),
        ({"retrySettings": {"timeout": "PT0S"}}, "above 0"),
        ({"retrySettings": {"timeout": "soon"}}, "ISO-8601"),
        ({"loggingLevel": "Loud"}, "'Loud'"),
        ({"outputAction": "Print"}, "'Print'"),
        ({"outputFileName": "a/b.csv"}, "not a path"),
        ({"environmentVariables": []}, "must be an object"),
    ],
)
def test_a_batch_deployment_that_says_something_wrong_is_not_created(cloud: Cloud, change: Json, said: str) -> None:
    path = f"{cloud.workspace}/batchEndpoints/batch/deployments/wrong"
    refused(cloud, "PUT", path, batch_deployment(cloud, **change), said)


def test_a_batch_deployment_is_of_its_workspace_and_of_no_pipeline(cloud: Cloud) -> None:
    path = f"{cloud.workspace}/batchEndpoints/batch/deployments/wrong"
    size = {"vmSize": "Standard_DS3_v2", "scaleSettings": {"maxNodeCount": 1}}
    cluster = {"location": "eastus", "properties": {"computeType": "AmlCompute", "properties": size}}
    cloud.put(f"{cloud.workspace}2/computes/elsewhere", cluster)
    other = batch_deployment(cloud, compute=f"{cloud.workspace}2/computes/elsewhere")
    refused(cloud, "PUT", path, other, "does not exist in workspace 'work'")
    refused(cloud, "PUT", path, {**batch_deployment(cloud), "location": "westus"}, "its endpoint 'batch'")
    pipeline = {"deploymentConfigurationType": "PipelineComponent", "componentId": {}}
    body = batch_deployment(cloud, deploymentConfiguration=pipeline)
    refused(cloud, "PUT", path, body, "PipelineComponent", 501)


def test_a_default_deployment_exists_and_is_not_deleted(cloud: Cloud) -> None:
    path = f"{cloud.workspace}/batchEndpoints/batch"
    body = batch_endpoint(defaults={"deploymentName": "second"})
    refused(cloud, "PUT", path, body, "The default deployment 'second' does not exist")
    refused(cloud, "DELETE", f"{path}/deployments/first", None, "is the default deployment of endpoint batch")


def test_batch_endpoints_have_no_keys(cloud: Cloud) -> None:
    refused(cloud, "POST", f"{cloud.workspace}/batchEndpoints/batch/listkeys", None, "it has no keys")
