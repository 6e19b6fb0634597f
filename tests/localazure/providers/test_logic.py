"""Workflows over ARM: what is taken and what is refused, runs by hand, and what an HTTP action does with an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from localazure.arm.errors import ArmError
from localazure.providers.logic.http_action import Reply, Request, Unreachable
from localazure.providers.ml.jobs import Jobs
from tests.localazure.providers.conftest import Cloud, until
from tests.localazure.providers.timetable import READER, Machine, Timetable, at, body, definition, prepare, utc

__all__ = ["at"]

Json = dict[str, Any]

NOON = "2026-03-01T12:00:00"
NEVER: Json = {"frequency": "Day", "interval": 1, "startTime": "2100-01-01T00:00:00Z"}


@pytest.fixture
def timetable(at: Callable[[str], Machine]) -> Iterator[Timetable]:
    with at(NOON).running() as made:
        prepare(made.cloud)
        yield made


def fire(timetable: Timetable, name: str = "nightly") -> Json:
    """Runs a workflow by hand, to the end of its first attempt; the run."""
    answer = timetable.cloud.send("POST", f"{timetable.path(name)}/triggers/Recurrence/run")
    assert answer.status_code == 200, answer.text
    timetable.cloud.azure.schedule.pass_time(timetable.cloud.azure.schedule.clock.now())
    return timetable.cloud.get(f"{timetable.path(name)}/runs/{answer.headers['x-ms-workflow-run-id']}")


def answering(timetable: Timetable, *statuses: int, **headers: str) -> list[Request]:
    """Has requests of workflows answered with these, the last again and again; what was sent."""
    sent: list[Request] = []

    def send(request: Request) -> Reply:
        sent.append(request)
        return Reply(statuses[min(len(sent), len(statuses)) - 1], headers, b"")

    timetable.cloud.azure.schedule._send = send
    return sent


# The resource -----------------------------------------------------------------------------------------------------


def test_a_workflow_is_answered_as_azure_does(timetable: Timetable) -> None:
    created = timetable.cloud.send("PUT", timetable.path("nightly"), body(NEVER))
    assert created.status_code == 201
    made = created.json()
    assert {name: made[name] for name in ("name", "type", "location", "tags")} == {
        "name": "nightly",
        "type": "Microsoft.Logic/workflows",
        "location": "eastus",
        "tags": {},
    }
    assert made["identity"]["type"] == "SystemAssigned"
    properties = made["properties"]
    assert properties["provisioningState"] == "Succeeded"
    assert properties["state"] == "Enabled"
    assert properties["definition"] == definition(NEVER)
    assert properties["accessEndpoint"].startswith("https://prod-00.eastus.logic.azure.com:443/workflows/")
    assert len(properties["version"]) == 20
    assert timetable.cloud.get(timetable.path("nightly")) == made
    for path in (timetable.path(""), timetable.path("").replace("/resourceGroups/rg", "")):
        assert timetable.cloud.get(path.rstrip("/"))["value"] == [made]


def test_a_write_of_what_is_there_makes_no_new_version(timetable: Timetable) -> None:
    timetable.put("nightly", NEVER)
    timetable.cloud.unchanged(timetable.path("nightly"))


def test_a_change_makes_a_new_version_and_keeps_the_identity(timetable: Timetable) -> None:
    before = timetable.put("nightly", NEVER)
    timetable.pass_until("2026-03-01T12:01")
    after = timetable.put("nightly", {**NEVER, "interval": 2})
    assert after["identity"] == before["identity"]
    assert after["properties"]["version"] < before["properties"]["version"], "the newest is the first by name"
    assert after["properties"]["createdTime"] == before["properties"]["createdTime"]


def test_tags_can_be_patched(timetable: Timetable) -> None:
    before = timetable.put("nightly", NEVER)
    answer = timetable.cloud.send("PATCH", timetable.path("nightly"), {"tags": {"team": "a"}})
    assert answer.json() == {**before, "tags": {"team": "a"}}


def test_a_deleted_workflow_leaves_nothing(timetable: Timetable) -> None:
    timetable.put("nightly", NEVER)
    run = fire(timetable)
    assert timetable.cloud.send("DELETE", timetable.path("nightly")).status_code == 200
    assert timetable.cloud.send("DELETE", timetable.path("nightly")).status_code == 204
    assert timetable.cloud.send("GET", run["id"]).status_code == 404
    timetable.pass_until("2026-03-03T12:00")


def test_a_number_sent_as_pulumi_sends_it_is_taken(timetable: Timetable) -> None:
    recurrence = {"frequency": "day", "interval": 1.0, "schedule": {"hours": [2.0], "minutes": [0.0]}}
    timetable.put("nightly", {**recurrence, "startTime": NOON, "timeZone": "utc"})
    trigger = timetable.cloud.get(f"{timetable.path('nightly')}/triggers")["value"][0]["properties"]
    assert trigger["nextExecutionTime"] == "2026-03-02T02:00:00.0000000Z"


def test_a_trigger_says_when_it_fires(timetable: Timetable) -> None:
    timetable.put("nightly", {"frequency": "Hour", "interval": 1, "startTime": "2026-03-01T12:30:00"})
    path = f"{timetable.path('nightly')}/triggers/Recurrence"
    timetable.pass_until("2026-03-01T12:45")
    trigger = timetable.cloud.get(path)
    assert trigger["type"] == "Microsoft.Logic/workflows/triggers"
    assert trigger["properties"]["lastExecutionTime"] == "2026-03-01T12:30:00.0000000Z"
    assert trigger["properties"]["nextExecutionTime"] == "2026-03-01T13:30:00.0000000Z"
    (history,) = timetable.cloud.get(f"{path}/histories")["value"]
    assert history["properties"]["scheduledTime"] == "2026-03-01T12:30:00.0000000Z"
    assert history["properties"]["run"]["name"] == timetable.runs("nightly")[0]["name"]
    assert timetable.cloud.get(f"{path}/histories/{history['name']}") == history
    assert timetable.cloud.send("GET", f"{timetable.path('nightly')}/triggers/other").status_code == 404


# What is refused --------------------------------------------------------------------------------------------------


def trigger(**recurrence: Any) -> Json:
    return {"definition": definition({"frequency": "Day", "interval": 1, **recurrence})}


def action(**inputs: Any) -> Json:
    return {"definition": definition(NEVER, **inputs)}


def other(**parts: Any) -> Json:
    return {"definition": {**definition(NEVER), **parts}}


REFUSED: dict[str, tuple[Json, int, str]] = {
    "no definition": ({}, 400, "'properties.definition' is required"),
    "a definition that is text": ({"definition": "x"}, 400, "must be an object"),
    "a state of its own": ({**trigger(), "state": "Paused"}, 400, "one of Enabled, Disabled"),
    "another schema": (other(**{"$schema": "https://example.com"}), 400, "no schema of workflow definitions"),
    "a frequency of its own": (trigger(frequency="Fortnight"), 400, "one of Second, Minute, Hour, Day, Week, Month"),
    "no interval": (trigger(interval=None), 400, "interval' is required"),
    "an interval of nothing": (trigger(interval=0), 400, "between 1 and 500"),
    "an interval that is too long": (trigger(frequency="Month", interval=17), 400, "between 1 and 16"),
    "a zone by its IANA name": (trigger(timeZone="Europe/London"), 400, "'Europe/London'; it must be one of"),
    "a start with an offset": (trigger(startTime="2026-01-01T00:00:00+01:00"), 400, "without an offset"),
    "a start that is no day": (trigger(startTime="2026-02-30T00:00:00"), 400, "must be a time such as"),
    "an end before the start": (trigger(startTime=NOON, endTime=NOON), 400, "must come after 'startTime'"),
    "hours of an hourly one": (trigger(frequency="Hour", schedule={"minutes": [1]}), 400, "Day and Week"),
    "days of a daily one": (trigger(schedule={"weekDays": ["Monday"]}), 400, "for the frequency Week"),
    "an hour that is none": (trigger(schedule={"hours": [24]}), 400, "between 0 and 23"),
    "an hour that is null": (trigger(schedule={"hours": [None]}), 400, "entry that is null"),
    "a day that is none": (trigger(frequency="Week", schedule={"weekDays": ["Mon"]}), 400, "one of Monday"),
    "days of the month": (trigger(frequency="Month", schedule={"monthDays": [1]}), 501, "monthDays"),
    "another trigger": (other(triggers={"manual": {"type": "Request", "kind": "Http"}}), 501, "'Request'"),
    "a trigger that is text": (other(triggers={"manual": "x"}), 400, "must be an object"),
    "a condition": (
        other(triggers={"R": {"type": "Recurrence", "recurrence": NEVER, "conditions": [1]}}),
        501,
        "conditions",
    ),
    "another action": (other(actions={"Wait": {"type": "Wait", "inputs": {}}}), 501, "'Wait'"),
    "an action after none": (
        {"definition": definition(NEVER, {"runAfter": {"Gone": ["Succeeded"]}})},
        400,
        "names 'Gone', which is no other action",
    ),
    "an outcome that is none": (
        other(
            actions={
                **definition(NEVER)["actions"],
                "B": {**definition(NEVER)["actions"]["Invoke"], "runAfter": {"Invoke": ["x"]}},
            }
        ),
        400,
        "must be one of Succeeded",
    ),
    "a circle": (
        other(
            actions={
                name: {**definition(NEVER)["actions"]["Invoke"], "runAfter": {after: ["Succeeded"]}}
                for name, after in (("A", "B"), ("B", "A"))
            }
        ),
        400,
        "in a circle",
    ),
    "a method of its own": (action(method="FETCH"), 400, "must be one of GET"),
    "no absolute URL": (action(uri="batch/jobs"), 400, "no absolute URL"),
    "a URL that is none": (action(uri="https://[::1"), 400, "no absolute URL"),
    "a header that is no text": (action(headers={"a": ["b"]}), 400, "headers.a' must be text"),
    "a password": (action(authentication={"type": "Basic", "username": "a", "password": "b"}), 501, "'Basic'"),
    "an identity of somebody else": (
        action(authentication={"type": "ManagedServiceIdentity", "identity": "/subscriptions/x"}),
        400,
        "does not have",
    ),
    "retries without an interval": (action(retryPolicy={"type": "fixed", "count": 2}), 400, "interval' is required"),
    "too many retries": (
        action(retryPolicy={"type": "fixed", "count": 91, "interval": "PT5S"}),
        400,
        "between 1 and 90",
    ),
    "retries in no time": (action(retryPolicy={"type": "fixed", "count": 1, "interval": "PT1S"}), 400, "PT5S and P1D"),
    "an expression": (action(body={"a": "@concat('b', 'c')"}), 501, "'@concat('b', 'c')'"),
    "an unknown parameter": (action(uri="@parameters('where')"), 400, "the parameter 'where'"),
    "a parameter without a value": (other(parameters={"a": {"type": "String"}}), 400, "neither a value"),
    "a value without a parameter": ({**trigger(), "parameters": {"a": {"value": 1}}}, 400, "no place in"),
    "an integration account": ({**trigger(), "integrationAccount": {"id": "x"}}, 501, "integrationAccount"),
    "outputs": (other(outputs={"a": {"type": "String", "value": "b"}}), 501, "outputs"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_put_and_a_validation_refuse(shared: Cloud, case: str) -> None:
    properties, status, words = REFUSED[case]
    sent = {"location": "eastus", "identity": {"type": "SystemAssigned"}, "properties": properties}
    path = Timetable(shared).path("nightly")
    assert words in shared.refusal(shared.send("PUT", path, sent), status)
    assert words in shared.refusal(shared.send("POST", f"{path}/validate", sent), status)
    assert shared.send("GET", path).status_code == 404


WHOLE: Json = body(
    {
        "frequency": "Week",
        "interval": 2,
        "startTime": NOON,
        "endTime": "2027-03-01T12:00:00",
        "timeZone": "GMT Standard Time",
        "schedule": {"hours": [2, 14], "minutes": [0], "weekDays": ["Monday"]},
    },
    retryPolicy={"type": "exponential", "count": 3, "interval": "PT7S", "minimumInterval": "PT5S"},
    queries={"a": "b"},
)
JUNK = (
    None,
    "",
    "x",
    "@",
    "@{",
    "@{}",
    "@@",
    0,
    -1,
    2.5,
    1e300,
    10**30,
    True,
    [],
    [None],
    [[]],
    {},
    {"x": {"y": []}},
    "P1D",
)


def places(value: Any) -> Iterator[tuple[Any, ...]]:
    """The way to everything in a value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in pairs:
        yield (name,)
        yield from ((name, *rest) for rest in places(each))


def with_junk(value: Any, place: tuple[Any, ...], junk: Any) -> Any:
    if not place:
        return junk
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = with_junk(value[place[0]], place[1:], junk)
    return copy


@pytest.mark.parametrize("place", [each for each in places(WHOLE) if each[0] != "tags"], ids=str)
def test_nothing_that_is_sent_makes_it_stumble(shared: Cloud, place: tuple[Any, ...]) -> None:
    """What it takes must run, too: a workflow is made of it, and looked at."""
    path = Timetable(shared).path("odd")
    for junk in JUNK:
        answer = shared.send("PUT", path, with_junk(WHOLE, place, junk))
        assert answer.status_code in (200, 201, 400, 501), f"{junk!r}: {answer.text}"
        if answer.is_success:
            assert shared.send("GET", f"{path}/triggers").status_code == 200, f"{junk!r}"
            shared.azure.status()
            assert shared.send("DELETE", path).status_code == 200


def test_a_workflow_without_the_identity_that_it_uses_is_refused(timetable: Timetable) -> None:
    sent = body(NEVER, identity={"type": "None"})
    answer = timetable.cloud.send("PUT", timetable.path("nightly"), sent)
    assert "InvalidWorkflowManagedIdentitySpecified" in timetable.cloud.refusal(answer, 400)


def test_a_workflow_has_an_identity_of_one_kind(timetable: Timetable) -> None:
    sent = body(NEVER, identity={"type": "SystemAssigned, UserAssigned"})
    assert "of one kind" in timetable.cloud.refusal(timetable.cloud.send("PUT", timetable.path("nightly"), sent), 400)


def test_a_sound_workflow_is_valid_at_its_place_too(timetable: Timetable) -> None:
    sent = {**body(NEVER), "location": None}
    region = f"/subscriptions/{timetable.cloud.subscription}/providers/Microsoft.Logic/locations/eastus"
    checks = (f"{region}/workflows/nightly/validate", f"{timetable.path('nightly')}/validate")
    for path, text in zip(checks, (sent, body(NEVER)), strict=True):
        text = {name: value for name, value in text.items() if value is not None}
        assert timetable.cloud.send("POST", path, text).status_code == 200


# Runs -------------------------------------------------------------------------------------------------------------


def test_a_run_by_hand_starts_a_job_as_the_workflows_identity(timetable: Timetable) -> None:
    made = timetable.put("nightly", NEVER)
    run = fire(timetable)
    assert run["type"] == "Microsoft.Logic/workflows/runs"
    assert run["properties"]["status"] == "Succeeded"
    assert run["properties"]["trigger"]["name"] == "Recurrence"
    action = timetable.action("nightly")
    assert (action["status"], action["code"]) == ("Succeeded", "Created")
    assert action["outputs"]["statusCode"] == 201
    job = timetable.cloud.get(f"{timetable.cloud.workspace}/jobs/{action['outputs']['body']['name']}")
    assert job["systemData"]["createdBy"] == made["identity"]["principalId"]
    assert "Bearer" not in str(timetable.cloud.get(f"{run['id']}/actions")), "the token is nobody's business"


def test_each_run_writes_where_its_name_says(timetable: Timetable) -> None:
    source = {"jobInputType": "UriFolder", "uri": "azureml://datastores/workspaceblobstore/paths/inbox/"}
    out = "azureml://datastores/workspaceblobstore/paths/out"
    target = {"jobOutputType": "UriFolder", "uri": f"{out}/@{{workflow().run.name}}/"}
    asked = {"properties": {"inputData": {"in": source}, "outputData": {"score": target}}}
    timetable.put("nightly", NEVER, body=asked)
    for _ in range(2):
        run = fire(timetable)
        answer = timetable.cloud.get(f"{run['id']}/actions/Invoke")["properties"]["outputs"]["body"]
        assert answer["properties"]["outputData"]["score"]["uri"] == f"{out}/{run['name']}/", "a folder of its own"


@pytest.mark.parametrize("role", [None, READER])
def test_a_run_fails_without_a_role_that_allows_it(timetable: Timetable, role: str | None) -> None:
    made = timetable.put("nightly", NEVER, role=role)
    run = fire(timetable)["properties"]
    assert (run["status"], run["code"]) == ("Failed", "ActionFailed")
    assert run["error"]["message"] == "An action failed. No dependent actions succeeded."
    action = timetable.action("nightly")
    assert (action["status"], action["code"]) == ("Failed", "Forbidden")
    assert made["identity"]["principalId"] in action["error"]["message"]
    assert "retryHistory" not in action, "a refusal is not tried again"
    assert timetable.jobs() == 0


def test_a_stranger_with_a_token_starts_no_job(timetable: Timetable) -> None:
    """Of Entra's tokens, the endpoint takes those of whoever has a role; workflows are no exception from that."""
    token = timetable.cloud.tokens.issue("https://ml.azure.com", object_id="stranger")
    named = {"in": {"jobInputType": "UriFolder", "uri": "azureml://datastores/workspaceblobstore/paths/inbox/"}}
    headers = {"Authorization": f"Bearer {token}", "Host": "batch.eastus.inference.ml.azure.com"}
    answer = timetable.cloud.client.post("/jobs", json={"properties": {"inputData": named}}, headers=headers)
    assert "batchEndpoints/jobs/write" in timetable.cloud.refusal(answer, 403)
    assert timetable.jobs() == 0


def test_a_user_assigned_identity_starts_jobs_too(timetable: Timetable) -> None:
    path = f"{timetable.cloud.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/who"
    who = timetable.cloud.put(path, {"location": "eastus"})
    authentication = {"type": "ManagedServiceIdentity", "identity": path, "audience": "https://ml.azure.com"}
    kind = {"type": "UserAssigned", "userAssignedIdentities": {path: {}}}
    timetable.put("nightly", NEVER, role=None, identity=kind, authentication=authentication)
    timetable.give(who["properties"]["principalId"], "f6c7c914-8db3-469d-8ca1-694a8f32e121")
    assert fire(timetable)["properties"]["status"] == "Succeeded"


def test_a_token_for_something_else_opens_nothing(timetable: Timetable) -> None:
    timetable.put("nightly", NEVER, authentication={"type": "ManagedServiceIdentity"})
    fire(timetable)
    assert timetable.action("nightly")["code"] == "Unauthorized"


def test_a_workflow_that_is_off_is_not_run_by_hand(timetable: Timetable) -> None:
    timetable.put("nightly", NEVER, state="Disabled")
    answer = timetable.cloud.send("POST", f"{timetable.path('nightly')}/triggers/Recurrence/run")
    assert "WorkflowTriggerIsNotEnabled" in timetable.cloud.refusal(answer, 400)
    assert timetable.runs("nightly") == []


def test_runs_by_hand_in_one_moment_are_runs_of_their_own(timetable: Timetable) -> None:
    timetable.put("nightly", NEVER)
    names = {fire(timetable)["name"] for _ in range(3)}
    assert len(names) == 3
    assert timetable.jobs() == 3


def test_runs_are_listed_in_pages_and_by_status(timetable: Timetable) -> None:
    timetable.put("nightly", NEVER, role=None)
    fire(timetable)
    timetable.put("nightly", NEVER)
    timetable.pass_until("2026-03-01T12:10")
    last = fire(timetable)
    runs = f"{timetable.path('nightly')}/runs"
    page = timetable.cloud.get(f"{runs}?$top=1")
    assert [each["name"] for each in page["value"]] == [last["name"]], "the newest first"
    assert [each["properties"]["status"] for each in timetable.cloud.get(page["nextLink"])["value"]] == ["Failed"]
    (failed,) = timetable.cloud.get(f"{runs}?$filter=status eq 'Failed'")["value"]
    assert failed["properties"]["status"] == "Failed"
    assert timetable.cloud.send("GET", f"{runs}?$filter=startTime ge 2026").status_code == 501
    assert timetable.cloud.send("GET", f"{runs}/{'0' * 36}").status_code == 404


def test_a_status_shows_the_next_and_the_last_run(timetable: Timetable) -> None:
    timetable.put("nightly", {**NEVER, "startTime": "2026-03-02T02:00:00Z"})
    run = fire(timetable)
    (line,) = timetable.cloud.azure.status()["workflows"]
    assert line["nextRun"] == "2026-03-02T02:00:00.0000000Z"
    assert line["lastRun"] == {"name": run["name"], "status": "Succeeded", "startTime": run["properties"]["startTime"]}


# HTTP actions -----------------------------------------------------------------------------------------------------


def test_a_busy_server_is_asked_again_after_growing_waits(timetable: Timetable) -> None:
    """Four times by default: after 7.5, 15, 30 and 45 seconds."""
    sent = answering(timetable, 503)
    timetable.put("nightly", NEVER)
    assert fire(timetable)["properties"]["status"] == "Running"
    for second, attempts in (("07", 1), ("08", 2), ("22", 2), ("23", 3), ("52", 3), ("53", 4)):
        timetable.pass_until(f"2026-03-01T12:00:{second}")
        assert len(sent) == attempts, f"at second {second}"
    timetable.pass_until("2026-03-01T13:00")
    assert len(sent) == 5
    assert timetable.runs("nightly")[0]["properties"]["status"] == "Failed"
    action = timetable.action("nightly")
    assert action["code"] == "ServiceUnavailable"
    assert [each["code"] for each in action["retryHistory"]] == ["ServiceUnavailable"] * 4
    assert len({each.headers["repeatability_request-id"] for each in sent}) == 1, "so that it can be known again"


def test_a_server_that_recovers_is_no_failure(timetable: Timetable) -> None:
    sent = answering(timetable, 429, 200, **{"Retry-After": "20"})
    timetable.put("nightly", NEVER)
    fire(timetable)
    timetable.pass_until("2026-03-01T12:00:19")
    assert len(sent) == 1, "it asked for twenty seconds"
    timetable.pass_until("2026-03-01T12:00:21")
    assert timetable.runs("nightly")[0]["properties"]["status"] == "Succeeded"


def test_without_a_policy_of_retries_there_is_one_attempt(timetable: Timetable) -> None:
    sent = answering(timetable, 500)
    timetable.put("nightly", NEVER, retryPolicy={"type": "none"})
    assert fire(timetable)["properties"]["status"] == "Failed"
    assert len(sent) == 1


def test_a_fixed_policy_waits_the_same_each_time(timetable: Timetable) -> None:
    sent = answering(timetable, 500)
    timetable.put("nightly", NEVER, retryPolicy={"type": "fixed", "count": 2, "interval": "PT1M"})
    fire(timetable)
    timetable.pass_until("2026-03-01T12:01:59")
    assert len(sent) == 2
    timetable.pass_until("2026-03-01T12:30:00")
    assert len(sent) == 3


def test_a_retry_is_not_forgotten_by_a_restart(at: Callable[[str], Machine]) -> None:
    machine = at(NOON)
    with machine.running() as timetable:
        prepare(timetable.cloud)
        answering(timetable, 503)
        timetable.put("nightly", NEVER)
        fire(timetable)
    with machine.running() as timetable:
        sent = answering(timetable, 200)
        timetable.pass_until("2026-03-01T12:00:08")
        assert len(sent) == 1
        assert timetable.runs("nightly")[0]["properties"]["status"] == "Succeeded"


def test_a_cancelled_run_sends_nothing_more(timetable: Timetable) -> None:
    sent = answering(timetable, 503)
    timetable.put("nightly", NEVER)
    run = fire(timetable)
    for _ in range(2):
        assert timetable.cloud.send("POST", f"{run['id']}/cancel").status_code == 200
    timetable.pass_until("2026-03-01T13:00")
    assert len(sent) == 1
    assert timetable.runs("nightly")[0]["properties"]["status"] == "Cancelled"
    assert timetable.action("nightly")["status"] == "Cancelled"


def test_a_run_that_has_ended_cannot_be_cancelled(timetable: Timetable) -> None:
    timetable.put("nightly", NEVER)
    run = fire(timetable)
    answer = timetable.cloud.send("POST", f"{run['id']}/cancel")
    assert "has ended with the status 'Succeeded'" in timetable.cloud.refusal(answer, 400)


def test_no_request_leaves_the_machine(timetable: Timetable) -> None:
    timetable.put("nightly", NEVER, uri="https://example.com/jobs", retryPolicy={"type": "none"})
    assert fire(timetable)["properties"]["status"] == "Failed"
    assert "does not answer for example.com" in timetable.action("nightly")["error"]["message"]


def test_no_answer_is_tried_again(timetable: Timetable) -> None:
    timetable.put("nightly", NEVER)

    def send(request: Request) -> Reply:
        raise Unreachable("nobody is there")

    timetable.cloud.azure.schedule._send = send
    assert fire(timetable)["properties"]["status"] == "Running"
    assert "nobody is there" in timetable.action("nightly")["error"]["message"]


def test_a_refusal_of_the_endpoint_is_the_actions_error(timetable: Timetable, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ArmError(404, "NotFound", "there is no such deployment")

    monkeypatch.setattr(Jobs, "_deployment", refuse)
    timetable.put("nightly", NEVER)
    fire(timetable)
    action = timetable.action("nightly")
    assert (action["code"], action["error"]["message"]) == ("NotFound", "there is no such deployment")


def test_expressions_say_when_and_which_run(timetable: Timetable) -> None:
    sent = answering(timetable, 200)
    made = body(NEVER, uri="@{parameters('base')}/out", body={
        "whole": "@parameters('settings')", "day": "out/@{utcNow('yyyy-MM-dd')}/", "run": "@workflow().run.name",
        "mail": "a@@b", "text": "me@example.com",
    }, queries={"a b": "c&d"})  # fmt: skip
    made["properties"]["definition"]["parameters"] = {
        "base": {"type": "String", "defaultValue": "https://a.example"},
        "settings": {"type": "Object"},
    }
    made["properties"]["parameters"] = {"settings": {"value": {"a": [1]}}}
    timetable.cloud.put(timetable.path("nightly"), made)
    run = fire(timetable)
    assert sent[0].url == "https://a.example/out?a+b=c%26d"
    assert timetable.action("nightly")["inputs"]["body"] == {
        "whole": {"a": [1]},
        "day": "out/2026-03-01/",
        "run": run["name"],
        "mail": "a@b",
        "text": "me@example.com",
    }


def test_an_expression_that_gives_no_text_fails_the_action(timetable: Timetable) -> None:
    login = {"type": "ManagedServiceIdentity", "audience": "@parameters('audience')"}
    made = body(NEVER, authentication=login)
    made["properties"]["definition"]["parameters"] = {"audience": {"type": "Object", "defaultValue": {"a": {}}}}
    timetable.cloud.put(timetable.path("nightly"), made)
    assert fire(timetable)["properties"]["status"] == "Failed"
    assert timetable.action("nightly")["status"] == "Failed"


def test_an_action_runs_after_the_outcome_that_it_waits_for(timetable: Timetable) -> None:
    answering(timetable, 400)
    made = body(NEVER)
    actions = made["properties"]["definition"]["actions"]
    for name, outcome in (("OnSuccess", "Succeeded"), ("OnFailure", "Failed")):
        actions[name] = {**actions["Invoke"], "runAfter": {"Invoke": [outcome]}}
    timetable.cloud.put(timetable.path("nightly"), made)
    run = fire(timetable)
    assert run["properties"]["status"] == "Failed"
    found = {name: timetable.action("nightly", name) for name in actions}
    assert [found[name]["status"] for name in ("Invoke", "OnSuccess", "OnFailure")] == ["Failed", "Skipped", "Failed"]
    assert "'runAfter' condition for action 'Invoke' is not satisfied" in found["OnSuccess"]["error"]["message"]


def test_a_workflow_of_no_actions_succeeds(timetable: Timetable) -> None:
    made = body(NEVER)
    made["properties"]["definition"]["actions"] = {}
    timetable.cloud.put(timetable.path("nightly"), made)
    assert fire(timetable)["properties"]["status"] == "Succeeded"
    assert timetable.cloud.get(f"{timetable.runs('nightly')[0]['id']}/actions")["value"] == []


def test_weather_meets_workflows_too(timetable: Timetable) -> None:
    """Their requests come in as a client's do, so faults that were asked for meet them."""
    timetable.put("nightly", NEVER)
    rule = {"method": "POST", "path": "^/jobs$", "do": "drop", "when": "after", "count": 1}
    timetable.cloud.azure.weather.set({"rules": [rule]})
    assert fire(timetable)["properties"]["status"] == "Running"
    assert timetable.action("nightly")["code"] == "BadGateway"
    timetable.pass_until("2026-03-01T12:01")
    assert timetable.runs("nightly")[0]["properties"]["status"] == "Succeeded"
    assert timetable.jobs() == 1


def test_a_run_that_fires_while_another_waits_is_not_held_up(timetable: Timetable) -> None:
    answering(timetable, 503)
    timetable.put("nightly", {"frequency": "Minute", "interval": 1, "startTime": NOON})
    timetable.pass_until("2026-03-01T12:01:01")
    statuses = [each["properties"]["status"] for each in timetable.runs("nightly")]
    assert statuses == ["Running", "Running"]
    assert timetable.scheduled("nightly") == [utc("2026-03-01T12:00"), utc("2026-03-01T12:01")]
    until(lambda: not timetable.cloud.azure.schedule._busy, "no attempt is under way")
