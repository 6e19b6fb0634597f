"""Datastores: the four that a workspace begins with, and others; their secrets on request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid, user_error
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource, now
from localazure.providers import storage
from localazure.providers.cloud import Cloud
from localazure.providers.common import canonical, check_name, page, system_data
from localazure.providers.ml.names import DATASTORE_TYPE, WORKSPACE, guid, workspace_of

DATASTORE = WORKSPACE + "/datastores/{datastore}"
OWN = ("workspaceblobstore", "workspaceartifactstore", "workspacefilestore", "workspaceworkingdirectory")
_IDENTITIES = ("None", "WorkspaceSystemAssignedIdentity", "WorkspaceUserAssignedIdentity")
_KEPT_WHERE_NOT_SENT = ("endpoint", "protocol", "serviceDataAccessAuthIdentity", "subscriptionId", "resourceGroup")
_PAGE = 30


@dataclass(frozen=True)
class _Place:
    """A type of datastore: the texts that say where it lies, and the credentials that reach it."""

    places: tuple[str, ...]
    credentials: tuple[str, ...]
    endpoint: str = "core.windows.net"


KINDS = {
    "AzureBlob": _Place(("accountName", "containerName"), ("AccountKey", "Sas", "None")),
    "AzureFile": _Place(("accountName", "fileShareName"), ("AccountKey", "Sas", "None")),
    "AzureDataLakeGen2": _Place(("accountName", "filesystem"), ("ServicePrincipal", "Certificate", "None")),
    "AzureDataLakeGen1": _Place(("storeName",), ("ServicePrincipal", "Certificate", "None"), ""),
    "OneLake": _Place(("oneLakeWorkspaceName",), ("ServicePrincipal", "None"), "onelake.dfs.fabric.microsoft.com"),
}
# What a credential shows, and the secret that it keeps.
CREDENTIALS: dict[str, tuple[tuple[str, ...], str]] = {
    "AccountKey": ((), "key"),
    "Certificate": (("clientId", "tenantId", "thumbprint"), "certificate"),
    "None": ((), ""),
    "Sas": ((), "sasToken"),
    "ServicePrincipal": (("clientId", "tenantId"), "clientSecret"),
}


def default_datastores(cloud: Cloud, workspace: Resource, account: Resource) -> list[Resource]:
    """The datastores of a new workspace, by the names that Azure gives them."""
    own = guid(workspace)
    identity_based = str(workspace.properties.get("systemDatastoresAuthMode")).lower() == "identity"
    blob, file = ("AzureBlob", "containerName"), ("AzureFile", "fileShareName")
    named = [
        ("workspaceblobstore", blob, f"azureml-blobstore-{own}"),
        ("workspaceartifactstore", blob, "azureml"),
        ("workspacefilestore", file, f"azureml-filestore-{own}"),
        ("workspaceworkingdirectory", file, f"code-{own.replace('-', '')[:8]}"),
    ]
    made = []
    for name, (kind, place), value in named:
        properties = {
            "description": None,
            "tags": None,
            "properties": None,
            "isDefault": name == "workspaceblobstore",
            "credentials": {"credentialsType": "None" if identity_based else "AccountKey"},
            "subscriptionId": cloud.settings.subscription_id,
            "resourceGroup": ids.segment(account.id, "resourceGroups"),
            "datastoreType": kind,
            "accountName": account.name,
            place: value,
            "endpoint": "core.windows.net",
            "protocol": "https",
            "serviceDataAccessAuthIdentity": "WorkspaceSystemAssignedIdentity" if identity_based else "None",
        }
        data = cloud.system_data({}, workspace.created or None, now())
        made.append(_resource(f"{workspace.id}/datastores/{name}", properties, data, workspace.created, {}))
    return made


def _resource(
    resource_id: str, properties: dict[str, Any], data: dict[str, Any], created: str, hidden: dict[str, Any]
) -> Resource:
    document = {
        "id": resource_id,
        "name": ids.name(resource_id),
        "type": DATASTORE_TYPE,
        "properties": properties,
        "systemData": data,
    }
    return Resource(resource_id, DATASTORE_TYPE, document, hidden, created)


class Datastores:
    """`…/workspaces/datastores`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        return [
            Route.of("GET", DATASTORE, lambda call: Answer(200, self._find(call).document)),
            Route.of(
                "PUT",
                DATASTORE,
                self.create,
                simplified="without skipValidation it looks for the storage account and its key, not for the container",
            ),
            Route.of("DELETE", DATASTORE, self.delete),
            Route.of("GET", DATASTORE.rpartition("/")[0], self.list),
            Route.of("POST", DATASTORE + "/listSecrets", self.secrets, slow=True),
        ]

    def _find(self, call: Call) -> Resource:
        workspace_of(self._cloud, call)
        found = self._cloud.store.get(call.path)
        if found is None:
            detail = ("DatastoreNotFound", f"Could not find datastore: {call.params['datastore']}.")
            raise user_error(404, "The specified resource was not found.", detail)
        return found

    # List ----------------------------------------------------------------------------------------------------

    def list(self, call: Call) -> Answer:
        """The datastores that the query asks for, oldest first where it asks for no order."""
        found = self._cloud.store.below(workspace_of(self._cloud, call).id, DATASTORE_TYPE)
        query = call.query
        if (wanted := _flag(query.get("isdefault"), "isDefault")) is not None:
            found = [each for each in found if each.properties["isDefault"] == wanted]
        if names := query.get("names"):
            asked = {name.strip().lower() for name in names.split(",")}
            found = [each for each in found if each.name.lower() in asked]
        if text := query.get("searchtext"):
            found = [each for each in found if text.lower() in each.name.lower()]
        size = read.size(query, "count", _PAGE)
        return page(call, call.path, _ordered(call, found), size)

    # Write ---------------------------------------------------------------------------------------------------

    def create(self, call: Call) -> Answer:
        """PUT: 201 for a new one; secrets are taken out of what is answered."""
        workspace_of(self._cloud, call)
        resource_id = canonical(self._cloud, call)
        existing = self._cloud.store.get(resource_id)
        rule = "1 to 255 letters, digits, hyphens and underscores, beginning with a letter or digit"
        check_name(ids.name(resource_id), r"[a-zA-Z0-9][a-zA-Z0-9\-_]{0,254}", "datastore", rule)
        sent = read.mapping(call.json(), "properties", required=True)
        properties = self._compose(sent, existing)
        secret = _secret(read.mapping(sent, "credentials", "properties"), properties["credentials"], existing)
        if existing is not None:
            _refuse_change(existing, properties)
        if not _flag(call.query.get("skipvalidation"), "skipValidation"):
            self._validate(properties, secret)
        resource = _resource(
            resource_id,
            properties,
            system_data(self._cloud, call, existing),
            existing.created if existing else "",
            {"secrets": secret},
        )
        self._cloud.store.put(resource)
        return Answer(200 if existing else 201, resource.document)

    def _compose(self, sent: dict[str, Any], existing: Resource | None) -> dict[str, Any]:
        name = read.choice(sent, "datastoreType", tuple(KINDS), None, "properties")
        if name is None:
            raise invalid("'properties.datastoreType' is required.", "ValidationError")
        kind, where = KINDS[name], "properties"
        before = existing.properties if existing else {}
        sent = {**{each: before.get(each) for each in _KEPT_WHERE_NOT_SENT}, **_without_nulls(sent)}
        properties: dict[str, Any] = {
            "description": read.text(sent, "description", where),
            "tags": read.strings(sent, "tags", where) if "tags" in sent else None,
            "properties": read.strings(sent, "properties", where) if "properties" in sent else None,
            # Read-only in Azure: the service says which one is the default.
            "isDefault": before.get("isDefault", False),
            "credentials": _credentials(read.mapping(sent, "credentials", where, required=True), name, kind),
            "datastoreType": name,
            **{place: read.text(sent, place, where, required=True) for place in kind.places},
            "serviceDataAccessAuthIdentity": read.choice(
                sent, "serviceDataAccessAuthIdentity", _IDENTITIES, "None", where
            ),
        }
        if kind.endpoint:
            properties["endpoint"] = read.text(sent, "endpoint", where) or kind.endpoint
        if name == "OneLake":
            return {**properties, "artifact": _artifact(sent)}
        if name != "AzureDataLakeGen1":
            properties["protocol"] = read.text(sent, "protocol", where) or "https"
        return {**properties, **{each: read.text(sent, each, where) for each in ("subscriptionId", "resourceGroup")}}

    def _validate(self, properties: dict[str, Any], secret: dict[str, Any]) -> None:
        """Raises ArmError (400) where the account is not there or does not take the key."""
        if "accountName" not in properties:
            return
        account = account_of(self._cloud, properties["accountName"], "; PUT with skipValidation=true stores it anyway")
        key = secret.get("key")
        if key is not None and key not in account.hidden["keys"]:
            raise user_error(
                400,
                f"The account key is none of the storage account '{account.name}'; PUT with skipValidation=true stores "
                "it anyway.",
            )

    def delete(self, call: Call) -> Answer:
        """DELETE: the default datastore and the workspace's own ones stay; no data is deleted."""
        workspace_of(self._cloud, call)
        found = self._cloud.store.get(call.path)
        if found is None:
            return Answer(204)
        if found.properties["isDefault"] or found.name.lower() in OWN:
            what = "the default datastore" if found.properties["isDefault"] else "one of the system datastores"
            raise user_error(400, f"The datastore '{found.name}' is {what} of the workspace and cannot be deleted.")
        self._cloud.store.delete(found.id)
        return Answer(200)

    # Secrets -------------------------------------------------------------------------------------------------

    def secrets(self, call: Call) -> Answer:
        """POST listSecrets: a SAS where the client asks for one that expires, else what the datastore keeps."""
        datastore = self._find(call)
        kind = datastore.properties["credentials"]["credentialsType"]
        if kind == "None":
            raise user_error(400, "No secrets for credentials of type None.")
        asked = call.json()
        expirable = read.flag(asked, "expirableSecret", False)
        hours = read.integer(asked, "expireAfterHours", 1, least=1, most=24)
        own = datastore.hidden.get("secrets") or {}
        if kind != "AccountKey":
            return Answer(200, {"secretsType": kind, **own})
        account = self._account_that_takes(datastore, own.get("key"))
        if account is None:
            return Answer(200, {"secretsType": kind, **own})
        if not expirable:
            return Answer(200, {"secretsType": kind, "key": own.get("key") or account.hidden["keys"][0]})
        token = storage.signature(self._cloud, account, "racwdl", hours)
        return Answer(200, {"secretsType": "Sas", "sasToken": "?" + token.lstrip("?")})

    def _account_that_takes(self, datastore: Resource, key: str | None) -> Resource | None:
        """The account that a SAS can be made for; None for one elsewhere, or whose key has changed."""
        name = datastore.properties.get("accountName") or ""
        if key is None:
            return account_of(self._cloud, name)
        found = _account(self._cloud, name)
        return found if found is not None and key in found.hidden["keys"] else None


def account_of(cloud: Cloud, name: str, way_out: str = "") -> Resource:
    """The storage account of that name. Raises ArmError (400) where Local Azure has none."""
    if (found := _account(cloud, name)) is not None:
        return found
    raise user_error(400, f"The storage account '{name}' does not exist in Local Azure{way_out}.")


def _account(cloud: Cloud, name: str) -> Resource | None:
    return next((each for each in cloud.store.of_type(storage.TYPE) if each.name == name.lower()), None)


def _credentials(sent: dict[str, Any], datastore: str, kind: _Place) -> dict[str, Any]:
    """The credentials as a GET shows them: what names them, without their secret. Raises ArmError (400)."""
    where = "properties.credentials"
    name = read.choice(sent, "credentialsType", tuple(CREDENTIALS), None, where)
    if name is None:
        raise invalid(f"'{where}.credentialsType' is required.", "ValidationError")
    if name not in kind.credentials:
        raise user_error(
            400,
            f"'{where}.credentialsType' is {name}; a datastore of type {datastore} takes "
            f"{', '.join(kind.credentials)}.",
        )
    shown = {field: read.text(sent, field, where, required=True) for field in CREDENTIALS[name][0]}
    if not shown:
        return {"credentialsType": name}
    return {
        "credentialsType": name,
        **shown,
        "authorityUrl": read.text(sent, "authorityUrl", where) or "https://login.microsoftonline.com",
        "resourceUrl": read.text(sent, "resourceUrl", where) or "https://storage.azure.com/",
    }


def _secret(sent: dict[str, Any], shown: dict[str, Any], existing: Resource | None) -> dict[str, Any]:
    """The secret to keep: the one that is sent, else the one that there is. Raises ArmError (400) without either."""
    where = "properties.credentials.secrets"
    kind = shown["credentialsType"]
    field = CREDENTIALS[kind][1]
    if not field:
        return {}
    found = read.mapping(sent, "secrets", "properties.credentials")
    if read.choice(found, "secretsType", tuple(CREDENTIALS), kind, where) != kind:
        raise user_error(400, f"'{where}.secretsType' is {found['secretsType']} for credentials of type {kind}.")
    if (value := read.text(found, field, where)) is not None:
        return {field: value}
    kept = existing is not None and existing.properties["credentials"]["credentialsType"] == kind
    if existing is not None and (kept or existing.name.lower() in OWN):
        return existing.hidden.get("secrets") or {}
    raise invalid(f"'{where}.{field}' is required for credentials of type {kind}.", "ValidationError")


def _artifact(sent: dict[str, Any]) -> dict[str, Any]:
    where = "properties.artifact"
    found = read.mapping(sent, "artifact", "properties", required=True)
    kind = read.choice(found, "artifactType", ("LakeHouse",), "LakeHouse", where)
    return {"artifactType": kind, "artifactName": read.text(found, "artifactName", where, required=True)}


def _refuse_change(existing: Resource, wanted: dict[str, Any]) -> None:
    """Raises ArmError (400) where an update would point a datastore at another place."""
    fixed = ("datastoreType", *KINDS[existing.properties["datastoreType"]].places, "endpoint", "protocol", "artifact")
    for name in fixed:
        before, after = existing.properties.get(name), wanted.get(name)
        if before != after:
            raise user_error(
                400,
                f"The datastore '{existing.name}' has {name} '{before}', which cannot become '{after}': its content "
                "is named by it. Use another datastore name, or delete this one first.",
            )


def _without_nulls(sent: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sent.items() if value is not None}


def _flag(text: str | None, name: str) -> bool | None:
    if text is None:
        return None
    if text.lower() not in ("true", "false"):
        raise invalid(f"'{name}' is '{text}'; it must be true or false.", "ValidationError")
    return text.lower() == "true"


_ORDERS: dict[str, Callable[[Resource], str]] = {
    "name": lambda each: each.name.lower(),
    "createdtime": lambda each: each.created,
    "modifiedtime": lambda each: each.document["systemData"]["lastModifiedAt"],
}


def _ordered(call: Call, found: list[Resource]) -> list[Resource]:
    rising = _flag(call.query.get("orderbyasc"), "orderByAsc")
    order = call.query.get("orderby")
    if not order:
        return found
    if order.lower() not in _ORDERS:
        raise ArmError(400, "ValidationError", f"'orderBy' is '{order}'; it must be name, createdTime or modifiedTime.")
    return sorted(found, key=_ORDERS[order.lower()], reverse=not rising)
