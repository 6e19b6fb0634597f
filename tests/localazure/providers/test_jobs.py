"""Batch jobs as the control plane runs them: names, cancelling, outputs and refusals; scoring itself is replaced."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from localazure.batch import BatchResult, BatchSpec
from localazure.errors import LocalAzureError
from localazure.providers.ml import content
from tests.localazure.providers import conftest
from tests.localazure.providers.conftest import Cloud, FakeServing, booted, until

RUNNER = "localazure.providers.ml.job_runner"


class FakeBatch:
    """Scores nothing: a job ends when `gate` is open, or when it is canceled."""

    def __init__(self) -> None:
        self.specs: list[BatchSpec] = []
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def run(self, spec: BatchSpec, *, cancelled: threading.Event, **_rest: object) -> BatchResult:
        self.specs.append(spec)
        if self.error:
            raise self.error
        while not self.gate.wait(0.01) and not cancelled.is_set():
            pass
        return BatchResult(not cancelled.is_set(), 1, 0, "canceled" if cancelled.is_set() else "")


@pytest.fixture
def scorer(tmp_path: Path, files: None, monkeypatch: pytest.MonkeyPatch) -> FakeBatch:
    fake = FakeBatch()
    found = content.ModelFiles(tmp_path, tmp_path / "model")
    monkeypatch.setattr(f"{RUNNER}.batch.run", fake.run)
    monkeypatch.setattr(f"{RUNNER}.fetch", lambda cloud, place, folder: folder.mkdir(parents=True, exist_ok=True))
    monkeypatch.setattr(f"{RUNNER}.model_files", lambda *args: found)
    monkeypatch.setattr(f"{RUNNER}.JobRunner._python", lambda *args: tmp_path / "python")
    return fake


@pytest.fixture
def batch(scorer: FakeBatch, cloud: Cloud) -> Cloud:
    add_batch(cloud, cloud.workspace, "batch")
    return cloud


def add_batch(cloud: Cloud, workspace: str, endpoint: str, **properties: Any) -> None:
    """A batch endpoint with a default deployment, and the cluster under it."""
    size = {"vmSize": "Standard_DS3_v2", "scaleSettings": {"maxNodeCount": 4}}
    cluster = {"location": "eastus", "properties": {"computeType": "AmlCompute", "properties": size}}
    cloud.put(f"{workspace}/computes/cluster", cluster)
    model = f"{workspace}/models/scored/versions/1"
    uri = "azureml://datastores/workspaceblobstore/paths/model"
    cloud.put(model, {"properties": {"modelUri": uri, "modelType": "mlflow_model"}})
    path = f"{workspace}/batchEndpoints/{endpoint}"
    body = {"location": "eastus", "properties": {"authMode": "AADToken"}}
    cloud.put(path, body)
    assert send_deployment(cloud, path, workspace, **properties).status_code == 201
    until(lambda: cloud.get(f"{path}/deployments/first")["properties"]["provisioningState"] == "Succeeded", "it is")
    cloud.put(path, {**body, "properties": {**body["properties"], "defaults": {"deploymentName": "first"}}})


def send_deployment(cloud: Cloud, endpoint: str, workspace: str, **properties: Any) -> httpx.Response:
    own = {
        "model": {"referenceType": "Id", "assetId": f"{workspace}/models/scored/versions/1"},
        "compute": f"{workspace}/computes/cluster",
        **properties,
    }
    return cloud.send("PUT", f"{endpoint}/deployments/first", {"location": "eastus", "properties": own})


def invoke(cloud: Cloud, endpoint: str = "batch", **properties: Any) -> httpx.Response:
    uri = "https://storage1.blob.core.windows.net/in/files"
    body = {"properties": {"inputData": {"files": {"uri": uri, "jobInputType": "UriFolder"}}, **properties}}
    host = f"{endpoint}.eastus.inference.ml.azure.com"
    token = f"Bearer {cloud.token_for('https://ml.azure.com')}"
    return cloud.send("POST", "/jobs", body, Host=host, Authorization=token)


def job(cloud: Cloud, name: str, workspace: str = "") -> dict[str, Any]:
    return cloud.get(f"{workspace or cloud.workspace}/jobs/{name}")["properties"]


def ends(cloud: Cloud, name: str, status: str, workspace: str = "") -> None:
    until(lambda: job(cloud, name, workspace)["status"] == status, f"{name} is {status}")


def reason(cloud: Cloud, name: str) -> str:
    found = cloud.azure._cloud.store.get(f"{cloud.workspace}/jobs/{name}")
    assert found is not None
    return found.hidden["error"]["message"]


def test_jobs_of_one_name_in_two_workspaces_are_two_jobs(batch: Cloud, scorer: FakeBatch) -> None:
    before = batch.get(batch.workspace)["properties"]
    own = {name: before[name] for name in ("storageAccount", "keyVault")}
    other = f"{batch.workspace}2"
    batch.put(other, {"location": "eastus", "identity": {"type": "SystemAssigned"}, "properties": own})
    add_batch(batch, other, "batch2")
    scorer.gate.clear()
    assert invoke(batch, name="same").status_code == 201
    assert invoke(batch, "batch2", name="same").status_code == 201
    until(lambda: len(scorer.specs) == 2, "both run")
    assert len({spec.output_dir for spec in scorer.specs}) == 2, "each has a folder of its own"
    batch.send("POST", f"{batch.workspace}/jobs/same/cancel")
    ends(batch, "same", "Canceled")
    assert job(batch, "same", other)["status"] == "Running"
    scorer.gate.set()
    ends(batch, "same", "Completed", other)


def test_a_job_that_is_canceled_before_its_turn_never_runs(batch: Cloud, scorer: FakeBatch) -> None:
    scorer.gate.clear()
    for number in range(4):
        invoke(batch, name=f"before-{number}")
    until(lambda: len(scorer.specs) == 4, "every node is taken")
    invoke(batch, name="waiting")
    ends(batch, "waiting", "Queued")
    batch.send("POST", f"{batch.workspace}/jobs/waiting/cancel")
    ends(batch, "waiting", "Canceled")
    scorer.gate.set()
    assert "waiting" not in [spec.job for spec in scorer.specs]


def test_a_cancellation_outlives_a_restart(tmp_path: Path, scorer: FakeBatch) -> None:
    scorer.gate.clear()
    with booted(tmp_path / "home", FakeServing()) as cloud:
        cloud.prepare()
        add_batch(cloud, cloud.workspace, "batch")
        invoke(cloud, name="long")
        until(lambda: scorer.specs, "it runs")
        store = cloud.azure._cloud.store
        found = store.get(f"{cloud.workspace}/jobs/long")
        assert found is not None
        store.put(found.with_properties(status="CancelRequested"))
    with booted(tmp_path / "home", FakeServing()) as cloud:
        ends(cloud, "long", "Canceled")
        assert len(scorer.specs) == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [(LocalAzureError("The disk is full."), "The disk is full."), (KeyError("x"), "KeyError: 'x'")],
)
def test_a_job_that_fails_unexpectedly_says_why(
    batch: Cloud, scorer: FakeBatch, caplog: pytest.LogCaptureFixture, error: Exception, said: str
) -> None:
    scorer.error = error
    invoke(batch, name="broken")
    ends(batch, "broken", "Failed")
    assert reason(batch, "broken") == said
    assert ("KeyError" in caplog.text) == isinstance(error, KeyError), "what nobody foresaw is in the log"


def test_an_output_file_that_exists_already_is_not_written_over(
    batch: Cloud, scorer: FakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: Callable[..., list[str]] = lambda self, container, prefix="": ["out/predictions.csv"]  # noqa: E731
    monkeypatch.setattr(conftest.FakeBlobs, "list", there)
    output = {"score": {"uri": "azureml://datastores/workspaceblobstore/paths/out", "jobOutputType": "UriFolder"}}
    invoke(batch, name="twice", outputData=output)
    ends(batch, "twice", "Failed")
    assert "'out/predictions.csv' exists already" in reason(batch, "twice")
    assert not scorer.specs, "nothing was scored for it"
    invoke(batch, name="elsewhere", outputData=output, outputFileName="other.csv")
    ends(batch, "elsewhere", "Completed")


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"retrySettings": {"timeout": "PT0S"}}, "above 0"),
        ({"retrySettings": {"timeout": "soon"}}, "ISO-8601"),
        ({"outputFileName": "../predictions.csv"}, "not a path"),
        ({"outputFileName": ".."}, "not a path"),
    ],
)
def test_settings_that_no_job_could_run_with_are_refused_at_put_and_at_invoke(
    batch: Cloud, properties: dict[str, Any], said: str
) -> None:
    assert said in batch.refusal(invoke(batch, **properties), 400)
    endpoint = f"{batch.workspace}/batchEndpoints/batch"
    assert said in batch.refusal(send_deployment(batch, endpoint, batch.workspace, **properties), 400)


def test_no_job_begins_in_a_workspace_that_is_being_deleted(batch: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    batch.put(batch.endpoint(), batch.endpoint_body())
    batch.put(f"{batch.endpoint()}/deployments/blue", batch.deployment_body())
    monkeypatch.setattr(batch.serving, "remove", lambda *names: release.wait(30))
    answer = batch.send("DELETE", batch.workspace)
    try:
        assert "Deleting" in batch.refusal(invoke(batch), 409)
    finally:
        release.set()
    batch.wait(answer)


# Jobs whose deployment goes ------------------------------------------------------------------------------------------


def replace_deployment(cloud: Cloud) -> None:
    """What a new revision does: it becomes the default, and the one before is deleted."""
    path = f"{cloud.workspace}/batchEndpoints/batch"
    cloud.put(f"{path}/deployments/second", cloud.get(f"{path}/deployments/first"))
    own = {"authMode": "AADToken", "defaults": {"deploymentName": "second"}}
    cloud.put(path, {"location": "eastus", "properties": own})
    cloud.wait(cloud.send("DELETE", f"{path}/deployments/first"))
    assert cloud.send("GET", f"{path}/deployments/first").status_code == 404


def delete_endpoint(cloud: Cloud) -> None:
    cloud.wait(cloud.send("DELETE", f"{cloud.workspace}/batchEndpoints/batch"))


@pytest.mark.parametrize("goes", [replace_deployment, delete_endpoint])
def test_a_job_goes_on_without_what_began_it(batch: Cloud, scorer: FakeBatch, goes: Callable[[Cloud], None]) -> None:
    scorer.gate.clear()
    invoke(batch, name="long")
    until(lambda: scorer.specs, "it runs")
    goes(batch)
    assert job(batch, "long")["status"] == "Running", "what it was begun by is nothing that it needs"
    scorer.gate.set()
    ends(batch, "long", "Completed")


@pytest.mark.parametrize("goes", [replace_deployment, delete_endpoint])
def test_a_restart_takes_up_a_job_whose_deployment_is_gone(
    tmp_path: Path, scorer: FakeBatch, goes: Callable[[Cloud], None]
) -> None:
    scorer.gate.clear()
    with booted(tmp_path / "home", FakeServing()) as cloud:
        cloud.prepare()
        add_batch(cloud, cloud.workspace, "batch")
        invoke(cloud, name="long")
        until(lambda: scorer.specs, "it runs")
        goes(cloud)
    scorer.gate.set()
    with booted(tmp_path / "home", FakeServing()) as cloud:
        ends(cloud, "long", "Completed")
    first, again = scorer.specs
    assert again == first, "all that it is carried out with was kept with it"


def test_a_job_whose_deployment_is_gone_is_shown_as_before(batch: Cloud, scorer: FakeBatch) -> None:
    scorer.gate.clear()
    invoke(batch, name="long")
    until(lambda: scorer.specs, "it runs")
    front = f"/mferp/managementfrontend{batch.workspace}/batchEndpoints/batch"
    history = f"/history/v1.0{batch.workspace}/runs/long"
    paths = (f"{front}/jobs", f"{front}/deployments/first/jobs", history, f"{history}/details", f"{history}/children")

    def shown() -> list[Any]:
        answers = [batch.send("GET", path, Host="eastus.api.azureml.ms") for path in paths]
        assert [each.status_code for each in answers] == [200] * len(paths)
        return [each.json() for each in answers]

    before = shown()
    assert [each["name"] for each in before[0]["value"]] == ["long"]
    replace_deployment(batch)
    assert shown() == before
    assert [each["name"] for each in batch.get(f"{batch.workspace}/jobs")["value"]] == ["long"]
    assert [each["deployment"] for each in batch.azure.status()["jobs"]] == ["batch/first"]


@pytest.mark.parametrize("above", ["workspace", "group"])
def test_a_job_ends_with_its_workspace_though_its_endpoint_went_before(
    batch: Cloud, scorer: FakeBatch, above: str
) -> None:
    scorer.gate.clear()
    invoke(batch, name="long")
    until(lambda: scorer.specs, "it runs")
    delete_endpoint(batch)
    batch.wait(batch.send("DELETE", getattr(batch, above)))
    until(lambda: not batch.azure._runner._runs, "nothing runs that nobody can see")


# How batch jobs are answered and cleared away -------------------------------------------------------------------------


def test_an_endpoint_without_a_deployment_to_run_says_so_in_the_services_words(batch: Cloud) -> None:
    body = {"location": "eastus", "properties": {"authMode": "AADToken"}}
    batch.put(f"{batch.workspace}/batchEndpoints/bare", body)
    assert "No valid deployments to route to." in batch.refusal(invoke(batch, "bare"), 404)


def test_an_invocation_is_answered_with_a_link_to_the_deployment(batch: Cloud) -> None:
    answer = invoke(batch)
    deployment = f"{batch.workspace}/batchEndpoints/batch/deployments/first"
    front = "https://eastus.api.azureml.ms/mferp/managementfrontend"
    assert answer.headers["location"] == f"{front}{deployment}?api-version=2020-09-01-dataplanepreview"
    assert answer.headers["azureml-model-deployment"] == "first"


def test_an_input_is_read_in_one_of_azures_modes(batch: Cloud) -> None:
    uri = "https://storage1.blob.core.windows.net/in/files"
    data: dict[str, dict[str, Any]] = {"files": {"uri": uri, "jobInputType": "UriFolder", "mode": {"a": 1}}}
    assert "properties.inputData.files.mode" in batch.refusal(invoke(batch, inputData=data), 400)
    data["files"]["mode"] = "download"
    assert invoke(batch, inputData=data).json()["properties"]["inputData"]["files"]["mode"] == "Download"


def test_a_batch_job_is_polled_until_it_is_canceled(batch: Cloud, scorer: FakeBatch) -> None:
    scorer.gate.clear()
    invoke(batch, name="long")
    until(lambda: scorer.specs, "it runs")
    answer = batch.send("POST", f"{batch.workspace}/jobs/long/cancel")
    assert (answer.status_code, answer.json()) == (202, {}), "as recorded"
    assert answer.headers["x-ms-async-operation-timeout"] == "PT1H"
    batch.wait(answer)
    last = batch.send("GET", answer.headers["location"])
    assert (last.status_code, last.content) == (200, b"")
    ends(batch, "long", "Canceled")


def test_a_batch_job_can_be_sent_back_as_it_was_answered(batch: Cloud) -> None:
    invoke(batch, name="done")
    ends(batch, "done", "Completed")
    batch.unchanged(f"{batch.workspace}/jobs/done")


def test_the_folder_of_a_job_goes_with_the_job_and_with_its_workspace(batch: Cloud, scorer: FakeBatch) -> None:
    jobs = batch.azure._cloud.home.jobs
    for name in ("one", "two"):
        invoke(batch, name=name)
        ends(batch, name, "Completed")
    until(lambda: len(list(jobs.glob("*/*"))) == 2, "each has left a folder")
    assert batch.send("DELETE", f"{batch.workspace}/jobs/one").status_code == 200
    until(lambda: [folder.name for folder in jobs.glob("*/*")] == ["two"], "the job's folder goes")
    batch.wait(batch.send("DELETE", batch.workspace))
    until(lambda: not list(jobs.glob("*")), "the workspace's jobs go")


def test_a_job_that_ends_after_its_workspace_leaves_no_folder(batch: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = batch.azure._cloud.home.jobs
    begun, gate, written = threading.Event(), threading.Event(), threading.Event()

    def run(spec: BatchSpec, **_rest: object) -> BatchResult:
        begun.set()
        gate.wait(30)
        spec.output_dir.mkdir(parents=True)
        (spec.output_dir / "predictions.csv").write_text("late")
        written.set()
        return BatchResult(True, 1, 0, "")

    monkeypatch.setattr(f"{RUNNER}.batch.run", run)
    invoke(batch, name="late")
    assert begun.wait(10)
    batch.wait(batch.send("DELETE", batch.workspace))
    until(lambda: not list(jobs.glob("*/*")), "the workspace's jobs go")
    gate.set()
    batch.azure._runner._pool.shutdown(wait=True)
    assert written.is_set(), "the folder was there again"
    assert not list(jobs.glob("*/*"))


# Jobs that clients submit ---------------------------------------------------------------------------------------------

LITERAL = {"jobInputType": "Literal", "value": "10"}
TRIAL = {"command": "python main.py", "environmentId": "azureml:env:1"}
DEFINITIONS: dict[str, dict[str, Any]] = {
    "Command": {"jobType": "command", "command": "ls", "environmentId": "azureml:env:1", "inputs": {"n": LITERAL}},
    "Pipeline": {"jobType": "Pipeline", "jobs": {"a": {"type": "command"}}, "settings": {"default_compute": "c"}},
    "Sweep": {
        "jobType": "Sweep",
        "searchSpace": {"lr": ["uniform", [0, 1]]},
        "samplingAlgorithm": {"samplingAlgorithmType": "Random"},
        "objective": {"goal": "Maximize", "primaryMetric": "acc"},
        "trial": TRIAL,
    },
    "Spark": {
        "jobType": "Spark",
        "codeId": "azureml:code:1",
        "entry": {"sparkJobEntryType": "SparkJobPythonEntry", "file": "a.py"},
    },
    "AutoML": {"jobType": "AutoML", "taskDetails": {"taskType": "Classification"}},
}


def submit(cloud: Cloud, name: str, **properties: Any) -> httpx.Response:
    return cloud.send("PUT", f"{cloud.workspace}/jobs/{name}", {"properties": properties})


def names(cloud: Cloud, query: str = "") -> list[str]:
    return [each["name"] for each in cloud.get(f"{cloud.workspace}/jobs?api-version=2025-12-01{query}")["value"]]


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_a_submitted_job_waits_and_never_says_that_it_is_done(cloud: Cloud, kind: str) -> None:
    answer = submit(cloud, "mine", **DEFINITIONS[kind])
    assert answer.status_code == 201, answer.text
    assert answer.json()["properties"]["status"] == "Preparing"
    assert "/jobs/mine?api-version=" in answer.headers["location"]
    own = job(cloud, "mine")
    assert (own["status"], own["jobType"], own["experimentName"]) == ("Queued", kind, "Default")
    assert set(own["services"]) == {"Tracking", "Studio"}
    cloud.unchanged(f"{cloud.workspace}/jobs/mine")


def test_a_command_job_is_filled_in_as_recorded(cloud: Cloud) -> None:
    folder = {"jobInputType": "uri_folder", "uri": "azureml://datastores/workspaceblobstore/paths/data/"}
    submit(cloud, "filled", **{**DEFINITIONS["Command"], "inputs": {"data": folder}}, tags={"a": "b"})
    own = job(cloud, "filled")
    expected: dict[str, Any] = {
        "displayName": "filled",
        "isArchived": False,
        "identity": None,
        "componentId": None,
        "computeId": None,
        "codeId": None,
        "distribution": None,
        "limits": None,
        "environmentVariables": {},
        "parameters": {},
        "resources": {
            "instanceCount": 1,
            "instanceType": None,
            "properties": None,
            "shmSize": "2g",
            "dockerArgs": None,
        },
        "inputs": {"data": {"description": None, "mode": "ReadOnlyMount", **folder}},
        "outputs": {
            "default": {
                "description": None,
                "uri": "azureml://datastores/workspaceartifactstore/ExperimentRun/dcid.filled",
                "mode": "ReadWriteMount",
                "jobOutputType": "uri_folder",
            }
        },
    }
    assert {name: own[name] for name in expected} == expected
    data = cloud.get(f"{cloud.workspace}/jobs/filled")["systemData"]
    assert set(data) == {"createdAt", "createdBy", "createdByType"}


def test_a_submitted_job_is_canceled_at_once(cloud: Cloud) -> None:
    submit(cloud, "mine", **DEFINITIONS["Pipeline"])
    path = f"{cloud.workspace}/jobs/mine"
    assert "cancel it first" in cloud.refusal(cloud.send("DELETE", path), 400)
    answer = cloud.send("POST", f"{path}/cancel")
    assert answer.status_code == 202
    assert cloud.send("GET", answer.headers["location"]).status_code == 200
    assert job(cloud, "mine")["status"] == "Canceled"
    assert cloud.send("POST", f"{path}/cancel").status_code == 200, "there is nothing left to cancel"
    assert [cloud.send("DELETE", path).status_code for _ in range(2)] == [200, 204]
    assert "Job mine not found." in cloud.refusal(cloud.send("GET", path), 404)
    assert "was not found" in cloud.refusal(cloud.send("GET", answer.headers["location"]), 404)


def test_jobs_are_listed_as_the_query_asks(cloud: Cloud) -> None:
    submit(cloud, "one", **DEFINITIONS["Command"], tags={"team": "a"})
    submit(cloud, "two", **DEFINITIONS["Pipeline"], properties={"k": "v"})
    submit(cloud, "three", **DEFINITIONS["Pipeline"], isArchived=True)
    assert names(cloud) == ["two", "one"], "newest first, without those that are archived"
    assert names(cloud, "&listViewType=All") == ["three", "two", "one"]
    assert names(cloud, "&listViewType=ArchivedOnly") == ["three"]
    assert names(cloud, "&jobType=command") == ["one"]
    assert names(cloud, "&tag=team") == ["one"]
    assert names(cloud, "&properties=k=v") == ["two"]
    assert names(cloud, "&$skip=1") == ["one"]
    assert names(cloud, "&scheduled=true") == []
    for query, said in (("&jobType=Batch", "Pipeline"), ("&listViewType=Mine", "ArchivedOnly")):
        answer = cloud.send("GET", f"{cloud.workspace}/jobs?api-version=2025-12-01{query}")
        assert said in cloud.refusal(answer, 400)


def test_of_a_submitted_job_only_what_is_said_about_it_changes(cloud: Cloud) -> None:
    first = {**DEFINITIONS["Command"], "properties": {"a": "1"}}
    submit(cloud, "mine", **first)
    told = submit(cloud, "mine", **first, displayName="other", tags={"a": "b"}, description="d", isArchived=True)
    assert told.status_code == 200, told.text
    added = submit(cloud, "mine", **{**first, "properties": {"b": "2"}})
    assert added.json()["properties"]["properties"] == {"a": "1", "b": "2"}
    for change, said in (
        ({"command": "rm"}, "changes: command"),
        ({"experimentName": "e"}, "changes: experimentName"),
        ({"inputs": {}}, "changes: inputs"),
        ({"properties": {"a": "2"}}, "changes: properties.a"),
    ):
        assert said in cloud.refusal(submit(cloud, "mine", **{**first, **change}), 400)
    kind = cloud.refusal(submit(cloud, "mine", **DEFINITIONS["Pipeline"]), 400)
    assert "A job with this name already exists." in kind


COMMAND = DEFINITIONS["Command"]


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({}, "'properties.jobType' is required"),
        ({"jobType": "Batch"}, "AutoML, Command, Sweep, Pipeline, Spark"),
        ({"jobType": "Command", "command": "ls"}, "'properties.environmentId' is required"),
        ({**COMMAND, "command": ""}, "'properties.command' is empty"),
        ({**COMMAND, "environmentId": "azureml:none:1"}, "azureml:none:1"),
        ({**COMMAND, "codeId": "azureml:none:1"}, "azureml:none:1"),
        ({**COMMAND, "computeId": "/none"}, "no compute that exists"),
        ({**COMMAND, "resources": {"instanceCount": 0}}, "properties.resources.instanceCount"),
        ({**COMMAND, "inputs": {"n": {"value": "1"}}}, "'properties.inputs.n.jobInputType' is required"),
        ({**COMMAND, "inputs": {"n": {"jobInputType": "uri_file"}}}, "'properties.inputs.n.uri' is required"),
        ({**COMMAND, "outputs": {"o": {"uri": "u"}}}, "'properties.outputs.o.jobOutputType' is required"),
        ({**COMMAND, "inputs": {"n": {**LITERAL, "jobInputType": "Csv"}}}, "uri_folder"),
        ({**COMMAND, "tags": {"a": []}}, "properties.tags.a"),
        ({"jobType": "Pipeline", "sourceJobId": "/none"}, "'sourceJobId' names was not found"),
        ({"jobType": "Sweep", "trial": TRIAL}, "'properties.searchSpace' is required"),
        ({"jobType": "Spark", "codeId": "azureml:code:1"}, "'properties.entry' is required"),
        ({**DEFINITIONS["Spark"], "jars": [1]}, "properties.jars.0"),
        ({"jobType": "AutoML"}, "'properties.taskDetails' is required"),
    ],
)
def test_a_job_that_says_something_wrong_is_refused(cloud: Cloud, properties: dict[str, Any], said: str) -> None:
    assert said in cloud.refusal(submit(cloud, "wrong", **properties), 400)
    assert names(cloud, "&listViewType=All") == []


def test_a_jobs_name_is_what_azure_takes(cloud: Cloud) -> None:
    assert "255 letters" in cloud.refusal(submit(cloud, "-a", **COMMAND), 400)


def test_a_job_in_a_curated_environment_is_kept(cloud: Cloud) -> None:
    for number, environment in enumerate(
        ("azureml:AzureML-sklearn-1.5:1", "azureml://registries/azureml/environments/e/versions/1")
    ):
        assert submit(cloud, f"curated-{number}", **{**COMMAND, "environmentId": environment}).status_code == 201


def test_a_submitted_job_waits_again_after_a_restart(tmp_path: Path, files: None) -> None:
    with booted(tmp_path / "home", FakeServing()) as cloud:
        cloud.prepare()
        submit(cloud, "mine", **COMMAND)
    with booted(tmp_path / "home", FakeServing()) as cloud:
        assert job(cloud, "mine")["status"] == "Queued"
        assert cloud.azure.status()["jobs"]
