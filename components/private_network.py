"""The virtual network that a private workspace is reached from, and the zones that name its private endpoints."""

# Annotations are not evaluated: the package of networks takes a second to import, and public stacks need none of it.
from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
from pulumi_azure_native import network, privatedns

from components.existing import look_up, only_in, segments
from components.ground import Ground
from components.naming import name_in_azure
from components.private_zones import zones
from components.unchangeable import Unchangeable, kept
from settings.platform import SubnetSettings


class PrivateNetwork(pulumi.ComponentResource):
    """A virtual network with a subnet for private endpoints and, for `mode: byo`, one for clusters; and DNS zones.

    What the configuration names is used as it is, and so are zones that somebody else links with the network.
    `subresources` are what there will be private endpoints to (`blob`, `vault`, …). `endpoints` and `clusters` are the
    ids of the subnets, `zones` those of the zones by subresource: none where Azure Policy looks after them.

    ```python
    network = PrivateNetwork("workspace-network", ground=ground, subresources=["amlworkspace", "blob"])
    ```
    """

    def __init__(
        self, name: str, *, ground: Ground, subresources: Sequence[str], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("azureml-endpoints:index:PrivateNetwork", name, None, opts)
        self._prefix, self._ground, self._settings = name, ground, ground.settings.network
        self.location = ground.location
        self._made: list[pulumi.Resource] = []
        place = self._settings.virtual_network
        private, byo = self._settings.is_private, self._settings.mode == "byo"
        if place.existing:
            used = {"privateEndpoints": place.private_endpoints} if private else {}
            self._refuse_subnets_in(place.existing, used | ({"clusters": place.clusters} if byo else {}))
        self._network = self._virtual_network()
        self.endpoints = self._subnet("endpoints", "privateEndpoints", place.private_endpoints) if private else None
        self.clusters = self._subnet("clusters", "clusters", place.clusters) if byo else None
        self.zones = self._zones(subresources) if private else {}
        self.register_outputs({"endpoints": self.endpoints, "clusters": self.clusters})

    def _opts(self, **options: object) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, **options)  # type: ignore[arg-type]

    def _virtual_network(self) -> pulumi.Input[str]:
        """The id of the network, which is that of an existing subnet where one is named."""
        settings = self._settings.virtual_network
        if there := settings.existing or settings.private_endpoints.existing:
            id_ = there.partition("/subnets/")[0]
            key = "existing" if settings.existing else "privateEndpoints.existing"
            path, get = f"network.virtualNetwork.{key}", network.get_virtual_network
            found = look_up(path, id_, self._ground.subscription_id, get, virtual_network_name="virtualNetworks")
            # A private endpoint is in the region of its network, whatever region it leads to.
            self.location = str(found.location) if found else self.location
            return id_
        made = network.VirtualNetwork(
            f"{self._prefix}-vnet",
            virtual_network_name=f"vnet-{self._ground.workspace_name}",
            address_space=network.AddressSpaceArgs(address_prefixes=[settings.address_space]),
            resource_group_name=self._ground.group,
            location=self.location,
            opts=self._opts(),
        )
        return made.id

    def _refuse_subnets_in(self, network_id: str, subnets: Mapping[str, SubnetSettings]) -> None:
        """Refuses new subnets in a network of another subscription, where this stack makes nothing.

        Raises `pulumi.RunError`.
        """
        for key in (key for key, subnet in subnets.items() if subnet.existing is None):
            way_out = (
                f"a new subnet would be made there: name one that is there (network.virtualNetwork.{key}.existing)"
            )
            only_in("network.virtualNetwork.existing", network_id, self._ground.subscription_id, way_out)

    def _subnet(self, role: str, key: str, settings: SubnetSettings) -> pulumi.Input[str]:
        if settings.existing:
            path = f"network.virtualNetwork.{key}.existing"
            names = {"virtual_network_name": "virtualNetworks", "subnet_name": "subnets"}
            look_up(path, settings.existing, self._ground.subscription_id, network.get_subnet, **names)
            return settings.existing
        network_id = pulumi.Output.from_input(self._network)
        name, there = f"{self._prefix}-{role}", "it holds what is reached there: leave it, or make another workspace."
        stays = Unchangeable(f"network.virtualNetwork.{key}", "addressPrefix", there)
        subnet = network.Subnet(
            name,
            subnet_name=f"snet-{self._ground.workspace_name}-{role}",
            virtual_network_name=network_id.apply(lambda id_: id_.rpartition("/")[2]),
            resource_group_name=network_id.apply(lambda id_: segments(id_)["resourcegroups"]),
            address_prefix=settings.address_prefix,
            network_security_group=network.NetworkSecurityGroupArgs(id=self._security_group(role)),
            # Azure ML asks for none where its private endpoint is.
            private_endpoint_network_policies="Disabled" if role == "endpoints" else None,
            # Nodes have no public address; they reach Azure Batch, Entra ID and package indexes by Azure's own way out.
            default_outbound_access=role == "clusters",
            # Azure changes one subnet of a network at a time.
            opts=self._opts(depends_on=[*self._made], hooks=kept(name, stays)),
        )
        self._made.append(subnet)
        return subnet.id

    def _security_group(self, role: str) -> pulumi.Output[str]:
        """Azure's own rules: in from this network and from load balancers, and nothing from elsewhere."""
        return network.NetworkSecurityGroup(
            f"{self._prefix}-{role}-nsg",
            network_security_group_name=f"nsg-{self._ground.workspace_name}-{role}",
            resource_group_name=self._ground.group,
            location=self.location,
            opts=self._opts(),
        ).id

    def _zones(self, subresources: Sequence[str]) -> dict[str, list[pulumi.Input[str]]]:
        settings = self._settings.private_dns_zones
        if settings.by_policy:
            return {}
        make = self._existing_zone if settings.existing else self._zone
        names = zones(self._ground.location)
        return {each: [make(name) for name in names[each]] for each in subresources}

    def _existing_zone(self, zone: str) -> pulumi.Input[str]:
        group = str(self._settings.private_dns_zones.existing)
        id_ = f"{group}/providers/Microsoft.Network/privateDnsZones/{zone}"
        path, get = "network.privateDnsZones.existing", privatedns.get_private_zone
        look_up(path, id_, self._ground.subscription_id, get, private_zone_name="privateDnsZones")
        return id_

    def _zone(self, zone: str) -> pulumi.Input[str]:
        label = zone.removeprefix("privatelink.").split(".")[0]
        made = privatedns.PrivateZone(
            f"{self._prefix}-{label}-zone",
            private_zone_name=zone,
            resource_group_name=self._ground.group,
            location="Global",
            opts=self._opts(),
        )
        link = privatedns.VirtualNetworkLink(
            f"{self._prefix}-{label}-link",
            virtual_network_link_name=f"link-{self._ground.workspace_name}",
            private_zone_name=name_in_azure(made),
            resource_group_name=self._ground.group,
            location="Global",
            registration_enabled=False,
            virtual_network=privatedns.SubResourceArgs(id=self._network),
            opts=self._opts(),
        )
        # What enters an address into the zone comes after the network can see it.
        return link.id.apply(lambda id_: "/".join(id_.split("/")[:9]))
