"""Container registries over ARM: names, tiers, the admin user."""

from __future__ import annotations

from typing import Any

import pytest

from tests.localazure.providers.conftest import Cloud


def registry(cloud: Cloud, name: str = "Registry1") -> str:
    return f"{cloud.group}/providers/Microsoft.ContainerRegistry/registries/{name}"


def body(sku: str = "Basic", **properties: Any) -> dict[str, Any]:
    return {"location": "eastus", "sku": {"name": sku}, "properties": properties}


def test_a_registry_has_what_azure_fills_in(cloud: Cloud) -> None:
    created = cloud.send("PUT", registry(cloud), body("premium"))
    assert created.status_code == 201
    found = created.json()
    assert found["sku"] == {"name": "Premium", "tier": "Premium"}
    assert found["properties"]["loginServer"] == "registry1.azurecr.io"
    assert (found["properties"]["adminUserEnabled"], found["properties"]["publicNetworkAccess"]) == (False, "Enabled")
    assert found["properties"]["policies"]["trustPolicy"]["status"] == "disabled"
    policies = {"retentionPolicy": {"status": "enabled"}}
    patched = cloud.send("PATCH", registry(cloud), {"properties": {"policies": policies}}).json()["properties"]
    assert patched["policies"]["retentionPolicy"] == {"days": 7, "status": "enabled"}
    assert patched["creationDate"] == found["properties"]["creationDate"]
    assert cloud.send("PUT", registry(cloud), body("Standard")).json()["sku"]["name"] == "Standard"
    assert cloud.send("DELETE", registry(cloud)).status_code == 200
    assert cloud.send("DELETE", registry(cloud)).status_code == 204


@pytest.mark.parametrize("name", ["abcd", "with-hyphen", "x" * 51, "under_score"])
def test_a_registry_has_a_name_that_azure_takes(shared: Cloud, name: str) -> None:
    refusal = shared.refusal(shared.send("PUT", registry(shared, name), body()), 400)
    assert "between 5 and 50 characters" in refusal


@pytest.mark.parametrize(
    ("sent", "part"),
    [
        ({"location": "eastus"}, "sku"),
        ({"location": "eastus", "sku": {}}, "sku.name"),
        (body("Gold"), "Gold"),
        (body(adminUserEnabled="yes"), "adminUserEnabled"),
        (body(publicNetworkAccess="Maybe"), "publicNetworkAccess"),
        (body(publicNetworkAccess="Disabled"), "Premium"),
        (body(anonymousPullEnabled=True), "Standard or Premium"),
        (body("Standard", zoneRedundancy="Enabled"), "Premium"),
        (body("Standard", dataEndpointEnabled=True), "Premium"),
        (body(policies=[]), "policies"),
        (body(policies={"trustPolicy": "on"}), "trustPolicy"),
        (body(encryption="on"), "encryption"),
    ],
)
def test_a_registry_that_azure_refuses_is_refused(shared: Cloud, sent: dict[str, Any], part: str) -> None:
    assert part in shared.refusal(shared.send("PUT", registry(shared), sent), 400)
    assert shared.send("GET", registry(shared)).status_code == 404


def test_zone_redundancy_and_place_are_fixed(cloud: Cloud) -> None:
    cloud.put(registry(cloud), body("Premium"))
    changed = cloud.send("PUT", registry(cloud), body("Premium", zoneRedundancy="Enabled"))
    assert "create the registry again" in cloud.refusal(changed, 400)
    moved = cloud.send("PUT", registry(cloud), {**body("Premium"), "location": "westus"})
    assert "InvalidResourceLocation" in cloud.refusal(moved, 409)


def test_a_registrys_name_is_taken_in_every_group_and_in_any_case(cloud: Cloud) -> None:
    cloud.put(registry(cloud), body())
    other = f"/subscriptions/{cloud.subscription}/resourceGroups/other"
    cloud.put(other, {"location": "eastus"})
    path = f"{other}/providers/Microsoft.ContainerRegistry/registries/REGISTRY1"
    assert "registry1.azurecr.io is already in use" in cloud.refusal(cloud.send("PUT", path, body()), 409)


def test_passwords_are_told_only_while_the_admin_user_is_on(cloud: Cloud) -> None:
    cloud.put(registry(cloud), body())
    for action in ("listCredentials", "regenerateCredential"):
        answer = cloud.send("POST", f"{registry(cloud)}/{action}", {"name": "password"})
        assert "admin user is disabled" in cloud.refusal(answer, 400)
    cloud.send("PATCH", registry(cloud), {"properties": {"adminUserEnabled": True}})
    before = cloud.send("POST", f"{registry(cloud)}/listCredentials").json()
    assert before["username"] == "Registry1"
    after = cloud.send("POST", f"{registry(cloud)}/regenerateCredential", {"name": "password2"}).json()
    assert [each["name"] for each in after["passwords"]] == ["password", "password2"]
    assert before["passwords"][0] == after["passwords"][0]
    assert before["passwords"][1] != after["passwords"][1]
    for sent in ({}, {"name": "password3"}):
        assert cloud.send("POST", f"{registry(cloud)}/regenerateCredential", sent).status_code == 400


def test_a_name_is_checked_before_it_is_used(cloud: Cloud) -> None:
    path = f"/subscriptions/{cloud.subscription}/providers/Microsoft.ContainerRegistry/checkNameAvailability"
    kind = "Microsoft.ContainerRegistry/registries"

    def check(name: str) -> dict[str, Any]:
        answer = cloud.send("POST", path, {"name": name, "type": kind})
        assert answer.status_code == 200, answer.text
        return answer.json()

    cloud.put(registry(cloud), body())
    assert check("fresh") == {"nameAvailable": True}
    assert check("registry1")["reason"] == "AlreadyExists"
    assert check("a-b-c")["reason"] == "Invalid"
    assert cloud.send("POST", path, {"type": kind}).status_code == 400
    assert cloud.send("POST", path, {"name": "fresh", "type": "Microsoft.KeyVault/vaults"}).status_code == 400


@pytest.mark.parametrize(
    "properties",
    [
        {"networkRuleSet": {"defaultAction": "Deny"}},
        {"policies": {"retentionPolicy": {"status": "enabled", "days": 7}}},
        {"policies": {"trustPolicy": {"status": "enabled"}}},
        {"policies": {"exportPolicy": {"status": "disabled"}}, "publicNetworkAccess": "Enabled"},
    ],
)
def test_firewalls_and_policies_are_for_the_premium_tier(cloud: Cloud, properties: dict[str, Any]) -> None:
    assert "needs Premium" in cloud.refusal(cloud.send("PUT", registry(cloud), body("Standard", **properties)), 400)
    if "exportPolicy" in properties.get("policies", {}):
        wrong = cloud.send("PUT", registry(cloud), body("Premium", **properties))
        assert "publicNetworkAccess" in cloud.refusal(wrong, 400)
        properties = {**properties, "publicNetworkAccess": "Disabled"}
    cloud.put(registry(cloud), body("Premium", **properties))


def test_a_private_endpoint_leads_to_a_premium_registry_only(cloud: Cloud) -> None:
    cloud.put(registry(cloud), body("Standard"))
    assert cloud.get(f"{registry(cloud)}/privateLinkResources")["value"] == []
    cloud.put(registry(cloud), body("Premium"))
    assert [each["name"] for each in cloud.get(f"{registry(cloud)}/privateLinkResources")["value"]] == ["registry"]
