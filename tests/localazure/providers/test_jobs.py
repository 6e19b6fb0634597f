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
    monkeypatch.setattr(f"{RUNNER}.fetch", lambda cloud, place, folder: folder.mkdir(parents=True))
    monkeypatch.setattr(f"{RUNNER}.model_files", lambda *args: found)
    monkeypatch.setattr(f"{RUNNER}.JobRunner._python", lambda *args: tmp_path / "python")
    return fake


@pytest.fixture
def batch(scorer: FakeBatch, cloud: Cloud) -> Cloud:
    add_batch(cloud, cloud.workspace, "batch")
    return cloud


def add_batch(cloud: Cloud, workspace: str, endpoint: str, **properties: Any) -> None:
    """A batch endpoint with a default deployment, and the cluster under it."""
    size = {"vmSize": "Standard_DS3_v2", "scaleSettings": {"maxNodeCount": 1}}
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
    until(lambda: len(scorer.specs) == 4, "every place is taken")
    invoke(batch, name="waiting")
    batch.send("POST", f"{batch.workspace}/jobs/waiting/cancel")
    assert job(batch, "waiting")["status"] == "CancelRequested"
    scorer.gate.set()
    ends(batch, "waiting", "Canceled")
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
    output = {"score": {"uri": "https://storage1.blob.core.windows.net/c/out", "jobOutputType": "UriFolder"}}
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
