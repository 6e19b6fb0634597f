"""From a URI in an asset to files on disk: models, code and batch inputs, out of the storage accounts' blobs."""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

from localazure.arm import ids
from localazure.arm.operations import OperationFailed
from localazure.arm.store import Resource
from localazure.errors import LocalAzureError
from localazure.gateway import hosts
from localazure.providers import storage
from localazure.providers.cloud import Cloud
from localazure.providers.ml.asset_kinds import flavors_of
from localazure.providers.ml.names import DATASTORE_TYPE, find_asset, guid

log = logging.getLogger(__name__)

_DATASTORE = re.compile(r"azureml://(?:.*/workspaces/[^/]+/)?datastores/([^/]+)/paths/(.*)", re.IGNORECASE)


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
    scheme, host, blob = _split(uri)
    account = hosts.storage_account(hosts.fold(host))
    if scheme not in ("https", "wasbs") or account is None:
        raise OperationFailed(
            "BadArgument",
            f"Local Azure cannot read '{uri}': it reads datastore paths and blobs of its own storage accounts.",
        )
    container, _, path = blob.lstrip("/").partition("/")
    return Place(_account(cloud, account, uri), container, path.strip("/"))


def _split(uri: str) -> tuple[str, str, str]:
    """Scheme, host and decoded path of a URI; nothing of any of them where it is none."""
    try:
        parts = urlsplit(uri)
        return parts.scheme, parts.hostname or "", unquote(parts.path)
    except ValueError:  # such as `https://[`
        return "", "", ""


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
    with cloud.folders.hold(folder):
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
    with cloud.folders.hold(root):
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


def mounted(files: ModelFiles, path: str | None) -> ModelFiles:
    """A model as a deployment with `modelMountPath` sees it: `<path>/<model>/<version>`, below the state folder.

    The path itself is nobody's to make on a machine that others use, too: a link that ends like it stands for it.
    Source: https://learn.microsoft.com/azure/machine-learning/how-to-deploy-custom-container#locate-the-mounted-model
    """
    if path is None:
        return files
    # No model's name begins with a dot; and one path may lie below another, but never one link below another.
    link = files.root.parent.parent.joinpath(".mounts", _hash(path), path.strip("/"), *files.root.parts[-2:])
    link.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        link.symlink_to(files.root, target_is_directory=True)
    return ModelFiles(link, link / files.content.name)


def model_flavors(cloud: Cloud, workspace: Resource, uri: str) -> dict[str, Any] | None:
    """The flavors that the `MLmodel` file of an MLflow model names; None where it cannot be had."""
    from azure.core.exceptions import AzureError

    try:
        place = locate(cloud, workspace, uri)
        file = "/".join(part for part in (place.path, "MLmodel") if part)
        blobs = storage.open_blobs(cloud, place.account)
        if file not in blobs.list(place.container, file):
            return None
        with TemporaryDirectory() as folder:
            (found,) = blobs.download_prefix(place.container, file, Path(folder))
            return flavors_of(found.read_text(encoding="utf-8"))
    except (OperationFailed, LocalAzureError, AzureError, OSError, ValueError) as error:
        # A model may be registered before its files are there; then it says of itself what the client says.
        log.info("the flavors of %s cannot be read: %s", uri, error)
        return None


def code_folder(cloud: Cloud, workspace: Resource, configuration: Mapping[str, Any] | None) -> Path | None:
    """The code of a deployment's `codeConfiguration` on disk: the folder of the scoring script; None without one."""
    if configuration is None:
        return None
    code = find_asset(cloud, workspace, configuration["codeId"], "codes", "codeId")
    uri = code.properties["codeUri"]
    place = locate(cloud, workspace, uri)
    folder = cloud.assets("code", guid(workspace), _hash(uri), ids.name(ids.parent(code.id)), code.name)
    fetch(cloud, place, folder)
    return folder


def forget_content(cloud: Cloud, workspace: Resource) -> None:
    """Removes the models, the code and the jobs' folders of a workspace that is gone."""
    for kind in ("azureml-models", "code"):
        shutil.rmtree(cloud.assets(kind, guid(workspace)), ignore_errors=True)
    shutil.rmtree(cloud.home.jobs / guid(workspace), ignore_errors=True)


def _hash(uri: str) -> str:
    # A version that is deleted and registered again may have another content under the same name.
    return hashlib.sha256(uri.encode()).hexdigest()[:12]
