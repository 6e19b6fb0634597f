"""Models, environments, code and data: containers and versions, look-up by hash, uploads."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import invalid, user_error
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource, now
from localazure.providers import storage
from localazure.providers.cloud import Cloud
from localazure.providers.common import canonical, check_name, page
from localazure.providers.ml.names import WORKSPACE, WORKSPACE_TYPE, guid, workspace_of

NAME = r"[a-zA-Z0-9][a-zA-Z0-9\-_.]{0,254}"
NAME_RULE = "up to 255 letters, digits, hyphens, underscores and full stops, beginning with a letter or digit"
MODEL_TYPES = ("custom_model", "mlflow_model", "triton_model")
DATA_TYPES = ("uri_file", "uri_folder", "mltable")
_PAGE = 100


@dataclass(frozen=True)
class Asset:
    """A family of versioned assets.

    Attributes:
        collection: `models`, `environments`, `codes` or `data`.
        word: the singular that error codes use.
        compose: the type's own properties of a version, from what was sent and what exists; raises ArmError.
        frozen: properties that a version keeps for ever.
        refusal: the message where one of them would change.
        created: statuses of a PUT for a new version and for one that exists.
    """

    collection: str
    word: str
    compose: Callable[[dict[str, Any]], dict[str, Any]]
    frozen: tuple[str, ...]
    refusal: str
    created: tuple[int, int] = (201, 200)

    @property
    def type(self) -> str:
        return f"{WORKSPACE_TYPE}/{self.collection}"

    @property
    def version_type(self) -> str:
        return f"{self.type}/versions"


class Assets:
    """The containers and versions of one family of assets."""

    def __init__(self, cloud: Cloud, asset: Asset) -> None:
        self._cloud = cloud
        self._asset = asset
        self._container = f"{WORKSPACE}/{asset.collection}/{{name}}"
        self._version = self._container + "/versions/{version}"

    def routes(self) -> list[Route]:
        return [
            Route.of("GET", f"{WORKSPACE}/{self._asset.collection}", self.list_containers),
            Route.of("PUT", self._container, self.create_container),
            Route.of("GET", self._container, lambda call: Answer(200, self._find(call, "container").document)),
            Route.of("DELETE", self._container, self.delete),
            Route.of("GET", self._container + "/versions", self.list_versions),
            Route.of("PUT", self._version, self.create_version),
            Route.of("GET", self._version, lambda call: Answer(200, self._find(call, "version").document)),
            Route.of("DELETE", self._version, self.delete),
            Route.of("POST", self._version + "/startPendingUpload", self.start_upload, slow=True),
        ]

    def _find(self, call: Call, what: str) -> Resource:
        workspace_of(self._cloud, call)
        found = self._cloud.store.get(call.path)
        if found is None:
            version = f" and version: {call.params['version']}" if what == "version" else ""
            message = f"{self._asset.word} {what} with name: {call.params['name']}{version} not found."
            raise user_error(404, "The specified resource was not found.", (f"{self._asset.word}NotFound", message))
        return found

    # Containers ----------------------------------------------------------------------------------------------

    def create_container(self, call: Call) -> Answer:
        """PUT of a container: description, tags, archived or not."""
        workspace_of(self._cloud, call)
        check_name(call.params["name"], NAME, self._asset.word.lower(), NAME_RULE)
        resource_id = canonical(self._cloud, call)
        existing = self._cloud.store.get(resource_id)
        sent = read.mapping(call.json(), "properties", required=True)
        resource = self._put_container(call, resource_id, existing, sent)
        return Answer(200 if existing else 201, resource.document)

    def _put_container(self, call: Call, resource_id: str, existing: Resource | None, sent: dict[str, Any]) -> Resource:
        before = existing.properties if existing else {"latestVersion": None, "nextVersion": "1"}
        properties = {
            "description": read.text(sent, "description", "properties"),
            "tags": read.strings(sent, "tags", "properties"),
            "properties": read.strings(sent, "properties", "properties"),
            "isArchived": read.flag(sent, "isArchived", False, "properties"),
            "latestVersion": before.get("latestVersion"),
            "nextVersion": before.get("nextVersion"),
        }
        if kind := (sent.get("dataType") or before.get("dataType")):
            properties["dataType"] = kind
        data = self._cloud.system_data(call.caller, existing.created if existing else None, now())
        document = {
            "id": resource_id,
            "name": ids.name(resource_id),
            "type": self._asset.type,
            "properties": properties,
            "systemData": data,
        }
        return self._cloud.store.put(
            Resource(resource_id, self._asset.type, document, {}, existing.created if existing else data["createdAt"])
        )

    def list_containers(self, call: Call) -> Answer:
        """The containers; archived ones only on request."""
        found = self._cloud.store.below(workspace_of(self._cloud, call).id, self._asset.type)
        return page(call, call.path, _viewed(found, call.query.get("listviewtype")), _PAGE)

    def delete(self, call: Call) -> Answer:
        """DELETE of a container or a version."""
        workspace_of(self._cloud, call)
        found = self._cloud.store.get(call.path)
        if found is None:
            return Answer(204)
        self._cloud.store.delete(found.id)
        return Answer(200)

    # Versions ------------------------------------------------------------------------------------------------

    def create_version(self, call: Call) -> Answer:
        """PUT of a version: 201 the first time; what makes its content is then fixed."""
        check_name(call.params["name"], NAME, self._asset.word.lower(), NAME_RULE)
        resource_id = self._version_id(call)
        existing = self._cloud.store.get(resource_id)
        sent = read.mapping(call.json(), "properties", required=True)
        own = self._asset.compose(sent)
        if existing is not None:
            self._refuse_change(existing, own)
        properties = self._common(sent) | own
        data = self._cloud.system_data(call.caller, existing.created if existing else None, now())
        document = {
            "id": resource_id,
            "name": ids.name(resource_id),
            "type": self._asset.version_type,
            "properties": properties,
            "systemData": data,
        }
        created = existing.created if existing else data["createdAt"]
        self._cloud.store.put(Resource(resource_id, self._asset.version_type, document, {}, created))
        self._advance(call, ids.parent(resource_id), ids.name(resource_id), sent)
        headers = {} if existing else {"Location": f"https://{call.host}{resource_id}?api-version={call.api_version}"}
        return Answer(self._asset.created[1] if existing else self._asset.created[0], document, headers)

    def _version_id(self, call: Call) -> str:
        # The first version makes its container, so the container cannot be asked for.
        workspace = workspace_of(self._cloud, call)
        container_id = f"{workspace.id}/{self._asset.collection}/{call.params['name']}"
        container = self._cloud.store.get(container_id)
        return f"{container.id if container else container_id}/versions/{call.params['version']}"

    def _refuse_change(self, existing: Resource, own: dict[str, Any]) -> None:
        for name in self._asset.frozen:
            if existing.properties.get(name) != own.get(name):
                container = ids.name(ids.parent(existing.id))
                raise user_error(409, self._asset.refusal.format(name=container, version=existing.name))

    def _common(self, sent: dict[str, Any]) -> dict[str, Any]:
        anonymous = read.flag(sent, "isAnonymous", False, "properties")
        return {
            "description": read.text(sent, "description", "properties"),
            "tags": read.strings(sent, "tags", "properties"),
            "properties": read.strings(sent, "properties", "properties"),
            "isArchived": read.flag(sent, "isArchived", False, "properties"),
            "isAnonymous": anonymous,
            "provisioningState": "Succeeded",
            "stage": read.text(sent, "stage", "properties") or ("Logged" if anonymous else "Development"),
        }

    def _advance(self, call: Call, container_id: str, version: str, sent: dict[str, Any]) -> None:
        existing = self._cloud.store.get(container_id)
        container = existing or self._put_container(call, container_id, None, {"dataType": sent.get("dataType")})
        versions = self._cloud.store.below(container_id, self._asset.version_type)
        following = str(max(read.natural(each.name, 0) for each in versions) + 1)
        self._cloud.store.put(container.with_properties(latestVersion=version, nextVersion=following))

    def list_versions(self, call: Call) -> Answer:
        """The versions, newest first; `hash=` looks through all of the workspace's code, whatever name is asked."""
        workspace = workspace_of(self._cloud, call)
        digest = call.query.get("hash")
        found = self._cloud.store.below(
            workspace.id if digest else ids.parent(call.path + "/x"), self._asset.version_type
        )
        if digest:
            found = [each for each in found if each.properties["properties"].get("hash_sha256") == digest]
        found = _viewed(found, call.query.get("listviewtype"))
        if wanted := call.query.get("version"):
            found = [each for each in found if each.name == wanted]
        if not call.query.get("$orderby", "").lower().endswith(" asc"):
            found.reverse()
        top = read.natural(call.query.get("$top", ""), len(found))
        return page(call, call.path, found[:top], _PAGE)

    def start_upload(self, call: Call) -> Answer:
        """POST startPendingUpload: a new container each time, and a signature that lets the client write there."""
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


def _viewed(found: list[Resource], view: str | None) -> list[Resource]:
    wanted = (view or "ActiveOnly").lower()
    if wanted == "all":
        return found
    return [each for each in found if bool(each.properties.get("isArchived")) == (wanted == "archivedonly")]


# What each family's versions hold -------------------------------------------------------------------------------------


def _model(sent: dict[str, Any]) -> dict[str, Any]:
    uri = read.text(sent, "modelUri", "properties", required=True) or ""
    kind = read.choice(sent, "modelType", MODEL_TYPES, "custom_model", "properties")
    shown = uri.replace("/resourcegroups/", "/resourceGroups/")
    flavors = read.mapping(sent, "flavors", "properties")
    return {
        "modelUri": shown,
        "modelType": kind,
        "flavors": flavors,
        "jobName": read.text(sent, "jobName", "properties"),
        "autoDeleteSetting": None,
        "intellectualProperty": None,
        "datasets": [],
    }


def _environment(sent: dict[str, Any]) -> dict[str, Any]:
    image = read.text(sent, "image", "properties")
    build = read.mapping(sent, "build", "properties")
    conda = read.text(sent, "condaFile", "properties")
    if not image and not build:
        raise invalid(
            "'properties.image' or 'properties.build' is required: an environment stands on one of them.",
            "ValidationError",
        )
    own = {
        "image": image,
        "condaFile": _as_json(conda) if conda else None,
        "osType": read.choice(sent, "osType", ("Linux", "Windows"), "Linux", "properties"),
        "autoRebuild": read.choice(sent, "autoRebuild", ("Disabled", "OnBaseImageUpdate"), "Disabled", "properties"),
        "environmentType": "UserCreated",
        "inferenceConfig": read.mapping(sent, "inferenceConfig", "properties") or None,
        "autoDeleteSetting": None,
        "intellectualProperty": None,
    }
    return own | ({"build": build} if build else {})


def _as_json(conda: str) -> str:
    """A conda file comes back as JSON text, indented by two, as the live service answers it."""
    try:
        parsed = yaml.safe_load(conda)
        text = json.dumps(parsed, indent=2, allow_nan=False)
    except yaml.YAMLError as error:
        raise user_error(400, f"'properties.condaFile' is not YAML: {error}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise user_error(400, f"'properties.condaFile' holds what JSON cannot say: {error}.") from None
    if not isinstance(parsed, dict):
        raise user_error(400, "'properties.condaFile' must be a conda environment: a mapping with 'dependencies'.")
    return text


def _code(sent: dict[str, Any]) -> dict[str, Any]:
    uri = read.text(sent, "codeUri", "properties", required=True)
    # Recorded: what was sent as anonymous comes back as not.
    return {"codeUri": uri, "isAnonymous": False}


def _data(sent: dict[str, Any]) -> dict[str, Any]:
    uri = read.text(sent, "dataUri", "properties", required=True)
    kind = read.choice(sent, "dataType", DATA_TYPES, None, "properties")
    if kind is None:
        raise invalid("'properties.dataType' is required.", "ValidationError")
    return {"dataUri": uri, "dataType": kind}


MODELS = Asset("models", "Model", _model, ("modelUri", "modelType"), "Asset paths cannot be updated.")
ENVIRONMENTS = Asset(
    "environments",
    "Environment",
    _environment,
    ("image", "condaFile", "build", "osType"),
    "Environment {name} with version {version} is already registered and cannot be changed.",
    created=(201, 201),
)
CODES = Asset("codes", "Code", _code, ("codeUri",), "Asset paths cannot be updated.")
DATA = Asset("data", "Data", _data, ("dataUri", "dataType"), "Asset paths cannot be updated.")
