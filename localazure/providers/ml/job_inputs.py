"""The data that an invocation of a batch endpoint names: what it may be, and where its files lie.

Source: "Create jobs and input data for batch endpoints" of Azure Machine Learning's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import invalid, user_error
from localazure.arm.operations import OperationFailed
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.ml.content import Place, address, locate
from localazure.providers.ml.job_definitions import INPUT_MODES
from localazure.providers.ml.names import NAMESPACE, find_asset, guid, workspace_above

Json = dict[str, Any]

TYPES = ("UriFile", "UriFolder", "MLTable", "CustomModel", "MLFlowModel", "TritonModel", "Literal")
_TAKEN = {"UriFile": "uri_file", "UriFolder": "uri_folder"}
# "Keys can contain only alphanumeric characters and underscore characters."
_NAME = re.compile(r"[A-Za-z0-9_]{1,255}")
_ASSET = re.compile(
    r"azureml://(?P<above>.*)/workspaces/(?P<workspace>[^/]+)/data/(?P<name>[^/]+)/versions/(?P<version>[^/]+)",
    re.IGNORECASE,
)
_DATASTORE_ID = re.compile(r"/datastores/[^/]+/paths/", re.IGNORECASE)


def inputs_of(sent: Json) -> dict[str, Json]:
    """The named inputs of an invocation in canonical form, as the answer shows them.

    Raises:
        ArmError: 400 without any, and for what no deployment of a model takes.
    """
    inputs = read.mapping(sent, "inputData", "properties")
    if not inputs:
        raise user_error(400, "'properties.inputData' is required: a batch job needs at least one input.")
    return {name: _input(inputs, name) for name in inputs}


def _input(inputs: Json, name: str) -> Json:
    where = f"properties.inputData.{name}"
    if not _NAME.fullmatch(name):
        raise user_error(400, f"The input name '{name}' is invalid: use letters, digits and underscores only.")
    each = folded(read.mapping(inputs, name, "properties.inputData", required=True), FIELDS)
    kind = read.choice(each, "jobInputType", TYPES, None, where)
    if kind is None:
        raise invalid(f"'{where}.jobInputType' is required: UriFolder or UriFile.", "ValidationError")
    _refuse_type(kind, where)
    return {
        "description": read.text(each, "description", where),
        "uri": _uri(each, where),
        "mode": read.choice(each, "mode", INPUT_MODES, "ReadOnlyMount", where),
        "jobInputType": kind,
    }


def _refuse_type(kind: str, where: str) -> None:
    if kind == "Literal":
        raise user_error(
            400,
            f"'{where}' is a literal. Literal inputs are only supported in pipeline component deployments; give a "
            "scoring script its values as environment variables of the deployment.",
        )
    if kind not in _TAKEN:
        raise user_error(
            400, f"'{where}.jobInputType' is {kind}; a model deployment takes data of type UriFile or UriFolder only."
        )


def _uri(each: Json, where: str) -> str:
    uri = read.text(each, "uri", where, required=True) or ""
    if not uri.strip():
        raise invalid(f"'{where}.uri' is empty; it is required.", "ValidationError")
    return uri


def sources(cloud: Cloud, workspace: Resource, inputs: Mapping[str, Json]) -> dict[str, str]:
    """Where the files of each input lie, as URIs of storage: a label or an asset means what it means now.

    Raises:
        ArmError: 400 for an asset or a datastore that is not there, for data of another type, and for a URI of a
            form that is not read; 501 for an asset in a registry.
    """
    found: dict[str, str] = {}
    for name, each in inputs.items():
        where = f"properties.inputData.{name}.uri"
        asset = _asset_reference(workspace, each["uri"])
        found[name] = _content(cloud, workspace, asset, each["jobInputType"], where) if asset else each["uri"]
        check_uri(cloud, workspace, found[name], where)
    return found


def check_uri(cloud: Cloud, workspace: Resource, uri: str, where: str) -> None:
    """Raises ArmError (400) for a URI that names no place in storage, whether or not anything is there."""
    try:
        address(cloud, workspace, uri)
    except OperationFailed as error:
        raise user_error(400, f"'{where}': {error.message}") from None


def _asset_reference(workspace: Resource, uri: str) -> str | None:
    """The reference to a data asset in the form that assets are looked up by; None for a URI of storage."""
    if "/registries/" in uri.lower() or uri.lower().startswith("azureml://registries/"):
        return uri
    if named := _ASSET.fullmatch(uri):
        return _arm_id(workspace, named)
    bare = uri.removeprefix("azureml:") if uri.startswith("azureml:/subscriptions/") else uri
    if bare.startswith("/subscriptions/"):
        return None if _DATASTORE_ID.search(bare) else bare
    return uri if re.match(r"azureml:[^/]", uri) else None


def _arm_id(workspace: Resource, named: re.Match[str]) -> str:
    tail = f"data/{named['name']}/versions/{named['version']}"
    if named["workspace"].lower() == guid(workspace).lower():
        return f"{workspace.id}/{tail}"
    parts = re.fullmatch(r"subscriptions/([^/]+)/resourcegroups/([^/]+)(?:/providers/[^/]+)?", named["above"], re.I)
    if parts is None:
        raise user_error(400, f"'{named[0]}' names data that is not in workspace '{workspace.name}'.")
    group = f"/subscriptions/{parts[1]}/resourceGroups/{parts[2]}"
    return f"{group}/providers/{NAMESPACE}/workspaces/{named['workspace']}/{tail}"


def _content(cloud: Cloud, workspace: Resource, reference: str, kind: str, where: str) -> str:
    asset = find_asset(cloud, workspace, reference, "data", where)
    if not ids.same(workspace_above(cloud, asset.id).id, workspace.id):
        raise user_error(400, f"'{where}' is '{reference}', which is not in workspace '{workspace.name}'.")
    has = str(asset.properties["dataType"])
    if has.lower() != _TAKEN[kind]:
        raise user_error(400, _mismatch(reference, has, kind, where))
    return str(asset.properties["dataUri"])


def _mismatch(reference: str, has: str, kind: str, where: str) -> str:
    if has.lower() == "mltable":
        return f"'{where}' is '{reference}'. Data assets of type table (MLTable) aren't currently supported."
    return f"'{where}' is '{reference}', data of type {has}; the input is of type {kind} ({_TAKEN[kind]})."


def places(cloud: Cloud, workspace: Resource, job: Resource) -> Iterator[tuple[str, Place]]:
    """Each input's name, which is fit to be a folder's, and where its files lie, in the order of the names.

    Raises:
        OperationFailed: the storage account or the datastore is not there any more.
        ArmError: the asset is not, in a job that was begun without looking.
    """
    inputs = job.hidden["inputs"]
    uris = job.hidden.get("sources") or sources(cloud, workspace, inputs)
    for name in sorted(inputs):
        kind: Literal["file", "folder"] = "file" if inputs[name]["jobInputType"] == "UriFile" else "folder"
        yield name, _place(locate(cloud, workspace, uris[name]), kind)


def _place(found: Place, kind: Literal["file", "folder"]) -> Place:
    if "*" not in found.path:
        return Place(found.account, found.container, found.path, kind=kind)
    fixed = found.path[: found.path.index("*")].rpartition("/")[0]
    return Place(found.account, found.container, fixed, glob=found.path[len(fixed) :].lstrip("/"))


# Names of fields ------------------------------------------------------------------------------------------------------

# The service reads them in any case: its documentation writes them with a capital letter, its clients without.
FIELDS = (
    *("properties", "inputData", "outputData", "outputDataset", "compute", "retrySettings", "dataset", "name"),
    *("miniBatchSize", "errorThreshold", "outputFileName", "experimentName", "maxRetries", "timeout"),
    *("instanceCount", "target", "isLocal", "jobInputType", "jobOutputType", "uri", "mode", "value", "description"),
    *("datastoreId", "path", "instanceType", "location"),
)


def folded(sent: Json, fields: tuple[str, ...]) -> Json:
    """An object whose known fields have their canonical names. Raises ArmError (400) for one that is there twice."""
    names = {field.lower(): field for field in fields}
    found: Json = {}
    for name, value in sent.items():
        canonical = names.get(name.lower(), name)
        if canonical in found:
            raise invalid(f"'{canonical}' is there twice.", "ValidationError")
        found[canonical] = value
    return found
