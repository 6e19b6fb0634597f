"""Resource groups over ARM: names, places, tags, lists and deletion."""

from __future__ import annotations

from typing import Any

import pytest

from tests.localazure.providers import networking
from tests.localazure.providers.conftest import API, Cloud, until


def group(cloud: Cloud, name: str) -> str:
    return f"/subscriptions/{cloud.subscription}/resourceGroups/{name}"


def code(cloud: Cloud, method: str, path: str, body: Any, status: int) -> str:
    answer = cloud.send(method, path, body)
    assert answer.status_code == status, answer.text
    return answer.json()["error"]["code"]


def names(cloud: Cloud, path: str) -> list[str]:
    return [each["name"] for each in cloud.get(path)["value"]]


def test_a_group_is_created_at_once_and_an_update_keeps_it(cloud: Cloud) -> None:
    path = group(cloud, "Second")
    assert cloud.send("HEAD", path).status_code == 404
    created = cloud.send("PUT", path, {"location": "East US", "tags": {"a": "b"}})
    assert created.status_code == 201
    assert created.json() == {
        "id": path,
        "name": "Second",
        "type": "Microsoft.Resources/resourceGroups",
        "location": "eastus",
        "tags": {"a": "b"},
        "properties": {"provisioningState": "Succeeded"},
    }
    assert cloud.send("PUT", path.lower(), {"location": "eastus"}).status_code == 200
    assert cloud.get(path)["tags"] == {}
    assert cloud.send("PATCH", path, {"tags": {"c": "d"}}).json()["tags"] == {"c": "d"}
    assert cloud.send("HEAD", path).status_code == 204


@pytest.mark.parametrize("name", ["a+b", "ends.", "x" * 91, "caf!"])
def test_a_group_has_a_name_that_azure_takes(shared: Cloud, name: str) -> None:
    assert code(shared, "PUT", group(shared, name), {"location": "eastus"}, 400) == "InvalidResourceGroup"


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        ({}, 400, "LocationRequired"),
        ({"location": "atlantis"}, 400, "LocationNotAvailableForResourceType"),
        ({"location": "eastus", "tags": {"a/b": "c"}}, 400, "InvalidTagNameCharacters"),
        ({"location": "eastus", "tags": {"a": "c" * 257}}, 400, "InvalidTag"),
        ({"location": "eastus", "tags": {"a" * 513: "c"}}, 400, "InvalidTag"),
        ({"location": "eastus", "tags": {"a": "b", "A": "c"}}, 400, "InvalidTag"),
        ({"location": "eastus", "tags": {f"t{at}": "" for at in range(51)}}, 400, "TooManyTags"),
        ({"location": "eastus", "tags": ["a"]}, 400, "InvalidRequestContent"),
        ({"location": 1}, 400, "InvalidRequestContent"),
    ],
)
def test_a_group_that_azure_refuses_is_refused(shared: Cloud, body: Any, status: int, expected: str) -> None:
    path = group(shared, "refused")
    assert code(shared, "PUT", path, body, status) == expected
    assert shared.send("GET", path).status_code == 404, "a refusal leaves nothing"


def test_a_group_stays_where_it_is(cloud: Cloud) -> None:
    body = {"location": "westus"}
    assert code(cloud, "PUT", cloud.group, body, 409) == "InvalidResourceGroupLocation"
    assert code(cloud, "PATCH", cloud.group, body, 409) == "InvalidResourceGroupLocation"
    assert cloud.get(cloud.group)["location"] == "eastus"


def test_another_subscription_is_not_found_and_a_malformed_one_is_a_400(shared: Cloud) -> None:
    other = "/subscriptions/00000000-0000-0000-0000-000000000000"
    assert code(shared, "GET", f"{other}/resourceGroups", None, 404) == "SubscriptionNotFound"
    assert code(shared, "GET", "/subscriptions/mine/resourceGroups", None, 400) == "InvalidSubscriptionId"
    assert code(shared, "DELETE", f"{other}/resourceGroups/rg", None, 404) == "SubscriptionNotFound"
    assert code(shared, "DELETE", group(shared, "none"), None, 404) == "ResourceGroupNotFound"


def test_groups_are_listed_by_tag_and_in_pages(cloud: Cloud) -> None:
    for name, tags in (("one", {"team": "a"}), ("two", {"team": "b", "x": "a"})):
        cloud.put(group(cloud, name), {"location": "eastus", "tags": tags})
    listed = f"/subscriptions/{cloud.subscription}/resourceGroups{API}"
    assert names(cloud, listed) == ["rg", "one", "two"]
    assert names(cloud, f"{listed}&$filter=tagName eq 'TEAM'") == ["one", "two"]
    assert names(cloud, f"{listed}&$filter=tagName eq 'team' and tagValue eq 'a'") == ["one"], "one tag, not two"
    first = cloud.get(f"{listed}&$top=2")
    second = cloud.get(first["nextLink"])
    assert [each["name"] for each in first["value"] + second["value"]] == ["rg", "one", "two"]
    assert "nextLink" not in second


@pytest.mark.parametrize(
    "query", ["$filter=location eq", "$filter=colour eq 'red'", "$filter=tagName gt 'a'", "$top=0"]
)
def test_a_query_that_cannot_be_read_is_a_400(shared: Cloud, query: str) -> None:
    listed = f"/subscriptions/{shared.subscription}/resourceGroups{API}&{query}"
    assert shared.send("GET", listed).status_code == 400


def test_the_resources_of_a_group_are_listed_in_short_with_those_that_lie_in_others(cloud: Cloud) -> None:
    cloud.put(cloud.endpoint(), cloud.endpoint_body())
    found = cloud.get(f"{cloud.group}/resources")["value"]
    kinds = {each["name"]: each["type"] for each in found}
    assert kinds == {
        "storage1": "Microsoft.Storage/storageAccounts",
        "vault1": "Microsoft.KeyVault/vaults",
        "work": "Microsoft.MachineLearningServices/workspaces",
        "work/online": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints",
    }
    assert not any("properties" in each for each in found), "what a resource is made of takes a GET"
    assert {each["location"] for each in found} == {"eastus"}


def test_resources_are_found_by_type_name_place_and_tag(cloud: Cloud) -> None:
    account = f"{cloud.group}/providers/Microsoft.Storage/storageAccounts/tagged"
    body = {"location": "westus", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2", "tags": {"team": "a"}}
    cloud.put(account, body)

    def found(query: str, above: str = cloud.group) -> list[str]:
        return names(cloud, f"{above}/resources{API}&$filter={query}")

    assert found("resourceType eq 'microsoft.keyvault/vaults'") == ["vault1"]
    assert found("name eq 'storage1' or name eq 'vault1'") == ["storage1", "vault1"]
    assert found("location eq 'West US'") == ["tagged"]
    assert found("tagName eq 'team' and tagValue eq 'a'") == ["tagged"]
    assert found("substringof('orage', name)") == ["storage1"]
    assert found("resourceType ne 'Microsoft.Storage/storageAccounts' and name ne 'work'") == ["vault1"]
    everywhere = f"/subscriptions/{cloud.subscription}"
    assert found("resourceGroup eq 'RG' and resourceType eq 'Microsoft.KeyVault/vaults'", everywhere) == ["vault1"]
    assert found("resourceGroup eq 'other'", everywhere) == []


def test_a_group_that_is_deleted_twice_is_deleted_once(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.put(cloud.endpoint(), cloud.endpoint_body())
    cloud.put(f"{cloud.endpoint()}/deployments/blue", cloud.deployment_body())
    cloud.serving.gate.clear()
    # The deployment's removal holds the first deletion up.
    monkeypatch.setattr(cloud.serving, "remove", lambda *_names: cloud.serving.gate.wait(30))
    first, second = (cloud.send("DELETE", cloud.group) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.headers["location"] == second.headers["location"], "there is one deletion to wait for"
    assert cloud.get(cloud.group)["properties"]["provisioningState"] == "Deleting"
    cloud.serving.gate.set()
    until(lambda: cloud.send("GET", cloud.group).status_code == 404, "the group is gone")
    assert cloud.send("PUT", cloud.group, {"location": "westus"}).status_code == 201
    assert cloud.get(cloud.group)["location"] == "westus"


def test_a_group_that_another_one_stands_on_is_not_deleted(cloud: Cloud) -> None:
    nets = group(cloud, "nets")
    cloud.put(nets, {"location": "eastus"})
    security = networking.at(cloud, "networkSecurityGroups", "nsg").replace("/rg/", "/nets/")
    cloud.put(security, {"location": "eastus"})
    network = networking.network(cloud).replace("/rg/", "/nets/")
    cloud.put(network, networking.network_body(networking.named("endpoints", networkSecurityGroup={"id": security})))
    subnet = f"{network}/subnets/endpoints"
    body = networking.endpoint_body(cloud, networking.storage(cloud), "blob", subnet={"id": subnet})
    cloud.put(networking.endpoint(cloud), body)
    deleted = cloud.send("DELETE", nets)
    assert deleted.status_code == 202
    until(lambda: cloud.get(nets)["properties"]["provisioningState"] == "Succeeded", "it is rolled back")
    answer = cloud.send("GET", deleted.headers["location"])
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "ResourceGroupDeletionBlocked"
    assert "InUseSubnetCannotBeDeleted" in answer.text
    assert "nsg" not in answer.text, "its subnet goes with it"
    assert cloud.send("GET", subnet).status_code == 200
    networking.gone(cloud, networking.endpoint(cloud))
    cloud.wait(cloud.send("DELETE", nets))
    assert cloud.send("HEAD", nets).status_code == 404


def test_a_group_goes_with_the_security_group_of_its_own_subnets_only(cloud: Cloud) -> None:
    nets = group(cloud, "nets")
    cloud.put(nets, {"location": "eastus"})
    security = networking.at(cloud, "networkSecurityGroups", "nsg").replace("/rg/", "/nets/")
    cloud.put(security, {"location": "eastus"})
    subnet = networking.named("endpoints", networkSecurityGroup={"id": security})
    cloud.put(networking.network(cloud), networking.network_body(subnet))
    refused = cloud.wait(cloud.send("DELETE", nets))
    assert "InUseNetworkSecurityGroupCannotBeDeleted" in refused["error"]["message"]


def test_nothing_is_deleted_from_a_group_that_is_not_there(cloud: Cloud) -> None:
    account = f"{group(cloud, 'none')}/providers/Microsoft.Storage/storageAccounts/storage1"
    assert code(cloud, "DELETE", account, None, 404) == "ResourceGroupNotFound"
    assert cloud.send("DELETE", account.replace("/none/", "/rg/").replace("storage1", "absent")).status_code == 204


def test_a_groups_id_has_the_subscriptions_own_spelling(cloud: Cloud) -> None:
    path = f"/SUBSCRIPTIONS/{cloud.subscription.upper()}/RESOURCEGROUPS/Own"
    made = cloud.send("PUT", path, {"location": "eastus"}).json()
    assert made["id"] == f"/subscriptions/{cloud.subscription}/resourceGroups/Own"
