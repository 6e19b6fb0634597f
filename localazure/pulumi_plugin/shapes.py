"""The SDK's types, read from `types.json`, joined with the table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from localazure.pulumi_plugin.table import (
    FUNCTIONS,
    NESTED_BAG,
    NESTED_ROOT,
    NESTED_WIRE,
    RESOURCES,
    Function,
    ResourceType,
)

Kind = Literal["string", "integer", "number", "boolean", "any", "const", "set", "array", "map", "object", "union"]

_CONTAINER = "properties"
SCOPES = frozenset({"scope", "resourceUri"})
"""Path parameters that hold a whole id."""


@dataclass(frozen=True)
class Shape:
    """The type of one property.

    Attributes:
        kind: `set` is a list of strings that ARM has as a map of empty objects.
        item: type of the items of an array or map.
        names: the type of an object, or the possible types of a union.
        constant: the only value of a `const`.
    """

    kind: Kind
    item: Shape | None = None
    names: tuple[str, ...] = ()
    constant: str | None = None


@dataclass(frozen=True)
class ObjectType:
    """A type with named properties.

    Attributes:
        properties: SDK name to type.
        required: SDK names that must be given.
        wire: SDK name to the wire's, where they differ.
        root: names that sit directly in the wire's object; the others sit in its `properties`. None: all do.
    """

    properties: Mapping[str, Shape]
    required: frozenset[str] = frozenset()
    wire: Mapping[str, str] = field(default_factory=dict)
    root: frozenset[str] | None = None

    def place(self, name: str) -> tuple[str | None, str]:
        """The object of the wire that holds the property (None: the object itself), and its name there."""
        container = None if self.root is None or name in self.root else _CONTAINER
        return container, self.wire.get(name, name)


@dataclass(frozen=True)
class ResourceShape:
    """A resource type: its row of the table and its types.

    Attributes:
        row: its row of the table.
        api_version: the ARM api-version that the SDK uses.
        inputs: all inputs, also those of the path.
        body: the inputs that make the PUT's body.
        outputs: what an answer of ARM becomes.
    """

    row: ResourceType
    api_version: str
    inputs: ObjectType
    body: ObjectType
    outputs: ObjectType

    @property
    def maintained(self) -> tuple[str, ...]:
        """Where ARM's body holds the row's `maintain`."""
        if not self.row.maintain:
            return ()
        container, name = self.body.place(self.row.maintain[0])
        return (*filter(None, (container, name)), *self.row.maintain[1:])


@dataclass(frozen=True)
class FunctionShape:
    """A function: its row of the table, its api-version, its arguments and the type of its result."""

    row: Function
    api_version: str
    arguments: tuple[str, ...]
    result: ObjectType


class Catalogue:
    """All that the provider knows of types. Parts are made when they are first asked for."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content
        self.type = cache(self._type)
        self.resource = cache(self._resource)
        self.function = cache(self._function)

    @classmethod
    def load(cls) -> Catalogue:
        """The catalogue of the SDK that `types.json` was made from."""
        return cls(json.loads(Path(__file__).with_name("types.json").read_text(encoding="utf-8")))

    def _type(self, name: str) -> ObjectType:
        content = self._content["types"][name]
        plain = name.removesuffix("Args").removesuffix("Response")
        return ObjectType(
            _shapes(content["properties"]),
            frozenset(content.get("required", ())),
            NESTED_WIRE.get(plain, {}),
            NESTED_ROOT if plain in NESTED_BAG else None,
        )

    def _resource(self, token: str) -> ResourceShape | None:
        row = RESOURCES.get(token)
        if row is None:
            return None
        content = self._content["resources"][token]
        inputs = ObjectType(_shapes(content["inputs"]["properties"]), frozenset(content["inputs"]["required"]))
        outside = {*path_parameters(row.path), *row.query}
        return ResourceShape(
            row=row,
            api_version=content["apiVersion"],
            inputs=inputs,
            body=ObjectType(
                {name: shape for name, shape in inputs.properties.items() if name not in outside},
                inputs.required - outside,
                row.wire,
                row.root | {"name"},
            ),
            outputs=ObjectType(
                _shapes(content["outputs"]["properties"]),
                wire=row.wire,
                root=row.root | {"id", "name", "type", "systemData"},
            ),
        )

    def _function(self, token: str) -> FunctionShape | None:
        row = FUNCTIONS.get(token)
        if row is None:
            return None
        content = self._content["functions"][token]
        return FunctionShape(
            row, content["apiVersion"], tuple(content["arguments"]), ObjectType(_shapes(content["result"]))
        )


def path_parameters(path: str) -> tuple[str, ...]:
    """The inputs that a path of the table needs, in order."""
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return tuple(name for name in names if name != "subscriptionId")


def _shapes(content: Mapping[str, Any]) -> dict[str, Shape]:
    return {name: _shape(shape) for name, shape in content.items()}


def _shape(content: str | Mapping[str, Any]) -> Shape:
    if isinstance(content, str):
        return Shape(content)  # type: ignore[arg-type]
    ((kind, value),) = content.items()
    match kind:
        case "ref":
            return Shape("object", names=(value,))
        case "union":
            return Shape("union", names=tuple(value))
        case "const":
            return Shape("const", constant=value)
    return Shape("map" if kind == "map" else "array", item=_shape(value))
