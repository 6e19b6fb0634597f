"""What a client can get wrong, and Azure refuses: every one of them is a 4xx in ARM's form, never a 5xx."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.localazure.providers.conftest import API, Cloud


def raw(cloud: Cloud, path: str, content: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {cloud.token}", "Content-Type": "application/json"}
    return cloud.client.put(path + API, content=content, headers=headers)


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "1e999", '"\\ud800"', '{"\\ud800": 1}', "[" * 200 + "]" * 200, "9" * 5000]
)
def test_json_that_no_answer_could_hold_is_a_400(cloud: Cloud, value: str) -> None:
    answer = raw(cloud, cloud.group, f'{{"location": "eastus", "x": {value}}}')
    assert answer.json()["error"]["code"] == "InvalidRequestContent", answer.text
    assert answer.status_code == 400


@pytest.mark.parametrize("duration", ["PT" + "9" * 400 + "S", "P99999999999D", "PT\u0663S"])
def test_a_duration_out_of_all_bounds_is_a_400(cloud: Cloud, duration: str) -> None:
    cloud.put(cloud.endpoint(), cloud.endpoint_body())
    body = cloud.deployment_body(livenessProbe={"timeout": duration})
    assert "ISO-8601" in cloud.refusal(cloud.send("PUT", f"{cloud.endpoint()}/deployments/blue", body), 400)


@pytest.mark.parametrize(
    "conda",
    ["d: 2020-01-01", "? [a, b]\n: 1", "a: &a [*a]", "a: " + "[" * 1500, "a: .nan", "d: !!set {x}", "a: 2020-13-45"],
)
def test_a_conda_file_that_json_cannot_say_is_a_400(cloud: Cloud, conda: str) -> None:
    body = {"properties": {"image": "image", "condaFile": conda}}
    assert "condaFile" in cloud.refusal(cloud.send("PUT", f"{cloud.workspace}/environments/odd/versions/1", body), 400)


@pytest.mark.parametrize(
    "query",
    [
        "datastores?count=",
        "datastores?$skip=",
        "models/custom/versions?$top=",
        "models?count=",
        "onlineEndpoints?count=",
    ],
)
@pytest.mark.parametrize("digits", ["%C2%B2", "9" * 5000, "-1", "x", "1.0", ""])
def test_a_number_in_a_query_that_is_none_is_a_400(cloud: Cloud, query: str, digits: str) -> None:
    name = query.partition("?")[2].rstrip("=")
    assert f"'{name}'" in cloud.refusal(cloud.send("GET", f"{cloud.workspace}/{query}{digits}"), 400)


def test_a_page_has_as_many_as_asked_and_its_link_can_be_followed(cloud: Cloud) -> None:
    first = cloud.get(f"{cloud.workspace}/datastores?count=1&own=1%26x")
    assert len(first["value"]) == 1
    link = first["nextLink"].removeprefix("https://management.azure.com")
    assert link.isascii()
    second = cloud.get(link)
    assert second["value"] != first["value"]
    assert "own=1%26x" in second["nextLink"], "what the client sent goes round as it was"


@pytest.mark.parametrize("version", ["%C2%B2", "9" * 200, "caf%C3%A9", "a%20b"])
def test_a_version_of_any_text_is_answered_with_a_location_that_is_a_url(cloud: Cloud, version: str) -> None:
    path = f"{cloud.workspace}/models/text/versions/{version}"
    answer = cloud.send("PUT", path, {"properties": {"modelUri": "u"}})
    assert answer.status_code == 201, answer.text
    assert f"/versions/{version}?" in answer.headers["location"]
    assert cloud.get(f"{cloud.workspace}/models/text")["properties"]["nextVersion"] == "1"


def test_a_line_break_in_an_api_version_is_refused_and_reaches_no_header(cloud: Cloud) -> None:
    path = f"{cloud.workspace}/models/text/versions/1?api-version=2025-12-01%0d%0aX-Own:%201"
    answer = cloud.send("PUT", path, {"properties": {"modelUri": "u"}})
    assert "InvalidApiVersionParameter" in cloud.refusal(answer, 400)
    assert "x-own" not in answer.headers


@pytest.mark.parametrize("name", ["-a", "a b", "caf%C3%A9", "a" * 256])
def test_an_assets_name_is_what_azure_takes(cloud: Cloud, name: str) -> None:
    answer = cloud.send("PUT", f"{cloud.workspace}/models/{name}/versions/1", {"properties": {"modelUri": "u"}})
    assert "255 letters" in cloud.refusal(answer, 400)


@pytest.mark.parametrize("days", ["abc", 6, 91, 7.5])
def test_a_vaults_retention_is_7_to_90_days(cloud: Cloud, days: Any) -> None:
    path = f"{cloud.group}/providers/Microsoft.KeyVault/vaults/vault2"
    sku = {"family": "A", "name": "standard"}
    own = {"tenantId": cloud.subscription, "sku": sku, "softDeleteRetentionInDays": days}
    answer = cloud.send("PUT", path, {"location": "eastus", "properties": own})
    assert "softDeleteRetentionInDays" in cloud.refusal(answer, 400)


def cluster(**properties: Any) -> dict[str, Any]:
    own = {"vmSize": "Standard_DS3_v2", "scaleSettings": {"maxNodeCount": 4}, **properties}
    return {"location": "eastus", "properties": {"computeType": "AmlCompute", "properties": own}}


def test_a_cluster_keeps_its_size_and_priority_and_has_at_most_100_nodes(cloud: Cloud) -> None:
    path = f"{cloud.workspace}/computes/cluster"
    many = cluster(scaleSettings={"maxNodeCount": 101})
    assert "101" in cloud.refusal(cloud.send("PUT", path, many), 400)
    cloud.put(path, cluster())
    assert "create it again" in cloud.refusal(cloud.send("PUT", path, cluster(vmSize="Standard_DS4_v2")), 400)
    assert "create it again" in cloud.refusal(cloud.send("PUT", path, cluster(vmPriority="LowPriority")), 400)
    cloud.put(path, cluster(vmSize="STANDARD_DS3_V2", scaleSettings={"maxNodeCount": 100}))


def test_a_workspace_keeps_its_storage_account(cloud: Cloud) -> None:
    other = f"{cloud.group}/providers/Microsoft.Storage/storageAccounts/storage2"
    cloud.put(other, {"location": "eastus", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"})
    answer = cloud.send("PATCH", cloud.workspace, {"properties": {"storageAccount": other}})
    assert "storageAccount" in cloud.refusal(answer, 400)


def test_a_role_is_assigned_to_a_guid(cloud: Cloud) -> None:
    role = "/x/acdd72a7-3385-48ef-bd42-f606fba81ae7"
    path = f"{cloud.group}/providers/Microsoft.Authorization/roleAssignments/10000000-0000-4000-8000-000000000001"
    body = {"properties": {"roleDefinitionId": role, "principalId": "nobody"}}
    assert "'nobody'" in cloud.refusal(cloud.send("PUT", path, body), 400)


def test_a_model_reference_to_something_else_is_a_400(cloud: Cloud) -> None:
    cloud.put(cloud.endpoint(), cloud.endpoint_body())
    body = cloud.deployment_body(model=cloud.workspace)
    assert "was not found" in cloud.refusal(cloud.send("PUT", f"{cloud.endpoint()}/deployments/blue", body), 400)


@pytest.mark.parametrize("script", ["/etc/score.py", "../score.py", "a/../../score.py", "."])
def test_a_scoring_script_lies_below_its_code(cloud: Cloud, script: str) -> None:
    cloud.put(cloud.endpoint(), cloud.endpoint_body())
    code = {"codeId": f"{cloud.workspace}/codes/code/versions/1", "scoringScript": script}
    body = cloud.deployment_body(codeConfiguration=code, environmentId=f"{cloud.workspace}/environments/env/versions/1")
    assert json.dumps(script)[1:-1] in cloud.refusal(
        cloud.send("PUT", f"{cloud.endpoint()}/deployments/blue", body), 400
    )
