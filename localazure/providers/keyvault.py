"""Key vaults: the control plane, with soft delete, recovery and purge. Their data plane is not emulated."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid
from localazure.arm.ids import GROUP, SUBSCRIPTION
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource
from localazure.providers import firewalls
from localazure.providers.cloud import Cloud
from localazure.providers.common import (
    Composed,
    Plain,
    asked_name,
    defaults,
    envelope,
    is_guid,
    listing,
    normal_location,
    require,
    require_subscription,
    system_data,
    unavailable,
)
from localazure.providers.private_links import connections, disconnect

TYPE = "Microsoft.KeyVault/vaults"
VAULT = GROUP + "/providers/Microsoft.KeyVault/vaults/{vault}"
POLICIES = VAULT + "/accessPolicies/{change}"
DELETED_TYPE = "Microsoft.KeyVault/deletedVaults"
DELETED = SUBSCRIPTION + "/providers/Microsoft.KeyVault/locations/{location}/deletedVaults/{vault}"
LONGEST_RETENTION = 90


class Vaults:
    """`Microsoft.KeyVault/vaults`. A deleted vault's name stays taken until it is purged or its retention ends."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._vaults = Plain(cloud, TYPE, VAULT, self._compose, self.remember)

    def routes(self) -> list[Route]:
        provider = SUBSCRIPTION + "/providers/Microsoft.KeyVault"
        return [
            *self._vaults.routes(),
            Route.of("PUT", POLICIES, self.change_policies),
            Route.of("GET", DELETED, self.deleted),
            Route.of("POST", DELETED + "/purge", self.purge),
            Route.of("GET", provider + "/deletedVaults", self.list_deleted),
            Route.of("POST", provider + "/checkNameAvailability", self.check_availability),
        ]

    # Create, update, recover ---------------------------------------------------------------------------------

    def _compose(self, call: Call, body: dict[str, Any], existing: Resource | None, resource_id: str) -> Composed:
        name = ids.name(resource_id)
        if not _NAME.fullmatch(name):
            raise invalid(_invalid_name(name), "VaultNameNotValid")
        sent = read.mapping(body, "properties", required=True)
        mode = read.choice(sent, "createMode", ("default", "recover"), "default", "properties")
        self._refuse_taken(name, resource_id)
        gone = self._deleted_named(name)
        if mode == "recover" and existing is None:
            return self._recover(call, body, gone, resource_id)
        if gone is not None:
            raise ArmError(
                409,
                "ConflictError",
                "A vault with the same name already exists in deleted state. You need to either recover or purge "
                "existing key vault. Follow this link https://go.microsoft.com/fwlink/?linkid=2149745 for more "
                "information on soft delete.",
            )
        return self._composed(call, body, existing, resource_id)

    def _composed(self, call: Call, body: dict[str, Any], existing: Resource | None, resource_id: str) -> Composed:
        sent = read.mapping(body, "properties", required=True)
        _check_tenant(read.text(sent, "tenantId", "properties", required=True) or "", "properties.tenantId")
        properties = defaults(sent, **_DEFAULTS) | {
            "sku": _sku(sent),
            "softDeleteRetentionInDays": _retention(sent, existing),
            "accessPolicies": _policies(sent),
            **_protection(sent, existing),
            **_flags(sent),
            **_connections(self._cloud, resource_id),
            "vaultUri": f"https://{ids.name(resource_id).lower()}.vault.azure.net/",
            "provisioningState": "Succeeded",
        }
        properties.pop("createMode", None)
        _check_network(self._cloud, sent)
        data = system_data(self._cloud, call, existing)
        return Composed(envelope(resource_id, TYPE, body, systemData=data, properties=properties), {})

    def _recover(self, call: Call, body: dict[str, Any], gone: Resource | None, resource_id: str) -> Composed:
        here = normal_location(read.text(body, "location") or "")
        if gone is None or gone.properties["location"] != here or not ids.same(gone.properties["vaultId"], resource_id):
            raise ArmError(
                404,
                "DeletedVaultNotFound",
                f"There is no deleted vault '{ids.name(resource_id)}' in this resource group and in location '{here}' "
                "to recover.",
            )
        self._cloud.store.delete(gone.id)
        document = gone.hidden["document"]
        data = system_data(self._cloud, call, Resource(resource_id, TYPE, document))
        return Composed({**document, "systemData": data}, {})

    def _refuse_taken(self, name: str, resource_id: str) -> None:
        for other in self._cloud.store.of_type(TYPE):
            if other.name.lower() == name.lower() and not ids.same(other.id, resource_id):
                raise ArmError(409, "VaultAlreadyExists", _taken(name))

    def change_policies(self, call: Call) -> Answer:
        """PUT accessPolicies/add, replace or remove: only those of the identities that are named."""
        vault = require_vault(self._cloud, call)
        change = read.choice({"operation": call.params["change"]}, "operation", ("add", "replace", "remove"), None)
        sent = _policies(read.mapping(call.json(), "properties", required=True))
        held = {policy["objectId"].lower(): policy for policy in vault.properties["accessPolicies"]}
        for policy in sent:
            key = policy["objectId"].lower()
            if change == "add" and key in held:
                policy = {**policy, "permissions": _joined(held[key]["permissions"], policy["permissions"])}
            held[key] = policy
            if change == "remove":
                del held[key]
        changed = vault.with_properties(accessPolicies=list(held.values()))
        data = system_data(self._cloud, call, vault)
        self._cloud.store.put(replace(changed, document={**changed.document, "systemData": data}))
        answer = {"id": call.path, "type": f"{TYPE}/accessPolicies", "location": vault.document["location"]}
        return Answer(200, {**answer, "properties": {"accessPolicies": changed.properties["accessPolicies"]}})

    # Soft delete ---------------------------------------------------------------------------------------------

    def remember(self, _call: Call | None, vault: Resource) -> None:
        """Keeps a deleted vault for its retention."""
        disconnect(self._cloud, vault.id)
        days = vault.properties["softDeleteRetentionInDays"]
        deleted = datetime.now(UTC)
        subscription = "/".join(vault.id.split("/")[:3])
        location = vault.document["location"]
        deleted_id = f"{subscription}/providers/Microsoft.KeyVault/locations/{location}/deletedVaults/{vault.name}"
        properties = {
            "vaultId": vault.id,
            "location": location,
            "tags": vault.document.get("tags") or {},
            "deletionDate": _stamp(deleted),
            "scheduledPurgeDate": _stamp(deleted + timedelta(days=days)),
            "purgeProtectionEnabled": bool(vault.properties.get("enablePurgeProtection")),
        }
        document = {"id": deleted_id, "name": vault.name, "type": DELETED_TYPE, "properties": properties}
        # The rows of one name replace each other, whatever the vault's case was.
        if older := self._deleted_named(vault.name):
            self._cloud.store.delete(older.id)
        self._cloud.store.put(Resource(deleted_id, DELETED_TYPE, document, {"document": vault.document}))

    def _alive_deleted(self) -> list[Resource]:
        moment = _stamp(datetime.now(UTC))
        return [
            each for each in self._cloud.store.of_type(DELETED_TYPE) if each.properties["scheduledPurgeDate"] > moment
        ]

    def _deleted_named(self, name: str) -> Resource | None:
        return next((each for each in self._alive_deleted() if each.name.lower() == name.lower()), None)

    def deleted(self, call: Call) -> Answer:
        """GET of a deleted vault."""
        return Answer(200, self._find(call).document)

    def list_deleted(self, call: Call) -> Answer:
        """The deleted vaults of the subscription."""
        require_subscription(self._cloud, call.params["subscription"])
        return listing(self._alive_deleted())

    def purge(self, call: Call) -> Answer:
        """POST purge: the name is free at once."""
        gone = self._find(call)
        if gone.properties["purgeProtectionEnabled"]:
            raise ArmError(
                400,
                "DeletedVaultPurge",
                'Operation "DeletedVaultPurge" is not allowed because purge protection is enabled '
                f"for this vault '{gone.name}'.",
            )
        self._cloud.store.delete(gone.id)
        return Answer(200)

    def _find(self, call: Call) -> Resource:
        require_subscription(self._cloud, call.params["subscription"])
        region = normal_location(call.params["location"])
        gone = self._deleted_named(call.params["vault"])
        if gone is None or gone.properties["location"] != region:
            raise ArmError(
                404, "DeletedVaultNotFound", f"The specified deleted vault '{call.params['vault']}' does not exist."
            )
        return gone

    def check_availability(self, call: Call) -> Answer:
        """POST checkNameAvailability: a deleted vault's name is not to be had either."""
        name = asked_name(self._cloud, call, TYPE)
        if not _NAME.fullmatch(name):
            return Answer(200, unavailable("AccountNameInvalid", _invalid_name(name)))
        held = [*self._cloud.store.of_type(TYPE), *self._alive_deleted()]
        if any(each.name.lower() == name.lower() for each in held):
            return Answer(200, unavailable("AlreadyExists", _taken(name)))
        return Answer(200, {"nameAvailable": True, "reason": None, "message": None})


# 3 to 24 letters, digits and single hyphens, from a letter to a letter or digit.
_NAME = re.compile(r"(?=.{3,24}$)[a-zA-Z](-?[a-zA-Z0-9])+")
_KINDS = ("keys", "secrets", "certificates", "storage")
_FLAGS = ("enabledForDeployment", "enabledForDiskEncryption", "enabledForTemplateDeployment", "enableRbacAuthorization")
_DEFAULTS: dict[str, Any] = {"enabledForDeployment": False, "enableSoftDelete": True, "publicNetworkAccess": "Enabled"}


def require_vault(cloud: Cloud, call: Call) -> Resource:
    """The vault that a call below it is about. Raises ArmError (404)."""
    return require(cloud, replace(call, template=ids.Template(VAULT)))


def _invalid_name(name: str) -> str:
    return (
        f"The vault name '{name}' is invalid. A vault's name must be between 3-24 alphanumeric characters. The name "
        "must begin with a letter, end with a letter or digit, and not contain consecutive hyphens. Follow this link "
        "for more information: https://go.microsoft.com/fwlink/?linkid=2147742"
    )


def _taken(name: str) -> str:
    return (
        f"The vault name '{name}' is already in use. Vault names are globaly unique so it is possible that the name is "
        "already taken. If you are sure that the vault name was not taken then it is possible that a vault with the "
        "same name was recently deleted but not purged after being placed in a recoverable state. If the vault is in a "
        "recoverable state then the vault will need to be purged before reusing the name. For more information on soft "
        "delete and purging a vault follow this link https://go.microsoft.com/fwlink/?linkid=2147740."
    )


def _bad(message: str) -> ArmError:
    return invalid(message, "BadRequest")


def _check_tenant(tenant: str, where: str) -> None:
    if not is_guid(tenant):
        raise _bad(f"An invalid value was provided for '{where}': '{tenant}' is no GUID.")


def _sku(sent: dict[str, Any]) -> dict[str, Any]:
    sku = read.mapping(sent, "sku", "properties", required=True)
    read.text(sku, "name", "properties.sku", required=True)
    return {
        "family": read.choice(sku, "family", ("A",), "A", "properties.sku"),
        "name": read.choice(sku, "name", ("standard", "premium"), None, "properties.sku"),
    }


def _retention(sent: dict[str, Any], existing: Resource | None) -> int:
    has = existing.properties["softDeleteRetentionInDays"] if existing else LONGEST_RETENTION
    days = read.integer(sent, "softDeleteRetentionInDays", has, "properties", least=7, most=LONGEST_RETENTION)
    if existing is not None and days != has:
        raise _bad('The property "softDeleteRetentionInDays" has been set already and it can\'t be modified.')
    return days


def _protection(sent: dict[str, Any], existing: Resource | None) -> dict[str, Any]:
    """Soft delete is always on; purge protection, once on, stays on."""
    if not read.flag(sent, "enableSoftDelete", True, "properties"):
        raise _bad(
            'The property "enableSoftDelete" can be set to false only for creating new vault. '
            "Enabling the 'soft delete' functionality is an irreversible action."
        )
    if not read.flag(sent, "enablePurgeProtection", True, "properties"):
        raise _bad(
            'The property "enablePurgeProtection" cannot be set to false. Enabling the purge protection for a vault '
            "is an irreversible action."
        )
    had = existing is not None and existing.properties.get("enablePurgeProtection")
    return {"enablePurgeProtection": True} if had or sent.get("enablePurgeProtection") else {}


def _connections(cloud: Cloud, resource_id: str) -> dict[str, Any]:
    # A vault without private endpoints does not speak of them.
    found = connections(cloud, resource_id)
    return {"privateEndpointConnections": found} if found else {}


def _flags(sent: dict[str, Any]) -> dict[str, bool]:
    return {name: read.flag(sent, name, False, "properties") for name in _FLAGS if sent.get(name) is not None}


def _check_network(cloud: Cloud, sent: dict[str, Any]) -> None:
    read.choice(sent, "publicNetworkAccess", ("Enabled", "Disabled"), None, "properties")
    acls = read.mapping(sent, "networkAcls", "properties")
    read.choice(acls, "bypass", ("AzureServices", "None"), None, "properties.networkAcls")
    read.choice(acls, "defaultAction", ("Allow", "Deny"), None, "properties.networkAcls")
    firewalls.require_ranges(acls, "properties.networkAcls")
    firewalls.check_subnets(cloud, acls, "Microsoft.KeyVault", "properties.networkAcls")


def _policies(sent: dict[str, Any]) -> list[dict[str, Any]]:
    """The access policies: required, but where roles decide."""
    if sent.get("accessPolicies") is None and not sent.get("enableRbacAuthorization"):
        raise _bad("The parameter accessPolicies is not specified.")
    policies = read.sequence(sent, "accessPolicies", "properties")
    if len(policies) > 1024:
        raise _bad(f"A vault can have 1024 access policies, not {len(policies)}.")
    for at, policy in enumerate(policies):
        _check_policy(policy, f"properties.accessPolicies[{at}]")
    return policies


def _check_policy(policy: Any, where: str) -> None:
    if not isinstance(policy, dict):
        raise _bad(f"'{where}' must be an object with tenantId, objectId and permissions.")
    _check_tenant(read.text(policy, "tenantId", where, required=True) or "", f"{where}.tenantId")
    principal = read.text(policy, "objectId", where, required=True) or ""
    if not is_guid(principal):
        raise _bad(f"An invalid value was provided for '{where}.objectId': '{principal}' is no GUID.")
    permissions = read.mapping(policy, "permissions", where, required=True)
    for kind in permissions:
        if kind not in _KINDS:
            raise _bad(f"'{where}.permissions' is for {', '.join(_KINDS)}, not '{kind}'.")
        for each in read.sequence(permissions, kind, f"{where}.permissions"):
            if not isinstance(each, str):
                raise _bad(f"'{where}.permissions.{kind}' must be a list of words such as get.")


def _joined(held: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    kinds = [kind for kind in _KINDS if held.get(kind) or more.get(kind)]
    return {kind: list(dict.fromkeys([*(held.get(kind) or []), *(more.get(kind) or [])])) for kind in kinds}


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
