"""Who reaches what: from the networks that private endpoints are in, or from the internet.

Resource Manager is reached from everywhere, whatever a workspace's network is: so it is with version 2 of Azure ML's
API. What is walled in is what lies behind it: blobs, scoring URLs, jobs' runs.

Source: https://learn.microsoft.com/azure/machine-learning/how-to-configure-network-isolation-with-v2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from localazure.arm import ids
from localazure.arm.errors import ArmError, user_error
from localazure.arm.store import Resource
from localazure.gateway.hosts import storage_account
from localazure.providers import firewalls
from localazure.providers.cloud import Cloud
from localazure.providers.kubernetes import MANAGED_TYPE
from localazure.providers.ml.endpoints import inference_host
from localazure.providers.ml.managed_network import is_managed
from localazure.providers.ml.names import (
    BATCH_ENDPOINT_TYPE,
    COMPUTE_TYPE,
    ONLINE_DEPLOYMENT_TYPE,
    ONLINE_ENDPOINT_TYPE,
    WORKSPACE_TYPE,
    workspace_above,
)
from localazure.providers.private_links import STORAGE, has_approved, subnets_of_approved

# As the front end says it: https://github.com/MicrosoftDocs/azure-docs/issues/90426.
_DENIED = "Access to workspace was denied based on workspace private link configuration."

# Whoever asks is where private endpoints are, on the internet, or a workspace's own machine.
Origin = Literal["private", "public", "managed"]


@dataclass(frozen=True)
class Refusal:
    """What a host answers to whom it does not let in.

    Attributes:
        code: the error's code.
        message: the error's text.
        is_blob: whether the blob service says it, in XML; else Azure ML's front end, in JSON.
    """

    code: str
    message: str
    is_blob: bool = False
    status: int = 403


class Reach:
    """The walls around the hosts of one Local Azure."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def refusal(self, host: str, origin: Origin) -> Refusal | None:
        """What a host answers to whoever asks from there; None where it lets them in."""
        if account := storage_account(host):
            return self._blobs(account, origin)
        for endpoint in self._cloud.store.of_type(ONLINE_ENDPOINT_TYPE):
            if inference_host(endpoint) == host:
                return self._scoring(endpoint, origin)
        for endpoint in self._cloud.store.of_type(BATCH_ENDPOINT_TYPE):
            if endpoint.properties.get("scoringUri") == f"https://{host}/jobs":
                return self._scoring(endpoint, origin)
        return None

    def require_workspace(self, workspace: Resource, origin: Origin) -> None:
        """Raises ArmError (403) where a workspace's own services are not reached from there."""
        if not self._admits(workspace, origin):
            raise refused_by_workspace()

    def _blobs(self, name: str, origin: Origin) -> Refusal | None:
        account = next((each for each in self._cloud.store.of_type(STORAGE) if each.name == name), None)
        if account is None or self._opens_to(account, origin):
            return None
        return Refusal(
            "AuthorizationFailure", "This request is not authorized to perform this operation.", is_blob=True
        )

    def _opens_to(self, account: Resource, origin: Origin) -> bool:
        if origin == "private" and has_approved(self._cloud, account.id, "blob"):
            return True
        if origin == "managed" and (self._is_linked(account) or self._is_beside(account) or self._is_own(account)):
            return True
        if account.properties.get("publicNetworkAccess", "Enabled") != "Enabled":
            return False
        rules = account.properties.get("networkAcls") or {}
        if rules.get("defaultAction", "Allow") == "Allow":
            return True
        return self._is_listed(rules) if origin == "public" else self._has_subnet(rules, origin)

    def _has_subnet(self, rules: Mapping[str, Any], origin: Origin) -> bool:
        """Whether a firewall lets in what is in a network, by the service endpoint of a subnet."""
        subnets = [
            firewalls.find_subnet(self._cloud, rule.get("id")) for rule in rules.get("virtualNetworkRules") or ()
        ]
        open_ = {ids.key(each.id) for each in subnets if each and firewalls.has_service(each, "Microsoft.Storage")}
        return bool(open_ if origin == "private" else open_ & self._machines())

    def _machines(self) -> set[str]:
        """The subnets of one's own that clusters are in, those of Kubernetes among them."""
        inner = [each.properties.get("properties") or {} for each in self._cloud.store.of_type(COMPUTE_TYPE)]
        found = [(each.get("subnet") or {}).get("id") for each in inner]
        for cluster in self._cloud.store.of_type(MANAGED_TYPE):
            found += [pool.get("vnetSubnetID") for pool in cluster.properties["agentPoolProfiles"]]
        return {ids.key(each) for each in found if isinstance(each, str) and each}

    def _is_beside(self, account: Resource) -> bool:
        """Whether a cluster is in a network that has a private endpoint to an account's blobs."""
        networks = {ids.parent(each) for each in self._machines()}
        return any(
            ids.key(ids.parent(each)) in networks for each in subnets_of_approved(self._cloud, account.id, "blob")
        )

    def _is_own(self, account: Resource) -> bool:
        """Whether a deployment that has no public way out has Azure's own private endpoint to its workspace's blobs."""
        return any(
            each.properties.get("egressPublicNetworkAccess") == "Disabled"
            and ids.same(workspace_above(self._cloud, each.id).properties["storageAccount"], account.id)
            for each in self._cloud.store.of_type(ONLINE_DEPLOYMENT_TYPE)
        )

    def _is_linked(self, account: Resource) -> bool:
        """Whether a managed network has a private endpoint to an account's blobs."""
        networks = [each.properties["managedNetwork"] for each in self._cloud.store.of_type(WORKSPACE_TYPE)]
        rules = [rule for each in networks for rule in (each.get("outboundRules") or {}).values()]
        ends = [
            each["destination"] for each in rules if (each["type"], each["status"]) == ("PrivateEndpoint", "Active")
        ]
        return any(
            each["subresourceTarget"] == "blob" and ids.same(each["serviceResourceId"], account.id) for each in ends
        )

    def _scoring(self, endpoint: Resource, origin: Origin) -> Refusal | None:
        workspace = workspace_above(self._cloud, endpoint.id)
        is_open = endpoint.properties.get("publicNetworkAccess", "Enabled") == "Enabled"
        linked = self._is_inside(workspace, origin)
        # A workspace that takes nothing from the internet closes its endpoints too, whatever they say.
        if linked or (is_open and self._admits(workspace, origin)):
            return None
        return Refusal("UserError", _DENIED)

    def _admits(self, workspace: Resource, origin: Origin) -> bool:
        if self._is_inside(workspace, origin):
            return True
        own = workspace.properties
        if own["publicNetworkAccess"] != "Enabled":
            return False
        rules = own.get("networkAcls") or {}
        return rules.get("defaultAction", "Allow") == "Allow" or (origin == "public" and self._is_listed(rules))

    def _is_inside(self, workspace: Resource, origin: Origin) -> bool:
        """Whether a private endpoint leads to a workspace from there: Azure makes the one of a managed network."""
        if origin == "managed" and is_managed(workspace):
            return True
        return origin != "public" and has_approved(self._cloud, workspace.id, "amlworkspace")

    def _is_listed(self, rules: Mapping[str, Any]) -> bool:
        """Whether a firewall's address rules let the client's address in."""
        address = self._cloud.settings.client_address
        nets = [firewalls.address_range(rule.get("value")) for rule in rules.get("ipRules") or ()]
        return any(address in net for net in nets if net)


def refused_by_workspace() -> ArmError:
    """403 of a workspace's own services."""
    return user_error(403, _DENIED)
