"""What an invocation of a batch endpoint asks for: inputs, output, and settings that differ from the deployment's."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import invalid, not_emulated, user_error
from localazure.providers.ml.job_definitions import INPUT_MODES

INPUT_TYPES = ("UriFile", "UriFolder", "MLTable", "CustomModel", "MLFlowModel", "TritonModel", "Literal")


@dataclass(frozen=True)
class JobRequest:
    """An invocation, checked.

    Attributes:
        name: the caller's, or one of the form that the service gives.
        experiment: what the job is listed under; None for the endpoint's name.
        settings: the deployment's, with what the caller wants differently.
        inputs: by name.
        output: the folder for the predictions, or None for the default.
    """

    name: str
    experiment: str | None
    settings: dict[str, Any]
    inputs: dict[str, dict[str, Any]]
    output: str | None

    @classmethod
    def of(cls, deployment: dict[str, Any], sent: dict[str, Any]) -> JobRequest:
        """Reads the `properties` of an invocation. Raises ArmError (400, 501)."""
        own = read.mapping(sent, "properties", "properties")
        return cls(
            name=_name(sent),
            experiment=read.text(own, "experimentName", "properties.properties"),
            settings=overridden(deployment, sent),
            inputs=inputs_of(sent),
            output=output_of(sent),
        )


def _name(sent: dict[str, Any]) -> str:
    given = read.text(sent, "name", "properties")
    if given is None:
        return f"batchjob-{uuid.uuid4()}"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}", given):
        raise user_error(400, f"The job name '{given}' is invalid: up to 255 letters, digits, hyphens and underscores.")
    return given


def overridden(deployment: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
    """A deployment's settings with what the invocation says differently."""
    most = 2**31 - 1
    compute = read.mapping(sent, "compute", "properties")
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


def retry_settings(sent: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    """How often a mini-batch is tried and how long each time. Raises ArmError (400)."""
    where = "properties.retrySettings"
    retry = read.mapping(sent, "retrySettings", "properties")
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


def inputs_of(sent: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The named inputs, in canonical form. Raises ArmError (400 without any, 501 for types that are not emulated)."""
    inputs = read.mapping(sent, "inputData", "properties")
    if not inputs:
        raise user_error(400, "'properties.inputData' is required: a batch job needs at least one input.")
    answer: dict[str, dict[str, Any]] = {}
    for name in inputs:
        where = f"properties.inputData.{name}"
        each = read.mapping(inputs, name, "properties.inputData", required=True)
        kind = read.choice(each, "jobInputType", INPUT_TYPES, None, where)
        if kind is None:
            raise invalid(f"'{where}.jobInputType' is required.", "ValidationError")
        if kind not in ("UriFile", "UriFolder"):
            raise not_emulated(f"batch inputs of type {kind}")
        uri = read.text(each, "uri", where, required=True)
        answer[name] = {
            "description": None,
            "uri": uri,
            "mode": read.choice(each, "mode", INPUT_MODES, "ReadOnlyMount", where),
            "jobInputType": kind,
        }
    return answer


def output_of(sent: dict[str, Any]) -> str | None:
    """The folder that the caller wants the predictions in, or None for the default."""
    outputs = read.mapping(sent, "outputData", "properties")
    for name in outputs:
        each = read.mapping(outputs, name, "properties.outputData")
        uri = read.text(each, "uri", f"properties.outputData.{name}")
        if uri:
            kind = (read.text(each, "jobOutputType", f"properties.outputData.{name}") or "").lower()
            return uri.rpartition("/")[0] + "/" if kind == "urifile" else uri
    dataset = read.mapping(sent, "outputDataset", "properties")
    datastore, path = (
        read.text(dataset, "datastoreId", "properties.outputDataset"),
        read.text(dataset, "path", "properties.outputDataset"),
    )
    return f"azureml://datastores/{ids.name(datastore)}/paths/{(path or '').strip('/')}/" if datastore else None
