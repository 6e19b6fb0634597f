"""What Azure ML takes for a workspace, what it fills in, and what it never changes again."""

from __future__ import annotations

import uuid
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid, not_emulated
from localazure.arm.store import Resource, now
from localazure.providers import firewalls, insights, keyvault, private_links, registries, storage
from localazure.providers.cloud import Cloud, stable_id
from localazure.providers.ml import managed_network
from localazure.providers.ml.names import SUCCEEDED

KINDS = ("Default", "Hub", "Project", "FeatureStore")
AUTH_MODES = ("accesskey", "identity", "userdelegationsas")
DEPENDENCIES = {
    "storageAccount": storage.TYPE,
    "keyVault": keyvault.TYPE,
    "applicationInsights": insights.COMPONENT_TYPE,
    "containerRegistry": registries.TYPE,
}
_REQUIRED = ("storageAccount", "keyVault")
_FIXED = ("storageAccount", "keyVault", "hbiWorkspace")
_WHERE = "properties"
_OBJECTS = ("serverlessComputeSettings", "featureStoreSettings", "serviceManagedResourcesSettings")


def workspace_kind(body: dict[str, Any], existing: Resource | None) -> str:
    """The kind of a workspace. Raises ArmError (400 for another than it has, 501 for those that are not emulated)."""
    kind = read.choice(body, "kind", KINDS, None) or (existing.document["kind"] if existing else "Default")
    if kind != "Default":
        raise not_emulated(f"workspaces of kind {kind}")
    return kind


def check_identity(block: dict[str, Any] | None, sent: dict[str, Any]) -> None:
    """A workspace has an identity, and says which it is where it has users' only. Raises ArmError (400)."""
    if block is None or block["type"] == "None":
        raise invalid(
            "'identity' is required: a workspace needs a system- or user-assigned identity.", "ValidationError"
        )
    if "UserAssigned" not in block["type"].split(","):
        return
    own = {each.lower() for each in block.get("userAssignedIdentities") or {}}
    if not own:
        raise invalid("'identity.userAssignedIdentities' is empty; it must name an identity.", "ValidationError")
    primary = _text(sent, "primaryUserAssignedIdentity")
    if (primary is None and block["type"] == "UserAssigned") or (primary is not None and primary.lower() not in own):
        raise invalid(
            f"'properties.primaryUserAssignedIdentity' is {primary!r}; it must be one of "
            "identity.userAssignedIdentities for a workspace without a system-assigned identity.",
            "ValidationError",
        )


def check_dependencies(cloud: Cloud, sent: dict[str, Any]) -> None:
    """Everything that a workspace stands on exists. Raises ArmError (400)."""
    for name, kind in DEPENDENCIES.items():
        reference = _text(sent, name)
        if reference is None:
            if name in _REQUIRED:
                raise invalid(f"'properties.{name}' is required.", "ValidationError")
            continue
        found = cloud.store.get(reference)
        if found is None or found.type.lower() != kind.lower():
            raise ArmError(
                400, "ValidationError", f"'properties.{name}' names '{reference}', which is no {kind} that exists."
            )
        if name == "storageAccount" and str(found.document["sku"]["name"]).startswith("Premium"):
            raise invalid(
                f"'properties.storageAccount' names '{found.name}' of {found.document['sku']['name']}; a workspace "
                "needs a standard storage account.",
                "ValidationError",
            )


def refuse_move(cloud: Cloud, existing: Resource, wanted: dict[str, Any]) -> None:
    """Raises ArmError (400) where an update would change what is set when a workspace is created."""
    for name in _FIXED:
        before, after = existing.properties.get(name), wanted.get(name)
        if str(before).lower() != str(after).lower():
            raise invalid(
                f"'properties.{name}' of the workspace '{existing.name}' is '{before}' and cannot "
                f"become '{after}': it is set when the workspace is created.",
                "ValidationError",
            )
    before = (existing.properties.get("encryption") or {}).get("status", "Disabled")
    after = (wanted.get("encryption") or {}).get("status", "Disabled")
    if before != after:
        raise invalid(
            f"'properties.encryption.status' of the workspace '{existing.name}' is {before} and cannot become {after}.",
            "ValidationError",
        )
    managed_network.refuse_turn(cloud, existing, wanted["managedNetwork"])


def properties(
    cloud: Cloud, sent: dict[str, Any], before: dict[str, Any], resource_id: str, location: str
) -> dict[str, Any]:
    """The properties of a workspace; `before` are those that it has, empty for a new one. Raises ArmError (400)."""
    host = f"{location.replace(' ', '').lower()}.api.azureml.ms"
    account = cloud.store.get(_text(sent, "storageAccount") or "/")
    connections = private_links.connections(cloud, resource_id)
    found: dict[str, Any] = {
        "friendlyName": _text(sent, "friendlyName") or ids.name(resource_id),
        "description": read.text(sent, "description", _WHERE) or "",
        **{name: _text(sent, name) for name in DEPENDENCIES},
        "hbiWorkspace": flag(sent, "hbiWorkspace", False),
        "imageBuildCompute": read.text(sent, "imageBuildCompute", _WHERE) or "",
        "v1LegacyMode": _legacy(sent),
        "publicNetworkAccess": read.choice(sent, "publicNetworkAccess", ("Enabled", "Disabled"), "Enabled", _WHERE),
        "allowPublicAccessWhenBehindVnet": flag(sent, "allowPublicAccessWhenBehindVnet", False),
        "primaryUserAssignedIdentity": _text(sent, "primaryUserAssignedIdentity"),
        "systemDatastoresAuthMode": _auth_mode(sent),
        "enableDataIsolation": flag(sent, "enableDataIsolation", False),
        "enableServiceSideCMKEncryption": flag(sent, "enableServiceSideCMKEncryption", False),
        "allowRoleAssignmentOnRG": flag(sent, "allowRoleAssignmentOnRG", True),
        "EnableSoftwareBillOfMaterials": False,
        "ipAllowlist": _allowed(sent),
        "networkAcls": _firewall(sent),
        "encryption": _encryption(read.mapping(sent, "encryption", _WHERE)),
        **{name: _object(sent, name) for name in _OBJECTS},
        "workspaceId": before.get("workspaceId") or str(uuid.uuid4()),
        "tenantId": cloud.settings.tenant_id,
        "discoveryUrl": f"https://{host}/discovery",
        "mlFlowTrackingUri": f"azureml://{host}/mlflow/v1.0{resource_id}",
        "creationTime": before.get("creationTime") or now(),
        "notebookInfo": None,
        "sdkTelemetryAppInsightsKey": stable_id("sdkTelemetry", location),
        "softDeleteEnabled": True,
        "storageHnsEnabled": bool(account is not None and account.properties.get("isHnsEnabled")),
        "privateLinkCount": len(connections),
        "privateEndpointConnections": connections,
        "provisioningState": SUCCEEDED,
    }
    wanted = read.mapping(sent, "managedNetwork", _WHERE)
    held = before.get("managedNetwork") or {}
    return {**found, "managedNetwork": managed_network.network(cloud, wanted, found, held, resource_id)}


def _legacy(sent: dict[str, Any]) -> bool:
    if flag(sent, "v1LegacyMode", False):
        # It would take Azure ML's part of Resource Manager behind the workspace's walls.
        raise not_emulated("v1LegacyMode, which is for version 1 of Azure ML's API")
    return False


def _allowed(sent: dict[str, Any]) -> list[str]:
    found = read.texts(sent, "ipAllowlist", _WHERE)
    for each in found:
        if firewalls.address_range(each) is None:
            raise invalid(
                f"'properties.ipAllowlist' has '{each[:80]}', which is neither an IPv4 address nor a prefix of them.",
                "ValidationError",
            )
    return found


def _firewall(sent: dict[str, Any]) -> dict[str, Any]:
    where = f"{_WHERE}.networkAcls"
    acls = read.mapping(sent, "networkAcls", _WHERE)
    firewalls.require_ranges(acls, where)
    action = read.choice(acls, "defaultAction", ("Allow", "Deny"), "Allow", where)
    usual = {"bypass": "AzureServices", "ipRules": [], "resourceAccessRules": []}
    return {**usual, **{name: value for name, value in acls.items() if value is not None}, "defaultAction": action}


def _auth_mode(sent: dict[str, Any]) -> str:
    if not _text(sent, "systemDatastoresAuthMode"):
        return AUTH_MODES[0]
    return read.choice(sent, "systemDatastoresAuthMode", AUTH_MODES, None, _WHERE) or AUTH_MODES[0]


def _encryption(sent: dict[str, Any]) -> dict[str, Any] | None:
    """Encryption with the customer's key; None where it is off, as in a workspace without."""
    where = "properties.encryption"
    if read.choice(sent, "status", ("Enabled", "Disabled"), "Disabled", where) == "Disabled":
        return None
    vault = read.mapping(sent, "keyVaultProperties", where, required=True)
    for name in ("keyVaultArmId", "keyIdentifier"):
        read.text(vault, name, f"{where}.keyVaultProperties", required=True)
    return {**sent, "status": "Enabled"}


def _object(sent: dict[str, Any], name: str) -> dict[str, Any] | None:
    return read.mapping(sent, name, _WHERE) or None


def _text(sent: dict[str, Any], name: str) -> str | None:
    """A text; None for an empty one, which the client's template sends for what is not set."""
    return read.text(sent, name, _WHERE) or None


def flag(sent: dict[str, Any], name: str, default: bool, *, blank: bool = True) -> bool:
    """A boolean, which the client's template sends as text; where it may be left `blank`, as an empty one too."""
    value = sent.get(name)
    if isinstance(value, str) and value.lower() in ("true", "false", *([""] if blank else [])):
        return value.lower() == "true" if value else default
    return read.flag(sent, name, default, _WHERE)
