"""Property values as they travel between engine and provider, in plain Python.

A value that is not known yet (in a preview) is `UNKNOWN`. Secrets arrive unwrapped, because the provider says that it
takes none, as azure-native does; the engine then marks the same properties of every answer as secret by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf import struct_pb2


class Unknown:
    """A value that only exists once a resource has been created."""

    def __repr__(self) -> str:
        return "<unknown>"

    def __deepcopy__(self, memo: object) -> Unknown:
        return self


UNKNOWN: Final = Unknown()

_UNKNOWN_STRING = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
# Pulumi's protocol has one such string for each kind of value; an engine sends the first for all that it makes itself.
_UNKNOWN_STRINGS = frozenset(
    {
        _UNKNOWN_STRING,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"

Properties = dict[str, Any]


def unmarshal(struct: struct_pb2.Struct) -> Properties:
    """The properties of a message, without those that are null."""
    return {
        name: _from_value(value) for name, value in struct.fields.items() if value.WhichOneof("kind") != "null_value"
    }


def marshal(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    """A message of the properties, without those that are None."""
    struct = struct_pb2.Struct()
    for name, value in properties.items():
        if value is not None:
            struct.fields[name].CopyFrom(_to_value(value))
    return struct


def contains_unknown(value: Any) -> bool:
    """Whether `value` or anything in it is unknown."""
    if isinstance(value, Mapping):
        return any(contains_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(contains_unknown(item) for item in value)
    return value is UNKNOWN


def _from_value(value: struct_pb2.Value) -> Any:
    match value.WhichOneof("kind"):
        case "struct_value":
            fields = unmarshal(value.struct_value)
            return fields.get("value") if fields.get(_SIGNATURE) == _SECRET else fields
        case "list_value":
            return [_from_value(item) for item in value.list_value.values]
        case "string_value":
            return UNKNOWN if value.string_value in _UNKNOWN_STRINGS else value.string_value
        case "number_value":
            return value.number_value
        case "bool_value":
            return value.bool_value
    return None


def _to_value(value: Any) -> struct_pb2.Value:
    match value:
        case Unknown():
            return struct_pb2.Value(string_value=_UNKNOWN_STRING)
        case None:
            return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
        case bool():
            return struct_pb2.Value(bool_value=value)
        case int() | float():
            return struct_pb2.Value(number_value=value)
        case str():
            return struct_pb2.Value(string_value=value)
        case Mapping():
            return struct_pb2.Value(struct_value=marshal(value))
        case list() | tuple():
            return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[_to_value(item) for item in value]))
    raise TypeError(f"a {type(value).__name__} is no property value: {value!r}")
