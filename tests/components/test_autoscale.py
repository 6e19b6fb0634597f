"""Layer: components under Pulumi's mocks; what autoscale is registered with, and that the count is then its own."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.autoscale import after, iso_duration
from settings import parse
from settings.scale import AutoscaleSettings
from tests.components.test_program import raw, whole

WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
OFFICE = {"name": "office", "days": [day.lower() for day in WEEKDAYS], "from": "08:00", "until": "18:30"}
CPU = {"metric": "cpu", "above": 70, "below": 30}


def scaled(run: Any, autoscale: dict[str, Any], **deployment: Any) -> Any:
    """The sample stack with autoscale on `blue`."""

    def change(values: dict[str, Any]) -> None:
        blue = values["onlineEndpoints"]["tumor-online"]["deployments"]["blue"]
        blue |= {"autoscale": autoscale, **deployment}

    return run(lambda: whole(parse(raw(change))) and None)


def setting(world: Any) -> dict[str, Any]:
    (registered,) = world.of_type(":AutoscaleSetting")
    return registered.inputs


def blue_of(world: Any) -> Any:
    return next(each for each in world.of_type(":OnlineDeployment") if "blue" in each.name)


def test_the_count_belongs_to_autoscale_and_a_new_revision_starts_with_what_the_live_one_has(
    run: Any, project: Path
) -> None:
    world = scaled(run, {"minInstances": 2, "maxInstances": 5, "rules": [CPU]}, startupProbe={"period": 5})
    blue = blue_of(world)
    assert "sku.capacity" in blue.ignored
    start = world[f"{blue.name}-capacity"].inputs
    assert {key: start[key] for key in ("deployment", "instanceCount", "least", "most")} == {
        "deployment": "blue",
        "instanceCount": 2.0,
        "least": 2.0,
        "most": 5.0,
    }
    assert start["revision"] == blue.inputs["deploymentName"]
    bounds = {"deployment": "blue", "least": 2.0, "most": 5.0}
    split = world["tumor-online-traffic"].inputs
    assert split["autoscaled"] == {blue.inputs["deploymentName"]: bounds}, "and is grown when it takes over later"
    assert f"{blue.name}-capacity" in blue.dependencies, "it is asked before the revision is made"
    others = [each for each in world.of_type(":OnlineDeployment") if each is not blue]
    assert not any("sku.capacity" in each.ignored for each in others)


def test_a_count_in_the_configuration_is_what_the_first_revision_starts_with(run: Any, project: Path) -> None:
    world = scaled(run, {"minInstances": 2, "maxInstances": 5, "rules": [CPU]}, instanceCount=4)
    assert world[f"{blue_of(world).name}-capacity"].inputs["instanceCount"] == 4


def test_the_setting_goes_before_its_deployment_and_nothing_waits_for_it(run: Any, project: Path) -> None:
    world = scaled(run, {"maxInstances": 5, "rules": [CPU]})
    (registered,) = world.of_type(":AutoscaleSetting")
    blue = blue_of(world)
    assert {blue.name, f"{blue.name}-removal"} <= registered.dependencies, "deleted before both of them"
    assert "tumor-online-traffic" in registered.dependencies, "an idle revision would be made small before its traffic"
    assert registered.deleted_with == "", "Azure does not delete it with the endpoint"
    assert not [each.name for each in world.registered if registered.name in each.dependencies]
    assert registered.inputs["autoscaleSettingName"] == f"tumor-online-{blue.inputs['deploymentName']}"
    assert registered.inputs["enabled"] is True


def test_each_rule_reads_the_metric_that_azure_has_and_shrinks_as_it_grew(run: Any, project: Path) -> None:
    rules = [
        CPU,
        {"metric": "latency", "above": 200, "over": 600, "by": 2, "cooldown": 90},
        {"metric": "requests_per_minute", "above": 600, "below": 200},
    ]
    world = scaled(run, {"maxInstances": 5, "rules": rules})
    (profile,) = setting(world)["profiles"]
    assert profile["capacity"] == {"minimum": "1", "maximum": "5", "default": "1"}
    assert "recurrence" not in profile
    busy, idle, slow, many, few = profile["rules"]
    deployment = setting(world)["targetResourceUri"]
    name = blue_of(world).inputs["deploymentName"]
    assert deployment.endswith(f"/{name}")
    for half, operator, threshold, direction in (
        (busy, "GreaterThan", 70, "Increase"),
        (idle, "LessThan", 30, "Decrease"),
    ):
        trigger = half["metricTrigger"]
        assert (trigger["metricName"], trigger["metricResourceUri"]) == ("CpuUtilizationPercentage", deployment)
        assert (trigger["operator"], trigger["threshold"]) == (operator, threshold)
        assert (trigger["timeGrain"], trigger["timeWindow"]) == ("PT1M", "PT5M")
        assert half["scaleAction"] == {
            "direction": direction,
            "type": "ChangeCount",
            "value": "1",
            "cooldown": "PT5M",
        }
    assert slow["scaleAction"]["value"] == "2"
    assert (slow["scaleAction"]["cooldown"], slow["metricTrigger"]["timeWindow"]) == ("PT1M30S", "PT10M")
    for half, metric in ((slow, "RequestLatency"), (many, "RequestsPerMinute"), (few, "RequestsPerMinute")):
        trigger = half["metricTrigger"]
        assert trigger["metricName"] == metric
        assert trigger["metricResourceUri"] == world_endpoint(deployment)
        own = {"dimensionName": "deployment", "operator": "Equals", "values": [name]}
        assert trigger["dimensions"] == [own], "the endpoint's metrics are those of all its deployments"
    assert (many["metricTrigger"]["dividePerInstance"], slow["metricTrigger"]["dividePerInstance"]) == (True, False)


def world_endpoint(deployment_id: str) -> str:
    """The endpoint's id, as the mocks name it beside a deployment's."""
    return deployment_id.rpartition("/")[0] + "/tumor-online"


def test_an_entry_of_the_timetable_begins_and_ends_by_windows_clock(run: Any, project: Path) -> None:
    night = {"name": "night", "from": "22:00", "until": "02:00", "maxInstances": 2}
    timetable = [{**OFFICE, "minInstances": 3}, night]
    world = scaled(run, {"maxInstances": 5, "timeZone": "Europe/London", "timetable": timetable})
    found = {profile["name"]: profile for profile in setting(world)["profiles"]}
    assert list(found) == ["office", "night", *map(end_of, ("office", "night"))]
    weekly = {name: profile["recurrence"]["schedule"] for name, profile in found.items()}
    assert {schedule["timeZone"] for schedule in weekly.values()} == {"GMT Standard Time"}
    assert (weekly["office"]["days"], weekly["office"]["hours"], weekly["office"]["minutes"]) == (WEEKDAYS, [8], [0])
    ends = weekly[end_of("office")]
    assert (ends["days"], ends["hours"], ends["minutes"]) == (WEEKDAYS, [18], [30])
    assert weekly[end_of("night")]["hours"] == [2]
    assert found["office"]["capacity"] == {"minimum": "3", "maximum": "5", "default": "3"}
    assert found["night"]["capacity"]["maximum"] == "2"
    assert found[end_of("office")]["capacity"] == {"minimum": "1", "maximum": "5", "default": "1"}


def end_of(name: str) -> str:
    return json.dumps({"name": "default", "for": name}, separators=(",", ":"))


def test_where_one_entry_ends_and_another_begins_no_third_profile_begins() -> None:
    lunch = {"name": "lunch", "days": ["monday"], "from": "18:30", "until": "20:00", "minInstances": 2}
    scale = AutoscaleSettings.model_validate({"maxInstances": 5, "timetable": [{**OFFICE, "minInstances": 3}, lunch]})
    day = 24 * 60
    ends = after(scale.timetable[0], scale.timetable)
    assert ends == [at * day + 18 * 60 + 30 for at in range(1, 5)], "on Monday the evening's profile begins instead"
    assert after(scale.timetable[1], scale.timetable) == [20 * 60]


def test_an_entry_over_sunday_night_ends_on_monday() -> None:
    weekend = {"name": "weekend", "days": ["sunday"], "from": "20:00", "until": "06:00", "maxInstances": 1}
    scale = AutoscaleSettings.model_validate({"maxInstances": 5, "timetable": [weekend]})
    assert after(scale.timetable[0], scale.timetable) == [6 * 60]


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(60, "PT1M"), (90, "PT1M30S"), (3600, "PT1H"), (5400, "PT1H30M"), (86_400, "P1D"), (604_800, "P7D")],
)
def test_durations_are_written_as_azure_answers_them(seconds: int, written: str) -> None:
    assert iso_duration(seconds) == written
