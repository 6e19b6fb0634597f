"""The rules for what the endpoints stand on: the workspace, its parts, its clusters, and how they are secured.

Source: https://learn.microsoft.com/azure/machine-learning/how-to-manage-workspace, how-to-secure-workspace-vnet and
how-to-disable-local-auth-storage.
"""

import re
from collections.abc import Iterator, Sequence

from pydantic.alias_generators import to_camel

from settings.arm_ids import id_findings, is_id
from settings.base import SettingsModel
from settings.limit_rules import tag_findings
from settings.models import ComputeClusterSettings, Settings
from settings.regions import region_findings
from settings.shapes import key_path
from settings.sizes import size_findings

WORKSPACE_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}")
WORKSPACE = "Microsoft.MachineLearningServices/workspaces"
RESOURCE_GROUP_NAME = re.compile(r"[-\w.()]{0,89}[-\w()]")
OBJECT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# The parts of a workspace, by their fields, with the types that their ARM ids name, and what these are.
PARTS = {
    "storage_account": ("Microsoft.Storage/storageAccounts", "a storage account"),
    "key_vault": ("Microsoft.KeyVault/vaults", "a key vault"),
    "container_registry": ("Microsoft.ContainerRegistry/registries", "a container registry"),
    "application_insights": ("Microsoft.Insights/components", "an Application Insights component"),
    "log_analytics": ("Microsoft.OperationalInsights/workspaces", "a Log Analytics workspace"),
}
# What is said of a workspace that the stack makes, beside its parts.
WORKSPACE_ITSELF = ("friendly_name", "description", "tags", "image_build_compute")

Findings = Iterator[str]


def platform_findings(settings: Settings) -> Findings:
    """What is wrong with the workspace, its parts, and how they are secured; that something exists only Azure knows."""
    yield from _workspace(settings)
    yield from _group(settings)
    yield from _parts(settings) if settings.workspace.existing is None else _beside_existing(settings)
    yield from _security(settings)


def compute_cluster_findings(path: str, cluster: ComputeClusterSettings) -> Findings:
    """What is wrong with a compute cluster of the stack, or with the one that it names."""
    yield from id_findings(f"{path}.existing", cluster.existing, f"{WORKSPACE}/computes", "a compute cluster")
    yield from id_findings(
        f"{path}.subnet", cluster.subnet, "Microsoft.Network/virtualNetworks/subnets", "a subnet of a virtual network"
    )
    if cluster.existing is not None:
        yield from _alone(path, cluster, "existing")
    elif cluster.vm_size is None:
        yield f"{path}.vmSize: is missing; add it, or name a cluster that is there by existing."
    else:
        yield from size_findings(f"{path}.vmSize", cluster.vm_size)
    if cluster.min_instances > cluster.max_instances:
        yield (
            f"{path}.minInstances: {cluster.min_instances} is more than maxInstances "
            f"({cluster.max_instances}); lower the one or raise the other."
        )


def elsewhere_findings(path: str, cluster: str | None, settings: Settings) -> Findings:
    """The finding on a cluster (its ARM id) of another workspace than the stack's, whose endpoints cannot use it.

    One that is made has no clusters; but one that is adopted is written in the same way.
    """
    workspace, group = settings.workspace, settings.resource_group
    named = workspace.existing or workspace.name
    if cluster is None or named is None or not is_id(cluster, f"{WORKSPACE}/computes"):
        return
    if workspace.existing is not None:
        own = workspace.existing
    else:
        group = group if group and group.startswith("/") else f"/resourceGroups/{group or f'rg-{workspace.name}'}"
        own = f"{group}/providers/{WORKSPACE}/{workspace.name}"
    if not cluster.lower().rpartition("/computes/")[0].endswith(own.lower()):
        yield (
            f'{path}: "{cluster}" is in another workspace than the stack\'s (…{own}), whose endpoints use its own '
            "clusters alone; name one of those, or make one (computeClusters.<name>.vmSize)."
        )


def _workspace(settings: Settings) -> Findings:
    workspace = settings.workspace
    if (workspace.name is None) == (workspace.existing is None):
        yield 'workspace: give either "name" (a new workspace) or "existing" (the ARM id of one that is there).'
    if workspace.name is not None and not WORKSPACE_NAME.fullmatch(workspace.name):
        yield _no_name("workspace.name", workspace.name, "3 to 33 letters, digits, - and _")
    yield from id_findings("workspace.existing", workspace.existing, WORKSPACE, "a workspace")
    if workspace.existing is None and not settings.location:
        yield "azure-native:location: is missing; set it: pulumi config set azure-native:location eastus."
    elif settings.location:
        yield from region_findings("azure-native:location", settings.location)


def _group(settings: Settings) -> Findings:
    group = settings.resource_group
    if not group:
        return
    if settings.workspace.existing is not None:
        yield "resourceGroup: an existing workspace brings its resource group; remove one of the two."
    if group.startswith("/"):
        yield from id_findings("resourceGroup", group, None, "a resource group")
    elif not RESOURCE_GROUP_NAME.fullmatch(group):
        rule = "up to 90 letters, digits, . - _ ( ) and no dot at the end"
        yield _no_name("resourceGroup", group, rule)


def _parts(settings: Settings) -> Findings:
    workspace, premium = settings.workspace, settings.network.needs_premium_registry
    yield from tag_findings("workspace", workspace.tags)
    for field, (kind, what) in PARTS.items():
        path, part = key_path("workspace", to_camel(field)), getattr(workspace, field)
        yield from id_findings(f"{path}.existing", part.existing, kind, what)
        if part.existing is not None:
            yield from _alone(path, part, "existing")
    if (
        workspace.application_insights.existing
        and workspace.log_analytics.existing
        and not settings.security.diagnostics
    ):
        yield (
            "workspace.logAnalytics: nothing writes to it, since the existing applicationInsights has its own; remove "
            "it, or set security.diagnostics to true."
        )
    registry = workspace.container_registry
    if registry.sku not in (None, "premium") and premium:
        yield (
            f"workspace.containerRegistry.sku: a {registry.sku} registry has no private endpoints, which network.mode "
            f"{settings.network.mode} needs; use premium, or another mode."
        )
    if registry.zone_redundancy and not (premium or registry.sku == "premium"):
        yield "workspace.containerRegistry.zoneRedundancy: is for premium registries; set sku to premium, or remove it."


def _beside_existing(settings: Settings) -> Findings:
    """What was written for a workspace that the stack does not make."""
    workspace, security = settings.workspace, settings.security
    for field in (*PARTS, *WORKSPACE_ITSELF):
        if getattr(workspace, field) != type(workspace).model_fields[field].get_default(call_default_factory=True):
            yield _brought(key_path("workspace", to_camel(field)))
    if settings.network.mode != "public":
        yield _brought("network.mode")
    for field in sorted(settings.network.model_fields_set - {"mode"}):
        yield _brought(key_path("network", to_camel(field)))
    for field, value in (
        ("workspaceIdentity", security.workspace_identity == "user"),
        ("purgeProtection", security.purge_protection),
        ("softDeleteDays", security.soft_delete_days),
        ("diagnostics", security.diagnostics),
    ):
        if value:
            yield _brought(f"security.{field}")
    if settings.protect:
        yield _brought("protect")
    if settings.purge_on_destroy:
        yield _brought("purgeOnDestroy")


def _security(settings: Settings) -> Findings:
    security, workspace = settings.security, settings.workspace
    yield from _deployers(security.deployers or ())
    if security.deployers is not None and not security.keyless:
        yield "security.deployers: with shared keys nobody needs a role to upload; set keyless to true, or remove it."
    if workspace.key_vault.existing and security.purge_protection:
        yield "security.purgeProtection: an existing keyVault is used as it is; remove one of the two."
    if workspace.storage_account.existing and security.soft_delete_days:
        yield "security.softDeleteDays: an existing storageAccount is used as it is; remove one of the two."
    if settings.protect and settings.purge_on_destroy:
        yield "purgeOnDestroy: would free the names of what protect keeps from being deleted; set one of them to false."


def _deployers(deployers: Sequence[str]) -> Findings:
    first: dict[str, int] = {}
    for at, deployer in enumerate(deployers):
        if first.setdefault(deployer.lower(), at) != at:
            yield (
                f'security.deployers.{at}: "{deployer}" is security.deployers.{first[deployer.lower()]} too, and Azure '
                "gives a role once; keep one."
            )
        elif not OBJECT_ID.fullmatch(deployer):
            yield (
                f'security.deployers.{at}: "{deployer}" is no object id; find it by az ad sp show --id <client id> '
                "--query id (az ad user show, az ad group show)."
            )


def _alone(path: str, settings: SettingsModel, key: str) -> Findings:
    """Findings on what was written beside a key that says it all."""
    for other in (to_camel(name) for name in type(settings).model_fields if name in settings.model_fields_set - {key}):
        yield f"{path}.{other}: one that is there is used as it is; remove {other}, or {key} to make a new one."


def _brought(path: str) -> str:
    return f"{path}: an existing workspace is used as it is, and the stack changes nothing of it; remove it."


def _no_name(path: str, name: str, rule: str) -> str:
    return f'{path}: "{name}" ({len(name)} characters) is not a name that Azure takes; use {rule}.'
