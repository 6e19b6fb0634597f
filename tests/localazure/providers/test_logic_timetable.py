"""Workflows fire at the instants of their recurrences: through simulated weeks, downtime and changes of the clocks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from localazure.clock import ClockRefused
from localazure.providers.logic.names import RUN_TYPE, WORKFLOW_TYPE
from tests.localazure.providers.conftest import until
from tests.localazure.providers.timetable import Machine, Timetable, at, prepare, utc

__all__ = ["at"]

Json = dict[str, Any]
At = Callable[[str], Machine]

LONDON = ZoneInfo("Europe/London")
HOURLY: Json = {"frequency": "Hour", "interval": 1, "startTime": "2026-03-01T00:00:00", "timeZone": "GMT Standard Time"}
DAILY: Json = {
    "frequency": "Day",
    "interval": 1,
    "timeZone": "GMT Standard Time",
    "startTime": "2026-03-01T00:00:00",
    "schedule": {"hours": [2, 14], "minutes": [0]},
}
WEEKLY: Json = {
    "frequency": "Week",
    "interval": 1,
    "timeZone": "GMT Standard Time",
    "startTime": "2026-03-01T00:00:00",
    "schedule": {"hours": [9], "minutes": [30], "weekDays": ["Monday", "Thursday"]},
}


def hours(first: str, last: str) -> list[datetime]:
    begin, end = utc(first), utc(last)
    return [begin + timedelta(hours=number) for number in range(int((end - begin) / timedelta(hours=1)) + 1)]


def in_london(*clocks: str) -> list[datetime]:
    return [datetime.fromisoformat(f"2026-{clock}").replace(tzinfo=LONDON) for clock in clocks]


def test_a_fortnight_with_the_beginning_of_summer_time(at: At) -> None:
    """From 22 March 2026, 12:30, to 5 April; clocks go forward on the 29th at 01:00."""
    with at("2026-03-22T12:30").running() as timetable:
        prepare(timetable.cloud)
        for name, recurrence in (("hourly", HOURLY), ("daily", DAILY), ("weekly", WEEKLY)):
            timetable.put(name, recurrence)
        timetable.pass_until("2026-04-05T12:30")

        assert timetable.scheduled("hourly") == hours("2026-03-22T13:00", "2026-04-05T12:00")
        days = [f"03-{day}" for day in range(23, 32)] + [f"04-0{day}" for day in range(1, 6)]
        expected = in_london("03-22T14:00", *(f"{day}T{hour}:00" for day in days for hour in ("02", "14")))[:-1]
        assert timetable.scheduled("daily") == expected
        weekly = in_london("03-23T09:30", "03-26T09:30", "03-30T09:30", "04-02T09:30")
        assert timetable.scheduled("weekly") == weekly
        store = timetable.cloud.azure._cloud.store
        found = [each.properties["status"] for each in store.of_type(RUN_TYPE)]
        assert found == ["Succeeded"] * (336 + len(expected) + 4)
        assert timetable.jobs() == len(found), "each run starts one job"


def test_a_fortnight_with_the_end_of_summer_time(at: At) -> None:
    """Clocks in New York go back on 1 November 2026 at 02:00, so that 01:30 comes twice."""
    with at("2026-10-25T12:30").running() as timetable:
        prepare(timetable.cloud)
        schedule = {"hours": [1], "minutes": [30]}
        daily = {"frequency": "Day", "interval": 1, "timeZone": "Eastern Standard Time", "schedule": schedule}
        timetable.put("daily", {**daily, "startTime": "2026-10-01T00:00:00"})
        timetable.put("hourly", {**HOURLY, "timeZone": "Eastern Standard Time"})
        timetable.pass_until("2026-11-08T12:30")

        assert [f"{each:%m-%d %H:%M}" for each in timetable.scheduled("daily")] == [
            *(f"10-{day} 05:30" for day in range(26, 32)),
            "11-01 05:30",
            *(f"11-0{day} 06:30" for day in range(2, 9)),
        ]
        assert timetable.scheduled("hourly") == hours("2026-10-25T13:00", "2026-11-08T12:00")


def test_what_was_missed_while_nothing_ran_stays_missed(at: At) -> None:
    machine = at("2026-03-28T22:30")
    with machine.running() as timetable:
        prepare(timetable.cloud)
        timetable.put("hourly", HOURLY)
        timetable.pass_until("2026-03-29T00:30")
    machine.off(timedelta(hours=6))
    with machine.running() as timetable:
        timetable.pass_until("2026-03-29T08:30")
        found = [f"{each:%H:%M}" for each in timetable.scheduled("hourly")]
    assert found == ["23:00", "00:00", "07:00", "08:00"]


def test_an_instant_of_less_than_a_minute_ago_is_not_missed(at: At) -> None:
    """A restart around the instant must neither swallow it nor fire it twice."""
    machine = at("2026-03-01T11:59:50")
    with machine.running() as timetable:
        prepare(timetable.cloud)
        timetable.put("hourly", HOURLY)
    for _ in range(3):
        machine.off(timedelta(seconds=15))
        with machine.running() as timetable:
            until(lambda: timetable.runs("hourly"), "the run of 12:00 begins")
            timetable.cloud.azure.schedule.pass_time(machine.now)
            assert timetable.scheduled("hourly") == [utc("2026-03-01T12:00")]


def test_a_run_that_a_kill_interrupted_goes_on_with_the_same_job(at: At) -> None:
    """Killed after the POST and before its answer was written: the run is sent again, and starts no second job."""
    machine = at("2026-03-01T11:59:50")
    with machine.running() as timetable:
        prepare(timetable.cloud)
        timetable.put("hourly", HOURLY)
        timetable.pass_until("2026-03-01T12:30")
        store = timetable.cloud.azure._cloud.store
        (run,) = store.of_type(RUN_TYPE)
        action = {**run.hidden["actions"]["Invoke"], "status": "Waiting", "attempts": 0}
        hidden = {**run.hidden, "actions": {"Invoke": action}}
        store.put(type(run)(run.id, run.type, run.with_properties(status="Running").document, hidden, run.created))
    with machine.running() as timetable:
        until(lambda: timetable.runs("hourly")[0]["properties"]["status"] == "Succeeded", "the run ends")
        assert timetable.jobs() == 1


def test_an_instant_has_one_run_whatever_is_remembered_of_it(at: At) -> None:
    """As after a kill between two writes that belong together, had they not been one."""
    with at("2026-03-01T11:59:50").running() as timetable:
        prepare(timetable.cloud)
        timetable.put("hourly", HOURLY)
        store = timetable.cloud.azure._cloud.store
        before = store.of_type(WORKFLOW_TYPE)[0].hidden["since"]
        timetable.pass_until("2026-03-01T12:00:10")
        workflow = store.of_type(WORKFLOW_TYPE)[0]
        store.put(type(workflow)(workflow.id, workflow.type, workflow.document, {**workflow.hidden, "since": before}))
        timetable.pass_until("2026-03-01T12:00:20")
        assert len(timetable.runs("hourly")) == 1
        assert timetable.jobs() == 1


def test_one_that_is_off_does_not_fire_and_does_not_catch_up(at: At) -> None:
    with at("2026-03-01T11:30").running() as timetable:
        prepare(timetable.cloud)
        timetable.put("hourly", HOURLY)
        timetable.pass_until("2026-03-01T12:30")
        assert timetable.cloud.send("POST", f"{timetable.path('hourly')}/disable").status_code == 200
        trigger = timetable.cloud.get(f"{timetable.path('hourly')}/triggers/Recurrence")["properties"]
        assert "nextExecutionTime" not in trigger
        timetable.pass_until("2026-03-01T15:00:10")
        assert timetable.cloud.send("POST", f"{timetable.path('hourly')}/enable").status_code == 200
        timetable.pass_until("2026-03-01T16:30")
        assert [f"{each:%H:%M}" for each in timetable.scheduled("hourly")] == ["12:00", "16:00"]


def test_one_that_is_created_disabled_never_fires(at: At) -> None:
    with at("2026-03-01T11:30").running() as timetable:
        prepare(timetable.cloud)
        timetable.put("hourly", HOURLY, state="Disabled")
        timetable.pass_until("2026-03-02T11:30")
        assert timetable.runs("hourly") == []


def test_without_a_start_it_runs_at_once_and_counts_from_there(at: At) -> None:
    with at("2026-03-01T11:30").running() as timetable:
        prepare(timetable.cloud)
        timetable.put("six", {"frequency": "Hour", "interval": 6})
        until(lambda: timetable.runs("six"), "it runs")
        timetable.pass_until("2026-03-02T00:00")
        found = [utc("2026-03-01T11:30"), utc("2026-03-01T17:30"), utc("2026-03-01T23:30")]
        assert timetable.scheduled("six") == found


def test_a_write_of_the_same_timetable_does_not_fire_it(at: At) -> None:
    with at("2026-03-01T11:30").running() as timetable:
        prepare(timetable.cloud)
        recurrence = {"frequency": "Hour", "interval": 6}
        timetable.put("six", recurrence)
        until(lambda: timetable.runs("six"), "it runs")
        timetable.pass_until("2026-03-01T12:00")
        timetable.put("six", recurrence, method="PUT")
        timetable.pass_until("2026-03-01T12:30")
        assert len(timetable.runs("six")) == 1
        timetable.put("six", {**recurrence, "interval": 5})
        timetable.pass_until("2026-03-01T12:31")
        assert timetable.scheduled("six") == [utc("2026-03-01T11:30"), utc("2026-03-01T12:30")]


def test_it_ends_when_it_says(at: At) -> None:
    with at("2026-03-01T11:30").running() as timetable:
        prepare(timetable.cloud)
        timetable.put("hourly", {**HOURLY, "endTime": "2026-03-01T13:00:00"})
        timetable.pass_until("2026-03-02T11:30")
        assert [f"{each:%H:%M}" for each in timetable.scheduled("hourly")] == ["12:00", "13:00"]


def test_runs_of_more_than_ninety_days_ago_are_forgotten(at: At) -> None:
    with at("2026-03-01T11:30").running() as timetable:
        prepare(timetable.cloud)
        timetable.put("weekly", WEEKLY)
        timetable.pass_until("2026-06-30T00:00")
        found = timetable.scheduled("weekly")
        assert found[0] > utc("2026-03-25T00:00")
        assert len(found) == 26


def test_the_clock_goes_forward_and_not_back(at: At) -> None:
    machine = at("2026-03-01T11:30")
    with machine.running() as timetable:
        timetable.pass_until("2026-03-02T11:30")
        for moment in ("2026-03-02T11:29", "2028-01-01T00:00"):
            with pytest.raises(ClockRefused, match="2026-03-02T11:30:00"):
                timetable.pass_until(moment)
    with machine.running() as timetable:
        assert timetable.cloud.azure.schedule.clock.now() == utc("2026-03-02T11:30"), "a restart keeps it"


def test_the_command_line_puts_the_clock_forward_by_a_while_or_to_a_time(at: At) -> None:
    with at("2026-03-01T11:30").running() as timetable:
        azure = timetable.cloud.azure
        assert azure.pass_time() == {"now": "2026-03-01T11:30:00+00:00", "aheadSeconds": 0.0}
        assert azure.pass_time(seconds=3600)["now"] == "2026-03-01T12:30:00+00:00"
        to = datetime(2026, 3, 1, 13, 30)
        assert azure.pass_time(until=to) == {"now": "2026-03-01T13:30:00+00:00", "aheadSeconds": 7200.0}
        with pytest.raises(ClockRefused):
            azure.pass_time(seconds=-1e300)


def test_with_nothing_to_do_the_engine_sleeps(at: At) -> None:
    with at("2026-03-01T11:30").running() as timetable:
        engine = timetable.cloud.azure.schedule
        assert engine._pause() is None, "it waits to be woken"
        prepare(timetable.cloud)
        timetable.put("hourly", HOURLY)
        assert engine._pause() == 30.0, "half an hour is left; it looks at the machine's clock now and then"


def test_timetable_is_of_the_test(at: At) -> None:
    """The clock of a test stands still, so that nothing here fires by itself."""
    with at("2026-03-01T11:30").running() as timetable:
        assert isinstance(timetable, Timetable)
        assert timetable.cloud.azure.schedule.clock.now() == utc("2026-03-01T11:30")
