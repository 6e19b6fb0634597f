"""From a URI in an asset to files on disk: models, code and batch inputs, out of the storage accounts' blobs."""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from localazure.arm import ids
from localazure.arm.operations import OperationFailed
from localazure.arm.store import Resource
from localazure.providers import storage
from localazure.providers.cloud import Cloud
from localazure.providers.ml.names import DATASTORE_TYPE, guid

_DATASTORE = re.compile(r"azureml://(?:.*/workspaces/[^/]+/)?datastores/([^/]+)/paths/(.*)", re.IGNORECASE)
_BLOB_HOST = re.compile(r"([a-z0-9]{3,24})\.blob\.core\.windows\.net")
_locks: dict[Path, threading.Lock] = {}
_locks_guard = threading.Lock()


@dataclass(frozen=True)
class Place:
    """A blob, or a folder of blobs."""

    account: Resource
    container: str
    path: str


def locate(cloud: Cloud, workspace: Resource, uri: str) -> Place:
    """Where the content of a URI lies.

    Args:
        uri: `azureml://…/datastores/<name>/paths/<path>` or `https://<account>.blob.core.windows.net/<container>/<path>`.

    Raises:
        OperationFailed: `BadArgument` for another form, an unknown datastore or account.
    """
    if named := _DATASTORE.fullmatch(uri):
        return _in_datastore(cloud, workspace, named.group(1), unquote(named.group(2)))
    parts = urlsplit(uri)
    host = _BLOB_HOST.fullmatch((parts.hostname or "").lower())
    if parts.scheme not in ("https", "wasbs") or host is None:
        raise OperationFailed(
            "BadArgument",
            f"Local Azure cannot read '{uri}': it reads datastore paths and blobs of its own storage accounts.",
        )
    container, _, path = unquote(parts.path).lstrip("/").partition("/")
    return Place(_account(cloud, host.group(1), uri), container, path.strip("/"))


def _in_datastore(cloud: Cloud, workspace: Resource, name: str, path: str) -> Place:
    datastore = cloud.store.get(f"{workspace.id}/datastores/{name}")
    if datastore is None or datastore.type.lower() != DATASTORE_TYPE.lower():
        raise OperationFailed("BadArgument", f"The datastore '{name}' does not exist in workspace '{workspace.name}'.")
    container = datastore.properties.get("containerName")
    if not container:
        kind = datastore.properties["datastoreType"]
        raise OperationFailed("BadArgument", f"Local Azure reads blob datastores only; '{name}' is of type {kind}.")
    return Place(_account(cloud, datastore.properties.get("accountName") or "", name), container, path.strip("/"))


def _account(cloud: Cloud, name: str, asked: str) -> Resource:
    for account in cloud.store.of_type(storage.TYPE):
        if account.name == name:
            return account
    raise OperationFailed(
        "BadArgument", f"The storage account '{name}' behind '{asked}' does not exist in Local Azure."
    )


def fetch(cloud: Cloud, place: Place, folder: Path) -> None:
    """Downloads a blob, or all below a path, into `folder`; nothing where the folder is there already.

    Raises:
        OperationFailed: `ResourceNotFound` where nothing lies at the place.
    """
    with _lock(folder):
        if folder.is_dir():
            return
        draft = folder.with_name(folder.name + ".part")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        if not storage.open_blobs(cloud, place.account).download_prefix(place.container, place.path, draft):
            shutil.rmtree(draft, ignore_errors=True)
            raise OperationFailed(
                "ResourceNotFound",
                f"Nothing lies at '{place.path}' in container '{place.container}' of storage account "
                f"'{place.account.name}'.",
            )
        draft.rename(folder)


def _lock(folder: Path) -> threading.Lock:
    with _locks_guard:
        return _locks.setdefault(folder, threading.Lock())


@dataclass(frozen=True)
class ModelFiles:
    """A model on disk.

    Attributes:
        root: what `AZUREML_MODEL_DIR` names; its last parts are the model's name and version.
        content: the model's own folder or file below it.
    """

    root: Path
    content: Path


def model_files(cloud: Cloud, workspace: Resource, model: Resource) -> ModelFiles:
    """A registered model on disk, laid out as in Azure's containers: the folder keeps its name below the version."""
    uri = model.properties["modelUri"]
    place = locate(cloud, workspace, uri)
    root = cloud.assets("azureml-models", guid(workspace), _hash(uri), ids.name(ids.parent(model.id)), model.name)
    last = place.path.rpartition("/")[2] or "model"
    inner = root / last
    with _lock(root):
        if not root.is_dir():
            _fetch_model(cloud, place, root, last)
    return ModelFiles(root, inner)


def _fetch_model(cloud: Cloud, place: Place, root: Path, last: str) -> None:
    draft = root.with_name(root.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)
    fetch(cloud, place, draft / last)
    # A single blob lands as <folder>/<name>; a file model lies directly below the version, as in Azure.
    only = draft / last / last
    if only.is_file() and len(list((draft / last).iterdir())) == 1:
        moved = only.rename(draft / f"{last}.file")
        (draft / last).rmdir()
        moved.rename(draft / last)
    draft.rename(root)


def code_folder(cloud: Cloud, workspace: Resource, code: Resource) -> Path:
    """A registered code version on disk: the folder that holds the scoring script."""
    uri = code.properties["codeUri"]
    place = locate(cloud, workspace, uri)
    folder = cloud.assets("code", guid(workspace), _hash(uri), ids.name(ids.parent(code.id)), code.name)
    fetch(cloud, place, folder)
    return folder


def forget_content(cloud: Cloud, workspace: Resource) -> None:
    """Removes the models and code of a workspace that is gone."""
    for kind in ("azureml-models", "code"):
        shutil.rmtree(cloud.assets(kind, guid(workspace)), ignore_errors=True)


def _hash(uri: str) -> str:
    # A version that is deleted and registered again may have another content under the same name.
    return hashlib.sha256(uri.encode()).hexdigest()[:12]
