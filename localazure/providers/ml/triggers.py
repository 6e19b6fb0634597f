"""When a schedule is to fire: recurrence and cron triggers, checked and filled in as the service does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from localazure.arm import body as read
from localazure.arm.errors import ArmError, invalid
from localazure.providers.ml.time_zones import IANA, wall_clock

Json = dict[str, Any]

FREQUENCIES = ("Minute", "Hour", "Day", "Week", "Month")
WEEK_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_WHERE = "properties.trigger"
# ISO 8601 without an offset, which the time zone says; the client writes a blank where ISO has a `T`.
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,7})?)?", re.ASCII)


def trigger_of(sent: Json, existing: Json | None) -> Json:
    """The trigger of a schedule, from `properties` as sent.

    Args:
        existing: the trigger that the schedule has; one that has run out may be sent again, to be switched off.

    Raises:
        ArmError: 400, with the key, the value and the way out.
    """
    trigger = read.mapping(sent, "trigger", "properties", required=True)
    kind = read.choice(trigger, "triggerType", ("Recurrence", "Cron"), None, _WHERE)
    if kind is None:
        raise invalid(f"'{_WHERE}.triggerType' is required: Recurrence or Cron.", "ValidationError")
    zone = read.choice(trigger, "timeZone", tuple(IANA), "UTC", _WHERE) or "UTC"
    times = {"endTime": _moment(trigger, "endTime"), "startTime": _moment(trigger, "startTime"), "timeZone": zone}
    own = _recurrence(trigger) if kind == "Recurrence" else {"expression": _cron(trigger)}
    answer = {**times, "triggerType": kind, **own}
    if answer != existing:
        _check_end(times["endTime"], times["startTime"], zone)
    return answer


def started(trigger: Json) -> Json:
    """The trigger in force: without a start it begins at the next whole minute of its own clock."""
    if trigger["startTime"]:
        return trigger
    following = wall_clock(trigger["timeZone"]).replace(second=0, microsecond=0) + timedelta(minutes=1)
    return {**trigger, "startTime": following.strftime("%Y-%m-%d %H:%M:%S")}


def _moment(trigger: Json, name: str) -> str | None:
    text = read.text(trigger, name, _WHERE) or None
    if text is not None and _parsed(text) is None:
        raise invalid(
            f"'{_WHERE}.{name}' is '{text[:80]}'; it must be a time such as 2022-06-01T00:00:01, without an offset: "
            "the time zone is given by 'timeZone'.",
            "ValidationError",
        )
    return text


def _parsed(text: str) -> datetime | None:
    if not _MOMENT.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text[:26])
    except ValueError:
        return None


def _check_end(end: str | None, start: str | None, zone: str) -> None:
    ends, starts = _parsed(end or ""), _parsed(start or "")
    if ends is None:
        return
    if starts is not None and ends <= starts:
        raise invalid(f"'{_WHERE}.endTime' ({end}) must come after 'startTime' ({start}).", "ValidationError")
    if ends <= wall_clock(zone):
        raise invalid(f"'{_WHERE}.endTime' is {end} ({zone}), which is past; give a later one.", "ValidationError")


# Recurrence --------------------------------------------------------------------------------------------------


def _recurrence(trigger: Json) -> Json:
    frequency = read.choice(trigger, "frequency", FREQUENCIES, None, _WHERE)
    if frequency is None:
        raise invalid(f"'{_WHERE}.frequency' is required: one of {', '.join(FREQUENCIES)}.", "ValidationError")
    if trigger.get("interval") is None:
        raise invalid(f"'{_WHERE}.interval' is required: every how many of 'frequency'.", "ValidationError")
    interval = read.integer(trigger, "interval", 1, _WHERE, least=1, most=1000)
    pattern = read.mapping(trigger, "schedule", _WHERE)
    return {"frequency": frequency, "interval": interval, "schedule": _pattern(pattern, frequency) if pattern else None}


def _pattern(sent: Json, frequency: str) -> Json:
    where = f"{_WHERE}.schedule"
    for name in ("hours", "minutes"):
        if sent.get(name) is None:
            raise invalid(f"'{where}.{name}' is required where there is a schedule; it may be [].", "ValidationError")
    found = {
        "hours": _numbers(sent, "hours", 0, 23),
        "minutes": _numbers(sent, "minutes", 0, 59),
        "weekDays": _week_days(sent) or None,
        "monthDays": _numbers(sent, "monthDays", 1, 31) or None,
    }
    # Microsoft's YAML reference: a day has hours and minutes, a week and a month have days too.
    allowed = {"Day": ("hours", "minutes"), "Week": ("hours", "minutes", "weekDays"), "Month": tuple(found)}
    for name, value in found.items():
        if value and name not in allowed.get(frequency, ()):
            raise invalid(
                f"'{where}.{name}' is {value}, and 'frequency' is {frequency}, which takes "
                f"{', '.join(allowed.get(frequency, ())) or 'no schedule'}: leave it out.",
                "ValidationError",
            )
    return found


def _numbers(sent: Json, name: str, least: int, most: int) -> list[int]:
    where = f"{_WHERE}.schedule.{name}"
    return [
        read.integer({str(at): value}, str(at), least, where, least=least, most=most)
        for at, value in enumerate(_values(sent, name))
    ]


def _week_days(sent: Json) -> list[str]:
    where = f"{_WHERE}.schedule.weekDays"
    found = (
        read.choice({str(at): value}, str(at), WEEK_DAYS, None, where)
        for at, value in enumerate(_values(sent, "weekDays"))
    )
    return [day for day in found if day]


def _values(sent: Json, name: str) -> list[Any]:
    values = read.sequence(sent, name, f"{_WHERE}.schedule")
    if None in values:
        raise invalid(f"'{_WHERE}.schedule.{name}' holds null, which says nothing: leave it out.", "ValidationError")
    return values


# Cron --------------------------------------------------------------------------------------------------------

# Microsoft's reference: minutes, hours, days of the month, months, days of the week with 0 for Sunday.
_FIELDS: Sequence[tuple[str, int, int, tuple[str, ...]]] = (
    ("minutes", 0, 59, ()),
    ("hours", 0, 23, ()),
    ("days", 1, 31, ()),
    ("months", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    ("days of the week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)


def _cron(trigger: Json) -> str:
    expression = read.text(trigger, "expression", _WHERE, required=True) or ""
    parts = expression.split()
    if len(parts) != len(_FIELDS):
        raise _bad_cron(expression, "it must have five fields: minutes hours days months days-of-week")
    for part, (name, least, most, words) in zip(parts, _FIELDS, strict=True):
        for each in part.split(","):
            if not _is_range(each.lower(), least, most, words):
                raise _bad_cron(expression, f"'{each}' is none of the {name}, which are {least} to {most}")
    return expression


def _is_range(text: str, least: int, most: int, words: tuple[str, ...]) -> bool:
    """Whether it is `*`, `5`, `1-5`, or one of these with a step: `*/15`."""
    span, slash, step = text.partition("/")
    if slash and not 1 <= read.natural(step, 0) <= most:
        return False
    if span == "*":
        return True
    first, dash, last = span.partition("-")
    low, high = _number(first, words, least), _number(last, words, least) if dash else most
    return least <= low <= high <= most


def _number(text: str, words: tuple[str, ...], least: int) -> int:
    return words.index(text) + least if text in words else read.natural(text, -1)


def _bad_cron(expression: str, reason: str) -> ArmError:
    return invalid(f"'{_WHERE}.expression' is '{expression[:80]}': {reason}.", "ValidationError")
