"""Autoscale settings over ARM: profiles, rules and times are checked as Azure checks them, and stored whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.localazure.providers.conftest import Cloud


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
        ({"threshold": "high"}, "threshold"),
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
