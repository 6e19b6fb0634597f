"""Lists of endpoints and deployments: filtered, ordered and cut into pages as their query asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localazure.arm import body as read
from localazure.arm.errors import invalid
from localazure.arm.routes import Answer, Call
from localazure.arm.store import Resource
from localazure.providers.common import page
from localazure.providers.ml.kubernetes import COMPUTE_TYPES
from localazure.providers.ml.queries import has_pairs

_PAGE = 100
_ORDERS = ("CreatedAtDesc", "CreatedAtAsc", "UpdatedAtDesc", "UpdatedAtAsc")


def endpoints(call: Call, found: Sequence[Resource]) -> Answer:
    """Endpoints by `name`, `computeType`, `tags` and `properties`, in `orderBy`, `count` to a page.

    Raises:
        ArmError: 400 for an order or a compute type that there is not.
    """
    query = call.query
    name, kind = query.get("name"), read.choice(query, "computetype", COMPUTE_TYPES, None)
    chosen = [
        each
        for each in found
        if (not name or each.name.lower() == name.lower())
        and (kind is None or each.document.get("kind") == kind)
        and has_pairs(query.get("tags", ""), each.document.get("tags") or {})
        and has_pairs(query.get("properties", ""), each.properties.get("properties") or {})
    ]
    return page(call, call.path, _ordered(chosen, read.choice(query, "orderby", _ORDERS, None)), _size(query, "count"))


def deployments(call: Call, found: Sequence[Resource]) -> Answer:
    """Deployments, oldest first or as `$orderBy` says (`createdtime desc`, `name`), `$top` to a page.

    Raises:
        ArmError: 400 for an order that there is not.
    """
    asked = call.query.get("$orderby") or "createdtime"
    by, _, direction = asked.strip().lower().partition(" ")
    if by not in ("name", "createdtime", "createdat") or direction.strip() not in ("", "asc", "desc"):
        raise invalid(
            f"'$orderBy' is '{asked}'; it must be 'createdtime' or 'name', with 'asc' or 'desc'.", "ValidationError"
        )
    chosen = sorted(found, key=lambda each: each.name.lower()) if by == "name" else list(found)
    if direction.strip() == "desc":
        chosen.reverse()
    return page(call, call.path, chosen, _size(call.query, "$top"))


def plain(call: Call, documents: Sequence[Mapping[str, Any]]) -> Answer:
    """What is no resource of its own, `count` to a page."""
    return page(call, call.path, [Resource("", "", dict(each)) for each in documents], _size(call.query, "count"))


def _size(query: Mapping[str, str], name: str) -> int:
    return read.size(query, name, _PAGE)


def _ordered(found: list[Resource], order: str | None) -> list[Resource]:
    if order is None:
        return found
    moment = "createdAt" if order.startswith("Created") else "lastModifiedAt"
    return sorted(found, key=lambda each: each.document["systemData"][moment], reverse=order.endswith("Desc"))
