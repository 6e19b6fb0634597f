"""Roles that a user-assigned identity of an endpoint needs, and the time that they take to be effective."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localazure.settings import Settings
from tests.localazure.providers.conftest import Cloud, FakeServing, booted

READER = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"
CONTROL_PLANE_ONLY = "17d1049b-9a84-46fb-8f53-869881c3d3ab"


@pytest.fixture
def slow(tmp_path: Path, files: None) -> Iterator[Cloud]:
    """A cloud in which a role assignment takes an hour to be effective."""
    with booted(tmp_path / "slow", FakeServing(), Settings(role_assignment_delay=3600)) as made:
        made.prepare()
        yield made


def identity(cloud: Cloud) -> dict[str, Any]:
    path = f"{cloud.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/user"
    return cloud.put(path, {"location": "eastus"})


def storage(cloud: Cloud) -> str:
    return cloud.get(cloud.workspace)["properties"]["storageAccount"]


def assign(cloud: Cloud, role: str, scope: str) -> None:
    definitions = f"/subscriptions/{cloud.subscription}/providers/Microsoft.Authorization/roleDefinitions"
    properties = {
        "roleDefinitionId": f"{definitions}/{role}",
        "principalId": identity(cloud)["properties"]["principalId"],
        "principalType": "ServicePrincipal",
    }
    path = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
    assert cloud.send("PUT", path, {"properties": properties}).status_code == 201


def deploy(cloud: Cloud) -> dict[str, Any]:
    """What the operation of a deployment ends as, on an endpoint with the identity."""
    body = cloud.endpoint_body()
    body["identity"] = {"type": "UserAssigned", "userAssignedIdentities": {identity(cloud)["id"]: {}}}
    cloud.put(cloud.endpoint(), body)
    return cloud.wait(cloud.send("PUT", f"{cloud.endpoint()}/deployments/blue", cloud.deployment_body()))


def test_without_a_role_on_the_blobs_a_deployment_fails_and_says_which(cloud: Cloud) -> None:
    ended = deploy(cloud)
    assert (ended["status"], ended["error"]["code"]) == ("Failed", "AuthorizationFailed")
    assert "Storage Blob Data Reader" in ended["error"]["message"]
    assert storage(cloud) in ended["error"]["message"]
    assert cloud.serving.deployed == {}, "nothing was started"


def test_a_role_that_reaches_no_blobs_is_not_enough(cloud: Cloud) -> None:
    assign(cloud, CONTROL_PLANE_ONLY, storage(cloud))
    assert deploy(cloud)["status"] == "Failed"


def test_a_role_for_another_account_is_not_enough(cloud: Cloud) -> None:
    other = storage(cloud) + "2"
    cloud.put(other, {"location": "eastus", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"})
    assign(cloud, READER, other)
    assert deploy(cloud)["status"] == "Failed", "the name of one account begins as the other's"


@pytest.mark.parametrize("on_the_group", [False, True])
def test_a_role_on_the_account_or_above_is_enough(cloud: Cloud, on_the_group: bool) -> None:
    assign(cloud, READER, cloud.group if on_the_group else storage(cloud))
    assert deploy(cloud)["status"] == "Succeeded"


def test_a_role_that_is_not_effective_yet_is_not_enough(slow: Cloud) -> None:
    assign(slow, READER, storage(slow))
    ended = deploy(slow)
    assert ended["status"] == "Failed"
    assert "not effective yet" in ended["error"]["message"]


def test_an_identity_of_the_systems_needs_nothing(slow: Cloud) -> None:
    body = slow.endpoint_body() | {"identity": {"type": "SystemAssigned"}}
    slow.put(slow.endpoint(), body)
    path = f"{slow.endpoint()}/deployments/blue"
    assert slow.wait(slow.send("PUT", path, slow.deployment_body()))["status"] == "Succeeded"
