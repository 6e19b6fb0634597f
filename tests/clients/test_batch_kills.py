"""SIGKILL for Local Azure itself, again and again, while it scores a batch job: its client sees one that succeeds."""

# The client declares less than it takes and more than it returns: unions and optionals that no answer of it is.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from azure.ai.ml import Input, MLClient
from azure.ai.ml.entities import (
    AmlCompute,
    BatchEndpoint,
    BatchRetrySettings,
    CodeConfiguration,
    Environment,
    Model,
    ModelBatchDeployment,
    ModelBatchDeploymentSettings,
)
from azure.identity import DefaultAzureCredential
from azure.storage.blob import ContainerClient

from localazure.home import Home
from localazure.runtime import Runtime
from tests.clients.conftest import SCORING, Daemon, Place, localazure, started
from tests.localazure.batch.support import running
from tests.localazure.batch.test_kills import IN_FLIGHT, SCRIPT
from tests.localazure.running import until

pytestmark = pytest.mark.slow

ENDPOINT = "scored-in-spite"
IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04"
FIRST = "first"
MINI_BATCHES = 1000
KILLS = 10
PATIENCE = 300.0
"""Seconds for what follows a kill: Local Azure starts again, downloads what the job reads, and takes the job up."""
ENDED = ("Completed", "Failed", "Canceled")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A Local Azure that nobody else uses."""
    with started(tmp_path_factory.mktemp("killed")) as found:
        yield found


@pytest.fixture(scope="module")
def place(daemon: Daemon, environment: None) -> Place:
    """A workspace of its own."""
    place = Place(daemon, "killed")
    place.prepare()
    place.put_workspace()
    return place


@pytest.fixture
def ml(place: Place, tmp_path: Path) -> MLClient:
    """A client; the endpoint's script keeps a record of every file that it is given."""
    ml = MLClient(DefaultAzureCredential(), place.subscription, place.group, place.workspace)
    ml.compute.begin_create_or_update(AmlCompute(name="bulk", size="Standard_DS3_v2", max_instances=2)).result()
    ml.batch_endpoints.begin_create_or_update(BatchEndpoint(name=ENDPOINT)).result()
    for folder in ("code", "seen"):
        (tmp_path / folder).mkdir()
    (tmp_path / "code" / "score.py").write_text(SCRIPT)
    settings = ModelBatchDeploymentSettings(
        instance_count=2,
        mini_batch_size=1,
        retry_settings=BatchRetrySettings(max_retries=3, timeout=30),
        environment_variables={"SEEN": str(tmp_path / "seen")},
    )
    deployment = ModelBatchDeployment(
        name="recorded",
        endpoint_name=ENDPOINT,
        model=Model(path=SCORING / "models/mlflow", type="mlflow_model"),
        compute="bulk",
        settings=settings,
        code_configuration=CodeConfiguration(code=str(tmp_path / "code"), scoring_script="score.py"),
        environment=Environment(image=IMAGE, conda_file=str(SCORING / "batch/conda.yaml")),
    )
    ml.batch_deployments.begin_create_or_update(deployment).result()
    return ml


@pytest.fixture
def names(ml: MLClient, place: Place) -> list[str]:
    """Files in the workspace's datastore."""
    url = f"https://{place.account}.blob.core.windows.net"
    container = ContainerClient(url, ml.datastores.get_default().container_name, credential=place.keys()[0])
    names = [f"f{number:04d}" for number in range(MINI_BATCHES)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: container.upload_blob(f"many/{name}", name), names))
    container.upload_blob(f"one/{FIRST}", FIRST)
    return names


def test_a_job_survives_every_kill_of_local_azure(
    ml: MLClient, names: list[str], daemon: Daemon, tmp_path: Path
) -> None:
    # The environment is built for the first job, which takes as long as it takes.
    ml.jobs.stream(invoke(ml, "one"))
    job = invoke(ml, "many")
    for after in sorted(random.Random(7).sample(range(MINI_BATCHES), KILLS)):
        # The journal goes when the job has ended, which may be sooner than somebody looks at its last records.
        eventually(
            lambda after=after: written(daemon.home, job) > after or ml.jobs.get(job).status in ENDED, "it goes on"
        )
        os.kill(Runtime.read(daemon.home).pid, signal.SIGKILL)
        until(lambda: not running(daemon.home), "no process outlives Local Azure")
        localazure(daemon.home, "start")
    eventually(lambda: ml.jobs.get(job).status in ENDED, "the job ends")
    assert ml.jobs.get(job).status == "Completed"
    ml.jobs.download(job, download_path=tmp_path, output_name="score")
    (output,) = tmp_path.rglob("predictions.csv")
    assert sorted(output.read_text().splitlines()) == names, "each row once"
    seen = Counter(name for path in (tmp_path / "seen").iterdir() for name in path.read_text().splitlines())
    assert seen.pop(FIRST) == 1
    assert seen.total() <= MINI_BATCHES + KILLS * IN_FLIGHT, "what had been written was not scored again"


def invoke(ml: MLClient, folder: str) -> str:
    inputs = {"files": Input(path=f"azureml://datastores/workspaceblobstore/paths/{folder}/", type="uri_folder")}
    return str(ml.batch_endpoints.invoke(ENDPOINT, deployment_name="recorded", inputs=inputs).name)


def eventually(condition: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.02)


def written(home: Home, job: str) -> int:
    """The records of a job's journal."""
    return sum(path.read_bytes().count(b"\n") for path in home.jobs.glob(f"*/{job}/journal/records"))
