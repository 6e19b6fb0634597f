"""A private endpoint: an address in the virtual network that leads to one part of one resource."""

# Annotations are not evaluated: the package of networks takes a second to import, and public stacks need none of it.
from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi_azure_native import network

from components.ground import Ground
from components.naming import name_in_azure
from components.private_network import PrivateNetwork


class PrivateLink(pulumi.ComponentResource):
    """A private endpoint to a `subresource` (`blob`, `vault`, `amlworkspace`, …), and its names in the DNS zones.

    Clients in the network reach it when `ready` is there.

    ```python
    link = PrivateLink("workspace-blob-link", subresource="blob", to=account.id, place=network, ground=ground)
    ```
    """

    def __init__(
        self,
        name: str,
        *,
        subresource: str,
        to: pulumi.Input[str],
        place: PrivateNetwork,
        ground: Ground,
        after: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("azureml-endpoints:index:PrivateLink", name, None, opts)
        self._prefix, self._ground, self._place = name, ground, place
        self.endpoint = self._make(subresource, to, after)
        zones = place.zones.get(subresource)
        self.ready: pulumi.Resource = self._enter(zones) if zones else self.endpoint
        self.id = self.endpoint.id
        self.register_outputs({"id": self.id})

    def _make(
        self, subresource: str, to: pulumi.Input[str], after: Sequence[pulumi.Resource]
    ) -> network.PrivateEndpoint:
        in_azure = f"pe-{self._ground.workspace_name}-{subresource}"
        connection = network.PrivateLinkServiceConnectionArgs(
            name=in_azure, private_link_service_id=to, group_ids=[subresource]
        )
        return network.PrivateEndpoint(
            f"{self._prefix}-endpoint",
            private_endpoint_name=in_azure,
            resource_group_name=self._ground.group,
            location=self._place.location,
            subnet=network.SubnetArgs(id=self._place.endpoints),
            private_link_service_connections=[connection],
            # Azure empties them once a zone group has them, and Pulumi would take that for somebody's change.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*after], ignore_changes=["customDnsConfigs"]),
        )

    def _enter(self, zones: list[pulumi.Input[str]]) -> network.PrivateDnsZoneGroup:
        configs = [
            network.PrivateDnsZoneConfigArgs(name=f"zone-{at}", private_dns_zone_id=zone)
            for at, zone in enumerate(zones)
        ]
        return network.PrivateDnsZoneGroup(
            f"{self._prefix}-names",
            private_dns_zone_group_name="default",
            private_endpoint_name=name_in_azure(self.endpoint),
            resource_group_name=self._ground.group,
            private_dns_zone_configs=configs,
            opts=pulumi.ResourceOptions(parent=self),
        )
