"""Storage accounts with their keys and blob containers. Behind each account runs an Azurite."""

from __future__ import annotations

import base64
import hmac
import ipaddress
import re
import secrets
from dataclasses import replace
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid, resource_not_found
from localazure.arm.ids import GROUP, SUBSCRIPTION
from localazure.arm.operations import Family, Kind
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Operation, Resource, now
from localazure.blobs import Blobs
from localazure.providers import firewalls
from localazure.providers.cloud import Cloud
from localazure.providers.common import (
    Composed,
    Plain,
    asked_name,
    check_name,
    defaults,
    envelope,
    identity,
    keep_hidden,
    long_headers,
    normal_location,
    page,
    poll_routes,
    require,
    require_group,
    unavailable,
    with_state,
)
from localazure.providers.private_links import connections, disconnect

TYPE = "Microsoft.Storage/storageAccounts"
ACCOUNT = GROUP + "/providers/Microsoft.Storage/storageAccounts/{account}"
CONTAINER_TYPE = "Microsoft.Storage/storageAccounts/blobServices/containers"
SERVICE_TYPE = "Microsoft.Storage/storageAccounts/blobServices"
SERVICE = ACCOUNT + "/blobServices/default"
CONTAINER = SERVICE + "/containers/{container}"
FAMILY = Family("Microsoft.Storage", "", "", "asyncoperations", "ResolvingDns", timeout="")


class Storage:
    """`Microsoft.Storage/storageAccounts` and the containers of their blob service."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._accounts = Plain(cloud, TYPE, ACCOUNT, self._compose, self._removed)
        self._containers = Plain(cloud, CONTAINER_TYPE, CONTAINER, self._compose_container, tracked=False)
        cloud.operations.register("storage.create", Kind(self._start, self._ready, self._failed))

    def routes(self) -> list[Route]:
        own = ("PUT", "PATCH", "DELETE")
        stored = "stored; soft delete, versioning and CORS do nothing"
        unseen = "containers that were made by the data plane are not seen"
        return [
            Route.of("PUT", ACCOUNT, self.create),
            Route.of("PATCH", ACCOUNT, self.patch),
            Route.of("DELETE", ACCOUNT, self.delete),
            *(route for route in self._accounts.routes() if route.method not in own),
            Route.of("POST", ACCOUNT + "/listKeys", self.list_keys),
            Route.of("POST", ACCOUNT + "/regenerateKey", self.regenerate_key, slow=True),
            Route.of(
                "POST", SUBSCRIPTION + "/providers/Microsoft.Storage/checkNameAvailability", self.check_availability
            ),
            Route.of("GET", ACCOUNT + "/blobServices", self.list_services, simplified=stored),
            Route.of("GET", SERVICE, lambda call: Answer(200, self._service(call)), simplified=stored),
            Route.of("PUT", SERVICE, self.set_service, simplified=stored),
            Route.of("PUT", CONTAINER, self.create_container, slow=True),
            Route.of("PATCH", CONTAINER, self.patch_container),
            Route.of("GET", CONTAINER, self.get_container, simplified=unseen),
            Route.of("DELETE", CONTAINER, self.delete_container, slow=True),
            Route.of("GET", CONTAINER.rpartition("/")[0], self.list_containers, simplified=unseen),
            *poll_routes(self._cloud, FAMILY),
        ]

    def create(self, call: Call) -> Answer:
        """PUT: 202 for a new account, whose Azurite has to start; 200 at once for one that works."""
        existing = self._cloud.store.get(call.path)
        _refuse_busy(existing)
        answer = self._accounts.create(call)
        if existing is not None and existing.state == "Succeeded":
            self._follow(call)
            return answer
        account = require(self._cloud, call)
        self._cloud.store.put(with_state(account, "Creating"))
        operation = self._cloud.operations.begin("storage.create", account.id)
        return Answer(202, headers=long_headers(self._cloud, call, FAMILY, operation, account.document["location"]))

    def patch(self, call: Call) -> Answer:
        """PATCH: tags and SKU replaced, properties merged."""
        _refuse_busy(self._cloud.store.get(call.path))
        answer = self._accounts.patch(call)
        self._follow(call)
        return answer

    def _follow(self, call: Call) -> None:
        """Has the account served by its new settings from the next connection on."""
        account = require(self._cloud, call)
        self._cloud.store.after_commit(lambda: register(self._cloud, account))

    def delete(self, call: Call) -> Answer:
        """DELETE, with all that the account holds."""
        _refuse_busy(self._cloud.store.get(call.path))
        return self._accounts.delete(call)

    def _compose(self, call: Call, body: dict[str, Any], existing: Resource | None, resource_id: str) -> Composed:
        name = ids.name(resource_id)
        if not _NAME.fullmatch(name):
            raise invalid(_invalid_name(name), "AccountNameInvalid")
        self._refuse_taken(name, resource_id)
        sku, kind = _kind(body)
        sent = read.mapping(body, "properties")
        _refuse_change(existing, sku, kind, sent)
        region = normal_location(str(body["location"]))
        before = existing.properties if existing else {}
        moment = before.get("creationTime") or now()
        properties = defaults(sent, **_DEFAULTS, **_ENCRYPTION) | {
            **_choices(sent),
            "networkAcls": _network(self._cloud, sent),
            "provisioningState": before.get("provisioningState") or "Succeeded",
            "primaryEndpoints": _endpoints(name),
            "primaryLocation": region,
            "statusOfPrimary": "available",
            "creationTime": moment,
            "keyCreationTime": before.get("keyCreationTime") or {"key1": moment, "key2": moment},
            "privateEndpointConnections": connections(self._cloud, resource_id),
        }
        if kind == "Storage":
            properties.pop("accessTier", None)
        document = envelope(
            resource_id,
            TYPE,
            body,
            sku={"name": sku, "tier": sku.partition("_")[0]},
            kind=kind,
            properties=properties,
        )
        if (block := identity(self._cloud, body, existing)) is not None:
            document["identity"] = block
        return Composed(document, keep_hidden(existing, keys=[_key(), _key()]))

    def _refuse_taken(self, name: str, resource_id: str) -> None:
        for other in self._cloud.store.of_type(TYPE):
            if other.name == name and not ids.same(other.id, resource_id):
                # What the service says within one subscription; StorageAccountAlreadyTaken is for another's.
                raise ArmError(
                    409,
                    "StorageAccountInAnotherResourceGroup",
                    f"The account {name} is already in another resource group in this subscription.",
                )

    def _start(self, operation: Operation) -> None:
        account = self._cloud.store.get(operation.resource)
        if account is not None:
            serve(self._cloud, account)

    def _ready(self, operation: Operation, _outcome: object) -> None:
        if account := self._cloud.store.get(operation.resource):
            self._cloud.store.put(with_state(account, "Succeeded"))

    def _failed(self, operation: Operation, _failure: object) -> None:
        if account := self._cloud.store.get(operation.resource):
            self._cloud.store.put(with_state(account, "Failed"))

    def _removed(self, _call: Call, account: Resource) -> None:
        disconnect(self._cloud, account.id)
        self._cloud.store.after_commit(lambda: self.take_down(account))

    def take_down(self, account: Resource) -> None:
        """Stops the account's Azurite and deletes its blobs."""
        self._cloud.fleet.remove(account.name)

    def list_keys(self, call: Call) -> Answer:
        """POST listKeys."""
        account = require(self._cloud, call)
        times = account.properties.get("keyCreationTime") or {}
        keys = [
            {"keyName": name, "value": value, "permissions": "FULL", "creationTime": times.get(name)}
            for name, value in zip(("key1", "key2"), account.hidden["keys"], strict=True)
        ]
        return Answer(200, {"keys": keys})

    def regenerate_key(self, call: Call) -> Answer:
        """POST regenerateKey: the account's Azurite takes the new key at once."""
        name = read.choice(call.json(), "keyName", ("key1", "key2"), None)
        if name is None:
            raise invalid("'keyName' is required: key1 or key2.", "ValidationError")
        with self._cloud.store.transaction():
            account = require(self._cloud, call)
            _refuse_busy(account)
            keys = [_key() if f"key{at + 1}" == name else value for at, value in enumerate(account.hidden["keys"])]
            times = {**account.properties.get("keyCreationTime", {}), name: now()}
            changed = account.with_properties(keyCreationTime=times)
            self._cloud.store.put(replace(changed, hidden={**account.hidden, "keys": keys}))
        serve(self._cloud, require(self._cloud, call))
        return self.list_keys(call)

    def check_availability(self, call: Call) -> Answer:
        """POST checkNameAvailability: whether a name has Azure's form, and nobody has it."""
        name = asked_name(self._cloud, call, TYPE)
        if not _NAME.fullmatch(name):
            return Answer(200, unavailable("AccountNameInvalid", _invalid_name(name)))
        if any(other.name == name for other in self._cloud.store.of_type(TYPE)):
            return Answer(200, unavailable("AlreadyExists", f"The storage account named {name} is already taken."))
        return Answer(200, {"nameAvailable": True})

    # The blob service ----------------------------------------------------------------------------------------

    def list_services(self, call: Call) -> Answer:
        """The blob services of an account: the one called default."""
        return Answer(200, {"value": [self._service(call)]})

    def set_service(self, call: Call) -> Answer:
        """PUT of the blob service's settings."""
        account = self._account(call)
        sent = read.mapping(call.json(), "properties")
        for name in ("deleteRetentionPolicy", "containerDeleteRetentionPolicy"):
            policy = read.mapping(sent, name, "properties")
            days = read.integer(policy, "days", 0, f"properties.{name}", least=1, most=365)
            if read.flag(policy, "enabled", False, f"properties.{name}") and not days:
                raise invalid(f"'properties.{name}.days' is required where it is enabled: 1 to 365.", "ValidationError")
        read.sequence(read.mapping(sent, "cors", "properties"), "corsRules", "properties.cors")
        document = _service_document(account, defaults(sent, **_SERVICE_DEFAULTS))
        self._cloud.store.put(Resource(document["id"], SERVICE_TYPE, document))
        return Answer(200, document)

    def _service(self, call: Call) -> dict[str, Any]:
        account = self._account(call)
        found = self._cloud.store.get(f"{account.id}/blobServices/default")
        return found.document if found else _service_document(account, _SERVICE_DEFAULTS)

    # Containers ----------------------------------------------------------------------------------------------

    def create_container(self, call: Call) -> Answer:
        """PUT of a blob container: made in Azurite first, so that no answer speaks of one that is not there."""
        account = self._account(call)
        _refuse_busy(account)
        _check_container(call.params["container"])
        _check_public(account, call.json())
        open_blobs(self._cloud, account).create_container(call.params["container"])
        with self._cloud.store.transaction():
            return self._containers.create(call)

    def patch_container(self, call: Call) -> Answer:
        """PATCH: properties merged."""
        _check_public(self._account(call), call.json())
        self.get_container(call)
        return self._containers.patch(call)

    def get_container(self, call: Call) -> Answer:
        self._account(call)
        found = self._cloud.store.get(call.path)
        if found is None:
            raise ArmError(404, "ContainerNotFound", "The specified container does not exist.")
        return Answer(200, found.document)

    def _compose_container(
        self, _call: Call, body: dict[str, Any], existing: Resource | None, resource_id: str
    ) -> Composed:
        sent = read.mapping(body, "properties")
        read.strings(sent, "metadata", "properties")
        settable = {name: value for name, value in sent.items() if name not in _CONTAINER_COMPUTED}
        access = read.choice(sent, "publicAccess", ("None", "Container", "Blob"), "None", "properties")
        properties = defaults(settable, **_CONTAINER_DEFAULTS) | {**_CONTAINER_STATE, "publicAccess": access}
        before = dict(existing.properties) if existing else {}
        written = before.pop("lastModifiedTime", None)
        etag = existing.document["etag"] if existing and before == properties else _etag()
        properties["lastModifiedTime"] = written if before == properties else now()
        return Composed({**_proxy(resource_id, CONTAINER_TYPE), "etag": etag, "properties": properties}, {})

    def delete_container(self, call: Call) -> Answer:
        """DELETE: out of Azurite first, which may have to start, and not while the store is locked."""
        account = self._account(call)
        if found := self._cloud.store.get(call.path):
            open_blobs(self._cloud, account).delete_container(found.name)
        with self._cloud.store.transaction():
            return self._containers.delete(call)

    def list_containers(self, call: Call) -> Answer:
        """The containers by name, from `$filter` on where it is a prefix, `$maxpagesize` at a time."""
        account = self._account(call)
        prefix = call.query.get("$filter", "")
        found = [
            each
            for each in sorted(self._cloud.store.below(account.id, CONTAINER_TYPE), key=lambda each: each.name)
            if each.name.startswith(prefix)
        ]
        return page(call, call.path, found, read.size(call.query, "$maxpagesize", 5000))

    def _account(self, call: Call) -> Resource:
        group = require_group(self._cloud, call)
        path = ids.Template(ACCOUNT).fill(dict(call.params))
        found = self._cloud.store.get(path)
        if found is None:
            raise resource_not_found(f"{group.id}/providers/{TYPE}/{call.params['account']}")
        return found


_NAME = re.compile(r"[a-z0-9]{3,24}")
_SKUS = (
    "Standard_LRS",
    "Standard_GRS",
    "Standard_RAGRS",
    "Standard_ZRS",
    "Standard_GZRS",
    "Standard_RAGZRS",
    "Premium_LRS",
    "Premium_ZRS",
)
_KINDS = ("StorageV2", "Storage", "BlobStorage", "BlockBlobStorage", "FileStorage")
_UPGRADES = ("Storage", "BlobStorage")
_FIXED = ("isHnsEnabled", "isNfsV3Enabled", "dnsEndpointType")
_CHOICES = {
    "accessTier": ("Hot", "Cool", "Cold", "Premium"),
    "minimumTlsVersion": ("TLS1_0", "TLS1_1", "TLS1_2", "TLS1_3"),
    "publicNetworkAccess": ("Enabled", "Disabled", "SecuredByPerimeter"),
    "largeFileSharesState": ("Enabled", "Disabled"),
    "allowedCopyScope": ("PrivateLink", "AAD"),
}
_FLAGS = (
    "allowBlobPublicAccess",
    "allowSharedKeyAccess",
    "allowCrossTenantReplication",
    "defaultToOAuthAuthentication",
    "supportsHttpsTrafficOnly",
    "isHnsEnabled",
    "isLocalUserEnabled",
    "isNfsV3Enabled",
    "isSftpEnabled",
)
_DEFAULTS: dict[str, Any] = {
    "accessTier": "Hot",
    "allowBlobPublicAccess": False,
    "allowSharedKeyAccess": True,
    "minimumTlsVersion": "TLS1_0",
    "supportsHttpsTrafficOnly": True,
}
_NETWORK: dict[str, Any] = {
    "bypass": "AzureServices",
    "virtualNetworkRules": [],
    "ipRules": [],
    "defaultAction": "Allow",
}
_ENCRYPTION: dict[str, Any] = {
    "encryption": {
        "services": {name: {"keyType": "Account", "enabled": True} for name in ("file", "blob")},
        "keySource": "Microsoft.Storage",
    }
}
_SERVICE_DEFAULTS: dict[str, Any] = {
    "cors": {"corsRules": []},
    "deleteRetentionPolicy": {"allowPermanentDelete": False, "enabled": False},
}
_CONTAINER_DEFAULTS: dict[str, Any] = {
    "defaultEncryptionScope": "$account-encryption-key",
    "denyEncryptionScopeOverride": False,
}
_CONTAINER_STATE: dict[str, Any] = {
    "deleted": False,
    "hasImmutabilityPolicy": False,
    "hasLegalHold": False,
    "leaseState": "Available",
    "leaseStatus": "Unlocked",
    "remainingRetentionDays": 0,
}
_CONTAINER_COMPUTED = frozenset({*_CONTAINER_STATE, "lastModifiedTime"})


def _invalid_name(name: str) -> str:
    return (
        f"{name} is not a valid storage account name. Storage account name must be between 3 and 24 characters in "
        "length and use numbers and lower-case letters only."
    )


def _refuse_busy(account: Resource | None) -> None:
    if account is not None and account.state == "Creating":
        raise ArmError(
            409,
            "StorageAccountOperationInProgress",
            f"An operation is currently performing on the storage account {account.name} that requires exclusive "
            "access.",
        )


def _kind(body: dict[str, Any]) -> tuple[str, str]:
    held = read.mapping(body, "sku", required=True)
    read.text(held, "name", "sku", required=True)
    read.text(body, "kind", required=True)
    sku = read.choice(held, "name", _SKUS, None, "sku") or ""
    kind = read.choice(body, "kind", _KINDS, None) or ""
    premium_only = kind in ("BlockBlobStorage", "FileStorage")
    if premium_only != sku.startswith("Premium") and (premium_only or kind == "BlobStorage"):
        raise invalid(
            f"Values for request parameters are invalid: kind, sku.name. {kind} accounts cannot have {sku}.",
            "InvalidValuesForRequestParameters",
        )
    return sku, kind


def _refuse_change(existing: Resource | None, sku: str, kind: str, sent: dict[str, Any]) -> None:
    """What is fixed when an account is created; the older kinds may become StorageV2."""
    for name in _FLAGS:
        read.flag(sent, name, False, "properties")
    if existing is None:
        return
    upgrade = existing.document["kind"] in _UPGRADES and kind == "StorageV2"
    if kind != existing.document["kind"] and not upgrade:
        raise _read_only("kind")
    if sku.partition("_")[0] != existing.document["sku"]["tier"]:
        raise _read_only("sku.name")
    if sku.endswith("ZRS") != existing.document["sku"]["name"].endswith("ZRS"):
        # Between one zone and several Azure converts an account only when it is asked to, by a request of its own:
        # https://learn.microsoft.com/azure/storage/common/redundancy-migration.
        raise invalid(f"Storage account type cannot be changed to {sku}.", "StorageAccountTypeConversionNotAllowed")
    for name in _FIXED:
        if sent.get(name) is not None and sent[name] != existing.properties.get(name):
            raise _read_only(name)


def _read_only(name: str) -> ArmError:
    return invalid(
        f"The property '{name}' was specified in the input, but it cannot be updated as it is read-only. "
        "For more information, see - https://aka.ms/storageaccountupdate",
        "AccountPropertyCannotBeUpdated",
    )


def _choices(sent: dict[str, Any]) -> dict[str, Any]:
    return {
        name: read.choice(sent, name, values, None, "properties")
        for name, values in _CHOICES.items()
        if sent.get(name) is not None
    }


def _network(cloud: Cloud, sent: dict[str, Any]) -> dict[str, Any]:
    acls = read.mapping(sent, "networkAcls", "properties")
    read.sequence(acls, "resourceAccessRules", "properties.networkAcls")
    _check_addresses(acls)
    firewalls.check_subnets(cloud, acls, "Microsoft.Storage", "properties.networkAcls")
    action = read.choice(acls, "defaultAction", ("Allow", "Deny"), None, "properties.networkAcls")
    if acls and action is None:
        raise invalid("'properties.networkAcls.defaultAction' is required: Allow or Deny.", "ValidationError")
    bypass = read.text(acls, "bypass", "properties.networkAcls") or "AzureServices"
    for part in bypass.split(","):
        read.choice(
            {"bypass": part.strip()}, "bypass", ("None", "AzureServices", "Logging", "Metrics"), None, "networkAcls"
        )
    return defaults(acls, **_NETWORK) | ({"defaultAction": action} if action else {})


# RFC 1918.
_PRIVATE = tuple(ipaddress.IPv4Network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))


def _check_addresses(acls: dict[str, Any]) -> None:
    """Public addresses only; those of small ranges one by one. Raises ArmError (400).

    Source: https://learn.microsoft.com/azure/storage/common/storage-network-security-limitations.
    """
    for value, net in firewalls.ranges(acls, "properties.networkAcls"):
        small = net is not None and "/" in value and net.prefixlen > 30
        if net is None or small or any(net.overlaps(each) for each in _PRIVATE):
            raise invalid(
                f"Values for request parameters are invalid: networkAcls.ipRules[*].value ('{value[:80]}'). They are "
                "public IPv4 addresses, and ranges of them up to /30.",
                "InvalidValuesForRequestParameters",
            )


def _service_document(account: Resource, properties: dict[str, Any]) -> dict[str, Any]:
    document = _proxy(f"{account.id}/blobServices/default", SERVICE_TYPE)
    return {"sku": account.document["sku"], **document, "properties": properties}


def _proxy(resource_id: str, kind: str) -> dict[str, Any]:
    return {"id": resource_id, "name": ids.name(resource_id), "type": kind}


def _check_public(account: Resource, body: dict[str, Any]) -> None:
    wanted = read.text(read.mapping(body, "properties"), "publicAccess", "properties") or "None"
    if wanted.lower() != "none" and not account.properties.get("allowBlobPublicAccess"):
        raise ArmError(409, "PublicAccessNotPermitted", "Public access is not permitted on this storage account.")


def _etag() -> str:
    return f'"0x8D{secrets.token_hex(6).upper()}"'


def _check_container(name: str) -> None:
    rule = "3 to 63 lower-case letters, digits and single hyphens"
    check_name(name, r"[a-z0-9](-?[a-z0-9]){2,62}", "container", rule)


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(64)).decode()


def _endpoints(name: str) -> dict[str, str]:
    return {
        service: f"https://{name}.{service}.core.windows.net/" for service in ("blob", "dfs", "file", "queue", "table")
    }


def open_blobs(cloud: Cloud, account: Resource) -> Blobs:
    """The blobs of an account, by its first key."""
    serve(cloud, account)
    return cloud.fleet.blobs(account.name)


def signature(cloud: Cloud, account: Resource, permissions: str, hours: float) -> str:
    """A SAS of the whole account as whoever has its first key makes it, whether or not the account takes that."""
    blobs = open_blobs(cloud, account)
    if is_keyless(account):
        blobs = replace(blobs, key=account.hidden["keys"][0])
    return blobs.sas(permissions=permissions, hours=hours)


def serve(cloud: Cloud, account: Resource) -> None:
    """Has the account's blobs served, as its settings say."""
    cloud.fleet.ensure(account.name, *_serving_keys(account), keyless=is_keyless(account))


def register(cloud: Cloud, account: Resource) -> None:
    """Makes the account known, to be served when somebody asks for it."""
    cloud.fleet.register(account.name, *_serving_keys(account), keyless=is_keyless(account))


def is_keyless(account: Resource) -> bool:
    """Whether the account takes tokens only, and neither its keys nor what they sign."""
    return account.properties.get("allowSharedKeyAccess") is False


def _serving_keys(account: Resource) -> list[str]:
    keys = account.hidden["keys"]
    if not is_keyless(account):
        return keys
    # Local Azure itself goes by a key: by one that nobody is told.
    return [base64.b64encode(hmac.digest(keys[0].encode(), b"of Local Azure alone", "sha512")).decode()]
