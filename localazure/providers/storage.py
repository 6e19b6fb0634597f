"""Storage accounts with their keys and blob containers. Behind each account runs an Azurite."""

from __future__ import annotations

import base64
import secrets
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid
from localazure.arm.ids import GROUP, SUBSCRIPTION
from localazure.arm.operations import Family, Kind
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Operation, Resource, now
from localazure.blobs import Blobs
from localazure.providers.cloud import Cloud
from localazure.providers.common import (
    Composed,
    Plain,
    check_name,
    defaults,
    envelope,
    identity,
    keep_hidden,
    long_headers,
    poll_routes,
    require,
    with_state,
)

TYPE = "Microsoft.Storage/storageAccounts"
ACCOUNT = GROUP + "/providers/Microsoft.Storage/storageAccounts/{account}"
CONTAINER_TYPE = "Microsoft.Storage/storageAccounts/blobServices/containers"
CONTAINER = ACCOUNT + "/blobServices/default/containers/{container}"
FAMILY = Family("Microsoft.Storage", "", "", "asyncoperations", "ResolvingDns", timeout="")


class Storage:
    """`Microsoft.Storage/storageAccounts` and the containers of their blob service."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._accounts = Plain(cloud, TYPE, ACCOUNT, self._compose, self._removed)
        self._containers = Plain(cloud, CONTAINER_TYPE, CONTAINER, self._compose_container, tracked=False)
        cloud.operations.register("storage.create", Kind(self._start, self._ready, self._failed))

    def routes(self) -> list[Route]:
        accounts = [route for route in self._accounts.routes() if route.method != "PUT"]
        return [
            Route.of("PUT", ACCOUNT, self.create),
            *accounts,
            Route.of("POST", ACCOUNT + "/listKeys", self.list_keys),
            Route.of("POST", ACCOUNT + "/regenerateKey", self.regenerate_key, slow=True),
            Route.of(
                "POST", SUBSCRIPTION + "/providers/Microsoft.Storage/checkNameAvailability", self.check_availability
            ),
            Route.of("PUT", CONTAINER, self.create_container, slow=True),
            Route.of("GET", CONTAINER, lambda call: Answer(200, require(self._cloud, call).document)),
            Route.of("DELETE", CONTAINER, self.delete_container, slow=True),
            Route.of("GET", CONTAINER.rpartition("/")[0], self.list_containers),
            *poll_routes(self._cloud, FAMILY),
        ]

    def create(self, call: Call) -> Answer:
        """PUT: 202 for a new account, whose Azurite has to start; 200 at once for one that exists."""
        existing = self._cloud.store.get(call.path)
        answer = self._accounts.create(call)
        if existing is not None:
            return answer
        account = require(self._cloud, call)
        self._cloud.store.put(with_state(account, "Creating"))
        operation = self._cloud.operations.begin("storage.create", account.id)
        return Answer(202, headers=long_headers(self._cloud, call, FAMILY, operation, account.document["location"]))

    def _compose(self, call: Call, body: dict[str, Any], existing: Resource | None, resource_id: str) -> Composed:
        name = ids.name(resource_id)
        check_name(name, r"[a-z0-9]{3,24}", "storage account", "3 to 24 lower-case letters and digits")
        self._refuse_taken(name, resource_id)
        sku = read.text(read.mapping(body, "sku"), "name", "sku", required=True) or ""
        kind = read.text(body, "kind", required=True)
        region = str(body["location"])
        properties = defaults(read.mapping(body, "properties"), **_DEFAULTS) | {
            "provisioningState": "Succeeded",
            "primaryEndpoints": _endpoints(name),
            "primaryLocation": region,
            "statusOfPrimary": "available",
            "creationTime": existing.properties.get("creationTime") if existing else now(),
        }
        document = envelope(
            resource_id,
            TYPE,
            body,
            sku={"name": sku, "tier": sku.partition("_")[0]},
            kind=kind,
            identity=identity(self._cloud, body, existing),
            properties=properties,
        )
        return Composed(document, keep_hidden(existing, keys=[_key(), _key()]))

    def _refuse_taken(self, name: str, resource_id: str) -> None:
        for other in self._cloud.store.of_type(TYPE):
            if other.name == name and not ids.same(other.id, resource_id):
                raise ArmError(409, "StorageAccountAlreadyTaken", f"The storage account named {name} is already taken.")

    def _start(self, operation: Operation) -> None:
        account = self._cloud.store.get(operation.resource)
        if account is not None:
            self._cloud.fleet.ensure(account.name, *account.hidden["keys"])

    def _ready(self, operation: Operation, _outcome: object) -> None:
        if account := self._cloud.store.get(operation.resource):
            self._cloud.store.put(with_state(account, "Succeeded"))

    def _failed(self, operation: Operation, _failure: object) -> None:
        if account := self._cloud.store.get(operation.resource):
            self._cloud.store.put(with_state(account, "Failed"))

    def _removed(self, _call: Call, account: Resource) -> None:
        self._cloud.store.after_commit(lambda: self.take_down(account))

    def take_down(self, account: Resource) -> None:
        """Stops the account's Azurite and deletes its blobs."""
        self._cloud.fleet.remove(account.name)

    def list_keys(self, call: Call) -> Answer:
        """POST listKeys."""
        account = require(self._cloud, call)
        keys = zip(("key1", "key2"), account.hidden["keys"], strict=True)
        return Answer(200, {"keys": [{"keyName": name, "value": value, "permissions": "FULL"} for name, value in keys]})

    def regenerate_key(self, call: Call) -> Answer:
        """POST regenerateKey: the account's Azurite takes the new key at once."""
        name = read.choice(call.json(), "keyName", ("key1", "key2"), None)
        if name is None:
            raise invalid("'keyName' is required: key1 or key2.", "ValidationError")
        with self._cloud.store.transaction():
            account = require(self._cloud, call)
            keys = [_key() if f"key{at + 1}" == name else value for at, value in enumerate(account.hidden["keys"])]
            self._cloud.store.put(
                Resource(account.id, TYPE, account.document, {**account.hidden, "keys": keys}, account.created)
            )
        self._cloud.fleet.ensure(account.name, *keys)
        return self.list_keys(call)

    def check_availability(self, call: Call) -> Answer:
        """POST checkNameAvailability."""
        name = read.text(call.json(), "name", required=True)
        taken = any(other.name == name for other in self._cloud.store.of_type(TYPE))
        answer: dict[str, Any] = {"nameAvailable": not taken}
        if taken:
            answer |= {"reason": "AlreadyExists", "message": f"The storage account named {name} is already taken."}
        return Answer(200, answer)

    # Containers ----------------------------------------------------------------------------------------------

    def create_container(self, call: Call) -> Answer:
        """PUT of a blob container: made in Azurite first, so that no answer speaks of one that is not there."""
        account = self._account(call)
        _check_container(call.params["container"])
        open_blobs(self._cloud, account).create_container(call.params["container"])
        with self._cloud.store.transaction():
            return self._containers.create(call)

    def _compose_container(
        self, _call: Call, body: dict[str, Any], existing: Resource | None, resource_id: str
    ) -> Composed:
        properties = defaults(
            read.mapping(body, "properties"), publicAccess="None", hasImmutabilityPolicy=False, hasLegalHold=False
        )
        return Composed({**envelope(resource_id, CONTAINER_TYPE, {}), "properties": properties}, {})

    def delete_container(self, call: Call) -> Answer:
        """DELETE: out of Azurite first, which may have to start, and not while the store is locked."""
        if found := self._cloud.store.get(call.path):
            open_blobs(self._cloud, self._account(call)).delete_container(found.name)
        with self._cloud.store.transaction():
            return self._containers.delete(call)

    def list_containers(self, call: Call) -> Answer:
        account = self._account(call)
        return Answer(200, {"value": [each.document for each in self._cloud.store.below(account.id, CONTAINER_TYPE)]})

    def _account(self, call: Call) -> Resource:
        path = ids.Template(ACCOUNT).fill(dict(call.params))
        found = self._cloud.store.get(path)
        if found is None:
            raise ArmError(404, "ResourceNotFound", f"The storage account '{call.params['account']}' was not found.")
        return found


_DEFAULTS: dict[str, Any] = {
    "accessTier": "Hot",
    "allowBlobPublicAccess": False,
    "allowSharedKeyAccess": True,
    "minimumTlsVersion": "TLS1_0",
    "networkAcls": {"bypass": "AzureServices", "virtualNetworkRules": [], "ipRules": [], "defaultAction": "Allow"},
    "supportsHttpsTrafficOnly": True,
}


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
    cloud.fleet.ensure(account.name, *account.hidden["keys"])
    return cloud.fleet.blobs(account.name)
