"""What private endpoints can lead to, and the connections that a resource has from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.common import Json

STORAGE = "Microsoft.Storage/storageAccounts"
VAULT = "Microsoft.KeyVault/vaults"
REGISTRY = "Microsoft.ContainerRegistry/registries"
WORKSPACE = "Microsoft.MachineLearningServices/workspaces"
# The two lists of a private endpoint: what whoever makes it may approve, and what waits for somebody who may.
AUTOMATIC, MANUAL = "privateLinkServiceConnections", "manualPrivateLinkServiceConnections"


@dataclass(frozen=True)
class Member:
    """One name that a private endpoint gives an address.

    Attributes:
        name: the member's name in its group.
        host: the public host name.
        record: the name of its record in the private zone, and that zone's name.
    """

    name: str
    host: str
    record: tuple[str, str]


def groups(target: Resource) -> dict[str, tuple[Member, ...]]:
    """The groups (sub-resources) of a resource that private endpoints can lead to; empty for any other type.

    Source: learn.microsoft.com/azure/private-link/private-endpoint-dns.
    """
    folded = {kind.lower(): found for kind, found in _GROUPS.items()}
    return folded.get(target.type.lower(), lambda _target: {})(target)


def connections(cloud: Cloud, target_id: str) -> list[Json]:
    """The connections of a resource, as its own `privateEndpointConnections` shows them."""
    return [each.document for each in _rows(cloud, target_id)]


def has_approved(cloud: Cloud, target_id: str, group: str = "") -> bool:
    """Whether a private endpoint leads to a resource, by the group where one is named."""
    return bool(_approved(cloud, target_id, group))


def subnets_of_approved(cloud: Cloud, target_id: str, group: str) -> list[str]:
    """The ids of the subnets from which private endpoints lead to a group of a resource."""
    endpoints = [cloud.store.get(each.hidden["endpoint"]) for each in _approved(cloud, target_id, group)]
    return [each.hidden["subnet"] for each in endpoints if each is not None]


def _approved(cloud: Cloud, target_id: str, group: str) -> list[Resource]:
    return [
        each
        for each in _rows(cloud, target_id)
        if each.properties["privateLinkServiceConnectionState"]["status"] == "Approved"
        and (not group or group in each.properties["groupIds"])
    ]


def show_connections(cloud: Cloud, target_id: str) -> None:
    """Has a resource show the connections that it has now."""
    target = cloud.store.get(target_id)
    if target is None:
        return
    changes: dict[str, Any] = {"privateEndpointConnections": connections(cloud, target.id)}
    if "privateLinkCount" in target.properties:
        changes["privateLinkCount"] = len(changes["privateEndpointConnections"])
    cloud.store.put(target.with_properties(**changes))


def disconnect(cloud: Cloud, target_id: str) -> None:
    """Has the private endpoints of a resource that goes say so. They stay, and lead nowhere."""
    for row in _rows(cloud, target_id):
        tell_endpoint(cloud, row, {"status": "Disconnected", "description": "Deleted state", "actionsRequired": "None"})


def tell_endpoint(cloud: Cloud, connection: Resource, state: Json) -> None:
    """Has a private endpoint show the state of a connection."""
    endpoint = cloud.store.get(connection.hidden["endpoint"])
    if endpoint is None:
        return
    name = MANUAL if endpoint.hidden["manual"] else AUTOMATIC
    (held,) = endpoint.properties[name]
    own = {**held["properties"], "privateLinkServiceConnectionState": state}
    cloud.store.put(endpoint.with_properties(**{name: [{**held, "properties": own}]}))


def connection_type(target: Resource) -> str:
    """The ARM type of a resource's connections."""
    return f"{target.document['type']}/privateEndpointConnections"


def _rows(cloud: Cloud, target_id: str) -> list[Resource]:
    return [each for each in cloud.store.below(target_id) if each.type.endswith("/privateendpointconnections")]


def _storage(account: Resource) -> dict[str, tuple[Member, ...]]:
    services = ("blob", "file", "queue", "table", "web", "dfs")
    return {
        service: (
            Member(
                service,
                f"{account.name}.{service}.core.windows.net",
                (account.name, f"privatelink.{service}.core.windows.net"),
            ),
        )
        for service in services
    }


def _vault(vault: Resource) -> dict[str, tuple[Member, ...]]:
    host = f"{vault.name.lower()}.vault.azure.net"
    return {"vault": (Member("default", host, (vault.name.lower(), "privatelink.vaultcore.azure.net")),)}


def _registry(registry: Resource) -> dict[str, tuple[Member, ...]]:
    # Private endpoints are among what only the Premium tier has.
    if registry.document["sku"]["name"] != "Premium":
        return {}
    name, region, zone = registry.name.lower(), registry.document["location"], "privatelink.azurecr.io"
    data = f"{name}.{region}.data"
    return {
        "registry": (
            Member(f"registry_data_{region}", f"{data}.azurecr.io", (data, zone)),
            Member("registry", f"{name}.azurecr.io", (name, zone)),
        )
    }


def _workspace(workspace: Resource) -> dict[str, tuple[Member, ...]]:
    guid, region = workspace.properties["workspaceId"], workspace.document["location"]
    api, notebooks = "privatelink.api.azureml.ms", "privatelink.notebooks.azure.net"
    book = f"ml-{workspace.name.lower()[:29]}-{region}-{guid}"
    return {
        "amlworkspace": (
            Member("default", f"{guid}.workspace.{region}.api.azureml.ms", (f"{guid}.workspace.{region}", api)),
            Member(
                "default", f"{guid}.workspace.{region}.cert.api.azureml.ms", (f"{guid}.workspace.{region}.cert", api)
            ),
            Member("notebook", f"{book}.{region}.notebooks.azure.net", (f"{book}.{region}", notebooks)),
            Member("inference", f"*.{guid}.inference.{region}.api.azureml.ms", (f"*.{guid}.inference.{region}", api)),
        )
    }


_GROUPS: Mapping[str, Any] = {STORAGE: _storage, VAULT: _vault, REGISTRY: _registry, WORKSPACE: _workspace}
TARGETS: Mapping[str, str] = {STORAGE: "account", VAULT: "vault", REGISTRY: "registry", WORKSPACE: "workspace"}
"""The types that private endpoints can lead to, and what a path calls one of each."""
