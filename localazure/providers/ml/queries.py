"""What the lists of assets, jobs and schedules take in a query: which of them, and in what order."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from localazure.arm import body as read
from localazure.arm.errors import invalid
from localazure.arm.routes import Call
from localazure.arm.store import Resource

VIEWS = ("ActiveOnly", "ArchivedOnly", "All")


def viewed(
    call: Call, found: list[Resource], archived: Callable[[Resource], bool] = lambda each: False
) -> list[Resource]:
    """Those that `listViewType` asks for: the active ones where it does not say.

    Args:
        archived: whether one counts as archived although it does not say so itself.

    Raises:
        ArmError: 400 for a view that there is not.
    """
    wanted = view(call, VIEWS, "ActiveOnly")
    if wanted == "All":
        return found
    asked = wanted == "ArchivedOnly"
    return [each for each in found if (bool(each.properties.get("isArchived")) or archived(each)) == asked]


def view(call: Call, views: tuple[str, ...], default: str) -> str:
    """The value of `listViewType`. Raises ArmError (400)."""
    sent = call.query.get("listviewtype") or None
    return read.choice({"listViewType": sent}, "listViewType", views, default) or default


def ordered(call: Call, found: list[Resource]) -> list[Resource]:
    """In the order that `$orderBy` asks for, from oldest-first; newest first where it does not say.

    Raises:
        ArmError: 400 for an order by anything but the time of creation.
    """
    asked = call.query.get("$orderby") or "createdtime desc"
    by, _, direction = asked.strip().lower().partition(" ")
    if by not in ("createdtime", "createdat") or direction.strip() not in ("", "asc", "desc"):
        raise invalid(
            f"'$orderBy' is '{asked}'; it must be 'createdtime asc' or 'createdtime desc'.", "ValidationError"
        )
    return found[::-1] if direction.strip() == "desc" else found


def has_pairs(wanted: str, values: Mapping[str, object]) -> bool:
    """Whether `values` has all of `name,name=value,…`."""
    for pair in filter(None, (part.strip() for part in wanted.split(","))):
        name, with_value, value = pair.partition("=")
        if name not in values or (with_value and values[name] != value):
            return False
    return True
