"""Runs of a workflow: what each of its actions came to, and what the run comes to by that. Changes no store."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from localazure.arm.store import Resource
from localazure.providers.logic.definition import values_of, waits
from localazure.providers.logic.http_action import Outcome
from localazure.providers.logic.names import (
    ACTION_TYPE,
    CANCELLED,
    FAILED,
    HISTORY_TYPE,
    RUN_TYPE,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
    VERSION_TYPE,
    WAITING,
    moment_of,
    stamp,
)

Json = dict[str, Any]

_ENDED = (SUCCEEDED, FAILED, SKIPPED, CANCELLED, "TimedOut")
_ACTION_FAILED = {"code": "ActionFailed", "message": "An action failed. No dependent actions succeeded."}


def new_run(workflow: Resource, name: str, trigger: str, scheduled: datetime, now: datetime) -> Resource:
    """A run that has begun, of what the workflow says now."""
    moment, correlation = stamp(now), {"clientTrackingId": name}
    definition = workflow.properties["definition"]
    properties = {
        "waitEndTime": moment,
        "startTime": moment,
        "status": RUNNING,
        "correlation": correlation,
        "workflow": version_of(workflow),
        "trigger": {
            "name": trigger,
            "startTime": moment,
            "endTime": moment,
            "scheduledTime": stamp(scheduled),
            "correlation": correlation,
            "code": "OK",
            "status": SUCCEEDED,
        },
        "outputs": {},
    }
    resource_id = f"{workflow.id}/runs/{name}"
    document = {"properties": properties, "id": resource_id, "name": name, "type": RUN_TYPE}
    hidden = {
        "definition": definition,
        "parameters": values_of(definition, workflow.properties["parameters"]),
        "actions": {each: _untouched() for each in definition.get("actions") or {}},
        "due": moment,
    }
    return _settled(Resource(resource_id, RUN_TYPE, document, hidden), now)


def version_of(workflow: Resource) -> Json:
    """How a workflow's version is named by its triggers and runs."""
    version = workflow.properties["version"]
    return {"id": f"{workflow.id}/versions/{version}", "name": version, "type": VERSION_TYPE}


def _untouched() -> Json:
    return {"status": WAITING, "attempts": 0, "history": [], "tracking": str(uuid.uuid4())}


def is_running(run: Resource) -> bool:
    return run.properties["status"] == RUNNING


def due(run: Resource) -> datetime:
    """When something is to be done for a run that runs."""
    return moment_of(run.hidden["due"])


def ready(run: Resource) -> str | None:
    """The action that is to be attempted next."""
    return next((name for name, state in run.hidden["actions"].items() if _is_ready(run, name, state)), None)


def _is_ready(run: Resource, name: str, state: Json) -> bool:
    return state["status"] not in _ENDED and all(each in _ENDED for each in _before(run, name).values())


def _before(run: Resource, name: str) -> dict[str, str]:
    """The status of each action that one runs after."""
    after = run.hidden["definition"]["actions"][name].get("runAfter") or {}
    return {other: run.hidden["actions"][other]["status"] for other in after}


# Progress ---------------------------------------------------------------------------------------------------------


def attempted(run: Resource, name: str, inputs: Json, outcome: Outcome, begun: datetime, now: datetime) -> Resource:
    """A run after an attempt of one of its actions: it waits for another attempt, goes on, or has ended."""
    state: Json = run.hidden["actions"][name]
    pauses, tries = waits(inputs), state["attempts"]
    changed = {
        **state,
        "status": outcome.status,
        "attempts": tries + 1,
        "inputs": inputs,
        "startTime": state.get("startTime") or stamp(begun),
        "code": outcome.code,
        "error": outcome.error,
        "outputs": outcome.outputs,
    }
    if outcome.again is not None and tries < len(pauses):
        tried = {"startTime": stamp(begun), "endTime": stamp(now), "code": outcome.code, "error": outcome.error}
        changed |= {"status": RUNNING, "history": [*state["history"], tried]}
        pause = timedelta(seconds=max(outcome.again, pauses[tries]))
        return _with_action(run, name, changed, due=stamp(now + pause))
    return _settled(_with_action(run, name, {**changed, "endTime": stamp(now)}, due=stamp(now)), now)


def cancelled(run: Resource, now: datetime) -> Resource:
    """A run that was cancelled."""
    actions = {
        name: state if state["status"] in _ENDED else {**state, "status": CANCELLED, "endTime": stamp(now)}
        for name, state in run.hidden["actions"].items()
    }
    ended = run.with_properties(status=CANCELLED, endTime=stamp(now), waitEndTime=stamp(now))
    return replace(ended, hidden={**run.hidden, "actions": actions})


def _with_action(run: Resource, name: str, state: Json, **hidden: Any) -> Resource:
    return replace(run, hidden={**run.hidden, **hidden, "actions": {**run.hidden["actions"], name: state}})


def _settled(run: Resource, now: datetime) -> Resource:
    """A run without actions that wait in vain; ended, where none is left."""
    while name := ready(run):
        unmet = _unmet(run, name)
        if unmet is None:
            return run
        moment = stamp(now)
        error = {"code": "ActionConditionFailed", "message": unmet}
        skipped = {"status": SKIPPED, "code": "ActionSkipped", "error": error, "startTime": moment, "endTime": moment}
        run = _with_action(run, name, {**run.hidden["actions"][name], **skipped})
    failed = any(_is_bad(run, name) for name in _leaves(run))
    ending = {"status": FAILED, "code": "ActionFailed", "error": _ACTION_FAILED} if failed else {"status": SUCCEEDED}
    return run.with_properties(**ending, endTime=stamp(now))


def _unmet(run: Resource, name: str) -> str | None:
    """Why an action does not run after those before it; None where it does."""
    after: Json = run.hidden["definition"]["actions"][name].get("runAfter") or {}
    for other, status in _before(run, name).items():
        wanted = after[other] or [SUCCEEDED]
        if status.lower() not in [each.lower() for each in wanted]:
            return (
                f"The execution of template action '{name}' is skipped: the 'runAfter' condition for action '{other}' "
                f"is not satisfied. Expected status values '{', '.join(wanted)}' and actual value '{status}'."
            )
    return None


def _leaves(run: Resource) -> list[str]:
    after = {other for name in run.hidden["actions"] for other in _before(run, name)}
    return [name for name in run.hidden["actions"] if name not in after]


def _is_bad(run: Resource, name: str) -> bool:
    """Whether a run fails by the action at the end of a branch; one that was skipped stands for those before it."""
    status = run.hidden["actions"][name]["status"]
    if status == SKIPPED:
        return any(_is_bad(run, other) for other in _before(run, name))
    return status != SUCCEEDED


# Documents --------------------------------------------------------------------------------------------------------


def action_document(run: Resource, name: str) -> Json:
    """What a GET of an action answers."""
    state: Json = run.hidden["actions"][name]
    properties: Json = {
        **{key: state[key] for key in ("startTime", "endTime") if state.get(key)},
        "correlation": {"actionTrackingId": state["tracking"], "clientTrackingId": run.name},
        "status": state["status"],
        **{key: state[key] for key in ("code", "error", "inputs", "outputs") if state.get(key)},
        **({"retryHistory": state["history"]} if state["history"] else {}),
    }
    return {"properties": properties, "id": f"{run.id}/actions/{name}", "name": name, "type": ACTION_TYPE}


def history_document(run: Resource, trigger_id: str) -> Json:
    """The firing of a trigger, which a run came from."""
    fired: Json = run.properties["trigger"]
    shown = ("startTime", "endTime", "scheduledTime", "status", "code", "correlation")
    properties = {
        **{name: fired[name] for name in shown},
        "fired": True,
        "run": {"name": run.name, "id": run.id, "type": RUN_TYPE},
    }
    return {
        "properties": properties,
        "id": f"{trigger_id}/histories/{run.name}",
        "name": run.name,
        "type": HISTORY_TYPE,
    }
