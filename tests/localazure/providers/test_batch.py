"""Batch endpoints and deployments over ARM: recorded shapes, defaults, and one write at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from localazure.arm.operations import OperationFailed, Work
from localazure.arm.store import Operation
from tests.localazure.providers.conftest import Cloud, until

Json = dict[str, Any]


def endpoint_body(**properties: Any) -> Json:
    return {"location": "eastus", "properties": {"authMode": "aadToken", **properties}}


def deployment_body(cloud: Cloud, **properties: Any) -> Json:
    own = {
        "model": {"referenceType": "id", "assetId": f"{cloud.workspace}/models/mlflow/versions/1"},
        "compute": f"{cloud.workspace}/computes/cluster",
        **properties,
    }
    return {"location": "eastus", "properties": own}


@pytest.fixture
def endpoint(cloud: Cloud) -> str:
    """An endpoint with the deployments first and second, of which first is the default, and a cluster."""
    size = {"vmSize": "Standard_DS3_v2", "scaleSettings": {"maxNodeCount": 1}}
    cluster = {"location": "eastus", "properties": {"computeType": "AmlCompute", "properties": size}}
    cloud.put(f"{cloud.workspace}/computes/cluster", cluster)
    path = f"{cloud.workspace}/batchEndpoints/batch"
    cloud.put(path, endpoint_body())
    for name in ("first", "second"):
        cloud.put(f"{path}/deployments/{name}", deployment_body(cloud))
    cloud.put(path, endpoint_body(defaults={"deploymentName": "first"}))
    return path


@contextmanager
def held(cloud: Cloud, kind: str) -> Iterator[None]:
    """While it lasts, operations of a kind do not end."""
    release = threading.Event()

    def hold(operation: Operation) -> None:
        assert release.wait(30)

    with working(cloud, kind, hold):
        try:
            yield
        finally:
            release.set()


@contextmanager
def failing(cloud: Cloud, kind: str) -> Iterator[None]:
    """While it lasts, operations of a kind fail."""

    def fail(operation: Operation) -> None:
        raise OperationFailed("InternalServerError", "it was made to")

    with working(cloud, kind, fail):
        yield


@contextmanager
def working(cloud: Cloud, kind: str, work: Work) -> Iterator[None]:
    operations = cloud.azure._cloud.operations
    before = operations._kinds[kind]
    operations.register(kind, replace(before, work=work))
    try:
        yield
    finally:
        operations.register(kind, before)


def test_a_new_batch_endpoint_has_the_recorded_form(cloud: Cloud) -> None:
    path = f"{cloud.workspace}/batchEndpoints/batch"
    answer = cloud.send("PUT", f"{path}?api-version=2023-10-01", endpoint_body(properties={"own": "1"}))
    assert answer.status_code == 201
    assert "/mfeOperationsStatus/bebes:" in answer.headers["azure-asyncoperation"]
    body = answer.json()
    assert not {"identity", "kind", "sku"} & set(body)
    assert body["properties"] == {
        "description": None,
        "properties": {
            "own": "1",
            "BatchEndpointCreationApiVersion": "2023-10-01",
            "azureml.onlineendpointid": path,
        },
        "scoringUri": None,
        "swaggerUri": None,
        "authMode": "AADToken",
        "provisioningState": "Creating",
        "defaults": {"deploymentName": None},
    }
    poll = cloud.wait(answer)
    assert set(poll) == {"id", "name", "status"}, "recorded: no times for batch"
    found = cloud.get(path)["properties"]
    assert found["scoringUri"] == "https://batch.eastus.inference.ml.azure.com/jobs"
    assert found["provisioningState"] == "Succeeded"


def test_a_new_batch_deployment_has_the_recorded_form_and_is_not_made_the_default(cloud: Cloud, endpoint: str) -> None:
    cloud.put(endpoint, endpoint_body())
    path = f"{endpoint}/deployments/third"
    body = deployment_body(cloud, loggingLevel="debug", resources={"instanceCount": 2.0, "properties": {}})
    answer = cloud.send("PUT", path, body)
    assert answer.status_code == 201
    assert "/mfeOperationsStatus/bdbes:" in answer.headers["azure-asyncoperation"]
    assert answer.json()["properties"]["provisioningState"] == "Updating", "recorded: also when it is new"
    cloud.wait(answer)
    found = cloud.get(path)
    assert not {"identity", "kind", "sku"} & set(found)
    assert set(found["systemData"]) == {"createdAt", "createdBy", "lastModifiedAt"}
    assert found["properties"] == {
        "description": None,
        "properties": {},
        "model": {"referenceType": "Id", "assetId": f"{cloud.workspace}/models/mlflow/versions/1"},
        "codeConfiguration": None,
        "environmentId": None,
        "environmentVariables": {},
        "compute": f"{cloud.workspace}/computes/cluster",
        "resources": {"instanceCount": 2, "instanceType": None, "properties": None},
        "errorThreshold": -1,
        "retrySettings": {"maxRetries": 3, "timeout": "PT30S"},
        "miniBatchSize": 10,
        "loggingLevel": "Debug",
        "maxConcurrencyPerInstance": 1,
        "outputAction": "AppendRow",
        "outputFileName": "predictions.csv",
        "provisioningState": "Succeeded",
    }
    assert cloud.get(endpoint)["properties"]["defaults"] == {"deploymentName": None}


def test_the_answer_to_a_new_default_still_shows_the_old_one(cloud: Cloud, endpoint: str) -> None:
    answer = cloud.send("PUT", endpoint, endpoint_body(defaults={"deploymentName": "Second"}))
    assert answer.json()["properties"]["defaults"] == {"deploymentName": "first"}
    cloud.wait(answer)
    assert cloud.get(endpoint)["properties"]["defaults"] == {"deploymentName": "second"}, "as it was created"
    cloud.wait(cloud.send("DELETE", f"{endpoint}/deployments/first"))
    assert cloud.send("GET", f"{endpoint}/deployments/first").status_code == 404
    assert cloud.send("DELETE", f"{endpoint}/deployments/first").status_code == 204


def test_a_put_without_a_default_leaves_none(cloud: Cloud, endpoint: str) -> None:
    assert cloud.put(endpoint, endpoint_body())["properties"]["defaults"] == {"deploymentName": None}


def test_a_batch_deployment_is_updated_when_the_operation_is_done(cloud: Cloud, endpoint: str) -> None:
    path = f"{endpoint}/deployments/second"
    with held(cloud, "batch.deployment.write"):
        answer = cloud.send("PUT", path, deployment_body(cloud, miniBatchSize=2))
        assert answer.json()["properties"]["miniBatchSize"] == 2
        meanwhile = cloud.get(path)["properties"]
        assert (meanwhile["provisioningState"], meanwhile["miniBatchSize"]) == ("Updating", 10)
        assert cloud.get(endpoint)["properties"]["provisioningState"] == "Updating"
    cloud.wait(answer)
    assert cloud.get(path)["properties"]["miniBatchSize"] == 2


def test_a_batch_endpoint_takes_one_write_at_a_time(cloud: Cloud, endpoint: str) -> None:
    with held(cloud, "batch.deployment.write"):
        running = cloud.send("PUT", f"{endpoint}/deployments/second", deployment_body(cloud))
        refused = [
            ("PUT", f"{endpoint}/deployments/third", deployment_body(cloud), "Cannot create a deployment in endpoint"),
            ("PATCH", f"{endpoint}/deployments/first", {"tags": {}}, "Cannot update a deployment in endpoint batch"),
            ("DELETE", f"{endpoint}/deployments/second", None, "Cannot delete a deployment in endpoint batch"),
            ("PUT", endpoint, endpoint_body(), "Cannot update endpoint batch"),
            ("DELETE", endpoint, None, "Cannot delete endpoint batch"),
        ]
        for method, path, body, said in refused:
            text = cloud.refusal(cloud.send(method, path, body), 409)
            assert said in text
            assert "because it is in Updating provisioning state" in text
    cloud.wait(running)


def test_a_failed_first_creation_is_beyond_repair_for_batch_too(cloud: Cloud, endpoint: str) -> None:
    path = f"{endpoint}/deployments/third"
    with failing(cloud, "batch.deployment.write"):
        assert cloud.wait(cloud.send("PUT", path, deployment_body(cloud)))["status"] == "Failed"
    again = cloud.send("PUT", path, deployment_body(cloud))
    said = "Specified deployment [third] failed during initial provisioning and is in an unrecoverable state."
    assert said in cloud.refusal(again, 400)
    default = cloud.send("PUT", endpoint, endpoint_body(defaults={"deploymentName": "third"}))
    assert "was not created successfully" in cloud.refusal(default, 400)
    cloud.wait(cloud.send("DELETE", path))
    cloud.put(path, deployment_body(cloud))
    other = f"{cloud.workspace}/batchEndpoints/other"
    with failing(cloud, "batch.endpoint.write"):
        assert cloud.wait(cloud.send("PUT", other, endpoint_body()))["status"] == "Failed"
    assert "Please recreate the endpoint." in cloud.refusal(cloud.send("PUT", other, endpoint_body()), 400)
    below = cloud.send("PUT", f"{other}/deployments/first", deployment_body(cloud))
    assert "Please recreate endpoint and then try again" in cloud.refusal(below, 400)


def test_a_failed_update_of_a_batch_deployment_leaves_what_was_there(cloud: Cloud, endpoint: str) -> None:
    path = f"{endpoint}/deployments/first"
    with failing(cloud, "batch.deployment.write"):
        cloud.wait(cloud.send("PUT", path, deployment_body(cloud, miniBatchSize=2)))
    found = cloud.get(path)["properties"]
    assert (found["provisioningState"], found["miniBatchSize"]) == ("Failed", 10)
    assert cloud.put(path, deployment_body(cloud, miniBatchSize=2))["properties"]["miniBatchSize"] == 2


def test_a_patch_changes_tags_and_a_deployments_description(cloud: Cloud, endpoint: str) -> None:
    answer = cloud.send("PATCH", endpoint, {"tags": {"a": "b"}})
    assert answer.status_code == 202
    assert "/mfeOperationResults/bebes:" in answer.headers["location"]
    cloud.wait(answer)
    found = cloud.get(endpoint)
    assert (found["tags"], found["properties"]["defaults"]) == ({"a": "b"}, {"deploymentName": "first"})
    path = f"{endpoint}/deployments/first"
    before = cloud.get(path)
    cloud.wait(cloud.send("PATCH", path, {"tags": {"c": "d"}, "properties": {"description": "new"}}))
    after = cloud.get(path)
    assert after["tags"] == {"c": "d"}
    assert after["properties"] == {**before["properties"], "description": "new"}


def test_batch_endpoints_and_deployments_are_listed_in_pages(cloud: Cloud, endpoint: str) -> None:
    cloud.put(f"{cloud.workspace}/batchEndpoints/another", endpoint_body())
    for path, size, expected in (
        (f"{cloud.workspace}/batchEndpoints", "count", ["batch", "another"]),
        (f"{endpoint}/deployments", "$top", ["first", "second"]),
    ):
        first = cloud.get(f"{path}?{size}=1&api-version=2025-12-01")
        second = cloud.get(first["nextLink"].removeprefix("https://management.azure.com"))
        assert [each["name"] for page in (first, second) for each in page["value"]] == expected
        assert "nextLink" not in second


def test_deleting_a_batch_endpoint_takes_its_deployments_even_the_default(cloud: Cloud, endpoint: str) -> None:
    answer = cloud.send("DELETE", endpoint)
    assert (answer.status_code, answer.text) == (202, "null")
    assert "/mfeOperationResults/bebes:" in answer.headers["location"]
    cloud.wait(answer)
    until(lambda: cloud.send("GET", f"{endpoint}/deployments/first").status_code == 404, "it is gone")
    assert cloud.send("DELETE", endpoint).status_code == 204


def test_what_a_get_answered_can_be_put_twice_and_changes_nothing(cloud: Cloud, endpoint: str) -> None:
    for path in (endpoint, f"{endpoint}/deployments/first") * 2:
        before = cloud.get(path)
        after = cloud.put(path, before)
        for document in (before, after):
            document["systemData"].pop("lastModifiedAt")
        assert after == before
    assert cloud.get(endpoint)["properties"]["defaults"] == {"deploymentName": "first"}
