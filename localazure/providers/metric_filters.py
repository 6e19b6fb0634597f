"""The `$filter` of a metrics query: which values of a metric's dimensions are asked for, and that they stand apart.

Source: https://learn.microsoft.com/rest/api/monitor/metrics/list. It is like `A eq 'a1' and (B eq 'b1' or B eq 'b2')
and C eq '*'`: `or` joins values of one dimension, and every dimension that is named splits the answer into series.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_TOKEN = re.compile(r"\s*(?:([()])|(and|or)\b|([\w.]+)\s+(eq|ne|sw)\s+'((?:[^']|'')*)')\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Comparison:
    """One condition on a dimension; a sample that does not have the dimension meets it."""

    dimension: str
    operator: str
    value: str

    def holds(self, dimensions: Mapping[str, str]) -> bool:
        has = dimensions.get(self.dimension)
        if has is None or (self.operator == "eq" and self.value == "*"):
            return True
        has, value = has.lower(), self.value.lower()
        return {"eq": has == value, "ne": has != value, "sw": has.startswith(value)}[self.operator]


@dataclass(frozen=True)
class Filter:
    """Conditions that all hold, each of them one of several comparisons."""

    conditions: Sequence[Sequence[Comparison]] = ()

    @property
    def dimensions(self) -> list[str]:
        """The dimensions that are named, in order."""
        return list(dict.fromkeys(each[0].dimension for each in self.conditions))

    def selects(self, dimensions: Mapping[str, str]) -> bool:
        """Whether a sample is asked for."""
        return all(any(each.holds(dimensions) for each in condition) for condition in self.conditions)

    def spelled(self, names: Sequence[str]) -> Filter:
        """The same, with dimensions spelled as in `names`, which has all of them in some case."""
        known = {name.lower(): name for name in names}
        return Filter(
            [
                [Comparison(known[one.dimension.lower()], one.operator, one.value) for one in each]
                for each in self.conditions
            ]
        )


def parse(text: str) -> Filter | None:
    """A filter as it was sent; None where it is none."""
    conditions: list[list[Comparison]] = []
    joined, depth, at = "", 0, 0
    expected = True
    while at < len(text.rstrip()):
        found = _TOKEN.match(text, at)
        if found is None:
            return None
        at = found.end()
        bracket, word, name, operator, value = found.groups()
        if bracket:
            depth += 1 if bracket == "(" else -1
            if depth < 0 or (bracket == "(") != expected:
                return None
        elif word:
            if expected:
                return None
            joined, expected = word.lower(), True
        else:
            comparison = Comparison(name, operator.lower(), value.replace("''", "'"))
            if not expected or not _place(conditions, joined, comparison):
                return None
            expected = False
    return Filter(conditions) if not depth and (not expected or not conditions) else None


def _place(conditions: list[list[Comparison]], joined: str, comparison: Comparison) -> bool:
    """Adds a comparison to the conditions; False where `or` joins it to one of another dimension."""
    if joined != "or":
        conditions.append([comparison])
        return True
    conditions[-1].append(comparison)
    return conditions[-1][0].dimension.lower() == comparison.dimension.lower()
