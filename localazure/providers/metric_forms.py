"""In which form Azure Monitor answers the points of a metric: what a query asks for, and how it is written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from localazure.arm import body as read
from localazure.arm.errors import ArmError
from localazure.arm.routes import Call
from localazure.providers.metric_filters import Filter
from localazure.providers.metric_points import Series, Span, Stat

_AGGREGATIONS = ("Average", "Minimum", "Maximum", "Total", "Count", "None")
_MOST_SERIES = 10
_ORDER = re.compile(r"(average|minimum|maximum|total|sum|count)(?:\s+(asc|desc))?", re.IGNORECASE)


class MonitorError(ArmError):
    """400 of Azure Monitor, which puts code and message at the root of the body."""

    def __init__(self, message: str) -> None:
        super().__init__(400, "BadRequest", message)

    def body(self, location: str = "eastus") -> dict[str, Any]:
        return {"code": self.code, "message": self.message}


@dataclass(frozen=True)
class Form:
    """In which form series are asked for.

    Attributes:
        filter: which of them.
        aggregations: what each point has.
        top: how many at most, where they are split.
        order: by which aggregation they are put in order, and whether from the highest on; None for their names.
        data: whether points are asked for, or only which series there are.
    """

    filter: Filter
    aggregations: Sequence[str]
    top: int
    order: tuple[str, bool] | None
    data: bool

    def series(self, found: Mapping[tuple[str, ...], Series], span: Span) -> list[dict[str, Any]]:
        """Those that have points, as they are answered."""
        some = [(values, points) for values, points in sorted(found.items()) if points]
        if self.order:
            name, highest_first = self.order
            some.sort(key=lambda each: max(_value(stat, name) for stat in each[1].values()), reverse=highest_first)
        return [self._one(values, points, span) for values, points in (some[: self.top] if self._split else some)]

    @property
    def _split(self) -> bool:
        return bool(self.filter.conditions)

    def _one(self, values: tuple[str, ...], points: Series, span: Span) -> dict[str, Any]:
        named = [
            {"name": {"value": name, "localizedValue": name}, "value": value}
            for name, value in zip(self.filter.dimensions, values, strict=True)
        ]
        if not self.data:
            return {"metadatavalues": named}
        return {"metadatavalues": named, "data": [self._point(start, points.get(start)) for start in span.starts]}

    def _point(self, minute: int, stat: Stat | None) -> dict[str, Any]:
        # As in Azure, a step without samples has its time and nothing else.
        found = {name: _value(stat, name) for name in self.aggregations} if stat else {}
        return {"timeStamp": stamp(datetime.fromtimestamp(minute * 60, UTC)), **found}


def _value(stat: Stat, aggregation: str) -> float:
    return {
        "average": stat.average,
        "minimum": stat.least,
        "maximum": stat.most,
        "total": stat.total,
        "sum": stat.total,
        "count": float(stat.count),
    }[aggregation]


def form(call: Call, asked: Filter) -> Form:
    """What a query says of the answer's form. Raises MonitorError."""
    names = [each.strip() for each in call.query.get("aggregation", "").split(",") if each.strip()]
    known = [name.lower() for name in _AGGREGATIONS]
    if unknown := [name for name in names if name.lower() not in known]:
        raise MonitorError(
            f"Detect invalid value: {unknown[0]} for query parameter: 'aggregation', the value should be any of: "
            f"{','.join(_AGGREGATIONS)}."
        )
    kind = (call.query.get("resulttype", "") or "Data").lower()
    if kind not in ("data", "metadata"):
        raise MonitorError(f"Detect invalid value: {kind} for query parameter: 'resultType': Data or Metadata.")
    aggregations = [name for name in dict.fromkeys(each.lower() for each in names or ["average"]) if name != "none"]
    return Form(asked, aggregations, _top(call), _order(call), kind == "data")


def _top(call: Call) -> int:
    sent = call.query.get("top", "") or call.query.get("$top", "") or str(_MOST_SERIES)
    if (top := read.natural(sent, 0)) < 1:
        raise MonitorError(f"Detect invalid value: {sent[:40]} for query parameter: 'top', it is a number from 1 on.")
    return top


def _order(call: Call) -> tuple[str, bool] | None:
    sent = (call.query.get("orderby", "") or call.query.get("$orderby", "")).strip()
    if not sent:
        return None
    found = _ORDER.fullmatch(sent)
    if found is None:
        raise MonitorError(f"Detect invalid value: {sent[:40]} for query parameter: 'orderby', it is like sum asc.")
    return found.group(1).lower(), (found.group(2) or "asc").lower() == "desc"


def stamp(moment: datetime) -> str:
    """A time as Azure Monitor writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
