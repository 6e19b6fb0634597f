"""Bodies and ids of what a private workspace stands on."""

from __future__ import annotations

from typing import Any

from tests.localazure.providers.conftest import Cloud

Json = dict[str, Any]


def at(cloud: Cloud, kind: str, name: str) -> str:
    """The id of a resource of `Microsoft.Network` in the group."""
    return f"{cloud.group}/providers/Microsoft.Network/{kind}/{name}"


def network(cloud: Cloud, name: str = "net") -> str:
    return at(cloud, "virtualNetworks", name)


def subnet(cloud: Cloud, name: str = "endpoints") -> str:
    return f"{network(cloud)}/subnets/{name}"


def network_body(*subnets: Json, prefix: str = "10.0.0.0/16", **properties: Any) -> Json:
    inner = {"subnets": list(subnets)} if subnets else {}
    return {"location": "eastus", "properties": {"addressSpace": {"addressPrefixes": [prefix]}, **inner, **properties}}


def subnet_body(prefix: str = "10.0.1.0/24", **properties: Any) -> Json:
    return {"properties": {"addressPrefix": prefix, **properties}}


def named(name: str, prefix: str = "10.0.1.0/24", **properties: Any) -> Json:
    """A subnet within its network's body."""
    return {"name": name, **subnet_body(prefix, **properties)}


def with_network(cloud: Cloud) -> Json:
    """Makes the network with its subnet for endpoints."""
    return cloud.put(network(cloud), network_body(named("endpoints")))


def endpoint(cloud: Cloud, name: str = "pe") -> str:
    return at(cloud, "privateEndpoints", name)


def endpoint_body(cloud: Cloud, target: str, group: str, *, manual: bool = False, **properties: Any) -> Json:
    kind = "manualPrivateLinkServiceConnections" if manual else "privateLinkServiceConnections"
    link = {"name": group, "properties": {"privateLinkServiceId": target, "groupIds": [group]}}
    own = {"subnet": {"id": subnet(cloud)}, kind: [link], **properties}
    return {"location": "eastus", "properties": own}


def storage(cloud: Cloud) -> str:
    return f"{cloud.group}/providers/Microsoft.Storage/storageAccounts/storage1"


def vault(cloud: Cloud) -> str:
    return f"{cloud.group}/providers/Microsoft.KeyVault/vaults/vault1"


def zone(cloud: Cloud, name: str = "privatelink.blob.core.windows.net") -> str:
    return at(cloud, "privateDnsZones", name)


def link_body(cloud: Cloud, **properties: Any) -> Json:
    return {"location": "global", "properties": {"virtualNetwork": {"id": network(cloud)}, **properties}}


def zone_group_body(*zones: str) -> Json:
    configs = [{"name": each.rpartition("/")[2], "properties": {"privateDnsZoneId": each}} for each in zones]
    return {"properties": {"privateDnsZoneConfigs": configs}}


def gone(cloud: Cloud, path: str) -> None:
    """Deletes a resource, to the end of the operation."""
    answer = cloud.send("DELETE", path)
    assert answer.status_code == 202, answer.text
    cloud.wait(answer)
    assert cloud.send("GET", path).status_code == 404
