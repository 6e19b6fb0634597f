"""Azure Monitor's autoscale, as it decides: which profile is in force, and how many instances there are to be.

Pure functions of a setting's profiles, the time, the present count and what is measured. Source:
https://learn.microsoft.com/azure/azure-monitor/autoscale/autoscale-understanding-settings, autoscale-multiprofile,
autoscale-best-practices and autoscale-flapping.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from localazure.arm import body as read
from localazure.providers.ml.time_zones import zone

Json = dict[str, Any]

Observe = Callable[[Json], float | None]
"""What a metric trigger sees; None where nothing is measured."""

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "Equals": operator.eq,
    "NotEquals": operator.ne,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqual": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqual": operator.le,
}
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


# Profiles --------------------------------------------------------------------------------------------------------


def in_force(profiles: Sequence[Json], now: datetime) -> Json | None:
    """The profile that holds: one of a fixed date, else the recurring one that began last, else the usual one.

    A recurring profile has no end: it holds until another begins. So the usual profile never holds beside one.
    """
    for profile in profiles:
        if "fixedDate" in profile and _holds(profile["fixedDate"], now):
            return profile
    begun = [
        (began(each["recurrence"]["schedule"], now), -at) for at, each in enumerate(profiles) if "recurrence" in each
    ]
    if begun:
        return profiles[-max(begun)[1]]
    return next((each for each in profiles if "fixedDate" not in each), None)


def _holds(fixed: Json, now: datetime) -> bool:
    where = zone(fixed["timeZone"])
    # A clock's time in the zone, even where a `Z` follows it; in seconds, which even the year 1 has in every zone.
    start, end = (datetime.fromisoformat(fixed[name]).replace(tzinfo=where).timestamp() for name in ("start", "end"))
    return start <= now.timestamp() < end


def began(schedule: Json, now: datetime) -> datetime:
    """When a weekly profile began last, in UTC.

    A time that a clock skips in spring counts as one with the clock of before; of one that comes twice, the first.
    """
    where = zone(schedule["timeZone"])
    today = now.astimezone(where).date()
    clock = {"hour": schedule["hours"][0], "minute": schedule["minutes"][0]}
    # A day more than a week: today's time may be still to come.
    for back in range(8):
        day = today - timedelta(days=back)
        if _DAYS[day.weekday()] in schedule["days"]:
            moment = datetime(day.year, day.month, day.day, **clock, tzinfo=where).astimezone(UTC)
            if moment <= now:
                return moment
    raise ValueError(f"a schedule without days: {schedule}")


# Rules -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Decision:
    """What is to be done.

    Attributes:
        count: how many instances there are to be.
        reason: why, for the log.
    """

    count: int
    reason: str


@dataclass(frozen=True)
class _Ruled:
    """A rule, with what it sees; None where nothing is measured."""

    rule: Json
    seen: float | None

    @property
    def fires(self) -> bool:
        return self.seen is not None and self._compares(self.seen)

    def fires_with(self, count: int, present: int) -> bool:
        """Whether it would fire, were the same load spread over another count."""
        return self.seen is not None and self._compares(self.seen * present / count)

    def _compares(self, value: float) -> bool:
        trigger = self.rule["metricTrigger"]
        return OPERATORS[trigger["operator"]](value, trigger["threshold"])

    def count(self, present: int) -> int:
        """How many instances its action would make of the present count."""
        action = self.rule["scaleAction"]
        value, sign = int(action["value"]), 1 if action["direction"] == "Increase" else -1
        if action["type"] == "ExactCount":
            return value
        if action["type"] == "ServiceAllowedNextValue":
            return present + sign
        if action["type"] == "PercentChangeCount":
            return present + sign * _share(present, value, up=sign > 0)
        return present + sign * value

    @property
    def cooldown(self) -> float:
        return read.seconds(self.rule["scaleAction"]["cooldown"], "cooldown")

    def __str__(self) -> str:
        trigger = self.rule["metricTrigger"]
        return f"{trigger['metricName']} is {self.seen:.1f} ({trigger['operator']} {trigger['threshold']:g})"


def _share(present: int, percent: int, *, up: bool) -> int:
    # Nobody says how Azure rounds: towards more instances here, and a rule that fires does something.
    exact = present * percent / 100
    return max(1, math.ceil(exact) if up else math.floor(exact))


def decide(profile: Json, present: int, observe: Observe, rested: float = math.inf) -> Decision | None:
    """What a profile asks for; None to leave the count as it is.

    Args:
        profile: the one in force.
        present: how many instances there are.
        observe: what each trigger sees.
        rested: seconds since the count was last changed. A rule waits for its own cooldown (`scaleAction.cooldown`:
            "the amount of time to wait since the last scaling action before this action occurs"); bounds and defaults
            do not wait.
    """
    least, most, usual = (int(profile["capacity"][name]) for name in ("minimum", "maximum", "default"))
    name = profile["name"]
    if not least <= present <= most:
        return Decision(max(least, min(most, present)), f"profile {name} has {least} to {most}")
    rules = [_Ruled(rule, observe(rule["metricTrigger"])) for rule in profile["rules"]]
    out, back = (list(_of(rules, direction)) for direction in ("Increase", "Decrease"))
    if firing := [each for each in out if each.fires]:
        # The highest count that any of them asks for that has waited; while one fires, nothing is scaled in.
        rule = max(firing, key=lambda each: (rested >= each.cooldown, each.count(present)))
        count = min(rule.count(present), most)
        return None if rested < rule.cooldown or count <= present else Decision(count, str(rule))
    if missing := [each.rule["metricTrigger"]["metricName"] for each in rules if each.seen is None]:
        reason = f"nothing is measured of {missing[0]}, and profile {name} has {usual} then"
        return Decision(usual, reason) if present < usual else None
    return _scaled_in(out, back, present, least, rested)


def _of(rules: Sequence[_Ruled], direction: str) -> Iterator[_Ruled]:
    return (each for each in rules if each.rule["scaleAction"]["direction"] == direction)


def _scaled_in(
    out: Sequence[_Ruled], back: Sequence[_Ruled], present: int, least: int, rested: float
) -> Decision | None:
    """Fewer instances, where every rule agrees and none would ask for them back at once."""
    if not back or not all(each.fires for each in back):
        return None
    rule = max(back, key=lambda each: each.count(present))
    if rested < rule.cooldown:
        return None
    for count in range(max(rule.count(present), least, 1), present):
        # Less of a step than was asked for, rather than one that is taken back.
        if not any(each.fires_with(count, present) for each in out):
            return Decision(count, str(rule))
    return None
