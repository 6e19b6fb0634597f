"""Layer: components under Pulumi's mocks; what an online deployment is told, and which of it makes another revision."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.batch_endpoint import BatchEndpoint
from components.online_endpoint import OnlineEndpoint
from components.workspace import MLWorkspace
from settings import (
    BatchDeploymentSettings,
    BatchEndpointSettings,
    DeploymentSettings,
    OnlineDeploymentSettings,
    OnlineEndpointSettings,
    Settings,
    parse,
)
from tests.components.conftest import SUBSCRIPTION
from tests.components.test_program import CUSTOM, raw, whole
from tests.samples import DATA_COLLECTOR

IDENTITY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/own"
BASE: dict[str, Any] = {**CUSTOM, "instanceType": "Standard_DS2_v2"}
# docs/decisions/0003-a-deployment-is-immutable.md says why each is where it is.
SHARED_REVISION: dict[str, Any] = {
    "model": {"path": "models/mlflow", "type": "custom_model"},
    "code": {"path": "other", "script": "score.py"},
    "environment": {"image": "mcr.microsoft.com/azureml/other", "condaFile": "code/conda.yaml"},
    "environmentVariables": {"LEVEL": "debug"},
    "properties": {"origin": "a"},
    "attempt": 1,
}
SHARED_IN_PLACE: dict[str, Any] = {"description": "the second", "tags": {"team": "a"}, "instanceCount": 3}
REVISION: dict[str, Any] = {
    **SHARED_REVISION,
    "instanceType": "Standard_DS3_v2",
    "modelMountPath": "/var/models",
    "egressPublicNetworkAccess": "disabled",
    "resources": {"limits": {"cpu": 1}},
}
IN_PLACE: dict[str, Any] = {
    **SHARED_IN_PLACE,
    "appInsightsEnabled": True,
    "requestSettings": {"requestTimeoutMs": 9000},
    "livenessProbe": {"period": 5},
    "readinessProbe": {"period": 5},
    "startupProbe": {"period": 5},
    "dataCollector": {"collections": {"model_inputs": {}}},
    "smokeTest": {"request": "smoke/request.json"},
    "autoscale": {"maxInstances": 3, "rules": [{"metric": "cpu", "above": 70}]},
}


BATCH_BASE: dict[str, Any] = {**CUSTOM, "compute": "azureml:some"}
BATCH_REVISION: dict[str, Any] = {**SHARED_REVISION, "compute": "azureml:other"}
BATCH_IN_PLACE: dict[str, Any] = {
    **SHARED_IN_PLACE,
    "maxConcurrencyPerInstance": 2,
    "miniBatchSize": 3,
    "outputAction": "summary_only",
    "outputFileName": "other.csv",
    "retrySettings": {"timeout": 60},
    "errorThreshold": 5,
    "loggingLevel": "debug",
}


def stack(endpoint: dict[str, Any] | None = None, **told: Any) -> Settings:
    """A stack with one online deployment."""

    def change(values: dict[str, Any]) -> None:
        blue = {"deployments": {"blue": {**BASE, **told}}, "traffic": {"blue": 100}}
        values["onlineEndpoints"] = {"tumor-online": blue | (endpoint or {})}

    return parse(raw(change))


@pytest.fixture(scope="module")
def files(shared_project: Path) -> Path:
    """The project, with what the settings here name."""
    texts = {
        "other/score.py": "def init(): ...\ndef run(data): ...  # otherwise",
        "smoke/request.json": '{"input_data": []}',
        "smoke/answer.json": '{"class": ["benign"]}',
        "context/Dockerfile": "FROM scratch",
    }
    for name, text in texts.items():
        (shared_project / name).parent.mkdir(exist_ok=True)
        (shared_project / name).write_text(text)
    return shared_project


Named = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def named(run: Any, files: Path) -> Named:
    """The revision that each change leads to, by kind and setting; and that of no change, twice."""
    found: Named = {"online": {}, "batch": {}}

    def program() -> None:
        workspace = MLWorkspace("workspace", settings=stack())
        place: dict[str, Any] = {"endpoint_name": "tumor", "workspace": workspace}
        for key, told in changes(REVISION, IN_PLACE):
            # Not by way of the whole stack: some settings are for Kubernetes only, others for Azure's machines only.
            online = OnlineEndpointSettings.model_validate({"deployments": {"blue": {**BASE, **told}}})
            found["online"][key] = OnlineEndpoint("tumor-online", settings=online, **place).deployments["blue"]
        for key, told in changes(BATCH_REVISION, BATCH_IN_PLACE):
            batch = BatchEndpointSettings.model_validate({"deployments": {"blue": {**BATCH_BASE, **told}}})
            endpoint = BatchEndpoint("tumor-batch", settings=batch, clusters={}, **place)
            found["batch"][key] = endpoint.deployments["blue"]

    with contextlib.chdir(files):
        run(program)
    return found


def changes(*tables: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Nothing, each setting of the tables, and nothing again."""
    yield "nothing", {}
    for table in tables:
        yield from ((key, {key: value}) for key, value in table.items())
    yield "nothing again", {}


def each(online: dict[str, Any], batch: dict[str, Any]) -> list[tuple[str, str]]:
    return [("online", setting) for setting in online] + [("batch", setting) for setting in batch]


@pytest.mark.parametrize(
    ("model", "revision", "in_place"),
    [
        (OnlineDeploymentSettings, {*REVISION}, {*IN_PLACE}),
        (BatchDeploymentSettings, {*BATCH_REVISION}, {*BATCH_IN_PLACE}),
    ],
)
def test_every_setting_is_either_part_of_the_revision_or_changed_in_place(
    model: type[DeploymentSettings], revision: set[str], in_place: set[str]
) -> None:
    fields = {field.alias for field in model.model_fields.values()}
    assert fields == revision | in_place, "say in the table, and in decision 3, what a change of it does"
    assert not revision & in_place


@pytest.mark.parametrize(("kind", "setting"), each(REVISION, BATCH_REVISION))
def test_what_a_deployment_runs_makes_another_revision(named: Named, kind: str, setting: str) -> None:
    assert named[kind][setting] != named[kind]["nothing"]


@pytest.mark.parametrize(("kind", "setting"), each(IN_PLACE, BATCH_IN_PLACE))
def test_what_azure_changes_in_place_leaves_the_revision(named: Named, kind: str, setting: str) -> None:
    assert named[kind][setting] == named[kind]["nothing"]


def test_no_two_changes_lead_to_the_same_revision(named: Named) -> None:
    assert len({named["online"][setting] for setting in REVISION}) == len(REVISION)


@pytest.mark.parametrize("kind", ["online", "batch"])
def test_going_back_to_an_earlier_configuration_gives_the_earlier_revision(named: Named, kind: str) -> None:
    assert named[kind]["nothing again"] == named[kind]["nothing"]


def test_a_setting_that_is_new_leaves_the_names_of_revisions_that_do_not_use_it(named: Named) -> None:
    # Written down here: with other names, an update of this program would deploy everything anew.
    assert named["online"]["nothing"] == "blue-cea9c222"


TOLD: dict[str, Any] = {
    "properties": {"origin": "a"},
    "startupProbe": {"initialDelay": 3},
    "egressPublicNetworkAccess": "enabled",
    "modelMountPath": "/var/models",
    "dataCollector": DATA_COLLECTOR,
    "smokeTest": {"request": "smoke/request.json", "json": "smoke/answer.json", "timeLimit": 9},
}


@pytest.fixture(scope="module")
def told(run: Any, files: Path) -> Iterator[Any]:
    """What a stack registers that tells its deployment everything, and gives its endpoint an identity."""
    with contextlib.chdir(files):
        yield run(lambda: whole(stack({"identity": "user"}, **TOLD)) and None)


def deployment(world: Any) -> dict[str, Any]:
    (found,) = world.of_type(":OnlineDeployment")
    return found.inputs["properties"]


def test_a_deployment_is_told_what_is_configured_in_azures_words(told: Any) -> None:
    properties = deployment(told)
    assert properties["egressPublicNetworkAccess"] == "Enabled"
    assert properties["modelMountPath"] == "/var/models"
    assert properties["properties"] == {"origin": "a"}
    assert properties["startupProbe"] == {
        "initialDelay": "PT3S",
        "period": "PT10S",
        "timeout": "PT2S",
        "successThreshold": 1.0,
        "failureThreshold": 30.0,
    }


def test_a_data_collector_names_its_data_by_arm_ids_and_its_rates_per_collection(told: Any) -> None:
    collector = deployment(told)["dataCollector"]
    assert (collector["rollingRate"], collector["requestLogging"]) == ("Day", {"captureHeaders": ["x-trace"]})
    inputs, outputs = collector["collections"]["model_inputs"], collector["collections"]["model_outputs"]
    assert (inputs["dataCollectionMode"], inputs["samplingRate"]) == ("Enabled", 0.5)
    assert inputs["dataId"].endswith("/aml-test/data/inputs/versions/2")
    assert inputs["clientId"] == "10ca1a2e-0000-4000-8000-0000000000cc"
    assert outputs == {"dataCollectionMode": "Disabled", "samplingRate": 1.0}


def test_what_is_not_configured_is_not_sent(run: Any, files: Path) -> None:
    with contextlib.chdir(files):
        properties = deployment(run(lambda: whole(stack()) and None))
    assert not {"startupProbe", "dataCollector", "modelMountPath", "properties"} & {*properties}


def test_traffic_gets_the_smoke_test_of_each_revision_that_has_one(told: Any) -> None:
    ((revision, test),) = told["tumor-online-traffic"].inputs["smokeTests"].items()
    assert revision == told.of_type(":OnlineDeployment")[0].inputs["deploymentName"]
    assert json.loads(test.pop("json")) == {"class": ["benign"]}, "what the file holds"
    assert test == {"request": "smoke/request.json", "status": 200.0, "timeLimit": 9.0}


def test_an_identity_of_the_stacks_own_gets_the_roles_that_azure_gives_its_own(told: Any) -> None:
    roles = [role for role in told.of_type(":RoleAssignment") if role.name.startswith("tumor-online-identity-")]
    given = {role.name.removeprefix("tumor-online-identity-"): role.inputs for role in roles}
    assert {name: own["roleDefinitionId"].rpartition("/")[2] for name, own in given.items()} == {
        "blobs": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
        "images": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
        "metrics": "635dd51f-9968-44d3-b7fb-6d9a6bd613ae",
        "collected": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    }
    assert {own["principalId"] for own in given.values()} == {"tumor-online-identity-user-principal"}
    assert len({own["roleAssignmentName"] for own in given.values()}) == 4
    assert "/storage/" in given["blobs"]["scope"]
    assert "/containerregistry/" in given["images"]["scope"]
    assert given["metrics"]["scope"].endswith("/aml-test"), "the workspace's own id"


def test_deployments_wait_until_the_roles_are_effective_and_the_endpoint_does_not(told: Any) -> None:
    effective = told["tumor-online-identity-effective"]
    assert {f"tumor-online-identity-{role}" for role in ("blobs", "images", "metrics")} <= effective.dependencies
    assert "tumor-online-identity-effective" in told.of_type(":OnlineDeployment")[0].dependencies
    assert effective.inputs["seconds"] == 120
    endpoint = told["tumor-online-endpoint"]
    assert "tumor-online-identity-effective" not in endpoint.dependencies, "Azure makes it in the meantime"
    assert endpoint.inputs["identity"]["type"] == "UserAssigned"
    assert endpoint.inputs["identity"]["userAssignedIdentities"][0].endswith("/id-aml-test-tumor-online")


def test_identities_that_are_there_are_used_and_get_no_roles(run: Any, project: Path) -> None:
    def change(values: dict[str, Any]) -> None:
        values["onlineEndpoints"]["tumor-online"]["identity"] = [IDENTITY]

    world = run(lambda: whole(parse(raw(change))) and None)
    identity = world["tumor-online-endpoint"].inputs["identity"]
    assert identity == {"type": "UserAssigned", "userAssignedIdentities": [IDENTITY]}
    assert not [name for name in world.names() if name.startswith("tumor-online-identity")]


def test_without_a_word_azure_makes_the_identity(run: Any, project: Path) -> None:
    world = run(lambda: whole(parse(raw())) and None)
    assert world["tumor-online-endpoint"].inputs["identity"] == {"type": "SystemAssigned"}


def test_a_workspace_without_a_registry_cannot_have_an_identity_of_the_stacks(run: Any, project: Path) -> None:
    def change(values: dict[str, Any]) -> None:
        base = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/old/providers"
        values["workspace"] = {"existing": f"{base}/Microsoft.MachineLearningServices/workspaces/aml-old"}
        values["onlineEndpoints"]["tumor-online"]["identity"] = "user"

    with pytest.raises(pulumi.RunError, match="registry of workspace aml-old, which has none yet"):
        run(lambda: whole(parse(raw(change))) and None)


def test_the_traffic_is_not_deleted_with_the_endpoint_so_that_its_requests_come_to_an_end(told: Any) -> None:
    assert told["tumor-online-traffic"].deleted_with == ""
    assert "tumor-online-endpoint" in told["tumor-online-traffic"].dependencies, "deleted before it"


def test_an_environment_may_be_a_build_context_a_registered_one_or_the_latest(
    run: Any, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    latest = type("Container", (), {"properties": type("Properties", (), {"latest_version": "4"})})
    monkeypatch.setattr("components.assets.ml.get_environment_container", lambda **_: latest)

    def environment(value: Any) -> Any:
        with contextlib.chdir(files):
            world = run(lambda: whole(stack(environment=value)) and None)
        return deployment(world)["environmentId"], world

    assert environment("azureml:env:3")[0].endswith("/aml-test/environments/env/versions/3")
    assert environment("azureml:env@latest")[0].endswith("/aml-test/environments/env/versions/4")
    registry = "azureml://registries/azureml/environments/sklearn-1.5/versions/2"
    assert environment(registry)[0] == registry
    built, world = environment({"buildContext": "context"})
    inputs = world["tumor-online-blue-environment"].inputs
    assert (inputs["buildContext"], inputs["dockerfile"]) == ("context", "Dockerfile")
    assert built.endswith(f"/versions/{inputs['version']}")


def test_a_latest_that_moves_on_is_another_revision(run: Any, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def revision(version: str) -> str:
        latest = type("Container", (), {"properties": type("Properties", (), {"latest_version": version})})
        monkeypatch.setattr("components.assets.ml.get_environment_container", lambda **_: latest)
        with contextlib.chdir(files):
            world = run(lambda: whole(stack(environment="azureml:env@latest")) and None)
        return world.of_type(":OnlineDeployment")[0].inputs["deploymentName"]

    assert revision("4") != revision("5")
