"""Key vaults: the control plane, with soft delete and purge. Their data plane is not emulated."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError
from localazure.arm.ids import GROUP, SUBSCRIPTION
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.common import Composed, Plain, check_name, defaults, envelope, listing, normal_location

TYPE = "Microsoft.KeyVault/vaults"
VAULT = GROUP + "/providers/Microsoft.KeyVault/vaults/{vault}"
DELETED_TYPE = "Microsoft.KeyVault/deletedVaults"
DELETED = SUBSCRIPTION + "/providers/Microsoft.KeyVault/locations/{location}/deletedVaults/{vault}"


class Vaults:
    """`Microsoft.KeyVault/vaults`. A deleted vault's name stays taken until it is purged or its retention ends."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._vaults = Plain(cloud, TYPE, VAULT, self._compose, self.remember)

    def routes(self) -> list[Route]:
        return [
            *self._vaults.routes(),
            Route.of("GET", DELETED, self.deleted),
            Route.of("POST", DELETED + "/purge", self.purge),
            Route.of("GET", SUBSCRIPTION + "/providers/Microsoft.KeyVault/deletedVaults", self.list_deleted),
        ]

    def _compose(self, _call: Call, body: dict[str, Any], existing: Resource | None, resource_id: str) -> Composed:
        name = ids.name(resource_id)
        rule = "3 to 24 letters, digits and single hyphens, beginning with a letter and ending with a letter or digit"
        check_name(name, r"(?=.{3,24}$)[a-zA-Z](-?[a-zA-Z0-9])+", "vault", rule)
        sent = read.mapping(body, "properties", required=True)
        read.text(sent, "tenantId", "properties", required=True)
        read.text(read.mapping(sent, "sku", "properties", required=True), "name", "properties.sku", required=True)
        recover = read.text(sent, "createMode", "properties") == "recover"
        self._refuse_taken(name, resource_id, recover)
        days = read.integer(sent, "softDeleteRetentionInDays", 90, "properties", least=7, most=90)
        properties = defaults(sent, **_DEFAULTS) | {"softDeleteRetentionInDays": days}
        properties.pop("createMode", None)
        properties |= {"vaultUri": f"https://{name}.vault.azure.net/", "provisioningState": "Succeeded"}
        return Composed(envelope(resource_id, TYPE, body, properties=properties), {})

    def _refuse_taken(self, name: str, resource_id: str, recover: bool) -> None:
        for other in self._cloud.store.of_type(TYPE):
            if other.name.lower() == name.lower() and not ids.same(other.id, resource_id):
                raise ArmError(
                    409,
                    "VaultAlreadyExists",
                    f"The vault name '{name}' is already in use. Vault names are globally unique.",
                )
        for gone in self._alive_deleted():
            if gone.name.lower() == name.lower():
                if not recover:
                    raise ArmError(
                        409,
                        "ConflictError",
                        "A vault with the same name already exists in deleted state. You need to "
                        f"either recover or purge existing key vault '{name}'.",
                    )
                self._cloud.store.delete(gone.id)

    def remember(self, _call: Call | None, vault: Resource) -> None:
        """Keeps a deleted vault for its retention."""
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
        self._cloud.store.put(Resource(deleted_id, DELETED_TYPE, document))

    def _alive_deleted(self) -> list[Resource]:
        moment = _stamp(datetime.now(UTC))
        return [
            each for each in self._cloud.store.of_type(DELETED_TYPE) if each.properties["scheduledPurgeDate"] > moment
        ]

    def deleted(self, call: Call) -> Answer:
        """GET of a deleted vault."""
        return Answer(200, self._find(call).document)

    def list_deleted(self, _call: Call) -> Answer:
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
        region = normal_location(call.params["location"])
        for gone in self._alive_deleted():
            if gone.name.lower() == call.params["vault"].lower() and gone.properties["location"] == region:
                return gone
        raise ArmError(
            404, "DeletedVaultNotFound", f"The specified deleted vault '{call.params['vault']}' does not exist."
        )


_DEFAULTS: dict[str, Any] = {
    "accessPolicies": [],
    "enabledForDeployment": False,
    "enableSoftDelete": True,
    "softDeleteRetentionInDays": 90,
    "publicNetworkAccess": "Enabled",
}


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
