"""What an invocation of a batch endpoint asks for: inputs, output, and settings that differ from the deployment's."""

from __future__ import annotations

from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import invalid, not_emulated, user_error

INPUT_TYPES = ("UriFile", "UriFolder", "MLTable", "CustomModel", "MLFlowModel", "TritonModel", "Literal")


def overridden(deployment: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
    """A deployment's settings with what the invocation says differently."""
    most = 2**31 - 1
    retry = {**deployment["retrySettings"], **read.mapping(sent, "retrySettings", "properties")}
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
        "outputFileName": read.text(sent, "outputFileName", "properties") or deployment["outputFileName"],
        "retrySettings": {
            "maxRetries": read.integer(retry, "maxRetries", 3, "properties.retrySettings", least=0, most=most),
            "timeout": str(retry["timeout"]),
        },
        "resources": {
            **deployment["resources"],
            "instanceCount": read.integer(compute, "instanceCount", count, "properties.compute", least=1, most=most),
        },
    }


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
            "mode": each.get("mode") or "ReadOnlyMount",
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
