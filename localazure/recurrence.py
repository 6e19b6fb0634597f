"""The instants at which a Recurrence trigger of Logic Apps fires, also where clocks change. Pure functions.

Source: https://learn.microsoft.com/azure/connectors/connectors-native-recurrence and
https://learn.microsoft.com/azure/logic-apps/concepts-schedule-automated-recurring-tasks-workflows. They say nothing of
these, which are decided here: days, weeks and months are counted by the zone's clock, and shorter units by elapsed
time; a time that a clock skips in spring counts as one with the clock of before (02:30 becomes 03:30), and of one that
comes twice in autumn the first counts; a week begins on Monday; a day that a month lacks is that month's last.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import product

MOST = {"Second": 9_999_999, "Minute": 72_000, "Hour": 12_000, "Day": 500, "Week": 71, "Month": 16}
"""The longest interval of each frequency."""
WEEK_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

_ELAPSED = {"Second": timedelta(seconds=1), "Minute": timedelta(minutes=1), "Hour": timedelta(hours=1)}
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class Recurrence:
    """When a trigger fires.

    Attributes:
        frequency: a key of `MOST`.
        interval: every how many of them.
        anchor: where counting begins, and the earliest instant: the start time, or when the trigger was saved.
        zone: whose clock `hours`, `minutes`, days, weeks and months go by.
        end: the latest instant.
        hours, minutes, week_days: the schedule, with Monday as 0; what is empty is the anchor's. All of them empty:
            no schedule.
    """

    frequency: str
    interval: int
    anchor: datetime
    zone: tzinfo = UTC
    end: datetime | None = None
    hours: tuple[int, ...] = ()
    minutes: tuple[int, ...] = ()
    week_days: tuple[int, ...] = ()

    @property
    def has_schedule(self) -> bool:
        return bool(self.hours or self.minutes or self.week_days)


def next_after(recurrence: Recurrence, moment: datetime) -> datetime | None:
    """The first instant after a moment, in UTC; None where there is no more."""
    try:
        found = _next(recurrence, max(moment, recurrence.anchor - _TICK))
    except (OverflowError, ValueError):
        # Beyond the year 9999.
        return None
    if found is None or (recurrence.end is not None and found > recurrence.end):
        return None
    return found.astimezone(UTC)


def _next(recurrence: Recurrence, moment: datetime) -> datetime | None:
    if recurrence.has_schedule:
        return _scheduled(recurrence, moment)
    if unit := _ELAPSED.get(recurrence.frequency):
        step = unit * recurrence.interval
        return recurrence.anchor + ((moment - recurrence.anchor) // step + 1) * step
    return next(instant for instant in _counted(recurrence, moment) if instant > moment)


def instant_of(clock: datetime, zone: tzinfo) -> datetime:
    """The instant at which a clock in a zone shows a time without a zone, in UTC, by the rules above."""
    return clock.replace(tzinfo=zone, fold=0).astimezone(UTC)


# Days, weeks and months without a schedule ------------------------------------------------------------------------


def _counted(recurrence: Recurrence, moment: datetime) -> Iterator[datetime]:
    """The instants from shortly before a moment on."""
    first = recurrence.anchor.astimezone(recurrence.zone).replace(tzinfo=None)
    reached = moment.astimezone(recurrence.zone).replace(tzinfo=None)
    # One too few: a clock that was put back may show less than has been counted.
    count = max(0, _periods(recurrence, first, reached) - 1)
    while True:
        # The anchor itself may be the second of two equal times.
        clock = _later(first, recurrence.frequency, count * recurrence.interval)
        yield instant_of(clock, recurrence.zone) if count else recurrence.anchor
        count += 1


def _periods(recurrence: Recurrence, first: datetime, reached: datetime) -> int:
    if recurrence.frequency == "Month":
        months = (reached.year - first.year) * 12 + reached.month - first.month
        return months // recurrence.interval
    return (reached - first) // timedelta(days=recurrence.interval * (7 if recurrence.frequency == "Week" else 1))


def _later(first: datetime, frequency: str, count: int) -> datetime:
    if frequency != "Month":
        return first + timedelta(days=count * (7 if frequency == "Week" else 1))
    year, month = divmod(first.year * 12 + first.month - 1 + count, 12)
    return first.replace(year=year, month=month + 1, day=min(first.day, calendar.monthrange(year, month + 1)[1]))


# Days and weeks with a schedule -----------------------------------------------------------------------------------


def _scheduled(recurrence: Recurrence, moment: datetime) -> datetime | None:
    first = recurrence.anchor.astimezone(recurrence.zone)
    clocks = [time(*each) for each in product(recurrence.hours or (first.hour,), recurrence.minutes or (first.minute,))]
    # From the day before: what a clock skipped may have come from there.
    day = moment.astimezone(recurrence.zone).date() - timedelta(days=1)
    for _ in range(7 * recurrence.interval + 9):
        if _counts(recurrence, first.date(), day):
            instants = (instant_of(datetime.combine(day, clock), recurrence.zone) for clock in clocks)
            # Not the first: where a clock skips an hour, a later time of the schedule may come earlier.
            if found := min((each for each in instants if each > moment), default=None):
                return found
        day += timedelta(days=1)
    return None


def _counts(recurrence: Recurrence, first: date, day: date) -> bool:
    if recurrence.frequency == "Day":
        return (day - first).days % recurrence.interval == 0
    mondays = [each - timedelta(days=each.weekday()) for each in (first, day)]
    weeks = (mondays[1] - mondays[0]).days // 7
    return weeks % recurrence.interval == 0 and day.weekday() in (recurrence.week_days or (first.weekday(),))
