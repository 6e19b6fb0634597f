"""Storage accounts, their keys, the blob service and its containers over ARM."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.localazure.providers import conftest, networking
from tests.localazure.providers.conftest import API, Cloud, until

BODY = {"location": "eastus", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"}


def account(cloud: Cloud, name: str = "storage1") -> str:
    return f"{cloud.group}/providers/Microsoft.Storage/storageAccounts/{name}"


def error(cloud: Cloud, method: str, path: str, body: Any, status: int) -> dict[str, str]:
    answer = cloud.send(method, path, body)
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


def test_a_new_account_is_told_of_by_a_location_and_has_what_azure_fills_in(cloud: Cloud) -> None:
    answer = cloud.send("PUT", account(cloud, "second"), {**BODY, "location": "East US"})
    assert answer.status_code == 202
    assert "azure-asyncoperation" not in answer.headers, "storage sends a Location only"
    cloud.wait(answer)
    found = cloud.get(account(cloud, "second"))
    own = found["properties"]
    assert found["sku"] == {"name": "Standard_LRS", "tier": "Standard"}
    assert own["primaryEndpoints"]["blob"] == "https://second.blob.core.windows.net/"
    assert (own["provisioningState"], own["primaryLocation"], own["accessTier"]) == ("Succeeded", "eastus", "Hot")
    assert own["networkAcls"]["defaultAction"] == "Allow"
    assert own["encryption"]["keySource"] == "Microsoft.Storage"
    assert set(own["keyCreationTime"]) == {"key1", "key2"}
    assert cloud.send("PUT", account(cloud, "second"), BODY).status_code == 200


@pytest.mark.parametrize("name", ["ab", "Upper1", "a-b", "x" * 25, "caf%C3%A9"])
def test_an_account_has_a_name_that_azure_takes(shared: Cloud, name: str) -> None:
    refusal = error(shared, "PUT", account(shared, name), BODY, 400)
    assert refusal["code"] == "AccountNameInvalid"
    assert "between 3 and 24 characters" in refusal["message"]


def test_an_accounts_name_is_taken_in_every_group(cloud: Cloud) -> None:
    other = f"/subscriptions/{cloud.subscription}/resourceGroups/other"
    cloud.put(other, {"location": "eastus"})
    path = f"{other}/providers/Microsoft.Storage/storageAccounts/storage1"
    assert error(cloud, "PUT", path, BODY, 409)["code"] == "StorageAccountInAnotherResourceGroup"
    assert cloud.send("GET", path).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"sku": None},
        {"sku": {"name": "Huge_LRS"}},
        {"kind": None},
        {"kind": "Tape"},
        {"kind": "FileStorage"},
        {"kind": "BlobStorage", "sku": {"name": "Premium_LRS"}},
        {"properties": {"accessTier": "Lukewarm"}},
        {"properties": {"minimumTlsVersion": "SSL3"}},
        {"properties": {"allowSharedKeyAccess": "no"}},
        {"properties": {"networkAcls": {"defaultAction": "Maybe"}}},
        {"properties": {"networkAcls": {"bypass": "None"}}},
        {"properties": {"networkAcls": {"defaultAction": "Deny", "bypass": "Friends"}}},
        {"properties": {"networkAcls": {"defaultAction": "Deny", "ipRules": "all"}}},
        {"properties": {"networkAcls": {"defaultAction": "Deny", "ipRules": [{"action": "Allow"}]}}},
    ],
)
def test_an_account_that_azure_refuses_is_refused(shared: Cloud, change: dict[str, Any]) -> None:
    error(shared, "PUT", account(shared, "refused"), {**BODY, **change}, 400)
    assert shared.send("GET", account(shared, "refused")).status_code == 404


@pytest.mark.parametrize("value", ["banana", "10.0.0.1", "192.168.0.0/24", "52.1.1.1/32", "52.1.1.0/31", "::1"])
def test_a_firewall_takes_public_addresses_and_ranges_of_four_at_least(shared: Cloud, value: str) -> None:
    acls = {"defaultAction": "Deny", "ipRules": [{"value": "52.1.1.0/30"}, {"value": value}]}
    refused = error(shared, "PATCH", account(shared), {"properties": {"networkAcls": acls}}, 400)
    assert refused["code"] == "InvalidValuesForRequestParameters"
    assert value in refused["message"]


def test_a_firewall_takes_subnets_that_have_the_service_endpoint(cloud: Cloud) -> None:
    networking.with_network(cloud)

    def change(subnet: str) -> dict[str, Any]:
        rules = [{"id": subnet, "action": "Allow"}]
        return {"properties": {"networkAcls": {"defaultAction": "Deny", "virtualNetworkRules": rules}}}

    for wanted, said in (("/subscriptions/x/nothing", "NotFound"), (networking.subnet(cloud), "ServiceEndpoints")):
        refused = error(cloud, "PATCH", account(cloud), change(wanted), 400)
        assert refused["code"] == "NetworkAclsValidationFailure"
        assert said in refused["message"]
    services = [{"service": "Microsoft.Storage"}]
    cloud.put(networking.subnet(cloud), networking.subnet_body(serviceEndpoints=services))
    assert cloud.send("PATCH", account(cloud), change(networking.subnet(cloud))).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "BlobStorage"},
        {"sku": {"name": "Premium_LRS"}},
        {"properties": {"isHnsEnabled": True}},
        {"properties": {"isHnsEnabled": False}},
    ],
)
def test_what_is_fixed_when_an_account_is_created_cannot_be_changed(shared: Cloud, change: dict[str, Any]) -> None:
    before = shared.get(account(shared))
    for method in ("PUT", "PATCH"):
        refusal = error(shared, method, account(shared), {**BODY, **change} if method == "PUT" else change, 400)
        assert refusal["code"] == "AccountPropertyCannotBeUpdated", method
    elsewhere = error(shared, "PUT", account(shared), {**BODY, "location": "westus"}, 409)
    assert elsewhere["code"] == "InvalidResourceLocation"
    assert shared.get(account(shared)) == before


def test_an_account_stays_in_as_many_zones_as_it_was_made_in(cloud: Cloud) -> None:
    for name, sku, other in (("one", "Standard_LRS", "Standard_ZRS"), ("three", "Standard_GZRS", "Standard_GRS")):
        cloud.put(account(cloud, name), {**BODY, "sku": {"name": sku}})
        refusal = error(cloud, "PUT", account(cloud, name), {**BODY, "sku": {"name": other}}, 400)
        assert refusal["code"] == "StorageAccountTypeConversionNotAllowed"
        assert cloud.get(account(cloud, name))["sku"]["name"] == sku


def test_an_account_is_updated_in_place_and_an_older_kind_becomes_storage_v2(cloud: Cloud) -> None:
    cloud.put(account(cloud, "older"), {**BODY, "kind": "Storage"})
    assert "accessTier" not in cloud.get(account(cloud, "older"))["properties"]
    assert cloud.send("PATCH", account(cloud, "older"), {"kind": "StorageV2"}).json()["kind"] == "StorageV2"
    patched = cloud.send("PATCH", account(cloud), {"tags": {"a": "b"}, "properties": {"accessTier": "cool"}}).json()
    assert (patched["tags"], patched["properties"]["accessTier"]) == ({"a": "b"}, "Cool")
    assert patched["properties"]["primaryEndpoints"] == cloud.get(account(cloud))["properties"]["primaryEndpoints"]
    assert (
        cloud.send("PATCH", account(cloud), {"sku": {"name": "Standard_GRS"}}).json()["sku"]["name"] == "Standard_GRS"
    )


def test_an_account_that_is_being_created_takes_no_other_write(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(conftest.FakeFleet, "ensure", lambda *_parts, **_options: release.wait(30))
    path = account(cloud, "slow")
    begun = cloud.send("PUT", path, BODY)
    try:
        assert cloud.get(path)["properties"]["provisioningState"] == "Creating"
        for method, where, body in (
            ("PUT", path, BODY),
            ("PATCH", path, {"tags": {}}),
            ("DELETE", path, None),
            ("POST", f"{path}/regenerateKey", {"keyName": "key1"}),
            ("PUT", f"{path}/blobServices/default/containers/inbox", {}),
        ):
            assert error(cloud, method, where, body, 409)["code"] == "StorageAccountOperationInProgress", method
    finally:
        release.set()
    cloud.wait(begun)
    assert cloud.send("DELETE", path).status_code == 200
    assert cloud.send("DELETE", path).status_code == 204


def test_an_account_that_failed_to_start_is_created_by_the_next_put(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_parts: object) -> int:
        raise RuntimeError("no port")

    with monkeypatch.context() as patched:
        patched.setattr(conftest.FakeFleet, "ensure", broken)
        answer = cloud.send("PUT", account(cloud, "again"), BODY)
        until(lambda: cloud.send("GET", answer.headers["location"]).status_code == 400, "the creation fails")
    assert cloud.get(account(cloud, "again"))["properties"]["provisioningState"] == "Failed"
    assert cloud.put(account(cloud, "again"), BODY)["properties"]["provisioningState"] == "Succeeded"


def test_accounts_are_listed_by_group_and_by_subscription(cloud: Cloud) -> None:
    own = cloud.get(f"{cloud.group}/providers/Microsoft.Storage/storageAccounts")["value"]
    everywhere = cloud.get(f"/subscriptions/{cloud.subscription}/providers/Microsoft.Storage/storageAccounts")["value"]
    assert [each["name"] for each in own] == [each["name"] for each in everywhere] == ["storage1"]


def test_a_regenerated_key_is_another_with_its_own_time(cloud: Cloud) -> None:
    before = cloud.send("POST", f"{account(cloud)}/listKeys").json()["keys"]
    after = cloud.send("POST", f"{account(cloud)}/regenerateKey", {"keyName": "KEY2"}).json()["keys"]
    assert [each["keyName"] for each in after] == ["key1", "key2"]
    assert before[0] == after[0]
    assert before[1]["value"] != after[1]["value"]
    assert before[1]["creationTime"] < after[1]["creationTime"]
    for body in ({}, {"keyName": "key3"}, {"keyName": 1}):
        error(cloud, "POST", f"{account(cloud)}/regenerateKey", body, 400)
    assert "was not found" in error(cloud, "POST", f"{account(cloud, 'absent')}/listKeys", None, 404)["message"]


def test_a_name_is_checked_before_it_is_used(shared: Cloud) -> None:
    path = f"/subscriptions/{shared.subscription}/providers/Microsoft.Storage/checkNameAvailability"

    def check(name: str) -> dict[str, Any]:
        answer = shared.send("POST", path, {"name": name, "type": "Microsoft.Storage/storageAccounts"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert check("fresh") == {"nameAvailable": True}
    assert check("storage1")["reason"] == "AlreadyExists"
    assert check("CAPS")["reason"] == "AccountNameInvalid"
    error(shared, "POST", path, {"name": "fresh"}, 400)
    error(shared, "POST", path, {"name": "fresh", "type": "Microsoft.KeyVault/vaults"}, 400)
    error(shared, "POST", path.replace(shared.subscription, "none"), {}, 400)


def test_the_blob_service_is_there_without_being_created_and_keeps_its_settings(cloud: Cloud) -> None:
    path = f"{account(cloud)}/blobServices/default"
    found = cloud.get(path)
    assert found["properties"]["deleteRetentionPolicy"] == {"allowPermanentDelete": False, "enabled": False}
    assert (found["name"], found["sku"]["name"]) == ("default", "Standard_LRS")
    policy = {"enabled": True, "days": 7}
    kept = cloud.put(path, {"properties": {"isVersioningEnabled": True, "deleteRetentionPolicy": policy}})
    assert kept["properties"] == {
        "cors": {"corsRules": []},
        "isVersioningEnabled": True,
        "deleteRetentionPolicy": policy,
    }
    assert cloud.get(f"{account(cloud)}/blobServices")["value"] == [kept]
    cloud.put(f"{path}/containers/inbox", {})
    assert cloud.get(path) == kept, "its containers leave it alone"


@pytest.mark.parametrize(
    "properties",
    [
        {"deleteRetentionPolicy": {"enabled": True}},
        {"deleteRetentionPolicy": {"enabled": True, "days": 366}},
        {"containerDeleteRetentionPolicy": {"enabled": "yes"}},
        {"cors": {"corsRules": {}}},
    ],
)
def test_a_blob_service_that_azure_refuses_is_refused(shared: Cloud, properties: Any) -> None:
    path = f"{account(shared)}/blobServices/default"
    error(shared, "PUT", path, {"properties": properties}, 400)
    assert error(shared, "GET", path.replace("storage1", "absent"), None, 404)["code"] == "ResourceNotFound"


def test_a_container_has_azures_properties_and_is_patched(cloud: Cloud) -> None:
    path = f"{account(cloud)}/blobServices/default/containers/inbox"
    created = cloud.send("PUT", path, {"properties": {"metadata": {"a": "b"}}})
    assert created.status_code == 201
    own = created.json()["properties"]
    assert (own["leaseState"], own["publicAccess"], own["metadata"]) == ("Available", "None", {"a": "b"})
    patched = cloud.send("PATCH", path, {"properties": {"metadata": {"c": "d"}}})
    assert patched.status_code == 200
    assert patched.json()["properties"]["metadata"] == {"c": "d"}
    assert patched.json()["etag"] != created.json()["etag"]
    assert cloud.send("PUT", path, patched.json()).json() == patched.json(), "what says the same leaves the etag"
    absent = path.replace("inbox", "absent")
    assert error(cloud, "GET", absent, None, 404)["code"] == "ContainerNotFound"
    assert error(cloud, "PATCH", absent, {}, 404)["code"] == "ContainerNotFound"
    assert cloud.send("DELETE", absent).status_code == 204


def test_a_container_is_public_only_where_its_account_allows_it(cloud: Cloud) -> None:
    path = f"{account(cloud)}/blobServices/default/containers/inbox"
    public = {"properties": {"publicAccess": "Blob"}}
    assert error(cloud, "PUT", path, public, 409)["code"] == "PublicAccessNotPermitted"
    cloud.put(path, {})
    assert error(cloud, "PATCH", path, public, 409)["code"] == "PublicAccessNotPermitted"
    cloud.send("PATCH", account(cloud), {"properties": {"allowBlobPublicAccess": True}})
    assert cloud.send("PATCH", path, public).json()["properties"]["publicAccess"] == "Blob"
    error(cloud, "PUT", path, {"properties": {"publicAccess": "Everyone"}}, 400)


def test_containers_are_listed_by_prefix_and_in_pages(cloud: Cloud) -> None:
    containers = f"{account(cloud)}/blobServices/default/containers"
    for name in ("out-b", "in-a", "out-a"):
        cloud.put(f"{containers}/{name}", {})

    def listed(query: str) -> list[str]:
        return [each["name"] for each in cloud.get(f"{containers}{API}&{query}")["value"]]

    assert listed("$filter=out") == ["out-a", "out-b"]
    first = cloud.get(f"{containers}{API}&$maxpagesize=2")
    second = cloud.get(first["nextLink"])
    assert [each["name"] for each in first["value"] + second["value"]] == ["in-a", "out-a", "out-b"]


def test_an_account_without_keys_is_served_so_from_the_next_connection_on(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[tuple[str, ...], bool]] = []

    def register(self: object, name: str, *keys: str, keyless: bool = False) -> None:
        told.append((keys, keyless))

    monkeypatch.setattr(conftest.FakeFleet, "register", register)
    found = cloud.get(account(cloud, "storage1"))
    cloud.put(
        account(cloud, "storage1"), {**found, "properties": {**found["properties"], "allowSharedKeyAccess": False}}
    )
    listed = [each["value"] for each in cloud.send("POST", f"{account(cloud, 'storage1')}/listKeys").json()["keys"]]
    (((own,), keyless),) = told
    assert keyless
    assert own not in listed, "the keys are still there, and open nothing"
    cloud.send("PATCH", account(cloud, "storage1"), {"properties": {"allowSharedKeyAccess": True}})
    assert told[1] == (tuple(listed), False)
