"""Layer: components under Pulumi's mocks; the order and the options that Azure's rules ask for."""

import contextlib
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.batch_endpoint import BatchEndpoint
from components.compute_cluster import ComputeCluster
from components.online_endpoint import OnlineEndpoint
from components.workspace import MLWorkspace
from settings import Settings, parse

MLFLOW = {"model": {"path": "models/mlflow", "type": "mlflow_model"}}
CUSTOM = {
    "model": {"path": "models/custom/model.pkl", "type": "custom_model"},
    "code": {"path": "code", "script": "score.py"},
    "environment": {"image": "mcr.microsoft.com/azureml/image", "condaFile": "code/conda.yaml"},
}
RAW: dict[str, Any] = {
    "azure-native:location": "eastus",
    "nameSuffix": "",
    "workspace": {"name": "aml-test"},
    "computeClusters": {"aml-cluster": {"vmSize": "Standard_DS3_v2", "maxInstances": 4}},
    "onlineEndpoints": {
        "tumor-online": {
            "deployments": {
                "blue": {**MLFLOW, "instanceType": "Standard_F4s_v2"},
                "green": {**CUSTOM, "instanceType": "Standard_DS2_v2", "instanceCount": 3},
                "amber": {**CUSTOM, "instanceType": "Standard_DS2_v2"},
            },
            "traffic": {"blue": 90, "green": 10, "amber": 0},
        }
    },
    "batchEndpoints": {
        "tumor-batch": {
            "deployments": {
                "mlflow": {**MLFLOW, "compute": "aml-cluster"},
                "custom": {**CUSTOM, "compute": "azureml:old-cluster"},
            },
            "defaultDeployment": "mlflow",
        }
    },
}


def raw(change: Callable[[dict[str, Any]], None] = lambda values: None) -> dict[str, Any]:
    values = deepcopy(RAW)
    change(values)
    return values


def whole(settings: Settings) -> dict[str, Any]:
    """The stack as __main__ wires it."""
    workspace = MLWorkspace("workspace", settings=settings)
    clusters = {
        name: ComputeCluster(name, cluster_name=settings.azure_name(name), settings=own, workspace=workspace)
        for name, own in settings.compute_clusters.items()
    }
    online = {
        name: OnlineEndpoint(
            name, endpoint_name=settings.azure_name(name), settings=own, workspace=workspace, clusters=clusters
        )
        for name, own in settings.online_endpoints.items()
    }
    batch = {
        name: BatchEndpoint(
            name, endpoint_name=settings.azure_name(name), settings=own, workspace=workspace, clusters=clusters
        )
        for name, own in settings.batch_endpoints.items()
    }
    return {"online": online, "batch": batch, "workspace": workspace}


@pytest.fixture(scope="module")
def world(run: Any, shared_project: Path) -> Any:
    """What the whole stack registers, for the tests that only look."""
    with contextlib.chdir(shared_project):
        return run(lambda: whole(parse(raw())) and None)


def revisions(world: Any, type_: str) -> list[str]:
    return [resource.inputs["deploymentName"] for resource in world.of_type(type_)]


def test_deployments_of_an_endpoint_wait_for_it_and_then_for_all_that_went_before(world: Any) -> None:
    amber, blue, green = world.of_type(":OnlineDeployment")
    assert [name.inputs["deploymentName"].rpartition("-")[0] for name in (amber, blue, green)] == [
        "amber",
        "blue",
        "green",
    ], "deployments come in the order of their names"
    assert "tumor-online-ready" in amber.dependencies
    assert {"tumor-online-ready", amber.name} <= blue.dependencies
    assert {amber.name, blue.name} <= green.dependencies, "else two old ones could be deleted at the same time"


def test_parallel_deployments_wait_for_the_endpoint_only(run: Any, project: Path) -> None:
    def change(values: dict[str, Any]) -> None:
        values["onlineEndpoints"]["tumor-online"]["parallelDeployments"] = True

    deployments = run(lambda: whole(parse(raw(change))) and None).of_type(":OnlineDeployment")
    names = {deployment.name for deployment in deployments}
    assert all("tumor-online-ready" in deployment.dependencies for deployment in deployments)
    assert not any(deployment.dependencies & names for deployment in deployments)


def test_traffic_comes_after_every_deployment_and_names_revisions(world: Any) -> None:
    traffic = world["tumor-online-traffic"]
    amber, blue, green = revisions(world, ":OnlineDeployment")
    assert {deployment.name for deployment in world.of_type(":OnlineDeployment")} <= traffic.dependencies
    assert traffic.inputs["traffic"] == {blue: 90.0, green: 10.0}, "a share of 0 is no share"
    assert traffic.inputs["provisioningStates"] == dict.fromkeys((amber, blue, green), "Succeeded")
    assert traffic.inputs["drainSeconds"] == 35, "a request timeout of 5 s and 30 s more"


def test_a_timeout_arrives_to_the_millisecond(run: Any, project: Path) -> None:
    def change(values: dict[str, Any]) -> None:
        settings = {"requestTimeoutMs": 10_000, "maxQueueWaitMs": 1_234_567}
        values["onlineEndpoints"]["tumor-online"]["deployments"]["blue"]["requestSettings"] = settings

    blue = run(lambda: whole(parse(raw(change))) and None).of_type(":OnlineDeployment")[1]
    requests = blue.inputs["properties"]["requestSettings"]
    assert (requests["requestTimeout"], requests["maxQueueWait"]) == ("PT10S", "PT1234.567S")


def test_an_endpoint_says_whether_it_was_ever_created(world: Any) -> None:
    for name in ("tumor-online", "tumor-batch"):
        assert world[f"{name}-ready"].inputs["provisioningState"] == "Succeeded"
        assert world[f"{name}-ready"].inputs["scoringUri"] == f"https://{name}/score"


def test_what_azure_deletes_together_is_not_deleted_one_by_one(world: Any) -> None:
    for deployment in world.of_type(":OnlineDeployment"):
        assert deployment.deleted_with == "tumor-online-endpoint"
    assert world["tumor-batch-default"].deleted_with == "tumor-batch-endpoint"
    for name in ("tumor-online-endpoint", "tumor-batch-endpoint", "aml-cluster-cluster", "aml-cluster-removal"):
        assert world[name].deleted_with == "workspace-workspace"


def test_the_endpoint_leaves_traffic_and_what_the_service_writes_to_others(world: Any) -> None:
    assert {"properties.traffic", "properties.mirrorTraffic", "properties.properties"} == set(
        world["tumor-online-endpoint"].ignored
    )
    assert {"properties.defaults", "properties.properties"} == set(world["tumor-batch-endpoint"].ignored)
    for deployment in (*world.of_type(":OnlineDeployment"), *world.of_type(":BatchDeployment")):
        assert set(deployment.ignored) == {"properties.environmentVariables", "properties.properties"}


def test_children_are_called_after_their_component_and_lie_below_it(world: Any) -> None:
    assert world["tumor-online"].type == "azureml-endpoints:index:OnlineEndpoint"
    assert world["tumor-online-endpoint"].parent == "tumor-online"
    assert world["tumor-online-blue-model"].parent == "tumor-online-blue"
    assert world["tumor-online-blue"].parent == "tumor-online"


def test_a_deployment_runs_the_assets_that_were_registered_for_it(world: Any) -> None:
    green = next(d for d in world.of_type(":OnlineDeployment") if "green" in d.name)
    model = world["tumor-online-green-model"].inputs
    assert green.inputs["properties"]["model"] == f"/assets/tumor-online-green/versions/{model['version']}"
    assert green.inputs["properties"]["codeConfiguration"]["scoringScript"] == "score.py"
    assert green.inputs["sku"] == {"name": "Default", "capacity": 3.0}
    assert world["tumor-online-green-model"].request.retainOnDelete, "versions stay when a stack stops using them"


def test_an_mlflow_deployment_has_no_code_and_no_environment(world: Any) -> None:
    blue = next(d for d in world.of_type(":OnlineDeployment") if "blue" in d.name)
    assert "codeConfiguration" not in blue.inputs["properties"]
    assert "environmentId" not in blue.inputs["properties"]


def test_batch_deployments_run_on_clusters_of_the_stack_or_on_ones_that_are_there(world: Any) -> None:
    custom, mlflow = world.of_type(":BatchDeployment")
    assert custom.inputs["properties"]["compute"].endswith("/aml-test/computes/old-cluster")
    assert mlflow.inputs["properties"]["compute"].endswith("/aml-cluster")
    assert world["tumor-batch-default"].inputs["deploymentName"] == mlflow.inputs["deploymentName"]


def test_roles_go_to_the_clusters_identity_and_come_before_the_cluster(world: Any) -> None:
    roles = world.of_type(":RoleAssignment")
    assert {role.inputs["principalType"] for role in roles} == {"ServicePrincipal"}
    assert len({role.inputs["roleAssignmentName"] for role in roles}) == 2
    assert {role.name for role in roles} <= world["aml-cluster-cluster"].dependencies


def test_the_vault_is_purged_after_it_and_the_workspace_before_it(world: Any) -> None:
    assert "workspace-vault-purge" in world["workspace-vault"].dependencies, "deleted before its purge"
    assert "workspace-workspace" in world["workspace-purge"].dependencies, "purged before azure-native deletes it"
    assert world["workspace-purge"].inputs["enabled"] is False
    assert "aml-cluster-removal" in world["aml-cluster-cluster"].dependencies, "one that is interrupted has it too"
    assert world["aml-cluster-cluster"].request.retainOnDelete, "azure-native's own DELETE would be refused"
    assert "workspace-purge" in world["tumor-online-traffic"].dependencies, "drained before all is purged"


def test_an_existing_workspace_is_used_as_it_is(run: Any, project: Path) -> None:
    def change(values: dict[str, Any]) -> None:
        values["workspace"] = {
            "existing": "/subscriptions/10ca1a2e-0000-4000-8000-000000000001/resourceGroups/old/providers/"
            "Microsoft.MachineLearningServices/workspaces/aml-old"
        }

    world = run(lambda: whole(parse(raw(change))) and None)
    assert not world.of_type(":Workspace"), "nothing is made that is there"
    assert world["tumor-online-endpoint"].inputs["workspaceName"] == "aml-old"
    assert world["tumor-online-endpoint"].inputs["location"] == "westeurope"
    assert world["tumor-online-endpoint"].deleted_with == ""


def test_names_in_azure_get_the_suffix_and_names_in_pulumi_do_not(run: Any, project: Path) -> None:
    world = run(lambda: whole(parse(raw(lambda values: values.update(nameSuffix="a1b2c3")))) and None)
    assert world["tumor-online-endpoint"].inputs["endpointName"] == "tumor-online-a1b2c3"
    assert world["aml-cluster-cluster"].inputs["computeName"] == "aml-cluster-a1b2c3"


@pytest.mark.parametrize(
    "change",
    [
        lambda blue: blue.update(instanceType="Standard_DS3_v2"),
        lambda blue: blue.update(attempt=1),
        lambda blue: blue.update(environmentVariables={"A": "1"}),
        lambda blue: blue["model"].update(name="other"),
    ],
)
def test_what_a_deployment_runs_is_in_its_name(run: Any, project: Path, change: Callable[[Any], None]) -> None:
    def program(revised: bool) -> Any:
        values = raw()
        if revised:
            change(values["onlineEndpoints"]["tumor-online"]["deployments"]["blue"])
        return run(lambda: whole(parse(values)) and None)

    _, before, green = revisions(program(False), ":OnlineDeployment")
    _, after, same = revisions(program(True), ":OnlineDeployment")
    assert before != after, "a changed deployment is another one, beside the live one"
    assert green == same, "and its neighbour stays"


@pytest.mark.parametrize(
    "change",
    [
        lambda blue: blue.update(instanceCount=5),
        lambda blue: blue.update(tags={"team": "a"}),
        lambda blue: blue.update(requestSettings={"requestTimeoutMs": 9000}),
    ],
)
def test_what_can_change_in_place_is_not_in_the_name(run: Any, project: Path, change: Callable[[Any], None]) -> None:
    def blue(values: dict[str, Any]) -> Any:
        return values["onlineEndpoints"]["tumor-online"]["deployments"]["blue"]

    changed = raw(lambda values: change(blue(values)))
    before = revisions(run(lambda: whole(parse(raw())) and None), ":OnlineDeployment")
    assert before == revisions(run(lambda: whole(parse(changed)) and None), ":OnlineDeployment")


def test_changed_content_makes_a_new_version_and_a_new_revision(run: Any, project: Path) -> None:
    before = run(lambda: whole(parse(raw())) and None)
    (project / "models/mlflow/model.pkl").write_text("blue, better")
    after = run(lambda: whole(parse(raw())) and None)
    name = "tumor-online-blue-model"
    assert before[name].inputs["version"] != after[name].inputs["version"]
    assert revisions(before, ":OnlineDeployment")[1] != revisions(after, ":OnlineDeployment")[1]
    assert revisions(before, ":OnlineDeployment")[2] == revisions(after, ":OnlineDeployment")[2]


def test_a_model_that_is_renamed_or_of_another_type_is_another_version(run: Any, project: Path) -> None:
    def version(**model: str) -> str:
        def change(values: dict[str, Any]) -> None:
            values["onlineEndpoints"]["tumor-online"]["deployments"]["green"]["model"].update(model)

        world = run(lambda: whole(parse(raw(change))) and None)
        return world["tumor-online-green-model"].inputs["version"]

    before = version(path="models/custom/model.pkl")
    (project / "models/custom/tumor.pkl").write_bytes((project / "models/custom/model.pkl").read_bytes())
    assert version(path="models/custom/tumor.pkl") != before, "the script finds it by its name"


def test_a_latest_that_cannot_be_looked_up_ends_the_program_without_a_traceback(
    run: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**inputs: Any) -> None:
        raise Exception("invoke failed: 404 not found")

    def change(values: dict[str, Any]) -> None:
        values["onlineEndpoints"]["tumor-online"]["deployments"]["blue"]["model"] = "azureml:tumor@latest"

    monkeypatch.setattr("components.assets.ml.get_model_container", refuse)
    expected = r"azureml:tumor@latest: .*404 not found; register it, or name a version\."
    with pytest.raises(pulumi.RunError, match=expected):
        run(lambda: whole(parse(raw(change))) and None)


@pytest.mark.parametrize("name", ["my_ws", "ab-", "2024ml", "a__"])
def test_what_a_workspace_stands_on_has_names_that_azure_takes(run: Any, project: Path, name: str) -> None:
    world = run(lambda: whole(parse(raw(lambda values: values.update(workspace={"name": name})))) and None)
    vault, logs = world["workspace-vault"].inputs["vaultName"], world["workspace-logs"].inputs["workspaceName"]
    assert re.fullmatch(r"[a-z][a-z0-9]{2,23}", vault), "a letter first"
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]", logs), "no underscore, and no hyphen at the end"


def test_a_registered_model_is_taken_by_its_id_and_latest_is_looked_up(run: Any, project: Path) -> None:
    def change(values: dict[str, Any]) -> None:
        deployments = values["onlineEndpoints"]["tumor-online"]["deployments"]
        deployments["blue"]["model"] = "azureml:tumor@latest"
        deployments["green"]["model"] = "azureml://registries/shared/models/tumor/versions/3"

    world = run(lambda: whole(parse(raw(change))) and None)
    blue, green = world.of_type(":OnlineDeployment")[1:]
    assert blue.inputs["properties"]["model"].endswith("/models/tumor/versions/7")
    assert green.inputs["properties"]["model"] == "azureml://registries/shared/models/tumor/versions/3"
    assert "tumor-online-blue-model" not in world.names()


def test_outputs_name_uris_shares_and_revisions(run: Any, project: Path) -> None:
    seen: dict[str, Any] = {}

    def program() -> Any:
        endpoint = whole(parse(raw()))["online"]["tumor-online"]
        return pulumi.Output.all(**endpoint.outputs).apply(seen.update)

    run(program)
    assert seen["name"] == "tumor-online"
    assert seen["scoringUri"] == "https://tumor-online/score"
    assert seen["traffic"] == {"blue": 90, "green": 10, "amber": 0}
    assert seen["deployments"]["blue"].startswith("blue-")


def test_a_deployments_removal_goes_before_it(world: Any) -> None:
    for deployment in (*world.of_type(":OnlineDeployment"), *world.of_type(":BatchDeployment")):
        removal = world[f"{deployment.name}-removal"]
        assert deployment.name in removal.dependencies, "azure-native's own DELETE gives up on a busy endpoint"
        assert removal.deleted_with == deployment.deleted_with


def test_a_login_that_fails_ends_the_program_without_a_traceback(
    run: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(opts: pulumi.InvokeOptions) -> None:
        raise Exception("invoke failed: az login has expired")

    monkeypatch.setattr("components.workspace.authorization.get_client_config", refuse)
    with pytest.raises(pulumi.RunError, match=r"cannot log in to Azure: .*az login has expired"):
        run(lambda: whole(parse(raw())) and None)
