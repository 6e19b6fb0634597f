"""Layer: components under Pulumi's mocks; what a batch endpoint and its schedules ask Azure for, and in which order."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.batch_invoker import ACTIONS
from localazure.providers.logic.definition import check_definition
from localazure.providers.logic.expressions import Scope, evaluated
from settings import parse
from tests.components.test_program import CUSTOM, raw, whole

CLUSTER = (
    "/subscriptions/10ca1a2e-0000-4000-8000-000000000001/resourceGroups/rg-aml-test/providers/"
    "Microsoft.MachineLearningServices/workspaces/aml-test/computes/gpus"
)
NIGHTLY = {
    "every": "day",
    "at": "02:00",
    "timeZone": "Europe/London",
    "input": "azureml://datastores/workspaceblobstore/paths/inbox/",
}


def stack(run: Any, change: Callable[[dict[str, Any]], None]) -> Any:
    return run(lambda: whole(parse(raw(lambda values: change(values["batchEndpoints"]["tumor-batch"])))) and None)


def scheduled(run: Any, suffix: str = "", **schedules: dict[str, Any]) -> Any:
    """What the stack registers with these schedules."""

    def change(values: dict[str, Any]) -> None:
        values["batchEndpoints"]["tumor-batch"]["schedules"] = schedules
        values["nameSuffix"] = suffix

    return run(lambda: whole(parse(raw(change))) and None)


def recurrence(workflow: Any) -> dict[str, Any]:
    """The timetable of a Logic App, which has exactly one."""
    ((name, trigger),) = workflow.inputs["definition"]["triggers"].items()
    assert (name, trigger["type"]) == ("Recurrence", "Recurrence")
    return trigger["recurrence"]


def invocation(workflow: Any) -> dict[str, Any]:
    """The request that a Logic App makes."""
    return workflow.inputs["definition"]["actions"]["Invoke"]["inputs"]


# The endpoint -----------------------------------------------------------------------------------------------------


def test_every_setting_of_a_batch_deployment_arrives(run: Any, project: Path) -> None:
    told = {
        **CUSTOM,
        "compute": CLUSTER,
        "instanceCount": 3,
        "description": "in bulk",
        "tags": {"team": "a"},
        "properties": {"origin": "b"},
        "environmentVariables": {"LEVEL": "debug"},
        "maxConcurrencyPerInstance": 4,
        "miniBatchSize": 5,
        "outputAction": "summary_only",
        "outputFileName": "scores.csv",
        "retrySettings": {"maxRetries": 6, "timeout": 300},
        "errorThreshold": 7,
        "loggingLevel": "warning",
    }
    (custom, _) = stack(run, lambda endpoint: endpoint["deployments"].update(custom=told)).of_type(":BatchDeployment")
    properties = custom.inputs["properties"]
    assert properties.pop("model")["referenceType"] == "Id"
    assert properties.pop("codeConfiguration")["scoringScript"] == "score.py"
    assert properties.pop("environmentId")
    assert custom.inputs["tags"] == {"team": "a"}
    assert properties == {
        "compute": CLUSTER,
        "resources": {"instanceCount": 3.0},
        "description": "in bulk",
        "properties": {"origin": "b"},
        "environmentVariables": {"LEVEL": "debug"},
        "maxConcurrencyPerInstance": 4.0,
        "miniBatchSize": 5.0,
        "outputAction": "SummaryOnly",
        "outputFileName": "scores.csv",
        "retrySettings": {"maxRetries": 6.0, "timeout": "PT300S"},
        "errorThreshold": 7.0,
        "loggingLevel": "Warning",
    }


def test_without_a_word_a_batch_deployment_has_azures_defaults(run: Any, project: Path) -> None:
    (_, mlflow) = stack(run, lambda endpoint: None).of_type(":BatchDeployment")
    properties = mlflow.inputs["properties"]
    defaults = {
        "miniBatchSize": 10,
        "maxConcurrencyPerInstance": 1,
        "errorThreshold": -1,
        "retrySettings": {"maxRetries": 3, "timeout": "PT30S"},
        "outputAction": "AppendRow",
        "outputFileName": "predictions.csv",
        "loggingLevel": "Info",
        "resources": {"instanceCount": 1},
    }
    assert {key: properties[key] for key in defaults} == defaults


def test_the_default_moves_only_when_every_deployment_is_there(run: Any, project: Path) -> None:
    world = stack(run, lambda endpoint: None)
    default, made = world["tumor-batch-default"], world.of_type(":BatchDeployment")
    assert {deployment.name for deployment in made} <= default.dependencies
    states = {deployment.inputs["deploymentName"]: "Succeeded" for deployment in made}
    assert default.inputs["provisioningStates"] == states, "it refuses one that Azure gave up"


# What a schedule asks for -----------------------------------------------------------------------------------------


def test_a_day_has_its_times_on_the_clock_of_the_time_zone(run: Any, project: Path) -> None:
    (workflow,) = scheduled(run, nightly=NIGHTLY).of_type(":Workflow")
    assert workflow.inputs["workflowName"] == "tumor-batch-nightly"
    assert workflow.inputs["state"] == "Enabled"
    assert recurrence(workflow) == {
        "frequency": "Day",
        "interval": 1,
        "startTime": "2024-01-01T00:00:00",
        "timeZone": "GMT Standard Time",
        "schedule": {"hours": [2], "minutes": [0]},
    }, "without a start in the past it would run as soon as it is saved"


def test_a_week_has_its_days_a_beginning_and_an_end(run: Any, project: Path) -> None:
    weekly = {
        **NIGHTLY,
        "every": "week",
        "on": ["monday", "friday"],
        "at": ["06:30", "18:30"],
        "timeZone": "Romance Standard Time",
        "start": "2026-04-01",
        "end": "2026-07-01T12:00",
        "paused": True,
    }
    (workflow,) = scheduled(run, weekly=weekly).of_type(":Workflow")
    assert workflow.inputs["state"] == "Disabled"
    assert recurrence(workflow) == {
        "frequency": "Week",
        "interval": 1,
        "startTime": "2026-04-01T00:00:00",
        "endTime": "2026-07-01T12:00:00",
        "timeZone": "Romance Standard Time",
        "schedule": {"hours": [6, 18], "minutes": [30], "weekDays": ["Monday", "Friday"]},
    }


def test_an_hour_begins_at_its_minute_and_has_no_marks(run: Any, project: Path) -> None:
    hourly = {"every": "hour", "at": ":15", "input": NIGHTLY["input"], "start": "2026-04-01T08:20"}
    (workflow,) = scheduled(run, hourly=hourly).of_type(":Workflow")
    assert recurrence(workflow) == {
        "frequency": "Hour",
        "interval": 1,
        "startTime": "2026-04-01T09:15:00",
        "timeZone": "UTC",
    }, "Azure has no schedule within an hour"


def test_times_that_one_timetable_cannot_say_are_several_logic_apps(run: Any, project: Path) -> None:
    world = scheduled(run, suffix="a1b2c3", often={**NIGHTLY, "at": ["02:00", "14:30", "03:00"]})
    first, second = (world[f"tumor-batch-{name}-workflow"] for name in ("often", "often-1430"))
    assert first.inputs["workflowName"] == "tumor-batch-a1b2c3-often"
    assert recurrence(first)["schedule"] == {"hours": [2, 3], "minutes": [0]}
    assert second.inputs["workflowName"] == "tumor-batch-a1b2c3-often-1430"
    assert recurrence(second)["schedule"] == {"hours": [14], "minutes": [30]}
    assert invocation(first) == invocation(second)


def test_it_invokes_the_default_unless_it_names_a_deployment(run: Any, project: Path) -> None:
    world = scheduled(run, plain=NIGHTLY, named={**NIGHTLY, "deployment": "custom"})
    plain, named = (invocation(world[f"tumor-batch-{name}-workflow"]) for name in ("plain", "named"))
    custom, _ = world.of_type(":BatchDeployment")
    assert "azureml-model-deployment" not in plain["headers"]
    assert plain["headers"]["repeatability_request-id"] == "@{workflow().run.name}", "a second try is no second job"
    assert named["headers"]["azureml-model-deployment"] == custom.inputs["deploymentName"], "its revision"
    assert (plain["method"], plain["uri"]) == ("POST", "https://tumor-batch/score")
    body = {"inputData": {"UriFolder": {"jobInputType": "UriFolder", "uri": NIGHTLY["input"]}}}
    assert plain["body"] == {"properties": body}


def test_it_can_say_where_the_output_goes_and_how_many_work(run: Any, project: Path) -> None:
    told = {
        **NIGHTLY,
        "input": "azureml:inbox:3",
        "output": "azureml://datastores/workspaceblobstore/paths/outbox/",
        "instanceCount": 4,
        "miniBatchSize": 50,
    }
    world = scheduled(run, asset=told, file={**NIGHTLY, "input": "https://a.example/b.csv", "inputType": "uri_file"})
    asset, file = (
        invocation(world[f"tumor-batch-{name}-workflow"])["body"]["properties"] for name in ("asset", "file")
    )
    assert asset["inputData"]["UriFolder"]["uri"].endswith("/aml-test/data/inbox/versions/3")
    own = f"{told['output']}@{{workflow().run.name}}/"
    assert asset["outputData"] == {"score": {"jobOutputType": "UriFolder", "uri": own}}, "a folder that no run had"
    assert (asset["compute"], asset["miniBatchSize"]) == ({"instanceCount": 4}, 50)
    assert file == {"inputData": {"UriFile": {"jobInputType": "UriFile", "uri": "https://a.example/b.csv"}}}


@pytest.mark.parametrize("output", ["out/", "out", "out//"])
def test_no_two_runs_write_into_one_folder(run: Any, project: Path, output: str) -> None:
    told = {**NIGHTLY, "output": f"azureml://datastores/workspaceblobstore/paths/{output}"}
    (workflow,) = scheduled(run, nightly=told).of_type(":Workflow")
    bodies = [evaluated(invocation(workflow)["body"], Scope({}, name, datetime.now(UTC))) for name in ("one", "two")]
    folders = [body["properties"]["outputData"]["score"]["uri"] for body in bodies]
    out = "azureml://datastores/workspaceblobstore/paths/out"
    assert folders == [f"{out}/one/", f"{out}/two/"], "a job fails whose output file is there"


def test_logic_apps_take_what_is_asked_for(run: Any, project: Path) -> None:
    schedules = {
        "nightly": {**NIGHTLY, "output": "azureml://datastores/workspaceblobstore/paths/outbox/"},
        "hourly": {"every": "hour", "input": NIGHTLY["input"]},
        "weekly": {**NIGHTLY, "every": "week", "on": ["sunday"], "start": "2026-04-01", "end": "2026-05-01"},
    }
    workflows = scheduled(run, **schedules).of_type(":Workflow")
    assert len(workflows) == len(schedules)
    for workflow in workflows:
        identity = workflow.inputs["identity"]
        check_definition(
            workflow.inputs["definition"],
            {},
            {**identity, "userAssignedIdentities": identity["userAssignedIdentities"]},
        )


# Who invokes ------------------------------------------------------------------------------------------------------


def test_schedules_share_an_identity_that_may_do_what_invoking_takes(run: Any, project: Path) -> None:
    world = scheduled(run, nightly=NIGHTLY, weekly={**NIGHTLY, "every": "week", "on": ["monday"]})
    (identity,) = [each for each in world.of_type(":UserAssignedIdentity") if "invoker" in each.name]
    assert identity.inputs["resourceName"] == "id-tumor-batch-schedules"
    role, definition = world["tumor-batch-invoker-role"], world["tumor-batch-invoker-definition"]
    assert role.inputs["principalId"] == "tumor-batch-invoker-user-principal"
    assert role.inputs["scope"].endswith("/aml-test"), "the workspace, and no more"
    assert role.inputs["roleDefinitionId"].endswith(definition.inputs["roleDefinitionId"])
    defined = world["tumor-batch-invoker-defined"]
    assert defined.name in role.dependencies, "Azure takes a while until a new role can be assigned"
    assert definition.name in defined.dependencies
    (permission,) = definition.inputs["permissions"]
    below = "Microsoft.MachineLearningServices/workspaces/"
    assert permission["actions"] == [f"{below}{action}" for action in ACTIONS]
    assert not [action for action in permission["actions"] if "*" in action or action.endswith("/delete")]
    assert definition.inputs["assignableScopes"] == [definition.inputs["scope"]]
    assert definition.inputs["scope"].count("/") == 4, "a resource group is the least that a role can be for"
    for workflow in world.of_type(":Workflow"):
        (own,) = workflow.inputs["identity"]["userAssignedIdentities"]
        assert invocation(workflow)["authentication"] == {
            "type": "ManagedServiceIdentity",
            "identity": own,
            "audience": "https://ml.azure.com",
        }


def test_a_schedule_waits_for_its_role_and_for_the_default(run: Any, project: Path) -> None:
    world = scheduled(run, nightly=NIGHTLY)
    (workflow,) = world.of_type(":Workflow")
    made = {deployment.name for deployment in world.of_type(":BatchDeployment")}
    needs = {"tumor-batch-default", "tumor-batch-endpoint", "tumor-batch-invoker-effective", *made}
    assert needs <= workflow.dependencies, "and is deleted before each of them"
    assert "tumor-batch-invoker-role" in world["tumor-batch-invoker-effective"].dependencies
    assert workflow.deleted_with == "", "Azure does not take it away with the endpoint"


def test_a_paused_schedule_waits_for_no_deployment(run: Any, project: Path) -> None:
    world = scheduled(run, nightly={**NIGHTLY, "paused": True})
    (workflow,) = world.of_type(":Workflow")
    made = {deployment.name for deployment in world.of_type(":BatchDeployment")}
    assert not workflow.dependencies & {"tumor-batch-default", *made}, "it can be paused where one does not come up"
    assert {"tumor-batch-endpoint", "tumor-batch-invoker-effective"} <= workflow.dependencies


def test_schedules_and_their_role_go_before_the_workspace_is_deleted(run: Any, project: Path) -> None:
    for paused in (False, True):
        world = scheduled(run, nightly={**NIGHTLY, "paused": paused})
        (workflow,) = world.of_type(":Workflow")
        for first in (workflow, world["tumor-batch-invoker-role"]):
            assert "workspace-purge" in first.dependencies, f"{first.name} would go while the workspace is Deleting"


def test_schedules_read_the_workspaces_blobs_under_their_own_name(run: Any, project: Path) -> None:
    world = scheduled(run, nightly=NIGHTLY)
    blobs = world["tumor-batch-invoker-blobs"]
    assert blobs.inputs["principalId"] == "tumor-batch-invoker-user-principal"
    assert "/storage/" in blobs.inputs["scope"]
    assert blobs.inputs["roleDefinitionId"].endswith("/2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"), "to read, not to write"
    assert blobs.name in world["tumor-batch-invoker-effective"].dependencies, "no run begins before it may read"


def test_a_stack_without_schedules_has_nobody_to_invoke(run: Any, project: Path) -> None:
    names = scheduled(run).names()
    assert not [name for name in names if "invoker" in name]


@pytest.mark.parametrize(
    "change",
    [{"at": "03:00"}, {"paused": True}, {"input": "azureml:inbox:1"}, {"deployment": "custom"}, {"instanceCount": 2}],
)
def test_an_edit_of_a_schedule_changes_its_logic_app_only(run: Any, project: Path, change: dict[str, Any]) -> None:
    def registered(**told: Any) -> dict[str, Any]:
        world = scheduled(run, nightly={**NIGHTLY, **told})
        return {f"{each.type} {each.name}": each.inputs for each in world.registered}

    before, after = registered(), registered(**change)
    assert before.keys() == after.keys()
    (changed,) = [name for name in before if before[name] != after[name]]
    assert changed == "azure-native:logic:Workflow tumor-batch-nightly-workflow"


def test_a_component_says_what_its_logic_apps_are_called(run: Any, project: Path) -> None:
    seen: dict[str, Any] = {}

    def change(values: dict[str, Any]) -> None:
        values["batchEndpoints"]["tumor-batch"]["schedules"] = {"often": {**NIGHTLY, "at": ["02:00", "14:30"]}}

    def program() -> Any:
        outputs = whole(parse(raw(change)))["batch"]["tumor-batch"].outputs
        return pulumi.Output.all(**outputs).apply(seen.update)

    run(program)
    assert seen["schedules"] == {"often": ["tumor-batch-often", "tumor-batch-often-1430"]}


def test_a_private_workspace_refuses_schedules_and_says_what_to_use(
    run: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(values: dict[str, Any]) -> None:
        values["workspace"] = {"existing": CLUSTER.rpartition("/computes")[0]}
        values["batchEndpoints"]["tumor-batch"]["schedules"] = {"nightly": NIGHTLY}

    class Private:
        public_network_access = "Disabled"

    monkeypatch.setattr("components.workspace.ml.get_workspace", lambda **inputs: Private())
    expected = r"batchEndpoints\.tumor-batch\.schedules: workspace aml-test has no public .* Azure Data Factory"
    with pytest.raises(pulumi.RunError, match=expected):
        run(lambda: whole(parse(raw(change))) and None)
