"""Virtual networks, subnets and security groups over ARM."""

from __future__ import annotations

from typing import Any

import pytest

from tests.localazure.providers.conftest import Cloud
from tests.localazure.providers.networking import (
    at,
    endpoint,
    endpoint_body,
    gone,
    named,
    network,
    network_body,
    storage,
    subnet,
    subnet_body,
    with_network,
)

RULE: dict[str, Any] = {
    "protocol": "tcp",
    "access": "allow",
    "direction": "inbound",
    "priority": 100,
    "sourceAddressPrefix": "VirtualNetwork",
    "sourcePortRange": "*",
    "destinationAddressPrefix": "*",
    "destinationPortRange": "443",
}


def group(cloud: Cloud, name: str = "nsg") -> str:
    return at(cloud, "networkSecurityGroups", name)


def group_body(*rules: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {"location": "eastus", "properties": {"securityRules": list(rules), **properties}}


def rule(name: str = "https", **properties: Any) -> dict[str, Any]:
    return {"name": name, "properties": {**RULE, **properties}}


def delegation(service: str) -> dict[str, Any]:
    return {"name": "d", "properties": {"serviceName": service}}


# Networks -----------------------------------------------------------------------------------------------------


def test_a_network_is_updating_until_its_operation_is_done(cloud: Cloud) -> None:
    created = cloud.send("PUT", network(cloud), network_body(named("endpoints")))
    assert created.status_code == 201
    assert created.json()["properties"]["provisioningState"] == "Updating"
    assert cloud.wait(created)["status"] == "Succeeded"
    cloud.send("GET", created.headers["location"])
    found = cloud.get(network(cloud))["properties"]
    assert (found["provisioningState"], found["enableDdosProtection"]) == ("Succeeded", False)
    assert found["subnets"][0]["id"] == subnet(cloud)
    assert found["subnets"][0]["properties"]["privateEndpointNetworkPolicies"] == "Disabled", "Azure's default"


def test_networks_are_listed_patched_and_deleted_with_their_subnets(cloud: Cloud) -> None:
    with_network(cloud)
    patched = cloud.send("PATCH", network(cloud), {"tags": {"a": "b"}})
    assert patched.json()["tags"] == {"a": "b"}
    assert [each["name"] for each in patched.json()["properties"]["subnets"]] == ["endpoints"]
    everywhere = f"/subscriptions/{cloud.subscription}/providers/Microsoft.Network/virtualNetworks"
    for path in (network(cloud).rpartition("/")[0], everywhere):
        assert [each["name"] for each in cloud.get(path)["value"]] == ["net"]
    gone(cloud, network(cloud))
    assert cloud.send("GET", subnet(cloud)).status_code == 404
    assert cloud.send("DELETE", network(cloud)).status_code == 204


def test_a_network_shows_the_subnets_that_were_made_alone(cloud: Cloud) -> None:
    with_network(cloud)
    made = cloud.put(
        subnet(cloud, "train"), subnet_body("10.0.2.0/24", serviceEndpoints=[{"service": "Microsoft.Sql"}])
    )
    assert made["properties"]["serviceEndpoints"][0]["locations"] == ["*"]
    assert cloud.get(network(cloud))["properties"]["subnets"][1] == made
    assert [each["name"] for each in cloud.get(f"{network(cloud)}/subnets")["value"]] == ["endpoints", "train"]
    gone(cloud, subnet(cloud, "train"))
    assert [each["name"] for each in cloud.get(network(cloud))["properties"]["subnets"]] == ["endpoints"]


def test_a_put_without_subnets_keeps_them_and_one_with_none_removes_them(cloud: Cloud) -> None:
    with_network(cloud)
    kept = cloud.put(network(cloud), network_body())
    assert [each["name"] for each in kept["properties"]["subnets"]] == ["endpoints"]
    bare = cloud.put(network(cloud), network_body(subnets=[]))
    assert bare["properties"]["subnets"] == []


def test_a_delegation_has_what_azure_fills_in(cloud: Cloud) -> None:
    delegation = {"name": "ml", "properties": {"serviceName": "Microsoft.MachineLearningServices/workspaces"}}
    found = cloud.put(network(cloud), network_body(named("train", delegations=[delegation])))
    (shown,) = found["properties"]["subnets"][0]["properties"]["delegations"]
    assert shown["properties"]["actions"] == ["Microsoft.Network/virtualNetworks/subnets/action"]
    assert shown["id"] == f"{subnet(cloud, 'train')}/delegations/ml"


@pytest.mark.parametrize(
    ("prefix", "code"),
    [
        ("10.1.0.0/24", "NetcfgSubnetRangeOutsideVnet"),
        ("10.0.1.128/25", "NetcfgSubnetRangesOverlap"),
        ("10.0.3.1/24", "InvalidCIDRNotation"),
        ("ten", "InvalidCIDRNotation"),
        ("10.0.3.0/30", "NetcfgInvalidSubnet"),
        ("10.0.3.1/32", "NetcfgInvalidSubnet"),
        ("fd00::/60", "NetcfgInvalidSubnet"),
    ],
)
def test_a_subnet_lies_in_its_network_beside_the_others(cloud: Cloud, prefix: str, code: str) -> None:
    with_network(cloud)
    refused = cloud.send("PUT", subnet(cloud, "other"), subnet_body(prefix))
    assert refused.json()["error"]["code"] == code, cloud.refusal(refused, 400)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"location": "eastus", "properties": {}}, "addressSpace"),
        (network_body(prefix="10.0.0.0"), "invalid CIDR notation"),
        (network_body({"properties": {}}), "subnets[0].name"),
        (network_body(named("a"), named("A", "10.0.2.0/24")), "same name"),
        (network_body(named("a", networkSecurityGroup={"id": "/nothing"})), "/nothing"),
        (network_body(named("a", privateEndpointNetworkPolicies="Off")), "Off"),
        (network_body(named("a", delegations=[{"name": "d"}])), "serviceName"),
        (network_body(named("a", delegations=[delegation("Nonsense/things")])), "InvalidServiceNameOnDelegation"),
        (network_body(prefix="224.0.0.0/8"), "AddressPrefixNotAllowed"),
        (network_body(prefix="127.0.0.0/16"), "AddressPrefixNotAllowed"),
        (network_body(prefix="169.254.0.0/16"), "AddressPrefixNotAllowed"),
        (network_body(prefix="168.63.129.0/24"), "AddressPrefixNotAllowed"),
    ],
)
def test_a_network_that_says_something_wrong_is_not_created(cloud: Cloud, body: Any, said: str) -> None:
    assert said in cloud.refusal(cloud.send("PUT", network(cloud), body), 400)
    assert cloud.send("GET", network(cloud)).status_code == 404
    assert cloud.send("GET", subnet(cloud, "a")).status_code == 404


def test_a_delegated_subnet_takes_no_private_endpoint(cloud: Cloud) -> None:
    cloud.put(network(cloud), network_body(named("endpoints", delegations=[delegation("microsoft.web/serverfarms")])))
    refused = cloud.refusal(cloud.send("PUT", endpoint(cloud), endpoint_body(cloud, storage(cloud), "blob")), 400)
    assert "PrivateEndpointCreationNotAllowedAsSubnetIsDelegated" in refused


def test_a_subnet_in_use_is_not_delegated(cloud: Cloud) -> None:
    with_network(cloud)
    cloud.put(endpoint(cloud), endpoint_body(cloud, storage(cloud), "blob"))
    delegated = subnet_body(delegations=[delegation("Microsoft.Web/serverFarms")])
    refused = cloud.refusal(cloud.send("PUT", subnet(cloud), delegated), 400)
    assert "SubnetDelegationsCannotChangeWhenSubnetUsedByResource" in refused
    cloud.put(subnet(cloud), subnet_body())


def test_a_subnet_with_a_private_endpoint_is_neither_moved_nor_deleted(cloud: Cloud) -> None:
    with_network(cloud)
    cloud.put(endpoint(cloud), endpoint_body(cloud, storage(cloud), "blob"))
    for path in (subnet(cloud), network(cloud)):
        assert "InUseSubnetCannotBeDeleted" in cloud.refusal(cloud.send("DELETE", path), 400)
    moved = cloud.send("PUT", subnet(cloud), subnet_body("10.0.9.0/24"))
    assert "InUsePrefixCannotBeDeleted" in cloud.refusal(moved, 400)
    dropped = cloud.send("PUT", network(cloud), network_body(subnets=[]))
    assert "InUseSubnetCannotBeDeleted" in cloud.refusal(dropped, 400)
    assert cloud.get(subnet(cloud))["properties"]["addressPrefix"] == "10.0.1.0/24"


# Security groups ----------------------------------------------------------------------------------------------


def test_a_security_group_has_azures_own_rules_beside_yours(cloud: Cloud) -> None:
    found = cloud.put(group(cloud), group_body(rule()))["properties"]
    assert found["securityRules"][0]["properties"]["access"] == "Allow", "answered in Azure's own case"
    assert [each["properties"]["priority"] for each in found["defaultSecurityRules"]] == [65000, 65001, 65500] * 2


def test_a_rule_takes_ports_ranges_addresses_and_tags(cloud: Cloud) -> None:
    ports = {"destinationPortRange": None, "destinationPortRanges": ["80", "8000-8090", "0-65535"]}
    sources = {"sourceAddressPrefix": None, "sourceAddressPrefixes": ["10.1.2.3", "10.0.0.0/8", "2001:db8::/32"]}
    tagged = {"priority": 101, "destinationAddressPrefix": "Storage.EastUS"}
    cloud.put(group(cloud), group_body(rule(**ports, **sources), rule("tagged", **tagged)))


def test_rules_are_made_alone_listed_and_deleted(cloud: Cloud) -> None:
    cloud.put(group(cloud), group_body())
    path = f"{group(cloud)}/securityRules/https"
    made = cloud.put(path, {"properties": RULE})
    assert cloud.get(group(cloud))["properties"]["securityRules"] == [made]
    assert cloud.get(path.rpartition("/")[0])["value"] == [made]
    gone(cloud, path)
    assert cloud.get(group(cloud))["properties"]["securityRules"] == []


def test_security_groups_are_listed_patched_and_deleted(cloud: Cloud) -> None:
    cloud.put(group(cloud), group_body(rule()))
    assert cloud.send("PATCH", group(cloud), {"tags": {"a": "b"}}).json()["tags"] == {"a": "b"}
    everywhere = f"/subscriptions/{cloud.subscription}/providers/Microsoft.Network/networkSecurityGroups"
    for path in (group(cloud).rpartition("/")[0], everywhere):
        assert len(cloud.get(path)["value"]) == 1
    gone(cloud, group(cloud))


def test_a_security_group_that_a_subnet_has_is_not_deleted(cloud: Cloud) -> None:
    cloud.put(group(cloud), group_body())
    cloud.put(network(cloud), network_body(named("endpoints", networkSecurityGroup={"id": group(cloud)})))
    refused = cloud.refusal(cloud.send("DELETE", group(cloud)), 400)
    assert "InUseNetworkSecurityGroupCannotBeDeleted" in refused
    assert subnet(cloud) in refused
    cloud.put(subnet(cloud), subnet_body())
    gone(cloud, group(cloud))


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([rule(priority=99)], "priority"),
        ([rule(priority=None)], "priority"),
        ([rule(), rule("again")], "SecurityRuleConflict"),
        ([rule(protocol="Sctp")], "Sctp"),
        ([rule(direction=None)], "direction"),
        ([rule(sourceAddressPrefix=None)], "sourceAddressPrefix"),
        ([rule(destinationPortRange="banana")], "SecurityRuleInvalidPortRange"),
        ([rule(destinationPortRange="70000")], "SecurityRuleInvalidPortRange"),
        ([rule(sourcePortRange="90-80")], "SecurityRuleInvalidPortRange"),
        ([rule(destinationPortRanges=[443])], "destinationPortRanges[0]"),
        ([rule(destinationPortRanges=["80,443"])], "SecurityRuleInvalidPortRange"),
        ([rule(sourceAddressPrefix="AzureBastionSubnet")], "SecurityRuleInvalidAddressPrefix"),
        ([rule(sourceAddressPrefixes=["20.20.20.20/16"])], "SecurityRuleInvalidAddressPrefix"),
    ],
)
def test_a_rule_that_says_something_wrong_is_not_created(cloud: Cloud, rules: Any, said: str) -> None:
    assert said in cloud.refusal(cloud.send("PUT", group(cloud), group_body(*rules)), 400)
    assert cloud.send("GET", group(cloud)).status_code == 404
