"""Operations that are the same for many types, and those that are too small for a module of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.localazure.providers.conftest import Cloud, FakeServing, booted
from tests.localazure.providers.test_jobs import batch, ends, invoke, scorer  # noqa: F401

SKU = {"family": "A", "name": "standard"}
TENANT = "10ca1a2e-0000-4000-8000-0000000000aa"
# Types that are listed by group and by subscription, with what a PUT of them needs.
LISTED: dict[str, dict[str, Any]] = {
    "Microsoft.ContainerRegistry/registries": {"sku": {"name": "Basic"}},
    "Microsoft.Insights/components": {"kind": "web", "properties": {"Application_Type": "web"}},
    "Microsoft.KeyVault/vaults": {"properties": {"tenantId": TENANT, "sku": SKU, "accessPolicies": []}},
    "Microsoft.ManagedIdentity/userAssignedIdentities": {},
    "Microsoft.OperationalInsights/workspaces": {},
}
REGION = "eastus.api.azureml.ms"


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One cloud for the tests that add to it what nobody else looks at."""
    with booted(tmp_path_factory.mktemp("operations") / "home", FakeServing()) as made:
        made.prepare()
        yield made


def names(cloud: Cloud, path: str) -> set[str]:
    return {each["name"] for each in cloud.get(path)["value"]}


@pytest.mark.parametrize("kind", LISTED)
def test_a_resource_is_listed_in_its_group_and_its_subscription_until_it_is_deleted(standing: Cloud, kind: str) -> None:
    in_group = f"{standing.group}/providers/{kind}"
    in_subscription = f"/subscriptions/{standing.subscription}/providers/{kind}"
    name = f"listed{len(kind)}"
    standing.put(f"{in_group}/{name}", {"location": "eastus", **LISTED[kind]})
    assert name in names(standing, in_group)
    assert name in names(standing, in_subscription)
    assert standing.send("DELETE", f"{in_group}/{name}").status_code in (200, 202)
    assert name not in names(standing, in_group) | names(standing, in_subscription)


@pytest.mark.parametrize("kind", ["codes", "components", "data", "environments", "models"])
def test_a_container_is_made_listed_and_deleted(standing: Cloud, kind: str) -> None:
    path = f"{standing.workspace}/{kind}/listed"
    standing.put(path, {"properties": {"description": "mine", **({"dataType": "uri_file"} if kind == "data" else {})}})
    assert standing.get(path)["properties"]["description"] == "mine"
    assert "listed" in names(standing, f"{standing.workspace}/{kind}")
    assert standing.send("DELETE", path).status_code == 200
    assert standing.send("GET", path).status_code == 404


VERSIONS: dict[str, dict[str, Any]] = {
    "codes": {"codeUri": "https://storage1.blob.core.windows.net/c/code"},
    "components": {"componentSpec": {"name": "one", "version": "1", "type": "command", "command": "true"}},
    "data": {"dataType": "uri_folder", "dataUri": "azureml://datastores/workspaceblobstore/paths/x/"},
    "environments": {"image": "image"},
}


@pytest.mark.parametrize("kind", VERSIONS)
def test_a_version_is_listed_until_it_is_deleted(standing: Cloud, kind: str) -> None:
    versions = f"{standing.workspace}/{kind}/versioned/versions"
    standing.put(f"{versions}/1", {"properties": VERSIONS[kind]})
    assert names(standing, versions) == {"1"}
    assert standing.send("DELETE", f"{versions}/1").status_code == 200
    assert standing.send("GET", f"{versions}/1").status_code == 404


def test_a_batch_endpoint_has_no_keys(standing: Cloud) -> None:
    path = f"{standing.workspace}/batchEndpoints/keyless"
    standing.put(path, {"location": "eastus", "properties": {"authMode": "AADToken"}})
    assert "it has no keys" in standing.refusal(standing.send("POST", f"{path}/listkeys"), 400)


def test_a_cluster_has_no_keys(standing: Cloud) -> None:
    size = {"vmSize": "Standard_DS3_v2", "scaleSettings": {"maxNodeCount": 1}}
    path = f"{standing.workspace}/computes/keyless"
    standing.put(path, {"location": "eastus", "properties": {"computeType": "AmlCompute", "properties": size}})
    assert "has no keys" in standing.refusal(standing.send("POST", f"{path}/listKeys"), 400)


def test_the_creation_of_a_workspace_can_be_polled_for_its_result(standing: Cloud) -> None:
    before = standing.get(standing.workspace)
    own = {name: before["properties"][name] for name in ("storageAccount", "keyVault")}
    body = {"location": "eastus", "identity": {"type": "SystemAssigned"}, "properties": own}
    begun = standing.send("PUT", f"{standing.workspace}2", body)
    assert "/workspaceOperationsResult/" in begun.headers["location"]
    standing.wait(begun)
    assert standing.send("GET", begun.headers["location"]).status_code == 200


def test_every_namespace_that_is_served_is_a_registered_provider(standing: Cloud) -> None:
    found = {each["namespace"].lower() for each in standing.get("/providers")["value"]}
    assert {kind.partition("/")[0].lower() for kind in LISTED} <= found


def test_a_region_says_where_its_services_are_to_anybody(standing: Cloud) -> None:
    answer = standing.client.get("/discovery", headers={"Host": REGION})
    assert answer.json()["history"] == f"https://{REGION}"


def test_the_front_end_lists_the_jobs_of_a_batch_endpoint_and_of_its_deployments(batch: Cloud) -> None:  # noqa: F811
    assert invoke(batch, name="one").status_code == 201
    ends(batch, "one", "Completed")
    endpoint = f"/mferp/managementfrontend{batch.workspace}/batchEndpoints/batch"
    for path in (endpoint, f"{endpoint}/deployments/first"):
        answer = batch.send("GET", f"{path}/jobs", Host=REGION)
        assert [each["name"] for each in answer.json()["value"]] == ["one"]


def test_the_output_of_a_job_can_be_looked_up_as_data(batch: Cloud) -> None:  # noqa: F811
    assert invoke(batch, name="one").status_code == 201
    ends(batch, "one", "Completed")
    job = batch.azure._cloud.store.get(f"{batch.workspace}/jobs/one")
    assert job is not None
    child = job.hidden["child"]
    asset = f"azureml://locations/eastus/workspaces/w/data/azureml_{child}_output_data_score/versions/1"
    path = f"/data/v1.0{batch.workspace}/dataversion/batchGetResolvedUris"
    found = batch.send("POST", path, {"values": [asset]}, Host=REGION).json()["values"][asset]
    assert found["type"] == "UriFolder"
    assert f"/azureml/{child}/score/" in found["uri"]
