"""azure-mgmt-machinelearningservices 1, as it is: the stable typed client, which speaks api-version 2020-08-01."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from azure.mgmt.machinelearningservices import MachineLearningServicesMgmtClient as Client
from azure.mgmt.machinelearningservices import models as m

from tests.clients.conftest import LOCATION, Place, Waits

TEAM = {"team": "tumor"}


@pytest.fixture(scope="module")
def client(place: Place, environment: None) -> Client:
    return Client(DefaultAzureCredential(), place.subscription)


def fresh(kind: str) -> str:
    """A name that nothing has; a cluster's must not end in a hyphen and digits."""
    return f"{kind}-x{uuid.uuid4().hex[:7]}"


@pytest.fixture
def cluster(client: Client, place: Place) -> Iterator[str]:
    """A compute cluster of the test's own."""
    name = fresh("cluster")
    client.machine_learning_compute.begin_create_or_update(place.group, place.workspace, name, a_cluster()).result()
    yield name
    if name in [each.name for each in client.machine_learning_compute.list_by_workspace(place.group, place.workspace)]:
        delete(client, place, name)


def a_cluster() -> m.ComputeResource:
    scale = m.ScaleSettings(max_node_count=3, min_node_count=0, node_idle_time_before_scale_down=timedelta(seconds=100))
    own = m.AmlComputeProperties(vm_size="Standard_DS3_v2", vm_priority="Dedicated", scale_settings=scale)
    cluster = m.AmlCompute(description="said", properties=own)
    return m.ComputeResource(location=LOCATION, tags=TEAM, properties=cluster)


def delete(client: Client, place: Place, cluster: str) -> None:
    computes = client.machine_learning_compute
    computes.begin_delete(place.group, place.workspace, cluster, underlying_resource_action="Delete").result()


def test_a_workspace_is_made_read_changed_listed_and_deleted(client: Client, place: Place, waits: Waits) -> None:
    name = fresh("typed")
    wanted = m.Workspace(
        location=LOCATION,
        tags=TEAM,
        identity=m.Identity(type="SystemAssigned"),
        description="said",
        friendly_name="Tumours",
        storage_account=place.storage_id,
        key_vault=place.vault_id,
        application_insights=place.insights_id,
    )
    made = client.workspaces.begin_create_or_update(place.group, name, wanted).result()
    read = client.workspaces.get(place.group, name)
    assert read.as_dict() == made.as_dict()
    sent = wanted.as_dict()
    assert {field: value for field, value in read.as_dict().items() if field in sent and field != "identity"} == {
        field: value for field, value in sent.items() if field != "identity"
    }
    assert read.identity is not None
    assert read.identity.principal_id, "the system makes a principal"
    assert (read.provisioning_state, read.hbi_workspace, read.private_link_count) == ("Succeeded", False, 0)
    assert read.discovery_url == f"https://{LOCATION}.api.azureml.ms/discovery"
    assert read.sku is not None
    assert read.sku.name == "Basic"

    before = read.as_dict()
    for _ in range(2):
        client.workspaces.begin_create_or_update(place.group, name, read).result()
        read = client.workspaces.get(place.group, name)
        assert read.as_dict() == before, "putting back what was read changes nothing"

    change = m.WorkspaceUpdateParameters(tags={"team": "lung"}, description="changed")
    changed = client.workspaces.update(place.group, name, change)
    assert (changed.tags, changed.description, changed.friendly_name) == ({"team": "lung"}, "changed", "Tumours")
    assert client.workspaces.get(place.group, name).as_dict() == changed.as_dict()
    assert name in [each.name for each in client.workspaces.list_by_resource_group(place.group)]
    assert name in [each.name for each in client.workspaces.list_by_subscription()]
    client.workspaces.begin_delete(place.group, name).result()
    with pytest.raises(ResourceNotFoundError):
        client.workspaces.get(place.group, name)
    with pytest.raises(HttpResponseError, match="Soft-deleted workspace exists"):
        client.workspaces.begin_create_or_update(place.group, name, wanted).result()
    assert waits.longest < 1


def test_a_workspaces_keys_are_those_of_what_it_stands_on(client: Client, place: Place) -> None:
    keys = client.workspaces.list_keys(place.group, place.workspace)
    assert keys.user_storage_key == place.keys()[0]
    assert keys.user_storage_resource_id == place.storage_id
    insights = place.get(place.insights_id)["properties"]
    assert keys.app_insights_instrumentation_key == insights["InstrumentationKey"]


def test_a_workspace_that_nobody_made_is_not_found(client: Client, place: Place) -> None:
    with pytest.raises(ResourceNotFoundError) as missing:
        client.workspaces.get(place.group, "nobodys")
    assert missing.value.error is not None
    assert missing.value.error.code == "ResourceNotFound"


def test_a_cluster_is_read_as_it_was_sent_with_the_documented_defaults(
    client: Client, place: Place, cluster: str
) -> None:
    read = client.machine_learning_compute.get(place.group, place.workspace, cluster)
    assert (read.name, read.location, read.tags) == (cluster, LOCATION, TEAM)
    properties = read.properties
    assert isinstance(properties, m.AmlCompute)
    assert (properties.description, properties.provisioning_state) == ("said", "Succeeded")
    assert (properties.compute_location, properties.is_attached_compute) == (LOCATION, False)
    own = properties.properties
    assert own is not None
    assert (own.vm_size, own.vm_priority) == ("Standard_DS3_v2", "Dedicated")
    assert own.scale_settings is not None
    assert (own.scale_settings.max_node_count, own.scale_settings.min_node_count) == (3, 0)
    assert (own.current_node_count, own.target_node_count, own.allocation_state) == (0, 0, "Steady")
    assert own.node_state_counts is not None
    assert set(own.node_state_counts.as_dict().values()) == {0}
    assert own.remote_login_port_public_access == "NotSpecified"
    assert own.subnet is None


def test_a_cluster_is_changed_listed_and_deleted(client: Client, place: Place, cluster: str, waits: Waits) -> None:
    computes = client.machine_learning_compute
    where = (place.group, place.workspace)
    scale = m.ScaleSettings(max_node_count=2, min_node_count=0)
    computes.begin_update(*where, cluster, m.ClusterUpdateParameters(scale_settings=scale)).result()
    changed: Any = computes.get(*where, cluster).properties
    assert changed.properties.scale_settings.max_node_count == 2
    assert changed.properties.vm_size == "Standard_DS3_v2"
    before = settled(computes.get(*where, cluster))
    for _ in range(2):
        computes.begin_create_or_update(*where, cluster, computes.get(*where, cluster)).result()
        assert settled(computes.get(*where, cluster)) == before, "putting back what was read changes nothing"
    assert cluster in [each.name for each in computes.list_by_workspace(*where)]
    assert list(computes.list_nodes(*where, cluster)) == []
    delete(client, place, cluster)
    with pytest.raises(ResourceNotFoundError):
        computes.get(*where, cluster)
    assert waits.longest < 1


def settled(compute: m.ComputeResource) -> dict[str, Any]:
    """Without what moves with every write."""
    read = dict(compute.as_dict())
    read["properties"].pop("modified_on")
    read["properties"]["properties"].pop("allocation_state_transition_time")
    return read


def test_sizes_usages_and_quotas_of_a_region_are_listed(client: Client) -> None:
    # 2020-08-01 calls the list `amlCompute`; later versions `value`.
    sizes = client.virtual_machine_sizes.list(LOCATION).aml_compute or []
    (known,) = [each for each in sizes if each.name == "Standard_DS3_v2"]
    assert (known.v_cp_us, known.memory_gb, known.family) == (4, 14.0, "standardDSv2Family")
    usages = list(client.usages.list(LOCATION))
    assert all(each.limit is not None and each.current_value is not None for each in usages)
    assert "standardDSv2Family" in [each.name.value for each in usages if each.name]
    assert list(client.quotas.list(LOCATION))


NOT_EMULATED: dict[str, Callable[[Client, Place], object]] = {
    "notebooks": lambda client, place: client.notebooks.begin_prepare(place.group, place.workspace),
    "changing quotas": lambda client, place: client.quotas.update(LOCATION, m.QuotaUpdateParameters(value=[])),
    "connections": lambda client, place: list(client.workspace_connections.list(place.group, place.workspace)),
}


@pytest.mark.parametrize("what", NOT_EMULATED)
def test_what_is_not_emulated_says_so(client: Client, place: Place, what: str) -> None:
    with pytest.raises(HttpResponseError) as refused:
        NOT_EMULATED[what](client, place)
    assert refused.value.status_code == 501
    assert refused.value.error is not None
    assert refused.value.error.code == "NotImplemented"
    assert "docs/localazure.md" in str(refused.value)


def test_a_workspace_says_what_a_private_endpoint_reaches_it_as(client: Client, place: Place) -> None:
    found = client.private_link_resources.list_by_workspace(place.group, place.workspace).value or []
    assert [each.group_id for each in found] == ["amlworkspace"]
