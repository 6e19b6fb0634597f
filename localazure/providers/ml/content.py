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
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from localazure.arm import ids
from localazure.arm.operations import OperationFailed
from localazure.arm.store import Resource
from localazure.blobs import Blobs
from localazure.errors import LocalAzureError
from localazure.gateway import hosts
from localazure.providers import storage
from localazure.providers.cloud import Cloud
from localazure.providers.ml.asset_kinds import flavors_of
from localazure.providers.ml.names import DATASTORE_TYPE, find_asset, guid

log = logging.getLogger(__name__)

# `azureml://datastores/…`, its long form, and a datastore's ARM id followed by `/paths/…`, as Azure's examples have it.
DATASTORE_URI = re.compile(
    r"(?:azureml://(?:(?P<above>.*)/)?|(?:azureml:)?(?P<arm>/subscriptions/.*)/)"
    r"datastores/(?P<name>[^/]+)/paths/(?P<path>.*)",
    re.IGNORECASE | re.DOTALL,
)
_FORMS = "azureml://datastores/<name>/paths/<path> or https://<account>.blob.core.windows.net/<container>/<path>"


@dataclass(frozen=True)
class Place:
    """A blob, or a folder of blobs."""

    account: Resource
    container: str
    path: str
    glob: str | None = None
    """Which of the blobs in the folder are meant, by their paths below it; None for all. See `expression`."""
    kind: Literal["file", "folder", "either"] = "either"
    """What has to lie there."""


def locate(cloud: Cloud, workspace: Resource, uri: str) -> Place:
    """Where the content of a URI lies.

    Args:
        uri: `azureml://…/datastores/<name>/paths/<path>`, a datastore's ARM id with `/paths/<path>`, or
            `https://<account>.blob.core.windows.net/<container>/<path>`.

    Raises:
        OperationFailed: `BadArgument` for another form, an unknown datastore or account.
    """
    account, container, path = address(cloud, workspace, uri)
    return Place(_account(cloud, account, uri), container, path)


def address(cloud: Cloud, workspace: Resource, uri: str) -> tuple[str, str, str]:
    """The storage account's name, container and path that a URI means, whether or not anything is there.

    Raises:
        OperationFailed: `BadArgument` for a form that `locate` does not read, or an unknown datastore.
    """
    if named := DATASTORE_URI.fullmatch(uri):
        _check_workspace(workspace, named["above"] or named["arm"] or "", uri)
        account, container = _datastore(cloud, workspace, named["name"])
        return account, container, unquote(named["path"]).strip("/")
    scheme, user, host, path = _split(uri)
    account = hosts.storage_account(hosts.fold(host.replace(".dfs.", ".blob.", 1)))
    if scheme not in ("https", "wasbs", "abfss") or account is None:
        raise OperationFailed("BadArgument", f"Local Azure cannot read '{uri}'. It reads {_FORMS}.")
    if scheme == "https":
        user, _, path = path.lstrip("/").partition("/")
    if not user:
        raise OperationFailed("BadArgument", f"'{uri}' names no container. Local Azure reads {_FORMS}.")
    return account, user, path.strip("/")


def _check_workspace(workspace: Resource, above: str, uri: str) -> None:
    # A datastore's name means something in its own workspace only.
    found = re.search(r"workspaces/([^/]+)", above, re.IGNORECASE)
    if found and not (ids.same(found[1], workspace.name) or ids.same(found[1], guid(workspace))):
        raise OperationFailed(
            "BadArgument",
            f"'{uri}' names a datastore of workspace '{found[1]}', and this is workspace '{workspace.name}': name "
            "one of its own datastores, or the blobs' https address.",
        )


def _split(uri: str) -> tuple[str, str, str, str]:
    """Scheme, user (where some schemes have the container), host and decoded path; empty where it is no URI."""
    try:
        parts = urlsplit(uri)
        return parts.scheme, parts.username or "", parts.hostname or "", unquote(parts.path)
    except ValueError:  # such as `https://[`
        return "", "", "", ""


def _datastore(cloud: Cloud, workspace: Resource, name: str) -> tuple[str, str]:
    """The storage account's name and the container of a datastore."""
    datastore = cloud.store.get(f"{workspace.id}/datastores/{name}")
    if datastore is None or datastore.type.lower() != DATASTORE_TYPE.lower():
        raise OperationFailed("BadArgument", f"The datastore '{name}' does not exist in workspace '{workspace.name}'.")
    container = datastore.properties.get("containerName")
    if not container:
        kind = datastore.properties["datastoreType"]
        raise OperationFailed("BadArgument", f"Local Azure reads blob datastores only; '{name}' is of type {kind}.")
    return datastore.properties.get("accountName") or "", container


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
        OperationFailed: `ResourceNotFound` where nothing lies at the place, `UserError` for a file where a folder is
            meant or the other way round.
    """
    with cloud.folders.hold(folder):
        if folder.is_dir():
            return
        draft = folder.with_name(folder.name + ".part")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        blobs = storage.open_blobs(cloud, place.account)
        wanted = expression(place.glob) if place.glob else None
        _check_kind(blobs, place)
        if not blobs.download_prefix(place.container, place.path, draft, wanted):
            shutil.rmtree(draft, ignore_errors=True)
            raise OperationFailed("ResourceNotFound", f"Nothing lies at {_named(place)}.")
        draft.rename(folder)


def _check_kind(blobs: Blobs, place: Place) -> None:
    """Azure mounts a folder as a folder and a file as a file, so an input that is called the other one has no files."""
    if place.kind == "either" or place.glob or not place.path:
        return
    found = blobs.list(place.container, place.path)
    is_file = place.path in found
    if place.kind == "folder" and is_file and not any(name.startswith(f"{place.path}/") for name in found):
        raise OperationFailed("UserError", f"{_named(place)} is a file: give the input the type UriFile (uri_file).")
    if place.kind == "file" and found and not is_file:
        raise OperationFailed("UserError", f"{_named(place)} is no file: for a folder the type is UriFolder.")


def expression(glob: str) -> re.Pattern[str]:
    """What a path with wildcards matches: `*` anything within a folder or file name, `**` across folders as well.

    `**/` is also no folder at all, so `**/*.csv` finds files at every depth.
    """
    parts = re.split(r"(\*\*/|\*\*|\*)", glob)
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}
    return re.compile("".join(wild.get(part) or re.escape(part) for part in parts), re.DOTALL)


def _named(place: Place) -> str:
    path = "/".join(part for part in (place.path, place.glob) if part)
    return f"'{path}' in container '{place.container}' of storage account '{place.account.name}'"


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
