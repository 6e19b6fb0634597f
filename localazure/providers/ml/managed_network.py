"""The managed network of a workspace: its isolation, its outbound rules, and when it is there."""

from __future__ import annotations

import re

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid, resource_not_found, user_error
from localazure.arm.operations import Kind
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Operation, Resource
from localazure.providers import private_links
from localazure.providers.cloud import Cloud, stable_id
from localazure.providers.common import Json, long_headers
from localazure.providers.ml.names import (
    COMPUTE_TYPE,
    ONLINE_ENDPOINT_TYPE,
    WORKSPACE,
    WORKSPACE_FAMILY,
    WORKSPACE_TYPE,
    workspace_of,
)
from localazure.providers.networks import find_subnet

RULES = WORKSPACE + "/outboundRules"
RULE = RULES + "/{rule}"
RULE_TYPE = WORKSPACE_TYPE + "/outboundRules"
DISABLED, INTERNET, APPROVED = "Disabled", "AllowInternetOutbound", "AllowOnlyApprovedOutbound"
ISOLATION = (DISABLED, INTERNET, APPROVED)
_CHANGES = {DISABLED: ISOLATION, INTERNET: (INTERNET, APPROVED), APPROVED: (APPROVED,)}
_USERS = "UserDefined"
_CATEGORIES = ("Required", "Recommended", _USERS, "Dependency")
_WHERE = "properties.managedNetwork"


class ManagedNetworks:
    """`…/workspaces/outboundRules` and `provisionManagedNetwork`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        nothing = lambda *arguments: None  # noqa: E731
        cloud.operations.register("outbound-rule.put", Kind(nothing, self._show, self._show))
        cloud.operations.register("outbound-rule.delete", Kind(nothing, self._forget, self._show))
        cloud.operations.register("managed-network.provision", Kind(nothing, self._provisioned, nothing))

    def routes(self) -> list[Route]:
        open_ = "kept and checked; what runs here reaches what this machine reaches"
        return [
            Route.of("GET", RULES, self.list),
            Route.of("GET", RULE, self.get),
            Route.of("PUT", RULE, self.put, simplified=open_),
            Route.of("DELETE", RULE, self.delete),
            Route.of("POST", WORKSPACE + "/provisionManagedNetwork", self.provision, simplified=open_),
        ]

    def list(self, call: Call) -> Answer:
        """The rules of a workspace, Azure's own among them."""
        workspace = workspace_of(self._cloud, call)
        rules = (workspace.properties["managedNetwork"].get("outboundRules") or {}).items()
        return Answer(200, {"value": [_document(workspace.id, name, rule) for name, rule in rules]})

    def get(self, call: Call) -> Answer:
        """GET of a rule."""
        workspace = workspace_of(self._cloud, call)
        held = workspace.properties["managedNetwork"].get("outboundRules") or {}
        for name, rule in held.items():
            if name.lower() == call.params["rule"].lower():
                return Answer(200, _document(workspace.id, name, rule))
        raise resource_not_found(call.path)

    def put(self, call: Call) -> Answer:
        """PUT: 202, then the rule."""
        workspace = workspace_of(self._cloud, call)
        name = call.params["rule"]
        network = workspace.properties["managedNetwork"]
        sent = read.mapping(call.json(), "properties", required=True)
        rule = check_rule(self._cloud, name, sent, network["isolationMode"], "properties")
        _refuse_twin(self._cloud, workspace.id, workspace.properties, name, rule)
        keep_rule(self._cloud, workspace.id, name, rule)
        operation = self._cloud.operations.begin("outbound-rule.put", f"{workspace.id}/outboundRules/{name}")
        show_rules(self._cloud, workspace.id)
        return Answer(202, headers=self._headers(call, workspace, operation))

    def delete(self, call: Call) -> Answer:
        """DELETE: 202, or 204 where there was nothing; Azure's own rules stay."""
        workspace = workspace_of(self._cloud, call)
        name = call.params["rule"]
        if name.lower() in {each.lower() for each in system_rules(self._cloud, workspace.properties, workspace.id)}:
            raise invalid(f"The outbound rule '{name}' is the system's own and cannot be deleted.", "ValidationError")
        found = self._cloud.store.get(call.path)
        if found is None:
            return Answer(204)
        operation = self._cloud.operations.begin("outbound-rule.delete", found.id)
        return Answer(202, headers=self._headers(call, workspace, operation))

    def provision(self, call: Call) -> Answer:
        """POST provisionManagedNetwork: 202, and the network is there; at once where it was."""
        workspace = workspace_of(self._cloud, call)
        require_managed(workspace.properties["managedNetwork"]["isolationMode"])
        spark = read.flag(call.json(), "includeSpark", False)
        operation = self._cloud.operations.begin("managed-network.provision", workspace.id, {"spark": spark})
        return Answer(202, headers=self._headers(call, workspace, operation))

    def _headers(self, call: Call, workspace: Resource, operation: Operation) -> dict[str, str]:
        location = str(workspace.document["location"])
        return long_headers(self._cloud, call, WORKSPACE_FAMILY, operation, location)

    def _show(self, operation: Operation, _outcome: object) -> None:
        show_rules(self._cloud, _workspace_id(operation.resource))

    def _forget(self, operation: Operation, _outcome: object) -> None:
        self._cloud.store.delete(operation.resource)
        show_rules(self._cloud, _workspace_id(operation.resource))

    def _provisioned(self, operation: Operation, _outcome: object) -> None:
        provision(self._cloud, operation.resource, spark=bool(operation.payload.get("spark")))


def network(cloud: Cloud, sent: Json, properties: Json, before: Json, resource_id: str) -> Json:
    """The `managedNetwork` of a workspace. Raises ArmError (400).

    Args:
        sent: what the body says of it.
        properties: the workspace's other properties: what it stands on has rules of its own.
        before: the network that the workspace has; empty for a new one.
    """
    mode = read.choice(sent, "isolationMode", ISOLATION, DISABLED, _WHERE) or DISABLED
    found: Json = {
        "isolationMode": mode,
        "changeableIsolationModes": [each for each in _CHANGES[mode] if each != DISABLED],
        "enableNetworkMonitor": False,
        "enableFirewallLog": False,
    }
    if mode == DISABLED:
        return found
    for name, value in read.mapping(sent, "outboundRules", _WHERE).items():
        rule = read.mapping({name: value}, name, f"{_WHERE}.outboundRules", required=True)
        checked = check_rule(cloud, name, rule, mode, f"{_WHERE}.outboundRules.{name}")
        _refuse_twin(cloud, resource_id, {**properties, "managedNetwork": found}, name, checked)
        keep_rule(cloud, resource_id, name, checked)
    return found | {
        "networkId": before.get("networkId") or stable_id("network", resource_id),
        "outboundRules": _shown(cloud, resource_id, {**properties, "managedNetwork": found}, _is_active(before)),
        "firewallSku": read.choice(
            sent, "firewallSku", ("Standard", "Basic"), before.get("firewallSku") or "Standard", _WHERE
        ),
        "status": before.get("status") or {"status": "Inactive", "sparkReady": False},
    }


def without_system_rules(properties: Json) -> Json:
    """A workspace's properties as a caller may send them back: without Azure's own outbound rules."""
    held = properties["managedNetwork"]
    rules = {name: each for name, each in (held.get("outboundRules") or {}).items() if each["category"] == _USERS}
    return {**properties, "managedNetwork": {**held, "outboundRules": rules}}


def refuse_turn(cloud: Cloud, workspace: Resource, wanted: Json) -> None:
    """A managed network is not given up, lets no more out than before, and is there before what runs in it.

    Raises:
        ArmError: 400.

    Source: https://learn.microsoft.com/azure/machine-learning/how-to-managed-network.
    """
    before, after = (each.get("isolationMode") or DISABLED for each in (workspace.properties["managedNetwork"], wanted))
    if after not in _CHANGES[before]:
        raise invalid(
            f"'{_WHERE}.isolationMode' of the workspace '{workspace.name}' is {before} and cannot become {after}; it "
            f"can be {' or '.join(_CHANGES[before])}.",
            "ValidationError",
        )
    if before == DISABLED != after:
        found = [
            each for kind in (COMPUTE_TYPE, ONLINE_ENDPOINT_TYPE) for each in cloud.store.below(workspace.id, kind)
        ]
        if found:
            raise invalid(
                f"The workspace '{workspace.name}' has {', '.join(each.name for each in found)}: computes and online "
                "endpoints that are there must be deleted before it gets a managed network.",
                "ValidationError",
            )


def provision(cloud: Cloud, workspace_id: str, *, spark: bool = False) -> None:
    """Makes a workspace's managed network, as the first compute does and `provisionManagedNetwork`."""
    workspace = cloud.store.get(workspace_id)
    if workspace is None or workspace.properties["managedNetwork"]["isolationMode"] == DISABLED:
        return
    held = workspace.properties["managedNetwork"]
    ready = bool(spark or (held.get("status") or {}).get("sparkReady"))
    changed = {**held, "status": {"status": "Active", "sparkReady": ready}}
    cloud.store.put(workspace.with_properties(managedNetwork=changed))
    show_rules(cloud, workspace_id)


def show_rules(cloud: Cloud, workspace_id: str) -> None:
    """Has a workspace show the rules that it has now."""
    workspace = cloud.store.get(workspace_id)
    if workspace is None:
        return
    held = workspace.properties["managedNetwork"]
    rules = _shown(cloud, workspace.id, workspace.properties, _is_active(held))
    cloud.store.put(workspace.with_properties(managedNetwork={**held, "outboundRules": rules}))


def is_managed(workspace: Resource) -> bool:
    """Whether a workspace has a managed network."""
    return workspace.properties["managedNetwork"]["isolationMode"] != DISABLED


def refuse_deployment(cloud: Cloud, workspace: Resource, egress: str) -> None:
    """A deployment comes up in a managed network that is there, and has no way out of its own beside it. Without one,
    it reaches its workspace by private endpoints, or over the public network.

    Raises:
        ArmError: 400.

    Source: https://learn.microsoft.com/azure/machine-learning/how-to-managed-network (provision it before an online
    deployment), …/concept-secure-online-endpoint (egress_public_network_access is for the older kind of isolation).
    """
    if not is_managed(workspace):
        _refuse_unreached(cloud, workspace, egress)
        return
    if egress == "Disabled":
        raise user_error(
            400,
            "'properties.egressPublicNetworkAccess' is Disabled in a workspace with a managed network, whose outbound "
            "rules say what a deployment reaches; leave it out.",
        )
    if not _is_active(workspace.properties["managedNetwork"]):
        raise user_error(
            400,
            f"The managed network of the workspace '{workspace.name}' is not provisioned, and an online deployment "
            "does not provision it: POST …/provisionManagedNetwork, create the workspace with provisionNetworkNow, or "
            "create a compute first.",
        )


def _refuse_unreached(cloud: Cloud, workspace: Resource, egress: str) -> None:
    if egress == "Disabled" and not private_links.has_approved(cloud, workspace.id, "amlworkspace"):
        raise user_error(
            400,
            "'properties.egressPublicNetworkAccess' is Disabled, which needs a private endpoint to the workspace "
            f"'{workspace.name}'; it has none that is approved.",
        )
    if egress == "Enabled" and workspace.properties["publicNetworkAccess"] != "Enabled":
        raise user_error(
            400,
            f"'properties.egressPublicNetworkAccess' is Enabled, and the workspace '{workspace.name}' takes no public "
            "requests: set it to Disabled, or give the workspace a managed network.",
        )


def refuse_compute(cloud: Cloud, workspace: Resource, inner: Json, asking: str) -> None:
    """A compute is in the workspace's managed network, in a subnet that is there, or has a public address.

    Raises:
        ArmError: 400.
    """
    wanted = (inner.get("subnet") or {}).get("id")
    if wanted and is_managed(workspace):
        raise user_error(
            400,
            f"'properties.properties.subnet' is '{wanted}', and the workspace has a managed network: its computes are "
            "in that one. Leave it out.",
        )
    if wanted:
        find_subnet(cloud, wanted, asking)
    elif inner.get("enableNodePublicIp") is False and not (
        is_managed(workspace) or private_links.has_approved(cloud, workspace.id)
    ):
        raise user_error(
            400,
            "'properties.properties.enableNodePublicIp' is false, which needs a subnet, a managed network or a private "
            "endpoint to the workspace.",
        )


def keep_rule(cloud: Cloud, workspace_id: str, name: str, rule: Json) -> None:
    """Keeps a rule of the user's."""
    existing = cloud.store.get(f"{workspace_id}/outboundRules/{name}")
    resource_id = existing.id if existing else f"{workspace_id}/outboundRules/{name}"
    cloud.store.put(Resource(resource_id, RULE_TYPE, _document(workspace_id, ids.name(resource_id), rule)))


def require_managed(mode: str) -> None:
    """Raises ArmError (400) for a workspace whose network is not managed."""
    if mode == DISABLED:
        raise invalid(
            "The workspace has no managed network: its properties.managedNetwork.isolationMode is Disabled. Set it to "
            f"{INTERNET} or {APPROVED} first.",
            "ValidationError",
        )


def check_rule(cloud: Cloud, name: str, sent: Json, mode: str, where: str) -> Json:
    """A rule as it is kept. Raises ArmError (400).

    Azure does not take its own rules back: https://github.com/Azure/azure-sdk-for-python/pull/32643.
    """
    require_managed(mode)
    category = read.choice(sent, "category", _CATEGORIES, _USERS, where)
    if category != _USERS:
        raise invalid(
            f"'{where}.category' of the rule '{name}' is {category}: such rules are Azure's own; leave it out.",
            "ValidationError",
        )
    if not re.fullmatch(r"[A-Za-z0-9]([\w.-]{0,78}\w)?", name, re.ASCII):
        raise invalid(
            f"The outbound rule name '{name}' is invalid: 1 to 80 letters, digits, hyphens, periods and underscores, "
            "from a letter or digit to one, or to an underscore.",
            "ValidationError",
        )
    kind = read.choice(sent, "type", tuple(_CHECKS), None, where)
    if kind is None:
        raise invalid(f"'{where}.type' is required: {', '.join(_CHECKS)}.", "ValidationError")
    if kind != "PrivateEndpoint" and mode != APPROVED:
        raise invalid(
            f"'{where}.type' is {kind}; with isolation mode {mode} outbound rules are private endpoints only. {kind} "
            f"needs {APPROVED}.",
            "ValidationError",
        )
    destination = _CHECKS[kind](cloud, sent, where)
    return {"type": kind, "category": _USERS, "destination": destination}


def _refuse_twin(cloud: Cloud, workspace_id: str, properties: Json, name: str, rule: Json) -> None:
    """A managed network has one private endpoint to a part of a resource. Raises ArmError (400)."""
    own = _own_rules(cloud, workspace_id)
    if any(other.lower() == name.lower() and _leads_alike(held, rule) for other, held in own.items()):
        # It was there before Azure would have made one of its own, which it then does not.
        return
    for other, held in (system_rules(cloud, properties, workspace_id) | own).items():
        if other.lower() != name.lower() and _leads_alike(held, rule):
            raise invalid(
                f"The outbound rule '{name}' leads to '{rule['destination']['subresourceTarget']}' of "
                f"'{rule['destination']['serviceResourceId']}', as the rule '{other}' does, which is there.",
                "ValidationError",
            )


def _leads_alike(one: Json, other: Json) -> bool:
    if not one["type"] == other["type"] == "PrivateEndpoint":
        return False
    mine, its = one["destination"], other["destination"]
    same_part = mine["subresourceTarget"] == its["subresourceTarget"]
    return same_part and ids.same(mine["serviceResourceId"], its["serviceResourceId"])


def system_rules(cloud: Cloud, properties: Json, workspace_id: str) -> dict[str, Json]:
    """The rules that Azure makes: to what the workspace stands on; where only what is approved is let out, whether or
    not that takes public requests, and besides to the services that a workspace cannot do without.

    Source: learn.microsoft.com/azure/machine-learning/how-to-managed-network, list of required rules.
    """
    rules: dict[str, Json] = {}
    approved = properties["managedNetwork"]["isolationMode"] == APPROVED
    for reference, groups in _DEPENDENCIES.items():
        target = cloud.store.get(properties.get(reference) or "/")
        # A private endpoint needs a Premium registry.
        if target is None or (reference == "containerRegistry" and target.document["sku"]["name"] != "Premium"):
            continue
        closed = str(target.properties.get("publicNetworkAccess") or "").lower() == "disabled"
        for group in groups if approved or closed else ():
            rules[f"__SYS_PE_{target.name}_{group}_{_short(workspace_id)}"] = _endpoint_rule(target.id, group)
    if approved:
        for tag, protocol, ports in _SERVICE_TAGS:
            destination = {"serviceTag": tag, "protocol": protocol, "portRanges": ports, "action": "Allow"}
            rules[f"__SYS_ST_{tag}_{protocol}"] = {"type": "ServiceTag", "category": "Required"} | {
                "destination": destination
            }
    return rules


_DEPENDENCIES = {
    "storageAccount": ("blob", "file"),
    "keyVault": ("vault",),
    "containerRegistry": ("registry",),
}
_SERVICE_TAGS = (
    ("AzureActiveDirectory", "TCP", "80, 443"),
    ("AzureMachineLearning", "TCP", "443, 8787, 18881"),
    ("AzureMachineLearning", "UDP", "5831"),
    ("BatchNodeManagement", "TCP", "443"),
    ("AzureResourceManager", "TCP", "443"),
    ("AzureFrontDoor.FirstParty", "TCP", "443"),
    ("MicrosoftContainerRegistry", "TCP", "443"),
    ("AzureMonitor", "TCP", "443"),
)
_PORTS = re.compile(r"\s*(\*|\d{1,5}(-\d{1,5})?(\s*,\s*\d{1,5}(-\d{1,5})?)*)\s*")
_FQDN = re.compile(r"(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)+[A-Za-z0-9-]{2,63}|\*")


def _fqdn(_cloud: Cloud, sent: Json, where: str) -> str:
    destination = read.text(sent, "destination", where, required=True) or ""
    if not _FQDN.fullmatch(destination):
        raise invalid(
            f"'{where}.destination' is '{destination[:80]}'; it must be a host name such as pypi.org, or *.pypi.org.",
            "ValidationError",
        )
    return destination


def _private_endpoint(cloud: Cloud, sent: Json, where: str) -> Json:
    destination = read.mapping(sent, "destination", where, required=True)
    inner = f"{where}.destination"
    wanted = read.text(destination, "serviceResourceId", inner, required=True) or ""
    group = read.text(destination, "subresourceTarget", inner, required=True) or ""
    target = cloud.store.get(wanted)
    if target is None:
        raise ArmError(400, "ValidationError", f"'{inner}.serviceResourceId' names '{wanted}', which does not exist.")
    known = private_links.groups(target)
    if group not in known:
        raise invalid(
            f"'{inner}.subresourceTarget' is '{group}'; for '{target.name}' it must be one of "
            f"{', '.join(known) or 'none: it has no private link'}.",
            "ValidationError",
        )
    spark = read.flag(destination, "sparkEnabled", False, inner)
    return {"serviceResourceId": wanted, "subresourceTarget": group, "sparkEnabled": spark}


def _service_tag(_cloud: Cloud, sent: Json, where: str) -> Json:
    destination = read.mapping(sent, "destination", where, required=True)
    inner = f"{where}.destination"
    tag = read.text(destination, "serviceTag", inner, required=True)
    protocol = read.text(destination, "protocol", inner, required=True) or ""
    ports = read.text(destination, "portRanges", inner, required=True) or ""
    if protocol.upper() not in ("TCP", "UDP", "ICMP", "*"):
        raise invalid(f"'{inner}.protocol' is '{protocol}'; it must be TCP, UDP, ICMP or *.", "ValidationError")
    if not _PORTS.fullmatch(ports):
        raise invalid(f"'{inner}.portRanges' is '{ports[:80]}'; such as 443, 8080-8090.", "ValidationError")
    found: Json = {"serviceTag": tag, "protocol": protocol, "portRanges": ports}
    found["action"] = read.choice(destination, "action", ("Allow", "Deny"), "Allow", inner)
    if prefixes := read.sequence(destination, "addressPrefixes", inner):
        found["addressPrefixes"] = prefixes
    return found


_CHECKS = {"FQDN": _fqdn, "PrivateEndpoint": _private_endpoint, "ServiceTag": _service_tag}


def _endpoint_rule(target_id: str, group: str) -> Json:
    destination = {"serviceResourceId": target_id, "subresourceTarget": group, "sparkEnabled": False}
    return {"type": "PrivateEndpoint", "category": "Required", "destination": destination}


def _shown(cloud: Cloud, workspace_id: str, properties: Json, active: bool) -> dict[str, Json]:
    own = _own_rules(cloud, workspace_id)
    system = {
        name: rule
        for name, rule in system_rules(cloud, properties, workspace_id).items()
        if not any(_leads_alike(rule, each) for each in own.values())
    }
    rules = system | own
    return {name: {**rule, "status": "Active" if active else "Inactive"} for name, rule in rules.items()}


def _own_rules(cloud: Cloud, workspace_id: str) -> dict[str, Json]:
    return {each.name: each.properties for each in cloud.store.below(workspace_id, RULE_TYPE)}


def _is_active(held: Json) -> bool:
    return (held.get("status") or {}).get("status") == "Active"


def _document(workspace_id: str, name: str, rule: Json) -> Json:
    return {"id": f"{workspace_id}/outboundRules/{name}", "name": name, "type": RULE_TYPE, "properties": rule}


def _workspace_id(rule_id: str) -> str:
    return rule_id.rpartition("/outboundRules/")[0]


def _short(workspace_id: str) -> str:
    return stable_id("outbound", ids.key(workspace_id)).partition("-")[0]
