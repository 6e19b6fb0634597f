"""Where a batch job's predictions and logs go, and what is left of it on disk; scoring and storage are replaced."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError

from localazure.batch import BatchResult, BatchSpec
from localazure.providers.ml.job_runner import ENDED, LOG_CONTAINER
from localazure.serving import ServingError
from tests.localazure.providers import conftest
from tests.localazure.providers.conftest import Cloud, FakeServing, booted, until
from tests.localazure.providers.test_jobs import (  # noqa: F401 - fixtures
    RUNNER,
    FakeBatch,
    add_batch,
    batch,
    ends,
    invoke,
    job,
    reason,
    scorer,
)

OUTPUT = {"score": {"uri": "azureml://datastores/elsewhere/paths/all", "jobOutputType": "UriFolder"}}
PREDICTIONS = "storage2/out/all/predictions.csv"
ENVIRONMENT = "environment.txt"


@dataclass
class Storage:
    """What lies in storage, by account, container and name; a container is there unless it is among `missing`."""

    blobs: dict[str, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    uploaded: Callable[[str], object] = lambda container: None
    """Called after an upload with `account/container`."""


@dataclass
class KeptBlobs(conftest.FakeBlobs):
    """One account of it."""

    storage: Storage
    account: str

    def list(self, container: str, prefix: str = "") -> list[str]:
        base = f"{self.account}/{container}/"
        return [name.removeprefix(base) for name in self.storage.blobs if name.startswith(base + prefix)]

    def upload_folder(self, container: str, prefix: str, folder: Path) -> None:
        place = f"{self.account}/{container}"
        if place in self.storage.missing:
            raise ResourceNotFoundError("The specified container does not exist.")
        for path in folder.rglob("*"):
            if path.is_file():
                self.storage.blobs[f"{place}/{prefix}/{path.relative_to(folder).as_posix()}"] = path.read_text()
        self.storage.uploaded(place)


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Storage:
    made = Storage()
    monkeypatch.setattr(conftest.FakeFleet, "blobs", lambda self, account: KeptBlobs(made, account))
    return made


@pytest.fixture
def writing(scorer: FakeBatch, monkeypatch: pytest.MonkeyPatch) -> FakeBatch:  # noqa: F811
    """Scores nothing, and leaves the files of one that does."""

    def run(spec: BatchSpec, **rest: Any) -> BatchResult:
        result = scorer.run(spec, **rest)
        if result.succeeded:
            spec.journal.mkdir(exist_ok=True)
            (spec.output_dir / spec.output_file_name).write_text(spec.job)
        return result

    monkeypatch.setattr(f"{RUNNER}.batch.run", run)
    return scorer


@pytest.fixture
def ready(writing: FakeBatch, storage: Storage, batch: Cloud) -> Cloud:  # noqa: F811
    add_account(batch)
    return batch


def add_account(cloud: Cloud) -> None:
    """A second storage account, which is not the workspace's, and a datastore in it."""
    other = f"{cloud.group}/providers/Microsoft.Storage/storageAccounts/storage2"
    cloud.put(other, {"location": "eastus", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"})
    own = {"accountName": "storage2", "containerName": "out", "credentials": {"credentialsType": "None"}}
    cloud.put(f"{cloud.workspace}/datastores/elsewhere", {"properties": {"datastoreType": "AzureBlob", **own}})


@pytest.fixture
def killed(tmp_path: Path, writing: FakeBatch, storage: Storage) -> Iterator[None]:
    """Local Azure has ended while the job `one` was writing its predictions: they are there, and it has not heard."""
    written, over = threading.Event(), threading.Event()

    def hang(_: str) -> None:
        written.set()
        over.wait(30)
        raise OSError("The connection is lost.")

    storage.uploaded = hang
    with booted(tmp_path / "home", FakeServing()) as cloud:
        cloud.prepare()
        add_batch(cloud, cloud.workspace, "batch")
        add_account(cloud)
        invoke(cloud, name="one", outputData=OUTPUT)
        assert written.wait(10)
    storage.uploaded = Storage.uploaded
    yield
    over.set()


def parts(cloud: Cloud, name: str) -> list[str]:
    """What there is of a job on disk."""
    (folder,) = cloud.azure._cloud.home.jobs.glob(f"*/{name}")
    return sorted(path.name for path in folder.iterdir())


# Predictions ----------------------------------------------------------------------------------------------------------


def test_of_two_jobs_with_one_output_file_the_later_fails_and_keeps_what_it_scored(
    ready: Cloud, writing: FakeBatch, storage: Storage
) -> None:
    writing.gate.clear()
    for name in ("one", "two"):
        invoke(ready, name=name, outputData=OUTPUT)
    until(lambda: len(writing.specs) == 2, "neither has found the other's output when it began")
    writing.gate.set()
    until(lambda: all(job(ready, name)["status"] in ENDED for name in ("one", "two")), "both end")
    first, later = sorted(("one", "two"), key=lambda name: job(ready, name)["status"])
    assert [job(ready, name)["status"] for name in (first, later)] == ["Completed", "Failed"]
    assert storage.blobs[PREDICTIONS] == first, "it is not written over"
    assert "exists already" in reason(ready, later)
    kept = Path(reason(ready, later).rpartition("is kept in ")[2].rstrip("."))
    assert (kept / "predictions.csv").read_text() == later


@pytest.mark.usefixtures("killed")
def test_a_job_that_was_killed_while_it_wrote_its_predictions_writes_them_again(
    tmp_path: Path, storage: Storage
) -> None:
    assert storage.blobs[PREDICTIONS] == "one"
    with booted(tmp_path / "home", FakeServing()) as cloud:
        ends(cloud, "one", "Completed")


@pytest.mark.usefixtures("killed")
def test_nobody_writes_the_file_that_a_killed_job_is_to_write_yet(
    tmp_path: Path, writing: FakeBatch, storage: Storage
) -> None:
    del storage.blobs[PREDICTIONS]
    writing.gate.clear()
    with booted(tmp_path / "home", FakeServing()) as cloud:
        invoke(cloud, name="two", outputData=OUTPUT)
        ends(cloud, "two", "Failed")
        writing.gate.set()
        ends(cloud, "one", "Completed")
    assert storage.blobs[PREDICTIONS] == "one"


def test_predictions_that_cannot_be_put_into_storage_are_kept_and_the_job_says_where(
    tmp_path: Path, writing: FakeBatch, storage: Storage
) -> None:
    storage.missing.add("storage2/out")
    with booted(tmp_path / "home", FakeServing()) as cloud:
        cloud.prepare()
        add_batch(cloud, cloud.workspace, "batch")
        add_account(cloud)
        invoke(cloud, name="one", outputData=OUTPUT)
        ends(cloud, "one", "Failed")
        said = reason(cloud, "one")
        assert said.startswith("ResourceNotFoundError: The specified container does not exist.")
        until(lambda: parts(cloud, "one") == ["logs", "output"], "the rest goes")
    with booted(tmp_path / "home", FakeServing()) as cloud:
        assert parts(cloud, "one") == ["logs", "output"], "a start does not take them either"
        assert (Path(said.rpartition("is kept in ")[2].rstrip(".")) / "predictions.csv").read_text() == "one"


# What is left on disk -------------------------------------------------------------------------------------------------


def test_a_job_that_has_ended_leaves_its_logs_on_disk_and_nothing_else(ready: Cloud) -> None:
    invoke(ready, name="one", outputData=OUTPUT)
    ends(ready, "one", "Completed")
    until(lambda: parts(ready, "one") == ["logs"], "inputs, output and journal go")


def test_what_a_kill_left_of_an_ended_job_goes_at_the_next_start(
    tmp_path: Path,
    scorer: FakeBatch,  # noqa: F811
) -> None:
    with booted(tmp_path / "home", FakeServing()) as cloud:
        cloud.prepare()
        add_batch(cloud, cloud.workspace, "batch")
        invoke(cloud, name="one")
        ends(cloud, "one", "Completed")
        until(lambda: parts(cloud, "one") == ["logs"], "it is cleared away")
        for part in ("inputs", "output", "journal"):
            shutil.copytree(scorer.specs[0].log_dir, scorer.specs[0].log_dir.parent / part)
    with booted(tmp_path / "home", FakeServing()) as cloud:
        assert parts(cloud, "one") == ["logs"]


# Logs -----------------------------------------------------------------------------------------------------------------


def test_the_logs_lie_in_the_workspaces_account_wherever_the_predictions_go(
    ready: Cloud, writing: FakeBatch, storage: Storage
) -> None:
    storage.missing.add(f"storage2/{LOG_CONTAINER}")
    writing.gate.clear()
    invoke(ready, name="one", outputData=OUTPUT)
    until(lambda: writing.specs, "it runs")
    (writing.specs[0].log_dir / ENVIRONMENT).write_text("built\n")
    writing.gate.set()
    ends(ready, "one", "Completed")
    assert storage.blobs[PREDICTIONS] == "one"
    assert storage.blobs[f"storage1/{LOG_CONTAINER}/ExperimentRun/dcid.one/{ENVIRONMENT}"] == "built\n"


def test_a_job_whose_logs_have_no_place_ends_well(
    ready: Cloud, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    storage.missing.add(f"storage1/{LOG_CONTAINER}")
    invoke(ready, name="one", outputData=OUTPUT)
    ends(ready, "one", "Completed")
    assert "cannot be put into storage" in caplog.text


def test_the_log_of_an_environment_that_cannot_be_built_is_where_its_link_says(
    ready: Cloud, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(runner: object, workspace: object, settings: object, model: object, logs: Path) -> Path:
        (logs / ENVIRONMENT).write_text("no such package\n")
        raise ServingError("ImageBuildFailure", "It cannot be built.")

    monkeypatch.setattr(f"{RUNNER}.JobRunner._python", fail)
    invoke(ready, name="one", outputData=OUTPUT)
    ends(ready, "one", "Failed")
    links = log_files(ready, "one")
    base = f"storage1/{LOG_CONTAINER}/ExperimentRun/dcid.one"
    assert storage.blobs[f"{base}/{ENVIRONMENT}"] == "no such package\n"
    assert links[ENVIRONMENT].startswith(f"https://storage1.blob.core.windows.net/{base.partition('/')[2]}/")


def test_no_link_leads_to_a_log_that_is_not_in_storage(ready: Cloud, writing: FakeBatch, storage: Storage) -> None:
    invoke(ready, name="one", outputData=OUTPUT)
    ends(ready, "one", "Completed")
    (writing.specs[0].log_dir / "late.txt").write_text("after the end\n")
    base = f"storage1/{LOG_CONTAINER}/ExperimentRun/dcid.one"
    assert [name for name in log_files(ready, "one") if f"{base}/{name}" not in storage.blobs] == []


def log_files(cloud: Cloud, name: str) -> dict[str, str]:
    path = f"/history/v1.0{cloud.workspace}/runs/{name}/details"
    return cloud.send("GET", path, Host="eastus.api.azureml.ms").json()["logFiles"]
