"""Kubernetes clusters, of AKS or connected by Azure Arc: kept so that they can be attached. No nodes run."""

from __future__ import annotations

import hashlib
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import invalid
from localazure.arm.ids import GROUP
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.common import Composed, Plain, check_name, envelope, identity, normal_location, system_data

MANAGED_TYPE = "Microsoft.ContainerService/managedClusters"
CONNECTED_TYPE = "Microsoft.Kubernetes/connectedClusters"
MANAGED = GROUP + "/providers/" + MANAGED_TYPE + "/{cluster}"
CONNECTED = GROUP + "/providers/" + CONNECTED_TYPE + "/{cluster}"

Json = dict[str, Any]

_VERSION = "1.33"
_MOST_NODES = 1000
_NO_NODES = "kept as a document, done at once: no nodes run, and there is no Kubernetes API"


class KubernetesClusters:
    """`Microsoft.ContainerService/managedClusters` and `Microsoft.Kubernetes/connectedClusters`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._kinds = (
            Plain(cloud, MANAGED_TYPE, MANAGED, self._managed),
            Plain(cloud, CONNECTED_TYPE, CONNECTED, self._connected),
        )

    def routes(self) -> list[Route]:
        return [route for kind in self._kinds for route in self._of(kind)]

    def _of(self, kind: Plain) -> list[Route]:
        put = Route.of("PUT", kind.path, kind.create, simplified=_NO_NODES)
        # Of a cluster that is there Azure changes the tags this way, and nothing else.
        patch = Route.of("PATCH", kind.path, lambda call: self._patch(kind, call))
        return [put, patch, *(route for route in kind.routes() if route.method not in ("PUT", "PATCH"))]

    def _patch(self, kind: Plain, call: Call) -> Answer:
        sent = call.json()
        for name in sent:
            if name != "tags":
                raise invalid(f"'{name}' cannot be patched, only tags can; PUT the whole cluster.", "ValidationError")
        return kind.patch(call)

    def _managed(self, call: Call, body: Json, existing: Resource | None, resource_id: str) -> Composed:
        name = ids.name(resource_id)
        rule = "it must be 1 to 63 letters, digits, hyphens and underscores, and begin and end with a letter or digit"
        check_name(name, r"(?=.{1,63}$)[a-zA-Z0-9]([-_a-zA-Z0-9]*[a-zA-Z0-9])?", "cluster", rule)
        sent = read.mapping(body, "properties", required=True)
        prefix = read.text(sent, "dnsPrefix", "properties", required=True)
        version = read.text(sent, "kubernetesVersion", "properties") or _VERSION
        location = normal_location(str(body["location"]))
        properties: Json = {
            **_without_secrets(sent),
            "provisioningState": "Succeeded",
            "powerState": {"code": "Running"},
            "dnsPrefix": prefix,
            "fqdn": f"{prefix}-{_digest(resource_id)}.hcp.{location}.azmk8s.io",
            "kubernetesVersion": version,
            "currentKubernetesVersion": version,
            "enableRBAC": read.flag(sent, "enableRBAC", True, "properties"),
            "nodeResourceGroup": read.text(sent, "nodeResourceGroup", "properties")
            or f"MC_{ids.segment(resource_id, 'resourceGroups')}_{name}_{location}",
            "agentPoolProfiles": _pools(sent),
        }
        sku = read.mapping(body, "sku") or {"name": "Base", "tier": "Free"}
        return self._document(call, MANAGED_TYPE, body, existing, resource_id, properties, sku=sku)

    def _connected(self, call: Call, body: Json, existing: Resource | None, resource_id: str) -> Composed:
        rule = "it must be 1 to 63 letters, digits, hyphens and underscores, and begin with a letter or digit"
        check_name(ids.name(resource_id), r"[a-zA-Z0-9][-_a-zA-Z0-9]{0,62}", "cluster", rule)
        sent = read.mapping(body, "properties", required=True)
        read.text(sent, "agentPublicKeyCertificate", "properties", required=True)
        for name in ("distribution", "infrastructure"):
            read.text(sent, name, "properties")
        properties: Json = {
            **sent,
            "provisioningState": "Succeeded",
            "connectivityStatus": "Connected",
            "kubernetesVersion": _VERSION,
            "totalNodeCount": 0,
        }
        return self._document(call, CONNECTED_TYPE, body, existing, resource_id, properties)

    def _document(
        self,
        call: Call,
        kind: str,
        body: Json,
        existing: Resource | None,
        resource_id: str,
        properties: Json,
        **rest: Any,
    ) -> Composed:
        rest["systemData"] = system_data(self._cloud, call, existing)
        if (block := identity(self._cloud, body, existing)) is not None:
            rest["identity"] = block
        return Composed(envelope(resource_id, kind, body, properties=properties, **rest), {})


def _without_secrets(sent: Json) -> Json:
    """What is answered of a cluster's properties: Azure takes passwords and never shows them."""
    shown = dict(sent)
    for holder, secret in (("servicePrincipalProfile", "secret"), ("windowsProfile", "adminPassword")):
        if profile := read.mapping(sent, holder, "properties"):
            shown[holder] = {name: value for name, value in profile.items() if name != secret}
    return shown


def _digest(resource_id: str) -> str:
    return hashlib.sha256(ids.key(resource_id).encode()).hexdigest()[:8]


def _pools(sent: Json) -> list[Json]:
    """The node pools of an AKS cluster; it has at least one."""
    pools = read.sequence(sent, "agentPoolProfiles", "properties")
    if not pools:
        raise invalid("'properties.agentPoolProfiles' is required: one node pool or more.", "ValidationError")
    return [_pool(pool, f"properties.agentPoolProfiles[{at}]") for at, pool in enumerate(pools)]


def _pool(sent: Any, where: str) -> Json:
    pool = read.mapping({where: sent}, where, required=True)
    return {
        **pool,
        "name": read.text(pool, "name", where, required=True),
        "count": read.integer(pool, "count", 1, where, least=0, most=_MOST_NODES),
        "vmSize": read.text(pool, "vmSize", where) or "Standard_D4ds_v5",
        "mode": read.choice(pool, "mode", ("System", "User", "Gateway"), "System", where),
        "osType": read.choice(pool, "osType", ("Linux", "Windows"), "Linux", where),
        "provisioningState": "Succeeded",
        "powerState": {"code": "Running"},
    }
