"""azure-ai-ml, as it is: what a user of Azure ML does with `MLClient`, from the workspace to a scored request."""

# The client declares less than it takes and more than it returns: unions and optionals that no answer of it is.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.ai.ml import Input, MLClient, command, dsl
from azure.ai.ml.constants import AssetTypes, ListViewType
from azure.ai.ml.entities import (
    AccountKeyConfiguration,
    AmlCompute,
    AzureBlobDatastore,
    BatchEndpoint,
    BatchRetrySettings,
    BuildContext,
    CodeConfiguration,
    CronTrigger,
    Data,
    DataCollector,
    DeploymentCollection,
    Environment,
    JobSchedule,
    ManagedOnlineDeployment,
    ManagedOnlineEndpoint,
    Model,
    ModelBatchDeployment,
    ModelBatchDeploymentSettings,
    OnlineRequestSettings,
    ProbeSettings,
    RecurrencePattern,
    RecurrenceTrigger,
    RequestLogging,
    SasTokenConfiguration,
    Workspace,
)
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from azure.storage.blob import ContainerClient

from dynamic.capacity import scale
from tests.clients.conftest import LOCATION, SCORING, Place, Waits

IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04"
# No operation is slept on for as long as this, in seconds: without word from the server it would be 5 or 30.
SHORT = 1.0


@pytest.fixture(scope="module")
def ml(place: Place, environment: None) -> MLClient:
    return MLClient(DefaultAzureCredential(), place.subscription, place.group, place.workspace)


def fresh(kind: str) -> str:
    """A name that nothing has; a cluster's must not end in a hyphen and digits."""
    return f"{kind}-x{uuid.uuid4().hex[:7]}"


# Workspaces -----------------------------------------------------------------------------------------------------------


def test_a_workspace_is_made_read_changed_listed_and_purged(ml: MLClient, place: Place, waits: Waits) -> None:
    name = fresh("made")
    wanted = Workspace(
        name=name,
        location=LOCATION,
        description="said",
        display_name="Tumours",
        tags={"team": "tumor"},
        storage_account=place.storage_id,
        key_vault=place.vault_id,
        application_insights=place.insights_id,
    )
    made = ml.workspaces.begin_create(wanted).result()
    read = ml.workspaces.get(name)
    assert read is not None
    assert (made.name, read.name, read.location) == (name, name, LOCATION)
    assert (read.description, read.display_name) == ("said", "Tumours")
    assert read.tags is not None
    assert read.tags["team"] == "tumor"
    assert (read.storage_account, read.key_vault) == (place.storage_id, place.vault_id)
    assert read.application_insights == place.insights_id
    assert read.identity is not None
    assert read.identity.type == "system_assigned"
    assert read.public_network_access == "Enabled"
    assert read.hbi_workspace is False
    assert name in [each.name for each in ml.workspaces.list()]
    assert name in [each.name for each in ml.workspaces.list(scope="subscription")]

    read.description = "changed"
    read.tags = {"team": "lung"}
    changed = ml.workspaces.begin_update(read).result()
    assert (changed.description, changed.tags) == ("changed", {"team": "lung"})
    again = ml.workspaces.get(name)
    assert again is not None
    assert (again.description, again.tags, again.display_name) == ("changed", {"team": "lung"}, "Tumours")
    assert [each.name for each in MLClient(ml._credential, place.subscription, place.group, name).datastores.list()]

    ml.workspaces.begin_delete(name, delete_dependent_resources=False, permanently_delete=True).result()
    with pytest.raises(ResourceNotFoundError):
        ml.workspaces.get(name)
    ml.workspaces.begin_create(wanted).result()
    ml.workspaces.begin_delete(name, delete_dependent_resources=False).result()
    with pytest.raises(ResourceNotFoundError):
        ml.workspaces.get(name)
    with pytest.raises(HttpResponseError, match="Soft-deleted workspace exists"):
        ml.workspaces.begin_create(wanted).result()
    assert waits.longest < SHORT


def test_a_workspace_brings_along_what_it_stands_on(ml: MLClient, place: Place) -> None:
    name = fresh("alone")
    made = ml.workspaces.begin_create(Workspace(name=name, location=LOCATION)).result()
    parts = (made.storage_account, made.key_vault, made.application_insights)
    for part in parts:
        assert place.get(part)["id"] == part
    ml.workspaces.begin_delete(name, delete_dependent_resources=True, permanently_delete=True).result()
    assert [place.send("GET", part).status_code for part in parts] == [404, 404, 404]


def test_the_keys_of_a_workspace_are_those_of_what_it_stands_on(ml: MLClient, place: Place) -> None:
    keys = ml.workspaces.get_keys(place.workspace)
    assert keys is not None
    assert keys.user_storage_key == place.keys()[0]
    insights = place.get(place.insights_id)["properties"]
    assert keys.app_insights_instrumentation_key == insights["InstrumentationKey"]


# Models, environments, data -------------------------------------------------------------------------------------------


# Of how the client itself calls azure-storage-blob.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:azure.storage.blob")
def test_a_custom_model_is_uploaded_and_read_back(ml: MLClient, tmp_path: Path) -> None:
    name = fresh("custom")
    file = SCORING / "models/custom/model.pkl"
    wanted = Model(name=name, path=file, type=AssetTypes.CUSTOM_MODEL, description="said", tags={"team": "tumor"})
    made = ml.models.create_or_update(wanted)
    read = ml.models.get(name, version="1")
    assert (made.name, made.version) == (name, "1"), "the first version of a new name"
    assert (read.type, read.description, read.tags) == ("custom_model", "said", {"team": "tumor"})
    assert read.path.endswith("/model.pkl")
    assert read.path == made.path
    assert read.id == made.id
    ml.models.download(name, "1", download_path=tmp_path)
    (found,) = tmp_path.rglob("model.pkl")
    assert found.read_bytes() == file.read_bytes()


def test_an_mlflow_model_gets_a_new_version_each_time_and_its_content_is_uploaded_once(ml: MLClient) -> None:
    name = fresh("mlflow")
    wanted = Model(name=name, path=SCORING / "models/mlflow", type=AssetTypes.MLFLOW_MODEL)
    first = ml.models.create_or_update(wanted)
    second = ml.models.create_or_update(Model(name=name, path=SCORING / "models/mlflow", type="mlflow_model"))
    assert (first.version, second.version) == ("1", "2")
    assert first.path == second.path
    assert ml.models.get(name, label="latest").version == "2"
    assert [each.version for each in ml.models.list(name=name)] == ["2", "1"], "the newest first"
    container = next(each for each in ml.models.list() if each.name == name)
    assert container.latest_version == "2"

    first.description = "changed"
    assert ml.models.create_or_update(first).description == "changed"
    assert ml.models.get(name, version="1").description == "changed"


def test_a_models_content_does_not_change_under_its_version(ml: MLClient) -> None:
    name = fresh("fixed")
    ml.models.create_or_update(Model(name=name, version="7", path=SCORING / "models/mlflow", type="mlflow_model"))
    other = Model(name=name, version="7", path=SCORING / "models/custom", type="custom_model")
    with pytest.raises(HttpResponseError, match="Asset paths cannot be updated"):
        ml.models.create_or_update(other)


def test_archived_models_are_hidden_until_they_are_restored(ml: MLClient) -> None:
    name = fresh("archived")
    for version in ("1", "2"):
        ml.models.create_or_update(Model(name=name, version=version, path=SCORING / "models/mlflow"))

    def versions(view: str = ListViewType.ACTIVE_ONLY) -> list[str | None]:
        return [each.version for each in ml.models.list(name=name, list_view_type=view)]

    ml.models.archive(name=name, version="1")
    assert versions() == ["2"]
    assert versions(ListViewType.ARCHIVED_ONLY) == ["1"]
    assert versions(ListViewType.ALL) == ["2", "1"]
    assert ml.models.get(name, version="1").version == "1", "who names it still gets it"
    ml.models.restore(name=name, version="1")
    assert versions() == ["2", "1"]
    ml.models.archive(name=name)
    assert name not in [each.name for each in ml.models.list()]
    ml.models.restore(name=name)
    assert name in [each.name for each in ml.models.list()]


def test_an_environment_of_conda_and_image_is_read_back(ml: MLClient) -> None:
    name = fresh("conda")
    file = SCORING / "online/conda.yaml"
    wanted = Environment(name=name, image=IMAGE, conda_file=file, description="said", tags={"team": "tumor"})
    sent = wanted.conda_file
    made = ml.environments.create_or_update(wanted)
    read = ml.environments.get(name, version="1")
    assert (made.name, made.version) == (name, "1")
    assert (read.image, read.conda_file) == (IMAGE, sent)
    assert (read.description, read.tags, read.os_type) == ("said", {"team": "tumor"}, "Linux")
    same = ml.environments.create_or_update(Environment(name=name, image=IMAGE, conda_file=file))
    assert same.version == "1", "the same content is the same version"
    other = ml.environments.create_or_update(Environment(name=name, image=IMAGE + ":1", conda_file=file))
    assert other.version == "2", "another content is a new one"
    assert ml.environments.get(name, label="latest").version == "2"
    assert [each.version for each in ml.environments.list(name=name)] == ["2", "1"]
    with pytest.raises(ResourceExistsError, match="already registered and cannot be changed"):
        ml.environments.create_or_update(Environment(name=name, version="1", image=IMAGE + ":2", conda_file=file))
    ml.environments.archive(name, version="1")
    assert [each.version for each in ml.environments.list(name=name)] == ["2"]
    ml.environments.restore(name, version="1")
    assert [each.version for each in ml.environments.list(name=name)] == ["2", "1"]


def test_an_environment_of_a_build_context_is_registered(ml: MLClient, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\n")
    name = fresh("build")
    ml.environments.create_or_update(Environment(name=name, build=BuildContext(path=tmp_path), version="3"))
    read = ml.environments.get(name, version="3")
    assert read.build is not None
    assert read.build.dockerfile_path == "Dockerfile"
    assert str(read.build.path).startswith("https://")
    assert read.image is None
    assert read.conda_file is None


def test_data_is_uploaded_and_read_back(ml: MLClient, tmp_path: Path) -> None:
    name = fresh("data")
    folder = SCORING / "samples/batch"
    made = ml.data.create_or_update(Data(name=name, path=str(folder), type="uri_folder", tags={"team": "tumor"}))
    read = ml.data.get(name, version="1")
    assert (made.version, read.type, read.tags) == ("1", "uri_folder", {"team": "tumor"})
    assert read.path == made.path
    assert str(read.path).startswith("azureml://")
    file = Data(name=fresh("file"), path=str(folder / "tumors-1.csv"), type="uri_file", version="5")
    assert ml.data.create_or_update(file).version == "5"
    assert [each.version for each in ml.data.list(name=name)] == ["1"]
    assert name in [each.name for each in ml.data.list()]
    ml.data.archive(name, version="1")
    assert list(ml.data.list(name=name)) == []
    ml.data.restore(name, version="1")
    assert ml.data.get(name, label="latest").version == "1"


# Compute and datastores -----------------------------------------------------------------------------------------------


def test_a_cluster_is_made_changed_listed_and_deleted(ml: MLClient, waits: Waits) -> None:
    name = fresh("cluster")
    wanted = AmlCompute(
        name=name,
        size="Standard_DS3_v2",
        min_instances=0,
        max_instances=4,
        idle_time_before_scale_down=100,
        tier="low_priority",
        description="said",
        tags={"team": "tumor"},
    )
    ml.compute.begin_create_or_update(wanted).result()
    read = ml.compute.get(name)
    assert isinstance(read, AmlCompute)
    assert (read.size, read.tier, read.location) == ("Standard_DS3_v2", "low_priority", LOCATION)
    assert (read.min_instances, read.max_instances, read.idle_time_before_scale_down) == (0, 4, 100)
    assert (read.description, read.tags, read.provisioning_state) == ("said", {"team": "tumor"}, "Succeeded")
    assert read.enable_node_public_ip is True
    read.max_instances = 2
    ml.compute.begin_update(read).result()
    changed = ml.compute.get(name)
    assert isinstance(changed, AmlCompute)
    assert (changed.max_instances, changed.min_instances, changed.size) == (2, 0, "Standard_DS3_v2")
    assert name in [each.name for each in ml.compute.list()]
    assert name in [each.name for each in ml.compute.list(compute_type="amlcompute")]
    assert list(ml.compute.list_nodes(name)) == []
    changed.min_instances = 1
    ml.compute.begin_update(changed).result()
    assert len(list(ml.compute.list_nodes(name))) == 1
    ml.compute.begin_delete(name).wait()
    with pytest.raises(ResourceNotFoundError):
        ml.compute.get(name)
    assert waits.longest < SHORT


def test_sizes_and_usage_are_those_of_the_region(ml: MLClient) -> None:
    sizes = {each.name: each for each in ml.compute.list_sizes(location=LOCATION)}
    known = sizes["Standard_DS3_v2"]
    # The client takes most fields over by the names that they have on the wire.
    said = vars(known)
    assert (said["vCPUs"], said["memoryGB"], known.family) == (4, 14.0, "standardDSv2Family")
    usages = list(ml.compute.list_usage(location=LOCATION))
    assert usages
    assert all(vars(each)["currentValue"] >= 0 for each in usages), [vars(each) for each in usages]
    assert "standardDSv2Family" in [each.name["value"] for each in usages if each.name]


def test_datastores_are_made_read_listed_and_deleted(ml: MLClient, place: Place) -> None:
    default = ml.datastores.get_default()
    assert (default.name, default.type) == ("workspaceblobstore", "AzureBlob")
    name = fresh("store").replace("-", "_")
    key = AccountKeyConfiguration(account_key=place.keys()[0])
    wanted = AzureBlobDatastore(
        name=name, account_name=place.account, container_name="azureml", credentials=key, description="said"
    )
    ml.datastores.create_or_update(wanted)
    read = ml.datastores.get(name)
    assert isinstance(read, AzureBlobDatastore)
    assert (read.account_name, read.container_name, read.description) == (place.account, "azureml", "said")
    assert (read.endpoint, read.protocol) == ("core.windows.net", "https")
    # The client asks for a secret that expires: what comes of the key is a signature that opens the container.
    told = ml.datastores.get(name, include_secrets=True).credentials
    assert isinstance(told, SasTokenConfiguration)
    container = ContainerClient(f"https://{place.account}.blob.core.windows.net", "azureml", told.sas_token)
    assert list(container.list_blobs()) is not None
    keyless = AzureBlobDatastore(name=f"{name}_aad", account_name=place.account, container_name="azureml")
    ml.datastores.create_or_update(keyless)
    names = {each.name for each in ml.datastores.list()}
    defaults = {"workspaceblobstore", "workspaceartifactstore", "workspacefilestore", "workspaceworkingdirectory"}
    assert names >= {name, f"{name}_aad", *defaults}
    for each in (name, f"{name}_aad"):
        ml.datastores.delete(each)
        with pytest.raises(ResourceNotFoundError):
            ml.datastores.get(each)
    with pytest.raises(HttpResponseError, match="default"):
        ml.datastores.delete("workspaceblobstore")


# Online ---------------------------------------------------------------------------------------------------------------


def scored(answer: str) -> list[float]:
    """The predictions in an answer. A scoring script that returns text has it quoted once more."""
    read = json.loads(answer)
    return json.loads(read) if isinstance(read, str) else read


def test_two_models_are_served_split_scaled_and_taken_down(ml: MLClient, waits: Waits, tmp_path: Path) -> None:
    name = fresh("tumor")
    wanted = ManagedOnlineEndpoint(name=name, auth_mode="key", description="said", tags={"team": "tumor"})
    made = ml.online_endpoints.begin_create_or_update(wanted).result()
    assert (made.name, made.auth_mode, made.description, made.tags) == (name, "key", "said", {"team": "tumor"})
    assert made.scoring_uri == f"https://{name}.{LOCATION}.inference.ml.azure.com/score"
    assert made.openapi_uri == f"https://{name}.{LOCATION}.inference.ml.azure.com/swagger.json"
    assert (made.provisioning_state, made.traffic, made.location) == ("Succeeded", {}, LOCATION)
    assert made.identity.type == "system_assigned"

    blue = ManagedOnlineDeployment(
        name="blue",
        endpoint_name=name,
        model=Model(path=SCORING / "models/mlflow", type="mlflow_model"),
        instance_type="Standard_F4s_v2",
        instance_count=1,
    )
    green = ManagedOnlineDeployment(
        name="green",
        endpoint_name=name,
        model=Model(path=SCORING / "models/custom/model.pkl", type="custom_model"),
        code_configuration=CodeConfiguration(code=str(SCORING / "online"), scoring_script="score.py"),
        environment=Environment(image=IMAGE, conda_file=SCORING / "online/conda.yaml"),
        environment_variables={"SAID": "yes"},
        instance_type="Standard_DS2_v2",
        instance_count=1,
        request_settings=OnlineRequestSettings(request_timeout_ms=3000, max_concurrent_requests_per_instance=2),
        liveness_probe=ProbeSettings(period=5, initial_delay=20),
        readiness_probe=ProbeSettings(period=1, timeout=5, success_threshold=2),
        model_mount_path="/var/tumor",
        app_insights_enabled=True,
        data_collector=DataCollector(
            {"request": DeploymentCollection(enabled="true")},
            rolling_rate="hour",
            sampling_rate=0.5,
            request_logging=RequestLogging(capture_headers=["x-request-id"]),
        ),
        tags={"team": "tumor"},
    )
    for deployment in (blue, green):
        done = ml.online_deployments.begin_create_or_update(deployment).result()
        assert done.provisioning_state == "Succeeded"
    the_defaults_of_a_deployment_are_filled_in(ml, name)
    what_was_sent_with_a_deployment_is_read_back(ml, name)

    made.traffic = {"blue": 90, "green": 10}
    ml.online_endpoints.begin_create_or_update(made).result()
    live = ml.online_endpoints.get(name)
    assert live.traffic == {"blue": 90, "green": 10}
    assert {each.name for each in ml.online_deployments.list(name)} == {"blue", "green"}
    assert name in [each.name for each in ml.online_endpoints.list()]
    both_answer_and_not_the_same(ml, name, tmp_path)

    scale_by_one(ml, name)
    the_program_scales_and_changes_nothing_else(ml, name)
    keys_are_regenerated_one_at_a_time(ml, name)
    with pytest.raises(HttpResponseError, match="traffic"):
        ml.online_deployments.begin_delete("green", name).result()
    live = ml.online_endpoints.get(name)
    live.traffic = {"blue": 100, "green": 0}
    ml.online_endpoints.begin_create_or_update(live).result()
    assert ml.online_endpoints.get(name).traffic == {"blue": 100, "green": 0}
    ml.online_deployments.begin_delete("green", name).result()
    assert [each.name for each in ml.online_deployments.list(name)] == ["blue"]
    ml.online_endpoints.begin_delete(name).result()
    with pytest.raises(ResourceNotFoundError):
        ml.online_endpoints.get(name)
    assert waits.seconds, "the client polled"
    assert waits.longest < SHORT


def the_defaults_of_a_deployment_are_filled_in(ml: MLClient, endpoint: str) -> None:
    blue = ml.online_deployments.get("blue", endpoint)
    assert (blue.instance_type, blue.instance_count, blue.endpoint_name) == ("Standard_F4s_v2", 1, endpoint)
    assert (blue.code_configuration, blue.environment) == (None, None), "an MLflow model brings both"
    asked = blue.request_settings
    assert (asked.request_timeout_ms, asked.max_concurrent_requests_per_instance) == (5000, 1)
    for probe in (blue.liveness_probe, blue.readiness_probe):
        assert (probe.initial_delay, probe.period, probe.timeout) == (10, 10, 2)
        assert (probe.success_threshold, probe.failure_threshold) == (1, 30)
    assert blue.scale_settings.type == "default"
    assert blue.egress_public_network_access == "Enabled"
    assert blue.app_insights_enabled is False


def what_was_sent_with_a_deployment_is_read_back(ml: MLClient, endpoint: str) -> None:
    green = ml.online_deployments.get("green", endpoint)
    assert green.code_configuration.scoring_script == "score.py"
    assert "/codes/" in str(green.code_configuration.code)
    assert "/environments/" in str(green.environment)
    assert "/models/" in str(green.model)
    assert green.request_settings.request_timeout_ms == 3000
    assert green.request_settings.max_concurrent_requests_per_instance == 2
    assert (green.liveness_probe.period, green.liveness_probe.initial_delay) == (5, 20)
    assert (green.readiness_probe.timeout, green.readiness_probe.success_threshold) == (5, 2)
    # The client sends the mount path, and does not read it back.
    assert green.environment_variables["AZUREML_MODEL_DIR"].startswith("/var/tumor/")
    assert green.app_insights_enabled is True
    collected = green.data_collector
    assert (collected.collections["request"].enabled, collected.sampling_rate) == ("true", 0.5)
    assert (collected.rolling_rate, collected.request_logging.capture_headers) == ("Hour", ["x-request-id"])
    assert green.environment_variables["SAID"] == "yes"
    assert green.environment_variables["AZUREML_ENTRY_SCRIPT"] == "score.py", "the service adds its own"
    assert green.tags == {"team": "tumor"}


def both_answer_and_not_the_same(ml: MLClient, endpoint: str, folder: Path) -> None:
    rows = json.loads((SCORING / "samples/request.json").read_text())["input_data"]
    request = folder / "request.json"
    request.write_text(json.dumps({"input_data": rows}))
    # Without a name first: the client remembers the last one that it was given.
    assert len(scored(ml.online_endpoints.invoke(endpoint, request_file=request))) == len(rows["data"])
    answers = [
        scored(ml.online_endpoints.invoke(endpoint, request_file=request, deployment_name=each))
        for each in ("blue", "green")
    ]
    assert [len(each) for each in answers] == [len(rows["data"])] * 2
    assert answers[0] != answers[1]
    assert "POST /score" in ml.online_deployments.get_logs("green", endpoint, lines=50)
    assert ml.online_deployments.get_logs("green", endpoint, lines=50, container_type="storage-initializer")


def scale_by_one(ml: MLClient, endpoint: str) -> None:
    blue = ml.online_deployments.get("blue", endpoint)
    blue.instance_count = 2
    ml.online_deployments.begin_create_or_update(blue).result()
    after = ml.online_deployments.get("blue", endpoint)
    assert (after.instance_count, after.model, after.instance_type) == (2, blue.model, blue.instance_type)


def the_program_scales_and_changes_nothing_else(ml: MLClient, endpoint: str) -> None:
    scale(ml, endpoint, "green", 2)
    assert ml.online_deployments.get("green", endpoint).instance_count == 2
    what_was_sent_with_a_deployment_is_read_back(ml, endpoint)


def keys_are_regenerated_one_at_a_time(ml: MLClient, endpoint: str) -> None:
    before = ml.online_endpoints.get_keys(endpoint)
    ml.online_endpoints.begin_regenerate_keys(endpoint, key_type="primary").result()
    between = ml.online_endpoints.get_keys(endpoint)
    ml.online_endpoints.begin_regenerate_keys(endpoint, key_type="secondary").result()
    after = ml.online_endpoints.get_keys(endpoint)
    assert (before.primary_key != between.primary_key, before.secondary_key == between.secondary_key) == (True, True)
    assert (between.primary_key == after.primary_key, between.secondary_key != after.secondary_key) == (True, True)


def test_an_endpoint_with_tokens_hands_out_tokens(ml: MLClient) -> None:
    name = fresh("token")
    made = ml.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name, auth_mode="aml_token")).result()
    assert made.auth_mode == "aml_token"
    token = ml.online_endpoints.get_keys(name)
    assert token.token_type == "Bearer"
    assert token.access_token
    assert token.expiry_time_utc > token.refresh_after_time_utc
    ml.online_endpoints.begin_delete(name).result()


# Batch ----------------------------------------------------------------------------------------------------------------


def test_a_batch_endpoint_and_its_deployment_are_made_changed_and_deleted(ml: MLClient, waits: Waits) -> None:
    cluster, name = fresh("cluster"), fresh("batch")
    ml.compute.begin_create_or_update(AmlCompute(name=cluster, size="Standard_DS3_v2", max_instances=2)).result()
    wanted = BatchEndpoint(name=name, description="said", tags={"team": "tumor"})
    made = ml.batch_endpoints.begin_create_or_update(wanted).result()
    assert (made.name, made.description, made.tags) == (name, "said", {"team": "tumor"})
    assert made.scoring_uri == f"https://{name}.{LOCATION}.inference.ml.azure.com/jobs"
    assert made.auth_mode == "aad_token"
    assert made.defaults.deployment_name is None

    deployment = ModelBatchDeployment(
        name="nightly",
        endpoint_name=name,
        model=Model(path=SCORING / "models/mlflow", type="mlflow_model"),
        compute=cluster,
        description="said",
        settings=ModelBatchDeploymentSettings(
            instance_count=2,
            max_concurrency_per_instance=3,
            mini_batch_size=4,
            output_action="append_row",
            output_file_name="rows.csv",
            retry_settings=BatchRetrySettings(max_retries=5, timeout=60),
            error_threshold=7,
            logging_level="debug",
        ),
    )
    ml.batch_deployments.begin_create_or_update(deployment).result()
    read = ml.batch_deployments.get("nightly", name)
    assert (read.resources.instance_count, read.max_concurrency_per_instance) == (2, 3)
    assert (read.mini_batch_size, read.error_threshold) == (4, 7)
    assert (read.output_action, read.output_file_name) == ("append_row", "rows.csv")
    assert (read.retry_settings.max_retries, read.retry_settings.timeout) == (5, 60)
    assert read.logging_level == "Debug"
    assert (read.description, read.provisioning_state) == ("said", "Succeeded")
    assert str(read.compute).endswith(f"/computes/{cluster}")
    assert ml.batch_endpoints.get(name).defaults.deployment_name is None, "a deployment is no default by itself"

    read.mini_batch_size = 9
    ml.batch_deployments.begin_create_or_update(read).result()
    assert ml.batch_deployments.get("nightly", name).mini_batch_size == 9
    assert [each.name for each in ml.batch_deployments.list(name)] == ["nightly"]
    endpoint = ml.batch_endpoints.get(name)
    endpoint.defaults.deployment_name = "nightly"
    ml.batch_endpoints.begin_create_or_update(endpoint).result()
    assert ml.batch_endpoints.get(name).defaults.deployment_name == "nightly"
    assert name in [each.name for each in ml.batch_endpoints.list()]
    a_job_of_an_endpoint_is_listed_and_cancelled(ml, name)
    ml.batch_endpoints.begin_delete(name).result()
    with pytest.raises(ResourceNotFoundError):
        ml.batch_endpoints.get(name)
    ml.compute.begin_delete(cluster).wait()
    assert waits.longest < SHORT


def a_job_of_an_endpoint_is_listed_and_cancelled(ml: MLClient, endpoint: str) -> None:
    rows = Input(type="uri_folder", path=str(SCORING / "samples/batch"))
    # By its name, though it is the default: the client would repeat the name that it was last given, for any endpoint.
    job = ml.batch_endpoints.invoke(endpoint, deployment_name="nightly", inputs={"rows": rows})
    assert job.name in [each.name for each in ml.batch_endpoints.list_jobs(endpoint)]
    assert job.name in [each.name for each in ml.batch_deployments.list_jobs(endpoint, name="nightly")]
    read = ml.jobs.get(job.name)
    assert read.experiment_name == endpoint
    assert job.name in [each.name for each in ml.jobs.list()]
    ml.jobs.begin_cancel(job.name).result()
    assert ml.jobs.get(job.name).status in ("CancelRequested", "Canceled", "Completed")


# Jobs and schedules ---------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster(ml: MLClient) -> Iterator[str]:
    name = fresh("cluster")
    ml.compute.begin_create_or_update(AmlCompute(name=name, size="Standard_DS3_v2", max_instances=1)).result()
    yield name
    ml.compute.begin_delete(name).wait()


def hello(cluster: str, display_name: str = "said"):
    environment = Environment(image=IMAGE, conda_file=SCORING / "online/conda.yaml")
    return command(command="echo hello", environment=environment, compute=cluster, display_name=display_name)


def a_pipeline(cluster: str):
    @dsl.pipeline(name="nightly", description="said", default_compute=cluster)
    def nightly() -> None:
        hello(cluster, "step")()

    return nightly()


def test_a_command_job_is_stored_listed_and_cancelled(ml: MLClient, cluster: str) -> None:
    job = hello(cluster)
    job.name, job.experiment_name, job.tags = fresh("job"), "tumor", {"team": "tumor"}
    made = ml.jobs.create_or_update(job)
    assert made.name == job.name
    read = ml.jobs.get(made.name)
    assert (read.display_name, read.experiment_name) == ("said", "tumor")
    assert read.tags["team"] == "tumor"
    assert read.command == "echo hello"
    assert str(read.compute).endswith(cluster)
    assert made.name in [each.name for each in ml.jobs.list()]
    ml.jobs.begin_cancel(made.name).result()
    assert ml.jobs.get(made.name).status == "Canceled"
    ml.jobs.archive(made.name)
    assert made.name not in [each.name for each in ml.jobs.list()]
    ml.jobs.restore(made.name)
    assert made.name in [each.name for each in ml.jobs.list()]


def test_a_pipeline_is_scheduled_by_recurrence_and_by_cron(ml: MLClient, cluster: str, waits: Waits) -> None:
    weekly = RecurrenceTrigger(
        frequency="week",
        interval=1,
        schedule=RecurrencePattern(hours=2, minutes=30, week_days=["monday"]),
        time_zone="GMT Standard Time",
    )
    cron = CronTrigger(expression="0 2 * * *", time_zone="UTC")
    for trigger in (weekly, cron):
        name = fresh("schedule")
        wanted = JobSchedule(
            name=name, trigger=trigger, create_job=a_pipeline(cluster), description="said", display_name="nightly"
        )
        made = ml.schedules.begin_create_or_update(wanted).result()
        read = ml.schedules.get(name)
        assert (made.name, read.name, read.is_enabled) == (name, name, True)
        assert (read.description, read.display_name, read.provisioning_state) == ("said", "nightly", "Succeeded")
        assert read.trigger.type == trigger.type
        assert read.trigger.time_zone == trigger.time_zone
        assert read.trigger.start_time, "the service fills in the next minute"
        assert read.create_job.settings.default_compute.endswith(cluster)
        ml.schedules.begin_disable(name).result()
        assert ml.schedules.get(name).is_enabled is False
        assert name not in [each.name for each in ml.schedules.list()], "what is disabled is listed on request"
        assert name in [each.name for each in ml.schedules.list(list_view_type="DisabledOnly")]
        ml.schedules.begin_enable(name).result()
        assert ml.schedules.get(name).is_enabled is True
        assert name in [each.name for each in ml.schedules.list()]
        ml.schedules.begin_disable(name).result()
        ml.schedules.begin_delete(name).result()
        with pytest.raises(ResourceNotFoundError, match=f"Resource Trigger {name} not found"):
            ml.schedules.get(name)
    assert waits.longest < SHORT
