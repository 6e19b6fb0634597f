"""Firewalls of resources: the addresses and the subnets that they let in."""

from __future__ import annotations

import ipaddress
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.common import Json
from localazure.providers.networks import SUBNET_TYPE


def address_range(text: Any) -> ipaddress.IPv4Network | None:
    """The addresses that a rule names, by one of them or by a prefix; None for any other text."""
    try:
        return ipaddress.IPv4Network(text, strict=False) if isinstance(text, str) else None
    except ValueError:
        return None


def ranges(holder: Json, where: str) -> list[tuple[str, ipaddress.IPv4Network | None]]:
    """The `ipRules` of a firewall, as they were sent and as they are read."""
    values = [read.text(each, "value", at, required=True) or "" for each, at in read.objects(holder, "ipRules", where)]
    return [(value, address_range(value)) for value in values]


def require_ranges(holder: Json, where: str) -> None:
    """Raises ArmError (400) for a rule that names no address."""
    for value, net in ranges(holder, where):
        if net is None:
            raise invalid(
                f"'{where}.ipRules' has '{value[:80]}', which is neither an IPv4 address nor a prefix of them such as "
                "203.0.113.0/24.",
                "ValidationError",
            )


def check_subnets(cloud: Cloud, acls: Json, service: str, where: str) -> None:
    """The subnets of a firewall are there, and lead to the service by its endpoint. Raises ArmError (400)."""
    missing: list[str] = []
    for rule, at in read.objects(acls, "virtualNetworkRules", where):
        wanted = read.text(rule, "id", at, required=True) or ""
        subnet = find_subnet(cloud, wanted)
        if subnet is None:
            raise _invalid(f"SubnetsNotFound:The subnet {wanted} does not exist")
        may_miss = read.flag(rule, "ignoreMissingVnetServiceEndpoint", False, at)
        if not may_miss and not has_service(subnet, service):
            missing.append(subnet.id)
    if missing:
        network = ids.parent(missing[0])
        raise _invalid(
            f"SubnetsHaveNoServiceEndpointsConfigured:Subnets {', '.join(map(ids.name, missing))} of virtual network "
            f"{network} do not have ServiceEndpoints for {service} resources configured. Add {service} to subnet's "
            f"ServiceEndpoints collection before trying to ACL {service} resources to these subnets."
        )


def find_subnet(cloud: Cloud, subnet_id: Any) -> Resource | None:
    """The subnet of an id, if there is one."""
    found = cloud.store.get(subnet_id) if isinstance(subnet_id, str) and subnet_id else None
    return found if found is not None and found.type.lower() == SUBNET_TYPE.lower() else None


def has_service(subnet: Resource, service: str) -> bool:
    """Whether a subnet leads to a service by a service endpoint, in its own region or in all (`….Global`)."""
    held = [str(each.get("service")).lower() for each in subnet.properties.get("serviceEndpoints") or ()]
    return service.lower() in held or f"{service}.Global".lower() in held


def _invalid(reason: str) -> ArmError:
    return invalid(f"Validation of network acls failure: {reason}.", "NetworkAclsValidationFailure")
