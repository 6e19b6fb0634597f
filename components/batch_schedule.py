"""A timetable of a batch endpoint: a Logic App that invokes it."""

from typing import Any

import pulumi
from pulumi_azure_native import logic

from components.batch_invoker import BatchInvoker
from components.workspace import MLWorkspace
from settings import ScheduleSettings
from settings.schedules import LONG_AGO, Marks, next_minute
from settings.time_zones import known_name

SCHEMA = "https://schema.management.azure.com/providers/Microsoft.Logic/schemas/2016-06-01/workflowdefinition.json#"
AUDIENCE = "https://ml.azure.com"
FREQUENCIES = {"hour": "Hour", "day": "Day", "week": "Week"}
TYPES = {"uri_folder": "UriFolder", "uri_file": "UriFile"}
# Of each run, as the workflow definition language says it.
RUN = "@{workflow().run.name}"


class BatchSchedule(pulumi.ComponentResource):
    """A Logic App with a Recurrence trigger and an HTTP action that invokes the endpoint as `invoker`'s identity.

    There is one more for each further timetable that the times take (see `ScheduleSettings.marks`); `workflows` are
    their names in Azure, of which `workflow_name` is the first. `deployment` is a revision, or none for the endpoint's
    default. All wait for `ready`, which says that the endpoint takes invocations, and are deleted before it; all but a
    paused one, so that it can be paused, or edited while it is, also where a deployment does not come up.

    ```python
    schedule = BatchSchedule(
        "tumor-batch-nightly", workflow_name="tumor-batch-nightly", settings=settings, invoke_uri=uri,
        deployment=None, invoker=invoker, workspace=workspace, ready=[default],
    )
    ```
    """

    def __init__(
        self,
        name: str,
        *,
        workflow_name: str,
        settings: ScheduleSettings,
        invoke_uri: pulumi.Input[str],
        deployment: str | None,
        invoker: BatchInvoker,
        workspace: MLWorkspace,
        ready: list[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("azureml-endpoints:index:BatchSchedule", name, None, opts)
        action = _action(invoke_uri, deployment, job(settings, _uri(settings.input, workspace)), invoker)
        workflows = settings.workflows(workflow_name)
        needs = [] if settings.paused else ready
        # Gone before the workspace is deleted, which would keep the identity's role from going.
        options = pulumi.ResourceOptions(parent=self, depends_on=[*needs, invoker.effective, *workspace.purge])
        for child, (in_azure, marks) in zip(settings.workflows(name), workflows.items(), strict=True):
            logic.Workflow(
                f"{child}-workflow",
                workflow_name=in_azure,
                resource_group_name=workspace.resource_group_name,
                location=workspace.location,
                identity=logic.ManagedServiceIdentityArgs(type="UserAssigned", user_assigned_identities=[invoker.id]),
                state="Disabled" if settings.paused else "Enabled",
                definition=_definition(recurrence(settings, marks), action),
                opts=options,
            )
        self.workflows = list(workflows)
        self.register_outputs({"workflows": self.workflows})


def _definition(timetable: dict[str, Any], action: dict[str, Any]) -> dict[str, Any]:
    return {
        "$schema": SCHEMA,
        "contentVersion": "1.0.0.0",
        "parameters": {},
        "triggers": {"Recurrence": {"type": "Recurrence", "recurrence": timetable}},
        "actions": {"Invoke": action},
        "outputs": {},
    }


def recurrence(settings: ScheduleSettings, marks: Marks) -> dict[str, Any]:
    """A timetable as Logic Apps have it, by the clock of the settings' time zone."""
    first, last = settings.first() or LONG_AGO, settings.last()
    hourly = settings.every == "hour"
    # Azure has no marks within an hour: there the minute is the start's, and an hour passes whatever the clocks do.
    start = next_minute(first, marks.minutes[0]) if hourly else first
    days = {"weekDays": [day.capitalize() for day in settings.on]} if settings.on else {}
    schedule = {"hours": [*marks.hours], "minutes": [*marks.minutes], **days}
    return {
        "frequency": FREQUENCIES[settings.every],
        "interval": 1,
        "startTime": start.isoformat(),
        **({"endTime": last.isoformat()} if last else {}),
        "timeZone": known_name(settings.time_zone),
        **({} if hourly else {"schedule": schedule}),
    }


def job(settings: ScheduleSettings, uri: pulumi.Input[str]) -> dict[str, Any]:
    """What an invocation asks for: the input, and what is to be other than the deployment says."""
    kind = TYPES[settings.input_type]
    asked: dict[str, Any] = {"inputData": {kind: {"jobInputType": kind, "uri": uri}}}
    if settings.output:
        # "If the output file exists, the batch scoring job will fail": so a folder of its own a run.
        folder = f"{settings.output.rstrip('/')}/{RUN}/"
        asked["outputData"] = {"score": {"jobOutputType": "UriFolder", "uri": folder}}
    if settings.instance_count:
        asked["compute"] = {"instanceCount": settings.instance_count}
    if settings.mini_batch_size:
        asked["miniBatchSize"] = settings.mini_batch_size
    return {"properties": asked}


def _action(
    uri: pulumi.Input[str], deployment: str | None, body: dict[str, Any], invoker: BatchInvoker
) -> dict[str, Any]:
    # A Logic App tries a request again that got no answer; by this header, which Azure ML's client sends too, the
    # endpoint knows it again and begins no second job.
    headers = {"Content-Type": "application/json", "repeatability_request-id": RUN}
    headers |= {"azureml-model-deployment": deployment} if deployment else {}
    login = {"type": "ManagedServiceIdentity", "identity": invoker.id, "audience": AUDIENCE}
    inputs = {"method": "POST", "uri": uri, "headers": headers, "body": body, "authentication": login}
    return {"type": "Http", "runAfter": {}, "inputs": inputs}


def _uri(given: str, workspace: MLWorkspace) -> pulumi.Input[str]:
    """An input as the service reads it: a data asset by its ARM id."""
    if given.startswith("azureml://") or not given.startswith("azureml:"):
        return given
    _, name, version = given.split(":")
    return workspace.asset_id(f"data/{name}/versions/{version}")
