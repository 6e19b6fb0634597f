"""What clients look up before they begin: tenants, subscriptions, regions, providers."""

from __future__ import annotations

import pytest

from localazure.providers.lookups import PROVIDERS
from tests.localazure.providers.conftest import Cloud


def test_there_is_one_tenant_and_one_subscription(shared: Cloud) -> None:
    (tenant,) = shared.get("/tenants")["value"]
    (subscription,) = shared.get("/subscriptions")["value"]
    assert subscription["subscriptionId"] == shared.subscription
    assert subscription["tenantId"] == tenant["tenantId"]
    assert subscription["state"] == "Enabled"
    assert shared.get(f"/subscriptions/{shared.subscription.upper()}") == subscription
    other = "/subscriptions/00000000-0000-0000-0000-000000000000"
    assert "SubscriptionNotFound" in shared.refusal(shared.send("GET", other), 404)
    assert "SubscriptionNotFound" in shared.refusal(shared.send("GET", f"{other}/locations"), 404)
    assert "SubscriptionNotFound" in shared.refusal(shared.send("GET", f"{other}/providers"), 404)


def test_every_region_that_is_listed_can_be_used(shared: Cloud) -> None:
    regions = shared.get(f"/subscriptions/{shared.subscription}/locations")["value"]
    assert {"eastus", "westeurope"} <= {each["name"] for each in regions}
    (east,) = (each for each in regions if each["name"] == "eastus")
    assert east["displayName"] == "East US"
    assert east["metadata"]["pairedRegion"][0]["name"] == "westus"
    for each in regions[:5]:
        path = f"/subscriptions/{shared.subscription}/resourceGroups/in-{each['name']}"
        assert shared.put(path, {"location": each["displayName"]})["location"] == each["name"]


def test_a_provider_is_registered_and_tells_its_types_with_their_versions(shared: Cloud) -> None:
    path = f"/subscriptions/{shared.subscription}/providers"
    listed = {each["namespace"]: each for each in shared.get(path)["value"]}
    assert set(listed) == set(PROVIDERS)
    provider = shared.get(f"{path}/microsoft.machinelearningservices")
    assert provider == listed["Microsoft.MachineLearningServices"]
    assert provider["registrationState"] == "Registered"
    kinds = {each["resourceType"]: each["apiVersions"] for each in provider["resourceTypes"]}
    assert "2025-12-01" in kinds["workspaces/onlineEndpoints"]
    assert shared.send("POST", f"{path}/Microsoft.KeyVault/register").json()["registrationState"] == "Registered"
    assert "registrationState" not in shared.get("/providers/Microsoft.KeyVault"), "a tenant registers nothing"


def test_a_provider_that_is_not_emulated_is_named_and_one_that_azure_has_not_is_not_found(shared: Cloud) -> None:
    path = f"/subscriptions/{shared.subscription}/providers"
    assert "Microsoft.Sql" in shared.refusal(shared.send("GET", f"{path}/Microsoft.Sql"), 501)
    assert "InvalidResourceNamespace" in shared.refusal(shared.send("POST", f"{path}/Contoso.Widgets/register"), 404)


@pytest.mark.parametrize("namespace", sorted(PROVIDERS))
def test_each_type_that_a_provider_tells_of_is_served(shared: Cloud, namespace: str) -> None:
    paths = [route.template.text.lower() for route in shared.azure._arm.routes]
    for kind in PROVIDERS[namespace]:
        last = kind.rpartition("/")[2].lower()
        wanted = f"/{last}" if namespace == "Microsoft.Resources" else f"/{namespace}/".lower()
        assert any(wanted in path and f"/{last}" in path for path in paths), kind
