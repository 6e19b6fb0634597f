"""Autoscale settings over ARM: checked as Azure checks them, stored whole, and carried out as time and load go on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from localazure.settings import Settings
from tests.localazure.providers.conftest import Cloud, FakeServing, booted, until
from tests.localazure.providers.measuring import NOON, Measured


@pytest.fixture
def blue(shared: Cloud) -> Iterator[str]:
    """A deployment to scale, which no setting scales before and after."""
    yield f"{shared.endpoint()}/deployments/blue"
    shared.send("DELETE", setting(shared))


def setting(cloud: Cloud, name: str = "scale") -> str:
    return f"{cloud.group}/providers/Microsoft.Insights/autoscaleSettings/{name}"


def capacity(least: Any = "1", most: Any = "5", usual: Any = "1") -> dict[str, Any]:
    return {"minimum": least, "maximum": most, "default": usual}


def rule(source: str, **change: Any) -> dict[str, Any]:
    trigger = {
        "metricName": "CpuUtilizationPercentage",
        "metricResourceUri": source,
        "timeGrain": "PT1M",
        "statistic": "Average",
        "timeWindow": "PT5M",
        "timeAggregation": "Average",
        "operator": "GreaterThan",
        "threshold": 70.0,
    }
    action = {"direction": "Increase", "type": "ChangeCount", "value": "1", "cooldown": "PT5M"}
    return {
        "metricTrigger": {name: change.get(name, value) for name, value in trigger.items()},
        "scaleAction": {name: change.get(name, value) for name, value in action.items()},
    }


def profile(name: str = "usual", **rest: Any) -> dict[str, Any]:
    return {"name": name, "capacity": capacity(), "rules": [], **rest}


def body(target: str, *profiles: Any, **properties: Any) -> dict[str, Any]:
    own = {"targetResourceUri": target, "profiles": list(profiles) or [profile()], **properties}
    return {"location": "eastus", "properties": own}


def weekly(**change: Any) -> dict[str, Any]:
    schedule = {"timeZone": "UTC", "days": ["Monday", "sunday"], "hours": [8], "minutes": [30], **change}
    return {"frequency": "Week", "schedule": schedule}


def error(cloud: Cloud, method: str, path: str, sent: Any, status: int) -> dict[str, str]:
    answer = cloud.send(method, path, sent)
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


def test_a_setting_is_answered_whole_with_azures_defaults(shared: Cloud, blue: str) -> None:
    fixed = {"start": "2026-12-24T00:00:00Z", "end": "2026-12-27T00:00:00Z"}
    sent = body(
        blue.upper(),
        profile(rules=[rule(blue), rule(shared.endpoint(), metricName="requestlatency", value=None)]),
        profile("holidays", fixedDate=fixed, capacity=capacity(2, 9, 2)),
        profile("mornings", recurrence=weekly()),
        notifications=[{"operation": "scale", "email": {"customEmails": ["a@b.example"]}}],
        enabled=True,
    )
    created = shared.send("PUT", setting(shared), sent)
    assert created.status_code == 201
    own = created.json()["properties"]
    assert (own["name"], own["enabled"], own["targetResourceUri"]) == ("scale", True, blue)
    assert (own["targetResourceLocation"], own["predictiveAutoscalePolicy"]) == ("eastus", None)
    usual, holidays, mornings = own["profiles"]
    assert usual["rules"][0]["metricTrigger"]["dividePerInstance"] is False
    assert usual["rules"][0]["metricTrigger"]["dimensions"] == []
    assert usual["rules"][1]["metricTrigger"]["metricName"] == "RequestLatency"
    assert usual["rules"][1]["scaleAction"]["value"] == "1"
    assert holidays["capacity"] == capacity("2", "9", "2"), "counts are strings"
    assert holidays["fixedDate"] == {"timeZone": "UTC", **fixed}
    assert mornings["recurrence"]["schedule"]["days"] == ["Monday", "Sunday"]
    assert own["notifications"][0]["operation"] == "Scale"
    assert shared.get(setting(shared).replace("autoscaleSettings", "autoscalesettings")) == created.json()


def test_a_setting_is_patched_listed_and_deleted(shared: Cloud, blue: str) -> None:
    shared.put(setting(shared), body(blue))
    assert shared.get(setting(shared))["properties"]["enabled"] is False, "it has to be turned on"
    patched = shared.send("PATCH", setting(shared), {"tags": {"a": "b"}, "properties": {"enabled": True}})
    assert patched.status_code == 200
    assert (patched.json()["tags"], patched.json()["properties"]["enabled"]) == ({"a": "b"}, True)
    lists = f"{shared.group}/providers/Microsoft.Insights/autoscaleSettings"
    everywhere = lists.replace("/resourceGroups/rg", "")
    assert shared.get(lists)["value"] == shared.get(everywhere)["value"] == [patched.json()]
    assert shared.send("DELETE", setting(shared)).status_code == 200
    assert shared.send("DELETE", setting(shared)).status_code == 204
    assert error(shared, "PATCH", setting(shared), {}, 404)["code"] == "ResourceNotFound"


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ((6, 9, 1), "The minimum capacity value '6' that you specified in the autoscale setting is greater than the"),
        ((1, 3, 4), "greater than the maximum capacity of '3'"),
        ((5, 3, 4), "greater than the maximum capacity of '3'"),
    ],
)
def test_the_default_count_lies_between_the_least_and_the_most(
    shared: Cloud, blue: str, bounds: tuple[int, int, int], words: str
) -> None:
    refusal = error(shared, "PUT", setting(shared), body(blue, profile(capacity=capacity(*bounds))), 400)
    assert refusal["code"] == "BadRequest"
    assert words in refusal["message"]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"capacity": None}, "capacity"),
        ({"capacity": {"minimum": "1", "maximum": "2"}}, "capacity.default"),
        ({"capacity": capacity("-1")}, "capacity.minimum"),
        ({"capacity": capacity(1.5)}, "capacity.minimum"),
        ({"capacity": capacity(True)}, "capacity.minimum"),
        ({"name": None}, "name"),
        ({"rules": {}}, "rules"),
        ({"rules": [1]}, "rules[0]"),
        ({"rules": [{}]}, "metricTrigger"),
        ({"fixedDate": {"start": "2026-01-01"}}, "fixedDate.end"),
        ({"fixedDate": {"start": "soon", "end": "2026-01-01"}}, "soon"),
        ({"fixedDate": {"start": "2026-01-02", "end": "2026-01-01T00:00:00Z"}}, "earlier"),
        ({"recurrence": {"frequency": "Day", "schedule": {}}}, "Week"),
        ({"recurrence": {"frequency": "Week"}}, "schedule"),
        ({"recurrence": weekly(days=["Funday"])}, "Funday"),
        ({"recurrence": weekly(days=[1])}, "days"),
        ({"recurrence": weekly(days=[])}, "days"),
        ({"recurrence": weekly(hours=[24])}, "hours"),
        ({"recurrence": weekly(hours=[1, 2])}, "hours"),
        ({"recurrence": weekly(minutes=[None])}, "minutes"),
        ({"recurrence": weekly(minutes=[60])}, "minutes"),
        ({"recurrence": weekly(timeZone=None)}, "timeZone"),
        ({"recurrence": weekly(timeZone="Europe/London")}, "GMT Standard Time"),
        ({"fixedDate": {"timeZone": "Mars", "start": "2026-01-01", "end": "2026-01-02"}}, "Mars"),
        ({"recurrence": weekly(), "fixedDate": {"start": "2026-01-01", "end": "2026-01-02"}}, "both"),
    ],
)
def test_a_profile_that_azure_refuses_is_refused(shared: Cloud, blue: str, change: dict[str, Any], part: str) -> None:
    refusal = error(shared, "PUT", setting(shared), body(blue, profile(**change)), 400)
    assert part in refusal["message"]
    assert shared.send("GET", setting(shared)).status_code == 404


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"metricName": None}, "metricName"),
        ({"metricName": "Luck"}, "'Luck'"),
        ({"metricName": "RequestLatency"}, "'RequestLatency'"),
        ({"statistic": "Median"}, "statistic"),
        ({"timeAggregation": "Median"}, "timeAggregation"),
        ({"operator": "Near"}, "operator"),
        ({"operator": None}, "operator"),
        ({"threshold": "high"}, "metricTrigger.threshold' must be a number"),
        ({"threshold": None}, "metricTrigger.threshold' must be a number"),
        ({"threshold": True}, "metricTrigger.threshold' must be a number"),
        ({"threshold": -(10**400)}, "it must lie between -1e+300 and 1e+300"),
        ({"timeGrain": "PT1S"}, "timeGrain"),
        ({"timeWindow": "PT4M"}, "timeWindow"),
        ({"timeWindow": "PT13H"}, "timeWindow"),
        ({"timeWindow": "a while"}, "timeWindow"),
        ({"timeGrain": "PT1H"}, "timeWindow"),
        ({"direction": "Sideways"}, "direction"),
        ({"type": "Jump"}, "type"),
        ({"value": "lots"}, "value"),
        ({"cooldown": "PT30S"}, "cooldown"),
        ({"cooldown": "P8D"}, "cooldown"),
        ({"cooldown": None}, "cooldown"),
    ],
)
def test_a_rule_that_azure_refuses_is_refused(shared: Cloud, blue: str, change: dict[str, Any], part: str) -> None:
    refusal = error(shared, "PUT", setting(shared), body(blue, profile(rules=[rule(blue, **change)])), 400)
    assert part in refusal["message"]


def test_a_rule_measures_what_is_there(shared: Cloud, blue: str) -> None:
    sent = body(blue, profile(rules=[rule(f"{blue}x")]))
    assert "metricResourceUri" in error(shared, "PUT", setting(shared), sent, 404)["message"]
    dimension = {"DimensionName": "instanceId", "Operator": "Like", "Values": ["1"]}
    other = rule(blue)
    other["metricTrigger"]["dimensions"] = [dimension]
    assert (
        "dimensions[0].Operator"
        in error(shared, "PUT", setting(shared), body(blue, profile(rules=[other])), 400)["message"]
    )
    dimension["Operator"] = "equals"
    kept = shared.put(setting(shared), body(blue, profile(rules=[other])))["properties"]["profiles"][0]["rules"][0]
    assert kept["metricTrigger"]["dimensions"] == [{**dimension, "Operator": "Equals"}]


def test_profiles_and_rules_are_few_and_differ(shared: Cloud, blue: str) -> None:
    path = setting(shared)
    assert (
        "1 to 20"
        in error(shared, "PUT", path, {"location": "eastus", "properties": {"targetResourceUri": blue}}, 400)["message"]
    )
    many = [profile(f"p{at}", recurrence=weekly()) for at in range(21)]
    assert "1 to 20" in error(shared, "PUT", path, body(blue, *many), 400)["message"]
    twins = [profile(), profile("USUAL", recurrence=weekly())]
    assert "unique" in error(shared, "PUT", path, body(blue, *twins), 400)["message"]
    assert "only one" in error(shared, "PUT", path, body(blue, profile("a"), profile("b")), 400)["message"]
    rules = [rule(blue)] * 11
    assert "11 rules" in error(shared, "PUT", path, body(blue, profile(rules=rules)), 400)["message"]


@pytest.mark.parametrize(
    ("properties", "part"),
    [
        ({"enabled": "yes"}, "enabled"),
        ({"notifications": {}}, "notifications"),
        ({"notifications": [{}]}, "operation"),
        ({"notifications": [{"operation": "Sing"}]}, "Sing"),
        ({"notifications": [{"operation": "Scale", "webhooks": [{}]}]}, "serviceUri"),
        ({"predictiveAutoscalePolicy": {"scaleMode": "Guess"}}, "scaleMode"),
        ({"predictiveAutoscalePolicy": {"scaleMode": "Enabled", "scaleLookAheadTime": "PT2H"}}, "scaleLookAheadTime"),
    ],
)
def test_a_setting_that_azure_refuses_is_refused(shared: Cloud, blue: str, properties: Any, part: str) -> None:
    assert part in error(shared, "PUT", setting(shared), body(blue, **properties), 400)["message"]
    assert error(shared, "PUT", setting(shared, "ends."), body(blue), 400)["code"] == "ValidationError"
    assert error(shared, "PUT", setting(shared), {"properties": {}}, 400)["code"] == "LocationRequired"


def test_a_setting_scales_one_deployment_that_is_there(shared: Cloud, blue: str) -> None:
    unsaid = {"location": "eastus", "properties": {"profiles": [profile()]}}
    assert error(shared, "PUT", setting(shared), unsaid, 400)["code"] == "UnsupportedRequestContent"
    assert error(shared, "PUT", setting(shared), body(f"{blue}x"), 404)["code"] == "ResourceNotFound"
    assert (
        "onlineEndpoints/deployments" in error(shared, "PUT", setting(shared), body(shared.endpoint()), 400)["message"]
    )
    shared.put(setting(shared), body(blue))
    second = error(shared, "PUT", setting(shared, "second"), body(blue), 409)
    assert second["code"] == "Conflict"
    assert "'scale'" in second["message"]


# What settings do ------------------------------------------------------------------------------------------------


def state(measured: Measured) -> tuple[int, str]:
    """The capacity of blue and its state, as ARM shows them."""
    blue = measured.cloud.get(target(measured))
    return blue["sku"]["capacity"], blue["properties"]["provisioningState"]


def target(measured: Measured) -> str:
    return f"{measured.cloud.endpoint()}/deployments/blue"


def scale_by(measured: Measured, *profiles: Any, **properties: Any) -> None:
    """Blue is scaled by these profiles from now on."""
    sent = body(target(measured), *profiles, enabled=True, **properties)
    measured.cloud.put(setting(measured.cloud), sent)


def look(measured: Measured) -> int:
    """Autoscale looks once; the capacity after what that began."""
    measured.cloud.azure.autoscaler.step()
    until(lambda: state(measured)[1] in ("Succeeded", "Failed"), "it was scaled")
    return state(measured)[0]


def per_instance(measured: Measured, above: float, below: float, **change: Any) -> list[Any]:
    """Rules on the requests per minute of each instance of blue, as the endpoint counts them."""
    own = [{"DimensionName": "deployment", "Operator": "Equals", "Values": ["blue"]}]
    rules = []
    for operator, threshold, direction in (
        ("GreaterThan", above, "Increase"),
        ("LessThan", below, "Decrease"),
    ):
        said = {"metricName": "RequestsPerMinute", "operator": operator, "threshold": threshold, "direction": direction}
        made = rule(measured.cloud.endpoint(), **{**said, **change})
        made["metricTrigger"] |= {"dimensions": own, "dividePerInstance": True}
        rules.append(made)
    return rules


def minutes_of(measured: Measured, requests: int, count: int) -> list[int]:
    """So many minutes under a load; the capacity at the end of each."""
    seen = []
    for _ in range(count):
        measured.answer("blue", requests)
        measured.minutes()
        seen.append(look(measured))
    return seen


def test_load_makes_three_instances_of_one_and_its_end_makes_one_of_them_again(measured: Measured) -> None:
    scale_by(measured, profile(capacity=capacity(1, 3, 1), rules=per_instance(measured, 60, 20)))
    # 150 a minute are 150 for one instance, 75 for each of two, 50 for each of three; 5 minutes to cool in between.
    assert minutes_of(measured, 150, 12) == [2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3]
    # The window is 5 minutes long: after four idle ones it has 30 a minute on average, 10 for each.
    assert minutes_of(measured, 0, 14) == [3, 3, 3, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1]
    assert measured.cloud.serving.deployed["online/blue"].instances == 1
    capacities = [each.instances for each in measured.cloud.serving.history if each.name == "blue"]
    assert capacities == [1, 2, 3, 2, 1], "each change is one deployment of what runs"


def test_other_deployments_load_is_none_of_ones_own(measured: Measured) -> None:
    scale_by(measured, profile(rules=per_instance(measured, 60, 20)))
    measured.answer("green", 1000)
    measured.minutes()
    assert look(measured) == 1


def test_it_scales_by_the_processors_of_the_deployment(measured: Measured) -> None:
    scale_by(
        measured,
        profile(
            rules=[
                rule(target(measured)),
                rule(target(measured), operator="LessThan", threshold=30, direction="Decrease"),
            ]
        ),
    )
    for _ in range(6):
        measured.sample()
        measured.work(1, cores=10)
        measured.now += timedelta(minutes=1)
    assert look(measured) == 2


def test_it_scales_by_latency(measured: Measured) -> None:
    slow = rule(measured.cloud.endpoint(), metricName="RequestLatency", threshold=500, value="2")
    scale_by(measured, profile(rules=[slow]))
    measured.answer("blue", 10, took=499)
    measured.minutes()
    assert look(measured) == 1
    measured.answer("blue", 10, took=5000)
    measured.minutes()
    assert look(measured) == 3


def test_a_window_is_of_minutes_that_are_over(measured: Measured) -> None:
    scale_by(measured, profile(rules=per_instance(measured, 60, 20)))
    measured.answer("blue", 1000)
    measured.sample()
    assert look(measured) == 1, "this minute's requests are not all there yet"
    measured.now += timedelta(minutes=1)
    assert look(measured) == 2


@pytest.mark.parametrize(
    ("statistic", "aggregation", "threshold"),
    [
        ("Average", "Maximum", 119),
        ("Average", "Minimum", 9),
        ("Average", "Last", 9),
        ("Sum", "Total", 189),
        ("Max", "Average", 62),
        ("Min", "Average", 62),
        ("Count", "Count", 2),
    ],
)
def test_samples_are_put_together_as_the_rule_says(
    measured: Measured, statistic: str, aggregation: str, threshold: float
) -> None:
    asked = {"statistic": statistic, "timeAggregation": aggregation, "value": "1"}
    rules = [
        rule(measured.cloud.endpoint(), metricName="RequestsPerMinute", threshold=limit, **asked, cooldown="PT1M")
        for limit in (threshold, threshold + 2)
    ]
    for requests in (60, 120, 10):
        measured.answer("blue", requests)
        measured.minutes()
    scale_by(measured, profile(rules=rules[1:]))
    assert look(measured) == 1
    scale_by(measured, profile(rules=rules[:1]))
    assert look(measured) == 2


def test_a_scaling_is_an_operation_that_arm_shows_and_nothing_scales_while_one_is_under_way(measured: Measured) -> None:
    serving = measured.cloud.serving
    serving.gate.clear()
    scale_by(measured, profile(capacity=capacity(3, 5, 3)))
    measured.cloud.azure.autoscaler.step()
    until(lambda: state(measured) == (1, "Scaling"), "it is being scaled")
    scale_by(measured, profile(capacity=capacity(5, 5, 5)))
    measured.cloud.azure.autoscaler.step()
    refusal = measured.cloud.send("PATCH", target(measured), {"sku": {"capacity": 2}})
    assert refusal.status_code == 409, "one write at a time, whoever makes it"
    serving.gate.set()
    until(lambda: state(measured) == (3, "Succeeded"), "it has been scaled")
    assert look(measured) == 5


def test_a_count_that_somebody_set_outside_the_bounds_is_brought_back(measured: Measured) -> None:
    scale_by(measured, profile(capacity=capacity(2, 3, 2)))
    assert look(measured) == 2
    for count, back in ((4, 3), (3, 3), (1, 2)):
        measured.cloud.wait(measured.cloud.send("PATCH", target(measured), {"sku": {"capacity": count}}))
        assert look(measured) == back


def test_a_setting_that_is_off_or_gone_scales_nothing(measured: Measured) -> None:
    scale_by(measured, profile(capacity=capacity(2, 3, 2)))
    measured.cloud.send("PATCH", setting(measured.cloud), {"properties": {"enabled": False}})
    assert look(measured) == 1
    measured.cloud.send("DELETE", setting(measured.cloud))
    assert look(measured) == 1


def test_without_measurements_there_are_as_many_as_by_default(measured: Measured) -> None:
    slow = rule(measured.cloud.endpoint(), metricName="RequestLatency", threshold=500)
    scale_by(measured, profile(capacity=capacity(1, 5, 2), rules=[slow]))
    assert look(measured) == 2, "nobody has asked anything yet"
    nowhere = rule(target(measured), metricName="GpuUtilizationPercentage")
    scale_by(measured, profile(capacity=capacity(1, 5, 4), rules=[nowhere]))
    assert look(measured) == 4


def test_a_timetable_is_kept_through_a_day_in_which_summer_time_begins(measured: Measured) -> None:
    measured.now = datetime(2026, 3, 28, 23, tzinfo=UTC)
    london = "GMT Standard Time"
    times = {"night": (20, 1), "day": (8, 3), "lunch": (12, 4)}
    profiles = [
        profile(
            name,
            capacity=capacity(count, count, count),
            recurrence=weekly(timeZone=london, days=list(_DAYS), hours=[hour], minutes=[0]),
        )
        for name, (hour, count) in times.items()
    ]
    scale_by(measured, *profiles)
    seen = {}
    for _ in range(24 * 4):
        count = look(measured)
        if count not in seen.values() or list(seen.values())[-1] != count:
            seen[f"{measured.now:%H:%M}"] = count
        measured.now += timedelta(minutes=15)
    assert seen == {"23:00": 1, "07:00": 3, "11:00": 4, "19:00": 1}, "8:00 in London is 7:00 UTC since 1:00 that night"


_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def test_what_cannot_be_scaled_is_not_tried_at_every_turn(measured: Measured) -> None:
    measured.cloud.serving.broken.add("blue")
    scale_by(measured, profile(capacity=capacity(2, 3, 2)))
    for _ in range(3):
        assert look(measured) == 1
    assert state(measured) == (1, "Failed")
    assert measured.cloud.serving.asked.count("blue") == 2, "at its creation, and once by autoscale"
    measured.cloud.serving.broken.clear()
    measured.now += timedelta(minutes=1)
    assert look(measured) == 2


def test_what_azure_ml_refuses_is_left_for_a_minute(measured: Measured, caplog: pytest.LogCaptureFixture) -> None:
    scale_by(measured, profile(capacity=capacity(60, 99, 60)))
    for _ in range(3):
        assert look(measured) == 1
    (said,) = [each for each in caplog.messages if "is not scaled" in each]
    assert "between 1 and 50" in said, "no deployment has more instances"
    measured.now += timedelta(minutes=1)
    look(measured)
    assert len([each for each in caplog.messages if "is not scaled" in each]) == 2


def test_what_was_scaled_last_cools_through_a_restart_and_an_edit(tmp_path: Path, files: None) -> None:
    settings = Settings(autoscale_seconds=86_400)
    clock = [NOON]

    def rest(measured: Measured) -> list[Any]:
        return [profile(rules=per_instance(measured, 60, 20, cooldown="PT30M"))]

    with booted(tmp_path / "home", FakeServing(), settings, lambda: clock[0]) as cloud:
        cloud.prepare()
        cloud.put(cloud.endpoint(), cloud.endpoint_body())
        measured = Measured(cloud, clock[0])
        cloud.put(target(measured), cloud.deployment_body())
        scale_by(measured, *rest(measured))
        measured.answer("blue", 1000)
        measured.sample()
        clock[0] += timedelta(minutes=1)
        assert look(measured) == 2
    with booted(tmp_path / "home", FakeServing(), settings, lambda: clock[0]) as cloud:
        until(lambda: "online/blue" in cloud.serving.deployed, "it came back")
        measured = Measured(cloud, clock[0])
        scale_by(measured, *rest(measured), notifications=[])
        assert look(measured) == 2, "what was measured before says that it is busy, and it waits"
        clock[0] += timedelta(minutes=2)
        scale_by(measured, profile(capacity=capacity(3, 3, 3)))
        assert look(measured) == 3, "bounds do not wait"


def test_a_deployment_that_is_gone_or_was_never_created_is_left_alone(measured: Measured) -> None:
    scale_by(measured, profile(capacity=capacity(2, 3, 2)))
    measured.cloud.wait(measured.cloud.send("DELETE", target(measured)))
    measured.cloud.azure.autoscaler.step()
    measured.cloud.serving.broken.add("blue")
    measured.cloud.put(target(measured), measured.cloud.deployment_body())
    measured.cloud.azure.autoscaler.step()
    assert state(measured) == (1, "Failed")
    assert measured.cloud.azure.autoscaler.step() is None


def test_settings_are_looked_at_by_themselves(tmp_path: Path, files: None) -> None:
    with booted(tmp_path / "home", FakeServing(), Settings(autoscale_seconds=0.05)) as cloud:
        cloud.prepare()
        cloud.put(cloud.endpoint(), cloud.endpoint_body())
        measured = Measured(cloud)
        cloud.put(target(measured), cloud.deployment_body())
        scale_by(measured, profile(capacity=capacity(2, 2, 2)))
        until(lambda: state(measured) == (2, "Succeeded"), "it was scaled")
