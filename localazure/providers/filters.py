"""`$filter` of list operations: the part of OData that ARM's lists take."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from localazure.arm.errors import ArmError, invalid
from localazure.arm.routes import Call

_TERM = re.compile(
    r"\s*(?:(?P<name>[A-Za-z][\w./]*)\s+(?P<op>eq|ne)\s+(?:'(?P<value>(?:[^']|'')*)'|(?P<bare>[\w.-]+))"
    r"|(?P<call>[A-Za-z]+)\(\s*(?P<arguments>[^()]*?)\s*\))\s*",
    re.IGNORECASE,
)
_JOINT = re.compile(r"(and|or)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Term:
    """One condition: `name eq 'value'`, or a call such as `atScope()` with its arguments as `value`."""

    name: str
    op: str
    value: str

    def compares(self, found: str) -> bool:
        """Whether a text satisfies an `eq` or `ne`; ARM compares without case."""
        return (found.lower() == self.value.lower()) == (self.op == "eq")


@dataclass(frozen=True)
class Filter:
    """Alternatives (`or`) of conditions that hold together (`and`)."""

    alternatives: tuple[tuple[Term, ...], ...]

    def keeps(self, test: Callable[[Term], bool]) -> bool:
        """Whether an item is kept, given what each condition says of it."""
        return not self.alternatives or any(all(test(term) for term in terms) for terms in self.alternatives)


def read_filter(call: Call, names: Collection[str]) -> Filter:
    """The `$filter` of a request; `names` are the properties and functions that it may use, in lower case.

    Raises:
        ArmError: 400 for a filter that cannot be read or uses anything else.
    """
    text = call.query.get("$filter", "").strip()
    if not text:
        return Filter(())
    alternatives: list[list[Term]] = [[]]
    position = 0
    while True:
        found = _TERM.match(text, position)
        if found is None:
            raise _invalid(text, names)
        alternatives[-1].append(_term(found, text, names))
        position = found.end()
        if position == len(text):
            return Filter(tuple(tuple(terms) for terms in alternatives))
        joint = _JOINT.match(text, position)
        if joint is None:
            raise _invalid(text, names)
        if joint.group().lower() == "or":
            alternatives.append([])
        position = joint.end()


def _term(found: re.Match[str], text: str, names: Collection[str]) -> Term:
    name = (found["name"] or found["call"]).lower()
    if name not in names:
        raise _invalid(text, names)
    if found["call"]:
        return Term(name, "call", found["arguments"])
    value = found["value"].replace("''", "'") if found["value"] is not None else found["bare"]
    return Term(name, found["op"].lower(), value)


def _invalid(text: str, names: Collection[str]) -> ArmError:
    return invalid(
        f"Invalid $filter '{text[:200]}' specified in the query string. "
        f"Local Azure takes eq and ne, joined by and or or, on: {', '.join(sorted(names))}.",
        "InvalidFilterInQueryString",
    )
