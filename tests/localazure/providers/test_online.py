"""Online endpoints and deployments over ARM: Azure's rules, as the control plane answers them."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest

from localazure.providers.ml import content
from localazure.serving import DeploymentSpec, Probe, Probes, ServingError
from tests.localazure.providers import networking
from tests.localazure.providers.conftest import Cloud, until


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


def test_what_a_get_answered_can_be_put_twice_and_changes_nothing(cloud: Cloud, endpoint: str) -> None:
    cloud.put(endpoint, cloud.endpoint_body(traffic={"blue": 100}, mirrorTraffic={"green": 20}) | {"tags": {"a": "b"}})
    started = len(cloud.serving.history)
    for path in (f"{endpoint}/deployments/blue", endpoint) * 2:
        before = cloud.get(path)
        after = cloud.put(path, before)
        for document in (before, after):
            document["systemData"].pop("lastModifiedAt")
            document["properties"]["properties"].pop("AzureAsyncOperationUri")
        assert after == before
    assert cloud.get(endpoint)["properties"]["traffic"] == {"blue": 100}, "a PUT that carries the traffic keeps it"
    specs = [each for each in cloud.serving.history[started - 2 :] if each.name == "blue"]
    assert specs[1:] == specs[:-1], "nothing that a process is started with has changed"


# Shapes -----------------------------------------------------------------------------------------------------------


def test_a_new_deployment_has_the_recorded_form(cloud: Cloud, endpoint: str) -> None:
    path = f"{endpoint}/deployments/third"
    answer = cloud.send("PUT", path, cloud.deployment_body(capacity=2))
    assert answer.status_code == 201
    assert answer.headers["x-ms-async-operation-timeout"] == "PT30M"
    assert answer.headers["location"].startswith(f"https://management.azure.com{path}?"), "Location is the resource"
    body = answer.json()
    own = body["properties"]
    assert "/mfeOperationsStatus/odidp:" in own["properties"]["AzureAsyncOperationUri"]
    assert own["provisioningState"] == "Creating"
    assert {own[name] for name in ("codeConfiguration", "environmentId", "modelMountPath", "dataCollector")} == {None}
    assert own["egressPublicNetworkAccess"] == "Enabled"
    assert body["sku"] == {"name": "Default", "tier": "Standard", "capacity": 2}
    assert body["kind"] == "Managed"
    assert set(body["systemData"]) == {"createdAt", "createdBy", "lastModifiedAt"}
    poll = cloud.wait(answer)
    assert (poll["status"], poll["percentComplete"]) == ("Succeeded", 0.0), "recorded: it stays 0.0"
    assert set(poll) == {"id", "name", "status", "startTime", "endTime", "percentComplete"}


def test_an_update_moves_no_date_and_no_operation_of_a_deployment_but_of_an_endpoint(
    cloud: Cloud, endpoint: str
) -> None:
    blue = cloud.get(f"{endpoint}/deployments/blue")
    after = cloud.put(f"{endpoint}/deployments/blue", cloud.deployment_body(capacity=2))
    assert after["systemData"] == blue["systemData"]
    assert after["properties"]["properties"] == blue["properties"]["properties"], "still the creation's operation"
    before = cloud.get(endpoint)
    after = cloud.put(endpoint, cloud.endpoint_body(traffic={"blue": 100}))
    assert after["systemData"]["createdAt"] == before["systemData"]["createdAt"]
    assert after["systemData"]["lastModifiedAt"] > before["systemData"]["lastModifiedAt"]
    uri = "AzureAsyncOperationUri"
    assert after["properties"]["properties"][uri] != before["properties"]["properties"][uri]


@pytest.mark.parametrize(
    ("version", "has", "has_not"),
    [
        ("2022-02-01-preview", {"privateNetworkConnection"}, {"startupProbe"}),
        ("2023-04-01-preview", set(), {"privateNetworkConnection", "startupProbe"}),
        ("2025-12-01", {"startupProbe"}, {"privateNetworkConnection"}),
    ],
)
def test_a_deployment_has_the_properties_of_the_version_that_is_asked_for(
    cloud: Cloud, endpoint: str, version: str, has: set[str], has_not: set[str]
) -> None:
    query = f"?api-version={version}"
    one = cloud.get(f"{endpoint}/deployments/blue{query}")
    assert has <= set(one["properties"])
    assert not has_not & set(one["properties"])
    assert one in cloud.get(f"{endpoint}/deployments{query}")["value"]
    put = cloud.send("PUT", f"{endpoint}/deployments/blue{query}", cloud.deployment_body())
    assert set(put.json()["properties"]) == set(one["properties"])
    cloud.wait(put)


def test_values_come_back_in_canonical_case(cloud: Cloud) -> None:
    body = {"location": "East US", "properties": {"authMode": "amltoken", "publicNetworkAccess": "disabled"}}
    found = cloud.put(cloud.endpoint(), body)
    assert found["location"] == "eastus"
    assert found["properties"]["authMode"] == "AMLToken"
    assert found["properties"]["publicNetworkAccess"] == "Disabled"
    sent = cloud.deployment_body(endpointComputeType="managed", scaleSettings={"scaleType": "default"})
    own = cloud.put(f"{cloud.endpoint()}/deployments/blue", {**sent, "sku": {"name": "default", "capacity": 1.0}})
    assert own["properties"]["endpointComputeType"] == "Managed"
    assert own["properties"]["scaleSettings"] == {"scaleType": "Default"}
    assert own["sku"] == {"name": "Default", "tier": "Standard", "capacity": 1}
    assert type(own["sku"]["capacity"]) is int, "Pulumi sends floats"


def test_variables_that_the_service_added_and_a_client_sent_back_start_nothing_anew(
    cloud: Cloud, endpoint: str
) -> None:
    path = f"{endpoint}/deployments/blue"
    before = cloud.put(path, cloud.deployment_body(environmentVariables={"OWN": "1"}))
    cloud.put(path, {**before, "sku": {**before["sku"], "capacity": 2}})
    cloud.put(f"{cloud.workspace}/models/mlflow/versions/2", cloud.get(f"{cloud.workspace}/models/mlflow/versions/1"))
    assert [each.environment_variables for each in cloud.serving.history[-2:]] == [{"OWN": "1"}] * 2
    before["properties"]["model"] = f"{cloud.workspace}/models/mlflow/versions/2"
    variables = cloud.put(path, before)["properties"]["environmentVariables"]
    assert variables["AZUREML_MODEL_DIR"].endswith("/mlflow/2"), "what the service fills in follows the model"


def test_model_code_and_environment_are_changed_in_place(cloud: Cloud, endpoint: str) -> None:
    path = f"{endpoint}/deployments/blue"
    script = {"codeId": "azureml:code:1", "scoringScript": "score.py"}
    body = cloud.deployment_body(model="azureml:custom:1", environmentId="azureml:env:1", codeConfiguration=script)
    found = cloud.put(path, body)["properties"]
    assert (found["model"], found["environmentId"]) == ("azureml:custom:1", "azureml:env:1"), "echoed as sent"
    assert found["environmentVariables"] == {
        "AZUREML_MODEL_DIR": "/var/azureml-app/azureml-models/custom/1",
        "AZUREML_ENTRY_SCRIPT": "score.py",
        "AML_APP_ROOT": "/var/azureml-app/code",
    }
    assert cloud.serving.deployed["online/blue"].script == "score.py"
    body["properties"]["codeConfiguration"] = {**script, "scoringScript": "other.py"}
    cloud.put(path, body)
    assert cloud.serving.deployed["online/blue"].script == "other.py"


# What a deployment can be told ------------------------------------------------------------------------------------


def test_probes_reach_the_instances_and_an_update_of_them_changes_nothing_else(cloud: Cloud, endpoint: str) -> None:
    path = f"{endpoint}/deployments/blue"
    before = cloud.serving.deployed["online/blue"]
    assert before.probes == Probes(), "Azure's defaults are those of the instances, too"
    sent = {"initialDelay": "PT1M", "period": "PT5S", "timeout": "PT3S", "failureThreshold": 4}
    others = {"readinessProbe": {"successThreshold": 2}, "startupProbe": {"period": "PT1S"}}
    found = cloud.put(path, cloud.deployment_body(livenessProbe=sent, **others))["properties"]
    assert found["livenessProbe"] == {**sent, "successThreshold": 1}
    after = cloud.serving.deployed["online/blue"]
    assert after.probes == Probes(Probe(60, 5, 3, 1, 4), Probe(success_threshold=2), Probe(period=1))
    assert replace(after, probes=before.probes) == before


def test_a_model_can_be_mounted_elsewhere(cloud: Cloud, endpoint: str, tmp_path: Path, monkeypatch: Any) -> None:
    root = tmp_path / "azureml-models" / "hash" / "mlflow" / "1"
    (root / "model").mkdir(parents=True)
    (root / "model" / "MLmodel").write_text("flavors: {}")
    files = content.ModelFiles(root, root / "model")
    monkeypatch.setattr("localazure.providers.ml.online_serving.model_files", lambda *args: files)
    body = cloud.deployment_body(modelMountPath="/var/models/")
    for _ in range(2):
        found = cloud.put(f"{endpoint}/deployments/blue", body)["properties"]
    assert found["modelMountPath"] == "/var/models/"
    assert found["environmentVariables"]["AZUREML_MODEL_DIR"] == "/var/models/mlflow/1"
    spec = cloud.serving.deployed["online/blue"]
    assert str(spec.model_dir).endswith("/var/models/mlflow/1"), "on the disk it ends like the path"
    assert spec.model_dir
    assert spec.model_dir.resolve() == root.resolve()
    assert spec.mlflow_path == spec.model_dir / "model"
    inside = cloud.deployment_body(modelMountPath="/var/models/mlflow/1")
    cloud.put(f"{endpoint}/deployments/green", inside)
    assert [each.name for each in root.iterdir()] == ["model"], "a path below another's writes nothing into the model"


def test_what_is_collected_is_kept_in_canonical_form_with_its_defaults(cloud: Cloud, endpoint: str) -> None:
    collections = {"request": {"dataCollectionMode": "enabled", "samplingRate": 0.25}, "model_inputs": {}}
    logging = {"captureHeaders": ["x-request-id"]}
    told = {"collections": collections, "rollingRate": "minute", "requestLogging": logging, "unknown": 1}
    body = cloud.deployment_body(dataCollector=told, appInsightsEnabled=True, egressPublicNetworkAccess="disabled")
    networking.with_network(cloud)
    link = networking.endpoint_body(cloud, cloud.workspace, "amlworkspace")
    cloud.put(networking.endpoint(cloud), link)
    found = cloud.put(f"{endpoint}/deployments/third", body)["properties"]
    none = {"clientId": None, "dataId": None}
    assert found["dataCollector"] == {
        "collections": {
            "request": {**none, "dataCollectionMode": "Enabled", "samplingRate": 0.25},
            "model_inputs": {**none, "dataCollectionMode": "Disabled", "samplingRate": 1.0},
        },
        "requestLogging": logging,
        "rollingRate": "Minute",
    }
    assert (found["appInsightsEnabled"], found["egressPublicNetworkAccess"]) == (True, "Disabled")
    cloud.unchanged(f"{endpoint}/deployments/third")


@pytest.mark.parametrize("label", ["azureml:{}@latest", "{workspace}/{kind}/{}/labels/latest"])
def test_a_label_is_looked_up_once_and_does_not_move_the_deployment(cloud: Cloud, endpoint: str, label: str) -> None:
    def reference(kind: str, name: str) -> str:
        return label.format(name, workspace=cloud.workspace, kind=kind)

    path = f"{endpoint}/deployments/blue"
    script = {"codeId": "azureml:code:1", "scoringScript": "score.py"}
    model, environment = reference("models", "custom"), reference("environments", "env")
    body = cloud.deployment_body(model=model, environmentId=environment, codeConfiguration=script)
    found = cloud.put(path, body)["properties"]
    assert found["model"] == f"{cloud.workspace}/models/custom/versions/1"
    assert found["environmentId"] == f"{cloud.workspace}/environments/env/versions/1"
    cloud.put(f"{cloud.workspace}/models/custom/versions/2", cloud.get(f"{cloud.workspace}/models/custom/versions/1"))
    cloud.wait(cloud.send("PATCH", path, {"tags": {"a": "b"}}))
    assert cloud.get(path)["properties"]["model"].endswith("/versions/1"), "a PATCH asks for no other model"
    assert cloud.put(path, body)["properties"]["model"].endswith("/versions/2"), "a PUT asks anew"


def test_a_label_that_names_nothing_is_refused(cloud: Cloud, endpoint: str) -> None:
    for reference in ("azureml:none@latest", f"{cloud.workspace}/models/none/labels/latest"):
        answer = cloud.send("PUT", f"{endpoint}/deployments/third", cloud.deployment_body(model=reference))
        assert reference in cloud.refusal(answer, 400)
    other = f"{cloud.workspace}/models/mlflow/labels/production"
    answer = cloud.send("PUT", f"{endpoint}/deployments/third", cloud.deployment_body(model=other))
    assert "labels/production" in cloud.refusal(answer, 400)


# PATCH ------------------------------------------------------------------------------------------------------------


def test_a_patch_of_an_endpoint_replaces_tags_and_keeps_traffic(cloud: Cloud, endpoint: str) -> None:
    cloud.put(endpoint, cloud.endpoint_body(traffic={"blue": 100}) | {"tags": {"a": "1", "b": "2"}})
    before = cloud.get(endpoint)
    answer = cloud.send("PATCH", endpoint, {"tags": {"c": "3"}, "identity": before["identity"]})
    assert (answer.status_code, answer.content) == (202, b"")
    assert "/mfeOperationResults/oeidp:" in answer.headers["location"]
    cloud.wait(answer)
    after = cloud.get(endpoint)
    assert after["tags"] == {"c": "3"}
    assert after["properties"]["traffic"] == {"blue": 100}
    assert after["identity"] == before["identity"]
    result = cloud.send("GET", answer.headers["location"])
    assert (result.status_code, result.json()) == (200, after), "the final state is at Location"


def test_a_patch_of_the_instance_count_scales_and_says_so_meanwhile(cloud: Cloud, endpoint: str) -> None:
    path = f"{endpoint}/deployments/blue"
    cloud.serving.gate.clear()
    try:
        answer = cloud.send("PATCH", path, {"sku": {"capacity": 3}})
        assert answer.status_code == 202
        meanwhile = cloud.get(path)
        assert meanwhile["properties"]["provisioningState"] == "Scaling"
        assert meanwhile["sku"]["capacity"] == 1
        assert cloud.get(endpoint)["properties"]["provisioningState"] == "Updating"
    finally:
        cloud.serving.gate.set()
    cloud.wait(answer)
    after = cloud.get(path)
    assert after["properties"]["provisioningState"] == "Succeeded"
    assert after["sku"]["capacity"] == cloud.serving.deployed["online/blue"].instances == 3
    assert cloud.send("PATCH", path, {"tags": {"x": "y"}}).status_code == 202


# Lists ------------------------------------------------------------------------------------------------------------


def names(cloud: Cloud, path: str) -> list[str]:
    return [each["name"] for each in cloud.get(f"{path}&api-version=2025-12-01")["value"]]


def test_endpoints_are_listed_as_their_query_asks(cloud: Cloud) -> None:
    for number, name in enumerate(("one", "two", "three")):
        body = cloud.endpoint_body(properties={"own": name}) | {"tags": {"all": "", "number": str(number)}}
        cloud.put(cloud.endpoint(name), body)
    cloud.wait(cloud.send("PATCH", cloud.endpoint("two"), {"tags": {"all": "", "number": "9"}}))
    path = f"{cloud.workspace}/onlineEndpoints"
    assert names(cloud, f"{path}?name=TWO") == ["two"]
    assert names(cloud, f"{path}?tags=all,number=2") == ["three"]
    assert names(cloud, f"{path}?tags=number=1") == []
    assert names(cloud, f"{path}?properties=own=one") == ["one"]
    assert names(cloud, f"{path}?computeType=managed") == ["one", "two", "three"]
    assert names(cloud, f"{path}?computeType=Kubernetes") == []
    assert names(cloud, f"{path}?orderBy=CreatedAtDesc") == ["three", "two", "one"]
    assert names(cloud, f"{path}?orderBy=UpdatedAtDesc") == ["two", "three", "one"]
    assert "'Backwards'" in cloud.refusal(cloud.send("GET", f"{path}?orderBy=Backwards"), 400)
    first = cloud.get(f"{path}?count=2&orderBy=UpdatedAtAsc&api-version=2025-12-01")
    assert [each["name"] for each in first["value"]] == ["one", "three"]
    second = cloud.get(first["nextLink"].removeprefix("https://management.azure.com"))
    assert [each["name"] for each in second["value"]] == ["two"], "the link keeps the order and the filters"
    assert "nextLink" not in second


def test_deployments_are_listed_in_pages_and_in_order(cloud: Cloud, endpoint: str) -> None:
    path = f"{endpoint}/deployments"
    assert names(cloud, f"{path}?$orderBy=createdtime desc") == ["green", "blue"]
    assert names(cloud, f"{path}?$orderBy=name") == ["blue", "green"]
    assert "'size desc'" in cloud.refusal(cloud.send("GET", f"{path}?$orderBy=size desc"), 400)
    first = cloud.get(f"{path}?$top=1&api-version=2025-12-01")
    assert [each["name"] for each in first["value"]] == ["blue"]
    assert cloud.get(first["nextLink"].removeprefix("https://management.azure.com"))["value"][0]["name"] == "green"


def test_the_skus_of_a_deployment_say_how_far_it_scales(cloud: Cloud, endpoint: str) -> None:
    path = f"{endpoint}/deployments/blue/skus"
    (sku,) = cloud.get(f"{path}?count=1&api-version=2025-12-01")["value"]
    assert sku == {
        "capacity": {"minimum": 1, "maximum": 50, "default": 1, "scaleType": "Manual"},
        "resourceType": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments",
        "sku": {"name": "Default", "tier": "Standard"},
    }
    assert cloud.get(f"{path}?$skip=1&api-version=2025-12-01") == {"value": []}
    assert cloud.send("GET", f"{endpoint}/deployments/none/skus").status_code == 404


# Keys, tokens, logs -----------------------------------------------------------------------------------------------


def test_a_new_key_is_in_force_when_its_operation_is_done_and_the_other_all_the_time(
    cloud: Cloud, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cloud.send("POST", f"{endpoint}/listKeys").json()
    pushed: list[tuple[str, ...]] = []
    release = threading.Event()

    def route(routes: Any) -> None:
        pushed.append(routes[0].keys)
        assert release.wait(30)

    monkeypatch.setattr(cloud.serving, "route", route)
    answer = cloud.send("POST", f"{endpoint}/regenerateKeys", {"keyType": "primary"})
    try:
        assert answer.status_code == 202
        assert "/mfeOperationResults/oeidp:" in answer.headers["location"]
        until(lambda: pushed, "the router is told")
        assert cloud.send("GET", answer.headers["azure-asyncoperation"]).json()["status"] == "Updating"
        assert cloud.get(endpoint)["properties"]["provisioningState"] == "Updating"
        again = cloud.send("POST", f"{endpoint}/regenerateKeys", {"keyType": "Secondary"})
        assert "because it is in Updating provisioning state" in cloud.refusal(again, 409)
    finally:
        release.set()
    cloud.wait(answer)
    after = cloud.send("POST", f"{endpoint}/listKeys").json()
    assert after["primaryKey"] != before["primaryKey"]
    assert set(pushed) == {(after["primaryKey"], before["secondaryKey"])}, "the old key is at no time let in again"
    assert cloud.get(endpoint)["properties"]["provisioningState"] == "Succeeded"


def test_a_key_that_a_caller_gives_is_taken(cloud: Cloud, endpoint: str) -> None:
    cloud.wait(cloud.send("POST", f"{endpoint}/regenerateKeys", {"keyType": "Secondary", "keyValue": "my-own-secret"}))
    assert cloud.send("POST", f"{endpoint}/listKeys").json()["secondaryKey"] == "my-own-secret"
    given = cloud.endpoint_body(keys={"primaryKey": "first-secret", "secondaryKey": "second-secret"})
    found = cloud.put(cloud.endpoint("given"), given)
    assert "keys" not in found["properties"], "they are written and never read"
    keys = cloud.send("POST", f"{cloud.endpoint('given')}/listKeys").json()
    assert keys == {"primaryKey": "first-secret", "secondaryKey": "second-secret"}
    assert cloud.send("PUT", cloud.endpoint("given"), given).status_code == 201, "the same keys again change nothing"


def test_a_key_that_cannot_be_put_in_force_leaves_the_old_one(
    cloud: Cloud, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cloud.send("POST", f"{endpoint}/listKeys").json()

    def route(routes: Any) -> None:
        raise ServingError("InternalServerError", "the router refused it")

    monkeypatch.setattr(cloud.serving, "route", route)
    end = cloud.wait(cloud.send("POST", f"{endpoint}/regenerateKeys", {"keyType": "Primary"}))
    assert end["status"] == "Failed"
    monkeypatch.undo()
    assert cloud.send("POST", f"{endpoint}/listKeys").json() == before
    assert cloud.get(endpoint)["properties"]["provisioningState"] == "Succeeded"


def test_an_endpoint_with_aad_tokens_has_neither_keys_nor_tokens_of_its_own(cloud: Cloud) -> None:
    cloud.put(cloud.endpoint(), cloud.endpoint_body(authMode="aadtoken"))
    assert cloud.serving.routed[0].auth == "aad_token"
    for action in ("listKeys", "regenerateKeys", "token"):
        refusal = cloud.send("POST", f"{cloud.endpoint()}/{action}", {"keyType": "Primary"})
        assert "has auth mode AADToken" in cloud.refusal(refusal, 400)


def test_an_endpoint_with_aml_tokens_hands_them_out_and_has_no_keys(cloud: Cloud) -> None:
    cloud.put(cloud.endpoint(), cloud.endpoint_body(authMode="AMLToken"))
    answer = cloud.send("POST", f"{cloud.endpoint()}/token").json()
    assert answer["tokenType"] == "Bearer"
    assert answer["expiryTimeUtc"] - answer["refreshAfterTimeUtc"] == 12 * 3600
    claims = jwt.decode(answer["accessToken"], options={"verify_signature": False})
    assert (claims["iss"], claims["aud"], claims["endpointName"]) == ("azureml", "azureml", "online")
    assert abs(claims["exp"] - answer["expiryTimeUtc"]) < 60
    assert cloud.serving.routed[0].auth == "aml_token", "and the router takes them"
    for action in ("listKeys", "regenerateKeys"):
        refusal = cloud.send("POST", f"{cloud.endpoint()}/{action}", {"keyType": "Primary"})
        assert "has auth mode AMLToken; only one with Key has keys" in cloud.refusal(refusal, 400)


def test_logs_are_those_of_the_container_that_is_asked_for(
    cloud: Cloud, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def logs(*what: Any) -> str:
        asked.append(what)
        return "a line"

    monkeypatch.setattr(cloud.serving, "logs", logs, raising=False)
    path = f"{endpoint}/deployments/blue/getLogs"
    assert cloud.send("POST", path, {}).json() == {"content": "a line"}
    cloud.send("POST", path, {"containerType": "storageinitializer", "tail": 7})
    assert asked == [("online", "blue", "InferenceServer", 50), ("online", "blue", "StorageInitializer", 7)]


# Failures ---------------------------------------------------------------------------------------------------------


def test_an_endpoint_whose_first_creation_failed_is_beyond_repair(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def route(routes: Any) -> None:
        raise ServingError("InternalServerError", "the router refused it")

    monkeypatch.setattr(cloud.serving, "route", route)
    end = cloud.wait(cloud.send("PUT", cloud.endpoint(), cloud.endpoint_body()))
    assert (end["status"], cloud.get(cloud.endpoint())["properties"]["provisioningState"]) == ("Failed", "Failed")
    monkeypatch.undo()
    again = cloud.send("PUT", cloud.endpoint(), cloud.endpoint_body())
    assert "Specified endpoint [online] has not been created successfully." in cloud.refusal(again, 400)
    below = cloud.send("PUT", f"{cloud.endpoint()}/deployments/blue", cloud.deployment_body())
    assert "Please recreate endpoint and then try again to create deployment." in cloud.refusal(below, 400)
    cloud.wait(cloud.send("DELETE", cloud.endpoint()))
    cloud.put(cloud.endpoint(), cloud.endpoint_body())


def test_an_update_that_failed_leaves_what_was_there_and_can_be_repaired(cloud: Cloud, endpoint: str) -> None:
    path = f"{endpoint}/deployments/green"
    before = cloud.get(path)
    cloud.serving.broken.add("green")
    end = cloud.wait(cloud.send("PUT", path, cloud.deployment_body(capacity=2)))
    assert end["error"]["code"] == "ResourceNotReady"
    failed = cloud.get(path)
    assert failed["properties"]["provisioningState"] == "Failed"
    assert failed["sku"] == before["sku"]
    cloud.serving.broken.clear()
    assert cloud.put(path, cloud.deployment_body(capacity=2))["sku"]["capacity"] == 2


def test_nothing_is_written_on_an_endpoint_that_is_being_deleted(
    cloud: Cloud, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(cloud.serving, "remove", lambda *names: release.wait(30))
    answer = cloud.send("DELETE", endpoint)
    try:
        put = cloud.send("PUT", f"{endpoint}/deployments/blue", cloud.deployment_body())
        assert "or is in deleting provisioning state" in cloud.refusal(put, 400)
        for method, body in (("PUT", cloud.endpoint_body()), ("PATCH", {"tags": {}}), ("DELETE", None)):
            refused = cloud.send(method, endpoint, body)
            assert "because it is in Deleting provisioning state" in cloud.refusal(refused, 409), method
    finally:
        release.set()
    cloud.wait(answer)
    assert cloud.send("GET", f"{endpoint}/deployments/blue").status_code == 404, "children go with their parent"
