"""What an invocation of a batch endpoint asks for: inputs, output, and settings that differ from the deployment's."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import user_error
from localazure.providers.ml.content import DATASTORE_URI
from localazure.providers.ml.job_definitions import OUTPUT_MODES
from localazure.providers.ml.job_inputs import FIELDS, TYPES, folded, inputs_of

OUTPUT_TYPES = TYPES[:-1]


@dataclass(frozen=True)
class JobRequest:
    """An invocation, checked.

    Attributes:
        name: the caller's, or one of the form that the service gives.
        experiment: what the job is listed under; None for the endpoint's name.
        settings: the deployment's, with what the caller wants differently.
        inputs: by name.
        output: where the predictions go.
        own: further properties of the job.
    """

    name: str
    experiment: str | None
    settings: dict[str, Any]
    inputs: dict[str, dict[str, Any]]
    output: Output
    own: dict[str, str]

    @classmethod
    def of(cls, deployment: dict[str, Any], body: dict[str, Any]) -> JobRequest:
        """Reads the body of an invocation. Raises ArmError (400)."""
        sent = folded(read.mapping(folded(body, FIELDS), "properties", required=True), FIELDS)
        _refuse_dataset(sent)
        own = folded(read.strings(sent, "properties", "properties"), FIELDS)
        output = output_of(sent)
        return cls(
            name=_name(sent),
            experiment=own.pop("experimentName", None),
            settings=_with_file(overridden(deployment, sent), sent, output),
            inputs=inputs_of(sent),
            output=output,
            own=own,
        )


def _name(sent: dict[str, Any]) -> str:
    given = read.text(sent, "name", "properties")
    if given is None:
        return f"batchjob-{uuid.uuid4()}"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}", given):
        raise user_error(400, f"The job name '{given}' is invalid: up to 255 letters, digits, hyphens and underscores.")
    return given


def _refuse_dataset(sent: dict[str, Any]) -> None:
    if sent.get("dataset") is not None:
        raise user_error(400, "'properties.dataset' names a dataset of version 1; name the data in 'inputData'.")


def _with_file(settings: dict[str, Any], sent: dict[str, Any], output: Output) -> dict[str, Any]:
    """The settings with the file that the output names. Raises ArmError (400) where two names are given."""
    name = output.file_name
    given = sent.get("outputFileName")
    if name is None:
        return settings
    if given and given != name:
        raise user_error(
            400, f"The output is the file '{name}', and 'properties.outputFileName' is '{given}': give one of them."
        )
    return {**settings, "outputFileName": name}


def overridden(deployment: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
    """A deployment's settings with what the invocation says differently."""
    most = 2**31 - 1
    compute = folded(read.mapping(sent, "compute", "properties"), FIELDS)
    _check_target(compute, deployment["compute"])
    count = deployment["resources"]["instanceCount"]
    return {
        **deployment,
        "miniBatchSize": read.integer(
            sent, "miniBatchSize", deployment["miniBatchSize"], "properties", least=1, most=most
        ),
        "errorThreshold": read.integer(
            sent, "errorThreshold", deployment["errorThreshold"], "properties", least=-1, most=most
        ),
        "outputFileName": output_file_name(sent, deployment["outputFileName"]),
        "retrySettings": retry_settings(sent, deployment["retrySettings"]),
        "resources": {
            **deployment["resources"],
            "instanceCount": read.integer(compute, "instanceCount", count, "properties.compute", least=1, most=most),
        },
    }


def _check_target(compute: dict[str, Any], own: str) -> None:
    # The service's reference calls this "Compute configuration used to set instance count", and no more. The client
    # says that a count without a target is local.
    read.flag(compute, "isLocal", False, "properties.compute")
    for name in ("instanceType", "location"):
        read.text(compute, name, "properties.compute")
    read.mapping(compute, "properties", "properties.compute")
    target = read.text(compute, "target", "properties.compute")
    if target and not ids.same(ids.name(target), ids.name(own)):
        raise user_error(
            400,
            f"'properties.compute.target' is '{target}', and the deployment runs on '{ids.name(own)}'. An invocation "
            "sets 'instanceCount' only; for another cluster make another deployment.",
        )


def retry_settings(sent: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    """How often a mini-batch is tried and how long each time. Raises ArmError (400)."""
    where = "properties.retrySettings"
    retry = folded(read.mapping(sent, "retrySettings", "properties"), FIELDS)
    timeout = read.text(retry, "timeout", where) or default["timeout"]
    if not read.seconds(timeout, f"{where}.timeout"):
        raise user_error(400, f"'{where}.timeout' is {timeout}; it must be above 0.")
    count = read.integer(retry, "maxRetries", default["maxRetries"], where, least=0, most=2**31 - 1)
    return {"maxRetries": count, "timeout": timeout}


def output_file_name(sent: dict[str, Any], default: str) -> str:
    """The name of the file that rows are appended to. Raises ArmError (400) for a path."""
    name = read.text(sent, "outputFileName", "properties") or default
    if "/" in name or "\0" in name or name in (".", ".."):
        raise user_error(400, f"'properties.outputFileName' is '{name}'; it must be the name of a file, not a path.")
    return name


@dataclass(frozen=True)
class Output:
    """Where the predictions are to go: a folder of a datastore, or None for the default, and a file's name in it."""

    folder: str | None = None
    file_name: str | None = None
    sent: dict[str, Any] | None = None
    """As the answer shows it."""


def output_of(sent: dict[str, Any]) -> Output:
    """The output that the caller wants. Raises ArmError (400)."""
    outputs = read.mapping(sent, "outputData", "properties")
    dataset = folded(read.mapping(sent, "outputDataset", "properties"), FIELDS)
    if len(outputs) + bool(dataset) > 1:
        names = ", ".join([*outputs, *(["outputDataset"] if dataset else [])])
        raise user_error(400, f"A model deployment has one output; the request names {len(outputs)}: {names}.")
    if dataset:
        return Output(_dataset_folder(dataset))
    return next((_named_output(outputs, name) for name in outputs), Output())


def _named_output(outputs: dict[str, Any], name: str) -> Output:
    where = f"properties.outputData.{name}"
    each = folded(read.mapping(outputs, name, "properties.outputData", required=True), FIELDS)
    kind = read.choice(each, "jobOutputType", OUTPUT_TYPES, None, where)
    if kind not in ("UriFile", "UriFolder"):
        raise user_error(400, f"'{where}.jobOutputType' is {kind}; a model deployment writes a UriFile or a UriFolder.")
    uri = read.text(each, "uri", where)
    mode = read.choice(each, "mode", OUTPUT_MODES, None, where)
    if not uri:
        return Output()
    shown = {name: {"description": None, "uri": uri, "mode": mode or "ReadWriteMount", "jobOutputType": kind}}
    datastore, path = _datastore_path(uri, f"{where}.uri")
    if kind == "UriFolder":
        return Output(_folder(datastore, path), sent=shown)
    # The client writes `output_file_name` as the last part of the path, and then the file's type.
    folder, _, file_name = path.rpartition("/")
    if not file_name:
        raise user_error(
            400, f"'{where}.uri' is '{uri}', which ends in no file's name; for a folder the type is UriFolder."
        )
    return Output(_folder(datastore, folder), output_file_name({"outputFileName": file_name}, file_name), shown)


def _dataset_folder(dataset: dict[str, Any]) -> str | None:
    where = "properties.outputDataset"
    path = read.text(dataset, "path", where) or ""
    named = read.text(dataset, "datastoreId", where, required=True) or ""
    datastore = named.removeprefix("azureml:").rstrip("/").rpartition("/")[2]
    if not datastore:
        raise user_error(400, f"'{where}.datastoreId' is '{named}'; it must be the id or the name of a datastore.")
    return _folder(datastore, path)


def _datastore_path(uri: str, where: str) -> tuple[str, str]:
    found = DATASTORE_URI.fullmatch(uri)
    if found is None:
        raise user_error(
            400,
            f"'{where}' is '{uri}'. Batch endpoints only support writing outputs in Blob Storage data stores: "
            "azureml://datastores/<name>/paths/<path>.",
        )
    return found["name"], found["path"]


def _folder(datastore: str, path: str) -> str:
    parts = [part for part in path.split("/") if part]
    if {".", ".."} & set(parts) or "*" in path:
        raise user_error(400, f"The output path '{path}' is invalid: it must name a folder, without '..' and '*'.")
    return f"azureml://datastores/{datastore}/paths/" + "".join(f"{part}/" for part in parts)
