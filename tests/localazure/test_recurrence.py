"""When a Recurrence trigger fires: pure functions of time, across changes of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localazure.recurrence import Recurrence, next_after

LONDON, NEW_YORK = ZoneInfo("Europe/London"), ZoneInfo("America/New_York")
MINUTE = timedelta(minutes=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def instants(recurrence: Recurrence, after: datetime, until: datetime) -> list[datetime]:
    """Every instant in (after, until]."""
    found = []
    while (instant := next_after(recurrence, after)) is not None and instant <= until:
        found.append(instant)
        after = instant
    return found


def clocks(found: list[datetime]) -> list[str]:
    return [f"{each:%m-%d %H:%M}" for each in found]


def test_a_daily_time_stays_when_summer_comes() -> None:
    """Clocks in London go from 01:00 to 02:00 on 29 March 2026."""
    daily = Recurrence("Day", 1, utc("2026-03-01"), LONDON, hours=(2,), minutes=(0,))
    found = instants(daily, utc("2026-03-27T12:00"), utc("2026-03-30T12:00"))
    assert clocks(found) == ["03-28 02:00", "03-29 01:00", "03-30 01:00"]


def test_a_time_that_clocks_skip_comes_with_the_clock_of_before() -> None:
    daily = Recurrence("Day", 1, utc("2026-03-01"), LONDON, hours=(1,), minutes=(30,))
    found = instants(daily, utc("2026-03-28T12:00"), utc("2026-03-31"))
    assert clocks(found) == ["03-29 01:30", "03-30 00:30"]
    assert found[0].astimezone(LONDON).hour == 2, "it is half past one by the clock of before"


def test_a_time_that_comes_twice_fires_once() -> None:
    """Clocks in London go back from 02:00 to 01:00 on 25 October 2026."""
    daily = Recurrence("Day", 1, utc("2026-10-01"), LONDON, hours=(1,), minutes=(30,))
    found = instants(daily, utc("2026-10-24T12:00"), utc("2026-10-26T12:00"))
    assert clocks(found) == ["10-25 00:30", "10-26 01:30"]


def test_days_without_a_schedule_keep_their_time_too() -> None:
    daily = Recurrence("Day", 1, utc("2026-03-07T14:30"), NEW_YORK)
    found = instants(daily, utc("2026-03-07T12:00"), utc("2026-03-09"))
    assert clocks(found) == ["03-07 14:30", "03-08 13:30"], "clocks went forward in New York on the 8th"


def test_hours_are_counted_as_they_pass() -> None:
    hourly = Recurrence("Hour", 1, utc("2026-03-29T00:15"), LONDON)
    found = instants(hourly, utc("2026-03-29T00:00"), utc("2026-03-29T04:00"))
    assert clocks(found) == ["03-29 00:15", "03-29 01:15", "03-29 02:15", "03-29 03:15"]


def test_a_start_in_the_past_is_counted_from() -> None:
    """The example of Microsoft's page: every two days from the 7th, asked on the 8th."""
    every_two_days = Recurrence("Day", 2, utc("2017-09-07T14:00"))
    found = instants(every_two_days, utc("2017-09-08T13:00"), utc("2017-09-14"))
    assert clocks(found) == ["09-09 14:00", "09-11 14:00", "09-13 14:00"]


def test_a_schedule_does_not_begin_before_its_start() -> None:
    """The page's other example: from Friday at 08:00 on, on Mondays at 10:30, 12:30 and 14:30."""
    mondays = Recurrence("Week", 1, utc("2020-09-18T08:00"), hours=(10, 12, 14), minutes=(30,), week_days=(0,))
    found = instants(mondays, utc("2020-09-04"), utc("2020-09-28T11:00"))
    assert clocks(found) == ["09-21 10:30", "09-21 12:30", "09-21 14:30", "09-28 10:30"]


def test_what_a_schedule_leaves_out_is_that_of_its_start() -> None:
    saturdays = Recurrence("Week", 1, utc("2017-09-09T17:25"), week_days=(5,))
    assert clocks(instants(saturdays, utc("2017-09-01"), utc("2017-09-17"))) == ["09-09 17:25", "09-16 17:25"]


def test_every_other_week_is_counted_in_whole_weeks() -> None:
    fortnightly = Recurrence("Week", 2, utc("2026-06-03T00:00"), hours=(6,), minutes=(0,), week_days=(0, 4))
    found = instants(fortnightly, utc("2026-06-01"), utc("2026-06-20"))
    assert clocks(found) == ["06-05 06:00", "06-15 06:00", "06-19 06:00"]


def test_a_month_that_lacks_the_day_has_its_last() -> None:
    monthly = Recurrence("Month", 1, utc("2026-01-31T05:00"))
    found = instants(monthly, utc("2026-01-01"), utc("2026-04-01"))
    assert clocks(found) == ["01-31 05:00", "02-28 05:00", "03-31 05:00"]


def test_nothing_comes_after_the_end() -> None:
    hourly = Recurrence("Hour", 6, utc("2026-01-01"), end=utc("2026-01-01T12:00"))
    assert clocks(instants(hourly, utc("2025-12-31"), utc("2027-01-01"))) == [
        "01-01 00:00",
        "01-01 06:00",
        "01-01 12:00",
    ]


@pytest.mark.parametrize("frequency", ["Second", "Day", "Month"])
def test_the_end_of_the_calendar_is_no_error(frequency: str) -> None:
    recurrence = Recurrence(frequency, 16, utc("2026-01-01"), NEW_YORK)
    assert next_after(recurrence, utc("9999-12-31T23:59:59")) is None


# Against a search of every minute ---------------------------------------------------------------------------------

ZONES = st.sampled_from(
    ["Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca"]
)
# A fortnight around each change in one of these zones or another.
BEGINNINGS = st.sampled_from(["2026-03-01", "2026-03-22", "2026-03-29", "2026-10-01", "2026-10-18", "2026-10-26"])
HOURS = st.sets(st.integers(0, 23), max_size=3).map(sorted).map(tuple)
MINUTES = st.sets(st.integers(0, 59), max_size=3).map(sorted).map(tuple)
DAYS = st.sets(st.integers(0, 6), max_size=3).map(sorted).map(tuple)


@st.composite
def schedules(draw: st.DrawFn) -> Recurrence:
    zone = ZoneInfo(draw(ZONES))
    frequency = draw(st.sampled_from(["Day", "Week"]))
    anchor = utc(draw(BEGINNINGS)) + draw(st.integers(0, 3 * 24 * 60)) * MINUTE
    minutes = draw(MINUTES.filter(bool))
    days = draw(DAYS) if frequency == "Week" else ()
    return Recurrence(frequency, draw(st.integers(1, 3)), anchor, zone, None, draw(HOURS), minutes, days)


def fires(recurrence: Recurrence, moment: datetime) -> bool:
    """Whether a recurrence with a schedule fires at a minute, by what a clock shows then."""
    if moment < recurrence.anchor:
        return False
    local = moment.astimezone(recurrence.zone)
    if local.fold == 0 and scheduled(recurrence, local.replace(tzinfo=None)):
        return True
    # What the clock would show, had it not gone forward within the last hours.
    for back in (30, 60):
        old = (local.replace(tzinfo=None) - back * MINUTE).replace(tzinfo=recurrence.zone)
        skipped = old.astimezone(UTC).astimezone(recurrence.zone).replace(tzinfo=None) != old.replace(tzinfo=None)
        if skipped and old.astimezone(UTC) == moment and scheduled(recurrence, old.replace(tzinfo=None)):
            return True
    return False


def scheduled(recurrence: Recurrence, clock: datetime) -> bool:
    first = recurrence.anchor.astimezone(recurrence.zone)
    if clock.hour not in (recurrence.hours or (first.hour,)) or clock.minute not in recurrence.minutes:
        return False
    passed = clock.date().toordinal() - first.date().toordinal()
    if recurrence.frequency == "Day":
        return passed % recurrence.interval == 0
    # Day 1 of the calendar was a Monday.
    weeks = (clock.date().toordinal() - 1) // 7 - (first.date().toordinal() - 1) // 7
    return weeks % recurrence.interval == 0 and clock.weekday() in (recurrence.week_days or (first.weekday(),))


@given(schedules())
@settings(max_examples=40, deadline=None)
def test_it_finds_what_a_search_of_every_minute_finds(recurrence: Recurrence) -> None:
    begin = recurrence.anchor.replace(second=0) - 24 * 60 * MINUTE
    minutes = [begin + number * MINUTE for number in range(12 * 24 * 60)]
    expected = [minute for minute in minutes if fires(recurrence, minute)]
    assert instants(recurrence, begin - MINUTE, minutes[-1]) == expected


@st.composite
def recurrences(draw: st.DrawFn) -> Recurrence:
    if draw(st.booleans()):
        return draw(schedules())
    frequency = draw(st.sampled_from(["Second", "Minute", "Hour", "Day", "Week", "Month"]))
    anchor = utc(draw(BEGINNINGS)) + timedelta(seconds=draw(st.integers(0, 10**6)))
    return Recurrence(frequency, draw(st.integers(1, 40)), anchor, ZoneInfo(draw(ZONES)))


@given(recurrences(), st.lists(st.integers(-(10**7), 10**7), min_size=2, max_size=12))
@settings(max_examples=200, deadline=None)
def test_a_later_question_has_no_earlier_answer(recurrence: Recurrence, offsets: list[int]) -> None:
    moments = sorted(recurrence.anchor + timedelta(seconds=each) for each in offsets)
    answers = [next_after(recurrence, each) for each in moments]
    for moment, answer in zip(moments, answers, strict=True):
        assert answer is not None
        assert answer > moment
        assert answer >= recurrence.anchor
        assert next_after(recurrence, answer - timedelta(microseconds=1)) == answer
    assert all(one <= other for one, other in pairwise(answers) if one and other)
