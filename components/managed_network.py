"""What machines in a managed network may reach, in Azure's words.

The rules are part of the workspace: in force from the first machine on, since the network is made together with it.
Azure keeps one that a later description leaves out, so that each has a resource of its own which removes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pulumi
from pulumi_azure_native import machinelearningservices as ml

from components.ground import Ground
from dynamic.purge import OutboundRuleRemoval
from settings.platform import BULK_RULES, OutboundRuleSettings

ISOLATION_MODES = {
    "allow_only_approved_outbound": "AllowOnlyApprovedOutbound",
    "allow_internet_outbound": "AllowInternetOutbound",
}
if TYPE_CHECKING:
    Rule = ml.FqdnOutboundRuleArgs | ml.ServiceTagOutboundRuleArgs | ml.PrivateEndpointOutboundRuleArgs


def managed_network(ground: Ground, storage: pulumi.Input[str]) -> ml.ManagedNetworkSettingsArgs:
    """The managed network of a workspace whose storage account it is."""
    settings = ground.settings.network
    hosts = any(rule.fqdn for rule in settings.outbound_rules.values())
    return ml.ManagedNetworkSettingsArgs(
        isolation_mode=ISOLATION_MODES[settings.isolation],
        firewall_sku=settings.firewall_sku.capitalize() if hosts else None,
        outbound_rules=_rules(ground, storage),
    )


def rule_names(ground: Ground) -> list[str]:
    """What the rules are called in Azure."""
    own = BULK_RULES if ground.settings.batch_endpoints else {}
    return [*own, *ground.settings.network.outbound_rules]


def removals(ground: Ground, address: Mapping[str, pulumi.Input[str]], workspace: pulumi.Resource) -> None:
    """What takes a rule away that is no longer in the configuration; with the workspace they all go."""
    for name in rule_names(ground):
        opts = ground.opts(depends_on=[workspace], deleted_with=workspace)
        OutboundRuleRemoval(f"{ground.prefix}-{name}-rule", inputs={**address, "name": name}, opts=opts)


def _rules(ground: Ground, storage: pulumi.Input[str]) -> dict[str, Rule]:
    bulk = BULK_RULES if ground.settings.batch_endpoints else {}
    own = {name: _private(storage, part) for name, part in bulk.items()}
    given = {name: _rule(rule) for name, rule in ground.settings.network.outbound_rules.items()}
    return {**own, **given}


def _rule(rule: OutboundRuleSettings) -> Rule:
    if rule.private_endpoint:
        return _private(rule.private_endpoint, str(rule.subresource))
    if rule.service_tag:
        destination = ml.ServiceTagDestinationArgs(
            service_tag=rule.service_tag, protocol=_protocol(rule.protocol), port_ranges=rule.port_ranges
        )
        return ml.ServiceTagOutboundRuleArgs(type="ServiceTag", category="UserDefined", destination=destination)
    return ml.FqdnOutboundRuleArgs(type="FQDN", category="UserDefined", destination=rule.fqdn)


def _private(resource: pulumi.Input[str], subresource: str) -> ml.PrivateEndpointOutboundRuleArgs:
    destination = ml.PrivateEndpointDestinationArgs(
        service_resource_id=resource, subresource_target=subresource, spark_enabled=False
    )
    return ml.PrivateEndpointOutboundRuleArgs(type="PrivateEndpoint", category="UserDefined", destination=destination)


def _protocol(protocol: str) -> str:
    return "*" if protocol == "any" else protocol.upper()
