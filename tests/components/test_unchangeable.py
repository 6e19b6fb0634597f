"""Layer: what Azure takes only once; an update that would change it is refused, and no other."""

from collections.abc import Mapping
from typing import Any

import pytest
from pulumi.output import Unknown

from components import compute_cluster, kubernetes_cluster, new_workspace, online_endpoint, workspace_parts
from components.unchangeable import Unchangeable, both_or_neither

CLUSTER = compute_cluster._stays("computeClusters.cpu")
KUBERNETES = kubernetes_cluster._stays("kubernetesClusters.edge")
ENDPOINT = online_endpoint._stays("onlineEndpoints.tumor")
WORKSPACE = new_workspace._stays()
STORAGE = [
    Unchangeable("workspace.storageAccount.redundancy", "sku.name", "convert it", workspace_parts._of_as_many_zones)
]
REGISTRY = [Unchangeable("zoneRedundancy", "zoneRedundancy", "make another", both_or_neither("Enabled"))]


def cluster(**machines: Any) -> dict[str, Any]:
    return {"properties": {"properties": machines}}


def found(stays: list[Unchangeable], before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The keys of what is refused."""
    findings = [finding for each in stays if (finding := each.finding(before, after))]
    return [finding.partition(":")[0] for finding in findings]


@pytest.mark.parametrize(
    ("stays", "before", "after", "keys"),
    [
        (CLUSTER, cluster(vmSize="Standard_DS3_v2"), cluster(vmSize="Standard_DS2_v2"), ["computeClusters.cpu.vmSize"]),
        (CLUSTER, cluster(vmSize="STANDARD_DS3_V2"), cluster(vmSize="Standard_DS3_v2"), []),
        (CLUSTER, cluster(vmPriority="Dedicated"), cluster(vmPriority="LowPriority"), ["computeClusters.cpu.tier"]),
        (CLUSTER, cluster(subnet={"id": "/a"}), cluster(), ["computeClusters.cpu.subnet"]),
        (CLUSTER, cluster(), cluster(enableNodePublicIp=False), ["network"]),
        (CLUSTER, cluster(enableNodePublicIp=True), cluster(), []),
        (CLUSTER, cluster(), {"properties": {"disableLocalAuth": True}}, ["security.keyless"]),
        (CLUSTER, cluster(scaleSettings={"maxNodeCount": 4}), cluster(scaleSettings={"maxNodeCount": 5}), []),
        (
            KUBERNETES,
            {"properties": {"resourceId": "/a"}},
            {"properties": {"resourceId": "/b"}},
            ["kubernetesClusters.edge.cluster"],
        ),
        (KUBERNETES, cluster(namespace="a"), cluster(namespace="b"), ["kubernetesClusters.edge.namespace"]),
        (
            ENDPOINT,
            {"properties": {"authMode": "Key"}},
            {"properties": {"authMode": "AADToken"}},
            ["onlineEndpoints.tumor.authMode"],
        ),
        (
            ENDPOINT,
            {"identity": {"type": "SystemAssigned"}},
            {"identity": {"type": "UserAssigned"}},
            ["onlineEndpoints.tumor.identity"],
        ),
        (
            ENDPOINT,
            {"identity": {"userAssignedIdentities": {"/A": {}}}},
            {"identity": {"userAssignedIdentities": ["/a"]}},
            [],
        ),
        (
            ENDPOINT,
            {"identity": {"userAssignedIdentities": ["/a"]}},
            {"identity": {"userAssignedIdentities": ["/b"]}},
            ["onlineEndpoints.tumor.identity"],
        ),
        (
            ENDPOINT,
            {"identity": {"userAssignedIdentities": ["/a"]}},
            {"identity": {"userAssignedIdentities": [Unknown()]}},
            [],
        ),
        (ENDPOINT, {"properties": {}}, {"properties": {"compute": "/a"}}, ["onlineEndpoints.tumor.kubernetes"]),
        (WORKSPACE, {"keyVault": "/a"}, {"keyVault": "/b"}, ["workspace.keyVault"]),
        (WORKSPACE, {"keyVault": "/a"}, {"keyVault": Unknown()}, ["workspace.keyVault"]),
        (WORKSPACE, {"storageAccount": "/a"}, {"storageAccount": "/A"}, []),
        (WORKSPACE, {"managedNetwork": {"isolationMode": "AllowInternetOutbound"}}, {}, ["network"]),
        (WORKSPACE, {}, {"managedNetwork": {"isolationMode": "AllowInternetOutbound"}}, []),
        (WORKSPACE, {"managedNetwork": Unknown()}, {}, []),
        (
            STORAGE,
            {"sku": {"name": "Standard_GRS"}},
            {"sku": {"name": "Standard_GZRS"}},
            ["workspace.storageAccount.redundancy"],
        ),
        (STORAGE, {"sku": {"name": "Standard_GRS"}}, {"sku": {"name": "Standard_LRS"}}, []),
        (REGISTRY, {}, {"zoneRedundancy": "Enabled"}, ["zoneRedundancy"]),
        (REGISTRY, {"zoneRedundancy": "Disabled"}, {}, []),
    ],
)
def test_what_azure_takes_once_is_kept(
    stays: list[Unchangeable], before: dict[str, Any], after: dict[str, Any], keys: list[str]
) -> None:
    assert found(stays, before, after) == keys


def test_a_managed_network_lets_no_more_out_than_before() -> None:
    loose, strict = (
        {"managedNetwork": {"isolationMode": mode}} for mode in ("AllowInternetOutbound", "AllowOnlyApprovedOutbound")
    )
    assert found(WORKSPACE, loose, strict) == []
    assert found(WORKSPACE, strict, loose) == ["network"]


def test_a_finding_says_both_values_and_the_way_out() -> None:
    stays = Unchangeable("a.b", "properties.b", "make another.")
    text = stays.finding({"properties": {"b": "old"}}, {"properties": {}})
    assert text == "a.b: is old in Azure, and Azure does not let it become unset; make another."
