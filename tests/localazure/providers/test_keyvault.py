"""Key vaults over ARM: what they are made of, soft delete, recovery, purge."""

from __future__ import annotations

from typing import Any

import pytest

from tests.localazure.providers.conftest import Cloud

TENANT = "10ca1a2e-0000-4000-8000-0000000000aa"
SOMEONE = "10000000-0000-4000-8000-000000000001"
SKU = {"family": "A", "name": "standard"}


def vault(cloud: Cloud, name: str = "second") -> str:
    return f"{cloud.group}/providers/Microsoft.KeyVault/vaults/{name}"


def deleted(cloud: Cloud, name: str = "second") -> str:
    base = f"/subscriptions/{cloud.subscription}/providers/Microsoft.KeyVault"
    return f"{base}/locations/eastus/deletedVaults/{name}"


def body(**properties: Any) -> dict[str, Any]:
    own = {"tenantId": TENANT, "sku": SKU, "accessPolicies": [], **properties}
    return {"location": "eastus", "properties": own}


def policy(principal: str = SOMEONE, **permissions: list[str]) -> dict[str, Any]:
    return {"tenantId": TENANT, "objectId": principal, "permissions": permissions}


def error(cloud: Cloud, method: str, path: str, sent: Any, status: int) -> dict[str, str]:
    answer = cloud.send(method, path, sent)
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


def test_a_vault_has_what_azure_fills_in(cloud: Cloud) -> None:
    created = cloud.send("PUT", vault(cloud, "Second"), body())
    assert created.status_code == 201
    own = created.json()["properties"]
    assert own["vaultUri"] == "https://second.vault.azure.net/"
    assert (own["softDeleteRetentionInDays"], own["enableSoftDelete"]) == (90, True)
    assert "enablePurgeProtection" not in own
    assert set(created.json()["systemData"]) >= {"createdAt", "createdBy", "lastModifiedAt"}
    again = cloud.send("PATCH", vault(cloud), {"tags": {"a": "b"}, "properties": {"enableRbacAuthorization": True}})
    assert again.status_code == 200
    assert (again.json()["tags"], again.json()["properties"]["enableRbacAuthorization"]) == ({"a": "b"}, True)
    assert again.json()["systemData"]["createdAt"] == created.json()["systemData"]["createdAt"]


@pytest.mark.parametrize("name", ["ab", "1abc", "a--b", "ends-", "x" * 25, "a_b"])
def test_a_vault_has_a_name_that_azure_takes(shared: Cloud, name: str) -> None:
    assert error(shared, "PUT", vault(shared, name), body(), 400)["code"] == "VaultNameNotValid"


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"tenantId": None}, "tenantId"),
        ({"tenantId": "contoso"}, "tenantId"),
        ({"sku": None}, "sku"),
        ({"sku": {"family": "A"}}, "sku.name"),
        ({"sku": {"family": "B", "name": "standard"}}, "sku.family"),
        ({"sku": {"family": "A", "name": "gold"}}, "gold"),
        ({"accessPolicies": None}, "accessPolicies is not specified"),
        ({"accessPolicies": {}}, "accessPolicies"),
        ({"accessPolicies": ["all"]}, "accessPolicies[0]"),
        ({"accessPolicies": [policy("nobody")]}, "objectId"),
        ({"accessPolicies": [{"tenantId": TENANT, "objectId": SOMEONE}]}, "permissions"),
        ({"accessPolicies": [policy(doors=["open"])]}, "doors"),
        ({"accessPolicies": [{**policy(), "permissions": {"keys": [1]}}]}, "permissions.keys"),
        ({"accessPolicies": [policy()] * 1025}, "1025"),
        ({"enableSoftDelete": False}, "enableSoftDelete"),
        ({"enablePurgeProtection": False}, "irreversible"),
        ({"enableRbacAuthorization": "yes"}, "enableRbacAuthorization"),
        ({"softDeleteRetentionInDays": 6}, "softDeleteRetentionInDays"),
        ({"publicNetworkAccess": "Maybe"}, "publicNetworkAccess"),
        ({"networkAcls": {"defaultAction": "Maybe"}}, "defaultAction"),
        ({"networkAcls": {"defaultAction": "Deny", "ipRules": [{"value": "banana"}]}}, "banana"),
        ({"networkAcls": {"defaultAction": "Deny", "virtualNetworkRules": [{"id": "/no"}]}}, "/no does not exist"),
        ({"createMode": "clone"}, "createMode"),
    ],
)
def test_a_vault_that_azure_refuses_is_refused(shared: Cloud, change: dict[str, Any], part: str) -> None:
    assert part in error(shared, "PUT", vault(shared), body(**change), 400)["message"]
    assert shared.send("GET", vault(shared)).status_code == 404


def test_a_vault_that_goes_by_roles_needs_no_access_policies(cloud: Cloud) -> None:
    found = cloud.put(vault(cloud), body(accessPolicies=None, enableRbacAuthorization=True))
    assert found["properties"]["accessPolicies"] == []


def test_retention_and_purge_protection_stay_as_they_were_set(cloud: Cloud) -> None:
    cloud.put(vault(cloud), body(softDeleteRetentionInDays=7, enablePurgeProtection=True))
    other = error(cloud, "PUT", vault(cloud), body(softDeleteRetentionInDays=90), 400)
    assert other["message"] == (
        'The property "softDeleteRetentionInDays" has been set already and it can\'t be modified.'
    )
    assert (
        "irreversible"
        in error(cloud, "PATCH", vault(cloud), {"properties": {"enablePurgeProtection": False}}, 400)["message"]
    )
    kept = cloud.put(vault(cloud), body())["properties"]
    assert (kept["softDeleteRetentionInDays"], kept["enablePurgeProtection"]) == (7, True)
    elsewhere = error(cloud, "PUT", vault(cloud), {**body(), "location": "westus"}, 409)
    assert elsewhere["code"] == "InvalidResourceLocation"


def test_a_vaults_name_is_taken_in_every_group_and_in_any_case(cloud: Cloud) -> None:
    other = f"/subscriptions/{cloud.subscription}/resourceGroups/other"
    cloud.put(other, {"location": "eastus"})
    path = f"{other}/providers/Microsoft.KeyVault/vaults/VAULT1"
    assert error(cloud, "PUT", path, body(), 409)["code"] == "VaultAlreadyExists"


def test_access_policies_are_changed_one_by_one(cloud: Cloud) -> None:
    other = SOMEONE.replace("1", "2")
    cloud.put(vault(cloud), body(accessPolicies=[policy(secrets=["get"])]))

    def change(how: str, *policies: dict[str, Any]) -> list[dict[str, Any]]:
        sent = {"properties": {"accessPolicies": list(policies)}}
        answer = cloud.send("PUT", f"{vault(cloud)}/accessPolicies/{how}", sent)
        assert answer.status_code == 200, answer.text
        found = cloud.get(vault(cloud))["properties"]["accessPolicies"]
        assert answer.json()["properties"]["accessPolicies"] == found
        return found

    both = change("add", policy(secrets=["get", "list"], keys=["get"]), policy(other, secrets=["get"]))
    assert [each["objectId"] for each in both] == [SOMEONE, other]
    assert both[0]["permissions"] == {"keys": ["get"], "secrets": ["get", "list"]}
    assert change("replace", policy(secrets=["set"]))[0]["permissions"] == {"secrets": ["set"]}
    assert [each["objectId"] for each in change("remove", policy())] == [other]
    sent = {"properties": {"accessPolicies": []}}
    error(cloud, "PUT", f"{vault(cloud)}/accessPolicies/forget", sent, 400)
    error(cloud, "PUT", f"{vault(cloud)}/accessPolicies/add", {}, 400)
    error(cloud, "PUT", f"{vault(cloud, 'absent')}/accessPolicies/add", sent, 404)


def test_a_deleted_vault_keeps_its_name_and_can_be_recovered_with_all_it_was(cloud: Cloud) -> None:
    before = cloud.put(vault(cloud), {**body(accessPolicies=[policy(keys=["get"])]), "tags": {"a": "b"}})
    assert cloud.send("DELETE", vault(cloud)).status_code == 200
    assert cloud.send("DELETE", vault(cloud)).status_code == 204
    gone = cloud.get(deleted(cloud))
    assert gone["properties"]["vaultId"] == vault(cloud)
    assert gone["properties"]["tags"] == {"a": "b"}
    listed = cloud.get(f"/subscriptions/{cloud.subscription}/providers/Microsoft.KeyVault/deletedVaults")
    assert [each["name"] for each in listed["value"]] == ["second"]
    clash = error(cloud, "PUT", vault(cloud, "SECOND"), body(), 409)
    assert clash["code"] == "ConflictError"
    assert "recover or purge" in clash["message"]
    after = cloud.put(vault(cloud), body(createMode="recover"))
    assert (after["tags"], after["properties"]) == (before["tags"], before["properties"])
    assert cloud.send("GET", deleted(cloud)).status_code == 404
    assert cloud.send("PUT", vault(cloud), body()).status_code == 200


def test_only_what_was_deleted_here_can_be_recovered(cloud: Cloud) -> None:
    missing = error(cloud, "PUT", vault(cloud), body(createMode="recover"), 404)
    assert missing["code"] == "DeletedVaultNotFound"
    cloud.put(vault(cloud), body())
    cloud.send("DELETE", vault(cloud))
    elsewhere = {**body(createMode="recover"), "location": "westus"}
    assert error(cloud, "PUT", vault(cloud), elsewhere, 404)["code"] == "DeletedVaultNotFound"
    other = f"/subscriptions/{cloud.subscription}/resourceGroups/other"
    cloud.put(other, {"location": "eastus"})
    path = f"{other}/providers/Microsoft.KeyVault/vaults/second"
    assert error(cloud, "PUT", path, body(createMode="recover"), 404)["code"] == "DeletedVaultNotFound"


def test_a_purged_vaults_name_is_free_and_a_protected_one_cannot_be_purged(cloud: Cloud) -> None:
    cloud.put(vault(cloud), body())
    cloud.send("DELETE", vault(cloud))
    nowhere = deleted(cloud).replace("eastus", "westus")
    assert error(cloud, "POST", f"{nowhere}/purge", None, 404)["code"] == "DeletedVaultNotFound"
    assert cloud.send("POST", f"{deleted(cloud)}/purge").status_code == 200
    cloud.put(vault(cloud), body(enablePurgeProtection=True))
    cloud.send("DELETE", vault(cloud))
    assert error(cloud, "POST", f"{deleted(cloud)}/purge", None, 400)["code"] == "DeletedVaultPurge"
    assert cloud.get(deleted(cloud))["properties"]["purgeProtectionEnabled"] is True


def test_a_vault_goes_into_soft_delete_with_its_group_and_comes_back_into_it(cloud: Cloud) -> None:
    before = cloud.get(vault(cloud, "vault1"))
    cloud.wait(cloud.send("DELETE", cloud.group))
    cloud.put(cloud.group, {"location": "eastus"})
    assert error(cloud, "PUT", vault(cloud, "vault1"), body(), 409)["code"] == "ConflictError"
    after = cloud.put(vault(cloud, "vault1"), body(createMode="recover"))
    assert after["properties"] == before["properties"]


def test_a_name_is_checked_before_it_is_used(cloud: Cloud) -> None:
    path = f"/subscriptions/{cloud.subscription}/providers/Microsoft.KeyVault/checkNameAvailability"

    def reason(name: str) -> str | None:
        answer = cloud.send("POST", path, {"name": name, "type": "Microsoft.KeyVault/vaults"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["nameAvailable"] is (answer.json()["reason"] is None)
        return answer.json()["reason"]

    assert reason("fresh") is None
    assert reason("Vault1") == "AlreadyExists"
    assert reason("a--b") == "AccountNameInvalid"
    cloud.send("DELETE", vault(cloud, "vault1"))
    assert reason("vault1") == "AlreadyExists", "a deleted vault's name stays taken"
    error(cloud, "POST", path, {"name": "fresh"}, 400)
    error(cloud, "POST", path, {"name": "fresh", "type": "Microsoft.Storage/storageAccounts"}, 400)


def test_another_subscriptions_deleted_vaults_are_not_told(shared: Cloud) -> None:
    other = "/subscriptions/00000000-0000-0000-0000-000000000000/providers/Microsoft.KeyVault/deletedVaults"
    assert error(shared, "GET", other, None, 404)["code"] == "SubscriptionNotFound"
