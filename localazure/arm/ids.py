"""Resource ids. ARM compares them without regard to case; the folding is done here and nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote

from localazure.arm.errors import ArmError

SUBSCRIPTION = "/subscriptions/{subscription}"
GROUP = SUBSCRIPTION + "/resourceGroups/{group}"

# What no part of a resource name may be: a path trick, a control character, or one of ARM's own separators.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\?#%<>*&:]|^\.{1,2}$|^$")
_LONGEST_NAME = 260


def key(resource_id: str) -> str:
    """The form in which two spellings of one id are equal."""
    return resource_id.rstrip("/").lower()


def same(one: str, other: str) -> bool:
    """Whether two ids name one resource."""
    return key(one) == key(other)


def is_below(resource_id: str, above: str) -> bool:
    """Whether a resource lies in what another id names."""
    return key(resource_id).startswith(key(above) + "/")


def parent(resource_id: str) -> str:
    """The id of the resource that contains this one: the workspace of an endpoint, the group of a workspace."""
    head, _, _ = resource_id.rpartition("/")
    head, _, kind = head.rpartition("/")
    if kind.lower() == "resourcegroups":
        return head
    before, _, provider = head.rpartition("/providers/")
    return before if before and "/" not in provider else head


def name(resource_id: str) -> str:
    """The last segment of an id."""
    return resource_id.rstrip("/").rpartition("/")[2]


def segment(resource_id: str, kind: str) -> str:
    """The name that follows `kind` in an id: `segment(id, "workspaces")`.

    Raises:
        ValueError: the id has no such part.
    """
    parts = resource_id.strip("/").split("/")
    for at, part in enumerate(parts[:-1]):
        if part.lower() == kind.lower():
            return parts[at + 1]
    raise ValueError(f"{resource_id!r} has no '{kind}' in it")


@dataclass(frozen=True)
class Template:
    """A path with named holes, such as `/subscriptions/{subscription}/resourceGroups/{group}`.

    Literal parts match in any case; `fill` writes them in the template's own. A hole written `{name*}` takes the rest
    of a scope, slashes included (role assignments hang below any resource).
    """

    text: str

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        parts = re.split(r"(\{\w+\*?\})", self.text)
        return re.compile("".join(self._piece(part) for part in parts) + "/?", re.IGNORECASE)

    @staticmethod
    def _piece(part: str) -> str:
        if not part.startswith("{"):
            return re.escape(part)
        hole = part[1:-1]
        return f"(?P<{hole[:-1]}>[^/]+(?:/[^/]+)*?)" if hole.endswith("*") else f"(?P<{hole}>[^/]+)"

    def match(self, raw_path: str) -> dict[str, str] | None:
        """The holes' values, percent-decoded, or None.

        Raises:
            ArmError: 400, where a name holds what no resource name may hold (such as `..` or an encoded slash).
        """
        found = self._pattern.fullmatch(raw_path)
        if found is None:
            return None
        values = found.groupdict()
        for hole, value in values.items():
            # The parts of a scope are names like any other.
            for part in value.split("/"):
                _check(hole, unquote(part))
        return {hole: unquote(value) for hole, value in values.items()}

    def fill(self, values: dict[str, str]) -> str:
        """The path with its holes filled."""
        return re.sub(r"\{(\w+)\*?\}", lambda hole: values[hole.group(1)], self.text)

    @property
    def last_hole(self) -> str:
        """The name of the last hole: what a PUT creates."""
        return re.findall(r"\{(\w+)\*?\}", self.text)[-1]


def _check(hole: str, value: str) -> None:
    # Operation ids hold a colon (`oeidp:<workspace>:<operation>`); they name no resource and reach no file.
    probe = value.replace(":", "") if hole == "operation" else value
    if _UNSAFE.search(probe) or len(value) > _LONGEST_NAME:
        raise ArmError(
            400,
            "InvalidResourceName",
            f"The {hole} name {value!r} is invalid: it holds characters that no name may hold.",
        )
