"""Schedules as the control plane checks and keeps them, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from localazure.arm.operations import OperationFailed
from localazure.providers.ml.time_zones import IANA, wall_clock
from localazure.providers.ml.triggers import started
from tests.localazure.providers.conftest import Cloud, FakeServing, booted

JOB = {"jobType": "Pipeline", "jobs": {"a": {"type": "command"}}, "tags": {"empty": None}}
CREATE = {"actionType": "CreateJob", "jobDefinition": JOB}
INVOKE = {"actionType": "InvokeBatchEndpoint", "endpointInvocationDefinition": {"inputData": {"a": {"uri": "u"}}}}
MONITOR = {"actionType": "CreateMonitor", "monitorDefinition": {"computeConfiguration": {"a": 1}, "signals": {"s": {}}}}
CRON = {"triggerType": "cron", "expression": "15 10 * * 1"}
WEEKLY = {
    "triggerType": "Recurrence",
    "frequency": "week",
    "interval": 1,
    "schedule": {"hours": [2], "minutes": [0, 30], "weekDays": ["monday"]},
    "timeZone": "gmt standard time",
    "startTime": "2022-05-10T10:15:00",
}
EVERY = {"triggerType": "Recurrence", "frequency": "Day", "interval": 2, "schedule": {"hours": [], "minutes": []}}
COMMAND = {"jobType": "Command", "command": "ls", "environmentId": "azureml:AzureML-x:1"}
KINDS: dict[str, dict[str, Any]] = {
    "cron": {"trigger": CRON, "action": CREATE},
    "recurrence": {"trigger": WEEKLY, "action": CREATE, "displayName": "weekly", "isEnabled": False},
    "command": {"trigger": EVERY, "action": {"actionType": "CreateJob", "jobDefinition": COMMAND}},
    "batch endpoint": {"trigger": EVERY, "action": INVOKE, "tags": {"a": "b"}},
    "monitor": {"trigger": {**EVERY, "schedule": None}, "action": MONITOR},
}


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One cloud for the tests that use names of their own, or leave nothing behind."""
    with booted(tmp_path_factory.mktemp("schedules") / "home", FakeServing()) as made:
        made.prepare()
        yield made


def path(cloud: Cloud, name: str) -> str:
    return f"{cloud.workspace}/schedules/{name}"


def send(cloud: Cloud, name: str, **properties: Any) -> httpx.Response:
    return cloud.send("PUT", path(cloud, name), {"properties": properties})


def make(cloud: Cloud, name: str, **properties: Any) -> dict[str, Any]:
    answer = send(cloud, name, **{"trigger": CRON, "action": CREATE, **properties})
    assert answer.status_code == 201, answer.text
    cloud.wait(answer)
    return cloud.get(path(cloud, name))["properties"]


# Shapes --------------------------------------------------------------------------------------------------------------


def test_a_schedule_is_answered_as_recorded(standing: Cloud) -> None:
    answer = send(standing, "shaped", trigger=CRON, action=CREATE)
    assert answer.status_code == 201
    assert set(answer.json()) == {"properties"}, "nothing but the properties"
    own = answer.json()["properties"]
    assert (own["provisioningState"], own["isEnabled"]) == ("Creating", True)
    assert own["trigger"] == {
        "endTime": None,
        "startTime": None,
        "timeZone": "UTC",
        "triggerType": "Cron",
        "expression": "15 10 * * 1",
    }
    location = answer.headers["location"].partition("?")[0]
    assert location == f"https://management.azure.com{path(standing, 'shaped')}"
    assert answer.headers["x-ms-async-operation-timeout"] == "PT30M"
    last = standing.wait(answer)
    assert set(last) == {"id", "name", "status", "startTime", "endTime"}
    assert "/mfeOperationResults/s:" in last["id"], "recorded: the id is not that of the status"
    found = standing.get(path(standing, "shaped"))
    assert set(found) == {"name", "properties", "systemData"}, "without id and type"
    assert found["properties"]["provisioningState"] == "Succeeded"
    assert len(found["systemData"]) == 6


def test_a_schedule_without_a_start_begins_at_the_next_whole_minute_of_its_clock(standing: Cloud) -> None:
    for zone in ("UTC", "Tokyo Standard Time"):
        before = wall_clock(zone)
        start = make(standing, "begun" + zone[0], trigger={**CRON, "timeZone": zone})["trigger"]["startTime"]
        begins = datetime.strptime(start, "%Y-%m-%d %H:%M:%S")
        assert before < begins <= wall_clock(zone) + timedelta(minutes=1)
        assert begins.second == 0
    given = {"startTime": "2022-03-10 10:15:00", "timeZone": "UTC"}
    assert started(given) is given


def test_the_definition_of_a_job_is_padded_as_recorded(standing: Cloud) -> None:
    command = {"jobType": "Command", "command": "pip freeze", "environmentId": "azureml:AzureML-x:1"}
    own = make(standing, "padded", action={"actionType": "CreateJob", "jobDefinition": command})
    job = own["action"]["jobDefinition"]
    assert job["status"] == "NotStarted"
    nulls = ("description", "computeId", "componentId", "codeId", "distribution", "limits", "parameters", "identity")
    assert {name: job[name] for name in nulls} == dict.fromkeys(nulls)
    assert job["resources"] == {
        "instanceCount": 1,
        "instanceType": None,
        "properties": None,
        "shmSize": "2g",
        "dockerArgs": None,
    }
    assert job["outputs"] == {}, "what a job that runs has more, its definition has not"


def test_a_recurrence_is_kept_in_canonical_case(standing: Cloud) -> None:
    assert make(standing, "canonical", trigger=WEEKLY)["trigger"] == {
        "endTime": None,
        "startTime": "2022-05-10T10:15:00",
        "timeZone": "GMT Standard Time",
        "triggerType": "Recurrence",
        "frequency": "Week",
        "interval": 1,
        "schedule": {"hours": [2], "minutes": [0, 30], "weekDays": ["Monday"], "monthDays": None},
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_put_of_what_get_returned_changes_nothing(standing: Cloud, kind: str) -> None:
    name = kind.replace(" ", "-")
    make(standing, name, **KINDS[kind])
    standing.unchanged(path(standing, name))


# Life ----------------------------------------------------------------------------------------------------------------


def test_a_schedule_is_switched_off_and_on_and_listed_accordingly(cloud: Cloud) -> None:
    def listed(query: str = "") -> list[str]:
        return [
            each["name"] for each in cloud.get(f"{cloud.workspace}/schedules?api-version=2025-12-01{query}")["value"]
        ]

    make(cloud, "first")
    make(cloud, "second")
    assert listed() == ["second", "first"], "newest first"
    assert make(cloud, "first", isEnabled=False)["isEnabled"] is False
    assert listed() == listed("&listViewType=EnabledOnly") == ["second"]
    assert listed("&listViewType=DisabledOnly") == ["first"]
    assert listed("&listViewType=all") == ["second", "first"]
    assert listed("&listViewType=All&$skip=1") == ["first"]
    make(cloud, "first", isEnabled=True)
    assert listed() == ["second", "first"]
    wrong = cloud.send("GET", f"{cloud.workspace}/schedules?api-version=2025-12-01&listViewType=Some")
    assert "DisabledOnly" in cloud.refusal(wrong, 400)


def test_a_deleted_schedule_is_gone(standing: Cloud) -> None:
    make(standing, "gone")
    answer = standing.send("DELETE", path(standing, "gone"))
    assert (answer.status_code, answer.text) == (202, "null")
    assert "/mfeOperationResults/s:" in answer.headers["location"]
    assert standing.wait(answer)["status"] == "Succeeded"
    assert standing.send("GET", answer.headers["location"]).status_code == 200
    error = json.loads(standing.refusal(standing.send("GET", path(standing, "gone")), 404))["error"]
    assert (error["code"], error["message"], error["details"]) == ("UserError", "Resource Trigger gone not found", [])
    assert standing.send("DELETE", path(standing, "gone")).status_code == 204


def test_an_action_may_change_and_its_kind_may_not(standing: Cloud) -> None:
    make(standing, "changed", displayName="a")
    other = {**CREATE, "jobDefinition": {**JOB, "experimentName": "other"}}
    own = make(standing, "changed", displayName="a", action=other, trigger=EVERY)
    assert own["action"]["jobDefinition"]["experimentName"] == "other"
    refused = send(standing, "changed", displayName="a", trigger=CRON, action=INVOKE)
    assert "'properties.action.actionType'" in standing.refusal(refused, 400)
    refused = send(standing, "changed", displayName="b", trigger=CRON, action=CREATE)
    assert "'properties.displayName'" in standing.refusal(refused, 400)


def test_a_schedule_is_not_changed_while_it_is_being_made(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    operations = cloud.azure._cloud.operations
    monkeypatch.setattr(operations, "_submit", lambda *arguments: None)
    first = send(cloud, "busy", trigger=CRON, action=CREATE)
    poll = cloud.send("GET", first.headers["azure-asyncoperation"])
    assert poll.json()["status"] == "Creating"
    assert poll.headers["retry-after-ms"]
    for method, body in (("PUT", {"properties": {"trigger": CRON, "action": CREATE}}), ("DELETE", None)):
        assert "Creating provisioning state" in cloud.refusal(cloud.send(method, path(cloud, "busy"), body), 409)


def test_a_deletion_can_be_followed_by_its_location(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    make(cloud, "slow")
    operations = cloud.azure._cloud.operations
    submit = operations._submit
    held: list[Any] = []
    monkeypatch.setattr(operations, "_submit", lambda *arguments: held.append(arguments))
    answer = cloud.send("DELETE", path(cloud, "slow"))
    status, result = (cloud.send("GET", answer.headers[name]) for name in ("azure-asyncoperation", "location"))
    assert status.json()["status"] == "Deleting"
    assert (result.status_code, result.headers["location"]) == (202, answer.headers["location"])
    monkeypatch.undo()
    for arguments in held:
        submit(*arguments)
    cloud.wait(answer)


def test_an_operation_that_failed_says_why(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(operation: object) -> None:
        raise OperationFailed("InternalServerError", "no luck")

    kinds = cloud.azure._cloud.operations._kinds
    monkeypatch.setitem(
        kinds, "schedule.put", type(kinds["schedule.put"])(fails, lambda *a: None, kinds["schedule.put"].failed)
    )
    answer = send(cloud, "failed", trigger=CRON, action=CREATE)
    last = cloud.wait(answer)
    assert (last["status"], last["error"]["message"]) == ("Failed", "no luck")
    assert cloud.get(path(cloud, "failed"))["properties"]["provisioningState"] == "Failed"
    result = answer.headers["azure-asyncoperation"].replace("OperationsStatus", "OperationResults")
    assert "no luck" in cloud.refusal(cloud.send("GET", result), 400)


def test_an_unknown_operation_is_not_found(standing: Cloud) -> None:
    base = f"/subscriptions/{standing.subscription}/providers/Microsoft.MachineLearningServices/locations/eastus"
    for kind in ("mfeOperationsStatus", "mfeOperationResults"):
        answer = standing.send("GET", f"{base}/{kind}/s:none:none")
        assert "'s:none:none' was not found" in standing.refusal(answer, 404)


def test_schedules_outlive_a_restart_and_go_with_their_workspace(tmp_path: Path, files: None) -> None:
    with booted(tmp_path / "home", FakeServing()) as cloud:
        cloud.prepare()
        make(cloud, "kept")
    with booted(tmp_path / "home", FakeServing()) as cloud:
        assert cloud.get(path(cloud, "kept"))["properties"]["provisioningState"] == "Succeeded"
        cloud.wait(cloud.send("DELETE", cloud.workspace))
        assert cloud.azure._cloud.store.get(path(cloud, "kept")) is None


def test_a_schedule_may_be_made_of_a_job_that_is_there(standing: Cloud) -> None:
    standing.put(f"{standing.workspace}/jobs/source", {"properties": {"jobType": "Pipeline"}})
    source = {"jobType": "Pipeline", "sourceJobId": f"{standing.workspace}/jobs/source", "experimentName": ""}
    own = make(standing, "sourced", action={"actionType": "CreateJob", "jobDefinition": source})
    assert own["action"]["jobDefinition"]["sourceJobId"].endswith("/jobs/source")


def test_a_trigger_that_has_run_out_may_be_sent_again_to_switch_it_off(standing: Cloud) -> None:
    ended = {**WEEKLY, "endTime": "2099-01-01T00:00:00"}
    make(standing, "ended", trigger=ended)
    store = standing.azure._cloud.store
    found = store.get(path(standing, "ended"))
    assert found is not None
    past = {**found.properties["trigger"], "endTime": "2023-01-01T00:00:00"}
    store.put(found.with_properties(trigger=past))
    assert make(standing, "ended", trigger=past, isEnabled=False)["isEnabled"] is False
    assert "which is past" in standing.refusal(
        send(standing, "ended", trigger={**past, "interval": 2}, action=CREATE), 400
    )


# Refusals ------------------------------------------------------------------------------------------------------------


def pattern(**changes: Any) -> dict[str, Any]:
    return {**WEEKLY, "schedule": {**WEEKLY["schedule"], **changes}}


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        (None, "'properties.trigger' is required"),
        ({}, "'properties.trigger.triggerType' is required"),
        ({"triggerType": "Event"}, "Recurrence, Cron"),
        ({**CRON, "expression": None}, "'properties.trigger.expression' is required"),
        ({**CRON, "expression": "15 10 * *"}, "five fields"),
        ({**CRON, "expression": "0 15 10 * * 1"}, "five fields"),
        ({**CRON, "expression": "60 * * * *"}, "'60' is none of the minutes"),
        ({**CRON, "expression": "* 24 * * *"}, "'24' is none of the hours"),
        ({**CRON, "expression": "* * 0 * *"}, "'0' is none of the days"),
        ({**CRON, "expression": "* * * 13 *"}, "'13' is none of the months"),
        ({**CRON, "expression": "* * * * 7"}, "'7' is none of the days of the week"),
        ({**CRON, "expression": "5-1 * * * *"}, "'5-1'"),
        ({**CRON, "expression": "*/0 * * * *"}, "'*/0'"),
        ({**CRON, "expression": "1,,2 * * * *"}, "''"),
        ({**CRON, "timeZone": "Europe/London"}, "GMT Standard Time"),
        ({**CRON, "startTime": "tomorrow"}, "2022-06-01T00:00:01"),
        ({**CRON, "startTime": "2022-06-01T00:00:01Z"}, "without an offset"),
        ({**CRON, "startTime": "2022-13-01T00:00:01"}, "properties.trigger.startTime"),
        ({**CRON, "startTime": "2098-01-01T00:00:00", "endTime": "2097-01-01T00:00:00"}, "must come after"),
        ({**CRON, "endTime": "2022-06-01T00:00:01"}, "which is past"),
        ({**EVERY, "frequency": None}, "'properties.trigger.frequency' is required"),
        ({**EVERY, "frequency": "Year"}, "Minute, Hour, Day, Week, Month"),
        ({**EVERY, "interval": None}, "'properties.trigger.interval' is required"),
        ({**EVERY, "interval": 0}, "properties.trigger.interval"),
        ({**EVERY, "interval": "1"}, "a whole number"),
        ({**WEEKLY, "schedule": {"hours": [1]}}, "'properties.trigger.schedule.minutes' is required"),
        (pattern(hours=[24]), "properties.trigger.schedule.hours.0"),
        (pattern(minutes=[0, 60]), "properties.trigger.schedule.minutes.1"),
        (pattern(hours=[None]), "holds null"),
        (pattern(hours=1), "a list"),
        (pattern(weekDays=["Funday"]), "Monday, Tuesday"),
        (pattern(weekDays=[None]), "holds null"),
        (pattern(monthDays=[1]), "'frequency' is Week"),
        ({**pattern(monthDays=[32]), "frequency": "Month"}, "properties.trigger.schedule.monthDays.0"),
        ({**WEEKLY, "frequency": "Day"}, "'properties.trigger.schedule.weekDays'"),
        ({**WEEKLY, "frequency": "Hour"}, "no schedule"),
    ],
)
def test_a_trigger_that_never_fires_right_is_refused(standing: Cloud, trigger: Any, said: str) -> None:
    assert said in standing.refusal(send(standing, "wrong", trigger=trigger, action=CREATE), 400)
    assert standing.send("GET", path(standing, "wrong")).status_code == 404, "nothing was kept"


@pytest.mark.parametrize(
    "expression",
    ["* * * * *", "*/15 0-6 * * *", "0,30 8-18/2 1 JAN,feb Mon-Fri", "5/10 * * * 0", "59 23 31 12 6", " 0  0 * * SUN "],
)
def test_cron_expressions_of_five_fields_are_taken(standing: Cloud, expression: str) -> None:
    name = "cron" + "".join(str(ord(letter)) for letter in expression)
    assert make(standing, name, trigger={**CRON, "expression": expression})["trigger"]["expression"] == expression


@pytest.mark.parametrize(
    ("action", "status", "said"),
    [
        (None, 400, "'properties.action' is required"),
        ({}, 400, "'properties.action.actionType' is required"),
        ({"actionType": "Dance"}, 400, "CreateJob, InvokeBatchEndpoint, CreateMonitor"),
        ({"actionType": "ImportData"}, 501, "schedules that import data"),
        ({"actionType": "CreateJob"}, 400, "'properties.action.jobDefinition' is required"),
        ({**CREATE, "jobDefinition": {"a": 1}}, 400, "'properties.action.jobDefinition.jobType' is required"),
        ({**CREATE, "jobDefinition": {**JOB, "sourceJobId": "/none"}}, 400, "'sourceJobId' names was not found"),
        ({"actionType": "InvokeBatchEndpoint"}, 400, "endpointInvocationDefinition' is required"),
        ({"actionType": "CreateMonitor"}, 400, "'properties.action.monitorDefinition' is required"),
        ({**MONITOR, "monitorDefinition": {"signals": {}}}, 400, "computeConfiguration' is required"),
    ],
)
def test_an_action_that_says_something_wrong_is_refused(standing: Cloud, action: Any, status: int, said: str) -> None:
    assert said in standing.refusal(send(standing, "wrong", trigger=CRON, action=action), status)


def test_a_schedules_name_is_what_azure_takes(standing: Cloud) -> None:
    assert "255 letters" in standing.refusal(send(standing, "-a", trigger=CRON, action=CREATE), 400)


def test_a_schedule_in_no_workspace_is_not_found(standing: Cloud) -> None:
    answer = standing.send(
        "PUT", f"{standing.workspace}2/schedules/s", {"properties": {"trigger": CRON, "action": CREATE}}
    )
    assert "was not found" in standing.refusal(answer, 404)


def test_every_time_zone_of_azures_is_one_that_python_knows() -> None:
    for name in IANA:
        assert ZoneInfo(IANA[name]).utcoffset(datetime(2026, 1, 1)) is not None, name
