"""Private DNS zones, their links to virtual networks, and their records. Nothing resolves names by them."""

from __future__ import annotations

import ipaddress
import re
import uuid
from dataclasses import replace

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid, parent_not_found
from localazure.arm.ids import GROUP, Template
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.common import (
    Composed,
    Json,
    envelope,
    listing,
    require,
    require_group,
)
from localazure.providers.long import Long
from localazure.providers.networks import FAMILY, NETWORK_TYPE, no_reference

ZONE = GROUP + "/providers/Microsoft.Network/privateDnsZones/{zone}"
ZONE_TYPE = "Microsoft.Network/privateDnsZones"
LINK = ZONE + "/virtualNetworkLinks/{link}"
LINK_TYPE = ZONE_TYPE + "/virtualNetworkLinks"
RECORD = ZONE + "/A/{record}"
RECORD_TYPE = ZONE_TYPE + "/A"
_LIMITS = {
    "maxNumberOfRecordSets": 25000,
    "maxNumberOfVirtualNetworkLinks": 1000,
    "maxNumberOfVirtualNetworkLinksWithRegistration": 100,
}


class PrivateDns:
    """`Microsoft.Network/privateDnsZones` with `virtualNetworkLinks` and A records."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        count = lambda row: count_in(cloud, ids.parent(row.id))  # noqa: E731
        self._zones = _Everywhere(
            cloud, ZONE_TYPE, ZONE, self._compose_zone, family=FAMILY, refuse_removal=self._refuse_linked
        )
        self._links = _Everywhere(
            cloud, LINK_TYPE, LINK, self._compose_link, family=FAMILY, settled=count, gone=self._uncount
        )

    def routes(self) -> list[Route]:
        unasked = "kept; nothing resolves names by it"
        others = "A records only; others answer 501"
        return [
            *(_noted(route, unasked) for route in self._zones.routes()),
            *(_noted(route, unasked) for route in self._links.routes()),
            Route.of("PUT", RECORD, self.put_record, simplified=unasked),
            Route.of("GET", RECORD, lambda call: Answer(200, require(self._cloud, call).document)),
            Route.of("DELETE", RECORD, self.delete_record),
            Route.of("GET", RECORD.rpartition("/")[0], self.list_records),
            Route.of("GET", ZONE + "/ALL", self.list_all_records, simplified=others),
        ]

    # Zones ---------------------------------------------------------------------------------------------------

    def _compose_zone(self, _call: Call, body: Json, existing: Resource | None, resource_id: str) -> Composed:
        name = ids.name(resource_id)
        if not _ZONE_NAME.fullmatch(name):
            raise invalid(
                f"The domain name '{name}' is invalid: a zone's name has 2 to 34 labels of up to 63 letters, digits, "
                "hyphens and underscores, separated by dots.",
                "BadRequest",
            )
        if name.lower() in _RESERVED:
            raise invalid(
                f"The domain name '{name}' is reserved, and no private zone can have it: it would disrupt services.",
                "BadRequest",
            )
        before = existing.properties if existing else {}
        properties = {
            **_LIMITS,
            **_counts(self._cloud, resource_id),
            "internalId": before.get("internalId") or uuid.uuid4().hex,
            "provisioningState": "Succeeded",
        }
        same = existing is not None and existing.properties == properties
        etag = existing.document["etag"] if existing and same else str(uuid.uuid4())
        return Composed(envelope(resource_id, ZONE_TYPE, body, etag=etag, properties=properties), {})

    def _refuse_linked(self, zone: Resource) -> None:
        if self._cloud.store.below(zone.id, LINK_TYPE):
            raise ArmError(
                409,
                "CannotDeleteResource",
                "Can not delete resource before nested resources are deleted: the private DNS zone "
                f"'{zone.name}' has virtual network links.",
            )

    # Links ---------------------------------------------------------------------------------------------------

    def _compose_link(self, _call: Call, body: Json, existing: Resource | None, resource_id: str) -> Composed:
        sent = read.mapping(body, "properties", required=True)
        wanted = read.text(read.mapping(sent, "virtualNetwork", "properties", required=True), "id", "virtualNetwork")
        network = self._cloud.store.get(wanted or "/")
        if network is None or network.type.lower() != NETWORK_TYPE.lower():
            raise no_reference(str(wanted), resource_id)
        if existing is not None and not ids.same(existing.properties["virtualNetwork"]["id"], network.id):
            raise invalid("The virtual network of a link cannot be changed.", "BadRequest")
        self._refuse_twin(resource_id, network)
        registers = read.flag(sent, "registrationEnabled", False, "properties")
        if registers:
            self._refuse_second_registration(resource_id, network)
        properties = {
            "virtualNetwork": {"id": wanted},
            "registrationEnabled": registers,
            "virtualNetworkLinkState": "Completed",
            "provisioningState": "Succeeded",
        }
        if policy := read.choice(sent, "resolutionPolicy", ("Default", "NxDomainRedirect"), None, "properties"):
            properties["resolutionPolicy"] = policy
        same = existing is not None and existing.properties == properties
        etag = existing.document["etag"] if existing and same else f'"{uuid.uuid4()}"'
        return Composed(envelope(resource_id, LINK_TYPE, body, etag=etag, properties=properties), {})

    def _refuse_twin(self, resource_id: str, network: Resource) -> None:
        """A network is linked to a zone once, and to one zone of a name. Raises ArmError (400, 409)."""
        zone = ids.parent(resource_id)
        for other in self._cloud.store.of_type(LINK_TYPE):
            there = ids.parent(other.id)
            if ids.same(other.id, resource_id) or not ids.same(other.properties["virtualNetwork"]["id"], network.id):
                continue
            if ids.same(there, zone):
                raise ArmError(
                    409, "Conflict", f"The virtual network '{network.id}' is linked to this zone by '{other.name}'."
                )
            if ids.name(there).lower() == ids.name(zone).lower():
                raise invalid(
                    "A virtual network cannot be linked to multiple zones with overlapping namespaces. You tried to "
                    f"link virtual network with '{ids.name(zone)}' and '{ids.name(there)}' zones.",
                    "BadRequest",
                )

    def _refuse_second_registration(self, resource_id: str, network: Resource) -> None:
        for other in _links_of(self._cloud, network):
            if other.properties["registrationEnabled"] and not ids.same(other.id, resource_id):
                raise ArmError(
                    409,
                    "Conflict",
                    "A virtual network can only be linked to 1 Private DNS zone(s) with auto-registration enabled; "
                    f"conflicting Private DNS zone is '{ids.parent(other.id)}'.",
                )

    def _uncount(self, link: Resource) -> None:
        self._cloud.store.delete(link.id)
        count_in(self._cloud, ids.parent(link.id))

    # Records -------------------------------------------------------------------------------------------------

    def put_record(self, call: Call) -> Answer:
        """PUT of an A record."""
        zone = self._zone(call)
        sent = read.mapping(call.json(), "properties", required=True)
        addresses = [
            read.text(each, "ipv4Address", where, required=True) or ""
            for each, where in read.objects(sent, "aRecords", "properties")
        ]
        ttl = read.integer(sent, "ttl", 0, "properties", least=1, most=2147483647)
        if not ttl or not addresses:
            raise invalid("'properties.ttl' and 'properties.aRecords' are required.", "BadRequest")
        _check_addresses(addresses)
        if not _RECORD_NAME.fullmatch(call.params["record"]):
            raise invalid(f"The record set name '{call.params['record']}' is invalid.", "BadRequest")
        fresh = self._cloud.store.get(call.path) is None
        document = write_record(self._cloud, zone, call.params["record"], addresses, ttl)
        return Answer(201 if fresh else 200, document)

    def delete_record(self, call: Call) -> Answer:
        """DELETE: 204 where there was nothing."""
        zone = self._zone(call)
        found = self._cloud.store.get(call.path)
        if found is None:
            return Answer(204)
        drop_record(self._cloud, zone.id, found.name)
        return Answer(200)

    def list_records(self, call: Call) -> Answer:
        """The A records of a zone."""
        return listing(self._cloud.store.below(self._zone(call).id, RECORD_TYPE))

    def list_all_records(self, call: Call) -> Answer:
        """All records of a zone."""
        return self.list_records(call)

    def _zone(self, call: Call) -> Resource:
        require_group(self._cloud, call)
        path = Template(ZONE).fill(dict(call.params))
        found = self._cloud.store.get(path)
        if found is None:
            raise parent_not_found(path)
        return found


class _Everywhere(Long):
    """What has no region, but is `global`."""

    def _check_location(self, body: Json, existing: Resource | None) -> None:
        sent = read.text(body, "location")
        if not sent:
            raise ArmError(400, "LocationRequired", "The location property is required for this definition.")
        if sent.lower() != "global":
            raise invalid(
                f"The provided location '{sent}' is not available for resource type '{self.type}'. List of available "
                "regions for the resource type is 'global'.",
                "LocationNotAvailableForResourceType",
            )


def write_record(cloud: Cloud, zone: Resource, name: str, addresses: list[str], ttl: int) -> Json:
    """Makes an A record say these addresses; its document."""
    resource_id = f"{zone.id}/A/{name}"
    found = cloud.store.get(resource_id)
    resource_id = found.id if found else resource_id
    properties = {
        "fqdn": f"{name}.{zone.name}.",
        "ttl": ttl,
        "aRecords": [{"ipv4Address": each} for each in addresses],
        "isAutoRegistered": False,
    }
    known = {"id": resource_id, "name": ids.name(resource_id), "type": RECORD_TYPE, "etag": str(uuid.uuid4())}
    document: Json = {**known, "properties": properties}
    cloud.store.put(Resource(resource_id, RECORD_TYPE, document))
    count_in(cloud, zone.id)
    return document


def unlink(cloud: Cloud, network: Resource) -> None:
    """Takes away the links of a network that goes, as Azure does.

    Source: https://learn.microsoft.com/azure/dns/dns-faq-private.
    """
    for link in _links_of(cloud, network):
        cloud.store.delete(link.id)
        count_in(cloud, ids.parent(link.id))


def _links_of(cloud: Cloud, network: Resource) -> list[Resource]:
    links = cloud.store.of_type(LINK_TYPE)
    return [each for each in links if ids.same(each.properties["virtualNetwork"]["id"], network.id)]


def _check_addresses(addresses: list[str]) -> None:
    """Raises ArmError (400)."""
    if len(addresses) > _MOST_RECORDS:
        raise invalid(
            f"'properties.aRecords' has {len(addresses)} records; a record set has up to {_MOST_RECORDS}.", "BadRequest"
        )
    for address in addresses:
        try:
            ipaddress.IPv4Address(address)
        except ValueError:
            raise invalid(f"'{address[:80]}' in 'properties.aRecords' is no IPv4 address.", "BadRequest") from None


def drop_record(cloud: Cloud, zone_id: str, name: str) -> None:
    """Removes an A record."""
    cloud.store.delete(f"{zone_id}/A/{name}")
    count_in(cloud, zone_id)


def count_in(cloud: Cloud, zone_id: str) -> None:
    """Has a zone say how much is in it."""
    if zone := cloud.store.get(zone_id):
        cloud.store.put(zone.with_properties(**_counts(cloud, zone.id)))


def _counts(cloud: Cloud, zone_id: str) -> dict[str, int]:
    links = cloud.store.below(zone_id, LINK_TYPE)
    return {
        # Its SOA record is there from the start.
        "numberOfRecordSets": 1 + len(cloud.store.below(zone_id, RECORD_TYPE)),
        "numberOfVirtualNetworkLinks": len(links),
        "numberOfVirtualNetworkLinksWithRegistration": sum(each.properties["registrationEnabled"] for each in links),
    }


_MOST_RECORDS = 20
# https://learn.microsoft.com/azure/dns/private-dns-privatednszone; their subdomains are free.
_RESERVED = frozenset(
    {
        "azclient.ms",
        "azure.com",
        "cloudapp.net",
        "core.windows.net",
        "microsoft.com",
        "msidentity.com",
        "trafficmanager.net",
        "windows.net",
    }
)
_ZONE_NAME = re.compile(r"(?=.{1,253}$)[a-zA-Z0-9_-]{1,63}(\.[a-zA-Z0-9_-]{1,63}){1,33}")

_RECORD_NAME = re.compile(r"@|[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")


def _noted(route: Route, note: str) -> Route:
    return replace(route, simplified=note) if route.method == "PUT" else route
