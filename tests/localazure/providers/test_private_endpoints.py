"""Private endpoints over ARM: their addresses, their connections, and the private DNS that leads to them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.localazure.providers.conftest import Cloud
from tests.localazure.providers.networking import (
    endpoint,
    endpoint_body,
    gone,
    link_body,
    network,
    network_body,
    storage,
    subnet,
    vault,
    with_network,
    zone,
    zone_group_body,
)


@pytest.fixture
def net(cloud: Cloud) -> Cloud:
    """A cloud with a network."""
    with_network(cloud)
    return cloud


@pytest.fixture
def private(net: Cloud) -> Cloud:
    """With a private endpoint that leads to the storage account's blobs."""
    net.put(endpoint(net), endpoint_body(net, storage(net), "blob"))
    return net


def connections(cloud: Cloud, target: str) -> list[dict[str, Any]]:
    return cloud.get(target)["properties"].get("privateEndpointConnections") or []


# Endpoints ----------------------------------------------------------------------------------------------------


def test_an_endpoint_has_an_interface_with_an_address_of_its_subnet(private: Cloud) -> None:
    found = private.get(endpoint(private))["properties"]
    (interface,) = found["networkInterfaces"]
    (address,) = private.get(interface["id"])["properties"]["ipConfigurations"]
    assert address["properties"]["privateIPAddress"] == "10.0.1.4", "Azure keeps the first four of a subnet"
    assert found["customDnsConfigs"] == [{"fqdn": "storage1.blob.core.windows.net", "ipAddresses": ["10.0.1.4"]}]
    shown = private.get(subnet(private))["properties"]
    assert shown["privateEndpoints"] == [{"id": endpoint(private)}]
    assert shown["ipConfigurations"] == [{"id": address["id"]}]


def test_the_target_shows_a_connection_that_is_approved_at_once(private: Cloud) -> None:
    (connection,) = connections(private, storage(private))
    assert connection["properties"]["privateEndpoint"]["id"] == endpoint(private)
    assert connection["properties"]["privateLinkServiceConnectionState"]["status"] == "Approved"
    assert private.get(connection["id"]) == connection
    assert private.get(f"{storage(private)}/privateEndpointConnections")["value"] == [connection]
    again = private.put(storage(private), {**private.get(storage(private))})
    assert again["properties"]["privateEndpointConnections"] == [connection], "a PUT of the target keeps it"


def test_a_workspace_counts_its_private_links_and_has_a_name_for_each_of_its_faces(net: Cloud) -> None:
    found = net.put(endpoint(net), endpoint_body(net, net.workspace, "amlworkspace"))["properties"]
    workspace = net.get(net.workspace)["properties"]
    assert workspace["privateLinkCount"] == 1
    names = [each["fqdn"] for each in found["customDnsConfigs"]]
    assert names[0] == f"{workspace['workspaceId']}.workspace.eastus.api.azureml.ms"
    assert len({each["ipAddresses"][0] for each in found["customDnsConfigs"]}) == len(names) == 4


def test_endpoints_are_listed_patched_and_deleted(private: Cloud) -> None:
    assert private.send("PATCH", endpoint(private), {"tags": {"a": "b"}}).json()["tags"] == {"a": "b"}
    root = f"/subscriptions/{private.subscription}/providers/Microsoft.Network"
    for path in (endpoint(private).rpartition("/")[0], f"{root}/privateEndpoints"):
        assert [each["name"] for each in private.get(path)["value"]] == ["pe"]
    interfaces = endpoint(private).replace("privateEndpoints/pe", "networkInterfaces")
    for path in (interfaces, f"{root}/networkInterfaces"):
        assert len(private.get(path)["value"]) == 1
    gone(private, endpoint(private))
    assert private.get(interfaces)["value"] == []
    assert connections(private, storage(private)) == []
    assert "privateEndpoints" not in private.get(subnet(private))["properties"]


def test_a_second_endpoint_gets_another_address(private: Cloud) -> None:
    found = private.put(endpoint(private, "two"), endpoint_body(private, vault(private), "vault"))["properties"]
    assert found["customDnsConfigs"] == [{"fqdn": "vault1.vault.azure.net", "ipAddresses": ["10.0.1.5"]}]


def test_an_endpoint_goes_out_of_its_target_with_its_group(private: Cloud) -> None:
    other = private.group.replace("/rg", "/nets")
    private.put(other, {"location": "eastus"})
    body = endpoint_body(private, vault(private), "vault")
    private.put(endpoint(private).replace("/resourceGroups/rg/", "/resourceGroups/nets/"), body)
    assert len(connections(private, vault(private))) == 1
    private.wait(private.send("DELETE", other))
    assert connections(private, vault(private)) == []


def test_what_is_asked_for_by_hand_waits_for_approval(net: Cloud) -> None:
    net.put(endpoint(net), endpoint_body(net, vault(net), "vault", manual=True))
    (connection,) = connections(net, vault(net))
    assert connection["properties"]["privateLinkServiceConnectionState"]["status"] == "Pending"
    state = {"status": "Approved", "description": "ours"}
    net.put(connection["id"], {"properties": {"privateLinkServiceConnectionState": state}})
    (shown,) = net.get(endpoint(net))["properties"]["manualPrivateLinkServiceConnections"]
    assert shown["properties"]["privateLinkServiceConnectionState"]["description"] == "ours"


def test_a_connection_that_the_target_deletes_leaves_an_endpoint_that_leads_nowhere(private: Cloud) -> None:
    (connection,) = connections(private, storage(private))
    assert private.send("DELETE", connection["id"]).status_code == 200
    assert connections(private, storage(private)) == []
    (shown,) = private.get(endpoint(private))["properties"]["privateLinkServiceConnections"]
    assert shown["properties"]["privateLinkServiceConnectionState"]["status"] == "Disconnected"


@pytest.mark.parametrize("kind", ["storage", "vault", "registry", "workspace"])
def test_every_target_tells_what_endpoints_can_lead_to_and_who_does(net: Cloud, kind: str) -> None:
    registry = f"{net.group}/providers/Microsoft.ContainerRegistry/registries/registry1"
    net.put(registry, {"location": "eastus", "sku": {"name": "Premium"}})
    target, group = {
        "storage": (storage(net), "blob"),
        "vault": (vault(net), "vault"),
        "registry": (registry, "registry"),
        "workspace": (net.workspace, "amlworkspace"),
    }[kind]
    assert group in [each["name"] for each in net.get(f"{target}/privateLinkResources")["value"]]
    net.put(endpoint(net), endpoint_body(net, target, group))
    (connection,) = net.get(f"{target}/privateEndpointConnections")["value"]
    assert net.get(connection["id"]) == connection
    rejected = {"privateLinkServiceConnectionState": {"status": "Rejected"}}
    changed = net.put(connection["id"], {"properties": rejected})
    assert changed["properties"]["privateLinkServiceConnectionState"]["status"] == "Rejected"
    assert net.send("DELETE", connection["id"]).status_code == 200
    assert net.send("DELETE", connection["id"]).status_code == 204


def test_an_endpoint_that_says_something_wrong_is_not_created(net: Cloud) -> None:
    good = endpoint_body(net, storage(net), "blob")
    elsewhere = {**good, "location": "westus"}
    nowhere = endpoint_body(net, f"{storage(net)}x", "blob")
    no_subnet = endpoint_body(net, storage(net), "blob", subnet={"id": subnet(net, "none")})
    for body, said in (
        (endpoint_body(net, storage(net), "vault"), "blob, file"),
        (nowhere, "storage1x"),
        (no_subnet, "subnets/none"),
        (elsewhere, "same region"),
        (endpoint_body(net, network(net), "blob"), "not valid"),
        ({"location": "eastus", "properties": {"subnet": {"id": subnet(net)}}}, "exactly one connection"),
        ({"location": "eastus", "properties": {}}, "subnet"),
    ):
        assert said in net.refusal(net.send("PUT", endpoint(net), body), 400)
    assert net.send("GET", endpoint(net)).status_code == 404
    assert net.get(subnet(net))["properties"].get("ipConfigurations") is None


def test_an_endpoint_keeps_its_subnet_and_its_target(private: Cloud) -> None:
    turned = private.send("PUT", endpoint(private), endpoint_body(private, vault(private), "vault"))
    assert "cannot be changed" in private.refusal(turned, 400)
    private.put(subnet(private, "other"), {"properties": {"addressPrefix": "10.0.2.0/24"}})
    body = endpoint_body(private, storage(private), "blob", subnet={"id": subnet(private, "other")})
    assert "cannot be changed" in private.refusal(private.send("PUT", endpoint(private), body), 400)


def test_an_interface_that_is_there_is_not_taken_over(net: Cloud) -> None:
    body = endpoint_body(net, storage(net), "blob", customNetworkInterfaceName="nic")
    net.put(endpoint(net), body)
    other = endpoint_body(net, vault(net), "vault", customNetworkInterfaceName="nic")
    second = net.send("PUT", endpoint(net, "two"), other)
    assert "already exists" in net.refusal(second, 400)
    kept = net.put(endpoint(net), body)["properties"]
    assert kept["networkInterfaces"] == [{"id": endpoint(net).replace("privateEndpoints/pe", "networkInterfaces/nic")}]
    other = net.send("PUT", endpoint(net), endpoint_body(net, storage(net), "blob", customNetworkInterfaceName="x"))
    assert "cannot be changed" in net.refusal(other, 400)


def test_an_endpoint_does_not_turn_to_another_group(private: Cloud) -> None:
    turned = private.send("PUT", endpoint(private), endpoint_body(private, storage(private), "file"))
    assert "group ids" in private.refusal(turned, 400)


def static(member: str, address: str) -> dict[str, Any]:
    own = {"groupId": member, "memberName": member, "privateIPAddress": address}
    return {"ipConfigurations": [{"name": "fixed", "properties": own}]}


def test_an_endpoint_has_the_address_that_it_asks_for(net: Cloud) -> None:
    body = endpoint_body(net, storage(net), "blob", **static("blob", "10.0.1.99"))
    found = net.put(endpoint(net), body)["properties"]
    assert found["customDnsConfigs"][0]["ipAddresses"] == ["10.0.1.99"]
    interface = net.get(found["networkInterfaces"][0]["id"])["properties"]
    assert interface["ipConfigurations"][0]["properties"]["privateIPAllocationMethod"] == "Static"
    net.unchanged(endpoint(net))
    moved = endpoint_body(net, storage(net), "blob", **static("blob", "10.0.1.98"))
    assert net.refusal(net.send("PUT", endpoint(net), moved), 501)


@pytest.mark.parametrize(
    ("member", "address", "said"),
    [
        ("blob", "192.168.9.9", "PrivateIPAddressNotInSubnet"),
        ("blob", "10.0.1.2", "PrivateIPAddressInReservedRange"),
        ("blob", "10.0.1.255", "PrivateIPAddressInReservedRange"),
        ("blob", "10.0.1.4", "PrivateIPAddressIsAllocated"),
        ("blob", "ten", "no IP address"),
        ("vault", "10.0.1.99", "memberName"),
    ],
)
def test_an_endpoint_does_not_get_an_address_that_is_not_to_be_had(
    private: Cloud, member: str, address: str, said: str
) -> None:
    body = endpoint_body(private, storage(private), "blob", **static(member, address))
    assert said in private.refusal(private.send("PUT", endpoint(private, "two"), body), 400)


def test_a_registry_with_private_endpoints_stays_premium(net: Cloud) -> None:
    registry = f"{net.group}/providers/Microsoft.ContainerRegistry/registries/registry1"
    net.put(registry, {"location": "eastus", "sku": {"name": "Premium"}})
    net.put(endpoint(net), endpoint_body(net, registry, "registry"))
    lowered = net.send("PUT", registry, {"location": "eastus", "sku": {"name": "Basic"}})
    assert "private endpoint connections" in net.refusal(lowered, 400)
    gone(net, endpoint(net))
    net.put(registry, {"location": "eastus", "sku": {"name": "Basic"}})


# Private DNS --------------------------------------------------------------------------------------------------


def test_a_zone_is_global_and_counts_what_is_in_it(net: Cloud) -> None:
    assert "global" in net.refusal(net.send("PUT", zone(net), {"location": "eastus"}), 400)
    found = net.put(zone(net), {"location": "Global"})
    assert (found["location"], found["properties"]["numberOfRecordSets"]) == ("global", 1)
    link = net.put(f"{zone(net)}/virtualNetworkLinks/net", link_body(net))
    assert link["properties"]["virtualNetworkLinkState"] == "Completed"
    assert net.get(f"{zone(net)}/virtualNetworkLinks")["value"] == [link]
    assert net.get(zone(net))["properties"]["numberOfVirtualNetworkLinks"] == 1


def test_zones_and_links_are_listed_patched_and_deleted(net: Cloud) -> None:
    net.put(zone(net), {"location": "global"})
    link = f"{zone(net)}/virtualNetworkLinks/net"
    net.put(link, link_body(net))
    for path in (zone(net), link):
        assert net.send("PATCH", path, {"tags": {"a": "b"}}).json()["tags"] == {"a": "b"}
    everywhere = f"/subscriptions/{net.subscription}/providers/Microsoft.Network/privateDnsZones"
    for path in (zone(net).rpartition("/")[0], everywhere):
        assert len(net.get(path)["value"]) == 1
    assert "nested resources" in net.refusal(net.send("DELETE", zone(net)), 409)
    gone(net, link)
    gone(net, zone(net))


def test_a_network_is_linked_once_to_a_zone_and_to_one_zone_of_a_name(net: Cloud) -> None:
    net.put(zone(net), {"location": "global"})
    net.put(f"{zone(net)}/virtualNetworkLinks/net", link_body(net))
    twice = net.send("PUT", f"{zone(net)}/virtualNetworkLinks/again", link_body(net))
    assert net.refusal(twice, 409)
    net.put(net.group.replace("/rg", "/nets"), {"location": "eastus"})
    other = zone(net).replace("/resourceGroups/rg/", "/resourceGroups/nets/")
    net.put(other, {"location": "global"})
    assert "overlapping" in net.refusal(net.send("PUT", f"{other}/virtualNetworkLinks/net", link_body(net)), 400)
    nothing = link_body(net, virtualNetwork={"id": network(net, "none")})
    assert "none" in net.refusal(net.send("PUT", f"{other}/virtualNetworkLinks/other", nothing), 400)


def test_a_linked_network_that_goes_takes_its_links_along(net: Cloud) -> None:
    net.put(zone(net), {"location": "global"})
    net.put(f"{zone(net)}/virtualNetworkLinks/net", link_body(net))
    gone(net, network(net))
    assert net.get(f"{zone(net)}/virtualNetworkLinks")["value"] == []
    assert net.get(zone(net))["properties"]["numberOfVirtualNetworkLinks"] == 0
    gone(net, zone(net))


def test_a_network_that_goes_with_its_group_takes_its_links_along(net: Cloud) -> None:
    nets = net.group.replace("/rg", "/nets")
    net.put(nets, {"location": "eastus"})
    far = network(net).replace("/resourceGroups/rg/", "/resourceGroups/nets/")
    net.put(far, network_body())
    net.put(zone(net), {"location": "global"})
    net.put(f"{zone(net)}/virtualNetworkLinks/far", link_body(net, virtualNetwork={"id": far}))
    net.wait(net.send("DELETE", nets))
    assert net.get(zone(net))["properties"]["numberOfVirtualNetworkLinks"] == 0


def test_a_network_registers_its_machines_in_one_zone(net: Cloud) -> None:
    body = link_body(net, registrationEnabled=True)
    for name in ("a.internal", "b.internal"):
        net.put(zone(net, name), {"location": "global"})
    first = f"{zone(net, 'a.internal')}/virtualNetworkLinks/net"
    net.put(first, body)
    net.put(first, body)
    second = f"{zone(net, 'b.internal')}/virtualNetworkLinks/net"
    assert "auto-registration" in net.refusal(net.send("PUT", second, body), 409)
    net.put(second, link_body(net))


@pytest.mark.parametrize("name", ["azure.com", "core.windows.net", "Microsoft.com", "windows.net"])
def test_a_zone_does_not_take_a_name_of_azures_own(cloud: Cloud, name: str) -> None:
    assert "reserved" in cloud.refusal(cloud.send("PUT", zone(cloud, name), {"location": "global"}), 400)


@pytest.mark.parametrize(
    ("addresses", "said"), [(["banana"], "banana"), ([f"10.0.0.{at}" for at in range(21)], "up to 20")]
)
def test_a_record_says_addresses_and_not_too_many(net: Cloud, addresses: list[str], said: str) -> None:
    net.put(zone(net), {"location": "global"})
    body = {"properties": {"ttl": 60, "aRecords": [{"ipv4Address": each} for each in addresses]}}
    assert said in net.refusal(net.send("PUT", f"{zone(net)}/A/host", body), 400)


def test_a_record_is_made_listed_and_deleted(net: Cloud) -> None:
    net.put(zone(net), {"location": "global"})
    record = f"{zone(net)}/A/host"
    body = {"properties": {"ttl": 60, "aRecords": [{"ipv4Address": "10.0.0.9"}]}}
    assert net.send("PUT", record, body).status_code == 201
    found = net.get(record)
    assert found["properties"]["fqdn"] == "host.privatelink.blob.core.windows.net."
    for path in (f"{zone(net)}/A", f"{zone(net)}/ALL"):
        assert net.get(path)["value"] == [found]
    assert net.refusal(net.send("PUT", record, {"properties": {"ttl": 60}}), 400)
    assert net.send("DELETE", record).status_code == 200
    assert net.send("DELETE", record).status_code == 204


def test_a_zone_group_writes_the_records_and_takes_them_away_again(private: Cloud) -> None:
    private.put(zone(private), {"location": "global"})
    group = f"{endpoint(private)}/privateDnsZoneGroups/mine"
    made = private.put(group, zone_group_body(zone(private)))
    (config,) = made["properties"]["privateDnsZoneConfigs"]
    assert config["id"].startswith(f"{group}/privateDnsZoneConfigs/"), "the group's own name is in it"
    (record,) = config["properties"]["recordSets"]
    assert (record["recordSetName"], record["ipAddresses"]) == ("storage1", ["10.0.1.4"])
    assert private.get(f"{zone(private)}/A/storage1")["properties"]["aRecords"] == [{"ipv4Address": "10.0.1.4"}]
    assert private.get(group.rpartition("/")[0])["value"] == [made]
    assert private.get(endpoint(private))["properties"]["customDnsConfigs"] == [], "the zones have them now"
    gone(private, group)
    assert private.get(f"{zone(private)}/A")["value"] == []
    assert private.get(endpoint(private))["properties"]["customDnsConfigs"]


def test_an_endpoint_that_goes_takes_its_records_along(private: Cloud) -> None:
    private.put(zone(private), {"location": "global"})
    private.put(f"{endpoint(private)}/privateDnsZoneGroups/default", zone_group_body(zone(private)))
    gone(private, endpoint(private))
    assert private.get(zone(private))["properties"]["numberOfRecordSets"] == 1


def test_an_endpoint_has_one_zone_group_of_zones_that_exist(private: Cloud) -> None:
    group = f"{endpoint(private)}/privateDnsZoneGroups"
    missing = private.send("PUT", f"{group}/default", zone_group_body(zone(private)))
    assert "InvalidResourceReference" in private.refusal(missing, 400)
    private.put(zone(private), {"location": "global"})
    private.put(f"{group}/default", zone_group_body(zone(private)))
    second = private.send("PUT", f"{group}/second", zone_group_body(zone(private)))
    assert "Only one" in private.refusal(second, 400)
