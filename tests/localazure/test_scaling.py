"""Autoscale's decisions: which profile holds at an instant, and how many instances its rules ask for."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localazure.scaling import Decision, decide, in_force

Json = dict[str, Any]
LONDON, NEW_YORK = "GMT Standard Time", "Eastern Standard Time"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def rule(
    threshold: float,
    direction: str = "Increase",
    value: int = 1,
    *,
    metric: str = "Cpu",
    kind: str = "ChangeCount",
    cooldown: str = "PT5M",
) -> Json:
    compares = "GreaterThan" if direction == "Increase" else "LessThan"
    return {
        "metricTrigger": {"metricName": metric, "operator": compares, "threshold": threshold},
        "scaleAction": {"direction": direction, "type": kind, "value": str(value), "cooldown": cooldown},
    }


def profile(*rules: Json, name: str = "usual", least: int = 1, most: int = 10, usual: int = 1, **rest: Any) -> Json:
    capacity = {"minimum": str(least), "maximum": str(most), "default": str(usual)}
    return {"name": name, "capacity": capacity, "rules": list(rules), **rest}


def weekly(name: str, hour: int, *days: str, minute: int = 0, zone: str = "UTC") -> Json:
    schedule = {"timeZone": zone, "days": list(days) or list(WEEK), "hours": [hour], "minutes": [minute]}
    return profile(name=name, recurrence={"frequency": "Week", "schedule": schedule})


WEEK = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
WEEKDAYS = WEEK[:5]


def asked(found: Json, present: int, rested: float = math.inf, **seen: float | None) -> Decision | None:
    """What a profile asks for, where each metric has one value."""
    return decide(found, present, lambda trigger: seen[trigger["metricName"]], rested=rested)


def count(found: Json, present: int, rested: float = math.inf, **seen: float | None) -> int:
    decision = asked(found, present, rested, **seen)
    return decision.count if decision else present


# Profiles --------------------------------------------------------------------------------------------------------


def names_at(profiles: list[Json], *moments: str) -> list[str]:
    found = [in_force(profiles, utc(moment)) for moment in moments]
    return [each["name"] if each else "" for each in found]


def test_a_recurring_profile_holds_until_another_begins() -> None:
    profiles = [weekly("day", 8, *WEEKDAYS), weekly("night", 18, *WEEKDAYS)]
    # 2026-06-05 is a Friday.
    moments = ("2026-06-05T07:59", "2026-06-05T08:00", "2026-06-05T17:59", "2026-06-05T18:00", "2026-06-07T12:00")
    assert names_at(profiles, *moments) == ["night", "day", "day", "night", "night"]
    assert names_at(profiles, "2026-06-08T07:59", "2026-06-08T08:00") == ["night", "day"], "over the weekend, too"


def test_one_that_begins_once_a_week_holds_a_week() -> None:
    (only,) = profiles = [weekly("only", 9, "Monday")]
    assert in_force(profiles, utc("2026-06-08T08:59")) is only, "since the Monday before"
    assert in_force([profile(), *profiles], utc("2026-06-08T08:59")) is only, "the usual one never holds beside it"


def test_of_two_that_begin_together_the_first_holds() -> None:
    assert names_at([weekly("first", 8), weekly("second", 8)], "2026-06-05T09:00") == ["first"]


def test_a_fixed_date_comes_before_everything_and_ends() -> None:
    fixed = profile(
        name="sale", fixedDate={"timeZone": NEW_YORK, "start": "2026-11-27T00:00:00Z", "end": "2026-11-28T00:00:00"}
    )
    profiles = [profile(), fixed]
    # In New York midnight is 5:00 UTC, whatever letter stands behind the time.
    moments = ("2026-11-27T04:59", "2026-11-27T05:00", "2026-11-28T04:59", "2026-11-28T05:00")
    assert names_at(profiles, *moments) == ["usual", "sale", "sale", "usual"]
    assert names_at([weekly("daily", 0), fixed], "2026-11-27T05:00", "2026-11-28T05:00") == ["sale", "daily"]


def test_where_no_profile_holds_nothing_is_asked_for() -> None:
    fixed = {"timeZone": "UTC", "start": "0001-01-01T00:00:00", "end": "0001-01-02T00:00:00"}
    far = {"timeZone": NEW_YORK, "start": "0001-01-01T00:00:00", "end": "9999-12-31T23:59:59"}
    assert in_force([profile(fixedDate=fixed)], utc("2026-06-05T09:00")) is None
    assert in_force([profile(fixedDate=far)], utc("2026-06-05T09:00")) is not None


def test_the_timetable_goes_by_the_clock_on_the_wall_when_summer_time_begins_and_ends() -> None:
    """In London the clock goes from 1:00 to 2:00 on 2026-03-29, and from 2:00 back to 1:00 on 2026-10-25."""
    profiles = [weekly("day", 8, zone=LONDON), weekly("night", 20, zone=LONDON)]
    assert names_at(profiles, "2026-03-28T07:59", "2026-03-28T08:00") == ["night", "day"]
    assert names_at(profiles, "2026-03-29T06:59", "2026-03-29T07:00") == ["night", "day"], "8:00 is 7:00 UTC now"
    assert names_at(profiles, "2026-03-29T18:59", "2026-03-29T19:00") == ["day", "night"]
    assert names_at(profiles, "2026-10-24T06:59", "2026-10-24T07:00") == ["night", "day"]
    assert names_at(profiles, "2026-10-25T07:59", "2026-10-25T08:00") == ["night", "day"]


def test_a_time_that_is_skipped_or_comes_twice_begins_once() -> None:
    profiles = [weekly("odd", 1, minute=30, zone=LONDON), weekly("noon", 12, zone=LONDON)]
    skipped = ["2026-03-29T00:59", "2026-03-29T01:29", "2026-03-29T01:30", "2026-03-29T10:59", "2026-03-29T11:00"]
    assert names_at(profiles, *skipped) == ["noon", "noon", "odd", "odd", "noon"], "1:30 is 2:30 that night"
    twice = ["2026-10-25T00:29", "2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T12:00"]
    assert names_at(profiles, *twice) == ["noon", "odd", "odd", "noon"]


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25", "2026-06-05"])
def test_in_a_day_profiles_change_exactly_as_often_as_they_begin(day: str) -> None:
    profiles = [weekly("a", 6, zone=LONDON), weekly("b", 12, zone=LONDON), weekly("c", 22, minute=15, zone=LONDON)]
    minutes = [utc(f"{day}T00:30") + timedelta(minutes=at) for at in range(24 * 60)]
    held = [found["name"] for minute in minutes if (found := in_force(profiles, minute))]
    changes = [one for before, one in pairwise(held) if one != before]
    assert changes == ["a", "b", "c"]


# Rules -----------------------------------------------------------------------------------------------------------

CPU = (rule(70), rule(30, "Decrease"))


def test_a_count_outside_the_bounds_is_brought_into_them_at_once() -> None:
    found = profile(*CPU, least=3, most=6)
    assert [count(found, present, rested=299.0, Cpu=50.0) for present in (1, 3, 6, 8)] == [3, 3, 6, 6]
    assert asked(found, 1, Cpu=50.0) == Decision(3, "profile usual has 3 to 6")


def test_one_rule_is_enough_to_scale_out_and_the_highest_count_wins() -> None:
    found = profile(rule(70, value=1), rule(100, value=5, metric="Latency"), most=20)
    assert count(found, 2, Cpu=80.0, Latency=50.0) == 3
    assert count(found, 2, Cpu=80.0, Latency=500.0) == 7
    assert count(found, 2, Cpu=70.0, Latency=100.0) == 2, "greater than is not equal"
    assert count(found, 18, Cpu=80.0, Latency=500.0) == 20, "never above the maximum"


def test_all_rules_must_agree_to_scale_in_and_the_smallest_step_wins() -> None:
    found = profile(rule(30, "Decrease", 3), rule(50, "Decrease", 50, metric="Latency", kind="PercentChangeCount"))
    assert count(found, 10, Cpu=25.0, Latency=51.0) == 10
    assert count(found, 10, Cpu=25.0, Latency=49.0) == 7, "3 fewer, not half"
    assert count(found, 2, Cpu=1.0, Latency=1.0) == 1, "never below the minimum"


def test_a_rule_that_scales_out_keeps_the_others_from_scaling_in() -> None:
    found = profile(rule(70), rule(100, "Decrease", metric="Latency"), most=3)
    assert count(found, 3, Cpu=80.0, Latency=1.0) == 3


def test_an_action_changes_by_a_count_by_percent_or_to_a_count() -> None:
    def done(kind: str, value: int, present: int, direction: str = "Increase") -> int:
        seen = 100.0 if direction == "Increase" else 0.0
        return count(profile(rule(50, direction, value, kind=kind), most=30), present, Cpu=seen)

    assert [done("ChangeCount", 4, 3), done("PercentChangeCount", 15, 10), done("ExactCount", 9, 3)] == [7, 12, 9]
    assert done("ServiceAllowedNextValue", 5, 3) == 4
    assert done("ExactCount", 2, 3) == 3, "an increase never takes away"
    assert [done("PercentChangeCount", percent, 9, "Decrease") for percent in (50, 10, 100)] == [5, 8, 1]
    assert done("ExactCount", 5, 3, "Decrease") == 3


def test_a_rule_waits_for_its_own_cooldown_after_the_last_change() -> None:
    found = profile(rule(70, cooldown="PT1M"), rule(30, "Decrease", cooldown="PT30M"))
    assert [count(found, 2, rested=rested, Cpu=90.0) for rested in (59.0, 60.0)] == [2, 3]
    assert [count(found, 2, rested=rested, Cpu=1.0) for rested in (60.0, 1799.0, 1800.0)] == [2, 2, 1]


def test_a_rule_that_has_not_waited_is_passed_over_for_one_that_has() -> None:
    found = profile(rule(70, cooldown="PT1H", value=5), rule(60, cooldown="PT1M"))
    assert [count(found, 2, rested=rested, Cpu=90.0) for rested in (60.0, 3600.0)] == [3, 7]


def test_after_a_change_nothing_scales_in_either_direction_until_a_rule_has_cooled() -> None:
    found = profile(*CPU)
    assert asked(found, 2, Cpu=90.0) == Decision(3, "Cpu is 90.0 (GreaterThan 70)")
    assert count(found, 2, rested=299.0, Cpu=90.0) == 2
    assert count(found, 2, rested=299.0, Cpu=1.0) == 2


def test_it_does_not_scale_in_where_it_would_have_to_scale_out_again() -> None:
    found = profile(rule(50), rule(30, "Decrease"))
    assert count(found, 2, Cpu=28.0) == 2, "one instance would have 56 %"
    assert count(found, 2, Cpu=25.0) == 1


def test_it_scales_in_by_less_than_was_asked_for_rather_than_too_far() -> None:
    found = profile(rule(200, value=20), rule(70, metric="Cpu2"), rule(50.1, "Decrease", 10), most=50)
    # As in Azure's documentation: 30 instances at 65 %. 20 of them would have 98 %, 27 still 72 %, and 28 have 69.6 %.
    assert count(found, 30, Cpu=50.0, Cpu2=65.0) == 28


def test_where_a_metric_is_missing_there_are_as_many_as_by_default_and_none_fewer() -> None:
    found = profile(*CPU, usual=3)
    assert count(found, 1, rested=299.0, Cpu=None) == 3
    assert count(found, 5, Cpu=None) == 5
    mixed = profile(*CPU, rule(100, metric="Latency"))
    assert count(mixed, 5, Cpu=1.0, Latency=None) == 5, "what cannot be seen may be busy"
    assert count(mixed, 5, Cpu=90.0, Latency=None) == 6, "what can be seen is busy"


def test_a_profile_without_rules_is_a_count() -> None:
    assert [count(profile(least=2, most=4), present) for present in (1, 2, 3, 4, 5)] == [2, 2, 3, 4, 4]


@given(
    load=st.lists(st.integers(0, 2000), min_size=1, max_size=60),
    high=st.integers(40, 90),
    low=st.integers(1, 39),
    step=st.integers(1, 6),
)
def test_under_a_steady_load_the_count_comes_to_rest(load: list[int], high: int, low: int, step: int) -> None:
    """Whatever came before: with no cooldown at all, a load that stays the same is not answered by going to and fro."""
    found = profile(rule(high, value=step), rule(low, "Decrease", step), most=20)
    present = 1
    for total in load:
        # A processor that is busy all the time does not show what more there is to do.
        present = count(found, present, Cpu=min(100.0, total / present))
    settled = [present]
    for _ in range(60):
        settled.append(count(found, settled[-1], Cpu=load[-1] / settled[-1]))
    assert settled[-1] == settled[-2]
    # A step that was too long is taken back in part; no count is ever come back to.
    taken = [settled[0], *(later for before, later in pairwise(settled) if later != before)]
    assert len(set(taken)) == len(taken), settled
