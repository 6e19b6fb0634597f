"""Private endpoints with their interfaces and DNS zone groups, and the connections that targets have from them."""

from __future__ import annotations

import uuid

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import invalid, not_emulated, parent_not_found, resource_not_found
from localazure.arm.ids import GROUP, SUBSCRIPTION
from localazure.arm.operations import FAILED
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource
from localazure.providers import private_dns
from localazure.providers.cloud import Cloud
from localazure.providers.common import (
    Composed,
    Json,
    envelope,
    listing,
    require,
    require_group,
    require_subscription,
)
from localazure.providers.locks import refuse_locked
from localazure.providers.long import Long
from localazure.providers.nested import etag
from localazure.providers.networks import (
    ENDPOINT_TYPE,
    FAMILY,
    INTERFACE_TYPE,
    address_taken,
    check_address,
    check_network_name,
    find_subnet,
    free_address,
    no_reference,
    show_occupants,
)
from localazure.providers.private_links import (
    AUTOMATIC,
    MANUAL,
    TARGETS,
    Member,
    connection_type,
    connections,
    groups,
    show_connections,
    tell_endpoint,
)

ENDPOINT = GROUP + "/providers/Microsoft.Network/privateEndpoints/{endpoint}"
ZONE_GROUP = ENDPOINT + "/privateDnsZoneGroups/{zones}"
ZONE_GROUP_TYPE = ENDPOINT_TYPE + "/privateDnsZoneGroups"
INTERFACE = GROUP + "/providers/Microsoft.Network/networkInterfaces/{interface}"
_STATES = ("Pending", "Approved", "Rejected", "Disconnected")
_RECORD_TTL = 10


class PrivateEndpoints:
    """`Microsoft.Network/privateEndpoints`, and `privateEndpointConnections` of what they lead to."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._endpoints = Long(
            cloud,
            ENDPOINT_TYPE,
            ENDPOINT,
            self._compose,
            family=FAMILY,
            settled=self._connect,
            gone=self.take_down,
            refuse_removal=self.refuse_removal,
        )
        self._groups = Long(
            cloud,
            ZONE_GROUP_TYPE,
            ZONE_GROUP,
            self._compose_group,
            tracked=False,
            family=FAMILY,
            settled=self._publish,
            gone=self._withdraw,
        )

    def routes(self) -> list[Route]:
        interfaces = INTERFACE.rpartition("/")[0]
        of_endpoints = "those of private endpoints"
        return [
            *self._endpoints.routes(),
            *self._groups.routes(),
            Route.of("GET", INTERFACE, lambda call: Answer(200, require(self._cloud, call).document)),
            Route.of("GET", interfaces, self.list_interfaces, simplified=of_endpoints),
            Route.of("GET", interfaces.replace(GROUP, SUBSCRIPTION), self.list_all_interfaces, simplified=of_endpoints),
            *(route for kind in TARGETS for route in self._target_routes(kind)),
        ]

    # Endpoints -----------------------------------------------------------------------------------------------

    def _compose(self, _call: Call, body: Json, existing: Resource | None, resource_id: str) -> Composed:
        check_network_name(ids.name(resource_id), "private endpoint", 80)
        sent = read.mapping(body, "properties", required=True)
        wanted = read.text(read.mapping(sent, "subnet", "properties", required=True), "id", "properties.subnet")
        subnet = find_subnet(self._cloud, wanted, resource_id)
        self._check_region(body, subnet, resource_id)
        if existing is not None and not ids.same(existing.hidden["subnet"], subnet.id):
            raise invalid(
                f"The subnet of private endpoint {existing.name} cannot be changed: create the endpoint again.",
                "PrivateEndpointSubnetCannotBeChanged",
            )
        if existing is None and subnet.properties.get("delegations"):
            raise invalid(
                f"Private endpoint {resource_id} cannot be created as subnet {subnet.id} is delegated.",
                "PrivateEndpointCreationNotAllowedAsSubnetIsDelegated",
            )
        name, connection = _connection(sent)
        target, members = self._target(connection, resource_id)
        if existing is not None:
            _refuse_turn(existing, target, connection, sent)
        interface = (
            existing.hidden["interface"] if existing else self._interface(body, sent, subnet, resource_id, members)
        )
        hidden = {"subnet": subnet.id, "interface": interface, "target": target.id, "manual": name == MANUAL}
        shown = _shown(connection, resource_id, name, _state_of(existing, name))
        properties = self._properties({**sent, **_kept(existing)}, hidden, name, shown, resource_id)
        document = envelope(resource_id, ENDPOINT_TYPE, body, etag=etag(existing, properties), properties=properties)
        return Composed(document, hidden)

    def _has_group(self, endpoint_id: str) -> bool:
        return bool(self._cloud.store.below(endpoint_id, ZONE_GROUP_TYPE))

    def _properties(self, sent: Json, hidden: Json, name: str, connection: Json, resource_id: str) -> Json:
        empty: Json = {AUTOMATIC: [], MANUAL: []}
        interface = self._cloud.store.get(hidden["interface"])
        assert interface is not None, hidden
        return {
            **empty,
            name: [connection],
            "subnet": {"id": hidden["subnet"]},
            "networkInterfaces": [{"id": interface.id}],
            "customNetworkInterfaceName": read.text(sent, "customNetworkInterfaceName", "properties") or "",
            "ipConfigurations": read.sequence(sent, "ipConfigurations", "properties"),
            "customDnsConfigs": [] if self._has_group(resource_id) else _dns(interface),
            "provisioningState": "Succeeded",
        }

    def _check_region(self, body: Json, subnet: Resource, resource_id: str) -> None:
        network = self._cloud.store.get(ids.parent(subnet.id))
        here = str(body["location"]).replace(" ", "").lower()
        if network is None or network.document["location"] != here:
            raise no_reference(subnet.id, resource_id)

    def _target(self, connection: Json, resource_id: str) -> tuple[Resource, tuple[Member, ...]]:
        """What the connection leads to, and the names there. Raises ArmError (400)."""
        own = read.mapping(connection, "properties", required=True)
        wanted = read.text(own, "privateLinkServiceId", "properties", required=True) or ""
        target = self._cloud.store.get(wanted)
        if target is None:
            raise no_reference(wanted, resource_id)
        known = groups(target)
        asked = read.texts(own, "groupIds", "properties")
        if len(asked) != 1 or asked[0] not in known:
            shown = ", ".join(asked)
            raise invalid(
                f"Call to {target.document['type'].partition('/')[0]} failed. Error message: The group id(s) '{shown}' "
                f"of the private link resource '{target.id}' are not valid; one of: {', '.join(known) or 'none'}.",
                "PrivateLinkServiceIdNotValid" if not known else "GroupIdInvalid",
            )
        return target, known[asked[0]]

    def _interface(
        self, body: Json, sent: Json, subnet: Resource, resource_id: str, members: tuple[Member, ...]
    ) -> str:
        """Makes the endpoint's network interface, with an address for each name; its id."""
        custom = read.text(sent, "customNetworkInterfaceName", "properties")
        guid = str(uuid.uuid4())
        name = custom or f"{ids.name(resource_id)}.nic.{guid}"
        interface_id = f"{resource_id.rpartition('/')[0].rpartition('/')[0]}/networkInterfaces/{name}"
        if self._cloud.store.get(interface_id) is not None:
            # As in https://github.com/Azure/bicep-types-az/issues/2649.
            raise invalid(
                f"{resource_id} contains custom NIC name {name} which already exists.",
                "PrivateEndpointCustomNicNameAlreadyExists",
            )
        chosen = self._chosen(sent, subnet, members)
        taken = set(chosen.values())
        configurations = []
        for member in members:
            address = chosen.get(member.name) or free_address(self._cloud, subnet, taken)
            taken.add(address)
            method = "Static" if member.name in chosen else "Dynamic"
            configurations.append(_configuration(interface_id, member, address, method, subnet.id))
        properties = {
            "ipConfigurations": configurations,
            "privateEndpoint": {"id": resource_id},
            "resourceGuid": guid,
            "enableIPForwarding": False,
            "provisioningState": "Succeeded",
        }
        document = envelope(interface_id, INTERFACE_TYPE, {"location": body["location"]}, properties=properties)
        self._cloud.store.put(Resource(interface_id, INTERFACE_TYPE, document, {"subnet": subnet.id}))
        return interface_id

    def _chosen(self, sent: Json, subnet: Resource, members: tuple[Member, ...]) -> dict[str, str]:
        """The addresses that a body names, by the members that are to have them. Raises ArmError (400)."""
        known = {each.name for each in members}
        found: dict[str, str] = {}
        for each, where in read.objects(sent, "ipConfigurations", "properties"):
            own = read.mapping(each, "properties", where, required=True)
            member = read.text(own, "memberName", f"{where}.properties", required=True) or ""
            if member not in known:
                raise invalid(
                    f"'{where}.properties.memberName' is '{member}'; it must be one of {', '.join(sorted(known))}.",
                    "PrivateEndpointInvalidMemberName",
                )
            address = read.text(own, "privateIPAddress", f"{where}.properties", required=True) or ""
            check_address(self._cloud, subnet, address)
            if address in found.values():
                raise address_taken(address, subnet)
            found[member] = address
        return found

    def _connect(self, endpoint: Resource) -> None:
        """Has target and subnet show the endpoint, once it is there; approved, where whoever made it may approve."""
        target = self._cloud.store.get(endpoint.hidden["target"])
        if target is None or endpoint.state == FAILED:
            return
        name = MANUAL if endpoint.hidden["manual"] else AUTOMATIC
        shown = endpoint.properties[name][0]["properties"]
        existing = self._connection_of(endpoint)
        connection_id = existing.id if existing else f"{_connections(target)}/{endpoint.name}.{uuid.uuid4()}"
        kind = connection_type(target)
        properties = {
            "privateEndpoint": {"id": endpoint.id},
            "privateLinkServiceConnectionState": shown["privateLinkServiceConnectionState"],
            "groupIds": shown["groupIds"],
            "provisioningState": "Succeeded",
        }
        document = {"id": connection_id, "name": ids.name(connection_id), "type": kind, "properties": properties}
        self._cloud.store.put(Resource(connection_id, kind, document, {"endpoint": endpoint.id}))
        show_connections(self._cloud, target.id)
        show_occupants(self._cloud, endpoint.hidden["subnet"])

    def _connection_of(self, endpoint: Resource) -> Resource | None:
        rows = self._cloud.store.below(f"{endpoint.hidden['target']}/privateEndpointConnections")
        return next((each for each in rows if ids.same(each.hidden.get("endpoint", "/"), endpoint.id)), None)

    def refuse_removal(self, endpoint: Resource) -> None:
        """Raises ArmError (409) where a lock keeps the target's connection, which goes with the endpoint.

        Source: https://github.com/hashicorp/terraform-provider-azurerm/issues/17478.
        """
        if connection := self._connection_of(endpoint):
            refuse_locked(self._cloud, "DELETE", connection.id)

    def take_down(self, endpoint: Resource) -> None:
        """Takes an endpoint that goes out of its target, its subnet and the zones."""
        for group in self._cloud.store.below(endpoint.id, ZONE_GROUP_TYPE):
            self._withdraw(group)
        if connection := self._connection_of(endpoint):
            self._cloud.store.delete(connection.id)
            show_connections(self._cloud, endpoint.hidden["target"])
        self._cloud.store.delete(endpoint.hidden["interface"])
        self._cloud.store.delete(endpoint.id)
        show_occupants(self._cloud, endpoint.hidden["subnet"])

    def list_interfaces(self, call: Call) -> Answer:
        """The network interfaces of a group."""
        return listing(self._cloud.store.below(require_group(self._cloud, call).id, INTERFACE_TYPE))

    def list_all_interfaces(self, call: Call) -> Answer:
        """The network interfaces of the subscription."""
        require_subscription(self._cloud, call.params["subscription"])
        return listing(self._cloud.store.of_type(INTERFACE_TYPE))

    # DNS zone groups -----------------------------------------------------------------------------------------

    def _compose_group(self, _call: Call, body: Json, existing: Resource | None, resource_id: str) -> Composed:
        endpoint = self._cloud.store.get(ids.parent(resource_id))
        assert endpoint is not None, resource_id
        if existing is None and self._has_group(endpoint.id):
            raise invalid(
                f"Private endpoint {endpoint.name} already has a private DNS zone group. Only one can be connected to "
                "a private endpoint.",
                "MoreThanOnePrivateDnsZoneGroupPerPrivateEndpointNotAllowed",
            )
        sent = read.objects(read.mapping(body, "properties"), "privateDnsZoneConfigs", "properties")
        zones = [self._zone_config(each, where, resource_id) for each, where in sent]
        if existing is not None:
            self._withdraw_records(existing)
        members, above = self._members(endpoint), f"{resource_id}/privateDnsZoneConfigs"
        configs = [_published(f"{above}/{name}", zone, members) for name, zone in zones]
        properties = {"privateDnsZoneConfigs": configs, "provisioningState": "Succeeded"}
        known = {"id": resource_id, "name": ids.name(resource_id), "type": ZONE_GROUP_TYPE}
        return Composed({**known, "etag": etag(existing, properties), "properties": properties}, {})

    def _zone_config(self, config: Json, where: str, resource_id: str) -> tuple[str, Resource]:
        name = read.text(config, "name", where, required=True) or ""
        wanted = read.text(read.mapping(config, "properties", where), "privateDnsZoneId", where, required=True) or ""
        zone = self._cloud.store.get(wanted)
        if zone is None or zone.type.lower() != private_dns.ZONE_TYPE.lower():
            raise no_reference(wanted, resource_id)
        return name, zone

    def _members(self, endpoint: Resource) -> list[tuple[Member, str]]:
        """The endpoint's names with their addresses."""
        target = self._cloud.store.get(endpoint.hidden["target"])
        interface = self._cloud.store.get(endpoint.hidden["interface"])
        if target is None or interface is None:
            return []
        name = MANUAL if endpoint.hidden["manual"] else AUTOMATIC
        (group,) = endpoint.properties[name][0]["properties"]["groupIds"]
        addresses = [each["properties"]["privateIPAddress"] for each in interface.properties["ipConfigurations"]]
        return list(zip(groups(target)[group], addresses, strict=True))

    def _publish(self, group: Resource) -> None:
        """Writes the records; the endpoint does not list its names any more, as in Azure."""
        self._list_names(group, listed=False)
        for config in group.properties["privateDnsZoneConfigs"]:
            zone = self._cloud.store.get(config["properties"]["privateDnsZoneId"])
            for record in config["properties"]["recordSets"] if zone else ():
                assert zone is not None
                private_dns.write_record(self._cloud, zone, record["recordSetName"], record["ipAddresses"], _RECORD_TTL)

    def _withdraw(self, group: Resource) -> None:
        self._withdraw_records(group)
        self._list_names(group, listed=True)

    def _list_names(self, group: Resource, *, listed: bool) -> None:
        endpoint = self._cloud.store.get(ids.parent(group.id))
        interface = self._cloud.store.get(endpoint.hidden["interface"]) if endpoint else None
        if endpoint is not None and interface is not None:
            names = _dns(interface) if listed else []
            self._cloud.store.put(endpoint.with_properties(customDnsConfigs=names))

    def _withdraw_records(self, group: Resource) -> None:
        for config in group.properties["privateDnsZoneConfigs"]:
            own = config["properties"]
            for record in own["recordSets"]:
                private_dns.drop_record(self._cloud, own["privateDnsZoneId"], record["recordSetName"])

    # The other side ------------------------------------------------------------------------------------------

    def _target_routes(self, kind: str) -> list[Route]:
        above = f"{GROUP}/providers/{kind}/{{{TARGETS[kind]}}}"
        collection = above + "/privateEndpointConnections"
        return [
            Route.of("GET", above + "/privateLinkResources", self.list_groups),
            Route.of("GET", collection, self.list_connections),
            Route.of("GET", collection + "/{connection}", self.get_connection),
            Route.of("PUT", collection + "/{connection}", self.decide),
            Route.of("DELETE", collection + "/{connection}", self.disconnect),
        ]

    def list_groups(self, call: Call) -> Answer:
        """GET privateLinkResources: what private endpoints can lead to here."""
        target = self._above(call, call.path.rpartition("/")[0])
        value = [_group(target, name, members) for name, members in groups(target).items()]
        return Answer(200, {"value": value})

    def list_connections(self, call: Call) -> Answer:
        """GET privateEndpointConnections."""
        target = self._above(call, call.path.rpartition("/")[0])
        return Answer(200, {"value": connections(self._cloud, target.id)})

    def get_connection(self, call: Call) -> Answer:
        """GET of a connection."""
        return Answer(200, self._connection(call).document)

    def decide(self, call: Call) -> Answer:
        """PUT of a connection: approves it or rejects it."""
        connection = self._connection(call)
        sent = read.mapping(read.mapping(call.json(), "properties"), "privateLinkServiceConnectionState", "properties")
        where = "properties.privateLinkServiceConnectionState"
        status = read.choice(sent, "status", _STATES, None, where)
        if status is None:
            raise invalid(f"'{where}.status' is required: Approved or Rejected.", "ValidationError")
        before = connection.properties["privateLinkServiceConnectionState"]
        state = {**before, "status": status, "description": read.text(sent, "description", where) or ""}
        changed = self._cloud.store.put(connection.with_properties(privateLinkServiceConnectionState=state))
        tell_endpoint(self._cloud, connection, state)
        show_connections(self._cloud, ids.parent(connection.id))
        return Answer(200, changed.document)

    def disconnect(self, call: Call) -> Answer:
        """DELETE of a connection: the endpoint stays, and leads nowhere."""
        self._above(call, ids.parent(call.path))
        found = self._cloud.store.get(call.path)
        if found is None:
            return Answer(204)
        state = {"status": "Disconnected", "description": "Connection deleted", "actionsRequired": "None"}
        tell_endpoint(self._cloud, found, state)
        self._cloud.store.delete(found.id)
        show_connections(self._cloud, ids.parent(found.id))
        return Answer(200)

    def _connection(self, call: Call) -> Resource:
        self._above(call, ids.parent(call.path))
        found = self._cloud.store.get(call.path)
        if found is None:
            raise resource_not_found(call.path)
        return found

    def _above(self, call: Call, target_id: str) -> Resource:
        require_group(self._cloud, call)
        found = self._cloud.store.get(target_id)
        if found is None:
            raise parent_not_found(target_id)
        return found


def _connection(sent: Json) -> tuple[str, Json]:
    """The one connection of a body, and the list that it stands in. Raises ArmError (400)."""
    found = [(name, each) for name in (AUTOMATIC, MANUAL) for each, _ in read.objects(sent, name, "properties")]
    if len(found) != 1:
        raise invalid(
            f"A private endpoint has exactly one connection, in properties.{AUTOMATIC} or properties.{MANUAL}; "
            f"{len(found)} were sent.",
            "InvalidPrivateLinkServiceConnections",
        )
    return found[0]


def _kept(existing: Resource | None) -> Json:
    """What an endpoint keeps whether or not a body speaks of it."""
    names = ("customNetworkInterfaceName", "ipConfigurations")
    return {name: existing.properties[name] for name in names} if existing else {}


def _refuse_turn(existing: Resource, target: Resource, connection: Json, sent: Json) -> None:
    """What an endpoint leads to, and the name of its interface, are set when it is made. Raises ArmError (400, 501)."""
    again = f"of private endpoint {existing.name} cannot be changed: create the endpoint again."
    if not ids.same(existing.hidden["target"], target.id):
        raise invalid(f"The private link resource {again}", "PrivateLinkServiceIdCannotBeChanged")
    own = existing.properties
    (held,) = own[MANUAL if existing.hidden["manual"] else AUTOMATIC]
    if connection["properties"]["groupIds"] != held["properties"]["groupIds"]:
        raise invalid(f"The group ids {again}", "PrivateEndpointGroupIdsCannotBeChanged")
    name = read.text(sent, "customNetworkInterfaceName", "properties")
    if name and name.lower() != ids.name(existing.hidden["interface"]).lower():
        raise invalid(f"The customNetworkInterfaceName {again}", "PrivateEndpointCustomNicNameCannotBeChanged")
    addresses = read.sequence(sent, "ipConfigurations", "properties")
    if addresses and addresses != own["ipConfigurations"]:
        raise not_emulated("another address for a private endpoint that is there")


def _state_of(existing: Resource | None, name: str) -> Json:
    held = existing.properties[name] if existing else []
    if held:
        return held[0]["properties"]["privateLinkServiceConnectionState"]
    if name == MANUAL:
        return {"status": "Pending", "description": "Awaiting Approval", "actionsRequired": "None"}
    return {"status": "Approved", "description": "Auto-Approved", "actionsRequired": "None"}


def _shown(connection: Json, resource_id: str, name: str, state: Json) -> Json:
    own = read.mapping(connection, "properties")
    label = read.text(connection, "name", f"properties.{name}") or ids.name(resource_id)
    properties = {
        **{part: own[part] for part in ("privateLinkServiceId", "groupIds", "requestMessage") if own.get(part)},
        "privateLinkServiceConnectionState": state,
        "provisioningState": "Succeeded",
    }
    return {
        "name": label,
        "id": f"{resource_id}/{name}/{label}",
        "type": f"{ENDPOINT_TYPE}/{name}",
        "properties": properties,
    }


def _configuration(interface_id: str, member: Member, address: str, method: str, subnet_id: str) -> Json:
    name = f"privateEndpointIpConfig.{uuid.uuid4()}"
    properties = {
        "privateIPAddress": address,
        "privateIPAllocationMethod": method,
        "subnet": {"id": subnet_id},
        "primary": True,
        "privateIPAddressVersion": "IPv4",
        "privateLinkConnectionProperties": {
            "groupId": member.name,
            "requiredMemberName": member.name,
            "fqdns": [member.host],
        },
        "provisioningState": "Succeeded",
    }
    return {"name": name, "id": f"{interface_id}/ipConfigurations/{name}", "properties": properties}


def _dns(interface: Resource) -> list[Json]:
    found = []
    for each in interface.properties["ipConfigurations"]:
        own = each["properties"]
        for host in own["privateLinkConnectionProperties"]["fqdns"]:
            found.append({"fqdn": host, "ipAddresses": [own["privateIPAddress"]]})
    return found


def _published(config_id: str, zone: Resource, members: list[tuple[Member, str]]) -> Json:
    """A zone's part of a zone group, with the records that belong there."""
    records = [
        {
            "recordType": "A",
            "recordSetName": member.record[0],
            "fqdn": f"{member.record[0]}.{zone.name}",
            "ttl": _RECORD_TTL,
            "provisioningState": "Succeeded",
            "ipAddresses": [address],
        }
        for member, address in members
        if member.record[1] == zone.name.lower()
    ]
    properties = {"privateDnsZoneId": zone.id, "recordSets": records, "provisioningState": "Succeeded"}
    return {"name": ids.name(config_id), "id": config_id, "properties": properties}


def _connections(target: Resource) -> str:
    return f"{target.id}/privateEndpointConnections"


def _group(target: Resource, name: str, members: tuple[Member, ...]) -> Json:
    properties = {
        "groupId": name,
        "requiredMembers": list(dict.fromkeys(each.name for each in members)),
        "requiredZoneNames": list(dict.fromkeys(each.record[1] for each in members)),
    }
    kind = f"{target.document['type']}/privateLinkResources"
    return {"id": f"{target.id}/privateLinkResources/{name}", "name": name, "type": kind, "properties": properties}
