"""What a job of each type says of itself: what it must have, and what the service adds, in jobs and in schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from localazure.arm import body as read
from localazure.arm.errors import invalid

Json = dict[str, Any]

JOB_TYPES = ("AutoML", "Command", "Sweep", "Pipeline", "Spark")
# What may change in a job that is there; all else is what it was submitted with.
CHANGEABLE = ("description", "tags", "displayName", "properties", "isArchived", "notificationSetting")

_ASSET_TYPES = ("uri_file", "uri_folder", "mltable", "custom_model", "mlflow_model", "triton_model")
INPUT_MODES = ("ReadOnlyMount", "ReadWriteMount", "Download", "Direct", "EvalMount", "EvalDownload")
OUTPUT_MODES = ("ReadWriteMount", "Upload", "Direct")


def definition(sent: Mapping[str, Any], where: str) -> Json:
    """The properties of a job as they are kept: canonical, and padded with nulls as recorded.

    Args:
        sent: the job's properties.
        where: their place in the body, for errors.

    Raises:
        ArmError: 400 for an unknown type, or without what the type requires.
    """
    given = dict(sent)
    kind = read.choice(given, "jobType", JOB_TYPES, None, where)
    if kind is None:
        raise invalid(f"'{where}.jobType' is required: one of {', '.join(JOB_TYPES)}.", "ValidationError")
    own = {name: reader(given, name, where) for name, reader in _FIELDS[kind].items()}
    common = {
        "description": read.text(given, "description", where),
        "tags": _labels(given, "tags", where),
        "properties": _labels(given, "properties", where),
        "displayName": read.text(given, "displayName", where),
        "status": "NotStarted",
        "experimentName": read.text(given, "experimentName", where) or "Default",
        "services": read.mapping(given, "services", where),
        "computeId": read.text(given, "computeId", where),
        "isArchived": read.flag(given, "isArchived", False, where),
        "identity": read.mapping(given, "identity", where) or None,
        "componentId": read.text(given, "componentId", where),
        "jobType": kind,
    }
    # What a later version of the API adds is kept as it is sent.
    rest = {name: value for name, value in given.items() if name not in common | own}
    return common | own | rest


def _labels(holder: Json, name: str, where: str) -> dict[str, str | None]:
    """Tags or properties; recorded: a null value stays."""
    found = read.mapping(holder, name, where)
    texts = read.strings(holder, name, where)
    return {each: texts.get(each) for each in found}


Reader = Callable[[Json, str, str], Any]


def _required_text(holder: Json, name: str, where: str) -> str:
    text = read.text(holder, name, where, required=True)
    if not text:
        raise invalid(f"'{where}.{name}' is empty; it is required.", "ValidationError")
    return text


def _required_object(holder: Json, name: str, where: str) -> Json:
    return read.mapping(holder, name, where, required=True)


def _object(holder: Json, name: str, where: str) -> Json | None:
    return read.mapping(holder, name, where) or None


def _texts(holder: Json, name: str, where: str) -> list[str]:
    values = {str(at): value for at, value in enumerate(read.sequence(holder, name, where))}
    return [read.text(values, at, f"{where}.{name}", required=True) or "" for at in values]


def _resources(holder: Json, name: str, where: str) -> Json:
    sent = read.mapping(holder, name, where)
    defaults = {"instanceCount": 1, "instanceType": None, "properties": None, "shmSize": "2g", "dockerArgs": None}
    count = read.integer(sent, "instanceCount", 1, f"{where}.{name}", least=1, most=2**31 - 1)
    return {**defaults, **{key: value for key, value in sent.items() if value is not None}, "instanceCount": count}


def _bindings(holder: Json, name: str, where: str, one: Callable[[Json, str], Json]) -> Json:
    found = read.mapping(holder, name, where)
    each = {key: read.mapping(found, key, f"{where}.{name}") for key in found}
    return {key: one(value, f"{where}.{name}.{key}") if value else None for key, value in each.items()}


def _inputs(holder: Json, name: str, where: str) -> Json:
    return _bindings(holder, name, where, _input)


def _input(sent: Json, where: str) -> Json:
    kind = read.choice(sent, "jobInputType", (*_ASSET_TYPES, "literal"), None, where)
    if kind is None:
        raise invalid(f"'{where}.jobInputType' is required.", "ValidationError")
    if kind == "literal":
        return {**sent, "description": sent.get("description"), "value": sent.get("value"), "jobInputType": kind}
    uri = _required_text(sent, "uri", where)
    mode = read.choice(sent, "mode", INPUT_MODES, "ReadOnlyMount", where)
    return {**sent, "description": sent.get("description"), "uri": uri, "mode": mode, "jobInputType": kind}


def _outputs(holder: Json, name: str, where: str) -> Json:
    return _bindings(holder, name, where, _output)


def _output(sent: Json, where: str) -> Json:
    kind = read.choice(sent, "jobOutputType", _ASSET_TYPES, None, where)
    if kind is None:
        raise invalid(f"'{where}.jobOutputType' is required.", "ValidationError")
    mode = read.choice(sent, "mode", OUTPUT_MODES, "ReadWriteMount", where)
    uri = read.text(sent, "uri", where)
    return {**sent, "description": sent.get("description"), "uri": uri, "mode": mode, "jobOutputType": kind}


_RUN: dict[str, Reader] = {"inputs": _inputs, "outputs": _outputs, "queueSettings": _object}
_PROCESS: dict[str, Reader] = {"environmentVariables": _labels, "resources": _resources}
_FIELDS: dict[str, dict[str, Reader]] = {
    "Command": {
        **_PROCESS,
        **_RUN,
        "codeId": read.text,
        "command": _required_text,
        "environmentId": _required_text,
        "distribution": _object,
        "limits": _object,
        "parameters": _object,
    },
    "Pipeline": {
        **_RUN,
        "jobs": lambda holder, name, where: read.mapping(holder, name, where),
        "settings": lambda holder, name, where: read.mapping(holder, name, where),
        "sourceJobId": read.text,
    },
    "Sweep": {
        **_RUN,
        "searchSpace": _required_object,
        "samplingAlgorithm": _required_object,
        "objective": _required_object,
        "trial": _required_object,
        "limits": _object,
        "earlyTermination": _object,
    },
    "Spark": {
        **_RUN,
        "codeId": _required_text,
        "entry": _required_object,
        "environmentId": read.text,
        "environmentVariables": _labels,
        "args": read.text,
        "conf": _labels,
        "archives": _texts,
        "files": _texts,
        "jars": _texts,
        "pyFiles": _texts,
        "resources": _object,
    },
    "AutoML": {
        **_PROCESS,
        "taskDetails": _required_object,
        "environmentId": read.text,
        "outputs": _outputs,
        "queueSettings": _object,
    },
}
