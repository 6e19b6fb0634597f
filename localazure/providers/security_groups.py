"""Network security groups and their rules. The rules are kept and checked; nothing goes by them."""

from __future__ import annotations

import ipaddress
import uuid
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import invalid
from localazure.arm.ids import GROUP
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.common import Composed, Json, defaults, envelope
from localazure.providers.long import BUSY, Long, busy
from localazure.providers.nested import Nested, etag
from localazure.providers.network_names import is_service_tag
from localazure.providers.networks import FAMILY, GROUP_TYPE, SUBNET_TYPE, check_network_name

SECURITY_GROUP = GROUP + "/providers/Microsoft.Network/networkSecurityGroups/{security}"
RULE = SECURITY_GROUP + "/securityRules/{rule}"
RULE_TYPE = GROUP_TYPE + "/securityRules"


class SecurityGroups:
    """`Microsoft.Network/networkSecurityGroups` and `…/securityRules`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._inner = Nested(cloud, "securityRules", RULE_TYPE, self._compose_rule, lambda rule: None)
        self._groups = Long(
            cloud, GROUP_TYPE, SECURITY_GROUP, self._compose, family=FAMILY, refuse_removal=self._refuse_used
        )
        self._rules = Long(
            cloud,
            RULE_TYPE,
            RULE,
            lambda _call, body, _existing, resource_id: Composed(self._inner.write(resource_id, body), {}),
            tracked=False,
            family=FAMILY,
            settled=lambda rule: self._inner.mirror(ids.parent(rule.id)),
            gone=self._forget,
        )

    def routes(self) -> list[Route]:
        kept = "kept and checked; nothing is let through or stopped by it"
        own = ("PUT", "DELETE")
        return [
            *self._groups.routes(),
            *(route for route in self._rules.routes() if route.method not in own),
            Route.of("PUT", RULE, self.put_rule, simplified=kept),
            Route.of("DELETE", RULE, self.delete_rule),
        ]

    def put_rule(self, call: Call) -> Answer:
        """PUT of a rule."""
        self._refuse_busy(call)
        answer = self._rules.create(call)
        self._inner.mirror(ids.parent(str(answer.body["id"])))
        return answer

    def delete_rule(self, call: Call) -> Answer:
        """DELETE of a rule."""
        self._refuse_busy(call)
        answer = self._rules.delete(call)
        self._inner.mirror(ids.parent(call.path))
        return answer

    def _refuse_busy(self, call: Call) -> None:
        group = self._cloud.store.get(ids.parent(call.path))
        for each in [group, *self._inner.of(group.id)] if group else []:
            if each.state in BUSY:
                raise busy(each)

    def _forget(self, rule: Resource) -> None:
        self._cloud.store.delete(rule.id)
        self._inner.mirror(ids.parent(rule.id))

    def _compose(self, _call: Call, body: Json, existing: Resource | None, resource_id: str) -> Composed:
        check_network_name(ids.name(resource_id), "network security group", 80)
        sent = read.mapping(body, "properties")
        before = existing.properties if existing else {}
        properties = defaults({name: value for name, value in sent.items() if name not in _COMPUTED}) | {
            "resourceGuid": before.get("resourceGuid") or str(uuid.uuid4()),
            "defaultSecurityRules": [_default_rule(resource_id, *each) for each in _DEFAULT_RULES],
            "provisioningState": "Succeeded",
        }
        if sent.get("securityRules") is not None:
            self._inner.replace(resource_id, sent)
        if using := subnets_of(self._cloud, resource_id):
            properties["subnets"] = [{"id": each} for each in using]
        properties["securityRules"] = self._inner.shown(resource_id)
        made = etag(existing, properties)
        return Composed(envelope(resource_id, GROUP_TYPE, body, etag=made, properties=properties), {})

    def _compose_rule(self, sent: Json, _existing: Resource | None, resource_id: str) -> Json:
        check_network_name(ids.name(resource_id), "security rule", 80)
        rule = defaults(sent, **_RULE_DEFAULTS)
        for name, values in _CHOICES.items():
            read.text(rule, name, "properties", required=True)
            rule[name] = read.choice(rule, name, values, None, "properties")
        if sent.get("priority") is None:
            raise invalid("'properties.priority' is required: 100 to 4096.", "ValidationError")
        rule["priority"] = read.integer(sent, "priority", 0, "properties", least=100, most=4096)
        for one, several in _SIDES:
            first, rest = read.text(rule, one, "properties"), read.texts(rule, several, "properties")
            if not first and not rest:
                raise invalid(
                    f"Security rule {ids.name(resource_id)} has neither '{one}' nor '{several}'; it must have one.",
                    "SecurityRuleParameterNotSpecified",
                )
            check = _check_port if one.endswith("PortRange") else _check_prefix
            for value in (*([first] if first else []), *rest):
                check(value)
        self._refuse_twin(rule, resource_id)
        return rule

    def _refuse_twin(self, rule: Json, resource_id: str) -> None:
        for other in self._inner.of(ids.parent(resource_id)):
            same = all(other.properties[name] == rule[name] for name in ("priority", "direction"))
            if same and not ids.same(other.id, resource_id):
                raise invalid(
                    f"Security rule {ids.name(resource_id)} conflicts with rule {other.name}. Rules cannot have the "
                    "same Priority and Direction. To modify the existing rule, use its name.",
                    "SecurityRuleConflict",
                )

    def _refuse_used(self, group: Resource) -> None:
        refuse_used(self._cloud, group)


def subnets_of(cloud: Cloud, group_id: str) -> list[str]:
    """The ids of the subnets that have a security group."""

    def group_of(subnet: Resource) -> str:
        return str((subnet.properties.get("networkSecurityGroup") or {}).get("id") or "/")

    return [each.id for each in cloud.store.of_type(SUBNET_TYPE) if ids.same(group_of(each), group_id)]


def refuse_used(cloud: Cloud, group: Resource, but: str = "") -> None:
    """Raises ArmError (400) where a subnet has a security group, other than one below the id `but`."""
    using = [each for each in subnets_of(cloud, group.id) if not (but and ids.is_below(each, but))]
    if using:
        raise invalid(
            f"Network security group {group.id} cannot be deleted because it is in use by the following resources: "
            f"{', '.join(using)}. In order to delete the Network security group, remove the association with the "
            "resource(s). To learn how to do this, see aka.ms/deletensg.",
            "InUseNetworkSecurityGroupCannotBeDeleted",
        )


def _check_port(value: str) -> None:
    first, dash, last = value.partition("-")
    numbers = [read.natural(each, 65536) for each in (first, last if dash else first)]
    if value != "*" and not 0 <= numbers[0] <= numbers[1] <= 65535:
        raise invalid(
            f"Security rule has invalid Port range. Value provided: {value[:80]}. Value should be an integer OR "
            "integer range with '-' delimiter. Valid range 0-65535.",
            "SecurityRuleInvalidPortRange",
        )


def _check_prefix(value: str) -> None:
    try:
        known = value == "*" or is_service_tag(value) or bool(ipaddress.ip_network(value))
    except ValueError:
        known = False
    if not known:
        raise invalid(
            f"Security rule has invalid Address prefix. Value provided: {value[:80]}.",
            "SecurityRuleInvalidAddressPrefix",
        )


_COMPUTED = frozenset({"defaultSecurityRules", "networkInterfaces", "subnets", "flowLogs"})
_CHOICES = {
    "protocol": ("Tcp", "Udp", "Icmp", "Esp", "Ah", "*"),
    "access": ("Allow", "Deny"),
    "direction": ("Inbound", "Outbound"),
}
_RULE_DEFAULTS: dict[str, Any] = {
    "sourcePortRanges": [],
    "destinationPortRanges": [],
    "sourceAddressPrefixes": [],
    "destinationAddressPrefixes": [],
}
_SIDES = (
    ("sourcePortRange", "sourcePortRanges"),
    ("destinationPortRange", "destinationPortRanges"),
    ("sourceAddressPrefix", "sourceAddressPrefixes"),
    ("destinationAddressPrefix", "destinationAddressPrefixes"),
)
# What every group has, whatever its own rules are: name, priority, access, direction, from, to.
_DEFAULT_RULES = (
    ("AllowVnetInBound", 65000, "Allow", "Inbound", "VirtualNetwork", "VirtualNetwork"),
    ("AllowAzureLoadBalancerInBound", 65001, "Allow", "Inbound", "AzureLoadBalancer", "*"),
    ("DenyAllInBound", 65500, "Deny", "Inbound", "*", "*"),
    ("AllowVnetOutBound", 65000, "Allow", "Outbound", "VirtualNetwork", "VirtualNetwork"),
    ("AllowInternetOutBound", 65001, "Allow", "Outbound", "*", "Internet"),
    ("DenyAllOutBound", 65500, "Deny", "Outbound", "*", "*"),
)


def _default_rule(
    resource_id: str, name: str, priority: int, access: str, direction: str, source: str, target: str
) -> Json:
    properties = {
        **_RULE_DEFAULTS,
        "protocol": "*",
        "sourcePortRange": "*",
        "destinationPortRange": "*",
        "sourceAddressPrefix": source,
        "destinationAddressPrefix": target,
        "access": access,
        "priority": priority,
        "direction": direction,
        "provisioningState": "Succeeded",
    }
    kind = GROUP_TYPE + "/defaultSecurityRules"
    return {"name": name, "id": f"{resource_id}/defaultSecurityRules/{name}", "type": kind, "properties": properties}
