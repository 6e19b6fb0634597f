"""The logs of a batch job, over HTTP: what `jobs.stream` follows, and the links to the files that its workers write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError

from localazure.providers.ml.job_logs import execution_log
from tests.localazure.providers import conftest
from tests.localazure.providers.conftest import Cloud, until
from tests.localazure.providers.test_jobs import FakeBatch, batch, ends, invoke, scorer  # noqa: F401 - fixtures

DRIVER = "azureml-logs/70_driver_log.txt"
NODE = "logs/sys/node/10.0.0.4/process000.txt"
EXECUTION = "logs/azureml/executionlogs.txt"


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What is put into storage, by its path in the container."""
    found: dict[str, str] = {}

    def upload(self: object, container: str, prefix: str, folder: Path) -> None:
        for path in folder.rglob("*"):
            if path.is_file():
                found[f"{prefix}/{path.relative_to(folder).as_posix()}"] = path.read_text()

    def listed(self: object, container: str, prefix: str = "") -> list[str]:
        return [name for name in found if name.startswith(prefix)]

    monkeypatch.setattr(conftest.FakeBlobs, "upload_folder", upload)
    monkeypatch.setattr(conftest.FakeBlobs, "list", listed)
    return found


def running(cloud: Cloud, scorer: FakeBatch, name: str) -> Path:  # noqa: F811
    """Begins a job that waits, with a line in two of its logs; gives the logs' folder."""
    scorer.gate.clear()
    invoke(cloud, name=name)
    until(lambda: [spec for spec in scorer.specs if spec.job == name], "it runs")
    folder = scorer.specs[-1].log_dir
    for file in (DRIVER, NODE):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("a line\n")
    return folder


def details(cloud: Cloud, name: str) -> dict[str, Any]:
    answer = cloud.send("GET", f"/history/v1.0{cloud.workspace}/runs/{name}/details", Host="eastus.api.azureml.ms")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_logs_of_a_running_job_can_be_followed(
    batch: Cloud,  # noqa: F811
    scorer: FakeBatch,  # noqa: F811
    stored: dict[str, str],
) -> None:
    folder = running(batch, scorer, "followed")
    assert sorted(details(batch, "followed")["logFiles"]) == [DRIVER, EXECUTION]
    assert stored[f"ExperimentRun/dcid.followed/{DRIVER}"] == "a line\n"
    (folder / DRIVER).write_text("a line\nanother\n")
    link = details(batch, "followed")["logFiles"][DRIVER]
    assert stored[f"ExperimentRun/dcid.followed/{DRIVER}"] == "a line\nanother\n", "what has come since is there"
    assert link.startswith("https://storage1.blob.core.windows.net/azureml/ExperimentRun/dcid.followed/azureml-logs/")
    scorer.gate.set()
    ends(batch, "followed", "Completed")
    assert {DRIVER, EXECUTION, NODE} <= details(batch, "followed")["logFiles"].keys(), (
        "all of them are there at the end"
    )


def test_the_step_that_scores_has_the_logs_of_the_workers(
    batch: Cloud,  # noqa: F811
    scorer: FakeBatch,  # noqa: F811
    stored: dict[str, str],
) -> None:
    running(batch, scorer, "parent")
    job = batch.azure._cloud.store.get(f"{batch.workspace}/jobs/parent")
    assert job is not None
    assert sorted(details(batch, job.hidden["child"])["logFiles"]) == [DRIVER]
    scorer.gate.set()


def test_a_run_is_told_of_when_its_logs_have_no_place(
    batch: Cloud,  # noqa: F811
    scorer: FakeBatch,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running(batch, scorer, "alone")

    def refuse(*_: object) -> None:
        raise ResourceNotFoundError("The container does not exist.")

    monkeypatch.setattr(conftest.FakeBlobs, "upload_folder", refuse)
    found = details(batch, "alone")
    assert (found["status"], found["logFiles"]) == ("Running", {})
    monkeypatch.undo()
    scorer.gate.set()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("Completed", "Completing processing run id"),
        ("Failed", "experiment failed"),
        ("Canceled", "experiment canceled"),
    ],
)
def test_the_execution_log_says_how_the_step_ended(batch: Cloud, status: str, said: str) -> None:  # noqa: F811
    invoke(batch, name="done")
    ends(batch, "done", "Completed")
    job = batch.azure._cloud.store.get(f"{batch.workspace}/jobs/done")
    assert job is not None
    first, last = execution_log(job.with_properties(status=status)).splitlines()
    assert f"Submitting 1 runs, first five are: {job.hidden['child'][:8]}:{job.hidden['child']}" in first
    assert said in last


def test_the_jobs_of_an_endpoint_are_listed_in_pages(batch: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr("localazure.providers.ml.runs._PAGE", 2)
    for name in ("one", "two", "three"):
        invoke(batch, name=name)
    region = "eastus.api.azureml.ms"
    path = f"/mferp/managementfrontend{batch.workspace}/batchEndpoints/batch/jobs"
    first = batch.send("GET", path, Host=region).json()
    assert [each["name"] for each in first["value"]] == ["three", "two"]
    assert first["nextLink"].startswith(f"https://{region}{path}?")
    second = batch.send("GET", first["nextLink"].removeprefix(f"https://{region}"), Host=region).json()
    assert [each["name"] for each in second["value"]] == ["one"]
    assert "nextLink" not in second
    for name in ("one", "two", "three"):
        ends(batch, name, "Completed")
