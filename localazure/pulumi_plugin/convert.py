"""Between the SDK's shape of a resource and ARM's: flattening, renames, sets, unions, numbers.

Every direction drops what the types do not name, as azure-native does; that is how read-only properties stay out of
inputs when a refresh turns outputs back into inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from localazure.pulumi_plugin.shapes import Catalogue, ObjectType, Shape
from localazure.pulumi_plugin.values import UNKNOWN, Properties

_ObjectConversion = Callable[[ObjectType, Mapping[str, Any]], Properties | None]


class Converter:
    """Conversions over the types of a catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def to_body(self, type_: ObjectType, inputs: Mapping[str, Any]) -> Properties:
        """The body of a request, from inputs."""
        return self._to_body(type_, inputs) or {}

    def to_outputs(self, type_: ObjectType, answer: Mapping[str, Any]) -> Properties:
        """Outputs, from ARM's answer. With the types of inputs it yields the inputs that would make this answer."""
        return self._to_outputs(type_, answer) or {}

    def to_inputs(self, type_: ObjectType, outputs: Mapping[str, Any]) -> Properties:
        """What of the outputs could have been given as input."""
        return self._to_inputs(type_, outputs) or {}

    def preview(self, type_: ObjectType, inputs: Mapping[str, Any]) -> Properties:
        """Outputs before the resource exists: what is given, and unknowns."""
        return {name: self._preview(shape, inputs.get(name, UNKNOWN)) for name, shape in type_.properties.items()}

    def member(self, shape: Shape, value: Mapping[str, Any]) -> ObjectType | None:
        """The type of an object or union that `value` has; None if it fits none."""
        types = (self._catalogue.type(name) for name in shape.names)
        return next((type_ for type_ in types if _fits(type_, value)), None)

    def _to_body(self, type_: ObjectType, values: Mapping[str, Any]) -> Properties | None:
        if not _fits(type_, values):
            return None
        body: Properties = {}
        for name, shape in type_.properties.items():
            if name in values:
                container, wire_name = type_.place(name)
                holder = body if container is None else body.setdefault(container, {})
                holder[wire_name] = self._convert(shape, values[name], self._to_body, _set_to_map)
        return body

    def _to_outputs(self, type_: ObjectType, answer: Mapping[str, Any]) -> Properties | None:
        outputs: Properties = {}
        for name, shape in type_.properties.items():
            container, wire_name = type_.place(name)
            holder = answer if container is None else answer.get(container)
            value = holder.get(wire_name) if isinstance(holder, Mapping) else None
            if shape.kind == "const" and value not in (None, shape.constant):
                return None
            if value is not None:
                outputs[name] = self._convert(shape, value, self._to_outputs, _map_to_set)
        return outputs

    def _to_inputs(self, type_: ObjectType, outputs: Mapping[str, Any]) -> Properties | None:
        if not _fits(type_, outputs):
            return None
        return {
            name: self._convert(shape, outputs[name], self._to_inputs, _map_to_set)
            for name, shape in type_.properties.items()
            if outputs.get(name) is not None
        }

    def _convert(self, shape: Shape, value: Any, objects: _ObjectConversion, sets: Callable[[Any], Any]) -> Any:
        """Walks `value` along `shape`; `objects` converts what has a type, `sets` what is a set."""
        if shape.kind == "set":
            return sets(value)
        if isinstance(value, Mapping) and shape.names:
            return self._named(shape, value, objects)
        if isinstance(value, Mapping) and shape.kind == "map" and shape.item:
            return {name: self._convert(shape.item, item, objects, sets) for name, item in value.items()}
        if isinstance(value, list) and shape.kind == "array" and shape.item:
            return [self._convert(shape.item, item, objects, sets) for item in value]
        return plain(value)

    def _named(self, shape: Shape, value: Mapping[str, Any], objects: _ObjectConversion) -> Any:
        for name in shape.names:
            converted = objects(self._catalogue.type(name), value)
            if converted is not None:
                return converted
        return plain(value)

    def _preview(self, shape: Shape, value: Any) -> Any:
        if shape.kind == "const":
            return shape.constant
        if isinstance(value, Mapping):
            return self._preview_mapping(shape, value)
        if isinstance(value, list):
            known = shape.kind == "array" and shape.item is not None
            return [self._preview(shape.item, item) for item in value] if known and shape.item else UNKNOWN
        return value if _agrees(shape, value) else UNKNOWN

    def _preview_mapping(self, shape: Shape, value: Mapping[str, Any]) -> Any:
        match shape.kind:
            case "object":
                return self.preview(self._catalogue.type(shape.names[0]), value)
            case "map" if shape.item:
                return {name: self._preview(shape.item, item) for name, item in value.items()}
            case "union" | "any":
                return dict(value)  # azure-native, too, takes a union's output to be its input
        return UNKNOWN


def plain(value: Any) -> Any:
    """`value` as JSON has it: Pulumi sends every number as a float, ARM wants integers."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def without_empty(value: Any) -> Any:
    """`value` without empty lists and maps, at any depth; None if nothing is left. For imports: an answer of ARM is
    full of defaults that nobody would write."""
    if isinstance(value, Mapping):
        kept = {name: item for name, item in ((n, without_empty(v)) for n, v in value.items()) if item is not None}
        return kept or None
    if isinstance(value, list):
        return [item for item in map(without_empty, value) if item is not None] or None
    return value


def _fits(type_: ObjectType, values: Mapping[str, Any]) -> bool:
    """Whether no constant of the type contradicts the values. An unknown or missing one contradicts nothing."""
    return all(
        values.get(name) in (None, shape.constant) or values[name] is UNKNOWN
        for name, shape in type_.properties.items()
        if shape.kind == "const"
    )


def _agrees(shape: Shape, value: Any) -> bool:
    match shape.kind:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer" | "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
    return shape.kind == "any"


def _set_to_map(value: Any) -> Any:
    return {item: {} for item in value} if isinstance(value, list) else value


def _map_to_set(value: Any) -> Any:
    return list(value) if isinstance(value, Mapping) else value
