"""Virtual networks and their subnets: address spaces, delegations, and who is in them."""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import Callable
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid, not_emulated
from localazure.arm.ids import GROUP
from localazure.arm.operations import Family
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.common import Composed, Json, defaults, envelope, poll_routes
from localazure.providers.long import BUSY, Long, busy
from localazure.providers.nested import Nested, etag
from localazure.providers.network_names import is_delegated_service

NETWORK = GROUP + "/providers/Microsoft.Network/virtualNetworks/{network}"
NETWORK_TYPE = "Microsoft.Network/virtualNetworks"
SUBNET = NETWORK + "/subnets/{subnet}"
SUBNET_TYPE = NETWORK_TYPE + "/subnets"
GROUP_TYPE = "Microsoft.Network/networkSecurityGroups"
ENDPOINT_TYPE = "Microsoft.Network/privateEndpoints"
INTERFACE_TYPE = "Microsoft.Network/networkInterfaces"
COMPUTE_TYPE = "Microsoft.MachineLearningServices/workspaces/computes"
FAMILY = Family(
    "Microsoft.Network", "", "operations", "operationResults", "InProgress", detailed=False, timed=False, timeout=""
)
# Multicast, loopback, link-local, and the address of Azure's own DNS and health probes.
_RESERVED_RANGES = tuple(
    ipaddress.IPv4Network(each) for each in ("224.0.0.0/4", "127.0.0.0/8", "169.254.0.0/16", "168.63.129.16/32")
)
# Azure keeps the first four addresses of a subnet and the last one.
RESERVED = 4

Net = ipaddress.IPv4Network | ipaddress.IPv6Network


class Networks:
    """`Microsoft.Network/virtualNetworks` and `…/subnets`."""

    def __init__(self, cloud: Cloud, gone: Callable[[Resource], None]) -> None:
        """`gone` is told of a network that goes, before it does."""
        self._cloud = cloud
        self._inner = Nested(cloud, "subnets", SUBNET_TYPE, self._compose_subnet, self._refuse_used)
        self._networks = Long(
            cloud,
            NETWORK_TYPE,
            NETWORK,
            self._compose,
            family=FAMILY,
            gone=gone,
            refuse_removal=self._refuse_occupied,
        )
        self._subnets = Long(
            cloud,
            SUBNET_TYPE,
            SUBNET,
            self._compose_alone,
            tracked=False,
            family=FAMILY,
            settled=self._show,
            gone=self._forget,
            refuse_removal=self._refuse_used,
        )

    def routes(self) -> list[Route]:
        own = ("PUT", "DELETE")
        return [
            *self._networks.routes(),
            *(route for route in self._subnets.routes() if route.method not in own),
            Route.of("PUT", SUBNET, self.put_subnet),
            Route.of("DELETE", SUBNET, self.delete_subnet),
            *poll_routes(self._cloud, FAMILY),
        ]

    def put_subnet(self, call: Call) -> Answer:
        """PUT of a subnet: one at a time in a network, as in Azure, whose clients try again."""
        self._refuse_busy(call)
        answer = self._subnets.create(call)
        self._inner.mirror(ids.parent(str(answer.body["id"])))
        return answer

    def delete_subnet(self, call: Call) -> Answer:
        """DELETE of a subnet: refused while something is in it."""
        self._refuse_busy(call)
        answer = self._subnets.delete(call)
        self._inner.mirror(ids.parent(call.path))
        return answer

    def _refuse_busy(self, call: Call) -> None:
        network = self._cloud.store.get(ids.parent(call.path))
        held = [network, *self._inner.of(network.id)] if network else []
        for each in held:
            if each.state in BUSY:
                raise busy(each)

    def _show(self, subnet: Resource) -> None:
        self._inner.mirror(ids.parent(subnet.id))

    def _forget(self, subnet: Resource) -> None:
        self._cloud.store.delete(subnet.id)
        self._inner.mirror(ids.parent(subnet.id))

    # Networks ------------------------------------------------------------------------------------------------

    def _compose(self, _call: Call, body: Json, existing: Resource | None, resource_id: str) -> Composed:
        check_network_name(ids.name(resource_id), "virtual network", 64)
        sent = read.mapping(body, "properties")
        space = read.mapping(sent, "addressSpace", "properties", required=True)
        prefixes = _prefixes(space.get("addressPrefixes"), "properties.addressSpace.addressPrefixes", resource_id)
        _refuse_reserved(prefixes, resource_id)
        if read.sequence(sent, "virtualNetworkPeerings", "properties"):
            raise not_emulated("peerings of virtual networks")
        before = existing.properties if existing else {}
        properties = defaults(sent, enableDdosProtection=False, privateEndpointVNetPolicies="Disabled") | {
            "addressSpace": {**space, "addressPrefixes": [str(each) for each in prefixes]},
            "resourceGuid": before.get("resourceGuid") or str(uuid.uuid4()),
            "virtualNetworkPeerings": [],
            "provisioningState": "Succeeded",
        }
        document = envelope(resource_id, NETWORK_TYPE, body, properties=properties)
        # The subnets look at their network's address space.
        self._cloud.store.put(Resource(resource_id, NETWORK_TYPE, document))
        # A PUT that does not speak of subnets keeps them (Azure does since 2024); one that says [] removes them.
        if sent.get("subnets") is not None:
            self._inner.replace(resource_id, sent)
        for subnet in self._inner.of(resource_id):
            self._check_place(subnet.id, _subnet_prefixes(subnet.properties), resource_id)
        properties["subnets"] = self._inner.shown(resource_id)
        return Composed({**document, "etag": etag(existing, properties)}, {})

    # Subnets -------------------------------------------------------------------------------------------------

    def _compose_alone(self, _call: Call, body: Json, _existing: Resource | None, resource_id: str) -> Composed:
        return Composed(self._inner.write(resource_id, body), {})

    def _compose_subnet(self, sent: Json, existing: Resource | None, resource_id: str) -> Json:
        check_network_name(ids.name(resource_id), "subnet", 80)
        prefixes = _prefixes(_sent_prefixes(sent), "properties.addressPrefix", resource_id)
        _check_size(prefixes, resource_id)
        self._check_place(resource_id, prefixes, ids.parent(resource_id))
        before = _subnet_prefixes(existing.properties) if existing else prefixes
        if before != prefixes and existing is not None and users(self._cloud, existing.id):
            raise _in_use(existing, users(self._cloud, existing.id), "InUsePrefixCannotBeDeleted", "changed")
        properties = {name: value for name, value in sent.items() if name not in _COMPUTED}
        for name, values in _POLICIES.items():
            properties[name] = read.choice(sent, name, values, values[0], "properties")
        properties["serviceEndpoints"] = self._services(sent, resource_id)
        delegations = read.objects(sent, "delegations", "properties")
        properties["delegations"] = [_delegation(each, where, resource_id) for each, where in delegations]
        if existing is not None:
            self._refuse_other_delegations(existing, properties["delegations"])
        read.flag(sent, "defaultOutboundAccess", True, "properties")
        for name in ("networkSecurityGroup", "natGateway", "routeTable"):
            self._check_reference(read.mapping(sent, name, "properties"), name, resource_id)
        return {**properties, **occupants(self._cloud, resource_id)}

    def _refuse_other_delegations(self, subnet: Resource, wanted: list[Json]) -> None:
        before, after = (
            [each["properties"]["serviceName"] for each in found]
            for found in (subnet.properties.get("delegations") or [], wanted)
        )
        found = users(self._cloud, subnet.id)
        if found and [each.lower() for each in before] != [each.lower() for each in after]:
            raise invalid(
                f"Delegations of subnet {subnet.id} cannot be changed from [{', '.join(before)}] to "
                f"[{', '.join(after)}] because it is being used by the resource {found[0]}.",
                "SubnetDelegationsCannotChangeWhenSubnetUsedByResource",
            )

    def _check_place(self, resource_id: str, prefixes: list[Net], network_id: str) -> None:
        """A subnet lies in its network, and over no other. Raises ArmError (400)."""
        network = self._cloud.store.get(network_id)
        assert network is not None, network_id
        space = [ipaddress.ip_network(each) for each in network.properties["addressSpace"]["addressPrefixes"]]
        name = ids.name(resource_id)
        for prefix in prefixes:
            if not any(_holds(outer, prefix) for outer in space):
                raise invalid(
                    f"Subnet '{name}' is not valid because its IP address range is outside the IP address range of "
                    f"virtual network '{network.name}'.",
                    "NetcfgSubnetRangeOutsideVnet",
                )
            for other in self._inner.of(network_id):
                if not ids.same(other.id, resource_id) and any(
                    _overlap(prefix, each) for each in _subnet_prefixes(other.properties)
                ):
                    raise invalid(
                        f"Subnet '{name}' is not valid because its IP address range overlaps with that of an existing "
                        f"subnet in virtual network '{network.name}'.",
                        "NetcfgSubnetRangesOverlap",
                    )

    def _services(self, sent: Json, resource_id: str) -> list[Json]:
        network = self._cloud.store.get(ids.parent(resource_id))
        region = str(network.document["location"]) if network else ""
        found = []
        for each, where in read.objects(sent, "serviceEndpoints", "properties"):
            service = read.text(each, "service", where, required=True)
            # Storage is reached in the network's own region, all others everywhere.
            everywhere = [region] if service == "Microsoft.Storage" else ["*"]
            locations = read.texts(each, "locations", where) or everywhere
            found.append({**each, "locations": locations, "provisioningState": "Succeeded"})
        return found

    def _check_reference(self, reference: Json, name: str, resource_id: str) -> None:
        wanted = read.text(reference, "id", f"properties.{name}")
        if not wanted:
            return
        if name != "networkSecurityGroup":
            raise not_emulated(f"a subnet's {name}")
        found = self._cloud.store.get(wanted)
        network = self._cloud.store.get(ids.parent(resource_id))
        here = network is not None and found is not None and found.document["location"] == network.document["location"]
        if found is None or found.type.lower() != GROUP_TYPE.lower() or not here:
            raise no_reference(wanted, resource_id)

    def _refuse_occupied(self, network: Resource) -> None:
        for subnet in self._inner.of(network.id):
            self._refuse_used(subnet)

    def _refuse_used(self, subnet: Resource) -> None:
        refuse_used(self._cloud, subnet)


def refuse_used(cloud: Cloud, subnet: Resource, but: str = "") -> None:
    """Raises ArmError (400) where something is in a subnet, other than what is below the id `but`."""
    found = [each for each in users(cloud, subnet.id) if not (but and ids.is_below(each, but))]
    if found:
        raise _in_use(subnet, found, "InUseSubnetCannotBeDeleted", "deleted")


def users(cloud: Cloud, subnet_id: str) -> list[str]:
    """The ids of what is in a subnet: the addresses of private endpoints, and compute clusters."""
    held = occupants(cloud, subnet_id)
    found = [each["id"] for each in held.get("ipConfigurations", [])]
    for compute in cloud.store.of_type(COMPUTE_TYPE):
        inner = compute.properties.get("properties") or {}
        if ids.same(str((inner.get("subnet") or {}).get("id") or "/"), subnet_id):
            found.append(compute.id)
    return found


def occupants(cloud: Cloud, subnet_id: str) -> Json:
    """What a subnet shows of the private endpoints in it; nothing where there is none."""

    def within(kind: str) -> list[Resource]:
        return [
            each for each in cloud.store.of_type(kind) if ids.same(str(each.hidden.get("subnet") or "/"), subnet_id)
        ]

    configurations = [
        {"id": config["id"]} for each in within(INTERFACE_TYPE) for config in each.properties["ipConfigurations"]
    ]
    endpoints = [{"id": each.id} for each in within(ENDPOINT_TYPE)]
    return {"ipConfigurations": configurations, "privateEndpoints": endpoints} if configurations else {}


def show_occupants(cloud: Cloud, subnet_id: str) -> None:
    """Has a subnet and its network show who is in it now."""
    subnet = cloud.store.get(subnet_id)
    if subnet is None:
        return
    kept = {name: value for name, value in subnet.properties.items() if name not in _OCCUPANTS}
    document = {**subnet.document, "properties": {**kept, **occupants(cloud, subnet.id)}}
    cloud.store.put(Resource(subnet.id, SUBNET_TYPE, document, subnet.hidden, subnet.created))
    network = cloud.store.get(ids.parent(subnet.id))
    if network is not None:
        shown = [each.document for each in cloud.store.below(network.id, SUBNET_TYPE)]
        cloud.store.put(network.with_properties(subnets=shown))


def free_address(cloud: Cloud, subnet: Resource, taken: set[str]) -> str:
    """The first address of a subnet that nobody has. Raises ArmError (400) where there is none."""
    held = _held_addresses(cloud, subnet)
    for prefix in _subnet_prefixes(subnet.properties):
        for offset in range(RESERVED, prefix.num_addresses - 1):
            address = str(prefix[offset])
            if address not in held | taken:
                return address
    raise ArmError(
        400,
        "SubnetIsFull",
        f"Subnet {subnet.name} with address prefix {_subnet_prefixes(subnet.properties)[0]} does not have enough "
        "capacity for 1 IP addresses.",
    )


def check_address(cloud: Cloud, subnet: Resource, text: str) -> None:
    """Raises ArmError (400) for an address that is not one of a subnet's, is Azure's own there, or is somebody's."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise invalid(f"'{text[:80]}' is no IP address.", "InvalidIPAddressFormat") from None
    home = next((each for each in _subnet_prefixes(subnet.properties) if address in each), None)
    if home is None:
        prefix = _subnet_prefixes(subnet.properties)[0]
        raise invalid(
            f"Private static IP address {text} does not belong to the range of subnet prefix {prefix}.",
            "PrivateIPAddressNotInSubnet",
        )
    if int(address) - int(home.network_address) < RESERVED or address == home.broadcast_address:
        raise invalid(
            f"Private static IP address {text} falls within reserved IP addresses range of subnet prefix {home}.",
            "PrivateIPAddressInReservedRange",
        )
    if text in _held_addresses(cloud, subnet):
        raise address_taken(text, subnet)


def address_taken(address: str, subnet: Resource) -> ArmError:
    """400 for an address that somebody has."""
    return invalid(
        f"The private IP address {address} of subnet {subnet.name} is already allocated to another resource.",
        "PrivateIPAddressIsAllocated",
    )


def _held_addresses(cloud: Cloud, subnet: Resource) -> set[str]:
    return {
        config["properties"]["privateIPAddress"]
        for each in cloud.store.of_type(INTERFACE_TYPE)
        for config in each.properties["ipConfigurations"]
        if ids.same(str(each.hidden.get("subnet") or "/"), subnet.id)
    }


def find_subnet(cloud: Cloud, reference: str | None, asking: str) -> Resource:
    """The subnet of an id. Raises ArmError (400) where there is none."""
    found = cloud.store.get(reference or "/")
    if found is None or found.type.lower() != SUBNET_TYPE.lower():
        raise no_reference(str(reference), asking)
    return found


def no_reference(wanted: str, asking: str) -> ArmError:
    """400 for a reference to what is not there, or not in the same region."""
    return invalid(
        f"Resource {wanted} referenced by resource {asking} was not found. Please make sure that the referenced "
        "resource exists, and that both resources are in the same region.",
        "InvalidResourceReference",
    )


def check_network_name(name: str, what: str, longest: int) -> None:
    """Raises ArmError (400) for a name that `Microsoft.Network` refuses."""
    if len(name) > longest or not re.fullmatch(r"[A-Za-z0-9]([\w.-]*\w)?", name, re.ASCII):
        raise invalid(
            f"Resource name {name} is invalid. The name of a {what} can be up to {longest} characters long. It must "
            "begin with a word character, and it must end with a word character or with '_'. The name may contain word "
            "characters or '.', '-', '_'.",
            "InvalidResourceName",
        )


_OCCUPANTS = ("ipConfigurations", "privateEndpoints")
_COMPUTED = frozenset(
    {*_OCCUPANTS, "provisioningState", "purpose", "resourceNavigationLinks", "serviceAssociationLinks"}
)
_POLICIES = {
    "privateEndpointNetworkPolicies": ("Disabled", "Enabled", "NetworkSecurityGroupEnabled", "RouteTableEnabled"),
    "privateLinkServiceNetworkPolicies": ("Enabled", "Disabled"),
}


def _delegation(value: Json, where: str, resource_id: str) -> Json:
    name = read.text(value, "name", where, required=True)
    own = read.mapping(value, "properties", where)
    service = read.text(own, "serviceName", f"{where}.properties", required=True)
    if not is_delegated_service(str(service)):
        raise invalid(
            f"Invalid service name {str(service)[:80]} provided for delegation {name} of subnet {resource_id}.",
            "InvalidServiceNameOnDelegation",
        )
    actions = read.texts(own, "actions", f"{where}.properties") or ["Microsoft.Network/virtualNetworks/subnets/action"]
    properties = {"serviceName": service, "actions": actions, "provisioningState": "Succeeded"}
    kind = SUBNET_TYPE + "/delegations"
    return {"name": name, "id": f"{resource_id}/delegations/{name}", "type": kind, "properties": properties}


def _sent_prefixes(sent: Json) -> list[Any]:
    several = read.sequence(sent, "addressPrefixes", "properties")
    one = read.text(sent, "addressPrefix", "properties")
    return several or ([one] if one else [])


def _subnet_prefixes(properties: Json) -> list[Net]:
    return [ipaddress.ip_network(each) for each in _sent_prefixes(properties)]


def _prefixes(sent: Any, where: str, resource_id: str) -> list[Net]:
    if not isinstance(sent, list) or not sent:
        raise invalid(f"'{where}' is required: a list of at least one prefix, such as 10.0.0.0/16.", "ValidationError")
    return [_prefix(each, resource_id) for each in sent]


def _refuse_reserved(prefixes: list[Net], resource_id: str) -> None:
    """Raises ArmError (400).

    Source: https://learn.microsoft.com/azure/virtual-network/virtual-networks-faq.
    """
    for prefix in prefixes:
        if any(prefix.version == each.version and prefix.overlaps(each) for each in _RESERVED_RANGES):
            raise invalid(
                f"The address prefix {prefix} of resource {resource_id} is not for virtual networks: nothing of "
                f"{', '.join(map(str, _RESERVED_RANGES))} is.",
                "AddressPrefixNotAllowed",
            )


def _check_size(prefixes: list[Net], resource_id: str) -> None:
    """A subnet is a /29 or larger; one of IPv6 addresses a /64. Raises ArmError (400).

    Source: https://learn.microsoft.com/azure/virtual-network/virtual-networks-faq.
    """
    for prefix in prefixes:
        if prefix.prefixlen > 29 if prefix.version == 4 else prefix.prefixlen != 64:
            raise invalid(
                f"Subnet '{ids.name(resource_id)}' is not valid because its prefix {prefix} is not one that a subnet "
                "can have: /29 is the smallest of IPv4, and /64 the only one of IPv6.",
                "NetcfgInvalidSubnet",
            )


def _prefix(text: Any, resource_id: str) -> Net:
    try:
        return ipaddress.ip_network(text) if isinstance(text, str) and "/" in text else ipaddress.ip_network("")
    except ValueError:
        raise invalid(
            f"The address prefix {str(text)[:80]} for resource {resource_id} has an invalid CIDR notation. It is the "
            "first address of the range and the length of the prefix, such as 10.0.1.0/24.",
            "InvalidCIDRNotation",
        ) from None


def _holds(outer: Net, inner: Net) -> bool:
    return outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def _overlap(one: Net, other: Net) -> bool:
    return one.version == other.version and one.overlaps(other)


def _in_use(subnet: Resource, found: list[str], code: str, what: str) -> ArmError:
    return invalid(
        f"Subnet {subnet.name} is in use by {', '.join(found)} and cannot be {what}. In order to delete the subnet, "
        "delete all the resources within the subnet. See aka.ms/deletesubnet.",
        code,
    )
