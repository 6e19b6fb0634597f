"""Checks a resource's inputs against the SDK's types, and adds what azure-native adds: name, location, api-version."""

from __future__ import annotations

import difflib
import hashlib
import secrets
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from localazure.pulumi_plugin.convert import Converter
from localazure.pulumi_plugin.shapes import ObjectType, ResourceShape, Shape, path_parameters
from localazure.pulumi_plugin.values import UNKNOWN, Properties, contains_unknown

AUTO_NAMED = "__createBeforeDelete"
"""Input by which azure-native remembers that it made the name: such a resource's replacement may be created first."""

API_VERSION = "azureApiVersion"

_NAMES = {
    "string": "string",
    "const": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "array": "array",
    "set": "array",
    "map": "object",
    "object": "object",
    "union": "object",
}


@dataclass(frozen=True)
class Autonaming:
    """What the stack's `pulumi:autonaming` says about one resource."""

    mode: Literal["propose", "enforce", "disable"]
    proposed: str


@dataclass(frozen=True)
class Naming:
    """What a name is made from: the resource's name in the program, the engine's seed, the stack's rules."""

    logical_name: str
    seed: bytes = b""
    autonaming: Autonaming | None = None


def with_defaults(
    shape: ResourceShape,
    inputs: Mapping[str, Any],
    old_inputs: Mapping[str, Any],
    naming: Naming,
    location: Callable[[], Any],
) -> Properties:
    """The inputs and their defaults.

    Args:
        location: finds the default location; called only if the resource takes one and none is known. None: not found.
    """
    filled = {**_name(shape, inputs, old_inputs, naming), **inputs}
    if "location" in shape.body.properties and "location" not in filled:
        found = old_inputs["location"] if "location" in old_inputs else location()
        filled |= {} if found is None else {"location": found}
    return {**filled, API_VERSION: filled.get(API_VERSION, shape.api_version)}


def failures(shape: ResourceShape, inputs: Mapping[str, Any], converter: Converter) -> list[str]:
    """All that is wrong with the inputs after `with_defaults`, each in azure-native's words.

    It is stricter in two things, because Azure would not do what was meant: a property that the type does not have is a
    failure (azure-native drops it silently), and the members of a union are checked like any other object.
    """
    given = {name: value for name, value in inputs.items() if not name.startswith("__") and name != API_VERSION}
    found = list(_Checker(converter).object(shape.inputs, given, ""))
    named = path_parameters(shape.row.path)[-1]
    required = {named} | ({"location"} if shape.row.located else set())
    return found + [_missing(name) for name in sorted(required - given.keys() - shape.inputs.required)]


def _name(
    shape: ResourceShape, inputs: Mapping[str, Any], old_inputs: Mapping[str, Any], naming: Naming
) -> dict[str, Any]:
    key = path_parameters(shape.row.path)[-1]
    if key in inputs:
        return {}
    if key in old_inputs:
        flag = {AUTO_NAMED: True} if old_inputs.get(AUTO_NAMED) is True else {}
        return {key: old_inputs[key], **flag}
    made = _made_name(shape.row.naming, naming)
    return {} if made is None else {key: made, AUTO_NAMED: True}


def _made_name(kind: Literal["random", "uuid"], naming: Naming) -> str | None:
    rules = naming.autonaming
    if rules and rules.mode == "disable":
        return None
    if rules and (rules.mode == "enforce" or kind == "random"):
        return rules.proposed
    # The seed makes the name the same in the preview and in the update after it.
    digest = hashlib.sha256(naming.seed).hexdigest() if naming.seed else secrets.token_hex(32)
    return str(uuid.UUID(digest[:32])) if kind == "uuid" else f"{naming.logical_name}{digest[:8]}"


def _missing(path: str) -> str:
    reason = f"missing required property '{path}'"
    if path == "location":
        reason += ". Either set it explicitly or configure it with 'pulumi config set azure-native:location <value>'."
    return reason


class _Checker:
    def __init__(self, converter: Converter) -> None:
        self._converter = converter

    def object(self, type_: ObjectType, values: Mapping[str, Any], context: str) -> Iterator[str]:
        for name in sorted(type_.required - values.keys()):
            yield _missing(_path(context, name))
        for name, value in values.items():
            shape = type_.properties.get(name)
            if shape is None:
                yield _unknown_property(type_, name, context)
            else:
                yield from self._value(shape, value, _path(context, name))

    def _value(self, shape: Shape, value: Any, path: str) -> Iterator[str]:
        if value is UNKNOWN or shape.kind == "any":
            return
        if isinstance(value, Mapping):
            yield from self._mapping(shape, value, path)
        elif isinstance(value, list):
            yield from self._list(shape, value, path)
        elif isinstance(value, str) and shape.kind not in ("string", "const"):
            yield _mismatch(shape, path, "a string")
        elif isinstance(value, float):
            yield from _number(shape, value, path)

    def _mapping(self, shape: Shape, value: Mapping[str, Any], path: str) -> Iterator[str]:
        if shape.kind == "map" and shape.item:
            for name, item in value.items():
                yield from self._value(shape.item, item, _path(path, name))
        elif shape.names:
            type_ = self._converter.member(shape, value)
            # Which member of a union is meant cannot be said while its discriminator is unknown.
            if type_ is not None and not (shape.kind == "union" and contains_unknown(_constants(type_, value))):
                yield from self.object(type_, value, path)
        else:
            yield _mismatch(shape, path, "an object")

    def _list(self, shape: Shape, value: list[Any], path: str) -> Iterator[str]:
        if shape.kind not in ("array", "set"):
            yield _mismatch(shape, path, "an array")
            return
        item_shape = shape.item or Shape("string")
        for index, item in enumerate(value):
            yield from self._value(item_shape, item, f"{path}[{index}]")


def _number(shape: Shape, value: float, path: str) -> Iterator[str]:
    if shape.kind not in ("integer", "number"):
        yield _mismatch(shape, path, "a number")
    elif shape.kind == "integer" and not value.is_integer():
        yield f"'{path}' must be an integer but got {value:f}"


def _mismatch(shape: Shape, path: str, got: str) -> str:
    return f"'{path}' should be of type '{_NAMES[shape.kind]}' but got {got}"


def _unknown_property(type_: ObjectType, name: str, context: str) -> str:
    path = _path(context, name)
    similar = difflib.get_close_matches(name, type_.properties, n=1)
    known = ", ".join(sorted(type_.properties))
    hint = f"did you mean '{_path(context, similar[0])}'?" if similar else f"known here: {known}"
    return f"unknown property '{path}': azure-native would not send it to Azure; {hint}"


def _constants(type_: ObjectType, value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.get(name) for name, shape in type_.properties.items() if shape.kind == "const"}


def _path(context: str, name: str) -> str:
    return f"{context}.{name}" if context else name
