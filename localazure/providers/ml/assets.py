"""Models, environments, code, data and components: containers and versions, look-up by hash, uploads."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import not_emulated, user_error
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource, now
from localazure.providers import storage
from localazure.providers.cloud import Cloud
from localazure.providers.common import canonical, check_name, page, refuse_unsettled
from localazure.providers.ml.asset_kinds import (
    CODES,
    COMPONENTS,
    DATA,
    ENVIRONMENTS,
    LABELS,
    MODELS,
    Asset,
    data_type,
    shown,
)
from localazure.providers.ml.content import model_flavors
from localazure.providers.ml.names import WORKSPACE, guid, workspace_of
from localazure.providers.ml.queries import has_pairs, ordered, viewed

FAMILIES = (MODELS, ENVIRONMENTS, CODES, DATA, COMPONENTS)
NAME = r"[a-zA-Z0-9][a-zA-Z0-9\-_.]{0,254}"
NAME_RULE = "up to 255 letters, digits, hyphens, underscores and full stops, beginning with a letter or digit"
_PAGE = 100


class Assets:
    """The containers and versions of one family of assets."""

    def __init__(self, cloud: Cloud, asset: Asset) -> None:
        self._cloud = cloud
        self._asset = asset
        self._container = f"{WORKSPACE}/{asset.collection}/{{name}}"
        self._version = self._container + "/versions/{version}"

    def routes(self) -> list[Route]:
        """Of containers, of versions, and of what is done with a version."""
        short = self._asset.simplified
        routes = [
            Route.of("GET", f"{WORKSPACE}/{self._asset.collection}", self.list_containers),
            Route.of("PUT", self._container, self.create_container),
            Route.of("GET", self._container, lambda call: self._answer(call, 200, self._find(call, "container"))),
            Route.of("DELETE", self._container, self.delete),
            Route.of("GET", self._container + "/versions", self.list_versions),
            # Slow: what a model says of itself is read from storage.
            Route.of("PUT", self._version, self.create_version, slow=True, simplified=short),
            Route.of("GET", self._version, lambda call: self._answer(call, 200, self._find(call, "version"))),
            Route.of("DELETE", self._version, self.delete),
        ]
        if self._asset.uploads:
            routes.append(Route.of("POST", self._version + "/startPendingUpload", self.start_upload, slow=True))
        return routes

    def _find(self, call: Call, what: str) -> Resource:
        workspace_of(self._cloud, call)
        found = self._cloud.store.get(call.path)
        if found is None:
            version = f" and version: {call.params['version']}" if what == "version" else ""
            message = f"{self._asset.word} {what} with name: {call.params['name']}{version} not found."
            raise user_error(404, "The specified resource was not found.", (f"{self._asset.word}NotFound", message))
        return found

    def _answer(self, call: Call, status: int, resource: Resource, headers: dict[str, str] | None = None) -> Answer:
        return Answer(status, shown(resource.document, call.api_version), headers or {})

    def _listed(self, call: Call, found: list[Resource], size: int) -> Answer:
        fit = [replace(each, document=shown(each.document, call.api_version)) for each in found]
        return page(call, call.path, fit, size)

    # Containers ----------------------------------------------------------------------------------------------

    def create_container(self, call: Call) -> Answer:
        """PUT of a container: description, tags, archived or not."""
        workspace_of(self._cloud, call)
        self._check_name(call)
        resource_id = canonical(self._cloud, call)
        existing = self._cloud.store.get(resource_id)
        sent = read.mapping(call.json(), "properties", required=True)
        resource = self._put_container(call, resource_id, existing, sent)
        return self._answer(call, 200 if existing else 201, resource)

    def _check_name(self, call: Call) -> None:
        check_name(call.params["name"], NAME, self._asset.word.lower(), NAME_RULE)

    def _put_container(self, call: Call, resource_id: str, existing: Resource | None, sent: dict[str, Any]) -> Resource:
        before = existing.properties if existing else {"latestVersion": None, "nextVersion": "1"}
        properties = {
            "description": read.text(sent, "description", "properties"),
            "tags": read.strings(sent, "tags", "properties"),
            "properties": read.strings(sent, "properties", "properties"),
            "isArchived": read.flag(sent, "isArchived", False, "properties"),
            "latestVersion": before.get("latestVersion"),
            "nextVersion": before.get("nextVersion"),
            "provisioningState": "Succeeded",
        }
        if self._asset is DATA:
            properties["dataType"] = self._type_of_container(resource_id, before.get("dataType"), sent)
        hidden = existing.hidden if existing else {}
        return self._put(call, resource_id, self._asset.type, properties, existing, hidden)

    def _type_of_container(self, resource_id: str, has: str | None, sent: dict[str, Any]) -> str:
        """The one type of all its versions. Raises ArmError (400, 409)."""
        if has and sent.get("dataType") is None:
            return has
        wanted = data_type(sent)
        if has and wanted != has:
            raise user_error(409, f"The data '{ids.name(resource_id)}' is of type {has} and cannot become {wanted}.")
        return wanted

    def _put(
        self,
        call: Call,
        resource_id: str,
        kind: str,
        properties: dict[str, Any],
        existing: Resource | None,
        hidden: dict[str, Any],
    ) -> Resource:
        data = self._cloud.system_data(call.caller, existing.created if existing else None, now())
        head = {"id": resource_id, "name": ids.name(resource_id), "type": kind}
        document = {**head, "properties": properties, "systemData": data}
        created = existing.created if existing else data["createdAt"]
        return self._cloud.store.put(Resource(resource_id, kind, document, hidden, created))

    def list_containers(self, call: Call) -> Answer:
        """The containers; archived ones only on request, those of anonymous versions never."""
        found = self._cloud.store.below(workspace_of(self._cloud, call).id, self._asset.type)
        named = [each for each in found if not each.hidden.get("anonymous")]
        return self._listed(call, viewed(call, named), read.size(call.query, "count", _PAGE))

    # Versions ------------------------------------------------------------------------------------------------

    def create_version(self, call: Call) -> Answer:
        """PUT of a version: 201 the first time; what makes its content is then fixed."""
        self._check_name(call)
        workspace = workspace_of(self._cloud, call)
        sent = read.mapping(call.json(), "properties", required=True)
        own = self._asset.compose(sent)
        if own.get("modelType") == "mlflow_model":
            own["flavors"] = model_flavors(self._cloud, workspace, own["modelUri"]) or own["flavors"]
        with self._cloud.store.transaction():
            return self._write(call, sent, own)

    def _write(self, call: Call, sent: dict[str, Any], own: dict[str, Any]) -> Answer:
        container_id = f"{workspace_of(self._cloud, call).id}/{self._asset.collection}/{call.params['name']}"
        # The workspace may be on its way out since the request came in.
        refuse_unsettled(self._cloud, container_id)
        container = self._cloud.store.get(container_id)
        resource_id = f"{container.id if container else container_id}/versions/{call.params['version']}"
        existing = self._cloud.store.get(resource_id)
        properties = self._common(sent, existing) | own
        if existing is not None:
            name = ids.name(ids.parent(existing.id))
            self._asset.refuse_change(name, existing.name, existing.properties, properties)
        else:
            container = self._advance(call, container_id, container, properties)
        if self._asset.labelled:
            self._label(container, existing, properties)
        where = existing.id if existing else resource_id
        resource = self._put(call, where, self._asset.version_type, properties, existing, {})
        new, old = self._asset.put
        # Recorded: `Location` goes with 201, also where an environment was there already.
        link = {"Location": f"https://{call.host}{resource.id}?api-version={call.api_version}"}
        status = old if existing else new
        return self._answer(call, status, resource, link if status == 201 else {})

    def _common(self, sent: dict[str, Any], existing: Resource | None) -> dict[str, Any]:
        anonymous = read.flag(sent, "isAnonymous", False, "properties")
        if existing is not None and self._asset in (MODELS, DATA):
            # The client finds content that is uploaded already, and writes its registered version as an anonymous one.
            anonymous = anonymous and bool(existing.properties["isAnonymous"])
        before = existing.properties.get("stage") if existing else None
        stage = read.text(sent, "stage", "properties") or before or ("Logged" if anonymous else "Development")
        some = {"provisioningState": "Succeeded", "stage": stage}
        return {
            "description": read.text(sent, "description", "properties"),
            "tags": read.strings(sent, "tags", "properties"),
            "properties": read.strings(sent, "properties", "properties"),
            "isArchived": read.flag(sent, "isArchived", False, "properties"),
            "isAnonymous": anonymous,
            **{name: some[name] for name in self._asset.common},
        }

    def _advance(
        self, call: Call, container_id: str, existing: Resource | None, properties: dict[str, Any]
    ) -> Resource:
        """The container as it is with a new version, which makes it where there is none."""
        anonymous = bool(properties["isAnonymous"])
        container = existing or self._put_container(call, container_id, None, {"dataType": properties.get("dataType")})
        if self._asset is DATA:
            self._type_of_container(container.id, container.properties.get("dataType"), properties)
        if existing is None and anonymous:
            container = replace(container, hidden={"anonymous": True})
        if not anonymous:
            version = call.params["version"]
            following = max(int(container.properties["nextVersion"]), _number(version) + 1)
            self._unlabel(container)
            container = container.with_properties(latestVersion=version, nextVersion=str(following))
            container = replace(container, hidden={})
        return self._cloud.store.put(container)

    def _label(self, container: Resource | None, existing: Resource | None, properties: dict[str, Any]) -> None:
        """Says in a version's properties whether it is the latest: the service does, whatever was sent."""
        if existing is not None:
            label = existing.properties["properties"].get(LABELS, "")
        else:
            label = "latest" if container is not None and not properties["isAnonymous"] else ""
        properties["properties"] = {**properties["properties"], LABELS: label}

    def _unlabel(self, container: Resource) -> None:
        latest = self._cloud.store.get(f"{container.id}/versions/{container.properties['latestVersion']}")
        if self._asset.labelled and latest is not None:
            self._relabel(latest, "")

    def _relabel(self, version: Resource, label: str) -> None:
        own = {**version.properties["properties"], LABELS: label}
        self._cloud.store.put(version.with_properties(properties=own))

    def delete(self, call: Call) -> Answer:
        """DELETE of a container or a version; of the latest version, the one before it is the latest then."""
        workspace_of(self._cloud, call)
        found = self._cloud.store.get(call.path)
        if found is None:
            return Answer(204)
        self._cloud.store.delete(found.id)
        container = self._cloud.store.get(ids.parent(found.id)) if "version" in call.params else None
        if container is not None and container.properties["latestVersion"] == found.name:
            left = self._cloud.store.below(container.id, self._asset.version_type)
            named = [each for each in left if not each.properties["isAnonymous"]]
            if named and self._asset.labelled:
                self._relabel(named[-1], "latest")
            self._cloud.store.put(container.with_properties(latestVersion=named[-1].name if named else None))
        return Answer(200)

    def list_versions(self, call: Call) -> Answer:
        """The versions, newest first; `hash=` looks through all of the workspace's code, whatever name is asked."""
        workspace = workspace_of(self._cloud, call)
        hashed = self._asset.hashed and bool(call.query.get("hash"))
        above = workspace.id if hashed else ids.parent(call.path + "/x")
        found = self._cloud.store.below(above, self._asset.version_type)
        if hashed:
            found = [each for each in found if _has_hash(call, each)]
        found = [each for each in self._viewed(call, found) if not each.properties["isAnonymous"]]
        for name in self._asset.filters:
            if wanted := call.query.get(name):
                found = _filtered(found, name, wanted)
        found = ordered(call, found)[read.size(call.query, "offset", 0, least=0) :]
        top = read.size(call.query, "$top", max(len(found), 1))
        return self._listed(call, found[:top], _PAGE)

    def _viewed(self, call: Call, found: list[Resource]) -> list[Resource]:
        # Archiving a container archives all of its versions.
        containers = {ids.key(ids.parent(each.id)): ids.parent(each.id) for each in found}
        archived = {
            key
            for key, each in containers.items()
            if (container := self._cloud.store.get(each)) and container.properties["isArchived"]
        }
        return viewed(call, found, lambda each: ids.key(ids.parent(each.id)) in archived)

    # Uploads -------------------------------------------------------------------------------------------------

    def start_upload(self, call: Call) -> Answer:
        """POST startPendingUpload: a new container each time, and a signature that lets the client write there."""
        self._check_name(call)
        read.choice(call.json(), "pendingUploadType", ("None", "TemporaryBlobReference"), None)
        workspace = workspace_of(self._cloud, call)
        account = self._cloud.store.get(workspace.properties["storageAccount"])
        if account is None:
            raise user_error(
                400, f"The storage account '{workspace.properties['storageAccount']}' of the workspace does not exist."
            )
        container = f"{guid(workspace)[:8]}-{secrets.token_hex(12)}"
        blobs = storage.open_blobs(self._cloud, account)
        blobs.create_container(container)
        uri = f"https://{account.name}.blob.core.windows.net:443/{container}"
        signature = blobs.sas(container, permissions="rcwl", hours=24)
        reference = {
            "blobUri": uri,
            "storageAccountArmId": account.id,
            "credential": {"credentialType": "SAS", "sasUri": f"{uri}?{signature.lstrip('?')}"},
        }
        # The live service answers None here although it handed out a reference.
        return Answer(
            200,
            {
                "blobReferenceForConsumption": reference,
                "pendingUploadId": secrets.token_hex(16),
                "pendingUploadType": "None",
            },
        )


def _number(version: str) -> int:
    """A version as a number; 0 for any other text. Versions made from a hash have ten digits and more."""
    return int(version) if version.isascii() and version.isdecimal() and len(version) < 16 else 0


def _has_hash(call: Call, code: Resource) -> bool:
    own = code.properties["properties"]
    version = call.query.get("hashversion")
    return own.get("hash_sha256") == call.query["hash"] and (not version or own.get("hash_version", version) == version)


def _filtered(found: list[Resource], name: str, wanted: str) -> list[Resource]:
    if name == "feed":
        raise not_emulated(f"registries, so there is no feed '{wanted}'")
    if name == "version":
        return [each for each in found if each.name == wanted]
    if name in ("description", "stage"):
        return [each for each in found if each.properties[name] == wanted]
    return [each for each in found if has_pairs(wanted, each.properties[name.removeprefix("$")])]
