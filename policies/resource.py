"""A resource as the rules see it, and how they look into it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


class Unknown:
    """A value that is there, but not known before the update: the id of what is about to be made."""

    def __repr__(self) -> str:
        return "(not known yet)"


UNKNOWN: Final = Unknown()


@dataclass(frozen=True)
class Resource:
    """One resource of a stack.

    `kind` is its type without the provider (`storage:StorageAccount`). `needs` are, by top-level property, the names of
    the resources whose outputs the property is made of: which ids it holds is not known in a preview, but whose is.
    `stated` is what the stack's configuration says of it, before the program filled in the rest; None where it is none
    of the configuration's.
    """

    kind: str
    name: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    protect: bool = False
    needs: Mapping[str, frozenset[str]] = field(default_factory=dict)
    urn: str = ""
    stated: Mapping[str, Any] | None = None

    def get(self, path: str) -> Any:
        """The value at a path (`identity.type`); None where there is none."""
        return get(self.properties, path)

    def has(self, path: str) -> bool:
        """Whether there is a value at a path, also one that is not known yet. An empty one is none."""
        return self.get(path) not in (None, "", {}, [])

    def says(self, path: str, *wanted: object) -> bool:
        """Whether the value at a path is one of these, whatever its case; of what is not known yet, that it may be."""
        value = self.get(path)
        return value is UNKNOWN or _folded(value) in [_folded(each) for each in wanted]


def get(values: object, path: str) -> Any:
    """The value at a path into maps; None where there is none."""
    for key in path.split("."):
        if values is UNKNOWN:
            return UNKNOWN
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def batch_deployments(configuration: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What a stack's configuration says of each batch deployment, by the name of its resource without the revision."""
    key = next((key for key in configuration if key.rpartition(":")[2] == "batchEndpoints"), "")
    given = configuration.get(key) or {}
    endpoints = json.loads(given) if isinstance(given, str) else given
    return {
        f"{endpoint}-{name}": get(endpoints, f"{endpoint}.deployments.{name}")
        for endpoint in endpoints
        # What is no map is a mistake, which the program tells.
        for name in get(endpoints, f"{endpoint}.deployments") or ()
        if isinstance(get(endpoints, f"{endpoint}.deployments.{name}"), Mapping)
    }


def without_revision(name: str) -> str:
    """`tumor-batch-mlflow` of `tumor-batch-mlflow-35c0854e`."""
    return re.sub(r"-[0-9a-f]{8}$", "", name)


def kind_of(type_: str) -> str:
    """The kind of a Pulumi type: neither the provider nor the version of the API is part of it.

    `azure-native:storage/v20240101:StorageAccount` is `storage:StorageAccount`.
    """
    module, _, name = type_.rpartition(":")
    module = re.sub(r"/v\d{8}\w*$", "", module)
    return f"{re.split('[:/]', module)[-1]}:{name}"


def _folded(value: object) -> object:
    return value.lower() if isinstance(value, str) else value
