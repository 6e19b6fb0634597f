"""Online endpoints and deployments over ARM: Azure's rules, as the control plane answers them."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from localazure.serving import DeploymentSpec
from tests.localazure.providers.conftest import Cloud


@pytest.fixture
def endpoint(cloud: Cloud) -> str:
    """An endpoint with the deployments blue and green, all traffic to blue."""
    path = cloud.endpoint()
    cloud.put(path, cloud.endpoint_body())
    for name in ("blue", "green"):
        cloud.put(f"{path}/deployments/{name}", cloud.deployment_body())
    cloud.put(path, cloud.endpoint_body(traffic={"blue": 100}))
    return path


def test_a_new_endpoint_has_the_recorded_form_and_defaults(cloud: Cloud) -> None:
    answer = cloud.send("PUT", cloud.endpoint(), cloud.endpoint_body())
    assert answer.status_code == 201, "create and update both answer 201"
    assert answer.headers["location"].startswith(f"https://management.azure.com{cloud.endpoint()}"), (
        "Location is the resource"
    )
    assert "/mfeOperationsStatus/oeidp:" in answer.headers["azure-asyncoperation"]
    body = answer.json()
    assert body["properties"]["provisioningState"] == "Creating"
    assert body["properties"]["scoringUri"] is None
    assert body["properties"]["traffic"] == {}
    assert body["identity"]["principalId"], "the principal is there already in the first answer"
    cloud.wait(answer)
    found = cloud.get(cloud.endpoint())
    assert found["properties"]["scoringUri"] == "https://online.eastus.inference.ml.azure.com/score"
    assert found["properties"]["provisioningState"] == "Succeeded"
    assert found["properties"]["properties"]["azureml.onlineendpointid"] == cloud.endpoint().lower()
    assert set(found["systemData"]) == {"createdAt", "createdBy", "lastModifiedAt"}


def test_the_answer_to_a_traffic_change_still_shows_the_old_map(cloud: Cloud, endpoint: str) -> None:
    answer = cloud.send("PUT", endpoint, cloud.endpoint_body(traffic={"blue": 90, "green": 10}))
    assert answer.json()["properties"]["traffic"] == {"blue": 100}
    cloud.wait(answer)
    assert cloud.get(endpoint)["properties"]["traffic"] == {"blue": 90, "green": 10}
    assert cloud.serving.routed[0].traffic == {"blue": 90, "green": 10}, "what ARM says is what the router does"


def test_a_put_without_traffic_drops_every_deployment_to_zero(cloud: Cloud, endpoint: str) -> None:
    cloud.put(endpoint, cloud.endpoint_body(description="only a new description"))
    assert cloud.get(endpoint)["properties"]["traffic"] == {}


@pytest.mark.parametrize(
    ("traffic", "said"),
    [
        ({"blue": 90}, "add up to 90"),
        ({"blue": 90, "green": 20}, "add up to 110"),
        ({"purple": 100}, "'purple'"),
        ({"blue": -1, "green": 101}, "between 0 and 100"),
        ({"blue": 99.5, "green": 0.5}, "whole number"),
        ({"blue": "100"}, "whole number"),
    ],
)
def test_traffic_that_breaks_a_rule_is_refused_and_changes_nothing(
    cloud: Cloud, endpoint: str, traffic: dict[str, Any], said: str
) -> None:
    assert said in cloud.refusal(cloud.send("PUT", endpoint, cloud.endpoint_body(traffic=traffic)), 400)
    assert cloud.get(endpoint)["properties"]["traffic"] == {"blue": 100}


def test_a_weight_of_zero_is_the_same_as_none(cloud: Cloud, endpoint: str) -> None:
    cloud.put(endpoint, cloud.endpoint_body(traffic={"blue": 0, "green": 100}))
    assert cloud.get(endpoint)["properties"]["traffic"] == {"green": 100}


@pytest.mark.parametrize(
    ("mirror", "said"),
    [
        ({"green": 60}, "the most is 50"),
        ({"blue": 10}, "live traffic"),
        ({"green": 10, "blue": 10}, "one deployment only"),
    ],
)
def test_mirror_traffic_that_breaks_a_rule_is_refused(
    cloud: Cloud, endpoint: str, mirror: dict[str, int], said: str
) -> None:
    body = cloud.endpoint_body(traffic={"blue": 100}, mirrorTraffic=mirror)
    assert said in cloud.refusal(cloud.send("PUT", endpoint, body), 400)


def test_a_deployment_with_traffic_cannot_be_deleted_and_one_without_can(cloud: Cloud, endpoint: str) -> None:
    assert "100 % traffic" in cloud.refusal(cloud.send("DELETE", f"{endpoint}/deployments/blue"), 400)
    answer = cloud.send("DELETE", f"{endpoint}/deployments/green")
    assert (answer.status_code, answer.text) == (202, "null"), "the recorded answer's body is the literal null"
    cloud.wait(answer)
    assert cloud.send("GET", f"{endpoint}/deployments/green").status_code == 404
    assert cloud.send("DELETE", f"{endpoint}/deployments/green").status_code == 204
    assert cloud.serving.removed == ["online/green"]


def test_deleting_an_endpoint_takes_its_deployments_with_it_traffic_or_not(cloud: Cloud, endpoint: str) -> None:
    cloud.wait(cloud.send("DELETE", endpoint))
    assert cloud.send("GET", endpoint).status_code == 404
    assert cloud.send("GET", f"{endpoint}/deployments/blue").status_code == 404
    assert sorted(cloud.serving.removed) == ["online/blue", "online/green"]


def test_a_second_write_on_an_endpoint_is_refused_while_one_is_running(
    cloud: Cloud, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def slow(spec: DeploymentSpec) -> None:
        assert release.wait(30)

    monkeypatch.setattr(cloud.serving, "deploy", slow)
    running = cloud.send("PUT", f"{endpoint}/deployments/third", cloud.deployment_body())
    try:
        refused = [
            cloud.send("PUT", f"{endpoint}/deployments/fourth", cloud.deployment_body()),
            cloud.send("PUT", endpoint, cloud.endpoint_body(traffic={"green": 100})),
            cloud.send("DELETE", f"{endpoint}/deployments/green"),
            cloud.send("DELETE", endpoint),
        ]
        assert [each.status_code for each in refused] == [409] * 4
        assert "because it is in Updating provisioning state" in refused[0].text
        assert cloud.get(endpoint)["properties"]["provisioningState"] == "Updating", "clients wait on what they can see"
    finally:
        release.set()
    cloud.wait(running)
    assert cloud.get(endpoint)["properties"]["provisioningState"] == "Succeeded"


def test_a_deployment_whose_first_creation_failed_is_beyond_repair(cloud: Cloud, endpoint: str) -> None:
    path = f"{endpoint}/deployments/bad-one"
    end = cloud.wait(cloud.send("PUT", path, cloud.deployment_body()))
    assert end["status"] == "Failed"
    assert end["error"] == {
        "code": "ResourceNotReady",
        "message": "User container has crashed or terminated: ValueError: no model",
    }
    assert cloud.get(path)["properties"]["provisioningState"] == "Failed"
    again = cloud.refusal(cloud.send("PUT", path, cloud.deployment_body()), 400)
    assert "unrecoverable state. Delete and re-create" in again
    traffic = cloud.send("PUT", endpoint, cloud.endpoint_body(traffic={"bad-one": 100}))
    assert "Failed" in cloud.refusal(traffic, 400), "an unfinished deployment takes no traffic"
    cloud.wait(cloud.send("DELETE", path))


def test_defaults_are_filled_in_and_the_service_adds_its_variables(cloud: Cloud, endpoint: str) -> None:
    body = cloud.deployment_body(
        model=f"{cloud.workspace}/models/custom/versions/1",
        environmentId=f"{cloud.workspace}/environments/env/versions/1",
        codeConfiguration={"codeId": f"{cloud.workspace}/codes/code/versions/1", "scoringScript": "score.py"},
    )
    found = cloud.put(f"{endpoint}/deployments/script", body)["properties"]
    assert found["requestSettings"] == {
        "maxQueueWait": "PT0S",
        "requestTimeout": "PT5S",
        "maxConcurrentRequestsPerInstance": 1,
    }
    assert found["livenessProbe"]["initialDelay"] == "PT10S"
    assert found["scaleSettings"] == {"scaleType": "Default"}
    assert found["environmentVariables"]["AZUREML_MODEL_DIR"] == "/var/azureml-app/azureml-models/custom/1"
    assert found["environmentVariables"]["AZUREML_ENTRY_SCRIPT"] == "score.py"


def test_an_update_answers_as_recorded_and_scales_in_place(cloud: Cloud, endpoint: str) -> None:
    path = f"{endpoint}/deployments/blue"
    answer = cloud.send("PUT", path, cloud.deployment_body(capacity=3))
    assert answer.status_code == 201
    assert answer.json()["properties"]["instanceType"] is None
    assert set(answer.json()["systemData"]) == {"lastModifiedAt"}
    cloud.wait(answer)
    found = cloud.get(path)
    assert found["sku"]["capacity"] == 3
    assert found["properties"]["instanceType"] == "Standard_F4s_v2"
    assert cloud.serving.deployed["online/blue"].instances == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "azureml:nothing:1"}, "azureml:nothing:1"),
        ({"instanceType": "huge"}, "'huge'"),
        ({"endpointComputeType": "Serverless"}, "'Serverless'"),
        ({"requestSettings": {"requestTimeout": "PT200S"}}, "at most 180"),
        ({"requestSettings": {"requestTimeout": "five"}}, "ISO-8601"),
        ({"model": None}, "'properties.model' is required"),
        ({"environmentVariables": ["A"]}, "must be an object"),
        ({"scaleSettings": {"scaleType": "TargetUtilization"}}, "Default only"),
    ],
)
def test_a_deployment_that_says_something_wrong_is_refused_and_not_created(
    cloud: Cloud, endpoint: str, change: dict[str, Any], said: str
) -> None:
    path = f"{endpoint}/deployments/wrong"
    assert said in cloud.refusal(cloud.send("PUT", path, cloud.deployment_body(**change)), 400)
    assert cloud.send("GET", path).status_code == 404


def test_a_custom_model_without_a_script_is_refused(cloud: Cloud, endpoint: str) -> None:
    body = cloud.deployment_body(model=f"{cloud.workspace}/models/custom/versions/1")
    assert "codeConfiguration" in cloud.refusal(cloud.send("PUT", f"{endpoint}/deployments/wrong", body), 400)


@pytest.mark.parametrize("name", ["ab", "1abc", "abc-", "a" * 33, "a_b"])
def test_a_name_that_azure_would_refuse_is_refused(cloud: Cloud, name: str) -> None:
    assert "3 to 32" in cloud.refusal(cloud.send("PUT", cloud.endpoint(name), cloud.endpoint_body()), 400)


def test_a_name_is_unique_in_its_region_online_and_batch_together(cloud: Cloud, endpoint: str) -> None:
    body = {"location": "eastus", "properties": {"authMode": "AADToken"}}
    answer = cloud.send("PUT", f"{cloud.workspace}/batchEndpoints/Online", body)
    assert "already an endpoint with this name" in cloud.refusal(answer, 409)


def test_one_key_changes_and_the_other_stays(cloud: Cloud, endpoint: str) -> None:
    before = cloud.send("POST", f"{endpoint}/listKeys").json()
    body = {"keyType": "Secondary", "keyValue": before["secondaryKey"]}
    cloud.wait(cloud.send("POST", f"{endpoint}/regenerateKeys", body))
    after = cloud.send("POST", f"{endpoint}/listKeys").json()
    assert after["primaryKey"] == before["primaryKey"]
    assert after["secondaryKey"] != before["secondaryKey"]
    assert cloud.serving.routed[0].keys == (after["primaryKey"], after["secondaryKey"])


def test_keys_are_in_no_answer_but_that_of_list_keys(cloud: Cloud, endpoint: str) -> None:
    keys = cloud.send("POST", f"{endpoint}/listKeys").json().values()
    seen = cloud.send("GET", endpoint).text + cloud.send("GET", f"{cloud.workspace}/onlineEndpoints").text
    assert not [key for key in keys if key in seen]


def test_a_put_of_what_a_get_answered_changes_nothing(cloud: Cloud, endpoint: str) -> None:
    for path in (f"{endpoint}/deployments/blue", endpoint):
        before = cloud.get(path)
        after = cloud.put(path, before)
        for document in (before, after):
            document["systemData"].pop("lastModifiedAt")
            document["properties"]["properties"].pop("AzureAsyncOperationUri")
        assert after == before
