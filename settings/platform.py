"""What the endpoints stand on: the workspace and its parts, the network around them, and how they are secured.

Each part is new, unless `existing` names one by its ARM id: the stack uses that as it is, and never changes or deletes
it.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from settings.base import SettingsModel, Whole

Access = Literal["enabled", "disabled"]
# A batch job keeps its progress in queues and tables, to which Azure makes no private endpoints by itself
# (https://learn.microsoft.com/azure/machine-learning/how-to-managed-network, scenario: use batch endpoints).
BULK = ("queue", "table")
# The outbound rules that lead there, by their names.
BULK_RULES = {f"storage-{part}": part for part in BULK}


class PartSettings(SettingsModel):
    """Something that the workspace stands on: made new, or one that is there."""

    existing: str | None = Field(default=None, description="The ARM id of one that is there, used as it is.")


class StorageAccountSettings(PartSettings):
    """The storage account, for models, code, inputs and predictions."""

    redundancy: Literal["lrs", "zrs", "grs", "gzrs", "ragrs", "ragzrs"] = Field(
        default="lrs", description="Copies in one building (lrs), in three zones (zrs), or in another region as well."
    )


class ContainerRegistrySettings(PartSettings):
    """The container registry, for the images of environments. Only premium has private endpoints and zones."""

    sku: Literal["basic", "standard", "premium"] | None = Field(
        default=None, description="basic without a word; premium where private endpoints lead to it."
    )
    zone_redundancy: bool = Field(default=False, description="Copies in three zones; Azure cannot change it later.")


class WorkspaceSettings(SettingsModel):
    """The workspace: `name` makes a new one with all that it needs, `existing` (an ARM id) uses one that is there."""

    name: str | None = Field(default=None, description="The name of a new workspace: 3 to 33 letters, digits, - and _.")
    existing: str | None = Field(default=None, description="The ARM id of a workspace that is there, used as it is.")
    friendly_name: str | None = Field(
        default=None, description="What studio calls a new workspace; its name without it."
    )
    description: str | None = Field(default=None, description="What a new workspace is for, in your words.")
    tags: dict[str, str] = Field(default_factory=dict, description="Tags of a new workspace.")
    storage_account: StorageAccountSettings = Field(
        default=StorageAccountSettings(), description="The storage account of a new workspace."
    )
    key_vault: PartSettings = Field(default=PartSettings(), description="The key vault of a new workspace.")
    container_registry: ContainerRegistrySettings = Field(
        default=ContainerRegistrySettings(), description="The container registry of a new workspace."
    )
    application_insights: PartSettings = Field(
        default=PartSettings(), description="The Application Insights of a new workspace."
    )
    log_analytics: PartSettings = Field(
        default=PartSettings(), description="The Log Analytics workspace that logs go to."
    )
    image_build_compute: str | None = Field(
        default=None,
        description="The cluster that builds images, which Azure does not do in a registry that is closed to the "
        "public: one of computeClusters, or azureml:<name>.",
    )


class OutboundRuleSettings(SettingsModel):
    """What machines in the managed network may reach beyond what Azure ML needs: one of the three."""

    fqdn: str | None = Field(default=None, description="A host (*.pythonhosted.org); Azure runs a firewall for these.")
    service_tag: str | None = Field(default=None, description="Azure's name for the addresses of one of its services.")
    protocol: Literal["tcp", "udp", "icmp", "any"] = Field(default="tcp", description="Of a service tag.")
    port_ranges: str = Field(default="443", description="Of a service tag: 443, or 80, 8080-8089.")
    private_endpoint: str | None = Field(default=None, description="The ARM id of a resource to reach privately.")
    subresource: str | None = Field(default=None, description="Of a private endpoint: blob, dfs, vault, registry, ….")


def _prefix(value: object) -> object:
    return {"addressPrefix": value} if isinstance(value, str) else value


class SubnetSettings(PartSettings):
    """A subnet: its range, which may be written without a key, or `existing`."""

    address_prefix: str | None = Field(default=None, description="As 10.40.0.0/26.")


Subnet = Annotated[SubnetSettings, BeforeValidator(_prefix, json_schema_input_type=SubnetSettings | str)]


def _range(prefix: str) -> SubnetSettings:
    return SubnetSettings.model_validate({"addressPrefix": prefix})


class VirtualNetworkSettings(PartSettings):
    """The virtual network that clients reach the workspace from; with `existing`, new subnets are made in that one.

    Private endpoints take about ten addresses. `clusters` is used with `mode: byo` only, and takes one address a node.
    Not within 172.17.0.0/16, which Docker has for itself.
    """

    address_space: str = Field(default="10.40.0.0/22", description="The range of a new network.")
    private_endpoints: Subnet = Field(
        default=_range("10.40.0.0/26"), description="The subnet of the private endpoints: a range, or existing."
    )
    clusters: Subnet = Field(
        default=_range("10.40.2.0/23"), description="The subnet of the clusters, with mode: byo: a range, or existing."
    )

    def is_new(self) -> bool:
        """Whether the stack makes the network itself."""
        return self.existing is None and self.private_endpoints.existing is None


class PrivateDnsZonesSettings(PartSettings):
    """The zones in which clients find the private endpoints; `existing` is the resource group that holds them."""

    by_policy: bool = Field(default=False, description="Azure Policy enters each private endpoint into its zone.")


class NetworkSettings(SettingsModel):
    """Who reaches the workspace, and what its machines reach.

    `public` is open both ways. With `managed`, Azure ML has a network of its own around clusters and online endpoints;
    with `byo`, clusters are in a subnet of your own. Both are closed to the public, and reached by private endpoints,
    unless `public_access` is enabled.
    """

    mode: Literal["public", "managed", "byo"] = Field(
        default="public", description="public, Azure ML's own network (managed), or one of your own (byo)."
    )
    public_access: Access | None = Field(
        default=None, description="Whether workspace, storage, vault and registry take public requests; by default no."
    )
    isolation: Literal["allow_only_approved_outbound", "allow_internet_outbound"] = Field(
        default="allow_only_approved_outbound",
        description="What machines in a managed network reach. Azure goes from the second to the first, never back.",
    )
    firewall_sku: Literal["basic", "standard"] = Field(
        default="standard", description="Of the firewall that Azure runs, and bills, for outbound rules by fqdn."
    )
    outbound_rules: dict[str, OutboundRuleSettings] = Field(
        default_factory=dict, description="What machines in the managed network may reach besides, by name."
    )
    virtual_network: VirtualNetworkSettings = Field(
        default=VirtualNetworkSettings(), description="The network that clients reach the workspace from."
    )
    private_dns_zones: PrivateDnsZonesSettings = Field(
        default=PrivateDnsZonesSettings(), description="Where clients find the private endpoints."
    )

    @property
    def is_private(self) -> bool:
        """Whether nothing takes public requests, so that private endpoints are needed."""
        return self.mode != "public" and self.public_access != "enabled"

    @property
    def needs_premium_registry(self) -> bool:
        """Whether the registry has private endpoints: also Azure's own, where machines reach only what is approved."""
        approved = self.isolation == "allow_only_approved_outbound"
        return self.is_private or (self.mode == "managed" and approved)


class SecuritySettings(SettingsModel):
    """How the workspace and what it stands on are secured, beyond the network."""

    keyless: bool = Field(
        default=False,
        description="No shared keys: storage takes identities only, and so do datastores and the nodes of clusters.",
    )
    workspace_identity: Literal["system", "user"] = Field(
        default="system",
        description="system: Azure's own, whose roles Azure gives; user: one of the stack, with exactly its roles.",
    )
    purge_protection: bool = Field(
        default=False, description="A deleted vault can be recovered for 90 days, whatever anybody does."
    )
    soft_delete_days: Annotated[Whole, Field(ge=0, le=365)] = Field(
        default=0, description="How long deleted blobs and containers can be recovered; 0 for not at all."
    )
    diagnostics: bool = Field(
        default=False, description="Resource logs of workspace, storage, vault and registry, in Log Analytics."
    )
    deployers: tuple[str, ...] | None = Field(
        default=None,
        description="Object ids (of service principals, groups, people) that deploy: they upload models and code. "
        "Without it whoever runs pulumi is the one; [] gives the role to nobody, where they have it already.",
    )
