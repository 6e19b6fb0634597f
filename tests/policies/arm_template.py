"""What a program registers, as an ARM template: for tools that read those, such as Checkov.

Types, api-versions, and what goes where in a body are the plugin's own, which Local Azure is held to Azure's
specifications by. Left out is the order (`dependsOn`), and what is no resource of Azure's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from localazure.pulumi_plugin.convert import Converter
from localazure.pulumi_plugin.shapes import SCOPES, Catalogue, ResourceShape
from tests.components.conftest import Registered

SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
GROUP = "Microsoft.Resources/resourceGroups"


class RenderError(Exception):
    """A resource cannot be rendered, and would go unseen; the message names it."""


@dataclass(frozen=True)
class Rendered:
    """A template, and Pulumi's name of each resource in it, by its type and name there (`type.name`)."""

    template: dict[str, Any]
    names: dict[str, str]


def render(registered: Iterable[Registered]) -> Rendered:
    """The template of all resources of azure-native.

    Raises:
        RenderError: if the plugin does not know a type, or if two resources would be one in the template.
    """
    catalogue = Catalogue.load()
    resources: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for each in registered:
        if not each.type.startswith("azure-native:"):
            continue
        shape = catalogue.resource(each.type)
        if shape is None:
            raise RenderError(f"{each.name}: the plugin's table has no {each.type}.")
        resources.append(_resource(catalogue, shape, each))
        key = "{type}.{name}".format_map(resources[-1])
        if key in names:
            raise RenderError(f"{each.name} and {names[key]} are both {key}.")
        names[key] = each.name
    return Rendered({"$schema": SCHEMA, "contentVersion": "1.0.0.0", "resources": resources}, names)


def _resource(catalogue: Catalogue, shape: ResourceShape, registered: Registered) -> dict[str, Any]:
    path = shape.row.path
    head = {"type": _type(path), "apiVersion": shape.api_version, "name": _name(path, registered)}
    if scope := next((registered.inputs[key] for key in SCOPES if f"/{{{key}}}/" in path), None):
        head["scope"] = scope
    return {**head, **Converter(catalogue).to_body(shape.body, registered.inputs)}


def _type(path: str) -> str:
    """`Microsoft.Storage/storageAccounts/blobServices/containers`: a path's provider, and every other part after it."""
    provider, *rest = path.partition("/providers/")[2].split("/")
    return "/".join([provider, *rest[::2]]) if rest else GROUP


def _name(path: str, registered: Registered) -> str:
    """As ARM has it, a name for each part of the type."""
    if any(f"/{{{key}}}/" in path for key in SCOPES):
        return registered.name  # what an extension is called is unique on what it extends alone
    return "/".join(_parts(path, registered))


def _parts(path: str, registered: Registered) -> Iterator[str]:
    _, providers, tail = path.partition("/providers/")
    for part in tail.split("/")[2::2] if providers else path.split("/")[-1:]:
        # Without a name, azure-native makes one up, which begins with Pulumi's.
        yield str(registered.inputs.get(part[1:-1]) or registered.name) if part.startswith("{") else part
