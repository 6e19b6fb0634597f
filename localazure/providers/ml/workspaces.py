"""Workspaces: their default datastores, soft delete and purge, and the keys of what they stand on."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid
from localazure.arm.ids import SUBSCRIPTION
from localazure.arm.operations import Kind, OperationFailed
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Operation, Resource, now
from localazure.providers import insights, keyvault, registries, storage
from localazure.providers.cloud import Cloud
from localazure.providers.common import (
    canonical,
    check_name,
    defaults,
    envelope,
    identity,
    listing,
    long_headers,
    poll_routes,
    require_group,
    require_location,
    require_subscription,
    with_state,
)
from localazure.providers.ml.content import forget_content
from localazure.providers.ml.datastores import default_datastores
from localazure.providers.ml.names import (
    CREATING,
    DELETING,
    FAILED,
    SUCCEEDED,
    UPDATING,
    WORKSPACE,
    WORKSPACE_FAMILY,
    WORKSPACE_TYPE,
    WORKSPACES,
    workspace_of,
)

SOFT_DELETED_TYPE = WORKSPACE_TYPE + "/softDeleted"
RETENTION = timedelta(days=14)
_FIXED = ("storageAccount", "keyVault")
_DEPENDENCIES = {
    "storageAccount": storage.TYPE,
    "keyVault": keyvault.TYPE,
    "applicationInsights": insights.COMPONENT_TYPE,
    "containerRegistry": registries.TYPE,
}


class Workspaces:
    """`Microsoft.MachineLearningServices/workspaces`."""

    def __init__(self, cloud: Cloud, take_down: Callable[[Resource], None]) -> None:
        """`take_down` ends what a resource below a workspace runs outside the store."""
        self._cloud = cloud
        self._take_down = take_down
        cloud.operations.register("workspace.create", Kind(self._provision, self._created, self._failed))
        cloud.operations.register("workspace.update", Kind(lambda operation: None, self._updated, self._failed))
        cloud.operations.register("workspace.delete", Kind(self._empty, self._gone, self._failed))

    def routes(self) -> list[Route]:
        subscription_wide = SUBSCRIPTION + WORKSPACES.partition("{group}")[2]
        return [
            Route.of("PUT", WORKSPACE, self.create),
            Route.of("PATCH", WORKSPACE, self.patch),
            Route.of("GET", WORKSPACE, lambda call: Answer(200, workspace_of(self._cloud, call).document)),
            Route.of("DELETE", WORKSPACE, self.delete),
            Route.of("GET", WORKSPACES, self.list),
            Route.of("GET", subscription_wide, self.list_all),
            Route.of("POST", WORKSPACE + "/listKeys", self.list_keys),
            *poll_routes(self._cloud, WORKSPACE_FAMILY),
        ]

    def list(self, call: Call) -> Answer:
        """The workspaces of a group."""
        return listing(self._cloud.store.below(require_group(self._cloud, call).id, WORKSPACE_TYPE))

    def list_all(self, call: Call) -> Answer:
        """The workspaces of the subscription."""
        require_subscription(self._cloud, call.params["subscription"])
        return listing(self._cloud.store.of_type(WORKSPACE_TYPE))

    # Create and update ---------------------------------------------------------------------------------------

    def create(self, call: Call) -> Answer:
        """PUT: 202, then a workspace with its default datastores."""
        require_group(self._cloud, call)
        resource_id = canonical(self._cloud, call)
        existing = self._cloud.store.get(resource_id)
        check_name(
            ids.name(resource_id),
            r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}",
            "workspace",
            "3 to 33 letters, digits, hyphens and underscores",
        )
        self._refuse_busy(existing)
        if existing is None:
            self._refuse_soft_deleted(resource_id)
        document = self._compose(call, call.json(), existing, resource_id)
        return self._begin(call, document, existing)

    def patch(self, call: Call) -> Answer:
        """PATCH: tags and identity replaced, properties merged."""
        existing = workspace_of(self._cloud, call)
        self._refuse_busy(existing)
        sent = call.json()
        properties = {**existing.properties, **read.mapping(sent, "properties")}
        document = self._compose(call, {**existing.document, **sent, "properties": properties}, existing, existing.id)
        return self._begin(call, document, existing)

    def _begin(self, call: Call, document: dict[str, Any], existing: Resource | None) -> Answer:
        fresh = existing is None or existing.state == FAILED
        state = CREATING if fresh else UPDATING
        created = existing.created if existing else document["systemData"]["createdAt"]
        resource = Resource(document["id"], WORKSPACE_TYPE, document, created=created).with_properties(
            provisioningState=state
        )
        self._cloud.store.put(resource)
        operation = self._cloud.operations.begin("workspace.create" if fresh else "workspace.update", resource.id)
        return Answer(202, headers=long_headers(self._cloud, call, WORKSPACE_FAMILY, operation, document["location"]))

    def _compose(self, call: Call, body: dict[str, Any], existing: Resource | None, resource_id: str) -> dict[str, Any]:
        require_location(body, existing)
        sent = read.mapping(body, "properties")
        self._check_dependencies(sent)
        if existing is not None and existing.state != FAILED:
            _refuse_move(existing, sent)
        block = identity(self._cloud, body, existing)
        if block is None or block["type"] == "None":
            raise invalid(
                "'identity' is required: a workspace needs a system- or user-assigned identity.", "ValidationError"
            )
        kind = read.text(body, "kind") or "Default"
        sku = read.mapping(body, "sku") or {"name": "Basic", "tier": "Basic"}
        moment = now()
        return envelope(
            resource_id,
            WORKSPACE_TYPE,
            body,
            kind=kind,
            sku={"tier": sku.get("name"), **sku},
            etag=None,
            identity=block,
            properties=self._properties(sent, existing, resource_id, str(body["location"])),
            systemData=self._cloud.system_data(call.caller, existing.created if existing else None, moment),
        )

    def _check_dependencies(self, sent: dict[str, Any]) -> None:
        for name, kind in _DEPENDENCIES.items():
            reference = read.text(sent, name, "properties", required=name in ("storageAccount", "keyVault"))
            if reference is None:
                continue
            found = self._cloud.store.get(reference)
            if found is None or found.type.lower() != kind.lower():
                raise ArmError(
                    400, "ValidationError", f"'properties.{name}' names '{reference}', which is no {kind} that exists."
                )

    def _properties(
        self, sent: dict[str, Any], existing: Resource | None, resource_id: str, location: str
    ) -> dict[str, Any]:
        before = existing.properties if existing else {}
        host = f"{location.replace(' ', '').lower()}.api.azureml.ms"
        own = before.get("workspaceId") or str(uuid.uuid4())
        filled = defaults(
            sent,
            friendlyName=ids.name(resource_id),
            description="",
            hbiWorkspace=False,
            imageBuildCompute="",
            v1LegacyMode=False,
            publicNetworkAccess="Enabled",
            systemDatastoresAuthMode="accesskey",
            enableDataIsolation=False,
        )
        filled["systemDatastoresAuthMode"] = str(filled["systemDatastoresAuthMode"]).lower()
        return filled | {
            "workspaceId": own,
            "tenantId": self._cloud.settings.tenant_id,
            "discoveryUrl": f"https://{host}/discovery",
            "mlFlowTrackingUri": f"azureml://{host}/mlflow/v1.0{resource_id}",
            "creationTime": before.get("creationTime") or now(),
            "notebookInfo": before.get("notebookInfo"),
            "softDeleteEnabled": True,
            "storageHnsEnabled": False,
            "privateLinkCount": 0,
            "provisioningState": SUCCEEDED,
        }

    def _provision(self, operation: Operation) -> None:
        workspace = self._cloud.store.get(operation.resource)
        if workspace is None:
            raise OperationFailed("ResourceNotFound", "The workspace was deleted while it was being created.")
        account = self._cloud.store.get(workspace.properties["storageAccount"])
        if account is None:
            raise OperationFailed(
                "ResourceNotFound", f"The storage account '{workspace.properties['storageAccount']}' is gone."
            )
        blobs = storage.open_blobs(self._cloud, account)
        for datastore in default_datastores(self._cloud, workspace, account):
            if datastore.properties["datastoreType"] == "AzureBlob":
                blobs.create_container(datastore.properties["containerName"])

    def _created(self, operation: Operation, _outcome: object) -> None:
        workspace = self._cloud.store.get(operation.resource)
        account = self._cloud.store.get(workspace.properties["storageAccount"]) if workspace else None
        if workspace is None or account is None:
            return
        for datastore in default_datastores(self._cloud, workspace, account):
            self._cloud.store.put(datastore)
        self._cloud.store.put(with_state(workspace, SUCCEEDED))

    def _updated(self, operation: Operation, _outcome: object) -> None:
        if workspace := self._cloud.store.get(operation.resource):
            self._cloud.store.put(with_state(workspace, SUCCEEDED))

    def _failed(self, operation: Operation, _failure: object) -> None:
        if workspace := self._cloud.store.get(operation.resource):
            self._cloud.store.put(with_state(workspace, FAILED))

    def _refuse_busy(self, existing: Resource | None) -> None:
        if existing is not None and existing.state in (CREATING, UPDATING, DELETING):
            raise ArmError(
                409,
                "Conflict",
                f"The workspace '{existing.name}' is in {existing.state} provisioning state; try again "
                "when it is done.",
            )

    # Delete, soft delete, purge ------------------------------------------------------------------------------

    def delete(self, call: Call) -> Answer:
        """DELETE: soft, so that the name stays taken for 14 days, unless `forceToPurge=true` is sent."""
        workspace = self._cloud.store.get(call.path)
        purge = call.query.get("forcetopurge", "").lower() == "true"
        if workspace is None:
            return self._delete_missing(call, purge)
        self._refuse_busy(workspace)
        self._cloud.store.put(with_state(workspace, DELETING))
        operation = self._cloud.operations.begin("workspace.delete", workspace.id, {"purge": purge})
        return Answer(
            202, headers=long_headers(self._cloud, call, WORKSPACE_FAMILY, operation, workspace.document["location"])
        )

    def _delete_missing(self, call: Call, purge: bool) -> Answer:
        if purge:
            for gone in self._soft_deleted(call.path):
                self._cloud.store.delete(gone.id)
        return Answer(204)

    def _empty(self, operation: Operation) -> None:
        for resource in reversed(self._cloud.store.below(operation.resource)):
            self._take_down(resource)

    def _gone(self, operation: Operation, _outcome: object) -> None:
        workspace = self._cloud.store.get(operation.resource)
        if workspace is None:
            return
        self._cloud.store.delete(workspace.id)
        self._cloud.store.after_commit(lambda: forget_content(self._cloud, workspace))
        if not operation.payload.get("purge"):
            self._remember(workspace)

    def take_down(self, workspace: Resource) -> None:
        """What is left of a workspace whose group goes: its name stays taken, and its files go."""
        self._remember(workspace)
        forget_content(self._cloud, workspace)

    def _remember(self, workspace: Resource) -> None:
        """Keeps the name of a deleted workspace taken until it is purged or 14 days have passed."""
        subscription = "/".join(workspace.id.split("/")[:3])
        marker = f"{subscription}/softDeleted/{workspace.properties['workspaceId']}"
        until = (datetime.now(UTC) + RETENTION).isoformat()
        self._cloud.store.put(
            Resource(
                marker, SOFT_DELETED_TYPE, {"id": marker, "properties": {"workspace": workspace.id, "until": until}}
            )
        )

    def _soft_deleted(self, resource_id: str) -> list[Resource]:
        moment = datetime.now(UTC).isoformat()
        return [
            gone
            for gone in self._cloud.store.of_type(SOFT_DELETED_TYPE)
            if ids.same(gone.properties["workspace"], resource_id) and gone.properties["until"] > moment
        ]

    def _refuse_soft_deleted(self, resource_id: str) -> None:
        if self._soft_deleted(resource_id):
            raise ArmError(
                400,
                "BadRequest",
                "Soft-deleted workspace exists. Please purge or recover it. https://aka.ms/wsoftdelete",
            )

    # Keys ----------------------------------------------------------------------------------------------------

    def list_keys(self, call: Call) -> Answer:
        """POST listKeys: the keys of the storage account and of Application Insights."""
        workspace = workspace_of(self._cloud, call)
        account = self._cloud.store.get(workspace.properties["storageAccount"])
        component = self._cloud.store.get(workspace.properties.get("applicationInsights") or "/")
        return Answer(
            200,
            {
                "userStorageKey": account.hidden["keys"][0] if account else None,
                "userStorageResourceId": workspace.properties["storageAccount"],
                "appInsightsInstrumentationKey": component.properties["InstrumentationKey"] if component else None,
                "containerRegistryCredentials": None,
                "notebookAccessKeys": None,
            },
        )


def _refuse_move(existing: Resource, sent: dict[str, Any]) -> None:
    for name in _FIXED:
        if not ids.same(existing.properties[name], sent[name]):
            raise invalid(
                f"'properties.{name}' of the workspace '{existing.name}' is '{existing.properties[name]}' and cannot "
                f"become '{sent[name]}': it is set when the workspace is created.",
                "ValidationError",
            )
