"""Layer: the stack configuration; the workspace and its parts, the network, and how they are secured."""

from pathlib import Path
from typing import Any

import pytest

from settings import Settings, parse
from tests.samples import write_files
from tests.test_settings import BATCH, BLUE, GREEN, GREEN_PATH, ONLINE, changed, findings

IDS = "/subscriptions/s/resourceGroups/g/providers"
WORKSPACE = f"{IDS}/Microsoft.MachineLearningServices/workspaces/aml-old"
VNET = f"{IDS}/Microsoft.Network/virtualNetworks/vnet"
VAULT = f"{IDS}/Microsoft.KeyVault/vaults/kv"
STORAGE = f"{IDS}/Microsoft.Storage/storageAccounts/old"
AKS = f"{IDS}/Microsoft.ContainerService/managedClusters/aks"
PYPI = {"fqdn": "pypi.org"}
MANAGED = (("network",), {"mode": "managed", "outboundRules": {"pypi": PYPI}})
BUILDS = (("workspace", "imageBuildCompute"), "aml-cluster")
PRIVATE = (MANAGED, BUILDS)
BYO = ((("network",), {"mode": "byo"}), BUILDS)
# A model without an environment of its own fetches packages from the public network, and is not for a closed one.
CLOSED = [
    (each, {**GREEN, "instanceType": "Standard_DS2_v2", "egressPublicNetworkAccess": "disabled"})
    for each in (BLUE, GREEN_PATH)
]
BUILT: list[tuple[tuple[str, ...], Any]] = [
    *((each, {**GREEN, "instanceType": "Standard_DS2_v2"}) for each in (BLUE, GREEN_PATH)),
    (("batchEndpoints",), {}),
]
EXISTING = (("workspace",), {"existing": WORKSPACE})
NIGHTLY = {"every": "day", "at": "02:00", "input": "azureml://datastores/workspaceblobstore/paths/inbox/"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the configuration names."""
    folder = tmp_path_factory.mktemp("project")
    write_files(folder)
    return folder


def network(**settings: Any) -> tuple[Any, Any]:
    """A managed network, with these settings."""
    return (("network",), {"mode": "managed", "outboundRules": {"pypi": PYPI}, **settings}), BUILDS


def place(**settings: Any) -> tuple[Any, ...]:
    """A network of one's own, with these subnets."""
    return (("network",), {"mode": "byo", "virtualNetwork": settings}), BUILDS, *CLOSED


def test_without_a_word_everything_is_open_and_nothing_is_protected(root: Path) -> None:
    stack = parse(changed(), root)
    assert (stack.network.mode, stack.network.is_private, stack.protect) == ("public", False, None)
    assert stack.security == Settings().security
    assert not stack.security.keyless


def test_a_managed_network_is_private_unless_it_says_otherwise(root: Path) -> None:
    assert parse(changed(*PRIVATE), root).network.is_private
    assert not parse(changed(*network(publicAccess="enabled")), root).network.is_private


def test_a_subnet_is_its_range(root: Path) -> None:
    stack = parse(changed(*place(privateEndpoints="10.40.1.0/26")), root)
    subnets = stack.network.virtual_network
    assert subnets.private_endpoints.address_prefix == "10.40.1.0/26"
    assert subnets.clusters.address_prefix == "10.40.2.0/23"
    assert subnets.is_new()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([EXISTING], None),
        ([(("resourceGroup",), "/subscriptions/s/resourceGroups/g")], None),
        ([(("workspace", "storageAccount"), {"existing": STORAGE})], None),
        ([EXISTING, (("computeClusters", "old"), {"existing": f"{WORKSPACE}/computes/old"})], None),
        # An adopted workspace is written like a new one.
        (
            [
                (("workspace",), {"name": "aml-old"}),
                (("resourceGroup",), "/subscriptions/s/resourceGroups/G"),
                (("computeClusters", "old"), {"existing": f"{WORKSPACE}/computes/old"}),
            ],
            None,
        ),
        (
            [(("computeClusters", "old"), {"existing": f"{WORKSPACE}/computes/old"})],
            f'computeClusters.old.existing: "{WORKSPACE}/computes/old" is in another workspace than the stack\'s '
            f"(…/resourceGroups/rg-aml-test/providers/Microsoft.MachineLearningServices/workspaces/aml-test), whose",
        ),
        (
            [EXISTING, (("computeClusters", "old"), {"existing": f"{WORKSPACE}er/computes/old"})],
            "computeClusters.old.existing: ",
        ),
        (
            [((*BATCH, "deployments", "mlflow", "compute"), f"{WORKSPACE}/computes/old")],
            "batchEndpoints.tumor-batch.deployments.mlflow.compute: ",
        ),
        (
            [(("computeClusters", "AML-cluster"), {"vmSize": "Standard_DS3_v2"})],
            "computeClusters.AML-cluster: is the name of computeClusters.aml-cluster too; a workspace has each name",
        ),
        (
            [(("kubernetesClusters",), {"Aml-Cluster": {"cluster": AKS}})],
            "kubernetesClusters.Aml-Cluster: is the name of computeClusters.aml-cluster too",
        ),
        (
            [
                EXISTING,
                (("nameSuffix",), ""),
                (("computeClusters", "old"), {"existing": f"{WORKSPACE}/computes/AML-cluster"}),
            ],
            "computeClusters.old: is the name of computeClusters.aml-cluster too",
        ),
        ([(("computeClusters", "aml-cluster", "subnet"), f"{VNET}/subnets/clusters")], None),
        (place(existing=VNET), None),
        (
            place(
                privateEndpoints={"existing": f"{VNET}/subnets/endpoints"},
                clusters={"existing": f"{VNET}/subnets/clusters"},
            ),
            None,
        ),
        (network(privateDnsZones={"existing": "/subscriptions/s/resourceGroups/dns"}), None),
        (network(privateDnsZones={"byPolicy": True}), None),
        (network(outboundRules={"pypi": {"fqdn": "pypi.org"}, "tag": {"serviceTag": "DataFactory"}}), None),
        (network(outboundRules={"pypi": PYPI, "lake": {"privateEndpoint": STORAGE, "subresource": "dfs"}}), None),
        (network(isolation="allow_internet_outbound", outboundRules={}), None),
        (
            [EXISTING, (("security",), {"keyless": True, "deployers": ["10ca1a2e-0000-4000-8000-0000000000aa"]})],
            None,
        ),
        # What is there, by its id.
        (
            [(("workspace", "storageAccount"), {"existing": WORKSPACE})],
            f'workspace.storageAccount.existing: "{WORKSPACE}" is not the ARM id of a storage account; it has the form '
            "/subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.Storage/storageAccounts/<name>.",
        ),
        (
            [(("workspace", "keyVault"), {"existing": "kv-old"})],
            'workspace.keyVault.existing: "kv-old" is not the ARM id of a key vault',
        ),
        (
            [(("resourceGroup",), f"{IDS}/Microsoft.Storage")],
            f'resourceGroup: "{IDS}/Microsoft.Storage" is not the ARM id of a resource group',
        ),
        (
            [(("workspace", "storageAccount"), {"existing": STORAGE, "redundancy": "zrs"})],
            "workspace.storageAccount.redundancy: one that is there is used as it is; remove redundancy, or existing",
        ),
        (
            [(("computeClusters", "old"), {"existing": f"{WORKSPACE}/computes/old", "maxInstances": 2})],
            "computeClusters.old.maxInstances: one that is there is used as it is",
        ),
        ([(("computeClusters", "old"), {})], "computeClusters.old.vmSize: is missing; add it, or name a cluster"),
        (
            [(("computeClusters", "old"), {"existing": "old"})],
            'computeClusters.old.existing: "old" is not the ARM id of a compute cluster',
        ),
        (
            [(("computeClusters", "aml-cluster", "subnet"), VNET)],
            f'computeClusters.aml-cluster.subnet: "{VNET}" is not the ARM id of a subnet',
        ),
        (
            [EXISTING, (("protect",), True), MANAGED, (("security",), {"diagnostics": True})],
            "network.mode: an existing workspace is used as it is, and the stack changes nothing of it; remove it.",
        ),
        ([EXISTING, (("purgeOnDestroy",), True)], "purgeOnDestroy: an existing workspace is used as it is"),
        *(
            ([EXISTING, (("network",), {key: value})], f"network.{key}: an existing workspace is used as it is")
            for key, value in {
                "publicAccess": "disabled",
                "isolation": "allow_internet_outbound",
                "firewallSku": "basic",
                "outboundRules": {"x y": {}},
                "virtualNetwork": {"addressSpace": "nonsense"},
                "privateDnsZones": {"byPolicy": True},
            }.items()
        ),
        ([EXISTING, (("protect",), True)], "protect: an existing workspace is used as it is"),
        (
            [
                (
                    ("workspace",),
                    {"existing": WORKSPACE, "keyVault": {"existing": VAULT}},
                )
            ],
            "workspace.keyVault: an existing workspace is used as it is",
        ),
        (
            [(("workspace",), {"existing": WORKSPACE, "tags": {"owner": "risk"}})],
            "workspace.tags: an existing workspace is used as it is",
        ),
        (
            [
                (("workspace", "keyVault"), {"existing": VAULT}),
                (("security",), {"purgeProtection": True}),
            ],
            "security.purgeProtection: an existing keyVault is used as it is",
        ),
        (
            [
                (("workspace", "applicationInsights"), {"existing": f"{IDS}/Microsoft.Insights/components/a"}),
                (("workspace", "logAnalytics"), {"existing": f"{IDS}/Microsoft.OperationalInsights/workspaces/l"}),
            ],
            "workspace.logAnalytics: nothing writes to it",
        ),
        # Security.
        ([(("security",), {"deployers": ["me"], "keyless": True})], 'security.deployers.0: "me" is no object id'),
        (
            [(("security",), {"deployers": ["10ca1a2e-0000-4000-8000-0000000000aa"]})],
            "security.deployers: with shared keys nobody needs a role to upload",
        ),
        ([(("security",), {"deployers": []})], "security.deployers: with shared keys nobody needs a role to upload"),
        ([(("security",), {"deployers": [], "keyless": True})], None),
        ([(("protect",), True), (("purgeOnDestroy",), True)], "purgeOnDestroy: would free the names of what protect"),
        ([(("security",), {"softDeleteDays": 400})], "security.softDeleteDays: input should be less than or equal to"),
        ([(("workspace", "containerRegistry"), {"zoneRedundancy": True})], "zoneRedundancy: is for premium registries"),
        # The network.
        ([(("network",), {"publicAccess": "disabled"})], "network.publicAccess: is disabled, but mode public has no"),
        ([(("network",), {"mode": "private"})], "network.mode: input should be 'public', 'managed' or 'byo'"),
        ([(("network",), {"mode": "byo", "isolation": "allow_internet_outbound"})], "network.isolation: is for mode"),
        ([(("network",), {"outboundRules": {"a": {"fqdn": "pypi.org"}}})], "network.outboundRules: are for mode"),
        ([(("network",), {"virtualNetwork": {}})], "network.virtualNetwork: nothing is in it"),
        (
            network(publicAccess="enabled", privateDnsZones={"byPolicy": True}),
            "network.privateDnsZones: nothing is in it",
        ),
        (
            [*PRIVATE, (("workspace", "containerRegistry"), {"sku": "basic"})],
            "workspace.containerRegistry.sku: a basic registry has no private endpoints, which network.mode managed",
        ),
        (network(outboundRules={"a": {"fqdn": "pypi.org", "serviceTag": "DataFactory"}}), 'a: give one of "fqdn"'),
        (network(outboundRules={"a": {}}), 'network.outboundRules.a: give one of "fqdn"'),
        (network(outboundRules={"a b": {"fqdn": "pypi.org"}}), 'outboundRules.a b: "a b" is not a name that Azure'),
        (network(outboundRules={"PyPI": PYPI, "pypi": PYPI}), "network.outboundRules.pypi: is PyPI too for Azure"),
        (
            network(outboundRules={"pypi": PYPI, "Storage-Queue": {"fqdn": "example.org"}}),
            "network.outboundRules.Storage-Queue: is the name of the rule by which batch jobs keep their progress; "
            "give yours another name",
        ),
        (
            [*network(outboundRules={"pypi": PYPI, "storage-queue": PYPI}), (("batchEndpoints",), {})],
            None,
        ),
        (network(outboundRules={"a": {"serviceTag": "not a tag!"}}), 'a.serviceTag: "not a tag!" is no service tag'),
        (network(outboundRules={"a": {"serviceTag": "Sql", "portRanges": "banana"}}), 'portRanges: "banana" are no'),
        (network(outboundRules={"a": {"serviceTag": "Sql", "portRanges": "0-99999"}}), '"0-99999" are no ports (0 to'),
        (network(outboundRules={"a": {"serviceTag": "Sql", "portRanges": "90-80"}}), '"90-80" are no ports'),
        (network(outboundRules={"pypi": PYPI, "a": {"serviceTag": "Sql.EastUS", "portRanges": "80, 1433-1450"}}), None),
        (network(outboundRules={"pypi": PYPI, "a": {"serviceTag": "Sql", "portRanges": "*"}}), None),
        (
            network(outboundRules={"a": {"fqdn": "pypi.org", "portRanges": "80"}}),
            "a.portRanges: is for serviceTag; Azure takes none with fqdn: remove it.",
        ),
        (
            network(outboundRules={"a": {"privateEndpoint": STORAGE, "subresource": "blob", "protocol": "udp"}}),
            "a.protocol: is for serviceTag; Azure takes none with privateEndpoint: remove it.",
        ),
        (network(outboundRules={"a": {"fqdn": "https://pypi.org"}}), 'a.fqdn: "https://pypi.org" is no host'),
        (
            network(outboundRules={"a": {"fqdn": "lake.blob.core.windows.net"}}),
            "a.fqdn: Azure takes no host of a storage account here; use privateEndpoint",
        ),
        (network(outboundRules={"a": {"privateEndpoint": STORAGE}}), "a.subresource: is missing"),
        (network(outboundRules={"a": {"fqdn": "pypi.org", "subresource": "dfs"}}), "a.subresource: is for private"),
        (
            network(outboundRules={"a": {"privateEndpoint": "lake", "subresource": "dfs"}}),
            'a.privateEndpoint: "lake" is not the ARM id of a resource',
        ),
        (
            network(isolation="allow_internet_outbound", outboundRules={"a": {"fqdn": "pypi.org"}}),
            "a: with isolation allow_internet_outbound every host is reached",
        ),
        (
            network(privateDnsZones={"existing": "/subscriptions/s/resourceGroups/dns", "byPolicy": True}),
            "privateDnsZones.byPolicy: Azure Policy knows the zones",
        ),
        (network(virtualNetwork={"clusters": "10.40.2.0/24"}), "virtualNetwork.clusters: is for mode byo"),
        (place(addressSpace="10.40.0.1/22"), 'virtualNetwork.addressSpace: "10.40.0.1/22" is no range of addresses'),
        (place(addressSpace="172.17.0.0/16"), "addressSpace: 172.17.0.0/16 meets 172.17.0.0/16, which Docker has"),
        (place(privateEndpoints="10.40.0.0/28"), "privateEndpoints: 10.40.0.0/28 has room for too few"),
        (place(privateEndpoints="10.50.0.0/26"), "10.50.0.0/26 is not within addressSpace (10.40.0.0/22)"),
        (place(privateEndpoints="10.40.2.0/26"), "clusters: 10.40.2.0/23 meets privateEndpoints (10.40.2.0/26)"),
        (place(existing=VNET, addressSpace="10.0.0.0/16"), "addressSpace: an existing network has its own"),
        (
            place(privateEndpoints={"existing": f"{VNET}/subnets/endpoints"}),
            "network.virtualNetwork.clusters: a new subnet beside an existing one needs virtualNetwork.existing",
        ),
        (
            place(privateEndpoints={"existing": f"{VNET}/subnets/a", "addressPrefix": "10.40.0.0/26"}),
            'privateEndpoints: give either "addressPrefix" (a new subnet) or "existing"',
        ),
        (
            place(existing=VNET, privateEndpoints={"existing": f"{VNET}2/subnets/endpoints"}),
            "network.virtualNetwork.privateEndpoints.existing: it is in another network than virtualNetwork.existing",
        ),
        (place(existing=VNET, privateEndpoints={"existing": f"{VNET.upper()}/subnets/endpoints"}), None),
        # What would not work in it.
        *(
            (
                [*changes, ((*ONLINE, "publicNetworkAccess"), "disabled")],
                "onlineEndpoints.tumor-online.publicNetworkAccess: is disabled, but the workspace has no private",
            )
            for changes in ([], network(publicAccess="enabled"))
        ),
        ([*PRIVATE, ((*ONLINE, "publicNetworkAccess"), "disabled")], None),
        ([EXISTING, ((*ONLINE, "publicNetworkAccess"), "disabled")], None),
        (
            [*PRIVATE, ((*BATCH, "schedules"), {"nightly": NIGHTLY})],
            "batchEndpoints.tumor-batch.schedules: the workspace takes no public requests, so that a Logic App cannot "
            "reach it; remove schedules, and invoke the endpoint from within the network: by a pipeline of Azure Data",
        ),
        (
            [MANAGED],
            "workspace.imageBuildCompute: is missing; an environment is built for onlineEndpoints.tumor-online."
            "deployments.blue, and Azure builds no image in a registry that takes no public requests",
        ),
        (
            [MANAGED, (BLUE, {**GREEN, "instanceType": "Standard_DS2_v2"})],
            "workspace.imageBuildCompute: is missing; onlineEndpoints.tumor-online.deployments.blue.environment is",
        ),
        (
            [MANAGED, ((*BLUE, "model"), "azureml:tumor:3")],
            "workspace.imageBuildCompute: is missing; an environment is built for onlineEndpoints.tumor-online.",
        ),
        (
            [MANAGED, (("workspace", "imageBuildCompute"), "aml-clutser")],
            'workspace.imageBuildCompute: there is no cluster of computeClusters "aml-clutser"; did you mean',
        ),
        (
            network(outboundRules={}),
            "network.outboundRules: none is by fqdn, but the packages of an mlflow_model without code (onlineEndpoints."
            "tumor-online.deployments.blue) come from public indexes",
        ),
        (
            [*network(outboundRules={}), *BUILT],
            "network.outboundRules: none is by fqdn, but the packages that imageBuildCompute installs (onlineEndpoints."
            "tumor-online.deployments.blue.environment.condaFile) come from public indexes; add their hosts, as pypi",
        ),
        # In a registry that takes public requests Azure builds outside of the workspace's network.
        ([network(outboundRules={}, publicAccess="enabled")[0], *BUILT], None),
        ([*PRIVATE, CLOSED[0]], "blue.egressPublicNetworkAccess: does not apply in a managed network"),
        ([CLOSED[0]], "blue.egressPublicNetworkAccess: is disabled, which needs a private endpoint to the workspace"),
        ([*BYO, CLOSED[0]], "green.egressPublicNetworkAccess: is enabled, but storage and registry take no public"),
        (
            [*PRIVATE, (("computeClusters", "aml-cluster", "subnet"), f"{VNET}/subnets/clusters")],
            "computeClusters.aml-cluster.subnet: a cluster is in the managed network already",
        ),
        (
            [*PRIVATE, (("kubernetesClusters",), {"aks": {"cluster": "x"}})],
            "kubernetesClusters.aks: Azure attaches none to a managed network",
        ),
    ],
)
def test_each_value_is_taken_or_refused_with_the_way_out(root: Path, changes: Any, expected: str | None) -> None:
    if expected is None:
        parse(changed(*changes), root)
    else:
        found = findings(changed(*changes), root)
        assert [line for line in found if expected in line], "\n".join(found)
