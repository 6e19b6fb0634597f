"""Workspaces: their default datastores, soft delete, recovery and purge, and the keys of what they stand on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError
from localazure.arm.ids import SUBSCRIPTION
from localazure.arm.operations import Kind, OperationFailed
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Operation, Resource
from localazure.providers import storage
from localazure.providers.cloud import Cloud
from localazure.providers.common import (
    canonical,
    check_name,
    envelope,
    identity,
    long_headers,
    page,
    poll_routes,
    require_group,
    require_location,
    require_subscription,
    system_data,
    with_state,
)
from localazure.providers.ml import managed_network, permissions
from localazure.providers.ml import workspace_rules as rules
from localazure.providers.ml.content import forget_content
from localazure.providers.ml.datastores import OWN, default_datastores
from localazure.providers.ml.names import (
    BATCH_ENDPOINT_TYPE,
    COMPUTE_TYPE,
    CREATING,
    DELETING,
    FAILED,
    ONLINE_ENDPOINT_TYPE,
    SUCCEEDED,
    UPDATING,
    WORKSPACE,
    WORKSPACE_FAMILY,
    WORKSPACE_TYPE,
    WORKSPACES,
    workspace_of,
)
from localazure.providers.private_links import disconnect

CONNECTION_TYPE = WORKSPACE_TYPE + "/privateEndpointConnections"
SOFT_DELETED_TYPE = WORKSPACE_TYPE + "/softDeleted"
RETENTION = timedelta(days=14)
# What a soft delete deletes for good (learn.microsoft.com/azure/machine-learning/concept-soft-delete).
_HARD_DELETED = tuple(
    kind.lower() for kind in (COMPUTE_TYPE, ONLINE_ENDPOINT_TYPE, BATCH_ENDPOINT_TYPE, CONNECTION_TYPE)
)
_PAGE = 100


# Before it, clients take nothing but a 200 with the workspace (azure-mgmt-machinelearningservices 1 speaks 2020-08-01).
_PATCH_TAKES_TIME_SINCE = "2021-10-01"


class Workspaces:
    """`Microsoft.MachineLearningServices/workspaces`."""

    def __init__(self, cloud: Cloud, take_down: Callable[[Resource], None], cancel_jobs: Callable[[str], None]) -> None:
        """`take_down` ends what a resource below a workspace runs outside the store, `cancel_jobs` its batch jobs."""
        self._cloud = cloud
        self._take_down = take_down
        self._cancel_jobs = cancel_jobs
        cloud.operations.register("workspace.create", Kind(self._provision, self._created, self._failed))
        cloud.operations.register("workspace.update", Kind(lambda operation: None, self._updated, self._failed))
        nothing = lambda *arguments: None  # noqa: E731
        cloud.operations.register("workspace.resync", Kind(nothing, nothing, nothing))
        cloud.operations.register("workspace.delete", Kind(self._empty, self._gone, self._failed))

    def routes(self) -> list[Route]:
        subscription_wide = SUBSCRIPTION + WORKSPACES.partition("{group}")[2]
        no_more = "the hosts that this workspace uses, not all of Azure's"
        return [
            Route.of("PUT", WORKSPACE, self.create),
            Route.of("PATCH", WORKSPACE, self.patch),
            Route.of("GET", WORKSPACE, lambda call: Answer(200, workspace_of(self._cloud, call).document)),
            Route.of("DELETE", WORKSPACE, self.delete),
            Route.of("GET", WORKSPACES, self.list),
            Route.of("GET", subscription_wide, self.list_all),
            Route.of("POST", WORKSPACE + "/listKeys", self.list_keys),
            Route.of("POST", WORKSPACE + "/listStorageAccountKeys", self.list_storage_keys),
            Route.of("POST", WORKSPACE + "/resyncKeys", self.resync_keys, simplified="keys are never out of step"),
            Route.of("POST", WORKSPACE + "/diagnose", self.diagnose, simplified="only what is missing is reported"),
            Route.of("GET", WORKSPACE + "/outboundNetworkDependenciesEndpoints", self.hosts, simplified=no_more),
            *poll_routes(self._cloud, WORKSPACE_FAMILY),
        ]

    def list(self, call: Call) -> Answer:
        """The workspaces of a group; `kind` for some kinds only."""
        return self._page(call, self._cloud.store.below(require_group(self._cloud, call).id, WORKSPACE_TYPE))

    def list_all(self, call: Call) -> Answer:
        """The workspaces of the subscription."""
        require_subscription(self._cloud, call.params["subscription"])
        return self._page(call, self._cloud.store.of_type(WORKSPACE_TYPE))

    def _page(self, call: Call, found: list[Resource]) -> Answer:
        if kinds := call.query.get("kind"):
            wanted = {kind.strip().lower() for kind in kinds.split(",")}
            found = [each for each in found if each.document["kind"].lower() in wanted]
        return page(call, call.path, found, _PAGE)

    # Create and update ---------------------------------------------------------------------------------------

    def create(self, call: Call) -> Answer:
        """PUT: 202, then a workspace with its default datastores."""
        require_group(self._cloud, call)
        resource_id = canonical(self._cloud, call)
        check_name(
            ids.name(resource_id),
            r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}",
            "workspace",
            "3 to 33 letters, digits, hyphens and underscores",
        )
        body = call.json()
        existing = self._cloud.store.get(resource_id) or self._recover(resource_id, body)
        self._refuse_busy(existing)
        network_now = rules.flag(read.mapping(body, "properties"), "provisionNetworkNow", False, blank=False)
        document = self._compose(call, body, existing, resource_id)
        return self._begin(call, document, existing, network_now=network_now)

    def patch(self, call: Call) -> Answer:
        """PATCH: tags replaced, identities and properties merged over what is there."""
        existing = workspace_of(self._cloud, call)
        self._refuse_busy(existing)
        sent = call.json()
        kept = managed_network.without_system_rules(existing.properties)
        properties = {**kept, **read.mapping(sent, "properties")}
        body = {**existing.document, **sent, "properties": properties}
        if "identity" in sent:
            body["identity"] = _merged_identity(existing, read.mapping(sent, "identity"))
        document = self._compose(call, body, existing, existing.id)
        if "" < call.api_version < _PATCH_TAKES_TIME_SINCE:
            self._cloud.store.put(replace(existing, document=document))
            return Answer(200, document)
        return self._begin(call, document, existing)

    def _begin(
        self, call: Call, document: dict[str, Any], existing: Resource | None, *, network_now: bool = False
    ) -> Answer:
        fresh = existing is None or existing.state == FAILED
        state = CREATING if fresh else UPDATING
        created = existing.created if existing else document["systemData"]["createdAt"]
        resource = Resource(document["id"], WORKSPACE_TYPE, document, created=created).with_properties(
            provisioningState=state
        )
        self._cloud.store.put(resource)
        kind = "workspace.create" if fresh else "workspace.update"
        operation = self._cloud.operations.begin(kind, resource.id, {"network": fresh and network_now})
        return Answer(202, headers=long_headers(self._cloud, call, WORKSPACE_FAMILY, operation, document["location"]))

    def _compose(self, call: Call, body: dict[str, Any], existing: Resource | None, resource_id: str) -> dict[str, Any]:
        require_location(body, existing, WORKSPACE_TYPE)
        sent = read.mapping(body, "properties", required=True)
        kind = rules.workspace_kind(body, existing)
        rules.check_dependencies(self._cloud, sent)
        block = identity(self._cloud, _without_removed(body), existing)
        rules.check_identity(block, sent)
        before = existing.properties if existing else {}
        properties = rules.properties(self._cloud, sent, before, resource_id, str(body["location"]))
        if existing is not None and existing.state != FAILED:
            rules.refuse_move(self._cloud, existing, properties)
        sku = read.text(read.mapping(body, "sku"), "name", "sku") or "Basic"
        return envelope(
            resource_id,
            WORKSPACE_TYPE,
            body,
            kind=kind,
            sku={"name": sku, "tier": sku},
            etag=None,
            identity=block,
            properties=properties,
            systemData=system_data(self._cloud, call, existing),
        )

    def _provision(self, operation: Operation) -> None:
        workspace = self._cloud.store.get(operation.resource)
        if workspace is None:
            raise OperationFailed("ResourceNotFound", "The workspace was deleted while it was being created.")
        account = self._cloud.store.get(workspace.properties["storageAccount"])
        if account is None:
            raise OperationFailed(
                "ResourceNotFound", f"The storage account '{workspace.properties['storageAccount']}' is gone."
            )
        permissions.require_of_workspace(self._cloud, workspace)
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
        if operation.payload.get("network"):
            managed_network.provision(self._cloud, workspace.id)

    def _updated(self, operation: Operation, _outcome: object) -> None:
        workspace = self._cloud.store.get(operation.resource)
        account = self._cloud.store.get(workspace.properties["storageAccount"]) if workspace else None
        if workspace is None:
            return
        if account is not None:
            self._follow_auth_mode(workspace, account)
        self._cloud.store.put(with_state(workspace, SUCCEEDED))

    def _follow_auth_mode(self, workspace: Resource, account: Resource) -> None:
        """The workspace's own datastores are reached as `systemDatastoresAuthMode` says."""
        for wanted in default_datastores(self._cloud, workspace, account):
            found = self._cloud.store.get(wanted.id)
            if found is not None and found.name in OWN:
                names = ("credentials", "serviceDataAccessAuthIdentity")
                changes = {name: wanted.properties[name] for name in names}
                if any(found.properties[name] != value for name, value in changes.items()):
                    self._cloud.store.put(found.with_properties(**changes))

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
        self._cancel_jobs(operation.resource)
        for resource in reversed(self._cloud.store.below(operation.resource)):
            self._take_down(resource)

    def _gone(self, operation: Operation, _outcome: object) -> None:
        workspace = self._cloud.store.get(operation.resource)
        if workspace is None:
            return
        disconnect(self._cloud, workspace.id)
        if not operation.payload.get("purge"):
            self._remember(workspace)
        self._cloud.store.delete(workspace.id)
        self._cloud.store.after_commit(lambda: forget_content(self._cloud, workspace))

    def take_down(self, workspace: Resource) -> None:
        """What is left of a workspace whose group goes: its name stays taken, and its jobs and files go."""
        self._cancel_jobs(workspace.id)
        self._remember(workspace)
        forget_content(self._cloud, workspace)

    def _remember(self, workspace: Resource) -> None:
        """Keeps the name of a deleted workspace taken, and what it holds, until it is purged or 14 days have passed."""
        subscription = "/".join(workspace.id.split("/")[:3])
        marker = f"{subscription}/softDeleted/{workspace.properties['workspaceId']}"
        until = (datetime.now(UTC) + RETENTION).isoformat()
        kept = [each for each in self._cloud.store.below(workspace.id) if not each.type.startswith(_HARD_DELETED)]
        hidden = {"rows": [asdict(each) for each in (workspace, *kept)]}
        document = {"id": marker, "properties": {"workspace": workspace.id, "until": until}}
        self._cloud.store.put(Resource(marker, SOFT_DELETED_TYPE, document, hidden))

    def _soft_deleted(self, resource_id: str) -> list[Resource]:
        moment = datetime.now(UTC).isoformat()
        return [
            gone
            for gone in self._cloud.store.of_type(SOFT_DELETED_TYPE)
            if ids.same(gone.properties["workspace"], resource_id) and gone.properties["until"] > moment
        ]

    def _recover(self, resource_id: str, body: dict[str, Any]) -> Resource | None:
        """The soft-deleted workspace of that id, back with what it held; None where there is none.

        Raises:
            ArmError: 400, where the body does not ask for it with `allowRecoverSoftDeletedWorkspace`.
        """
        gone = self._soft_deleted(resource_id)
        if not gone:
            return None
        asked = read.mapping(body, "properties").get("allowRecoverSoftDeletedWorkspace")
        if str(asked).lower() != "true" or not gone[-1].hidden.get("rows"):
            raise ArmError(
                400,
                "BadRequest",
                "Soft-deleted workspace exists. Please purge or recover it. https://aka.ms/wsoftdelete",
            )
        workspace, *rows = [Resource(**row) for row in gone[-1].hidden["rows"]]
        for row in rows:
            self._cloud.store.put(row)
        for each in gone:
            self._cloud.store.delete(each.id)
        return with_state(workspace, SUCCEEDED)

    # Keys ----------------------------------------------------------------------------------------------------

    def list_keys(self, call: Call) -> Answer:
        """POST listKeys: the keys of the storage account, of Application Insights and of the registry's admin."""
        workspace = workspace_of(self._cloud, call)
        component = self._part(workspace, "applicationInsights")
        account_id = workspace.properties["storageAccount"]
        return Answer(
            200,
            {
                "userStorageKey": self._storage_key(workspace),
                # The name of earlier api-versions, and that of later ones.
                "userStorageResourceId": account_id,
                "userStorageArmId": account_id,
                "appInsightsInstrumentationKey": component.properties["InstrumentationKey"] if component else None,
                "containerRegistryCredentials": self._registry_credentials(workspace),
                "notebookAccessKeys": None,
            },
        )

    def list_storage_keys(self, call: Call) -> Answer:
        """POST listStorageAccountKeys: the first key."""
        return Answer(200, {"userStorageKey": self._storage_key(workspace_of(self._cloud, call))})

    def resync_keys(self, call: Call) -> Answer:
        """POST resyncKeys: 202, and done."""
        workspace = workspace_of(self._cloud, call)
        operation = self._cloud.operations.begin("workspace.resync", workspace.id)
        location = workspace.document["location"]
        return Answer(202, headers=long_headers(self._cloud, call, WORKSPACE_FAMILY, operation, location))

    def _part(self, workspace: Resource, name: str) -> Resource | None:
        reference = workspace.properties.get(name)
        return self._cloud.store.get(reference) if reference else None

    def _storage_key(self, workspace: Resource) -> str | None:
        account = self._part(workspace, "storageAccount")
        by_key = workspace.properties["systemDatastoresAuthMode"] == rules.AUTH_MODES[0]
        return account.hidden["keys"][0] if account and by_key else None

    def _registry_credentials(self, workspace: Resource) -> dict[str, Any] | None:
        registry = self._part(workspace, "containerRegistry")
        if registry is None or not registry.properties.get("adminUserEnabled") or "passwords" not in registry.hidden:
            return None
        named = zip(("password", "password2"), registry.hidden["passwords"], strict=True)
        return {
            "location": registry.document["location"],
            "username": registry.name,
            "passwords": [{"name": name, "value": value} for name, value in named],
        }

    # Diagnosis -----------------------------------------------------------------------------------------------

    def diagnose(self, call: Call) -> Answer:
        """POST diagnose: what the workspace stands on and is not there any more."""
        workspace = workspace_of(self._cloud, call)
        parts = {name: f"{name}Results" for name in rules.DEPENDENCIES}
        others = ("userDefinedRoute", "networkSecurityRule", "resourceLock", "dnsResolution", "other")
        results: dict[str, list[dict[str, str]]] = {f"{name}Results": [] for name in others}
        for name, listed in parts.items():
            reference = workspace.properties.get(name)
            missing = bool(reference) and self._cloud.store.get(reference) is None
            text = f"'properties.{name}' of the workspace '{workspace.name}' is '{reference}', which does not exist."
            results[listed] = [{"code": "ResourceNotFound", "level": "Error", "message": text}] if missing else []
        return Answer(200, {"value": results})

    def hosts(self, call: Call) -> Answer:
        """GET outboundNetworkDependenciesEndpoints: host names that the workspace's computes have to reach."""
        workspace = workspace_of(self._cloud, call)
        account, vault = self._part(workspace, "storageAccount"), self._part(workspace, "keyVault")
        registry = self._part(workspace, "containerRegistry")
        named = {
            "Azure Active Directory": ["login.microsoftonline.com"],
            "Azure Resource Manager": ["management.azure.com"],
            "Azure Machine Learning": [f"{workspace.document['location']}.api.azureml.ms", "ml.azure.com"],
            "Azure Storage": [
                f"{account.name}.{part}.core.windows.net" for part in ("blob", "file", "dfs") if account is not None
            ],
            "Azure Key Vault": [f"{vault.name}.vault.azure.net"] if vault else [],
            "Azure Container Registry": [registry.properties["loginServer"]] if registry else [],
        }
        value = [{"properties": {"category": what, "endpoints": _endpoints(each)}} for what, each in named.items()]
        return Answer(200, {"value": value})


def _endpoints(hosts: list[str]) -> list[dict[str, Any]]:
    return [{"domainName": host, "endpointDetails": [{"port": 443}]} for host in hosts]


def _without_removed(body: dict[str, Any]) -> dict[str, Any]:
    """A body whose identity lacks what is sent as null: ARM's way to take an identity away."""
    block = read.mapping(body, "identity")
    named = read.mapping(block, "userAssignedIdentities", "identity")
    kept = {each: {} for each, value in named.items() if value is not None}
    return {**body, "identity": {**block, "userAssignedIdentities": kept}}


def _merged_identity(existing: Resource, sent: dict[str, Any]) -> dict[str, Any]:
    before = existing.document.get("identity") or {}
    kind = read.text(sent, "type", "identity") or before.get("type") or ""
    named = {
        **(before.get("userAssignedIdentities") or {}),
        **read.mapping(sent, "userAssignedIdentities", "identity"),
    }
    return {"type": kind, "userAssignedIdentities": named}
