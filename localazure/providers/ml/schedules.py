"""Schedules of jobs, batch endpoints and monitors: checked, kept and listed. Nothing fires them yet."""

from __future__ import annotations

from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, conflict, invalid, not_emulated, user_error
from localazure.arm.ids import SUBSCRIPTION
from localazure.arm.operations import FAILED, RUNNING, Family, Kind
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Operation, Resource, now
from localazure.providers.cloud import Cloud
from localazure.providers.common import check_name, long_headers, page, require_subscription, with_state
from localazure.providers.ml.job_definitions import definition
from localazure.providers.ml.names import (
    CREATING,
    DELETING,
    NAMESPACE,
    SUCCEEDED,
    UPDATING,
    WORKSPACE,
    WORKSPACE_TYPE,
    guid,
    region,
    workspace_above,
    workspace_of,
)
from localazure.providers.ml.names import FAILED as STATE_FAILED
from localazure.providers.ml.queries import view
from localazure.providers.ml.stored_jobs import NAME, NAME_RULE, check_source
from localazure.providers.ml.triggers import started, trigger_of

Json = dict[str, Any]

SCHEDULE_TYPE = WORKSPACE_TYPE + "/schedules"
SCHEDULE = WORKSPACE + "/schedules/{schedule}"
SCHEDULE_FAMILY = Family(NAMESPACE, "s", "mfeOperationsStatus", "mfeOperationResults", CREATING)
ACTIONS = ("CreateJob", "InvokeBatchEndpoint", "CreateMonitor")
_VIEWS = ("EnabledOnly", "DisabledOnly", "All")
_LOCATION = f"{SUBSCRIPTION}/providers/{NAMESPACE}/locations/{{location}}"
_WHERE = "properties.action"
_KEPT = "stored; not fired yet"
_PAGE = 100


class Schedules:
    """`Microsoft.MachineLearningServices/workspaces/schedules`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        cloud.operations.register("schedule.put", Kind(lambda operation: None, self._put, self._failed))
        cloud.operations.register("schedule.delete", Kind(lambda operation: None, self._gone, self._failed))

    def routes(self) -> list[Route]:
        """Schedules, and the polls of their operations, which have a form of their own."""
        return [
            Route.of("PUT", SCHEDULE, self.create, simplified=_KEPT),
            Route.of("GET", SCHEDULE, lambda call: Answer(200, self._find(call).document)),
            Route.of("DELETE", SCHEDULE, self.delete),
            Route.of("GET", SCHEDULE.rpartition("/")[0], self.list),
            Route.of("GET", f"{_LOCATION}/mfeOperationsStatus/s:{{operation}}", self.poll),
            Route.of("GET", f"{_LOCATION}/mfeOperationResults/s:{{operation}}", self.result),
        ]

    def _find(self, call: Call) -> Resource:
        workspace_of(self._cloud, call)
        found = self._cloud.store.get(call.path)
        if found is None:
            raise user_error(404, f"Resource Trigger {call.params['schedule']} not found")
        return found

    def list(self, call: Call) -> Answer:
        """The workspace's schedules, newest first; those that are switched off only on request."""
        found = self._cloud.store.below(workspace_of(self._cloud, call).id, SCHEDULE_TYPE)
        wanted = view(call, _VIEWS, "EnabledOnly")
        fit = [each for each in found if wanted in ("All", "EnabledOnly" if _is_enabled(each) else "DisabledOnly")]
        return page(call, call.path, fit[::-1], _PAGE)

    # Create, update, delete ----------------------------------------------------------------------------------

    def create(self, call: Call) -> Answer:
        """PUT: 201 with nothing but the properties, as recorded; then `Succeeded`, and a start where none was given."""
        workspace = workspace_of(self._cloud, call)
        name = call.params["schedule"]
        check_name(name, NAME, "schedule", NAME_RULE)
        existing = self._cloud.store.get(f"{workspace.id}/schedules/{name}")
        _refuse_busy(existing)
        properties = self._compose(read.mapping(call.json(), "properties", required=True), existing)
        data = self._cloud.system_data(call.caller, existing.created if existing else None, now())
        resource_id = existing.id if existing else f"{workspace.id}/schedules/{name}"
        # Recorded: a schedule is answered without id and type.
        document = {"name": ids.name(resource_id), "properties": properties, "systemData": data}
        created = existing.created if existing else data["createdAt"]
        self._cloud.store.put(Resource(resource_id, SCHEDULE_TYPE, document, {}, created))
        headers = self._begin(call, "schedule.put", resource_id, resource_id)
        return Answer(201, {"properties": properties}, headers)

    def _compose(self, sent: Json, existing: Resource | None) -> Json:
        before = existing.properties if existing else {}
        properties = {
            "description": read.text(sent, "description", "properties"),
            "tags": read.strings(sent, "tags", "properties"),
            "properties": read.strings(sent, "properties", "properties"),
            "displayName": read.text(sent, "displayName", "properties"),
            "isEnabled": read.flag(sent, "isEnabled", True, "properties"),
            "trigger": trigger_of(sent, before.get("trigger")),
            "action": self._action(read.mapping(sent, "action", "properties", required=True)),
            "provisioningState": UPDATING if existing else CREATING,
        }
        if existing is not None:
            _refuse_change(existing, properties)
        return properties

    def _action(self, sent: Json) -> Json:
        """What the schedule is to do. Raises ArmError (400, 501)."""
        if (read.text(sent, "actionType", _WHERE) or "").lower() == "importdata":
            raise not_emulated("schedules that import data")
        kind = read.choice(sent, "actionType", ACTIONS, None, _WHERE)
        if kind is None:
            raise invalid(f"'{_WHERE}.actionType' is required: one of {', '.join(ACTIONS)}.", "ValidationError")
        if kind == "CreateJob":
            job = definition(read.mapping(sent, "jobDefinition", _WHERE, required=True), f"{_WHERE}.jobDefinition")
            check_source(self._cloud, job.get("sourceJobId"))
            return {"actionType": kind, "jobDefinition": job}
        name = "endpointInvocationDefinition" if kind == "InvokeBatchEndpoint" else "monitorDefinition"
        asked = read.mapping(sent, name, _WHERE, required=True)
        if kind == "CreateMonitor":
            for part in ("computeConfiguration", "signals"):
                read.mapping(asked, part, f"{_WHERE}.monitorDefinition", required=True)
        return {**sent, "actionType": kind}

    def delete(self, call: Call) -> Answer:
        """DELETE: 202 and the literal `null`; 204 where there was nothing."""
        workspace_of(self._cloud, call)
        schedule = self._cloud.store.get(call.path)
        if schedule is None:
            return Answer(204)
        _refuse_busy(schedule)
        self._cloud.store.put(with_state(schedule, DELETING))
        return Answer(202, None, self._begin(call, "schedule.delete", schedule.id, ""))

    def _begin(self, call: Call, kind: str, resource_id: str, location: str) -> dict[str, str]:
        workspace = workspace_above(self._cloud, resource_id)
        operation = self._cloud.operations.begin(kind, resource_id, prefix=f"s:{guid(workspace)}")
        return long_headers(self._cloud, call, SCHEDULE_FAMILY, operation, region(workspace), resource=location)

    def _put(self, operation: Operation, _outcome: object) -> None:
        if schedule := self._cloud.store.get(operation.resource):
            trigger = started(schedule.properties["trigger"])
            self._cloud.store.put(with_state(schedule.with_properties(trigger=trigger), SUCCEEDED))

    def _gone(self, operation: Operation, _outcome: object) -> None:
        self._cloud.store.delete(operation.resource)

    def _failed(self, operation: Operation, _failure: object) -> None:
        if schedule := self._cloud.store.get(operation.resource):
            self._cloud.store.put(with_state(schedule, STATE_FAILED))

    # Polls ---------------------------------------------------------------------------------------------------

    def poll(self, call: Call) -> Answer:
        """GET of an operation's status: `Creating` or `Deleting`, then `Succeeded` with its times."""
        operation = self._operation(call)
        path = SCHEDULE_FAMILY.path(
            "mfeOperationResults", call.params["subscription"], call.params["location"], operation.id
        )
        body: Json = {"id": path, "name": operation.id}
        if operation.status == RUNNING:
            body["status"] = DELETING if operation.kind == "schedule.delete" else CREATING
            return Answer(200, body, self._again())
        body |= {"status": operation.status, "startTime": operation.started, "endTime": operation.ended}
        return Answer(200, body | ({"error": operation.error} if operation.error else {}))

    def result(self, call: Call) -> Answer:
        """GET of an operation's result: 202 while it runs, then what is left of the schedule."""
        operation = self._operation(call)
        if operation.status == RUNNING:
            link = f"https://{call.host}{call.path}?api-version={call.api_version}"
            return Answer(202, headers={"Location": link, **self._again()})
        if operation.status == FAILED:
            error = operation.error or {}
            raise ArmError(400, error.get("code") or "OperationFailed", error.get("message") or "The operation failed.")
        left = self._cloud.store.get(operation.resource)
        return Answer(200, left.document) if left else Answer(200)

    def _operation(self, call: Call) -> Operation:
        require_subscription(self._cloud, call.params["subscription"])
        identifier = f"s:{call.params['operation']}"
        found = self._cloud.store.operation(identifier)
        if found is None:
            raise ArmError(404, "OperationNotFound", f"The operation '{identifier}' was not found.")
        return found

    def _again(self) -> dict[str, str]:
        return {"retry-after-ms": str(self._cloud.settings.operation_retry_after_ms)}


def _is_enabled(schedule: Resource) -> bool:
    return bool(schedule.properties["isEnabled"])


def _refuse_busy(existing: Resource | None) -> None:
    if existing is not None and existing.state in (CREATING, UPDATING, DELETING):
        raise conflict(
            f"The schedule '{existing.name}' is in {existing.state} provisioning state; try again when it is done."
        )


def _refuse_change(existing: Resource, properties: Json) -> None:
    """Raises ArmError (400) where a schedule would be shown under another name, or do another kind of thing."""
    kinds = (existing.properties["action"]["actionType"], properties["action"]["actionType"])
    names = (existing.properties["displayName"], properties["displayName"])
    for what, (old, new) in (("action.actionType", kinds), ("displayName", names)):
        if old != new:
            raise user_error(
                400,
                f"'properties.{what}' of the schedule '{existing.name}' is '{old}' and cannot become '{new}': it is "
                "set when the schedule is created. Delete the schedule, or give the new one another name.",
            )
