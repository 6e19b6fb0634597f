"""Datastores: the four that a workspace begins with, and others; their secrets on request."""

from __future__ import annotations

from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, user_error
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource, now
from localazure.providers import storage
from localazure.providers.cloud import Cloud
from localazure.providers.common import canonical, page
from localazure.providers.ml.names import DATASTORE_TYPE, WORKSPACE, guid, workspace_of

DATASTORE = WORKSPACE + "/datastores/{datastore}"
KINDS = ("AzureBlob", "AzureDataLakeGen1", "AzureDataLakeGen2", "AzureFile", "OneLake")
CREDENTIALS = ("AccountKey", "Certificate", "None", "Sas", "ServicePrincipal")


def default_datastores(cloud: Cloud, workspace: Resource, account: Resource) -> list[Resource]:
    """The datastores of a new workspace, by the names that Azure gives them."""
    own = guid(workspace)
    identity_based = workspace.properties.get("systemDatastoresAuthMode") == "identity"
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
        made.append(_resource(cloud, f"{workspace.id}/datastores/{name}", properties, workspace.created, {}))
    return made


def _resource(
    cloud: Cloud, resource_id: str, properties: dict[str, Any], created: str, hidden: dict[str, Any]
) -> Resource:
    data = cloud.system_data({}, created or None, now())
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
            Route.of("PUT", DATASTORE, self.create),
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

    def list(self, call: Call) -> Answer:
        """The datastores; `isDefault=true` for the default one only."""
        found = self._cloud.store.below(workspace_of(self._cloud, call).id, DATASTORE_TYPE)
        if (wanted := call.query.get("isdefault")) is not None:
            found = [each for each in found if each.properties["isDefault"] == (wanted.lower() == "true")]
        return page(call, call.path, found, read.natural(call.query.get("count", ""), 30))

    def create(self, call: Call) -> Answer:
        """PUT: secrets are taken out of what is answered."""
        workspace_of(self._cloud, call)
        resource_id = canonical(self._cloud, call)
        existing = self._cloud.store.get(resource_id)
        sent = read.mapping(call.json(), "properties", required=True)
        kind = read.choice(sent, "datastoreType", KINDS, None, "properties")
        if kind is None:
            raise ArmError(400, "ValidationError", "'properties.datastoreType' is required.")
        credentials = read.mapping(sent, "credentials", "properties", required=True)
        credential_kind = read.choice(credentials, "credentialsType", CREDENTIALS, None, "properties.credentials")
        if credential_kind is None:
            raise ArmError(400, "ValidationError", "'properties.credentials.credentialsType' is required.")
        read.text(sent, "accountName", "properties", required=kind == "AzureBlob")
        read.text(sent, "containerName", "properties")
        secrets = (
            read.mapping(credentials, "secrets", "properties.credentials")
            or (existing.hidden.get("secrets") if existing else {})
            or {}
        )
        shown = {name: value for name, value in credentials.items() if name != "secrets"} | {
            "credentialsType": credential_kind
        }
        properties = {
            **sent,
            # Read-only in Azure: the service says which one is the default.
            "isDefault": existing.properties["isDefault"] if existing else False,
            "datastoreType": kind,
            "credentials": shown,
        }
        resource = _resource(
            self._cloud, resource_id, properties, existing.created if existing else "", {"secrets": secrets}
        )
        self._cloud.store.put(resource)
        return Answer(200 if existing else 201, resource.document)

    def delete(self, call: Call) -> Answer:
        """DELETE: the default datastore stays."""
        workspace_of(self._cloud, call)
        found = self._cloud.store.get(call.path)
        if found is None:
            return Answer(204)
        if found.properties["isDefault"]:
            raise user_error(
                400, f"The datastore '{found.name}' is the default datastore of the workspace and cannot be deleted."
            )
        self._cloud.store.delete(found.id)
        return Answer(200)

    def secrets(self, call: Call) -> Answer:
        """POST listSecrets: a SAS where the client asks for one that expires, else the key."""
        datastore = self._find(call)
        kind = datastore.properties["credentials"]["credentialsType"]
        if kind == "None":
            raise user_error(400, "No secrets for credentials of type None.")
        if own := datastore.hidden.get("secrets"):
            return Answer(200, own)
        account = account_of(self._cloud, datastore.properties.get("accountName") or "")
        if not call.json().get("expirableSecret"):
            return Answer(200, {"secretsType": "AccountKey", "key": account.hidden["keys"][0]})
        hours = read.integer(call.json(), "expireAfterHours", 1, least=1, most=24)
        token = storage.open_blobs(self._cloud, account).sas(permissions="racwdl", hours=hours)
        return Answer(200, {"secretsType": "Sas", "sasToken": "?" + token.lstrip("?")})


def account_of(cloud: Cloud, name: str) -> Resource:
    """The storage account of that name. Raises ArmError (400) where Local Azure has none."""
    for account in cloud.store.of_type(storage.TYPE):
        if account.name == name:
            return account
    raise user_error(400, f"The storage account '{name}' does not exist in Local Azure.")
