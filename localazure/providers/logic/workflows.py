"""`Microsoft.Logic/workflows` of the Consumption plan: the resource, its trigger, its runs and their actions.

Source: https://learn.microsoft.com/rest/api/logic/workflows, api-version 2019-05-01.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid, not_emulated
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud, stable_id
from localazure.providers.common import (
    Composed,
    Plain,
    check_name,
    envelope,
    identity,
    normal_location,
    page,
    require,
    require_group,
    require_location,
    require_subscription,
)
from localazure.providers.logic import runs
from localazure.providers.logic.definition import check_definition, trigger_of
from localazure.providers.logic.engine import Engine
from localazure.providers.logic.names import (
    ACTION,
    CANCELLED,
    DISABLED,
    ENABLED,
    HISTORY,
    LOCATION,
    RUN,
    RUN_TYPE,
    RUNNING,
    SUCCEEDED,
    TRIGGER,
    TRIGGER_TYPE,
    WORKFLOW,
    WORKFLOW_TYPE,
    reversed_ticks,
    run_name,
    stamp,
)

Json = dict[str, Any]

_SUBSET = "definitions of one Recurrence trigger and Http actions, with a few expressions"
_CONTENT = "inputs and outputs stand in the answer, not behind links"
_PAGE = 30
_LARGEST_PAGE = 250
_TICK = timedelta(microseconds=1)


class Workflows:
    """Workflows, as ARM shows them."""

    def __init__(self, cloud: Cloud, engine: Engine) -> None:
        self._cloud = cloud
        self._engine = engine
        self._plain = Plain(cloud, WORKFLOW_TYPE, WORKFLOW, self._compose)

    def routes(self) -> list[Route]:
        """On the ARM host."""
        own = [replace(each, simplified=_SUBSET if each.method == "PUT" else "") for each in self._plain.routes()]
        checking = f"{LOCATION}/workflows/{{workflow}}/validate"
        return [
            *own,
            Route.of("POST", WORKFLOW + "/enable", lambda call: self.switch(call, ENABLED)),
            Route.of("POST", WORKFLOW + "/disable", lambda call: self.switch(call, DISABLED)),
            Route.of("POST", WORKFLOW + "/validate", self.validate, simplified=_SUBSET),
            Route.of("POST", checking, self.validate, simplified=_SUBSET),
            Route.of("GET", WORKFLOW + "/triggers", self.triggers),
            Route.of("GET", TRIGGER, lambda call: Answer(200, self._trigger(call))),
            Route.of("POST", TRIGGER + "/run", self.fire),
            Route.of("GET", TRIGGER + "/histories", self.histories),
            Route.of("GET", HISTORY, self.history),
            Route.of("GET", WORKFLOW + "/runs", self.runs),
            Route.of("GET", RUN, lambda call: Answer(200, self._run(call).document)),
            Route.of("POST", RUN + "/cancel", self.cancel),
            Route.of("GET", RUN + "/actions", self.actions, simplified=_CONTENT),
            Route.of("GET", ACTION, self.action, simplified=_CONTENT),
        ]

    def status(self) -> list[Json]:
        """For `localazure status`: each workflow with its next run and its last."""
        return [self._line(each) for each in self._cloud.store.of_type(WORKFLOW_TYPE)]

    def _line(self, workflow: Resource) -> Json:
        upcoming, last = self._engine.next_of(workflow), self._last(workflow)
        return {
            "name": workflow.name,
            "state": workflow.properties["state"],
            "nextRun": stamp(upcoming) if upcoming else None,
            "lastRun": last and {"name": last.name, **_parts(last, "status", "startTime")},
        }

    def _last(self, workflow: Resource) -> Resource | None:
        return self._cloud.store.get(workflow.hidden.get("run") or "")

    # The resource --------------------------------------------------------------------------------------------

    def _compose(self, call: Call, body: Json, existing: Resource | None, resource_id: str) -> Composed:
        name = ids.name(resource_id)
        check_name(name, r"[A-Za-z0-9_.()-]{1,80}", "workflow", "1 to 80 letters, digits, and - _ . ( )")
        sent = read.mapping(body, "properties", required=True)
        has = self._identity(body, existing)
        state, definition, parameters = _checked(sent, has)
        now = self._engine.clock.now()
        before = existing.properties if existing else {}
        moment = stamp(now)
        properties = {
            "provisioningState": SUCCEEDED,
            "createdTime": before.get("createdTime") or moment,
            "changedTime": moment,
            "state": state,
            "version": reversed_ticks(now),
            "accessEndpoint": self._access(body, existing, resource_id),
            "definition": definition,
            "parameters": parameters,
            **{each: found for each in ("accessControl", "endpointsConfiguration") if (found := sent.get(each))},
        }
        rest: Json = {"identity": has} if has else {}
        document = _unless_changed(envelope(resource_id, WORKFLOW_TYPE, body, **rest, properties=properties), existing)
        self._cloud.store.after_commit(self._engine.wake)
        return Composed(document, _timing(existing, properties, now))

    def _identity(self, body: Json, existing: Resource | None) -> Json | None:
        found = identity(self._cloud, body, existing)
        if found and "," in found["type"]:
            raise invalid(
                "'identity.type' is 'SystemAssigned, UserAssigned'; a workflow has an identity of one kind: "
                "SystemAssigned or UserAssigned.",
                "InvalidRequestContent",
            )
        return found

    def _access(self, body: Json, existing: Resource | None, resource_id: str) -> str:
        if existing:
            return existing.properties["accessEndpoint"]
        region = normal_location(str(body["location"]))
        unique = stable_id(resource_id, stamp(self._engine.clock.now())).replace("-", "")
        return f"https://prod-00.{region}.logic.azure.com:443/workflows/{unique}"

    def switch(self, call: Call, state: str) -> Answer:
        """POST enable or disable. What would have fired while it was off is not caught up with."""
        workflow = require(self._cloud, call)
        if workflow.properties["state"] != state:
            now = self._engine.clock.now()
            changed = workflow.with_properties(state=state, changedTime=stamp(now), version=reversed_ticks(now))
            self._cloud.store.put(replace(changed, hidden={**workflow.hidden, "since": stamp(now)}))
            self._cloud.store.after_commit(self._engine.wake)
        return Answer(200)

    def validate(self, call: Call) -> Answer:
        """POST validate: 200 for a workflow that a PUT would take."""
        body = call.json()
        if "location" in call.params:
            require_subscription(self._cloud, call.params["subscription"])
            body = {"location": call.params["location"], **body}
        else:
            require_group(self._cloud, call)
        require_location(body, None, WORKFLOW_TYPE)
        _checked(read.mapping(body, "properties", required=True), self._identity(body, None))
        return Answer(200)

    # Triggers ------------------------------------------------------------------------------------------------

    def triggers(self, call: Call) -> Answer:
        """GET of the triggers."""
        workflow = require(self._cloud, _at(call, WORKFLOW))
        found = trigger_of(workflow.properties["definition"])
        return Answer(200, {"value": [self._trigger_document(workflow, *found)] if found else []})

    def _trigger(self, call: Call) -> Json:
        workflow = require(self._cloud, _at(call, WORKFLOW))
        found = trigger_of(workflow.properties["definition"])
        if found is None or found[0].lower() != call.params["trigger"].lower():
            raise _missing("WorkflowTriggerNotFound", workflow, "trigger", call.params["trigger"])
        return self._trigger_document(workflow, *found)

    def _trigger_document(self, workflow: Resource, name: str, recurrence: Json) -> Json:
        upcoming, last = self._engine.next_of(workflow), self._last(workflow)
        properties = {
            "provisioningState": SUCCEEDED,
            "createdTime": workflow.properties["createdTime"],
            "changedTime": workflow.properties["changedTime"],
            "state": workflow.properties["state"],
            "status": "Waiting" if upcoming else SUCCEEDED,
            **({"lastExecutionTime": last.properties["startTime"]} if last else {}),
            **({"nextExecutionTime": stamp(upcoming)} if upcoming else {}),
            "recurrence": recurrence,
            "workflow": runs.version_of(workflow),
        }
        return {"properties": properties, "id": f"{workflow.id}/triggers/{name}", "name": name, "type": TRIGGER_TYPE}

    def fire(self, call: Call) -> Answer:
        """POST run of a trigger: a run now, beside those of the timetable."""
        document = self._trigger(call)
        workflow = require(self._cloud, _at(call, WORKFLOW))
        name = document["name"]
        if workflow.properties["state"] != ENABLED:
            raise invalid(
                f"Could not execute workflow '{workflow.name}' trigger '{name}' with state "
                f"'{workflow.properties['state']}': trigger is not enabled.",
                "WorkflowTriggerIsNotEnabled",
            )
        now = self._engine.clock.now()
        run = self._engine.begin(workflow, self._free_name(workflow, now), name, now)
        return Answer(200, headers={"x-ms-workflow-run-id": run.name, "x-ms-workflow-name": workflow.name})

    def _free_name(self, workflow: Resource, now: datetime) -> str:
        """A name beside those that the timetable gives; two runs may be asked for in one microsecond of the clock."""
        number = 0
        while self._cloud.store.get(f"{workflow.id}/runs/{run_name(now, workflow.id, 'by hand', str(number))}"):
            number += 1
        return run_name(now, workflow.id, "by hand", str(number))

    def histories(self, call: Call) -> Answer:
        """GET of a trigger's firings, newest first; each has become a run."""
        trigger = self._trigger(call)
        found, status = self._found(call), call.query.get("$filter", "")
        if status:
            raise not_emulated(f"the filter {status[:80]!r} of trigger histories")
        shown = [replace(each, document=runs.history_document(each, trigger["id"])) for each in found]
        return page(call, f"{trigger['id']}/histories", shown, _top(call))

    def history(self, call: Call) -> Answer:
        """GET of a firing."""
        trigger = self._trigger(call)
        run = self._named(call, call.params["history"])
        return Answer(200, runs.history_document(run, trigger["id"]))

    # Runs ----------------------------------------------------------------------------------------------------

    def runs(self, call: Call) -> Answer:
        """GET of the runs, newest first; `$top`, and `$filter=status eq '…'`."""
        found = self._found(call)
        if text := call.query.get("$filter"):
            wanted = _status_in(text)
            found = [each for each in found if each.properties["status"].lower() == wanted.lower()]
        return page(call, f"{_at(call, WORKFLOW).path}/runs", found, _top(call))

    def _found(self, call: Call) -> list[Resource]:
        workflow = require(self._cloud, _at(call, WORKFLOW))
        found = self._cloud.store.below(workflow.id, RUN_TYPE)
        return sorted(found, key=lambda each: each.properties["startTime"], reverse=True)

    def _run(self, call: Call) -> Resource:
        return self._named(call, call.params["run"])

    def _named(self, call: Call, name: str) -> Resource:
        workflow = require(self._cloud, _at(call, WORKFLOW))
        found = self._cloud.store.get(f"{workflow.id}/runs/{name}")
        if found is None:
            raise _missing("WorkflowRunNotFound", workflow, "run", name)
        return found

    def cancel(self, call: Call) -> Answer:
        """POST cancel: what it has sent stays sent; nothing more is. 400 for a run that has ended."""
        run = self._run(call)
        status = run.properties["status"]
        if status not in (RUNNING, CANCELLED):
            raise invalid(
                f"The workflow run '{run.name}' could not be cancelled: it has ended with the status '{status}'.",
                "WorkflowRunCannotBeCancelled",
            )
        if status == RUNNING:
            self._cloud.store.put(runs.cancelled(run, self._engine.clock.now()))
        return Answer(200)

    def actions(self, call: Call) -> Answer:
        """GET of a run's actions."""
        run = self._run(call)
        return Answer(200, {"value": [runs.action_document(run, name) for name in run.hidden["actions"]]})

    def action(self, call: Call) -> Answer:
        """GET of an action of a run."""
        run = self._run(call)
        for name in run.hidden["actions"]:
            if name.lower() == call.params["action"].lower():
                return Answer(200, runs.action_document(run, name))
        raise ArmError(
            404,
            "WorkflowRunActionNotFound",
            f"The workflow run '{run.name}' action '{call.params['action']}' could not be found.",
        )


def _checked(sent: Json, has: Json | None) -> tuple[str, Json, Json]:
    """State, definition and parameters of a body. Raises ArmError (400, 501)."""
    state = read.choice(sent, "state", (ENABLED, DISABLED), ENABLED, "properties") or ENABLED
    for name in ("integrationAccount", "integrationServiceEnvironment"):
        if read.mapping(sent, name, "properties"):
            raise not_emulated(f"'properties.{name}' of a workflow")
    for name in ("accessControl", "endpointsConfiguration"):
        read.mapping(sent, name, "properties")
    definition = read.mapping(sent, "definition", "properties", required=True)
    parameters = read.mapping(sent, "parameters", "properties")
    check_definition(definition, parameters, has)
    return state, definition, parameters


def _unless_changed(document: Json, existing: Resource | None) -> Json:
    """A document; a write that says what is there already makes no new version of the workflow."""
    if existing is None:
        return document
    kept = {name: existing.properties[name] for name in ("changedTime", "version")}
    same = {**document, "properties": {**document["properties"], **kept}}
    return same if same == existing.document else document


def _timing(existing: Resource | None, properties: Json, now: datetime) -> Json:
    """What the timetable goes by: when it was saved, and after which instant it may fire.

    One that stays as it is goes on counting, so that a change of something else does not make it fire.
    """
    before = existing.properties if existing else {}
    hidden = dict(existing.hidden) if existing else {}
    if not existing or trigger_of(before["definition"]) != trigger_of(properties["definition"]):
        saved = now.replace(microsecond=0)
        # The moment itself counts: without a start time the first run is at once.
        return {**hidden, "saved": stamp(saved), "since": stamp(saved - _TICK)}
    return hidden if before["state"] == properties["state"] else {**hidden, "since": stamp(now)}


def _at(call: Call, path: str) -> Call:
    """A request as one of what its resource is below."""
    return replace(call, template=ids.Template(path))


def _top(call: Call) -> int:
    return min(read.size(call.query, "$top", _PAGE), _LARGEST_PAGE)


def _status_in(text: str) -> str:
    words = text.split()
    if len(words) == 3 and [word.lower() for word in words[:2]] == ["status", "eq"] and words[2].strip("'"):
        return words[2].strip("'")
    raise not_emulated(f"the filter {text[:80]!r} of workflow runs; it knows status eq 'Failed'")


def _missing(code: str, workflow: Resource, what: str, name: str) -> ArmError:
    return ArmError(404, code, f"The workflow '{workflow.name}' {what} '{name}' could not be found.")


def _parts(run: Resource, *names: str) -> Json:
    return {name: run.properties[name] for name in names}
