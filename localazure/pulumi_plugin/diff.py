"""What has changed: between old and new inputs (for a plan), and between old and new outputs (for a refresh)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from localazure.pulumi_plugin.check import API_VERSION, AUTO_NAMED
from localazure.pulumi_plugin.shapes import ResourceShape, path_parameters

_ABSENT = object()
_PLAIN_KEY = re.compile(r"[A-Za-z_$][\w$-]*")


class Change(Enum):
    """What happened to a property."""

    ADD = "add"
    DELETE = "delete"
    UPDATE = "update"


@dataclass(frozen=True)
class PropertyChange:
    """One property that changed.

    Attributes:
        change: what happened to it.
        replaces: whether the resource must be replaced for it.
    """

    change: Change
    replaces: bool = False


@dataclass(frozen=True)
class Plan:
    """What a change of inputs asks for.

    Attributes:
        changes: by property path, such as `properties.traffic.blue` or `profiles[0].name`.
        delete_first: whether a replacement deletes before it creates.
    """

    changes: Mapping[str, PropertyChange]
    delete_first: bool

    @property
    def replaces(self) -> list[str]:
        """Paths that replace the resource."""
        return [path for path, change in self.changes.items() if change.replaces]

    @property
    def properties(self) -> list[str]:
        """Top-level properties that changed."""
        return sorted({re.split(r"[.\[]", path, maxsplit=1)[0] for path in self.changes})


def plan(
    shape: ResourceShape, old_inputs: Mapping[str, Any], new_inputs: Mapping[str, Any], old_state: Mapping[str, Any]
) -> Plan:
    """Compares inputs with inputs, as azure-native does; the old state counts for two exceptions only."""
    replace_paths = {*path_parameters(shape.row.path), *shape.row.replace}
    olds = {API_VERSION: old_state.get(API_VERSION, shape.api_version), **_plain_inputs(old_inputs)}
    changes = dict(_object_changes(olds, _plain_inputs(new_inputs), "", "", replace_paths))
    changes = {path: change for path, change in changes.items() if not _same_place(path, olds, new_inputs)}
    for path, change in changes.items():
        # A value that Azure has already given it is no reason to replace it, though it is new among the inputs.
        if change.change is Change.ADD and path in new_inputs and new_inputs[path] == old_state.get(path, _ABSENT):
            changes[path] = PropertyChange(Change.ADD)
    replaces = any(change.replaces for change in changes.values())
    return Plan(changes, delete_first=replaces and old_inputs.get(AUTO_NAMED) is not True)


def with_drift(inputs: Any, old: Any, new: Any) -> Any:
    """Inputs to which what changed from `old` to `new` has been applied.

    `old` and `new` are outputs seen as inputs. They hold more than the inputs: Azure's defaults. Only what differs
    between them is taken over, at any depth, so that a default never becomes an input by itself.
    """
    if isinstance(inputs, Mapping) and isinstance(old, Mapping) and isinstance(new, Mapping):
        return _mapping_with_drift(inputs, old, new)
    if isinstance(inputs, list) and isinstance(old, list) and isinstance(new, list):
        both = min(len(inputs), len(old))
        return [with_drift(inputs[i], old[i], item) if i < both else item for i, item in enumerate(new)]
    return inputs if old == new else new


def normal_location(location: str) -> str:
    """`West US 2` and `WestUS2` are the same place."""
    return location.replace(" ", "").lower()


def _mapping_with_drift(inputs: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    result = {name: value for name, value in inputs.items() if name not in old or name in new}
    for name, value in new.items():
        if name not in old:
            result[name] = value
        elif value != old[name]:
            result[name] = with_drift(inputs[name], old[name], value) if name in inputs else value
    return result


def _plain_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in inputs.items() if not name.startswith("__")}


def _same_place(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether the top-level property differs in a way that Azure does not see."""
    values = old.get(path), new.get(path)
    if not all(isinstance(value, str) for value in values):
        return False
    if path == "location":
        return normal_location(str(values[0])) == normal_location(str(values[1]))
    return path == "resourceGroupName" and str(values[0]).lower() == str(values[1]).lower()


def _object_changes(
    old: Mapping[str, Any], new: Mapping[str, Any], base: str, replace_base: str, replace: set[str]
) -> Iterator[tuple[str, PropertyChange]]:
    for name in [*old, *(name for name in new if name not in old)]:
        path, replace_path = _path(base, name), f"{replace_base}.{name}" if replace_base else name
        if name not in new:
            yield path, PropertyChange(Change.DELETE, replace_path in replace)
        elif name not in old:
            yield path, PropertyChange(Change.ADD, replace_path in replace)
        else:
            yield from _value_changes(old[name], new[name], path, replace_path, replace)


def _value_changes(
    old: Any, new: Any, path: str, replace_path: str, replace: set[str]
) -> Iterator[tuple[str, PropertyChange]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for inner, change in _object_changes(old, new, path, replace_path, replace):
            replaces = change.replaces or (change.change is Change.UPDATE and replace_path in replace)
            yield inner, PropertyChange(change.change, replaces)
    elif isinstance(old, list) and isinstance(new, list):
        yield from _list_changes(old, new, path, replace_path, replace)
    elif old != new:
        yield path, PropertyChange(Change.UPDATE, replace_path in replace)


def _list_changes(
    old: list[Any], new: list[Any], path: str, replace_path: str, replace: set[str]
) -> Iterator[tuple[str, PropertyChange]]:
    for index, (old_item, new_item) in enumerate(zip(old, new, strict=False)):
        yield from _value_changes(old_item, new_item, f"{path}[{index}]", f"{replace_path}[]", replace)
    for index in range(len(old), len(new)):
        yield f"{path}[{index}]", PropertyChange(Change.ADD)
    for index in range(len(new), len(old)):
        yield f"{path}[{index}]", PropertyChange(Change.DELETE)


def _path(base: str, name: str) -> str:
    """A property path as the engine reads it: a key with a dot or a slash in it, such as a tag's, is quoted."""
    if not _PLAIN_KEY.fullmatch(name):
        return f"{base}[{json.dumps(name)}]"
    return f"{base}.{name}" if base else name
