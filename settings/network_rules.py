"""The rules for the network around a workspace, and for what is asked of endpoints and clusters within it.

Source: https://learn.microsoft.com/azure/machine-learning/how-to-managed-network, how-to-configure-private-link,
how-to-secure-training-vnet, how-to-secure-batch-endpoint and concept-secure-online-endpoint.
"""

import re
from collections.abc import Iterator
from ipaddress import IPv4Network

from pydantic.alias_generators import to_camel

from settings.arm_ids import any_id_findings, id_findings
from settings.models import DeploymentSettings, Settings
from settings.platform import (
    BULK_RULES,
    Access,
    NetworkSettings,
    OutboundRuleSettings,
    SubnetSettings,
    VirtualNetworkSettings,
)
from settings.shapes import key_path

VIRTUAL_NETWORK = "Microsoft.Network/virtualNetworks"
# Azure has some hundred, and more each month: of a name only the form is known.
SERVICE_TAG = re.compile(r"[a-zA-Z][a-zA-Z0-9]*(\.[a-zA-Z0-9]+)*")
PORTS = re.compile(r"\s*(\d{1,5})\s*(?:-\s*(\d{1,5})\s*)?")
LAST_PORT = 65_535
RULE_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,79}")
HOST = re.compile(r"(\*\.)?([a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?\.)+[a-zA-Z]{2,}")
# Docker on the nodes has this range for itself.
DOCKER = IPv4Network("172.17.0.0/16")
# Ten private endpoints with their addresses, and the five that Azure keeps of each subnet.
SMALLEST = 27

Findings = Iterator[str]


def network_findings(settings: Settings) -> Findings:
    """What is wrong with the network of a new workspace, and with what would not work in it."""
    network = settings.network
    yield from _modes(network)
    for name, rule in network.outbound_rules.items():
        yield from _rule(key_path("network.outboundRules", name), name, rule, network)
    yield from _rule_names(settings)
    yield from _place(network)
    yield from _online(settings)
    yield from _clusters(settings)
    yield from _packages(settings)
    if network.is_private:
        yield from _schedules(settings)
        yield from _builds(settings)


def _modes(network: NetworkSettings) -> Findings:
    written = network.model_fields_set
    if network.mode == "public" and network.public_access == "disabled":
        yield "network.publicAccess: is disabled, but mode public has no private way in; use mode managed or byo."
    if network.mode != "managed":
        for field, key in (("isolation", "isolation"), ("firewall_sku", "firewallSku")):
            if field in written:
                yield f"network.{key}: is for mode managed; remove it, or set mode to managed."
    if network.mode != "managed" and network.outbound_rules:
        yield "network.outboundRules: are for mode managed; remove them, or set mode to managed."
    needed = {"virtual_network": ("virtualNetwork", network.is_private or network.mode == "byo")}
    needed |= {"private_dns_zones": ("privateDnsZones", network.is_private)}
    for field, (key, used) in needed.items():
        if field in written and not used:
            yield f"network.{key}: nothing is in it where the workspace takes public requests; remove it."


def _rule(path: str, name: str, rule: OutboundRuleSettings, network: NetworkSettings) -> Findings:
    if not RULE_NAME.fullmatch(name):
        yield f'{path}: "{name}" is not a name that Azure takes; use up to 80 letters, digits, - and _.'
    given = [key for key in ("fqdn", "service_tag", "private_endpoint") if getattr(rule, key) is not None]
    if len(given) != 1:
        yield f'{path}: give one of "fqdn", "serviceTag" and "privateEndpoint".'
        return
    (kind,) = given
    if kind != "private_endpoint" and network.isolation == "allow_internet_outbound":
        yield f"{path}: with isolation allow_internet_outbound every host is reached; remove it, or change isolation."
    if rule.fqdn is not None:
        yield from _host(f"{path}.fqdn", rule.fqdn)
    if rule.service_tag is not None:
        yield from _service_tag(path, rule.service_tag, rule.port_ranges)
    else:
        for field, key in (("protocol", "protocol"), ("port_ranges", "portRanges")):
            if field in rule.model_fields_set:
                yield f"{path}.{key}: is for serviceTag; Azure takes none with {to_camel(kind)}: remove it."
    if rule.private_endpoint is not None:
        yield from any_id_findings(f"{path}.privateEndpoint", rule.private_endpoint)
    if (rule.subresource is None) == (kind == "private_endpoint"):
        yield f"{path}.subresource: " + (
            "is missing; name the part of the resource that is reached, as blob or vault."
            if rule.subresource is None
            else "is for privateEndpoint; remove it."
        )


def _rule_names(settings: Settings) -> Findings:
    """Azure knows a rule by its name, without case."""
    own = BULK_RULES if settings.batch_endpoints else {}
    first: dict[str, str] = {}
    for name in settings.network.outbound_rules:
        path = key_path("network.outboundRules", name)
        if name.lower() in own:
            yield f"{path}: is the name of the rule by which batch jobs keep their progress; give yours another name."
        elif first.setdefault(name.lower(), name) != name:
            yield f"{path}: is {first[name.lower()]} too for Azure, to which case is no difference: rename one."


def _service_tag(path: str, tag: str, ports: str) -> Findings:
    if not SERVICE_TAG.fullmatch(tag):
        yield f'{path}.serviceTag: "{tag}" is no service tag; write one as AzureMonitor or Storage.WestEurope.'
    if ports != "*" and not all(_is_port(part) for part in ports.split(",")):
        yield f'{path}.portRanges: "{ports}" are no ports (0 to {LAST_PORT}); write them as 443, or 80, 8080-8089.'


def _is_port(text: str) -> bool:
    found = PORTS.fullmatch(text)
    return found is not None and int(found[1]) <= int(found[2] or found[1]) <= LAST_PORT


def _host(path: str, host: str) -> Findings:
    if not HOST.fullmatch(host):
        yield f'{path}: "{host}" is no host; write one as pypi.org or *.pythonhosted.org.'
    elif re.search(r"\.core\.(windows|usgovcloudapi|chinacloudapi)\.", host):
        yield f"{path}: Azure takes no host of a storage account here; use privateEndpoint with the account's ARM id."


def _place(network: NetworkSettings) -> Findings:
    """Findings on the virtual network, its subnets and its zones."""
    place, path = network.virtual_network, "network.virtualNetwork"
    yield from id_findings(f"{path}.existing", place.existing, VIRTUAL_NETWORK, "a virtual network")
    zones = network.private_dns_zones
    yield from id_findings("network.privateDnsZones.existing", zones.existing, None, "a resource group")
    if zones.existing is not None and zones.by_policy:
        yield "network.privateDnsZones.byPolicy: Azure Policy knows the zones; remove existing, or byPolicy."
    if place.existing is not None and "address_space" in place.model_fields_set:
        yield f"{path}.addressSpace: an existing network has its own; remove one of the two."
    subnets = {"privateEndpoints": place.private_endpoints}
    if network.mode == "byo":
        subnets["clusters"] = place.clusters
    elif "clusters" in place.model_fields_set:
        yield f"{path}.clusters: is for mode byo; a managed network has room for clusters itself: remove it."
    for key, subnet in subnets.items():
        yield from _subnet(f"{path}.{key}", subnet)
    there = place.private_endpoints.existing
    if place.existing and there and not there.lower().startswith(f"{place.existing.lower()}/"):
        yield (
            f"{path}.privateEndpoints.existing: it is in another network than virtualNetwork.existing, from which "
            "clients find private endpoints; name a subnet of that one, or remove virtualNetwork.existing."
        )
    if place.existing is None and any(subnet.existing for subnet in subnets.values()):
        yield from (
            f"{path}.{key}: a new subnet beside an existing one needs virtualNetwork.existing; name the network, or "
            "an existing subnet here too."
            for key, subnet in subnets.items()
            if subnet.existing is None
        )
    else:
        yield from _ranges(path, place, subnets)


def _subnet(path: str, subnet: SubnetSettings) -> Findings:
    yield from id_findings(f"{path}.existing", subnet.existing, f"{VIRTUAL_NETWORK}/subnets", "a subnet")
    if (subnet.existing is None) == (subnet.address_prefix is None):
        yield f'{path}: give either "addressPrefix" (a new subnet) or "existing" (the ARM id of one that is there).'


def _ranges(path: str, place: VirtualNetworkSettings, subnets: dict[str, SubnetSettings]) -> Findings:
    written = {f"{path}.{key}": subnet.address_prefix for key, subnet in subnets.items() if subnet.address_prefix}
    if place.is_new():
        written[f"{path}.addressSpace"] = place.address_space
    ranges = {key: network for key, text in written.items() if (network := _network(text))}
    for key, text in written.items():
        if key not in ranges:
            yield f'{key}: "{text}" is no range of addresses; write one as 10.40.0.0/22, its first address first.'
        elif ranges[key].overlaps(DOCKER):
            yield f"{key}: {text} meets {DOCKER}, which Docker has for itself on the nodes; choose another."
        elif ranges[key].prefixlen > SMALLEST:
            yield f"{key}: {text} has room for too few private endpoints; take a /{SMALLEST} or larger."
    space = ranges.pop(f"{path}.addressSpace", None)
    for key, network in ranges.items():
        if space and not network.subnet_of(space):
            yield f"{key}: {network} is not within addressSpace ({space}); choose another, or widen that."
    if len(ranges) == 2 and IPv4Network.overlaps(*ranges.values()):
        first, second = ranges.values()
        yield f"{path}.clusters: {second} meets privateEndpoints ({first}); choose another."


def _network(text: str) -> IPv4Network | None:
    try:
        return IPv4Network(text) if "/" in text else None
    except ValueError:
        return None


def _online(settings: Settings) -> Findings:
    network = settings.network
    managed = {name: each for name, each in settings.online_endpoints.items() if each.kubernetes is None}
    for name, endpoint in managed.items():
        if endpoint.public_network_access == "disabled" and not network.is_private:
            yield (
                f"onlineEndpoints.{name}.publicNetworkAccess: is disabled, but the workspace has no private endpoint, "
                "by which alone it would be reached; set it to enabled, or network.publicAccess to disabled (network."
                "mode managed or byo)."
            )
        for deployment, own in endpoint.deployments.items():
            path = key_path("onlineEndpoints", name, "deployments", deployment, "egressPublicNetworkAccess")
            yield from _egress(path, own.egress_public_network_access, network)


def _egress(path: str, access: Access, network: NetworkSettings) -> Findings:
    if network.mode == "managed" and access == "disabled":
        yield f"{path}: does not apply in a managed network, whose outbound rules count; remove it."
    if not network.is_private and network.mode != "managed" and access == "disabled":
        yield (
            f"{path}: is disabled, which needs a private endpoint to the workspace; remove it, or use network.mode "
            "byo, whose workspace takes no public requests."
        )
    # Azure has no other way for one of its own machines into the network of somebody else.
    if network.mode == "byo" and network.is_private and access == "enabled":
        yield (
            f"{path}: is enabled, but storage and registry take no public requests; set it to disabled, or use "
            "network.mode managed."
        )


def _clusters(settings: Settings) -> Findings:
    if settings.network.mode != "managed":
        return
    for name in settings.kubernetes_clusters:
        yield f"kubernetesClusters.{name}: Azure attaches none to a managed network; use network.mode byo or public."
    for name, cluster in settings.compute_clusters.items():
        if cluster.subnet is not None:
            yield f"computeClusters.{name}.subnet: a cluster is in the managed network already; remove it, or use byo."


def _schedules(settings: Settings) -> Findings:
    for name, endpoint in settings.batch_endpoints.items():
        if endpoint.schedules:
            yield f"batchEndpoints.{name}.schedules: the workspace takes no public requests, so that {NO_LOGIC_APP}"


# Logic Apps of the consumption plan are in no network but Azure's public one.
NO_LOGIC_APP = (
    "a Logic App cannot reach it; remove schedules, and invoke the endpoint from within the network: by a pipeline of "
    "Azure Data Factory that has a managed private endpoint to the workspace, or by cron on a machine there (az ml "
    "batch-endpoint invoke)."
)


def _packages(settings: Settings) -> Findings:
    """An environment of packages is made from public indexes: for an MLflow model without code by Azure itself.

    The others are built in the network where the workspace has a cluster for that.
    """
    network = settings.network
    if network.mode != "managed" or network.isolation == "allow_internet_outbound":
        return
    if any(rule.fqdn for rule in network.outbound_rules.values()):
        return
    hosts = "come from public indexes; add their hosts, as pypi: {fqdn: pypi.org}, or give the deployment"
    if made := [path for path, own in _deployments(settings) if _is_made_by_azure(own)]:
        yield (
            f"network.outboundRules: none is by fqdn, but the packages of an mlflow_model without code ({made[0]}) "
            f"{hosts} code and an environment."
        )
    elif settings.workspace.image_build_compute is not None and (built := _from_conda_files(settings)):
        yield (
            f"network.outboundRules: none is by fqdn, but the packages that imageBuildCompute installs ({built[0]}."
            f"environment.condaFile) {hosts} an environment that is registered, or an image with all of them."
        )


def _is_made_by_azure(deployment: DeploymentSettings) -> bool:
    """Whether it has a model of MLflow's alone: one that is registered is of no type that the configuration says."""
    alone = deployment.code is None and deployment.environment is None
    return alone and (deployment.model.type == "mlflow_model" or deployment.model.reference is not None)


def _from_conda_files(settings: Settings) -> list[str]:
    return [path for path, own in _deployments(settings) if own.environment and own.environment.conda_file]


def _builds(settings: Settings) -> Findings:
    """Azure builds images in the registry itself, which it cannot where that is closed to the public."""
    if settings.workspace.image_build_compute is not None:
        return
    for path, own in _deployments(settings):
        told = own.environment
        if _is_made_by_azure(own) or (told and (told.conda_file or told.build_context)):
            what = f"{path}.environment is built" if told else f"an environment is built for {path}"
            yield (
                f"workspace.imageBuildCompute: is missing; {what}, and Azure builds no image in a registry that takes "
                "no public requests: name one of computeClusters."
            )
            return


def _deployments(settings: Settings) -> Iterator[tuple[str, DeploymentSettings]]:
    kinds = {"onlineEndpoints": settings.online_endpoints, "batchEndpoints": settings.batch_endpoints}
    for kind, endpoints in kinds.items():
        for name, endpoint in endpoints.items():
            for deployment, own in endpoint.deployments.items():
                yield key_path(kind, name, "deployments", deployment), own
