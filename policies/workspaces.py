"""What public rule sets ask of an Azure ML workspace and of its computes.

PSRule's ids are those of PSRule.Rules.Azure, Azure Policy's the GUIDs of its built-in definitions, Checkov's its own.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from policies.resource import UNKNOWN, Resource, get
from policies.rule import RuleSet

WORKSPACE = "machinelearningservices:Workspace"
COMPUTE = "machinelearningservices:Compute"
PRIVATE_ENDPOINT = "network:PrivateEndpoint"
CONNECTIONS = "privateLinkServiceConnections"
DIAGNOSTICS = "monitor:DiagnosticSetting"
# The two that are machines of the workspace; a Kubernetes cluster is attached, and has rules of its own.
MACHINES = ("AmlCompute", "ComputeInstance")

RULES = RuleSet()


@RULES.rule(
    "workspace-public-access",
    WORKSPACE,
    sources=(
        "PSRule:Azure.ML.PublicAccess",
        "AzurePolicy:438c38d2-3772-465a-a9cc-7a6666a275ce",
        "CKV2_AZURE_49",
        "CKV_AZURE_144",
    ),
)
def workspace_public_access(workspace: Resource) -> bool:
    """The workspace takes no public requests: network.mode managed or byo, without publicAccess enabled."""
    open_behind_vnet = workspace.get("allowPublicAccessWhenBehindVnet") is True
    return workspace.says("publicNetworkAccess", "Disabled") and not open_behind_vnet


@RULES.rule("workspace-user-identity", WORKSPACE, sources=("PSRule:Azure.ML.UserManagedIdentity",))
def workspace_user_identity(workspace: Resource) -> bool:
    """The workspace works under user-assigned identities alone, of which one is its primary one:
    security.workspaceIdentity: user."""
    assigned = workspace.says("identity.type", "UserAssigned") and workspace.has("identity.userAssignedIdentities")
    return assigned and workspace.has("primaryUserAssignedIdentity")


@RULES.rule("workspace-primary-identity", WORKSPACE, sources=("AzurePolicy:5f0c7d88-c7de-45b8-ac49-db49e72eaa78",))
def workspace_primary_identity(workspace: Resource) -> bool:
    """The workspace's primary identity is a user-assigned one: security.workspaceIdentity: user."""
    return workspace.has("primaryUserAssignedIdentity")


@RULES.rule(
    "workspace-customer-key",
    WORKSPACE,
    sources=(
        "AzurePolicy:ba769a63-b8cc-4b2d-abf6-ac33c7204be8",
        "AzurePolicy:7f40cee6-e933-4d0f-a782-b96615e0f4a6",
    ),
)
def workspace_customer_key(workspace: Resource) -> bool:
    """The workspace's data is encrypted with a key of one's own (encryption.status Enabled)."""
    return workspace.says("encryption.status", "Enabled")


@RULES.rule("workspace-v1-legacy", WORKSPACE, sources=("AzurePolicy:e413671a-dd10-4cc1-a943-45b598596cb7",))
def workspace_v1_legacy(workspace: Resource) -> bool:
    """The workspace is in v1 legacy mode, where the control plane is behind its private endpoint too."""
    return workspace.says("v1LegacyMode", True)


@RULES.rule("workspace-approved-outbound", WORKSPACE, sources=("AzurePolicy:6ddb1705-c8cf-450e-aa4b-19ad6703c440",))
def workspace_approved_outbound(workspace: Resource) -> bool:
    """The workspace's machines are in a managed network that lets them reach what is approved alone: network.mode:
    managed, isolation: allow_only_approved_outbound."""
    return workspace.says("managedNetwork.isolationMode", "AllowOnlyApprovedOutbound")


@RULES.rule("workspace-outbound-private", WORKSPACE, sources=("CKV_AZURE_243",))
def workspace_outbound_private(workspace: Resource) -> bool:
    """The workspace's managed network reaches at least one resource by a private endpoint (outboundRules)."""
    rules = workspace.get("managedNetwork.outboundRules") or {}
    return rules is UNKNOWN or any(get(rule, "type") in ("PrivateEndpoint", UNKNOWN) for rule in rules.values())


@RULES.stack_rule(
    "workspace-private-endpoint",
    sources=(
        "AzurePolicy:45e05259-1eb5-4f70-9574-baf73e9d219b",
        "AzurePolicy:40cec1dd-a100-4920-b15b-3024fe8901ab",
    ),
)
def workspace_private_endpoint(resources: Sequence[Resource]) -> Iterator[Resource]:
    """A private endpoint leads to the workspace: network.mode managed or byo, without publicAccess enabled."""
    return without(resources, WORKSPACE, PRIVATE_ENDPOINT, CONNECTIONS, leading_to(resources, "amlworkspace"))


@RULES.stack_rule("workspace-logs", sources=("AzurePolicy:afe0c3be-ba3b-4544-ba52-0c99672a8ad6",))
def workspace_logs(resources: Sequence[Resource]) -> Iterator[Resource]:
    """The workspace's resource logs are kept: security.diagnostics: true."""
    keeping = [each for each in resources if each.kind == DIAGNOSTICS and keeps_logs(each)]
    return without(resources, WORKSPACE, DIAGNOSTICS, "resourceUri", keeping)


@RULES.rule(
    "compute-idle-shutdown",
    COMPUTE,
    sources=("PSRule:Azure.ML.ComputeIdleShutdown", "AzurePolicy:679ddf89-ab8f-48a5-9029-e76054077449"),
)
def compute_idle_shutdown(compute: Resource) -> bool:
    """A compute instance shuts down when nobody works on it (idleTimeBeforeShutdown)."""
    instance = compute.says("properties.computeType", "ComputeInstance")
    return not instance or compute.has("properties.properties.idleTimeBeforeShutdown")


@RULES.rule(
    "compute-local-auth",
    COMPUTE,
    sources=(
        "PSRule:Azure.ML.DisableLocalAuth",
        "AzurePolicy:e96a9a5f-07ca-471b-9bc5-6a0f33cbd68f",
        "CKV_AZURE_142",
    ),
)
def compute_local_auth(compute: Resource) -> bool:
    """Nobody logs in to a compute's nodes with a key or a password: security.keyless: true."""
    return not is_machine(compute) or compute.says("properties.disableLocalAuth", True)


@RULES.rule(
    "compute-subnet",
    COMPUTE,
    sources=("PSRule:Azure.ML.ComputeVnet", "AzurePolicy:7804b5c7-01dc-4723-969b-ae300cc07ff1"),
)
def compute_subnet(compute: Resource) -> bool:
    """A compute's nodes are in a subnet: network.mode: byo, or the cluster's own subnet."""
    return not is_machine(compute) or compute.has("properties.properties.subnet.id")


@RULES.rule("compute-scales-to-zero", COMPUTE, sources=("CKV_AZURE_150",))
def compute_scales_to_zero(compute: Resource) -> bool:
    """A cluster without work has no nodes: minInstances: 0."""
    cluster = compute.says("properties.computeType", "AmlCompute")
    return not cluster or compute.says("properties.properties.scaleSettings.minNodeCount", None, 0)


def is_machine(compute: Resource) -> bool:
    return compute.says("properties.computeType", *MACHINES)


def keeps_logs(setting: Resource) -> bool:
    """Whether a diagnostic setting keeps any log at all."""
    logs = setting.get("logs") or []
    return logs is UNKNOWN or any(get(log, "enabled") for log in logs)


def leading_to(resources: Sequence[Resource], part: str) -> list[Resource]:
    """The private endpoints that lead to a part of a resource (`blob`, `vault`), or may: of what is not known yet."""
    endpoints = [each for each in resources if each.kind == PRIVATE_ENDPOINT]
    return [each for each in endpoints if any(_holds(groups, part) for groups in _groups(each))]


def _groups(endpoint: Resource) -> list[Any]:
    connections = endpoint.get(CONNECTIONS)
    return [UNKNOWN] if connections is UNKNOWN else [get(each, "groupIds") for each in connections or []]


def _holds(groups: Any, part: str) -> bool:
    return groups is UNKNOWN or any(group in (part, UNKNOWN) for group in groups or [])


def without(
    resources: Sequence[Resource],
    kind: str,
    wanted: str,
    by: str,
    among: Sequence[Resource] | None = None,
) -> Iterator[Resource]:
    """The resources of a kind that no resource of the `wanted` kind holds the id of in its property `by`."""
    holders = [each for each in (resources if among is None else among) if each.kind == wanted]
    held = {name for each in holders for name in each.needs.get(by, ())}
    return (each for each in resources if each.kind == kind and each.name not in held)
