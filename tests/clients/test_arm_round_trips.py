"""Plain ARM: what a GET answered is put back and changes nothing, for the types that no client under test knows."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.clients.conftest import LOCATION, Place
from tests.localazure.running import until

Json = dict[str, Any]

WHERE: Json = {"location": LOCATION, "tags": {"team": "tumor"}}
CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"


def in_group(place: Place, kind: str, name: str) -> str:
    return f"{place.group_id}/providers/{kind}/{name}"


@dataclass(frozen=True)
class Example:
    """A resource that is in no way special.

    Attributes:
        path: its id.
        body: what is sent.
        version: the api-version that Azure's own tools speak for it.
    """

    path: str
    body: Json = field(default_factory=lambda: dict(WHERE))
    version: str = "2025-12-01"


def group(place: Place) -> Example:
    return Example(f"/subscriptions/{place.subscription}/resourceGroups/another", version="2024-03-01")


def storage_account(place: Place) -> Example:
    body = {
        **WHERE,
        "sku": {"name": "Standard_LRS"},
        "kind": "StorageV2",
        "properties": {"minimumTlsVersion": "TLS1_2"},
    }
    return Example(in_group(place, "Microsoft.Storage/storageAccounts", "another"), body, "2024-01-01")


def blob_container(place: Place) -> Example:
    path = f"{place.storage_id}/blobServices/default/containers/another"
    return Example(path, {"properties": {"metadata": {"team": "tumor"}}}, "2024-01-01")


def key_vault(place: Place) -> Example:
    sku = {"family": "A", "name": "standard"}
    properties = {"tenantId": place.daemon.tenant, "sku": sku, "enableRbacAuthorization": True}
    return Example(
        in_group(place, "Microsoft.KeyVault/vaults", "another"), {**WHERE, "properties": properties}, "2024-11-01"
    )


def log_analytics(place: Place) -> Example:
    body = {**WHERE, "properties": {"sku": {"name": "PerGB2018"}, "retentionInDays": 30}}
    return Example(in_group(place, "Microsoft.OperationalInsights/workspaces", "another"), body, "2023-09-01")


def application_insights(place: Place) -> Example:
    body = {**WHERE, "kind": "web", "properties": {"Application_Type": "web"}}
    return Example(in_group(place, "Microsoft.Insights/components", "another"), body, "2020-02-02")


def container_registry(place: Place) -> Example:
    body = {**WHERE, "sku": {"name": "Premium"}, "properties": {"adminUserEnabled": True}}
    return Example(in_group(place, "Microsoft.ContainerRegistry/registries", "another"), body, "2023-07-01")


def identity(place: Place) -> Example:
    return Example(in_group(place, "Microsoft.ManagedIdentity/userAssignedIdentities", "another"), version="2023-01-31")


def role_assignment(place: Place) -> Example:
    name = str(uuid.uuid5(uuid.NAMESPACE_URL, "an assignment"))
    role = f"/subscriptions/{place.subscription}/providers/Microsoft.Authorization/roleDefinitions/{CONTRIBUTOR}"
    principal = place.get(place.workspace_id)["identity"]["principalId"]
    properties = {"roleDefinitionId": role, "principalId": principal, "principalType": "ServicePrincipal"}
    path = f"{place.storage_id}/providers/Microsoft.Authorization/roleAssignments/{name}"
    return Example(path, {"properties": properties}, "2022-04-01")


EXAMPLES = (
    group,
    storage_account,
    blob_container,
    key_vault,
    log_analytics,
    application_insights,
    container_registry,
    identity,
    role_assignment,
)
# What moves with every write, on Azure as here.
MOVES = {"lastModifiedAt", "lastModifiedTime", "modifiedDate", "updatedOn", "etag"}


def settled(value: Any) -> Any:
    """A document without what moves with every write."""
    if isinstance(value, Mapping):
        return {name: settled(each) for name, each in value.items() if name not in MOVES}
    return [settled(each) for each in value] if isinstance(value, list) else value


def contains(answered: Any, sent: Any) -> bool:
    """Whether an answer says all that was sent."""
    if isinstance(sent, Mapping):
        return isinstance(answered, Mapping) and all(contains(answered.get(name), sent[name]) for name in sent)
    if isinstance(sent, list):
        return len(answered) == len(sent) and all(map(contains, answered, sent))
    return answered == sent


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.__name__)
def test_what_was_sent_is_answered_put_back_twice_without_a_change_and_deleted(
    place: Place, example: Callable[[Place], Example]
) -> None:
    wanted = example(place)
    read = place.put(wanted.path, wanted.body, wanted.version)
    assert contains(read, wanted.body)
    assert read["name"] == wanted.path.rpartition("/")[2]
    for _ in range(2):
        assert settled(place.put(wanted.path, read, wanted.version)) == settled(read)
    deleted = place.send("DELETE", wanted.path, version=wanted.version)
    assert deleted.status_code in (200, 202, 204), deleted.text
    until(lambda: place.send("GET", wanted.path, version=wanted.version).status_code == 404, "it is gone")
