"""Layer: the rules of the policy pack over plain properties, each kept and broken, without Pulumi."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from policies import pack
from policies.resource import UNKNOWN, Resource, kind_of
from policies.rule import Rule, StackRule
from policies.serving import is_pinned

ROOT = Path(__file__).parents[2]
ML = "machinelearningservices"
CLUSTER = {"computeType": "AmlCompute"}
DIGEST = "mcr.microsoft.com/image@sha256:" + "a" * 64
BEHIND_VNET = {"allowPublicAccessWhenBehindVnet": True}


def compute(type_: str = "AmlCompute", disableLocalAuth: bool = True, **own: Any) -> dict[str, Any]:
    return {"properties": {"computeType": type_, "disableLocalAuth": disableLocalAuth, "properties": own}}


def nodes(least: int) -> dict[str, Any]:
    return compute(scaleSettings={"minNodeCount": least, "maxNodeCount": 4})


def bag(**own: Any) -> dict[str, Any]:
    return {"properties": own}


def variable(name: str, value: str) -> dict[str, Any]:
    return bag(environmentVariables={"OMP_NUM_THREADS": "1", name: value})


def capacity(count: Any, **own: Any) -> dict[str, Any]:
    return {"sku": {"name": "Default", "capacity": count}, **bag(**own)}


def profiles(*least: str, **own: Any) -> dict[str, Any]:
    return {"profiles": [{"capacity": {"minimum": count}, **own} for count in least]}


def network(isolation: str, **rules: Any) -> dict[str, Any]:
    return {"managedNetwork": {"isolationMode": isolation, "outboundRules": rules}}


def recurrence(**own: Any) -> dict[str, Any]:
    return {"definition": {"triggers": {"Recurrence": {"type": "Recurrence", "recurrence": {"interval": 1, **own}}}}}


def policies(name: str, status: str) -> dict[str, Any]:
    return {"policies": {name: {"status": status}}}


USER = {"identity": {"type": "UserAssigned", "userAssignedIdentities": ["/id"]}, "primaryUserAssignedIdentity": "/id"}
IN_TWO_PLACES = {"identity": {**USER["identity"], "type": "SystemAssigned,UserAssigned"}}
KEY_IN_VAULT = {"encryption": {"keySource": "Microsoft.Keyvault"}}
DENY, ALLOW = {"defaultAction": "Deny"}, {"defaultAction": "Allow"}
RETRIES = {"maxRetries": 3, "timeout": 30}
SAS = {"sasPolicy": {"sasExpirationPeriod": "1.00:00:00"}}
PRIVATE_RULE = {"type": "PrivateEndpoint", "destination": {}}
HTTPS, HTTP = {"serviceUri": "https://hook"}, {"serviceUri": "http://hook"}
MODEL = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w/models/tumor"
ON_KUBERNETES = {"scaleType": "TargetUtilization"}

# What keeps to a rule, and what does not. Of a rule about several kinds, the kind comes first.
CASES: dict[str, tuple[list[Any], list[Any]]] = {
    "workspace-public-access": (
        [{"publicNetworkAccess": "Disabled"}],
        [{}, {"publicNetworkAccess": "Enabled"}, {"publicNetworkAccess": "Disabled", **BEHIND_VNET}],
    ),
    "workspace-user-identity": (
        [USER, {**USER, "primaryUserAssignedIdentity": UNKNOWN}],
        [{}, {"identity": {"type": "SystemAssigned"}}, {**USER, **IN_TWO_PLACES}, {"identity": USER["identity"]}],
    ),
    "workspace-primary-identity": ([USER], [{}, {"primaryUserAssignedIdentity": ""}]),
    "workspace-customer-key": ([{"encryption": {"status": "Enabled"}}], [{}, {"encryption": {"status": "Disabled"}}]),
    "workspace-v1-legacy": ([{"v1LegacyMode": True}], [{}, {"v1LegacyMode": False}]),
    "workspace-approved-outbound": (
        [network("AllowOnlyApprovedOutbound")],
        [{}, network("AllowInternetOutbound"), network("Disabled")],
    ),
    "workspace-outbound-private": (
        [
            network("AllowOnlyApprovedOutbound", queue=PRIVATE_RULE),
            network("AllowOnlyApprovedOutbound", queue=UNKNOWN),
            network("AllowOnlyApprovedOutbound", queue={"type": UNKNOWN}),
        ],
        [{}, network("AllowOnlyApprovedOutbound", pypi={"type": "FQDN"})],
    ),
    "compute-idle-shutdown": (
        [compute("ComputeInstance", idleTimeBeforeShutdown="PT30M"), compute("AmlCompute")],
        [compute("ComputeInstance"), compute("ComputeInstance", idleTimeBeforeShutdown="")],
    ),
    "compute-local-auth": (
        [compute(), compute("Kubernetes", disableLocalAuth=False)],
        [compute(disableLocalAuth=False), bag(**CLUSTER), compute("ComputeInstance", disableLocalAuth=False)],
    ),
    "compute-subnet": (
        [compute(subnet={"id": "/subnet"}), compute(subnet={"id": UNKNOWN}), compute("Kubernetes")],
        [compute(), compute(subnet={}), compute("ComputeInstance")],
    ),
    "compute-scales-to-zero": ([nodes(0), bag(**CLUSTER), compute("ComputeInstance")], [nodes(1)]),
    "storage-https": ([{}, {"enableHttpsTrafficOnly": True}], [{"enableHttpsTrafficOnly": False}]),
    "storage-tls": (
        [{"minimumTlsVersion": "TLS1_2"}, {"minimumTlsVersion": "TLS1_3"}],
        [{}, {"minimumTlsVersion": "TLS1_0"}],
    ),
    "storage-public-access": ([{"publicNetworkAccess": "Disabled"}], [{}, {"publicNetworkAccess": "Enabled"}]),
    "storage-default-deny": ([{"networkRuleSet": DENY}], [{}, {"networkRuleSet": ALLOW}]),
    "storage-trusted-services": (
        [{}, {"networkRuleSet": DENY}, {"networkRuleSet": {**DENY, "bypass": "Logging, AzureServices"}}],
        [{"networkRuleSet": {**DENY, "bypass": "None"}}],
    ),
    "storage-anonymous-blobs": ([{"allowBlobPublicAccess": False}], [{}, {"allowBlobPublicAccess": True}]),
    "storage-private-containers": ([{}, {"publicAccess": "None"}], [{"publicAccess": "Blob"}]),
    "storage-shared-keys": ([{"allowSharedKeyAccess": False}], [{}, {"allowSharedKeyAccess": True}]),
    "storage-sas-expiry": ([{"allowSharedKeyAccess": False}, SAS], [{}, {"sasPolicy": {}}]),
    "storage-local-users": (
        [{}, {"isLocalUserEnabled": False, "isSftpEnabled": True}],
        [{"isLocalUserEnabled": True}, {"isSftpEnabled": True}],
    ),
    "storage-name": ([{"accountName": "amlprod1"}, {}], [{"accountName": "aml-prod"}, {"accountName": "a" * 25}]),
    "storage-replication": ([{"sku": {"name": "Standard_GZRS"}}], [{}, {"sku": {"name": "Standard_ZRS"}}]),
    "storage-customer-key": ([KEY_IN_VAULT], [{}, {"encryption": {"keySource": "Microsoft.Storage"}}]),
    "vault-recoverable": (
        [bag(enablePurgeProtection=True)],
        [bag(), bag(enablePurgeProtection=True, enableSoftDelete=False)],
    ),
    "vault-soft-delete": ([bag(), bag(enableSoftDelete=True)], [bag(enableSoftDelete=False)]),
    "vault-public-access": ([bag(publicNetworkAccess="disabled")], [bag(), bag(publicNetworkAccess="enabled")]),
    "vault-default-deny": ([bag(networkAcls=DENY)], [bag(), bag(networkAcls=ALLOW)]),
    "vault-rbac": ([bag(enableRbacAuthorization=True)], [bag(), bag(enableRbacAuthorization=False)]),
    "secret-expires": ([bag(attributes={"expires": 1900000000})], [bag(), bag(attributes={"enabled": True})]),
    "secret-content-type": ([bag(contentType="password")], [bag()]),
    "key-expires": ([bag(attributes={"exp": 1900000000})], [bag()]),
    "key-in-hardware": ([bag(kty="RSA-HSM")], [bag(kty="RSA")]),
    "registry-admin-user": ([{}, {"adminUserEnabled": False}], [{"adminUserEnabled": True}]),
    "registry-anonymous-pull": ([{}, {"anonymousPullEnabled": False}], [{"anonymousPullEnabled": True}]),
    "registry-public-access": ([{"publicNetworkAccess": "Disabled"}], [{}, {"publicNetworkAccess": "Enabled"}]),
    "registry-scans-images": ([{"sku": {"name": "Premium"}}], [{}, {"sku": {"name": "Basic"}}]),
    "registry-signed-images": ([policies("trustPolicy", "enabled")], [{}, policies("trustPolicy", "disabled")]),
    "registry-quarantine": ([policies("quarantinePolicy", "enabled")], [{}, policies("quarantinePolicy", "disabled")]),
    "registry-cleans-up": ([policies("retentionPolicy", "enabled")], [{}, policies("retentionPolicy", "disabled")]),
    "registry-zones": ([{"zoneRedundancy": "Enabled"}], [{}, {"zoneRedundancy": "Disabled"}]),
    "registry-data-endpoint": ([{"dataEndpointEnabled": True}], [{}, {"dataEndpointEnabled": False}]),
    "webhook-https": ([HTTPS, {"serviceUri": UNKNOWN}], [HTTP]),
    "endpoint-aad-token": ([bag(authMode="AADToken")], [bag(authMode="Key"), bag(authMode="AMLToken"), bag()]),
    "endpoint-private": ([bag(publicNetworkAccess="Disabled")], [bag(publicNetworkAccess="Enabled"), bag()]),
    "instances-prod": (
        [
            (f"{ML}:OnlineDeployment", capacity(3.0)),
            (f"{ML}:OnlineDeployment", capacity(UNKNOWN)),
            (f"{ML}:OnlineDeployment", capacity(None, scaleSettings={**ON_KUBERNETES, "minInstances": 3})),
            ("monitor:AutoscaleSetting", profiles("3", "5")),
        ],
        [
            (f"{ML}:OnlineDeployment", capacity(2.0)),
            (f"{ML}:OnlineDeployment", {}),
            (f"{ML}:OnlineDeployment", capacity(9, scaleSettings={**ON_KUBERNETES, "minInstances": 1})),
            ("monitor:AutoscaleSetting", profiles("5", "2")),
        ],
    ),
    "instances-staging": (
        [(f"{ML}:OnlineDeployment", capacity(2.0)), ("monitor:AutoscaleSetting", profiles("2"))],
        [(f"{ML}:OnlineDeployment", capacity(1.0)), ("monitor:AutoscaleSetting", profiles("1"))],
    ),
    "image-pinned": (
        [
            ("azureml:Environment", {"image": "mcr.microsoft.com/azureml/image:20250601.v1"}),
            ("azureml:Environment", {"image": None, "buildContext": "scoring/docker"}),
            (f"{ML}:EnvironmentVersion", bag(image=DIGEST)),
        ],
        [
            ("azureml:Environment", {"image": "mcr.microsoft.com/azureml/image"}),
            ("azureml:Environment", {"image": "localhost:5000/image:latest"}),
            (f"{ML}:EnvironmentVersion", bag(image="localhost:5000/image")),
        ],
    ),
    "assets-pinned": (
        [
            (f"{ML}:OnlineDeployment", bag(model=f"{MODEL}/versions/3", environmentId=UNKNOWN)),
            (f"{ML}:OnlineDeployment", bag(model=UNKNOWN, environmentId="azureml:score-latest:3")),
            (f"{ML}:BatchDeployment", bag(model={"assetId": f"{MODEL}/versions/3"})),
            (f"{ML}:BatchDeployment", bag()),
        ],
        [
            (f"{ML}:OnlineDeployment", bag(model=f"{MODEL}/labels/latest")),
            (f"{ML}:OnlineDeployment", bag(environmentId="azureml://registries/azureml/environments/a/labels/latest")),
            (f"{ML}:OnlineDeployment", bag(environmentId="azureml:score@latest")),
            (f"{ML}:BatchDeployment", bag(model={"assetId": f"{MODEL}/labels/Latest"})),
            (f"{ML}:BatchDeployment", bag(environmentId="/x/environments/a/labels/latest")),
        ],
    ),
    "batch-retries-explicit": (
        [bag(retrySettings=RETRIES), bag(retrySettings={**RETRIES, "maxRetries": 0}), bag(retrySettings=UNKNOWN)],
        [bag(), bag(retrySettings={"maxRetries": 3}), bag(retrySettings={"timeout": "PT30S"})],
    ),
    "batch-threshold-explicit": (
        [bag(errorThreshold=0.0), bag(errorThreshold=10), bag(errorThreshold=UNKNOWN)],
        [bag(), bag(errorThreshold=-1.0)],
    ),
    "environment-variables-secret": (
        [
            bag(),
            bag(environmentVariables={}),
            bag(environmentVariables={"DB_PASSWORD": UNKNOWN}),
            bag(environmentVariables=UNKNOWN),
            variable("LOG_LEVEL", "info"),
            variable("DB_PASSWORD", "${{azureml://connections/db/credentials/password}}"),
            variable("API_KEY", "https://kv-tumor.vault.azure.net/secrets/api-key"),
        ],
        [variable("DB_PASSWORD", "hunter2"), variable("CONFIG", "AccountName=a;AccountKey=abc==")],
    ),
    "schedule-time-zone": (
        [
            ("logic:Workflow", recurrence(timeZone="GMT Standard Time")),
            ("logic:Workflow", {"definition": {"triggers": {"manual": {"type": "Request"}}}}),
            (f"{ML}:Schedule", bag(trigger={"triggerType": "Cron", "timeZone": "UTC"})),
            ("monitor:AutoscaleSetting", profiles("1")),
            ("monitor:AutoscaleSetting", profiles("1", recurrence={"schedule": {"timeZone": "UTC"}})),
        ],
        [
            ("logic:Workflow", recurrence()),
            (f"{ML}:Schedule", bag(trigger={"triggerType": "Cron"})),
            ("monitor:AutoscaleSetting", profiles("1", recurrence={"schedule": {"hours": [8]}})),
            ("monitor:AutoscaleSetting", profiles("1", fixedDate={"start": "2026-12-24T00:00:00Z"})),
        ],
    ),
}
BY_ID = {rule.id: rule for rule in pack.RULES}


def cases(side: int) -> list[Any]:
    return [
        pytest.param(id_, case, id=f"{id_}-{at}") for id_, both in CASES.items() for at, case in enumerate(both[side])
    ]


def broken(id_: str, case: Any) -> bool:
    rule = BY_ID[id_]
    assert isinstance(rule, Rule)
    kind, properties = case if isinstance(case, tuple) else (rule.kinds[0], case)
    assert kind in rule.kinds
    return rule.breaks(Resource(kind, "it", properties))


@pytest.mark.parametrize(("id_", "case"), cases(0))
def test_a_resource_keeps_to_the_rule(id_: str, case: Any) -> None:
    assert not broken(id_, case)


@pytest.mark.parametrize(("id_", "case"), cases(1))
def test_a_resource_breaks_the_rule(id_: str, case: Any) -> None:
    assert broken(id_, case)


def test_every_rule_is_tried_both_ways() -> None:
    over_properties = {rule.id for rule in pack.RULES if isinstance(rule, Rule)} - {"data-protected"}
    assert set(CASES) == over_properties
    assert all(kept and not_kept for kept, not_kept in CASES.values())


class NothingKnown(dict[str, Any]):
    """Properties as a preview may have them: all are there, of none is the value known."""

    def get(self, key: str, default: Any = None) -> Any:
        return UNKNOWN


@pytest.mark.parametrize("rule", [rule for rule in pack.RULES if isinstance(rule, Rule)], ids=lambda rule: rule.id)
def test_what_is_not_known_before_the_update_is_given_the_benefit_of_the_doubt(rule: Rule) -> None:
    assert not any(rule.breaks(Resource(kind, "it", NothingKnown(), protect=True)) for kind in rule.kinds)


@pytest.mark.parametrize("stated", [{}, {"retrySettings": {}}, {"retrySettings": {"timeout": 300}}])
def test_what_the_program_fills_in_is_not_what_somebody_wrote(stated: dict[str, Any]) -> None:
    rule, written = BY_ID["batch-retries-explicit"], {"retrySettings": RETRIES}
    assert isinstance(rule, Rule)
    made = bag(retrySettings=RETRIES)
    assert rule.breaks(Resource(rule.kinds[0], "it", made, stated=stated))
    assert not rule.breaks(Resource(rule.kinds[0], "it", made, stated=written))


@pytest.mark.parametrize("kind", ["storage:StorageAccount", "keyvault:Vault", f"{ML}:Workspace"])
def test_what_holds_data_is_protected_in_prod(kind: str) -> None:
    rule = BY_ID["data-protected"]
    assert isinstance(rule, Rule)
    assert rule.breaks(Resource(kind, "it"))
    assert not rule.breaks(Resource(kind, "it", protect=True))
    assert not rule.breaks(Resource("network:PrivateEndpoint", "it")), "it holds no data"


def held_by(kind: str, property_: str, **own: Any) -> Resource:
    return Resource(kind, "holder", own, needs={property_: frozenset({"it"})})


LOGS = [{"categoryGroup": "allLogs", "enabled": True}]


def link(*groups: Any) -> Resource:
    """A private endpoint to parts of it."""
    connections = [{"groupIds": [*groups]}]
    return Resource(
        "network:PrivateEndpoint",
        "holder",
        {"privateLinkServiceConnections": connections},
        needs={"privateLinkServiceConnections": frozenset({"it"})},
    )


KEPT = {"deleteRetentionPolicy": {"enabled": True, "days": 7}}
OFF = {"deleteRetentionPolicy": {"enabled": False}}
# The kind that the rule is about, what mends it, and what only seems to.
TOGETHER = {
    "workspace-private-endpoint": (f"{ML}:Workspace", link("amlworkspace"), link("blob")),
    "storage-private-endpoint": ("storage:StorageAccount", link("blob"), link("file")),
    "vault-private-endpoint": ("keyvault:Vault", link("vault"), link("blob")),
    "workspace-logs": (
        f"{ML}:Workspace",
        held_by("monitor:DiagnosticSetting", "resourceUri", logs=LOGS),
        held_by("monitor:DiagnosticSetting", "resourceUri", logs=[{**LOGS[0], "enabled": False}]),
    ),
    "storage-logs": (
        "storage:StorageAccount",
        held_by("monitor:DiagnosticSetting", "resourceUri", logs=LOGS),
        held_by("monitor:DiagnosticSetting", "workspaceId", logs=LOGS),
    ),
    "storage-soft-delete": (
        "storage:StorageAccount",
        held_by("storage:BlobServiceProperties", "accountName", **KEPT),
        held_by("storage:BlobServiceProperties", "accountName", **OFF),
    ),
    "registry-replicated": (
        "containerregistry:Registry",
        held_by("containerregistry:Replication", "registryName"),
        held_by("containerregistry:Webhook", "registryName"),
    ),
}


@pytest.mark.parametrize("id_", TOGETHER)
def test_a_rule_over_the_stack_asks_for_another_resource(id_: str) -> None:
    kind, mends, only_seems_to = TOGETHER[id_]
    rule, it = BY_ID[id_], Resource(kind, "it")
    assert list(pack.broken_by(rule, [it, mends])) == []
    assert list(pack.broken_by(rule, [it, only_seems_to])) == [it]
    assert list(pack.broken_by(rule, [mends])) == [], "there is nothing that the rule is about"


def setting(service: str, name: str, **own: Any) -> Resource:
    uri = f"/subscriptions/s/storageAccounts/it/{service}/default"
    properties = {"logs": LOGS, "resourceUri": uri, **own}
    return Resource("monitor:DiagnosticSetting", name, properties, needs={"resourceUri": frozenset({"it"})})


@pytest.mark.parametrize("id_", ["workspace-private-endpoint", "storage-private-endpoint", "vault-private-endpoint"])
def test_an_endpoint_that_is_not_known_yet_or_leads_nowhere(id_: str) -> None:
    kind, _, _ = TOGETHER[id_]
    rule, it = BY_ID[id_], Resource(kind, "it")
    for known in (link(UNKNOWN), held_by("network:PrivateEndpoint", "privateLinkServiceConnections")):
        connections = known.properties or {"privateLinkServiceConnections": UNKNOWN}
        seen = Resource(known.kind, "holder", connections, needs=known.needs)
        assert list(pack.broken_by(rule, [it, seen])) == []
    assert list(pack.broken_by(rule, [it, Resource("network:PrivateEndpoint", "holder")])) == [it]


def test_the_logs_of_each_service_of_a_storage_account_are_kept() -> None:
    rule, it = BY_ID["storage-logs"], Resource("storage:StorageAccount", "it")
    each = [setting(f"{service}Services", service) for service in ("blob", "queue", "table")]
    assert list(pack.broken_by(rule, [it, *each])) == []
    files = setting("fileServices", "file")
    assert list(pack.broken_by(rule, [it, files])) == [it], "those of files are none of blobs"
    assert list(pack.broken_by(rule, [it, files, *each[:2]])) == [it], "once, whatever is missing"
    assert list(pack.broken_by(rule, [it, setting("", "new", resourceUri=UNKNOWN)])) == []


def test_every_rule_over_the_stack_is_tried() -> None:
    assert set(TOGETHER) == {rule.id for rule in pack.RULES if isinstance(rule, StackRule)}


def in_the_guide() -> Iterator[str]:
    """The rules that the guide names; of a group the first in full, and of the others what they end with."""
    guide = (ROOT / "docs/guides/policy.md").read_text().partition("## The rules")[2].partition("\n## ")[0]
    for row in (line for line in guide.splitlines() if line.startswith("| `")):
        first, _, rest = row.partition(" | ")
        names = rest.rpartition(" | ")[2] if first.startswith("| `policies/") else first
        group = ""
        for name in re.findall(r"`(-?[a-z][a-z0-9-]+)`", names):
            group = group if name.startswith("-") else name.partition("-")[0]
            yield group + name if name.startswith("-") else name


def test_the_guide_names_every_rule() -> None:
    assert sorted(in_the_guide()) == sorted(BY_ID)


def test_each_rule_has_a_name_of_its_own_and_says_what_is_to_be() -> None:
    assert len(BY_ID) == len(pack.RULES)
    assert all(rule.text.endswith((".", "Enabled).")) for rule in pack.RULES)


def test_the_public_rule_sets_are_there_by_their_ids() -> None:
    ids = {source for rule in pack.RULES for source in rule.sources}
    names = ("ComputeIdleShutdown", "ComputeVnet", "DisableLocalAuth", "PublicAccess", "UserManagedIdentity")
    assert ids >= {f"PSRule:Azure.ML.{name}" for name in names}
    assert sum(id_.startswith("AzurePolicy:") for id_ in ids) >= 10
    assert sum(id_.startswith(("CKV_AZURE_", "CKV2_AZURE_")) for id_ in ids) >= 40


def test_an_image_with_a_port_in_its_registry_has_no_tag_for_that() -> None:
    assert not is_pinned("localhost:5000/image")
    assert is_pinned("localhost:5000/image:1.2")


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("azure-native:storage:StorageAccount", "storage:StorageAccount"),
        ("azure-native:storage/v20240101:StorageAccount", "storage:StorageAccount"),
        ("azure-native:storage/v20240101preview:StorageAccount", "storage:StorageAccount"),
        ("pulumi-python:dynamic/azureml:Environment", "azureml:Environment"),
    ],
)
def test_the_version_of_an_api_makes_no_other_kind(type_: str, kind: str) -> None:
    assert kind_of(type_) == kind
