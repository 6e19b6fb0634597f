"""Layer: components under Pulumi's mocks; what the workspace stands on, who reaches it, and how it is secured."""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from components import roles
from components.assets import DeploymentAssets
from components.compute_cluster import ComputeCluster
from components.workspace import MLWorkspace
from settings import Settings, parse
from tests.components.conftest import SUBSCRIPTION, World
from tests.components.test_program import whole

ROOT = Path(__file__).parents[2]
IDS = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/old/providers"
VNET = f"{IDS}/Microsoft.Network/virtualNetworks/hub"
AKS = f"{IDS}/Microsoft.ContainerService/managedClusters/aks"
WORKSPACE = f"{IDS}/Microsoft.MachineLearningServices/workspaces/aml-old"
DEPLOYER = "10ca1a2e-0000-4000-8000-0000000000bb"
# What is in a stack by default, by type; each type's name is its own.
DEFAULT = [
    ("workspace-group", "ResourceGroup"),
    ("workspace-storage", "StorageAccount"),
    ("workspace-registry", "Registry"),
    ("workspace-vault-purge", "VaultPurge"),
    ("workspace-vault", "Vault"),
    ("workspace-logs", "Workspace"),
    ("workspace-insights", "Component"),
    ("workspace-workspace", "Workspace"),
    ("workspace-identity", "UserAssignedIdentity"),
    ("workspace-identity-blobs", "RoleAssignment"),
    ("workspace-identity-images", "RoleAssignment"),
    ("workspace-purge", "WorkspacePurge"),
]
HOLDS_DATA = {"group", "storage", "vault", "registry", "logs", "workspace"}
Change = Callable[[dict[str, Any]], None]
Program = Callable[[Settings], Any]


def configuration(stack: str) -> dict[str, Any]:
    """A committed stack as the program gets it."""
    config = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]
    raw = {key.removeprefix("azureml-endpoints:"): value for key, value in config.items()}
    return {"nameSuffix": "s1", **{key: raw[key] for key in raw if key not in FOREIGN}}


FOREIGN = ("azure-native:subscriptionId", "azure-native:tenantId", "azure-native:metadataHost")


@pytest.fixture(scope="module")
def of(run: Any) -> Callable[..., World]:
    """What a committed stack registers, after a change of its configuration."""

    def registered(stack: str, change: Change = lambda raw: None, program: Program = ground) -> World:
        raw = configuration(stack)
        change(raw)
        with contextlib.chdir(ROOT):
            return run(lambda: program(parse(raw)) and None)

    return registered


def ground(settings: Settings) -> None:
    """The workspace, its clusters, and what one deployment uploads: what endpoints stand on."""
    workspace = MLWorkspace("workspace", settings=settings)
    clusters = [
        ComputeCluster(name, cluster_name=settings.azure_name(name), settings=own, workspace=workspace)
        for name, own in settings.compute_clusters.items()
    ]
    blue = settings.online_endpoints["tumor-online"].deployments["blue"]
    assets = DeploymentAssets("tumor-online-blue", settings=blue, workspace=workspace)
    workspace.protect([*clusters, assets])


def in_existing(raw: dict[str, Any]) -> None:
    """A workspace that is there in place of the stack's own."""
    raw["workspace"] = {"existing": WORKSPACE}
    raw.pop("purgeOnDestroy", None)


@pytest.fixture(scope="module")
def prod(of: Callable[..., World]) -> World:
    return of("prod")


@pytest.fixture(scope="module")
def byo(of: Callable[..., World]) -> World:
    """prod in a network of one's own, where no environment is made by Azure."""

    def change(raw: dict[str, Any]) -> None:
        raw["network"] = {"mode": "byo"}
        deployments = raw["onlineEndpoints"]["tumor-online"]["deployments"]
        deployments["green"]["egressPublicNetworkAccess"] = "disabled"
        deployments["blue"] = {**deployments["green"]}

    return of("prod", change)


def assigned(world: World, prefix: str) -> set[tuple[str, str]]:
    """The scopes' last names and the roles that assignments with this beginning of their names give."""
    names = {value: key for key, value in vars(roles).items() if key.isupper()}
    return {
        (each.inputs["scope"].rpartition("/")[2], names[each.inputs["roleDefinitionId"].rpartition("/")[2]])
        for each in world.of_type(":RoleAssignment")
        if each.name.startswith(prefix)
    }


@pytest.mark.parametrize("stack", ["local", "dev"])
def test_an_open_stack_registers_what_it_always_has(of: Callable[..., World], stack: str) -> None:
    world = of(stack)
    made = [(each.name, each.type.rpartition(":")[2]) for each in world.registered if each.parent == "workspace"]
    assert sorted(made) == sorted(DEFAULT), "nothing of a stack that is there may be replaced"
    assert not any(each.request.protect for each in world.registered)
    assert "publicNetworkAccess" not in world["workspace-storage"].inputs
    assert world["workspace-registry"].inputs["sku"] == {"name": "Basic"}
    assert world["aml-cluster-cluster"].inputs["properties"].get("disableLocalAuth") in (None, False)


def test_prod_is_private(prod: World) -> None:
    assert prod["workspace-workspace"].inputs["publicNetworkAccess"] == "Disabled"
    storage = prod["workspace-storage"].inputs
    assert (storage["publicNetworkAccess"], storage["networkRuleSet"]["defaultAction"]) == ("Disabled", "Deny")
    vault = prod["workspace-vault"].inputs["properties"]
    assert (vault["publicNetworkAccess"], vault["networkAcls"]["defaultAction"]) == ("disabled", "Deny")
    registry = prod["workspace-registry"].inputs
    assert (registry["publicNetworkAccess"], registry["sku"]) == ("Disabled", {"name": "Premium"})


def test_each_part_of_prod_is_reached_by_a_private_endpoint_and_by_name(prod: World) -> None:
    reached = {
        each.inputs["privateLinkServiceConnections"][0]["groupIds"][0]: each
        for each in prod.of_type(":PrivateEndpoint")
    }
    assert set(reached) == {"amlworkspace", "blob", "file", "queue", "table", "vault", "registry"}
    zones = [zone.inputs["privateZoneName"] for zone in prod.of_type(":PrivateZone")]
    assert sorted(zones) == [
        "privatelink.api.azureml.ms",
        "privatelink.azurecr.io",
        "privatelink.blob.core.windows.net",
        "privatelink.file.core.windows.net",
        "privatelink.notebooks.azure.net",
        "privatelink.queue.core.windows.net",
        "privatelink.table.core.windows.net",
        "privatelink.vaultcore.azure.net",
    ]
    assert len(prod["workspace-amlworkspace-link-names"].inputs["privateDnsZoneConfigs"]) == 2
    for link in prod.of_type(":VirtualNetworkLink"):
        assert "workspace-network-vnet" in link.dependencies
    for subresource in reached:
        assert prod[f"workspace-{subresource}-link-endpoint"].ignored == ["customDnsConfigs"], "Azure takes them out"
        names = prod[f"workspace-{subresource}-link-names"]
        assert names.dependencies >= {f"workspace-{subresource}-link-endpoint"}
        assert any(each.endswith("-link") for each in names.dependencies), "the network sees the zone before"


def test_private_endpoints_to_one_storage_account_are_made_one_after_another(prod: World) -> None:
    blob, file, queue, table = (f"workspace-{each}-link-endpoint" for each in ("blob", "file", "queue", "table"))
    assert prod[file].dependencies >= {blob}, "Azure refuses a second one meanwhile"
    assert prod[queue].dependencies >= {blob, file}
    assert prod[table].dependencies >= {blob, file, queue}
    assert not prod["workspace-vault-link-endpoint"].dependencies & {blob, file, queue, table}


def test_what_is_uploaded_waits_for_the_way_in_and_for_the_right_to(prod: World) -> None:
    waits = prod["tumor-online-blue-model"].dependencies
    assert {"workspace-blob-link-names", "workspace-amlworkspace-link-names", "workspace-uploader-effective"} <= waits


def test_prod_goes_by_identities_alone(prod: World) -> None:
    storage = prod["workspace-storage"].inputs
    assert storage["allowSharedKeyAccess"] is False
    assert prod["workspace-workspace"].inputs["systemDatastoresAuthMode"] == "identity"
    cluster = prod["aml-cluster-cluster"].inputs["properties"]
    assert (cluster["disableLocalAuth"], cluster["properties"]["enableNodePublicIp"]) == (True, False)
    assert prod["workspace-registry"].inputs["adminUserEnabled"] is False


def test_prods_workspace_works_under_an_identity_of_the_stack(prod: World) -> None:
    workspace = prod["workspace-workspace"]
    (identity,) = workspace.inputs["identity"]["userAssignedIdentities"]
    assert workspace.inputs["primaryUserAssignedIdentity"] == identity
    assert identity.endswith("id-aml-prod-s1")
    assert "workspace-own-effective" in workspace.dependencies, "it works with its parts at once"
    (account, registry) = (prod[f"workspace-{each}"].inputs for each in ("storage", "registry"))
    name = account["accountName"]
    assert registry["registryName"] == name
    assert assigned(prod, "workspace-own-") == {
        (name, "CONTRIBUTOR"),
        (name, "STORAGE_BLOB_DATA_CONTRIBUTOR"),
        (name, "STORAGE_FILE_DATA_PRIVILEGED_CONTRIBUTOR"),
        ("rg-aml-prod", "CONTRIBUTOR"),
        ("rg-aml-prod", "KEY_VAULT_ADMINISTRATOR"),
        ("rg-aml-prod", "NETWORK_CONNECTION_APPROVER"),
        ("pe-aml-prod-blob", "READER"),
        ("pe-aml-prod-file", "READER"),
        ("appi-aml-prod", "CONTRIBUTOR"),
        ("aml-prod", "CONTRIBUTOR"),
    }
    assert "workspace-purge" in prod["workspace-own-workspace"].dependencies, "gone before the workspace is"


def test_clusters_get_what_batch_jobs_and_builds_of_images_take(prod: World, of: Callable[..., World]) -> None:
    given = {role for _, role in assigned(prod, "workspace-identity-")}
    blobs = {"STORAGE_BLOB_DATA_CONTRIBUTOR", "STORAGE_QUEUE_DATA_CONTRIBUTOR", "STORAGE_TABLE_DATA_CONTRIBUTOR"}
    assert given == {*blobs, "ACR_PULL", "ACR_PUSH"}
    without = of("prod", lambda raw: raw.pop("batchEndpoints"))
    assert {role for _, role in assigned(without, "workspace-identity-")} == {
        "STORAGE_BLOB_DATA_CONTRIBUTOR",
        "ACR_PULL",
        "ACR_PUSH",
    }
    assert "workspace-queue-link" not in without.names()


def test_without_a_cluster_that_works_under_it_there_is_no_identity_for_clusters(of: Callable[..., World]) -> None:
    existing = {"existing": f"{WORKSPACE}/computes/old-cluster"}
    identities = {
        "compute cluster": ({"aml-cluster": {"vmSize": "Standard_DS3_v2"}}, {}),
        "kubernetes cluster": ({}, {"aks": {"cluster": AKS, "identity": "user"}}),
        "neither": ({"old": existing}, {"aks": {"cluster": AKS, "identity": "system"}}),
    }
    for what, (clusters, kubernetes) in identities.items():

        def change(raw: dict[str, Any], clusters: Any = clusters, kubernetes: Any = kubernetes) -> None:
            in_existing(raw)
            raw |= {"computeClusters": clusters, "kubernetesClusters": kubernetes, "batchEndpoints": {}}

        made = {name for name in of("dev", change).names() if name.startswith("workspace-identity")}
        assert bool(made) == (what != "neither"), what


def test_whoever_deploys_may_upload_and_azure_finds_out_who_that_is(prod: World, of: Callable[..., World]) -> None:
    role = prod["workspace-uploader-o"].inputs
    assert role["principalId"] == "o"
    assert "principalType" not in role, "a person on a laptop, a service principal in a pipeline"
    named = of("prod", lambda raw: raw["security"].update(deployers=[DEPLOYER]))
    assert named["workspace-uploader-10ca1a2e"].inputs["principalId"] == DEPLOYER
    assert "workspace-uploader-o" not in named.names(), "who runs pulumi is not asked"


def test_where_those_who_deploy_have_the_role_already_nobody_is_given_it(of: Callable[..., World]) -> None:
    none = of("prod", lambda raw: raw["security"].update(deployers=[]))
    assert not [name for name in none.names() if name.startswith("workspace-uploader")], "Azure gives it once"


def test_deployers_whose_ids_begin_alike_each_get_the_role(of: Callable[..., World]) -> None:
    both = [DEPLOYER, f"{DEPLOYER[:-2]}CC", "aaaaaaaa-0000-4000-8000-0000000000bb"]
    world = of("prod", lambda raw: raw["security"].update(deployers=both))
    given = {each.name: each.inputs for each in world.registered if each.name.startswith("workspace-uploader-")}
    given.pop("workspace-uploader-effective")
    names = [f"workspace-uploader-{each}" for each in ("10ca1a2e", both[1], "aaaaaaaa")]
    assert {name: each["principalId"] for name, each in given.items()} == dict(zip(names, both, strict=True))
    assert len({each["roleAssignmentName"] for each in given.values()}) == 3


def test_prods_machines_reach_what_is_approved(prod: World) -> None:
    workspace = prod["workspace-workspace"].inputs
    network = workspace["managedNetwork"]
    assert (network["isolationMode"], network["firewallSku"]) == ("AllowOnlyApprovedOutbound", "Standard")
    assert workspace["provisionNetworkNow"], "an online deployment does not make it"
    rules = network["outboundRules"]
    assert rules["pypi"] == {"type": "FQDN", "category": "UserDefined", "destination": "pypi.org"}
    assert rules["storage-queue"]["destination"]["subresourceTarget"] == "queue"
    removed = {each.inputs["name"] for each in prod.of_type(":OutboundRuleRemoval")}
    assert removed == set(rules), "Azure keeps one that an update leaves out"
    assert all(each.deleted_with == "workspace-workspace" for each in prod.of_type(":OutboundRuleRemoval"))


def test_a_rule_of_each_kind_is_said_in_azures_words(of: Callable[..., World]) -> None:
    def change(raw: dict[str, Any]) -> None:
        raw["network"]["outboundRules"] |= {
            "factory": {"serviceTag": "DataFactory", "protocol": "any", "portRanges": "80, 443"},
            "lake": {"privateEndpoint": f"{IDS}/Microsoft.Storage/storageAccounts/lake", "subresource": "dfs"},
        }

    rules = of("prod", change)["workspace-workspace"].inputs["managedNetwork"]["outboundRules"]
    assert rules["factory"]["destination"] == {"serviceTag": "DataFactory", "protocol": "*", "portRanges": "80, 443"}
    assert rules["lake"]["destination"]["subresourceTarget"] == "dfs"


def test_a_workspace_is_called_described_and_tagged_as_the_configuration_says(of: Callable[..., World]) -> None:
    said = {"friendlyName": "Risk", "description": "Of the risk team", "tags": {"owner": "risk"}}
    told = of("dev", lambda raw: raw["workspace"].update(said))["workspace-workspace"].inputs
    assert {key: told[key] for key in said} == said
    quiet = of("dev")["workspace-workspace"].inputs
    assert quiet["friendlyName"] == "aml-dev"
    assert not {"description", "tags"} & quiet.keys(), "a stack that says nothing of it is not changed"


def test_what_holds_data_is_protected_and_nothing_else(prod: World) -> None:
    protected = {each.name for each in prod.registered if each.request.protect}
    assert protected == {f"workspace-{each}" for each in (*HOLDS_DATA, "protection")}


def test_nothing_is_deleted_before_what_is_protected(prod: World, of: Callable[..., World]) -> None:
    others = {each.name for each in prod.registered if each.request.custom}
    assert prod["workspace-protection"].dependencies >= others, "it is the first that a destroy meets"
    lifted = of("prod", lambda raw: raw.update(protect=False))
    assert not any(each.request.protect for each in lifted.registered)
    assert "workspace-protection" in lifted.names(), "Pulumi wants to know that it is let go before it deletes it"


def test_what_is_deleted_can_be_recovered(prod: World) -> None:
    vault = prod["workspace-vault"].inputs
    assert vault["properties"]["enablePurgeProtection"] is True
    assert "vaultName" not in vault, "its name is taken for 90 days after it: Pulumi makes one up"
    assert "workspace-vault-purge" not in prod.names()
    blobs = prod["workspace-blobs"].inputs
    kept = {"enabled": True, "days": 30.0}
    assert (blobs["deleteRetentionPolicy"], blobs["containerDeleteRetentionPolicy"]) == (kept, kept)


def test_resource_logs_of_all_parts_go_to_log_analytics(prod: World) -> None:
    logged = {
        each.inputs["resourceUri"].partition("/x/")[2]: each.inputs for each in prod.of_type(":DiagnosticSetting")
    }
    account = prod["workspace-storage"].inputs["accountName"]
    services = {f"{account}/{each}Services/default" for each in ("blob", "file", "queue", "table")}
    assert services | {"aml-prod", "rg-aml-prod", account} == set(logged)
    assert all(each["workspaceId"].endswith("/log-aml-prod") for each in logged.values())


def test_clusters_of_ones_own_network_are_in_its_subnet(byo: World) -> None:
    workspace = byo["workspace-workspace"].inputs
    assert "managedNetwork" not in workspace
    assert not workspace.get("provisionNetworkNow")
    nodes = byo["aml-cluster-cluster"].inputs["properties"]["properties"]
    assert nodes["subnet"]["id"]
    assert "workspace-network-clusters" in byo["aml-cluster-cluster"].dependencies
    assert "workspace-network-endpoints" in byo["workspace-network-clusters"].dependencies, "one change at a time"
    assert byo["workspace-network-clusters"].inputs["addressPrefix"] == "10.40.2.0/23"
    assert assigned(byo, "workspace-own-approves") == set(), "no managed network makes private endpoints"


def test_what_is_there_is_used_and_not_managed(of: Callable[..., World]) -> None:
    def change(raw: dict[str, Any]) -> None:
        raw["resourceGroup"] = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/old"
        raw["workspace"] |= {
            "storageAccount": {"existing": f"{IDS}/Microsoft.Storage/storageAccounts/old"},
            "containerRegistry": {"existing": f"{IDS}/Microsoft.ContainerRegistry/registries/old"},
            "keyVault": {"existing": f"{IDS}/Microsoft.KeyVault/vaults/old"},
            "applicationInsights": {"existing": f"{IDS}/Microsoft.Insights/components/old"},
            "logAnalytics": {"existing": f"{IDS}/Microsoft.OperationalInsights/workspaces/old"},
        }
        raw["network"]["virtualNetwork"] = {"privateEndpoints": {"existing": f"{VNET}/subnets/endpoints"}}
        raw["network"]["privateDnsZones"] = {"existing": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/dns"}
        raw["security"] |= {"purgeProtection": False, "softDeleteDays": 0}

    world = of("prod", change)
    made = {each.type.rpartition(":")[2] for each in world.registered}
    theirs = {"ResourceGroup", "StorageAccount", "Vault", "Registry", "Component", "VirtualNetwork", "Subnet"}
    assert not made & {*theirs, "PrivateZone", "VirtualNetworkLink", "VaultPurge", "BlobServiceProperties"}
    workspace = world["workspace-workspace"].inputs
    assert workspace["storageAccount"] == f"{IDS}/Microsoft.Storage/storageAccounts/old"
    assert workspace["resourceGroupName"] == "old"
    (endpoint,) = world.of_type(":PrivateEndpoint")
    assert endpoint.inputs["subnet"]["id"] == f"{VNET}/subnets/endpoints"
    assert endpoint.inputs["location"] == "westeurope", "where the network is, not where the workspace is"
    zones = world["workspace-amlworkspace-link-names"].inputs["privateDnsZoneConfigs"]
    assert [zone["privateDnsZoneId"].partition("/resourceGroups/")[2] for zone in zones] == [
        "dns/providers/Microsoft.Network/privateDnsZones/privatelink.api.azureml.ms",
        "dns/providers/Microsoft.Network/privateDnsZones/privatelink.notebooks.azure.net",
    ]
    approved = {scope for scope, role in assigned(world, "workspace-own-approves") if role.startswith("NETWORK")}
    assert approved == {"old"}, "of each part that is elsewhere"


def closure(world: World, name: str) -> set[str]:
    """What a resource waits for, and what that waits for."""
    there, found = {each.name: each for each in world.registered}, {name}
    while more := {each for one in found for each in there[one].dependencies if each in there} - found:
        found |= more
    return found


@pytest.mark.parametrize("type_", [":OnlineDeployment", ":BatchDeployment"])
def test_what_is_built_waits_for_the_cluster_that_builds_it_and_for_its_right_to_store_it(
    of: Callable[..., World], type_: str
) -> None:
    def change(raw: dict[str, Any]) -> None:
        raw["computeClusters"]["builder"] = {"vmSize": "Standard_DS3_v2"}
        raw["workspace"]["imageBuildCompute"] = "builder"

    for deployment in (world := of("prod", change, whole)).of_type(type_):
        assert {"builder-cluster", "workspace-identity-built"} <= closure(world, deployment.name)
        assert "workspace-identity-effective" in deployment.dependencies, "a role counts minutes after it is given"
    without = of("prod", lambda raw: raw["workspace"].update(imageBuildCompute="azureml:theirs"), whole)
    assert "workspace-identity-built" not in without.names(), "theirs does not work under the identity of ours"
    assert not any(
        "aml-cluster-cluster" in closure(without, each.name) for each in without.of_type(":OnlineDeployment")
    )


@pytest.mark.parametrize("network", ["prod", "byo"])
def test_nodes_without_a_public_address_wait_for_the_private_endpoint_of_their_workspace(
    request: pytest.FixtureRequest, network: str
) -> None:
    waits = request.getfixturevalue(network)["aml-cluster-cluster"].dependencies
    assert "workspace-amlworkspace-link-names" in waits
    assert "workspace-uploader-effective" not in waits, "nothing is uploaded by a cluster"


def test_what_an_outbound_rule_leads_to_elsewhere_is_approved_once(of: Callable[..., World]) -> None:
    lake = f"{IDS}/Microsoft.Storage/storageAccounts/lake"
    inside = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/RG-aml-prod/providers/Microsoft.KeyVault/vaults/near"
    targets = {"a": (lake, "blob"), "b": (lake.upper(), "dfs"), "c": (inside, "vault")}

    def change(raw: dict[str, Any]) -> None:
        raw["network"]["outboundRules"] |= {
            name: {"privateEndpoint": id_, "subresource": part} for name, (id_, part) in targets.items()
        }

    given = assigned(world := of("prod", change), "workspace-own-approves")
    assert {scope for scope, _ in given} == {"rg-aml-prod", "lake"}, "the group's counts for what is in it"
    (role,) = [each.name for each in world.registered if each.name.startswith("workspace-own-approves-")]
    assert role.startswith("workspace-own-approves-lake-")


def test_no_subnet_is_made_in_a_network_of_another_subscription(of: Callable[..., World]) -> None:
    theirs = VNET.replace(SUBSCRIPTION, "other")
    expected = (
        r"network\.virtualNetwork\.existing: it is in subscription other, but the stack deploys to .*; a new subnet "
        r".*\(network\.virtualNetwork\.privateEndpoints\.existing\)"
    )
    with pytest.raises(pulumi.RunError, match=expected):
        of("prod", lambda raw: raw["network"].update(virtualNetwork={"existing": theirs}))
    subnet = {"existing": f"{theirs}/subnets/endpoints"}
    world = of(
        "prod", lambda raw: raw["network"].update(virtualNetwork={"existing": theirs, "privateEndpoints": subnet})
    )
    assert not world.of_type(":Subnet")


def test_what_is_on_the_workspace_is_gone_before_its_name_is_freed(of: Callable[..., World]) -> None:
    world = of("prod", program=whole)
    for name in ("tumor-online-identity-metrics", "workspace-diagnostics-workspace", "workspace-own-workspace"):
        assert "workspace-purge" in world[name].dependencies, "Azure may refuse while the workspace is being deleted"


@pytest.mark.parametrize(
    ("kind", "path", "named"),
    [
        (
            "batchEndpoints",
            "batchEndpoints.tumor-batch.deployments.mlflow.compute",
            ("deployments", "mlflow", "compute"),
        ),
        ("onlineEndpoints", "onlineEndpoints.tumor-online.kubernetes", ("kubernetes",)),
    ],
)
def test_a_cluster_that_is_not_in_the_workspace_ends_the_program(
    of: Callable[..., World], monkeypatch: pytest.MonkeyPatch, kind: str, path: str, named: tuple[str, ...]
) -> None:
    def refuse(**names: str) -> None:
        assert names == {"resource_group_name": "rg-aml-dev", "workspace_name": "aml-dev", "compute_name": "nothere"}
        raise Exception("status 404: not found")

    def change(raw: dict[str, Any]) -> None:
        (place,) = raw[kind].values()
        for each in place["deployments"].values() if kind == "onlineEndpoints" else ():
            each.update(instanceType="small", autoscale=None)
        for key in named[:-1]:
            place = place[key]
        place[named[-1]] = "azureml:nothere"

    monkeypatch.setattr("components.cluster.ml.get_compute", refuse)
    with pytest.raises(pulumi.RunError, match=rf'{re.escape(path)}: ".*/computes/nothere" cannot be looked up: '):
        of("dev", change, whole)


def test_azure_policy_may_look_after_the_zones(of: Callable[..., World]) -> None:
    world = of("prod", lambda raw: raw["network"].update(privateDnsZones={"byPolicy": True}))
    assert not world.of_type(":PrivateZone")
    assert not world.of_type(":PrivateDnsZoneGroup")
    assert "workspace-blob-link-endpoint" in world["tumor-online-blue-model"].dependencies


def test_a_cluster_that_is_there_is_used_under_its_own_name(of: Callable[..., World]) -> None:
    existing = f"{WORKSPACE}/computes/old-cluster"

    def change(raw: dict[str, Any]) -> None:
        in_existing(raw)
        raw["computeClusters"]["aml-cluster"] = {"existing": existing}

    world = of("dev", change, whole)
    assert not world.of_type(":Compute")
    assert not world.of_type(":ClusterRemoval")
    assert {each.inputs["properties"]["compute"] for each in world.of_type(":BatchDeployment")} == {existing}


def test_without_keys_an_existing_workspace_takes_uploads_by_role(of: Callable[..., World]) -> None:
    def change(raw: dict[str, Any]) -> None:
        in_existing(raw)
        raw["security"] = {"keyless": True}

    world = of("dev", change)
    assert world["workspace-uploader-o"].inputs["scope"].endswith("/storageAccounts/old")
    assert "workspace-uploader-effective" in world["tumor-online-blue-model"].dependencies


def test_what_is_not_there_ends_the_program_before_anything_is_made(
    of: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**names: str) -> None:
        assert names == {"resource_group_name": "old", "account_name": "old"}
        raise Exception("status 404: not found")

    monkeypatch.setattr("components.workspace_parts.storage.get_storage_account", refuse)
    existing = {"storageAccount": {"existing": f"{IDS}/Microsoft.Storage/storageAccounts/old"}}
    expected = r'workspace\.storageAccount\.existing: ".*/old" cannot be looked up: .*not found; correct the id'
    with pytest.raises(pulumi.RunError, match=expected):
        of("dev", lambda raw: raw["workspace"].update(existing))


def test_an_existing_workspace_that_is_not_there_is_a_finding(
    of: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**names: str) -> None:
        assert names == {"resource_group_name": "old", "workspace_name": "aml-old"}
        raise Exception("status 404: not found")

    monkeypatch.setattr("components.workspace.ml.get_workspace", refuse)
    with pytest.raises(
        pulumi.RunError, match=r'workspace\.existing: ".*/aml-old" cannot be looked up: .*; correct the id'
    ):
        of("dev", in_existing)


def test_a_group_of_another_subscription_is_refused(of: Callable[..., World]) -> None:
    group = "/subscriptions/other/resourceGroups/old"
    expected = (
        r"resourceGroup: it is in subscription other, but the stack deploys to .*; pulumi config set azure-native:"
    )
    with pytest.raises(pulumi.RunError, match=expected):
        of("dev", lambda raw: raw.update(resourceGroup=group))


def test_zones_are_called_as_the_cloud_calls_them(of: Callable[..., World]) -> None:
    world = of("prod", lambda raw: raw.update({"azure-native:location": "usgovvirginia"}))
    names = {zone.inputs["privateZoneName"] for zone in world.of_type(":PrivateZone")}
    assert {"privatelink.api.ml.azure.us", "privatelink.azurecr.us", "privatelink.blob.core.usgovcloudapi.net"} <= names
