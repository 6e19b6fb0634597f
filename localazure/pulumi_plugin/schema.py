"""The package's schema as Pulumi wants it: enough for `pulumi import` to write code, without documentation."""

from __future__ import annotations

from typing import Any

from localazure.pulumi_plugin.shapes import Catalogue, ObjectType, Shape
from localazure.pulumi_plugin.table import RESOURCES, VERSION

_PRIMITIVES = frozenset({"string", "integer", "number", "boolean"})


def schema(catalogue: Catalogue) -> dict[str, Any]:
    """The schema of every resource type in the table. Nested types are `Any`."""
    return {
        "name": "azure-native",
        "version": VERSION,
        "description": "azure-native for Local Azure",
        "resources": {token: _resource(catalogue, token) for token in RESOURCES},
    }


def _resource(catalogue: Catalogue, token: str) -> dict[str, Any]:
    shape = catalogue.resource(token)
    assert shape is not None, token
    return {
        "properties": _properties(shape.outputs),
        "inputProperties": _properties(shape.inputs),
        "requiredInputs": sorted(shape.inputs.required),
    }


def _properties(type_: ObjectType) -> dict[str, Any]:
    return {name: _type(shape) for name, shape in type_.properties.items()}


def _type(shape: Shape) -> dict[str, Any]:
    if shape.kind in _PRIMITIVES:
        return {"type": shape.kind}
    if shape.kind == "array" and shape.item:
        return {"type": "array", "items": _type(shape.item)}
    if shape.kind == "map" and shape.item:
        return {"type": "object", "additionalProperties": _type(shape.item)}
    return {"$ref": "pulumi.json#/Any"}
