"""Batch jobs through azure-ai-ml, as it is, and through curl: inputs and outputs of each kind, predictions, logs."""

# The client declares less than it takes and more than it returns: unions and optionals that no answer of it is.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.ai.ml import Input, MLClient, Output
from azure.ai.ml.entities import (
    AmlCompute,
    BatchEndpoint,
    BatchRetrySettings,
    CodeConfiguration,
    Data,
    Environment,
    Model,
    ModelBatchDeployment,
    ModelBatchDeploymentSettings,
)
from azure.ai.ml.exceptions import JobException
from azure.core.exceptions import HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.storage.blob import ContainerClient

from tests.clients.conftest import LOCATION, SCORING, Place
from tests.localazure.batch.test_samples import DIRECT
from tests.scoring.sample_environment import sample_python

IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04"
SAMPLES = SCORING / "samples" / "batch"
ENDPOINT = "scored-in-bulk"
SHORT = "azureml://datastores/workspaceblobstore/paths/"
# The settings of the sample configuration.
SETTINGS: dict[str, Any] = {
    "instance_count": 2,
    "max_concurrency_per_instance": 2,
    "mini_batch_size": 2,
    "output_action": "append_row",
    "output_file_name": "predictions.csv",
    "retry_settings": BatchRetrySettings(max_retries=3, timeout=300),
    "logging_level": "info",
}
# Answers with the files it was given, so that a test sees which they are.
NAMES = """
import os

def init():
    pass

def run(files):
    return [" ".join((os.path.basename(name), open(name).read().strip())) for name in files]
"""


@pytest.fixture(scope="module")
def ml(place: Place, environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLClient]:
    """A client of a workspace with an endpoint that scores the sample with and without code, and one that lists."""
    ml = MLClient(DefaultAzureCredential(), place.subscription, place.group, place.workspace)
    ml.compute.begin_create_or_update(AmlCompute(name="bulk", size="Standard_DS3_v2", max_instances=4)).result()
    ml.batch_endpoints.begin_create_or_update(BatchEndpoint(name=ENDPOINT)).result()
    listing = tmp_path_factory.mktemp("code")
    (listing / "score.py").write_text(NAMES)
    mlflow = Model(path=SCORING / "models/mlflow", type="mlflow_model")
    image = Environment(image=IMAGE, conda_file=str(SCORING / "batch/conda.yaml"))
    for name, code in (("mlflow", None), ("custom", SCORING / "batch"), ("names", listing)):
        own = {"code_configuration": CodeConfiguration(code=str(code), scoring_script="score.py"), "environment": image}
        deployment = ModelBatchDeployment(
            name=name,
            endpoint_name=ENDPOINT,
            model=mlflow,
            compute="bulk",
            settings=ModelBatchDeploymentSettings(**SETTINGS),
            **(own if code else {}),
        )
        ml.batch_deployments.begin_create_or_update(deployment).result()
    yield ml
    ml.batch_endpoints.begin_delete(ENDPOINT).result()


@pytest.fixture(scope="module")
def files(ml: MLClient, place: Place) -> ContainerClient:
    """The container of the workspace's datastore, with a few files in `in`: each holds its own path."""
    store = ml.datastores.get_default()
    url = f"https://{place.account}.blob.core.windows.net"
    container = ContainerClient(url, store.container_name, credential=place.keys()[0])
    for name in ("in/a.csv", "in/b.csv", "in/c.txt", "in/deep/d.csv", "other/e.csv"):
        container.upload_blob(name, name, overwrite=True)
    return container


@pytest.fixture(scope="module")
def direct() -> list[list[str]]:
    """Row, prediction and file name as a plain loop finds them."""
    argv = [sample_python(), "-c", DIRECT, SCORING / "models" / "mlflow", *sorted(SAMPLES.glob("*.csv"))]
    return json.loads(subprocess.run(argv, check=True, capture_output=True, text=True, timeout=120).stdout)


def invoke(ml: MLClient, inputs: dict[str, Input], deployment: str = "names", **rest: Any) -> str:
    return str(ml.batch_endpoints.invoke(ENDPOINT, deployment_name=deployment, inputs=inputs, **rest).name)


def output(ml: MLClient, job: str, folder: Path, name: str = "predictions.csv") -> str:
    """What a job wrote, once it has ended well."""
    ml.jobs.stream(job)
    assert ml.jobs.get(job).status == "Completed"
    ml.jobs.download(job, download_path=folder, output_name="score")
    (found,) = folder.rglob(name)
    return found.read_text()


def listed(ml: MLClient, inputs: dict[str, Input], folder: Path, **rest: Any) -> list[str]:
    """The files that a job was given, each with its content."""
    return sorted(output(ml, invoke(ml, inputs, **rest), folder).splitlines())


# Predictions ----------------------------------------------------------------------------------------------------------


def test_predictions_of_an_mlflow_model_equal_a_direct_loop(
    ml: MLClient, direct: list[list[str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    job = invoke(ml, {"rows": Input(type="uri_folder", path=str(SAMPLES))}, "mlflow")
    found = output(ml, job, tmp_path)
    assert sorted(csv.reader(found.splitlines())) == sorted(direct), "row for row, file names included"
    told = capfd.readouterr().out
    assert "Streaming logs/azureml/executionlogs.txt" in told
    assert "Submitting 1 runs" in told


def test_predictions_of_a_script_equal_a_direct_loop(ml: MLClient, direct: list[list[str]], tmp_path: Path) -> None:
    job = invoke(ml, {"rows": Input(type="uri_folder", path=str(SAMPLES))}, "custom")
    expected = [f"{prediction} {file}" for _, prediction, file in direct]
    assert sorted(output(ml, job, tmp_path).splitlines()) == sorted(expected)


# Inputs ---------------------------------------------------------------------------------------------------------------


def test_local_folders_and_files_are_uploaded(ml: MLClient, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a b.csv").write_text("1")
    (folder / "c%20d.csv").write_text("2")
    found = listed(ml, {"rows": Input(type="uri_folder", path=str(folder))}, tmp_path / "one")
    assert found == ["a b.csv 1", "c%20d.csv 2"]
    one = Input(type="uri_file", path=str(folder / "a b.csv"))
    assert listed(ml, {"rows": one}, tmp_path / "two") == ["a b.csv 1"]


def test_paths_in_a_datastore_may_have_wildcards(
    ml: MLClient, place: Place, files: ContainerClient, tmp_path: Path
) -> None:
    long = f"azureml://subscriptions/{place.subscription}/resourcegroups/{place.group}/workspaces/{place.workspace}"
    wanted = {
        f"{SHORT}in": ["a.csv in/a.csv", "b.csv in/b.csv", "c.txt in/c.txt", "d.csv in/deep/d.csv"],
        f"{SHORT}in/*.csv": ["a.csv in/a.csv", "b.csv in/b.csv"],
        f"{SHORT}**/d.csv": ["d.csv in/deep/d.csv"],
        f"{long}/datastores/workspaceblobstore/paths/other/": ["e.csv other/e.csv"],
        f"https://{place.account}.blob.core.windows.net/{files.container_name}/in/deep": ["d.csv in/deep/d.csv"],
    }
    jobs = {path: invoke(ml, {"rows": Input(type="uri_folder", path=path)}) for path in wanted}
    found = {
        path: sorted(output(ml, job, tmp_path / str(number)).splitlines())
        for number, (path, job) in enumerate(jobs.items())
    }
    assert found == wanted


def test_data_assets_are_found_by_version_label_and_id(ml: MLClient, files: ContainerClient, tmp_path: Path) -> None:
    folder = ml.data.create_or_update(Data(name="bulk-rows", version="1", type="uri_folder", path=f"{SHORT}in/deep"))
    file = ml.data.create_or_update(Data(name="bulk-row", version="1", type="uri_file", path=f"{SHORT}other/e.csv"))
    wanted = {
        ("uri_folder", "azureml:bulk-rows:1"): ["d.csv in/deep/d.csv"],
        ("uri_folder", "azureml:bulk-rows@latest"): ["d.csv in/deep/d.csv"],
        ("uri_folder", folder.id): ["d.csv in/deep/d.csv"],
        ("uri_file", file.id): ["e.csv other/e.csv"],
    }
    jobs = {key: invoke(ml, {"rows": Input(type=key[0], path=key[1])}) for key in wanted}
    found = {
        key: sorted(output(ml, job, tmp_path / str(number)).splitlines())
        for number, (key, job) in enumerate(jobs.items())
    }
    assert found == wanted


def test_several_inputs_are_scored_together(ml: MLClient, files: ContainerClient, tmp_path: Path) -> None:
    inputs = {
        "rows": Input(type="uri_folder", path=f"{SHORT}in/deep"),
        "more": Input(type="uri_file", path=f"{SHORT}other/e.csv"),
    }
    assert listed(ml, inputs, tmp_path) == ["d.csv in/deep/d.csv", "e.csv other/e.csv"]


def test_the_one_input_of_a_model_needs_no_name(ml: MLClient, files: ContainerClient, tmp_path: Path) -> None:
    one = Input(type="uri_file", path=f"{SHORT}other/e.csv")
    job = ml.batch_endpoints.invoke(ENDPOINT, deployment_name="names", input=one).name
    assert output(ml, job, tmp_path).splitlines() == ["e.csv other/e.csv"]


def test_an_input_that_is_not_what_it_is_called_fails_the_job_with_the_way_out(
    ml: MLClient, files: ContainerClient
) -> None:
    wrong = {
        ("uri_folder", f"{SHORT}other/e.csv"): "is a file: give the input the type UriFile",
        ("uri_file", f"{SHORT}in"): "is no file",
        ("uri_folder", f"{SHORT}in/*.parquet"): "Nothing lies at 'in/*.parquet'",
        ("uri_folder", f"{SHORT}nowhere"): "Nothing lies at 'nowhere'",
    }
    jobs = {key: invoke(ml, {"rows": Input(type=key[0], path=key[1])}) for key in wrong}
    for key, said in wrong.items():
        with pytest.raises(JobException) as failure:
            ml.jobs.stream(jobs[key])
        assert said in str(failure.value), key


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Input(type="string", default="append"), "Literal inputs are only supported in pipeline component deployments"),
        (Input(type="mltable", path=f"{SHORT}in"), "UriFile or UriFolder only"),
        (Input(type="mlflow_model", path=f"{SHORT}in"), "UriFile or UriFolder only"),
    ],
)
def test_inputs_that_no_deployment_of_a_model_takes_are_refused(ml: MLClient, given: Input, said: str) -> None:
    with pytest.raises(HttpResponseError, match=said):
        invoke(ml, {"rows": given})


# Outputs and settings -------------------------------------------------------------------------------------------------


def test_predictions_go_where_the_caller_says(ml: MLClient, files: ContainerClient, tmp_path: Path) -> None:
    rows = {"rows": Input(type="uri_folder", path=f"{SHORT}in/deep")}
    store = ml.datastores.get_default()
    paths = f"{store.id}/paths"
    outputs = {
        "out/folder/predictions.csv": {"outputs": {"score": Output(type="uri_folder", path=f"{SHORT}out/folder")}},
        "out/file/rows.csv": {"outputs": {"score": Output(type="uri_file", path=f"{paths}/out/file/rows.csv")}},
        "out/old/rows.csv": {
            "params_override": [
                {"output_dataset": {"datastore_id": f"azureml:{store.id}", "path": "/out/old"}},
                {"output_file_name": "rows.csv"},
            ]
        },
        "out/short/rows.csv": {
            "params_override": [
                {"output_dataset": {"datastore_id": "azureml:workspaceblobstore", "path": "out/short"}},
                {"output_file_name": "rows.csv"},
            ]
        },
    }
    jobs = {blob: invoke(ml, rows, **how) for blob, how in outputs.items()}
    for number, (blob, job) in enumerate(jobs.items()):
        found = output(ml, job, tmp_path / str(number), Path(blob).name)
        assert found == files.download_blob(blob).readall().decode() == "d.csv in/deep/d.csv\n", blob


def test_a_job_takes_settings_that_differ_from_its_deployments(
    ml: MLClient, files: ContainerClient, tmp_path: Path
) -> None:
    overrides = [
        {"mini_batch_size": 1},
        {"error_threshold": 3},
        {"compute": {"instance_count": 1}},
        {"retry_settings": {"max_retries": 2, "timeout": 40}},
        {"output_file_name": "other.csv"},
    ]
    rows = {"rows": Input(type="uri_folder", path=f"{SHORT}in")}
    name = invoke(ml, rows, params_override=overrides, experiment_name="bulk-tests", job_name="named-by-me")
    assert name == "named-by-me"
    assert len(output(ml, name, tmp_path, "other.csv").splitlines()) == 4
    job = ml.jobs.get(name)
    assert job.experiment_name == "bulk-tests"
    driver = json.loads(job.properties["azureml.parameters"])
    assert (driver["mini_batch_size"], driver["error_threshold"], driver["NodeCount"]) == ("1", "3", "1")
    assert (driver["run_max_try"], driver["run_invocation_timeout"]) == ("2", "40")
    with pytest.raises(HttpResponseError, match="already exists"):
        invoke(ml, rows, job_name="named-by-me")


# Lists, cancellation, logs --------------------------------------------------------------------------------------------


def test_jobs_are_listed_and_cancelled(ml: MLClient, files: ContainerClient) -> None:
    job = invoke(ml, {"rows": Input(type="uri_folder", path=f"{SHORT}in")}, "mlflow")
    ml.jobs.begin_cancel(job).result()
    assert ml.jobs.get(job).status == "Canceled"
    assert job in [each.name for each in ml.batch_endpoints.list_jobs(ENDPOINT)]
    assert job in [each.name for each in ml.batch_deployments.list_jobs(ENDPOINT, name="mlflow")]
    assert job not in [each.name for each in ml.batch_deployments.list_jobs(ENDPOINT, name="names")]
    assert job in [each.name for each in ml.jobs.list()]
    assert job not in [each.name for each in ml.jobs.list(schedule_defined=True)]
    (child,) = ml.jobs.list(parent_job_name=job)
    assert child.display_name == "batchscoring"


def test_a_job_is_begun_and_followed_by_curl(
    ml: MLClient, place: Place, files: ContainerClient, tmp_path: Path
) -> None:
    token = DefaultAzureCredential().get_token("https://ml.azure.com/.default").token
    body = {"properties": {"InputData": {"rows": {"JobInputType": "UriFolder", "Uri": f"{SHORT}in"}}}}
    answer = curl(
        f"https://{ENDPOINT}.{LOCATION}.inference.ml.azure.com/jobs",
        *("-X", "POST", "-d", json.dumps(body)),
        *("-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json"),
        *("-H", "azureml-model-deployment: names"),
    )
    name = json.loads(answer)["name"]
    ml.jobs.stream(name)
    region = f"https://{LOCATION}.api.azureml.ms/history/v1.0{place.workspace_id}"
    run = json.loads(curl(f"{region}/runs/{name}", "-H", f"Authorization: Bearer {token}"))
    assert run["status"] == "Completed"
    logs = json.loads(curl(f"{region}/runs/{name}/details", "-H", f"Authorization: Bearer {token}"))["logFiles"]
    named = {"azureml-logs/70_driver_log.txt", "logs/job_progress_overview.txt", "logs/azureml/executionlogs.txt"}
    assert named <= logs.keys()
    assert any(name.startswith("logs/sys/node/") for name in logs)
    assert f"Job {name}: 4 files" in curl(logs["logs/job_progress_overview.txt"])
    assert "Completing processing run id" in curl(logs["logs/azureml/executionlogs.txt"])
    refused = json.loads(curl(f"https://{ENDPOINT}.{LOCATION}.inference.ml.azure.com/jobs", "-X", "POST", "-d", "{}"))
    assert refused, "without a token there is an answer, and no job"


def curl(url: str, *arguments: str) -> str:
    """What curl prints with the variables that `localazure env` has set."""
    program = shutil.which("curl") or pytest.skip("needs curl")
    argv = [program, "--silent", "--show-error", "--max-time", "60", *arguments, url]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=90).stdout
