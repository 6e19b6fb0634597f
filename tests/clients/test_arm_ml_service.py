"""The client that is generated from ARM's definition of api-version 2025-12-01, as azure-ai-ml brings it.

It is the one that knows endpoints, deployments, assets, schedules and jobs as types: what it parses is compared with
what was sent and the defaults that Azure documents.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml._restclient.arm_ml_service import MachineLearningServicesMgmtClient as Client
from azure.ai.ml._restclient.arm_ml_service import models as m
from azure.ai.ml.entities import Model
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential

from tests.clients.conftest import LOCATION, SCORING, Place, Waits

Json = dict[str, Any]

IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04"
# What moves with every write, on Azure as here.
MOVES = {"lastModifiedAt", "modifiedOn", "AzureAsyncOperationUri", "allocationStateTransitionTime"}


def client_of(place: Place) -> Client:
    return Client(DefaultAzureCredential(), place.subscription)


@pytest.fixture(scope="module")
def client(place: Place, environment: None) -> Client:
    return client_of(place)


def settled(value: Any) -> Any:
    """A document without what moves with every write, and without nulls: to a typed client they are as absent."""
    if isinstance(value, Mapping):
        kept = {name: settled(each) for name, each in value.items() if name not in MOVES}
        return {name: each for name, each in kept.items() if each is not None}
    return [settled(each) for each in value] if isinstance(value, list) else value


def a_description(parsed: Any) -> None:
    parsed.properties.description = "changed"


def fewer_nodes(parsed: Any) -> None:
    parsed.properties.properties.scale_settings.max_node_count = 2


def disabled(parsed: Any) -> None:
    parsed.properties.is_enabled = False


@dataclass(frozen=True)
class Kind:
    """A resource type, with an example of it.

    Attributes:
        operations: the client's attribute.
        names: what follows group and workspace in the path.
        body: what is sent.
        filled: the properties that come back beside those that were sent, or in their place.
        around: what comes back beside the properties.
        change: changes a parsed resource as a user would.
        options: what a deletion has to say.
    """

    operations: str
    names: tuple[str, ...]
    body: Any
    filled: Json
    around: Json = field(default_factory=dict)
    change: Callable[[Any], None] = a_description
    options: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Life:
    """One resource, driven by the client."""

    kind: Kind
    place: Place
    operations: Any

    @property
    def path(self) -> tuple[str, ...]:
        return (self.place.group, self.place.workspace, *self.kind.names)

    def put(self, body: Any) -> Any:
        """The parsed answer, after the operation's end where there is one."""
        if begin := getattr(self.operations, "begin_create_or_update", None):
            return begin(*self.path, body).result()
        return self.operations.create_or_update(*self.path, body)

    def get(self) -> Any:
        return self.operations.get(*self.path)

    def delete(self) -> None:
        if begin := getattr(self.operations, "begin_delete", None):
            begin(*self.path, **self.kind.options).result()
        else:
            self.operations.delete(*self.path)

    def names(self) -> list[str]:
        # What is disabled is listed on request only.
        view = {"list_view_type": "All"} if self.kind.operations == "schedules" else {}
        return [each.name for each in self.operations.list(*self.path[:-1], **view)]


ASSET: Json = {"isArchived": False, "provisioningState": "Succeeded"}
VERSION: Json = {**ASSET, "isAnonymous": False, "stage": "Development"}
CONTAINER: Json = {**ASSET, "nextVersion": "1"}
TEAM = {"team": "tumor"}
OWN: Json = {"description": "said", "tags": TEAM, "properties": {"kept": "yes"}}


def model_container(place: Place) -> Kind:
    return Kind("model_containers", ("m",), m.ModelContainer(properties=m.ModelContainerProperties(**OWN)), CONTAINER)


def environment_container(place: Place) -> Kind:
    properties = m.EnvironmentContainerProperties(**OWN)
    return Kind("environment_containers", ("e",), m.EnvironmentContainer(properties=properties), CONTAINER)


def code_container(place: Place) -> Kind:
    return Kind("code_containers", ("c",), m.CodeContainer(properties=m.CodeContainerProperties(**OWN)), CONTAINER)


def data_container(place: Place) -> Kind:
    properties = m.DataContainerProperties(data_type="uri_folder", **OWN)
    return Kind("data_containers", ("d",), m.DataContainer(properties=properties), CONTAINER)


def component_container(place: Place) -> Kind:
    properties = m.ComponentContainerProperties(**OWN)
    return Kind("component_containers", ("o",), m.ComponentContainer(properties=properties), CONTAINER)


def blobs_of(place: Place) -> str:
    return f"azureml:/{place.workspace_id}/datastores/workspaceblobstore/paths/in"


def model_version(place: Place) -> Kind:
    properties = m.ModelVersionProperties(model_uri=blobs_of(place), model_type="mlflow_model", **OWN)
    filled = {**VERSION, "flavors": {}, "datasets": []}
    return Kind("model_versions", ("mv", "1"), m.ModelVersion(properties=properties), filled)


def environment_version(place: Place) -> Kind:
    properties = m.EnvironmentVersionProperties(image=IMAGE, conda_file="dependencies:\n- python=3.11\n", **OWN)
    filled = {
        **VERSION,
        # The live service answers YAML as JSON, and labels the newest.
        "condaFile": '{\n  "dependencies": [\n    "python=3.11"\n  ]\n}',
        "properties": {"kept": "yes", "azureml.labels": "latest"},
        "environmentType": "UserCreated",
        "osType": "Linux",
        "autoRebuild": "Disabled",
    }
    version = m.EnvironmentVersion(properties=properties)
    return Kind("environment_versions", ("ev", "1"), version, filled)


def code_version(place: Place) -> Kind:
    properties = m.CodeVersionProperties(code_uri=f"https://{place.account}.blob.core.windows.net/c/code", **OWN)
    filled = {**ASSET, "isAnonymous": False}
    return Kind("code_versions", ("cv", "1"), m.CodeVersion(properties=properties), filled)


def data_version(place: Place) -> Kind:
    properties = m.UriFolderDataVersion(data_uri=blobs_of(place), **OWN)
    filled = {"isArchived": False, "isAnonymous": False}
    return Kind("data_versions", ("dv", "1"), m.DataVersionBase(properties=properties), filled)


def where_blobs_are(place: Place) -> Json:
    """What every blob datastore comes back with."""
    own = {"isDefault": False, "serviceDataAccessAuthIdentity": "None"}
    return own | {"endpoint": "core.windows.net", "protocol": "https"}


def datastore_with_a_key(place: Place) -> Kind:
    secret = m.AccountKeyDatastoreCredentials(secrets=m.AccountKeyDatastoreSecrets(key=place.keys()[0]))
    store = m.AzureBlobDatastore(
        account_name=place.account, container_name="azureml", credentials=secret, description="said"
    )
    # The key does not come back.
    filled = {**where_blobs_are(place), "credentials": {"credentialsType": "AccountKey"}}
    return Kind("datastores", ("keyed",), m.Datastore(properties=store), filled)


def datastore_without_a_key(place: Place) -> Kind:
    nothing = m.NoneDatastoreCredentials()
    store = m.AzureBlobDatastore(account_name=place.account, container_name="azureml", credentials=nothing, tags=TEAM)
    return Kind("datastores", ("keyless",), m.Datastore(properties=store), where_blobs_are(place), change=a_description)


def compute_cluster(place: Place) -> Kind:
    scale = m.ScaleSettings(max_node_count=4, min_node_count=0, node_idle_time_before_scale_down=timedelta(seconds=100))
    cluster = m.AmlComputeProperties(vm_size="Standard_DS3_v2", vm_priority="LowPriority", scale_settings=scale)
    states = ("idle", "running", "preparing", "unusable", "leaving", "preempted")
    filled = {
        **cluster.as_dict(),
        "osType": "Linux",
        "enableNodePublicIp": True,
        "remoteLoginPortPublicAccess": "NotSpecified",
        "allocationState": "Steady",
        "currentNodeCount": 0,
        "targetNodeCount": 0,
        "nodeStateCounts": {f"{state}NodeCount": 0 for state in states},
        "propertyBag": {},
    }
    own = {
        "computeLocation": LOCATION,
        "disableLocalAuth": False,
        "isAttachedCompute": False,
        "provisioningWarnings": {},
        "provisioningState": "Succeeded",
        "properties": filled,
    }
    body = m.ComputeResource(
        location=LOCATION,
        tags=TEAM,
        identity=m.ManagedServiceIdentity(type="SystemAssigned"),
        properties=m.AmlCompute(description="said", properties=cluster),
    )
    around = {"location": LOCATION, "tags": TEAM}
    return Kind("compute", ("cluster",), body, own, around, fewer_nodes, {"underlying_resource_action": "Delete"})


def online_endpoint(place: Place) -> Kind:
    properties = m.OnlineEndpointProperties(auth_mode="Key", description="said", properties={"kept": "yes"})
    system = m.ManagedServiceIdentity(type="SystemAssigned")
    own_id = f"{place.workspace_id}/onlineEndpoints/typed-online"
    filled = {
        "properties": {"kept": "yes", "azureml.onlineendpointid": own_id.lower()},
        "traffic": {},
        "mirrorTraffic": {},
        "publicNetworkAccess": "Enabled",
        "provisioningState": "Succeeded",
        "scoringUri": f"https://typed-online.{LOCATION}.inference.ml.azure.com/score",
        "swaggerUri": f"https://typed-online.{LOCATION}.inference.ml.azure.com/swagger.json",
    }
    body = m.OnlineEndpoint(location=LOCATION, tags=TEAM, identity=system, properties=properties)
    around = {"location": LOCATION, "tags": TEAM, "kind": "Managed"}
    return Kind("online_endpoints", ("typed-online",), body, filled, around)


def batch_endpoint(place: Place) -> Kind:
    properties = m.BatchEndpointProperties(auth_mode="AADToken", description="said", properties={"kept": "yes"})
    kept = {"kept": "yes", "BatchEndpointCreationApiVersion": "2025-12-01"}
    filled = {
        "properties": {**kept, "azureml.onlineendpointid": f"{place.workspace_id}/batchEndpoints/typed-batch"},
        "defaults": {},
        "provisioningState": "Succeeded",
        "scoringUri": f"https://typed-batch.{LOCATION}.inference.ml.azure.com/jobs",
    }
    body = m.BatchEndpoint(location=LOCATION, tags=TEAM, properties=properties)
    around = {"location": LOCATION, "tags": TEAM}
    return Kind("batch_endpoints", ("typed-batch",), body, filled, around)


def a_command(place: Place) -> m.CommandJob:
    return m.CommandJob(
        command="echo hello",
        environment_id=f"{place.workspace_id}/environments/typed/versions/1",
        compute_id=f"{place.workspace_id}/computes/typed",
        experiment_name="typed",
        display_name="typed job",
        tags=TEAM,
    )


# What a job comes back with beside what was sent.
FILLED_JOB: Json = {
    "properties": {},
    "services": {},
    "isArchived": False,
    "environmentVariables": {},
    "resources": {"instanceCount": 1, "shmSize": "2g"},
    "inputs": {},
    "outputs": {},
}


def what_a_schedule_fills_in(place: Place) -> Json:
    """A schedule's own defaults, and its job padded as the live service pads it."""
    job = {**a_command(place).as_dict(), **FILLED_JOB, "status": "NotStarted"}
    action = {"actionType": "CreateJob", "jobDefinition": job}
    return {"action": action, "tags": {}, "properties": {}, "provisioningState": "Succeeded"}


def schedule_by_cron(place: Place) -> Kind:
    trigger = m.CronTrigger(expression="0 2 * * *", time_zone="UTC", start_time="2026-01-01T00:00:00")
    action = m.JobScheduleAction(job_definition=a_command(place))
    properties = m.ScheduleProperties(action=action, trigger=trigger, description="said")
    filled = {**what_a_schedule_fills_in(place), "isEnabled": True}
    return Kind("schedules", ("by-cron",), m.Schedule(properties=properties), filled, change=disabled)


def schedule_by_recurrence(place: Place) -> Kind:
    monday = m.RecurrenceSchedule(hours=[2], minutes=[30], week_days=["Monday"])
    trigger = m.RecurrenceTrigger(
        frequency="Week",
        interval=1,
        time_zone="GMT Standard Time",
        start_time="2026-01-01T00:00:00",
        schedule=monday,
    )
    action = m.JobScheduleAction(job_definition=a_command(place))
    properties = m.ScheduleProperties(action=action, trigger=trigger, is_enabled=False)
    filled = what_a_schedule_fills_in(place)
    return Kind("schedules", ("by-recurrence",), m.Schedule(properties=properties), filled)


KINDS = (
    model_container,
    environment_container,
    code_container,
    data_container,
    component_container,
    model_version,
    environment_version,
    code_version,
    data_version,
    datastore_with_a_key,
    datastore_without_a_key,
    compute_cluster,
    online_endpoint,
    batch_endpoint,
    schedule_by_cron,
    schedule_by_recurrence,
)


@pytest.fixture(scope="module", params=KINDS, ids=lambda each: each.__name__)
def life(request: pytest.FixtureRequest, client: Client, place: Place) -> Iterator[Life]:
    """A resource of each type in turn, made and read once."""
    kind = request.param(place)
    life = Life(kind, place, getattr(client, kind.operations))
    life.put(kind.body)
    yield life
    life.delete()


def test_what_the_client_reads_is_what_was_sent_and_the_documented_defaults(life: Life) -> None:
    read = life.get()
    assert answered(read) == settled({**life.kind.body.as_dict()["properties"], **life.kind.filled})
    for name, value in life.kind.around.items():
        assert read.as_dict()[name] == value
    assert read.name == life.kind.names[-1]
    # The live service sends neither with a schedule.
    if life.kind.operations != "schedules":
        assert read.id.startswith(f"{life.place.workspace_id}/")
        assert read.id.endswith(f"/{read.name}")
        assert read.type.startswith("Microsoft.MachineLearningServices/workspaces/")


def answered(read: Any) -> Json:
    """The properties of a parsed resource, without the moment of its creation."""
    return {name: value for name, value in settled(read.as_dict()["properties"]).items() if name != "createdOn"}


def test_it_is_listed(life: Life) -> None:
    assert life.kind.names[-1] in life.names()


def test_putting_back_what_was_read_changes_nothing_not_even_twice(life: Life) -> None:
    before = life.get()
    for _ in range(2):
        life.put(before)
        after = life.get()
        assert settled(after.as_dict()) == settled(before.as_dict())
        before = after


def test_a_change_is_read_back_and_nothing_else_has_changed(life: Life) -> None:
    before = life.get()
    changed = life.get()
    life.kind.change(changed)
    life.put(changed)
    assert settled(life.get().as_dict()) == settled(changed.as_dict())
    assert settled(changed.as_dict()) != settled(before.as_dict())


def test_a_deleted_one_is_gone_and_can_be_made_again(life: Life) -> None:
    life.delete()
    with pytest.raises(ResourceNotFoundError):
        life.get()
    assert life.kind.names[-1] not in life.names()
    life.delete()
    assert life.put(life.kind.body).name == life.kind.names[-1]


# What needs something else first --------------------------------------------------------------------------------------


def changes_nothing(life: Life) -> None:
    """Puts back twice what was read."""
    for _ in range(2):
        before = life.get()
        life.put(before)
        assert settled(life.get().as_dict()) == settled(before.as_dict())


def test_a_deleted_workspace_keeps_its_name_until_it_is_purged(client: Client, place: Place, waits: Waits) -> None:
    name, group = "typed-workspace", place.group
    properties = m.WorkspaceProperties(
        description="said",
        storage_account=place.storage_id,
        key_vault=place.vault_id,
        application_insights=place.insights_id,
    )
    system = m.ManagedServiceIdentity(type="SystemAssigned")
    body = m.Workspace(location=LOCATION, tags=TEAM, identity=system, properties=properties)
    client.workspaces.begin_create_or_update(group, name, body).result()
    read = client.workspaces.get(group, name)
    sent = properties.as_dict()
    assert {each: read.as_dict()["properties"][each] for each in sent} == sent
    assert (read.location, read.tags) == (LOCATION, TEAM)
    own = read.properties
    assert (own.provisioning_state, own.public_network_access, own.hbi_workspace) == ("Succeeded", "Enabled", False)
    assert (own.v1_legacy_mode, own.friendly_name, own.tenant_id) == (False, name, place.daemon.tenant)
    for _ in range(2):
        client.workspaces.begin_create_or_update(group, name, read).result()
        assert settled(client.workspaces.get(group, name).as_dict()) == settled(read.as_dict())
    client.workspaces.begin_update(group, name, m.WorkspaceUpdateParameters(tags={"team": "lung"})).result()
    assert client.workspaces.get(group, name).tags == {"team": "lung"}
    assert name in [each.name for each in client.workspaces.list_by_resource_group(group)]
    client.workspaces.begin_delete(group, name).result()
    with pytest.raises(HttpResponseError, match="Soft-deleted workspace exists"):
        client.workspaces.begin_create_or_update(group, name, body).result()
    client.workspaces.begin_delete(group, name, force_to_purge=True).result()
    client.workspaces.begin_create_or_update(group, name, body).result()
    client.workspaces.begin_delete(group, name, force_to_purge=True).result()
    assert waits.longest < 1


@pytest.fixture
def registered(client: Client, place: Place) -> Iterator[str]:
    """The id of an environment, beside a cluster `typed`."""
    where = (place.group, place.workspace)
    body = m.EnvironmentVersion(properties=m.EnvironmentVersionProperties(image=IMAGE))
    client.environment_versions.create_or_update(*where, "typed", "1", body)
    scale = m.ScaleSettings(max_node_count=1)
    cluster = m.AmlCompute(properties=m.AmlComputeProperties(vm_size="Standard_DS3_v2", scale_settings=scale))
    typed = m.ComputeResource(location=LOCATION, properties=cluster)
    client.compute.begin_create_or_update(*where, "typed", typed).result()
    yield f"{place.workspace_id}/environments/typed/versions/1"
    client.compute.begin_delete(*where, "typed", underlying_resource_action="Delete").result()


def test_a_job_is_stored_listed_cancelled_and_deleted(client: Client, place: Place, registered: str) -> None:
    kind = Kind("jobs", (f"job-{uuid.uuid4().hex[:8]}",), m.JobBase(properties=a_command(place)), FILLED_JOB)
    life = Life(kind, place, client.jobs)
    life.put(kind.body)
    read = life.get()
    sent = kind.body.as_dict()["properties"]
    assert {name: read.as_dict()["properties"][name] for name in sent} == sent
    assert kind.names[0] in life.names()
    client.jobs.begin_cancel(*life.path).result()
    assert life.get().properties.status == "Canceled"
    changes_nothing(life)
    client.jobs.begin_delete(*life.path).result()
    with pytest.raises(ResourceNotFoundError):
        life.get()


def test_a_batch_deployment_is_read_as_it_was_sent_with_the_documented_defaults(
    client: Client, place: Place, registered: str
) -> None:
    where, name = (place.group, place.workspace), f"batch-{uuid.uuid4().hex[:8]}"
    model = m.ModelVersion(properties=m.ModelVersionProperties(model_uri=blobs_of(place), model_type="mlflow_model"))
    model_id = client.model_versions.create_or_update(*where, name, "1", model).id
    endpoint = m.BatchEndpoint(location=LOCATION, properties=m.BatchEndpointProperties(auth_mode="AADToken"))
    client.batch_endpoints.begin_create_or_update(*where, name, endpoint).result()
    properties = m.BatchDeploymentProperties(
        model=m.IdAssetReference(asset_id=str(model_id)), compute=f"{place.workspace_id}/computes/typed"
    )
    body = m.BatchDeployment(location=LOCATION, tags=TEAM, properties=properties)
    life = Life(Kind("batch_deployments", (name, "nightly"), body, {}), place, client.batch_deployments)
    life.put(body)
    assert answered(life.get()) == {
        **properties.as_dict(),
        "properties": {},
        "environmentVariables": {},
        "errorThreshold": -1,
        "loggingLevel": "Info",
        "maxConcurrencyPerInstance": 1,
        "miniBatchSize": 10,
        "outputAction": "AppendRow",
        "outputFileName": "predictions.csv",
        "provisioningState": "Succeeded",
        "resources": {"instanceCount": 1},
        "retrySettings": {"maxRetries": 3, "timeout": "PT30S"},
    }
    changes_nothing(life)
    assert life.names() == ["nightly"]
    life.delete()
    client.batch_endpoints.begin_delete(*where, name).result()


def test_an_online_deployment_is_read_as_it_was_sent_with_the_documented_defaults(
    client: Client, place: Place, waits: Waits
) -> None:
    where, name = (place.group, place.workspace), f"online-{uuid.uuid4().hex[:8]}"
    ml = MLClient(DefaultAzureCredential(), place.subscription, *where)
    model = ml.models.create_or_update(Model(name=name, path=SCORING / "models/mlflow", type="mlflow_model"))
    endpoint = m.OnlineEndpoint(location=LOCATION, properties=m.OnlineEndpointProperties(auth_mode="AMLToken"))
    client.online_endpoints.begin_create_or_update(*where, name, endpoint).result()
    asked = m.OnlineRequestSettings(request_timeout=timedelta(seconds=3), max_concurrent_requests_per_instance=2)
    properties = m.ManagedOnlineDeployment(
        model=model.id, instance_type="Standard_F4s_v2", request_settings=asked, environment_variables={"SAID": "yes"}
    )
    sku = m.Sku(name="Default", capacity=1)
    body = m.OnlineDeployment(location=LOCATION, tags=TEAM, sku=sku, properties=properties)
    life = Life(Kind("online_deployments", (name, "blue"), body, {}), place, client.online_deployments)
    life.put(body)
    probe = {"failureThreshold": 30, "successThreshold": 1, "timeout": "PT2S", "period": "PT10S"}
    read = answered(life.get())
    assert read == {
        **properties.as_dict(),
        "properties": {},
        "environmentVariables": {
            "SAID": "yes",
            "AZUREML_MODEL_DIR": f"/var/azureml-app/azureml-models/{name}/1",
        },
        "appInsightsEnabled": False,
        "egressPublicNetworkAccess": "Enabled",
        "livenessProbe": {**probe, "initialDelay": "PT10S"},
        "readinessProbe": {**probe, "initialDelay": "PT10S"},
        "requestSettings": {"maxQueueWait": "PT0S", **asked.as_dict()},
        "scaleSettings": {"scaleType": "Default"},
        "provisioningState": "Succeeded",
    }
    assert life.get().sku.as_dict() == {"name": "Default", "tier": "Standard", "capacity": 1}
    changes_nothing(life)
    it_can_be_scaled_by_a_setting_of_its_own(place, str(life.get().id))
    (only,) = client.online_deployments.list_skus(*life.path)
    assert only.as_dict()["sku"]["name"] == "Default"
    assert only.as_dict()["capacity"]["default"] == 1
    logs = client.online_deployments.get_logs(*where, name, "blue", m.DeploymentLogsRequest(tail=5))
    assert logs.content
    token = client.online_endpoints.get_token(*where, name)
    assert token.token_type == "Bearer"
    assert (token.expiry_time_utc or 0) > (token.refresh_after_time_utc or 0) > 0
    client.online_endpoints.begin_delete(*where, name).result()
    with pytest.raises(ResourceNotFoundError):
        life.get()
    assert waits.longest < 1


def it_can_be_scaled_by_a_setting_of_its_own(place: Place, deployment: str) -> None:
    """No client under test knows these settings."""
    busy = {
        "metricName": "CpuUtilizationPercentage",
        "metricResourceUri": deployment,
        "timeGrain": "PT1M",
        "statistic": "Average",
        "timeWindow": "PT5M",
        "timeAggregation": "Average",
        "operator": "GreaterThan",
        "threshold": 70,
    }
    more = {"direction": "Increase", "type": "ChangeCount", "value": "1", "cooldown": "PT5M"}
    capacity = {"minimum": "1", "maximum": "2", "default": "1"}
    profile = {"name": "usual", "capacity": capacity, "rules": [{"metricTrigger": busy, "scaleAction": more}]}
    properties = {"enabled": True, "targetResourceUri": deployment, "profiles": [profile]}
    path, version = f"{place.group_id}/providers/Microsoft.Insights/autoscaleSettings/typed", "2022-10-01"
    made = place.put(path, {"location": LOCATION, "properties": properties}, version)
    assert made["properties"]["targetResourceUri"] == deployment
    assert made["properties"]["profiles"][0]["capacity"] == capacity
    for _ in range(2):
        assert place.put(path, made, version) == made
    place.send("DELETE", path, version=version).raise_for_status()


# Actions and look-ups -------------------------------------------------------------------------------------------------


def test_code_is_found_by_the_hash_of_its_content_whatever_its_name(client: Client, place: Place) -> None:
    where, digest = (place.group, place.workspace), uuid.uuid4().hex
    upload = client.code_versions.create_or_get_start_pending_upload(
        *where, "hashed", "1", m.PendingUploadRequestDto(pending_upload_type="TemporaryBlobReference")
    )
    reference = upload.blob_reference_for_consumption
    assert reference is not None
    assert reference.storage_account_arm_id == place.storage_id
    marks = {"hash_sha256": digest, "hash_version": "202208"}
    properties = m.CodeVersionProperties(code_uri=f"{reference.blob_uri}/code", properties=marks)
    client.code_versions.create_or_update(*where, "hashed", "1", m.CodeVersion(properties=properties))
    (found,) = client.code_versions.list(*where, "any-name", hash=digest, hash_version="202208")
    assert str(found.id).endswith("/codes/hashed/versions/1")
    assert list(client.code_versions.list(*where, "any-name", hash="0" * 64, hash_version="202208")) == []


def test_versions_are_listed_in_the_order_that_is_asked_for(client: Client, place: Place) -> None:
    where = (place.group, place.workspace, "ordered")
    properties = m.ModelVersionProperties(model_uri=blobs_of(place), model_type="custom_model")
    for version in ("1", "2", "3"):
        client.model_versions.create_or_update(*where, version, m.ModelVersion(properties=properties))
    newest = [each.name for each in client.model_versions.list(*where, order_by="createdtime desc")]
    assert newest == ["3", "2", "1"]
    assert [each.name for each in client.model_versions.list(*where, order_by="createdtime asc")] == newest[::-1]
    assert [each.name for each in client.model_versions.list(*where, version="2")] == ["2"]
    container = client.model_containers.get(*where)
    assert (container.properties.latest_version, container.properties.next_version) == ("3", "4")


def test_the_keys_of_an_endpoint_are_regenerated_one_at_a_time(client: Client, place: Place) -> None:
    where = (place.group, place.workspace, f"keys-{uuid.uuid4().hex[:8]}")
    endpoint = m.OnlineEndpoint(location=LOCATION, properties=m.OnlineEndpointProperties(auth_mode="Key"))
    client.online_endpoints.begin_create_or_update(*where, endpoint).result()
    before = client.online_endpoints.list_keys(*where)
    wanted = m.RegenerateEndpointKeysRequest(key_type="Primary", key_value=before.primary_key)
    client.online_endpoints.begin_regenerate_keys(*where, wanted).result()
    after = client.online_endpoints.list_keys(*where)
    assert after.primary_key != before.primary_key
    assert after.secondary_key == before.secondary_key
    with pytest.raises(HttpResponseError):
        client.online_endpoints.get_token(*where)
    client.online_endpoints.begin_delete(*where).result()


def test_sizes_usages_and_quotas_of_a_region_are_listed(client: Client) -> None:
    (known,) = [
        each for each in client.virtual_machine_sizes.list(LOCATION).value or [] if each.name == "Standard_F4s_v2"
    ]
    assert (known.v_cp_us, known.memory_gb) == (4, 8)
    assert known.family in [each.name.value for each in client.usages.list(LOCATION) if each.name]
    assert known.family in [each.name.value for each in client.quotas.list(LOCATION) if each.name]


def test_a_workspaces_health_and_hosts_are_told(client: Client, place: Place) -> None:
    where = (place.group, place.workspace)
    client.workspaces.begin_resync_keys(*where).result()
    assert client.workspaces.list_storage_account_keys(*where).user_storage_key == place.keys()[0]
    told = client.workspaces.begin_diagnose(*where, m.DiagnoseWorkspaceParameters()).result()
    assert told.value is not None
    assert told.value.storage_account_results == []
    assert client.workspaces.list_outbound_network_dependencies_endpoints(*where).value


NOT_EMULATED: dict[str, Callable[[Client, str, str], object]] = {
    "registries": lambda client, group, workspace: client.registries.get(group, "registry"),
    "feature sets": lambda client, group, workspace: list(client.featureset_containers.list(group, workspace)),
    "serverless endpoints": lambda client, group, workspace: list(client.serverless_endpoints.list(group, workspace)),
    "marketplace": lambda client, group, workspace: list(client.marketplace_subscriptions.list(group, workspace)),
    "capability hosts": lambda client, group, workspace: client.capability_hosts.get(group, workspace, "host"),
    "connections": lambda client, group, workspace: list(client.workspace_connections.list(group, workspace)),
    "workspace features": lambda client, group, workspace: list(client.workspace_features.list(group, workspace)),
    "notebooks": lambda client, group, workspace: client.workspaces.list_notebook_keys(group, workspace),
    "publishing": lambda client, group, workspace: client.model_versions.begin_publish(
        group, workspace, "m", "1", m.DestinationAsset()
    ),
}


@pytest.mark.parametrize("what", NOT_EMULATED)
def test_what_is_not_emulated_says_so(client: Client, place: Place, what: str) -> None:
    with pytest.raises(HttpResponseError) as refused:
        NOT_EMULATED[what](client, place.group, place.workspace)
    assert refused.value.status_code == 501
    assert "docs/localazure.md" in str(refused.value)


def test_a_workspace_has_no_private_endpoints_and_no_rules_until_somebody_makes_them(
    client: Client, place: Place
) -> None:
    assert list(client.private_endpoint_connections.list(place.group, place.workspace)) == []
    assert list(client.managed_network_settings_rule.list(place.group, place.workspace)) == []
