"""What a client knows: the resources whose writes were acknowledged, and what a GET showed once they had settled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.localazure.state_machine.kinds import Json, Kind

WELL = ("", "Succeeded", "Active")


@dataclass
class Entry:
    """A resource that somebody was told exists.

    Attributes:
        kind: its type.
        id: its canonical id.
        document: what a GET showed when it had settled; None while its last write is under way.
        stored: what the store held then; None likewise.
        number: the number of the body that made it, where the machine made it.
        sent: that body.
        last: the body of the last write, for comparison with what a GET shows.
        answer: what the last write was answered, likewise.
    """

    kind: Kind
    id: str
    document: Json | None = None
    stored: tuple[Any, ...] | None = None
    number: int = 0
    sent: Json | None = None
    last: Json | None = None
    answer: Json | None = None

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        # Short: it is part of every reproduction that Hypothesis prints.
        printer.text(f"<{self.id.partition('/resourceGroups/')[2]}>")

    @property
    def name(self) -> str:
        return self.id.rpartition("/")[2]

    @property
    def parent(self) -> str:
        return self.id.removesuffix(f"/{self.kind.segment}/{self.name}")

    @property
    def properties(self) -> Json:
        return (self.document or {}).get("properties") or {}

    @property
    def state(self) -> str:
        return self.properties.get("provisioningState") or ""

    @property
    def is_well(self) -> bool:
        """Whether it has settled, and well."""
        return self.document is not None and self.state in WELL


@dataclass
class Model:
    """The acknowledged world.

    Attributes:
        entries: by folded id.
        told: the last answer of an action that answers the same until something changes it.
        buried: folded ids whose names stay taken after their deletion, and the names of vaults.
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    told: dict[tuple[str, str], Json] = field(default_factory=dict)
    buried: set[str] = field(default_factory=set)

    def get(self, resource_id: str) -> Entry | None:
        return self.entries.get(resource_id.lower())

    def of(self, kind: str) -> list[Entry]:
        """The resources of a kind."""
        return [each for each in self.entries.values() if each.kind.name == kind]

    def below(self, resource_id: str, kind: str = "") -> list[Entry]:
        """The resources below another, at any depth."""
        start = resource_id.lower() + "/"
        return [each for key, each in self.entries.items() if key.startswith(start) and kind in ("", each.kind.name)]

    def some(self, kind: str, below: str = "") -> str | None:
        """The first resource of a kind that is well."""
        found = self.below(below, kind) if below else self.of(kind)
        return next((each.id for each in found if each.is_well), None)

    def forget(self, resource_id: str) -> list[Entry]:
        """Takes a resource and all below it out; what was taken out."""
        gone = [self.entries[resource_id.lower()], *self.below(resource_id)]
        for each in gone:
            del self.entries[each.id.lower()]
            if each.kind.buried:
                self.buried |= {each.id.lower(), each.name.lower()}
        self.told = {key: told for key, told in self.told.items() if key[0] in self.entries}
        return gone


def without(document: Json, paths: tuple[str, ...]) -> Json:
    """A copy of a document without the properties at some dotted paths."""
    for path in paths:
        document = _drop(document, path.split("."))
    return document


def _drop(document: Json, path: list[str]) -> Json:
    # A name may have dots itself, as `azureml.labels` has.
    for end in range(1, len(path) + 1):
        name, rest = ".".join(path[:end]), path[end:]
        if name in document and not rest:
            return {each: value for each, value in document.items() if each != name}
        if name in document and isinstance(inner := document[name], dict):
            return {**document, name: _drop(inner, rest)}
    return document


def missing(sent: Any, shown: Any, where: str = "") -> list[str]:
    """What was sent and is not shown: the paths of it. The case of text and what Azure adds do not count."""
    if isinstance(sent, dict):
        if not isinstance(shown, dict):
            return [where] if sent else []
        return [path for name, value in sent.items() for path in missing(value, shown.get(name), f"{where}.{name}")]
    if isinstance(sent, list) and isinstance(shown, list) and len(sent) == len(shown):
        pairs = enumerate(zip(sent, shown, strict=True))
        return [path for at, (value, seen) in pairs for path in missing(value, seen, f"{where}[{at}]")]
    if isinstance(sent, str) and isinstance(shown, str):
        return [] if sent.lower() == shown.lower() else [f"{where}: {sent!r} is shown as {shown!r}"]
    return [] if sent == shown or sent is None else [f"{where}: {sent!r} is shown as {shown!r}"]


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Where two JSON values differ, and in what."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = [*one, *(name for name in other if name not in one)]
        return [line for name in names for line in differences(one.get(name), other.get(name), f"{where}.{name}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [line for at, pair in pairs for line in differences(*pair, f"{where}[{at}]")]
    return [] if one == other else [f"{where}: {one!r} became {other!r}"]
