"""Resources that are written alone or within their parent, and are shown in both: subnets, security rules."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import invalid
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.common import Json


@dataclass(frozen=True)
class Nested:
    """The children of one type of a parent.

    Attributes:
        name: the property of the parent that holds them, and the last part of their path.
        type: their ARM type.
        compose: makes a child's properties from its body, what exists and its id; raises ArmError to refuse.
        refuse_removal: raises ArmError where a child may not go.
    """

    cloud: Cloud
    name: str
    type: str
    compose: Callable[[Json, Resource | None, str], Json]
    refuse_removal: Callable[[Resource], None]

    def of(self, parent: str) -> list[Resource]:
        """The children of a parent, oldest first."""
        return self.cloud.store.below(parent, self.type)

    def shown(self, parent: str) -> list[Json]:
        """The children as their parent shows them."""
        return [each.document for each in self.of(parent)]

    def write(self, resource_id: str, body: Json) -> Json:
        """Makes the document of a child and keeps it."""
        existing = self.cloud.store.get(resource_id)
        properties = self.compose(read.mapping(body, "properties"), existing, resource_id)
        properties = {**properties, "provisioningState": "Succeeded"}
        known = {"id": resource_id, "name": ids.name(resource_id), "type": self.type}
        document: Json = {**known, "etag": etag(existing, properties), "properties": properties}
        self.cloud.store.put(Resource(resource_id, self.type, document))
        return document

    def replace(self, parent: str, sent: Json) -> None:
        """Makes the children those that the properties of the parent's body name. Raises ArmError."""
        bodies = read.objects(sent, self.name, "properties")
        names = [read.text(each, "name", where, required=True) or "" for each, where in bodies]
        if len({name.lower() for name in names}) < len(names):
            raise invalid(f"Two of properties.{self.name} have the same name.", "InvalidRequestFormat")
        held = {each.name.lower(): each for each in self.of(parent)}
        for name in held.keys() - {name.lower() for name in names}:
            self.refuse_removal(held[name])
            self.cloud.store.delete(held[name].id)
        for name, (body, _) in zip(names, bodies, strict=True):
            known = held.get(name.lower())
            self.write(known.id if known else f"{parent}/{self.name}/{name}", body)

    def mirror(self, parent: str) -> None:
        """Has the parent show its children as they are."""
        if found := self.cloud.store.get(parent):
            self.cloud.store.put(found.with_properties(**{self.name: self.shown(found.id)}))


def etag(existing: Resource | None, properties: Json) -> str:
    """An etag as `Microsoft.Network` writes them: another one where something changed."""
    if existing is not None and existing.properties == properties:
        return str(existing.document["etag"])
    return f'W/"{uuid.uuid4()}"'
