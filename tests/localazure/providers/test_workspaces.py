"""Workspaces over ARM: what is filled in and what stays, soft delete and recovery, keys, and what is refused."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.localazure.providers.conftest import API, Cloud
from tests.localazure.providers.test_computes import cluster


def providers(cloud: Cloud, path: str) -> str:
    return f"{cloud.group}/providers/{path}"


def body(cloud: Cloud, **properties: Any) -> dict[str, Any]:
    own = {
        "storageAccount": providers(cloud, "Microsoft.Storage/storageAccounts/storage1"),
        "keyVault": providers(cloud, "Microsoft.KeyVault/vaults/vault1"),
        **properties,
    }
    return {"location": "eastus", "identity": {"type": "SystemAssigned"}, "properties": own}


def other(cloud: Cloud, name: str = "other") -> str:
    return cloud.workspace.removesuffix("work") + name


def timeless(document: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in document["systemData"].items() if not key.startswith("lastModified")}
    return {**document, "systemData": kept}


def user_identity(cloud: Cloud, name: str = "user") -> str:
    path = providers(cloud, f"Microsoft.ManagedIdentity/userAssignedIdentities/{name}")
    return cloud.put(path, {"location": "eastus"})["id"]


BLOB_CONTRIBUTOR = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
VAULT_ADMINISTRATOR = "00482a5a-887f-4fb3-b363-3b7fe8e74483"


def assign(cloud: Cloud, identity: str, scope: str, role: str) -> None:
    """Gives an identity a role."""
    definition = f"/subscriptions/{cloud.subscription}/providers/Microsoft.Authorization/roleDefinitions/{role}"
    properties = {"roleDefinitionId": definition, "principalId": cloud.get(identity)["properties"]["principalId"]}
    cloud.put(f"{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}", {"properties": properties})


# Create and update ---------------------------------------------------------------------------------------------------


def test_a_new_workspace_has_what_azure_fills_in(cloud: Cloud) -> None:
    answer = cloud.send("PUT", other(cloud), body(cloud))
    assert (answer.status_code, answer.content) == (202, b"")
    assert "workspaceOperationsStatus" in answer.headers["azure-asyncoperation"]
    assert "location" in answer.headers
    assert cloud.wait(answer) == {"status": "Succeeded", "percentComplete": 100.0}
    found = cloud.get(other(cloud))
    assert (found["kind"], found["sku"], found["etag"]) == ("Default", {"name": "Basic", "tier": "Basic"}, None)
    own = found["properties"]
    assert own["friendlyName"] == "other"
    assert own["discoveryUrl"] == "https://eastus.api.azureml.ms/discovery"
    assert own["mlFlowTrackingUri"].endswith(f"/mlflow/v1.0{other(cloud)}")
    assert own["systemDatastoresAuthMode"] == "accesskey"
    assert own["managedNetwork"]["isolationMode"] == "Disabled"
    assert found["identity"]["principalId"]


def test_putting_what_was_read_changes_nothing(cloud: Cloud) -> None:
    sent = {
        **body(cloud, description="d", managedNetwork={"isolationMode": "AllowInternetOutbound"}),
        "tags": {"a": "b"},
    }
    read = cloud.put(other(cloud), sent)
    assert timeless(cloud.put(other(cloud), read)) == timeless(read)


def test_a_patch_answers_without_a_body_replaces_tags_and_merges_properties(cloud: Cloud) -> None:
    cloud.put(other(cloud), {**body(cloud, description="before", friendlyName="kept"), "tags": {"a": "1"}})
    answer = cloud.send("PATCH", other(cloud), {"tags": {"b": "2"}, "properties": {"description": "after"}})
    assert (answer.status_code, answer.content) == (202, b"")
    cloud.wait(answer)
    found = cloud.get(other(cloud))
    assert found["tags"] == {"b": "2"}
    assert (found["properties"]["description"], found["properties"]["friendlyName"]) == ("after", "kept")


def test_text_stands_for_booleans_as_the_clients_template_sends_them(cloud: Cloud) -> None:
    sent = body(cloud, hbiWorkspace="true", allowRoleAssignmentOnRG="false", systemDatastoresAuthMode="")
    found = cloud.put(other(cloud), sent)["properties"]
    assert (found["hbiWorkspace"], found["allowRoleAssignmentOnRG"]) == (True, False)
    assert found["systemDatastoresAuthMode"] == "accesskey"


def test_the_datastores_follow_the_auth_mode(cloud: Cloud) -> None:
    cloud.put(other(cloud), body(cloud))
    store = f"{other(cloud)}/datastores/workspaceblobstore"
    assert cloud.get(store)["properties"]["credentials"] == {"credentialsType": "AccountKey"}
    change = {"properties": {"systemDatastoresAuthMode": "Identity"}}
    cloud.wait(cloud.send("PATCH", other(cloud), change))
    assert cloud.get(store)["properties"]["credentials"] == {"credentialsType": "None"}


def test_user_assigned_identities_come_and_go_by_patch(cloud: Cloud) -> None:
    first, second = user_identity(cloud, "first"), user_identity(cloud, "second")
    assign(cloud, first, body(cloud)["properties"]["storageAccount"], BLOB_CONTRIBUTOR)
    assign(cloud, first, cloud.group, VAULT_ADMINISTRATOR)
    sent = body(cloud, primaryUserAssignedIdentity=first)
    sent["identity"] = {"type": "UserAssigned", "userAssignedIdentities": {first: {}}}
    found = cloud.put(other(cloud), sent)["identity"]
    assert found["userAssignedIdentities"][first]["principalId"]
    change = {"type": "UserAssigned", "userAssignedIdentities": {second: {}}}
    cloud.wait(cloud.send("PATCH", other(cloud), {"identity": change}))
    assert set(cloud.get(other(cloud))["identity"]["userAssignedIdentities"]) == {first, second}
    change["userAssignedIdentities"] = {second: None}
    cloud.wait(cloud.send("PATCH", other(cloud), {"identity": change}))
    assert set(cloud.get(other(cloud))["identity"]["userAssignedIdentities"]) == {first}


def test_a_workspace_fails_without_the_roles_of_the_identity_that_it_works_under(cloud: Cloud) -> None:
    user = user_identity(cloud)
    sent = body(cloud, primaryUserAssignedIdentity=user)
    sent["identity"] = {"type": "UserAssigned", "userAssignedIdentities": {user: {}}}
    assign(cloud, user, sent["properties"]["storageAccount"], BLOB_CONTRIBUTOR)
    failed = cloud.wait(cloud.send("PUT", other(cloud), sent))
    assert failed["status"] == "Failed"
    assert "Key Vault Administrator" in failed["error"]["message"]
    assert cloud.get(other(cloud))["properties"]["provisioningState"] == "Failed"
    assign(cloud, user, sent["properties"]["keyVault"], VAULT_ADMINISTRATOR)
    assert cloud.put(other(cloud), sent)["properties"]["provisioningState"] == "Succeeded", "the way out"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"identity": None}, "'identity' is required"),
        ({"identity": {"type": "None"}}, "'identity' is required"),
        ({"identity": {"type": "Mine"}}, "identity.type"),
        ({"identity": {"type": "UserAssigned", "userAssignedIdentities": {}}}, "is empty"),
        ({"identity": {"type": "UserAssigned", "userAssignedIdentities": {"/nobody": {}}}}, "does not exist"),
        ({"properties": None}, "'properties' is required"),
        ({"location": None}, "location"),
        ({"kind": "Castle"}, "must be one of"),
    ],
)
def test_a_workspace_that_lacks_something_is_refused_and_not_made(
    cloud: Cloud, change: dict[str, Any], said: str
) -> None:
    answer = cloud.send("PUT", other(cloud), {**body(cloud), **change})
    assert said in cloud.refusal(answer, 400)
    assert cloud.send("GET", other(cloud)).status_code == 404


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"storageAccount": None}, "properties.storageAccount' is required"),
        ({"keyVault": ""}, "properties.keyVault' is required"),
        ({"storageAccount": "/subscriptions/s"}, "no Microsoft.Storage/storageAccounts that exists"),
        ({"applicationInsights": "/none"}, "no Microsoft.Insights/components"),
        ({"containerRegistry": "/none"}, "no Microsoft.ContainerRegistry/registries"),
        ({"publicNetworkAccess": "Sometimes"}, "Enabled, Disabled"),
        ({"systemDatastoresAuthMode": "trust"}, "systemDatastoresAuthMode"),
        ({"hbiWorkspace": "perhaps"}, "hbiWorkspace"),
        ({"managedNetwork": {"isolationMode": "Open"}}, "isolationMode"),
        ({"networkAcls": {"defaultAction": "Maybe"}}, "defaultAction"),
        ({"networkAcls": {"defaultAction": "Deny", "ipRules": [{"value": "banana"}]}}, "banana"),
        ({"ipAllowlist": ["banana"]}, "banana"),
        (
            {"managedNetwork": {"isolationMode": "AllowInternetOutbound", "outboundRules": {"r": {}}}},
            "outboundRules.r.type",
        ),
        ({"encryption": {"status": "Enabled"}}, "keyVaultProperties"),
        ({"encryption": {"status": "Enabled", "keyVaultProperties": {"keyVaultArmId": "/v"}}}, "keyIdentifier"),
        ({"primaryUserAssignedIdentity": 5}, "primaryUserAssignedIdentity"),
    ],
)
def test_a_property_that_is_wrong_is_refused_by_its_name(cloud: Cloud, properties: dict[str, Any], said: str) -> None:
    assert said in cloud.refusal(cloud.send("PUT", other(cloud), body(cloud, **properties)), 400)


def test_a_premium_account_carries_no_workspace(cloud: Cloud) -> None:
    path = providers(cloud, "Microsoft.Storage/storageAccounts/premium1")
    cloud.put(path, {"location": "eastus", "sku": {"name": "Premium_LRS"}, "kind": "StorageV2"})
    assert "Premium_LRS" in cloud.refusal(cloud.send("PUT", other(cloud), body(cloud, storageAccount=path)), 400)


def test_a_user_assigned_workspace_says_which_identity_is_its_own(cloud: Cloud) -> None:
    sent = body(cloud)
    sent["identity"] = {"type": "UserAssigned", "userAssignedIdentities": {user_identity(cloud): {}}}
    assert "primaryUserAssignedIdentity" in cloud.refusal(cloud.send("PUT", other(cloud), sent), 400)


@pytest.mark.parametrize("kind", ["Hub", "Project", "FeatureStore"])
def test_other_kinds_of_workspaces_are_not_emulated_and_say_so(cloud: Cloud, kind: str) -> None:
    assert kind in cloud.refusal(cloud.send("PUT", other(cloud), {**body(cloud), "kind": kind.lower()}), 501)


def test_the_mode_for_version_1_of_the_api_is_not_emulated_and_says_so(cloud: Cloud) -> None:
    assert "v1LegacyMode" in cloud.refusal(cloud.send("PUT", other(cloud), body(cloud, v1LegacyMode=True)), 501)
    cloud.put(other(cloud), body(cloud, v1LegacyMode=False))


@pytest.mark.parametrize("name", ["ab", "-abc", "a" * 34, "a.b.c"])
def test_a_bad_name_is_refused(cloud: Cloud, name: str) -> None:
    assert "workspace name" in cloud.refusal(cloud.send("PUT", other(cloud, name), body(cloud)), 400)


def test_what_a_workspace_is_created_with_stays(cloud: Cloud) -> None:
    account = providers(cloud, "Microsoft.Storage/storageAccounts/storage2")
    cloud.put(account, {"location": "eastus", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"})
    network = {"managedNetwork": {"isolationMode": "AllowInternetOutbound"}}
    cloud.put(other(cloud), body(cloud, **network))
    for change in ({"storageAccount": account}, {"hbiWorkspace": True}, {"managedNetwork": {}}):
        refused = cloud.send("PUT", other(cloud), body(cloud, **{**network, **change}))
        assert next(iter(change)) in cloud.refusal(refused, 400)
        patched = cloud.send("PATCH", other(cloud), {"properties": change})
        assert next(iter(change)) in cloud.refusal(patched, 400)
    moved = cloud.send("PUT", other(cloud), {**body(cloud, **network), "location": "westus"})
    assert "InvalidResourceLocation" in cloud.refusal(moved, 409)


def test_workspaces_are_listed_by_group_subscription_and_kind(cloud: Cloud) -> None:
    everywhere = f"/subscriptions/{cloud.subscription}/providers/Microsoft.MachineLearningServices/workspaces"
    for path in (cloud.workspace.rpartition("/")[0], everywhere):
        assert [each["name"] for each in cloud.get(path)["value"]] == ["work"]
        assert cloud.get(f"{path}{API}&kind=hub,project")["value"] == []
        assert len(cloud.get(f"{path}{API}&kind=default")["value"]) == 1


# Delete --------------------------------------------------------------------------------------------------------------


def test_a_soft_deleted_workspace_is_recovered_with_its_assets_and_without_its_computes(cloud: Cloud) -> None:
    cloud.put(f"{cloud.workspace}/computes/cluster", cluster())
    cloud.put(cloud.endpoint(), cloud.endpoint_body())
    before = cloud.get(cloud.workspace)
    assert cloud.send("DELETE", cloud.workspace).status_code == 202
    for _ in range(1000):
        if cloud.send("GET", cloud.workspace).status_code == 404:
            break
    refused = cloud.send("PUT", cloud.workspace, body(cloud))
    assert "Soft-deleted workspace exists. Please purge or recover it." in cloud.refusal(refused, 400)
    after = cloud.put(cloud.workspace, body(cloud, allowRecoverSoftDeletedWorkspace=True))
    assert after["properties"]["workspaceId"] == before["properties"]["workspaceId"]
    assert cloud.get(f"{cloud.workspace}/models/custom/versions/1")
    assert len(cloud.get(f"{cloud.workspace}/datastores")["value"]) == 4
    assert cloud.get(f"{cloud.workspace}/computes")["value"] == []
    assert cloud.send("GET", cloud.endpoint()).status_code == 404
    again = cloud.send("DELETE", f"{cloud.workspace}{API}&forceToPurge=true")
    cloud.wait(again)
    fresh = cloud.put(cloud.workspace, body(cloud))
    assert fresh["properties"]["workspaceId"] != before["properties"]["workspaceId"]


# Keys and diagnosis --------------------------------------------------------------------------------------------------


def test_the_keys_of_what_a_workspace_stands_on_are_listed(cloud: Cloud) -> None:
    registry = providers(cloud, "Microsoft.ContainerRegistry/registries/registry1")
    sku = {"location": "eastus", "sku": {"name": "Basic"}}
    cloud.put(registry, {**sku, "properties": {"adminUserEnabled": True}})
    logs = providers(cloud, "Microsoft.OperationalInsights/workspaces/logs1")
    cloud.put(logs, {"location": "eastus", "properties": {}})
    insights = providers(cloud, "Microsoft.Insights/components/insights1")
    own = {"Application_Type": "web", "WorkspaceResourceId": logs}
    component = cloud.put(insights, {"location": "eastus", "kind": "web", "properties": own})
    cloud.put(other(cloud), body(cloud, containerRegistry=registry, applicationInsights=insights))
    keys = cloud.send("POST", f"{other(cloud)}/listKeys").json()
    assert keys["appInsightsInstrumentationKey"] == component["properties"]["InstrumentationKey"]
    assert keys["containerRegistryCredentials"]["username"] == "registry1"
    assert len(keys["containerRegistryCredentials"]["passwords"]) == 2
    assert keys["userStorageArmId"].endswith("/storage1")
    storage = cloud.send("POST", f"{other(cloud)}/listStorageAccountKeys").json()
    assert storage == {"userStorageKey": keys["userStorageKey"]}
    cloud.put(registry, {**sku, "properties": {"adminUserEnabled": False}})
    assert cloud.send("POST", f"{other(cloud)}/listKeys").json()["containerRegistryCredentials"] is None


def test_keys_are_synchronised_by_a_long_operation(cloud: Cloud) -> None:
    answer = cloud.send("POST", f"{cloud.workspace}/resyncKeys")
    assert answer.status_code == 202
    assert cloud.wait(answer)["status"] == "Succeeded"


def test_a_diagnosis_finds_what_is_gone(cloud: Cloud) -> None:
    found = cloud.send("POST", f"{cloud.workspace}/diagnose", {"value": {}}).json()["value"]
    assert not any(found.values())
    cloud.send("DELETE", providers(cloud, "Microsoft.KeyVault/vaults/vault1"))
    found = cloud.send("POST", f"{cloud.workspace}/diagnose", {"value": {}}).json()["value"]
    assert [each["level"] for each in found["keyVaultResults"]] == ["Error"]
    assert found["storageAccountResults"] == []


def test_the_hosts_that_a_workspace_needs_are_named(cloud: Cloud) -> None:
    value = cloud.get(f"{cloud.workspace}/outboundNetworkDependenciesEndpoints")["value"]
    hosts = {each["domainName"] for bag in value for each in bag["properties"]["endpoints"]}
    assert {"storage1.blob.core.windows.net", "vault1.vault.azure.net", "eastus.api.azureml.ms"} <= hosts


@pytest.mark.parametrize("action", ["listNotebookKeys", "listNotebookAccessToken", "prepareNotebook"])
def test_notebooks_are_not_emulated_and_say_so(cloud: Cloud, action: str) -> None:
    assert action in cloud.refusal(cloud.send("POST", f"{cloud.workspace}/{action}"), 501)


@pytest.mark.parametrize("action", ["listKeys", "listStorageAccountKeys", "resyncKeys", "diagnose"])
def test_an_action_on_a_missing_workspace_is_a_404(cloud: Cloud, action: str) -> None:
    assert "workspaces/none" in cloud.refusal(cloud.send("POST", f"{other(cloud, 'none')}/{action}"), 404)
