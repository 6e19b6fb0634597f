"""A workspace that the stack makes, with all that it stands on and what leads to it."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi_azure_native import machinelearningservices as ml

from components import managed_network, workspace_parts
from components.diagnostics import Diagnostics
from components.ground import Ground
from components.private_link import PrivateLink
from components.private_network import PrivateNetwork
from components.roles import CONTRIBUTOR, READER
from components.unchangeable import Unchangeable, kept
from components.workspace_identity import WorkspaceIdentity
from settings.platform import BULK

# What each part is reached as.
SUBRESOURCES = {"storage": ("blob", "file"), "vault": ("vault",), "registry": ("registry",)}
# What the logs of a storage account are about.
SERVICES = {"blob": "blobServices", "file": "fileServices", "queue": "queueServices", "table": "tableServices"}


class NewWorkspace:
    """The workspace is made when its parts are there and its identity may work with them.

    `complete` adds what needs the workspace itself. `parts` are the ids of what it stands on, `clusters` is the subnet
    for clusters, where there is one.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground, self._network = ground, ground.settings.network
        self.parts = workspace_parts.make(ground)
        self._place = self._make_place()
        self.clusters = self._place and self._place.clusters
        self._links = self._make_links()
        self._identity = self._make_identity()
        self.resource = self._make()

    def complete(self, purge: list[pulumi.Resource], address: Mapping[str, pulumi.Input[str]]) -> list[pulumi.Resource]:
        """What needs the workspace, and is gone before it (before `purge`). Returns what its users wait for."""
        ground, workspace = self._ground, self.resource
        if self._network.mode == "managed":
            managed_network.removals(ground, address, workspace)
        if self._identity:
            self._let_identity_in(self._identity, purge)
        if self._place and self._network.is_private:
            self._links["amlworkspace"] = self._link("amlworkspace", workspace.id, self._place, purge)
        if ground.settings.security.diagnostics and self.parts.logs:
            resources = {"workspace": workspace.id, **self._logged()}
            name = f"{ground.prefix}-diagnostics"
            Diagnostics(name, resources=resources, logs=self.parts.logs, after=purge, opts=ground.opts())
        return [link.ready for link in self._links.values()]

    def _make_place(self) -> PrivateNetwork | None:
        if not (self._network.is_private or self._network.mode == "byo"):
            return None
        reached = ["amlworkspace", *self._reached()]
        name = f"{self._ground.prefix}-network"
        return PrivateNetwork(name, ground=self._ground, subresources=reached, opts=self._ground.opts())

    def _reached(self) -> dict[str, pulumi.Input[str]]:
        """The ids of the parts that the stack makes, by the subresources that they are reached as."""
        bulk = BULK if self._ground.settings.batch_endpoints else ()
        own = {part: id_ for part, id_ in self.parts.own.items() if part in SUBRESOURCES}
        names = {part: (*SUBRESOURCES[part], *(bulk if part == "storage" else ())) for part in own}
        return {subresource: own[part] for part in own for subresource in names[part]}

    def _make_links(self) -> dict[str, PrivateLink]:
        links: dict[str, PrivateLink] = {}
        if self._place and self._network.is_private:
            for subresource, id_ in self._reached().items():
                # A storage account takes one connection at a time, and refuses another meanwhile.
                before = [link.endpoint for name, link in links.items() if {name, subresource} <= {*SERVICES}]
                links[subresource] = self._link(subresource, id_, self._place, before)
        return links

    def _link(
        self, subresource: str, to: pulumi.Input[str], place: PrivateNetwork, after: Sequence[pulumi.Resource]
    ) -> PrivateLink:
        return PrivateLink(
            f"{self._ground.prefix}-{subresource}-link",
            subresource=subresource,
            to=to,
            place=place,
            ground=self._ground,
            after=after,
            opts=self._ground.opts(),
        )

    def _make_identity(self) -> WorkspaceIdentity | None:
        if self._ground.settings.security.workspace_identity != "user":
            return None
        name = f"{self._ground.prefix}-own"
        return WorkspaceIdentity(name, ground=self._ground, parts=self.parts, opts=self._ground.opts())

    def _make(self) -> ml.Workspace:
        ground, parts, identity = self._ground, self.parts, self._identity
        settings, managed = ground.settings, self._network.mode == "managed"
        waits = [identity.effective] if identity else []
        name = f"{ground.prefix}-workspace"
        return ml.Workspace(
            name,
            workspace_name=ground.workspace_name,
            friendly_name=settings.workspace.friendly_name or ground.workspace_name,
            description=settings.workspace.description,
            tags=dict(settings.workspace.tags) or None,
            kind="Default",
            sku=ml.SkuArgs(name="Basic", tier=ml.SkuTier.BASIC),
            identity=_works_under(identity),
            primary_user_assigned_identity=identity and identity.id,
            storage_account=parts.storage,
            key_vault=parts.vault,
            application_insights=parts.insights,
            container_registry=parts.registry,
            public_network_access="Disabled" if self._network.is_private else "Enabled",
            managed_network=managed_network.managed_network(ground, parts.storage) if managed else None,
            # An online deployment does not come up in a network that is not there yet, and does not make it either.
            provision_network_now=True if managed else None,
            system_datastores_auth_mode="identity" if settings.security.keyless else None,
            image_build_compute=_in_azure(ground),
            **ground.place(holds_data=True, depends_on=waits, hooks=kept(name, *_stays())),
        )

    def _let_identity_in(self, identity: WorkspaceIdentity, purge: list[pulumi.Resource]) -> None:
        """The roles on what was not there before: the workspace (as Microsoft lists it), and the ways to its data.

        For studio, which shows data by the workspace's identity
        (https://learn.microsoft.com/azure/machine-learning/how-to-enable-studio-virtual-network).
        """
        assign, prefix = self._ground.roles.assign, f"{self._ground.prefix}-own"
        who = identity.principal_id
        assign(f"{prefix}-workspace", self.resource.id, CONTRIBUTOR, who, parent=identity, depends_on=purge)
        for subresource in (each for each in ("blob", "file") if each in self._links):
            assign(f"{prefix}-{subresource}", self._links[subresource].id, READER, who, parent=identity)

    def _logged(self) -> dict[str, pulumi.Input[str]]:
        """The ids of what the stack makes and what writes resource logs."""
        own = self.parts.own
        services: dict[str, pulumi.Input[str]] = {}
        if storage := own.get("storage"):
            services = {
                name: pulumi.Output.concat(storage, f"/{service}/default") for name, service in SERVICES.items()
            }
        return services | {part: own[part] for part in ("vault", "registry") if part in own}


def _stays() -> list[Unchangeable]:
    another = "make another workspace under another name (workspace.name), and move to it."
    back = "leave it as it is, or " + another
    return [
        Unchangeable("workspace.storageAccount", "storageAccount", back, made_once=True),
        Unchangeable("workspace.keyVault", "keyVault", back, made_once=True),
        Unchangeable("network", "managedNetwork.isolationMode", back, _lets_no_more_out),
    ]


def _lets_no_more_out(before: Any, after: Any) -> bool:
    """Whether a managed network may change like this.

    Source: https://learn.microsoft.com/azure/machine-learning/how-to-managed-network.
    """
    order = ("Disabled", "AllowInternetOutbound", "AllowOnlyApprovedOutbound")
    return order.index(after or "Disabled") >= order.index(before or "Disabled")


def _works_under(identity: WorkspaceIdentity | None) -> ml.ManagedServiceIdentityArgs:
    if identity is None:
        return ml.ManagedServiceIdentityArgs(type="SystemAssigned")
    return ml.ManagedServiceIdentityArgs(type="UserAssigned", user_assigned_identities=[identity.id])


def _in_azure(ground: Ground) -> str | None:
    """What the cluster that builds images is called in Azure."""
    settings = ground.settings
    name = settings.workspace.image_build_compute
    if name is None or name.startswith("azureml:"):
        return name and name.removeprefix("azureml:")
    there = settings.compute_clusters[name].existing
    return there.rpartition("/")[2] if there else settings.azure_name(name)
