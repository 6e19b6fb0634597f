"""The control plane over ARM: groups, storage, vaults, workspaces, computes, assets, identities, and bad requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.localazure.providers.conftest import API, Cloud


def test_a_request_without_a_token_is_refused_and_one_with_a_foreign_token_too(cloud: Cloud) -> None:
    assert cloud.client.get(cloud.group + API).status_code == 401
    answer = cloud.client.get(cloud.group + API, headers={"Authorization": "Bearer eyJhbGciOiJub25lIn0.e30."})
    assert answer.status_code == 401
    assert "WWW-Authenticate" in answer.headers


def test_what_is_not_emulated_is_named_in_a_501(cloud: Cloud) -> None:
    answer = cloud.send("GET", f"{cloud.group}/providers/Microsoft.Sql/servers/one")
    assert answer.status_code == 501
    assert "Microsoft.Sql/servers/one" in answer.json()["error"]["message"]


@pytest.mark.parametrize("raw", [b"{", b"[]", b'"text"', b"\xff\xfe", b"[" * 100_000, b"null"])
def test_a_malformed_body_is_a_400_in_arm_form(cloud: Cloud, raw: bytes) -> None:
    headers = {"Authorization": f"Bearer {cloud.token}", "Content-Type": "application/json"}
    answer = cloud.client.put(cloud.endpoint() + API, content=raw, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "InvalidRequestContent"


def test_a_body_that_is_too_large_is_a_413(cloud: Cloud) -> None:
    answer = cloud.send("PUT", cloud.group, {"location": "eastus", "tags": {"x": "y" * 5_000_000}})
    assert answer.status_code == 413


def test_ids_are_compared_without_case_and_answered_as_created(cloud: Cloud) -> None:
    assert cloud.get(cloud.workspace.upper())["id"] == cloud.workspace
    loud = cloud.put(
        cloud.workspace.replace("/rg/", "/RG/") + "/models/other/versions/1", {"properties": {"modelUri": "u"}}
    )
    assert loud["id"].startswith(cloud.workspace), "a child hangs below its parent's own spelling"


def test_what_is_in_a_missing_group_or_parent_is_a_404_that_says_which(cloud: Cloud) -> None:
    elsewhere = cloud.group.replace("/rg", "/nowhere")
    assert "'nowhere'" in cloud.refusal(cloud.send("GET", f"{elsewhere}/providers/Microsoft.KeyVault/vaults/v"), 404)
    child = cloud.workspace.replace("/workspaces/work", "/workspaces/none") + "/onlineEndpoints/online"
    assert "none" in cloud.refusal(cloud.send("PUT", child, cloud.endpoint_body()), 404)


def test_another_subscription_does_not_exist(cloud: Cloud) -> None:
    other = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg"
    assert "SubscriptionNotFound" in cloud.refusal(cloud.send("PUT", other, {"location": "eastus"}), 404)


def test_deleting_a_group_deletes_what_is_in_it_and_frees_nothing_that_azure_keeps(cloud: Cloud) -> None:
    cloud.wait(cloud.send("DELETE", cloud.group))
    assert cloud.send("GET", cloud.group).status_code == 404
    assert cloud.send("GET", cloud.workspace).status_code == 404
    vaults = cloud.get(f"/subscriptions/{cloud.subscription}/providers/Microsoft.KeyVault/deletedVaults")
    assert [vault["name"] for vault in vaults["value"]] == ["vault1"]


def test_a_deleted_workspace_blocks_its_name_until_it_is_purged(cloud: Cloud) -> None:
    body = cloud.get(cloud.workspace)
    cloud.wait(cloud.send("DELETE", cloud.workspace))
    assert "Soft-deleted workspace exists" in cloud.refusal(cloud.send("PUT", cloud.workspace, body), 400)
    assert cloud.send("DELETE", f"{cloud.workspace}{API}&forceToPurge=true").status_code == 204
    assert cloud.put(cloud.workspace, body)["properties"]["provisioningState"] == "Succeeded"


def test_a_purged_workspace_frees_its_name_at_once(cloud: Cloud) -> None:
    body = cloud.get(cloud.workspace)
    cloud.wait(cloud.send("DELETE", f"{cloud.workspace}{API}&forceToPurge=true"))
    again = cloud.put(cloud.workspace, body)
    assert again["properties"]["workspaceId"] != body["properties"]["workspaceId"], "it is another workspace"


def test_a_workspace_begins_with_azures_four_datastores(cloud: Cloud) -> None:
    found = {each["name"]: each["properties"] for each in cloud.get(f"{cloud.workspace}/datastores")["value"]}
    assert set(found) == {
        "workspaceblobstore",
        "workspaceartifactstore",
        "workspacefilestore",
        "workspaceworkingdirectory",
    }
    assert [name for name, each in found.items() if each["isDefault"]] == ["workspaceblobstore"]
    assert found["workspaceblobstore"]["credentials"] == {"credentialsType": "AccountKey"}, "no secret in an answer"
    secrets = cloud.send(
        "POST", f"{cloud.workspace}/datastores/workspaceblobstore/listSecrets", {"expirableSecret": True}
    )
    assert secrets.status_code == 200, secrets.text
    assert secrets.json()["secretsType"] == "Sas"


def test_the_keys_of_an_account_and_of_a_workspace_are_listed(cloud: Cloud) -> None:
    account = f"{cloud.group}/providers/Microsoft.Storage/storageAccounts/storage1"
    keys = [each["value"] for each in cloud.send("POST", f"{account}/listKeys").json()["keys"]]
    assert len(set(keys)) == 2
    assert cloud.send("POST", f"{cloud.workspace}/listKeys").json()["userStorageKey"] == keys[0]
    fresh = cloud.send("POST", f"{account}/regenerateKey", {"keyName": "key1"}).json()["keys"]
    assert fresh[0]["value"] != keys[0]
    assert fresh[1]["value"] == keys[1]


def test_a_container_lies_in_its_account_and_goes_with_it(cloud: Cloud) -> None:
    account = f"{cloud.group}/providers/Microsoft.Storage/storageAccounts/storage1"
    container = f"{account}/blobServices/default/containers/inbox"
    assert cloud.put(container, {})["properties"]["publicAccess"] == "None"
    assert [each["name"] for each in cloud.get(f"{account}/blobServices/default/containers")["value"]] == ["inbox"]
    nowhere = container.replace("/storage1/", "/storage2/")
    assert cloud.send("PUT", nowhere, {}).status_code == 404
    assert "hyphens" in cloud.refusal(cloud.send("PUT", container.replace("inbox", "In--box"), {}), 400)
    assert cloud.send("DELETE", container).status_code == 200
    assert cloud.send("GET", container).status_code == 404


def test_a_deleted_vault_keeps_its_name_and_can_be_purged_unless_protected(cloud: Cloud) -> None:
    path = f"{cloud.group}/providers/Microsoft.KeyVault/vaults/vault2"
    body = {
        "location": "eastus",
        "properties": {
            "tenantId": cloud.subscription,
            "sku": {"family": "A", "name": "standard"},
            "accessPolicies": [],
            "enablePurgeProtection": True,
        },
    }
    cloud.put(path, body)
    assert cloud.send("DELETE", path).status_code == 200
    assert "recover or purge" in cloud.refusal(cloud.send("PUT", path, body), 409)
    purge = (
        f"/subscriptions/{cloud.subscription}/providers/Microsoft.KeyVault/locations/eastus/deletedVaults/vault2/purge"
    )
    assert "purge protection" in cloud.refusal(cloud.send("POST", purge), 400)


def cluster(**properties: Any) -> dict[str, Any]:
    scale = {"minNodeCount": 0, "maxNodeCount": 4, "nodeIdleTimeBeforeScaleDown": "PT120S"}
    own = {"vmSize": "Standard_DS3_v2", "scaleSettings": scale, **properties}
    return {"location": "eastus", "properties": {"computeType": "AmlCompute", "properties": own}}


def test_a_cluster_answers_first_as_recorded_and_then_in_full(cloud: Cloud) -> None:
    path = f"{cloud.workspace}/computes/cluster"
    answer = cloud.send("PUT", path, cluster())
    assert answer.json()["properties"]["properties"]["currentNodeCount"] is None
    assert answer.json()["properties"]["properties"]["vmSize"] == "STANDARD_DS3_V2"
    cloud.wait(answer)
    found = cloud.get(path)["properties"]
    assert (found["provisioningState"], found["properties"]["currentNodeCount"]) == ("Succeeded", 0)
    assert found["properties"]["vmSize"] == "Standard_DS3_v2"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"vmSize": "big"}, "'big'"),
        ({"scaleSettings": {"minNodeCount": 5, "maxNodeCount": 4}}, "more than maxNodeCount"),
        ({"scaleSettings": {}}, "maxNodeCount' is required"),
        ({"vmPriority": "Cheap"}, "Dedicated, LowPriority"),
    ],
)
def test_a_cluster_that_says_something_wrong_is_refused(cloud: Cloud, change: dict[str, Any], said: str) -> None:
    assert said in cloud.refusal(cloud.send("PUT", f"{cloud.workspace}/computes/cluster", cluster(**change)), 400)


def test_deleting_a_cluster_needs_the_action_to_be_said(cloud: Cloud) -> None:
    path = f"{cloud.workspace}/computes/cluster"
    cloud.put(path, cluster())
    assert "underlyingResourceAction" in cloud.refusal(cloud.send("DELETE", path), 400)
    cloud.wait(cloud.send("DELETE", f"{path}{API}&underlyingResourceAction=Delete"))
    assert cloud.send("GET", path).status_code == 404


def test_a_version_is_new_once_and_its_content_is_fixed(cloud: Cloud) -> None:
    path = f"{cloud.workspace}/models/other/versions/7"
    first = cloud.send("PUT", path, {"properties": {"modelUri": "azureml://a", "modelType": "CUSTOM_MODEL"}})
    again = cloud.send("PUT", path, {"properties": {"modelUri": "azureml://a", "tags": {"x": "y"}}})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["properties"]["modelType"] == "custom_model"
    assert first.json()["properties"]["flavors"] == {}
    assert again.json()["properties"]["tags"] == {"x": "y"}
    other = cloud.send("PUT", path, {"properties": {"modelUri": "azureml://b"}})
    assert "Asset paths cannot be updated." in cloud.refusal(other, 409)
    container = cloud.get(f"{cloud.workspace}/models/other")["properties"]
    assert (container["latestVersion"], container["nextVersion"]) == ("7", "8")


def test_an_environment_version_answers_its_conda_file_as_json_and_cannot_change(cloud: Cloud) -> None:
    path = f"{cloud.workspace}/environments/env/versions/1"
    found = cloud.get(path)["properties"]
    assert json.loads(found["condaFile"]) == {"dependencies": ["python=3.11"]}
    same = cloud.send("PUT", path, {"properties": {"image": "image", "condaFile": found["condaFile"]}})
    assert same.status_code == 201, "recorded: 201 also for one that exists"
    other = cloud.send("PUT", path, {"properties": {"image": "another"}})
    assert "already registered and cannot be changed" in cloud.refusal(other, 409)


def test_code_is_found_by_its_hash_under_any_name(cloud: Cloud) -> None:
    found = cloud.get(f"{cloud.workspace}/codes/whatever/versions{API}&hash=ab&hashVersion=202208")["value"]
    assert [each["id"] for each in found] == [f"{cloud.workspace}/codes/code/versions/1"]
    assert cloud.get(f"{cloud.workspace}/codes/whatever/versions{API}&hash=cd")["value"] == []


def test_each_upload_gets_a_container_of_its_own(cloud: Cloud) -> None:
    path = f"{cloud.workspace}/codes/guid/versions/1/startPendingUpload"
    uris = {cloud.send("POST", path, {}).json()["blobReferenceForConsumption"]["blobUri"] for _ in range(3)}
    assert len(uris) == 3


def test_archived_assets_are_listed_only_on_request(cloud: Cloud) -> None:
    path = f"{cloud.workspace}/models/other/versions"
    for version, archived in (("1", True), ("2", False)):
        cloud.put(f"{path}/{version}", {"properties": {"modelUri": "u", "isArchived": archived}})
    assert [each["name"] for each in cloud.get(path)["value"]] == ["2"]
    assert [each["name"] for each in cloud.get(f"{path}{API}&listViewType=All")["value"]] == ["2", "1"]


def test_a_role_can_be_assigned_once_and_not_to_a_scope_that_is_not_there(cloud: Cloud) -> None:
    acr_pull = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
    role = f"/subscriptions/{cloud.subscription}/providers/Microsoft.Authorization/roleDefinitions/{acr_pull}"
    first, second = "10000000-0000-4000-8000-000000000001", "10000000-0000-4000-8000-000000000002"
    body = {"properties": {"roleDefinitionId": role, "principalId": first, "principalType": "ServicePrincipal"}}
    base = "/providers/Microsoft.Authorization/roleAssignments/"
    assert cloud.send("PUT", cloud.workspace + base + first, body).status_code == 201
    assert cloud.send("PUT", cloud.workspace + base + first, body).status_code == 200
    assert "RoleAssignmentExists" in cloud.refusal(cloud.send("PUT", cloud.workspace + base + second, body), 409)
    assert cloud.send("PUT", cloud.workspace + "x" + base + second, body).status_code == 404


def test_a_batch_endpoints_default_has_to_exist_and_cannot_be_deleted(cloud: Cloud) -> None:
    endpoint = f"{cloud.workspace}/batchEndpoints/batch"
    body = {"location": "eastus", "properties": {"authMode": "aadToken"}}
    cloud.put(f"{cloud.workspace}/computes/cluster", cluster())
    assert cloud.put(endpoint, body)["properties"]["authMode"] == "AADToken"
    named = {**body, "properties": {**body["properties"], "defaults": {"deploymentName": "first"}}}
    assert "'first'" in cloud.refusal(cloud.send("PUT", endpoint, named), 400)
    properties = {
        "model": {"referenceType": "Id", "assetId": f"{cloud.workspace}/models/mlflow/versions/1"},
        "compute": f"{cloud.workspace}/computes/cluster",
        "loggingLevel": "info",
    }
    deployment = cloud.put(f"{endpoint}/deployments/first", {"location": "eastus", "properties": properties})[
        "properties"
    ]
    assert (deployment["miniBatchSize"], deployment["errorThreshold"], deployment["loggingLevel"]) == (10, -1, "Info")
    assert deployment["retrySettings"] == {"maxRetries": 3, "timeout": "PT30S"}
    assert cloud.get(endpoint)["properties"]["defaults"] == {"deploymentName": None}, (
        "a deployment does not become it by itself"
    )
    assert cloud.put(endpoint, named)["properties"]["defaults"] == {"deploymentName": "first"}
    assert "default deployment" in cloud.refusal(cloud.send("DELETE", f"{endpoint}/deployments/first"), 400)


def test_a_put_of_what_a_get_answered_changes_nothing_for_any_type(cloud: Cloud) -> None:
    cloud.put(f"{cloud.workspace}/computes/cluster", cluster())
    paths = [
        cloud.group,
        f"{cloud.group}/providers/Microsoft.Storage/storageAccounts/storage1",
        f"{cloud.group}/providers/Microsoft.KeyVault/vaults/vault1",
        cloud.workspace,
        f"{cloud.workspace}/computes/cluster",
        f"{cloud.workspace}/datastores/workspaceblobstore",
        f"{cloud.workspace}/models/custom/versions/1",
        f"{cloud.workspace}/environments/env/versions/1",
        f"{cloud.workspace}/codes/code/versions/1",
    ]
    for path in paths:
        before = cloud.get(path)
        after = cloud.put(path, before)
        assert without_times(after) == without_times(before), path


def without_times(document: Any) -> Any:
    times = {"lastModifiedAt", "lastModifiedBy", "modifiedOn", "allocationStateTransitionTime"}
    if isinstance(document, dict):
        return {name: without_times(value) for name, value in document.items() if name not in times}
    return document
