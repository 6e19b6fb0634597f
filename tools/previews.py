"""`pulumi preview --json`, read: what each resource of a stack is before an update, and what it will be.

The document lists steps. Where a stack is refreshed first, there are two for a resource: `refresh`, whose old state is
what the last update recorded, and the step itself, whose old state is what the refresh has found. So a change that was
made elsewhere is the difference between the two; the result of the refresh is in no step of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# The engine's mark for what is known only when the update has got there.
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
# How an unencrypted state marks a secret; in what the CLI prints it is "[secret]" already.
SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "[secret]"

Props = Mapping[str, Any]

# Before what a hook of the program says (components/unchangeable.py), and after any error.
_HOOK = re.compile(r'^(?:Preview|Update) failed: before hook "[^"]*" failed: ')
_FOLLOWS = ("an unhandled error occurred: program exited", "preview failed")

ACTIONS = {
    "create": "create",
    "import": "create",
    "update": "update",
    "delete": "delete",
    "replace": "replace",
    "create-replacement": "replace",
    "delete-replaced": "replace",
    "import-replacement": "replace",
    "same": "same",
}


class NotAPreview(Exception):
    """What was given is not the output of `pulumi preview --json`; the message says what to do."""


@dataclass(frozen=True)
class Resource:
    """A resource of the stack by its inputs: as `recorded` by the last update, as it is `before` and `after` this one.

    `found` are its outputs before the update. `action` is create, update, replace, delete or same; where the refresh
    missed a resource that was recorded, it is a create with a record. Without `--show-sames` what stays the same is not
    `shown`: then its record stands in for what the refresh has found.
    """

    urn: str
    type: str
    parent: str
    action: str
    recorded: Props | None
    before: Props | None
    after: Props | None
    found: Props
    ignored: tuple[str, ...]
    shown: bool
    reasons: tuple[str, ...]
    """The properties that make a replacement of it; none where what it depends on is replaced."""

    @property
    def name(self) -> str:
        """Its name in the program."""
        return self.urn.rpartition("::")[2]

    @property
    def now(self) -> Props:
        """Its inputs after the update, or before it where it goes."""
        return self.after if self.after is not None else self.before or {}


@dataclass(frozen=True)
class Preview:
    """A preview: its stack, the resources by URN, and what went wrong."""

    stack: str
    resources: Mapping[str, Resource]
    errors: tuple[str, ...]

    def children(self, parent: str, type_: str) -> list[Resource]:
        """The resources of a type right below another one."""
        return [each for each in self.resources.values() if each.parent == parent and each.type == type_]

    def of_type(self, type_: str) -> list[Resource]:
        return [each for each in self.resources.values() if each.type == type_]


def read(text: str) -> Preview:
    """Reads the document. Raises `NotAPreview` where it is something else, as when the CLI could not even begin."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("steps", []), list) or not _speaks(document):
        raise NotAPreview(
            "This is no output of `pulumi preview --json`; what it wrote to its error stream says why. "
            "Usage: pulumi preview --json --show-sames | python -m tools.serving_summary"
        )
    steps: dict[str, list[dict[str, Any]]] = {}
    for step in document.get("steps") or []:
        steps.setdefault(step["urn"], []).append(step)
    resources = {urn: _resource(urn, found) for urn, found in steps.items()}
    return Preview(_stack(steps), resources, tuple(_errors(document)))


def _speaks(document: Mapping[str, Any]) -> bool:
    return bool({"steps", "changeSummary", "diagnostics", "duration"} & document.keys())


def _stack(steps: Mapping[str, Any]) -> str:
    return next((urn.split(":")[2] for urn in steps), "")


def _errors(document: Mapping[str, Any]) -> Iterator[str]:
    found = [each for each in document.get("diagnostics") or [] if each.get("severity") == "error"]
    texts = [_HOOK.sub("", str(each.get("message") or "").removeprefix("error: ").strip()) for each in found]
    # What follows an error says no more than that there was one.
    told = [text for text in texts if not text.startswith(_FOLLOWS)]
    yield from dict.fromkeys(told or texts)


def _resource(urn: str, steps: list[dict[str, Any]]) -> Resource:
    """One resource from its steps."""
    refreshed = [step for step in steps if step["op"] == "refresh"]
    decisive = [step for step in steps if step["op"] in ACTIONS]
    actions = [ACTIONS[step["op"]] for step in decisive]
    if decisive:
        old, new = _last(decisive, "oldState"), _last(decisive, "newState")
    else:
        old = new = _last(refreshed, "oldState")
    state = new or old or {}
    return Resource(
        urn=urn,
        type=state.get("type") or urn.split("::")[2].rpartition("$")[2],
        parent=state.get("parent") or "",
        # Of a replacement there may be several steps, and only the last is the replacement itself.
        action="replace" if "replace" in actions else actions[-1] if actions else "same",
        recorded=_inputs(_last(refreshed, "oldState")),
        before=_inputs(old),
        after=None if actions and actions[-1] == "delete" else _inputs(new),
        found=_visible((old or {}).get("outputs") or {}),
        ignored=tuple(state.get("ignoreChanges") or ()),
        shown=bool(decisive),
        reasons=tuple(reason for step in decisive for reason in step.get("replaceReasons") or ()),
    )


def _last(steps: list[dict[str, Any]], key: str) -> dict[str, Any] | None:
    return next((step[key] for step in reversed(steps) if step.get(key)), None)


def _inputs(state: Mapping[str, Any] | None) -> Props | None:
    return None if state is None else _visible(state.get("inputs") or {})


def _visible(value: Any) -> Any:
    """A value without what must not be seen, however the secret is marked."""
    if isinstance(value, Mapping):
        if SIGNATURE in value:
            return SECRET
        return {key: _visible(each) for key, each in value.items() if key != "__provider"}
    return [_visible(each) for each in value] if isinstance(value, list) else value


def at(props: Props | None, path: str, default: Any = None) -> Any:
    """The value at a dotted path, or `default` where there is none."""
    value: Any = props
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return default
        value = value[key]
    return value
