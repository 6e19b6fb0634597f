"""A deployment that is changed in place over ARM, with real instances behind a real router, while callers go on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import psutil
import pytest

from localazure.azure import LocalAzure
from localazure.gateway.azurite import AzuriteFleet
from localazure.gateway.tokens import TokenIssuer
from localazure.home import Home
from localazure.providers.ml import content
from localazure.serving import EnvironmentSpec
from localazure.settings import Settings
from tests.localazure.providers.conftest import Cloud, FakeFleet, FakeServing, answering

from .conftest import client, processes, until
from .test_service import load

SCRIPT = "def init(): pass\ndef run(raw_data): return {'says': '%s'}\n"
HOST = "online.eastus.inference.ml.azure.com"


class PatientCloud(Cloud):
    """Waits as long as a real environment takes to be built, and real processes to start."""

    def wait(self, response: httpx.Response) -> dict[str, Any]:
        for _ in range(30):
            with suppress(AssertionError):
                return super().wait(response)
        return super().wait(response)


@dataclass
class Live:
    """The endpoint `online` with the deployment `blue`, which all requests go to."""

    cloud: Cloud
    folder: Path

    @property
    def path(self) -> str:
        return f"{self.cloud.endpoint()}/deployments/blue"

    def body(self, version: str = "1", capacity: int = 1, **properties: Any) -> dict[str, Any]:
        """The deployment with the code of a version."""
        workspace = self.cloud.workspace
        told = {
            "model": f"{workspace}/models/custom/versions/1",
            "environmentId": f"{workspace}/environments/shared/versions/1",
            "codeConfiguration": {"codeId": f"{workspace}/codes/code/versions/{version}", "scoringScript": "score.py"},
            "requestSettings": {"requestTimeout": "PT60S", "maxConcurrentRequestsPerInstance": 4},
        }
        return self.cloud.deployment_body(capacity, **told | properties)

    def code(self, version: str, script: str) -> None:
        """Registers code, which lies on the disk already."""
        (self.folder / version).mkdir()
        (self.folder / version / "score.py").write_text(script)
        uri = f"https://storage1.blob.core.windows.net/c/{version}"
        properties = {"codeUri": uri, "properties": {"hash_sha256": version}}
        self.cloud.put(f"{self.cloud.workspace}/codes/code/versions/{version}", {"properties": properties})

    def pids(self) -> list[int]:
        found = [each for each in self.cloud.azure._serving.status() if each["deployment"] == "blue"]
        return [instance["pid"] for each in found for instance in each["instances"] if instance["ready"]]

    @property
    def port(self) -> int:
        return self.cloud.azure._serving.port


@pytest.fixture
def live(
    home: Home, tokens: TokenIssuer, environment: EnvironmentSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Live]:
    folder = tmp_path / "disk"
    (folder / "azureml-models" / "hash" / "custom" / "1" / "model").mkdir(parents=True)
    root = folder / "azureml-models" / "hash" / "custom" / "1"
    files = content.ModelFiles(root, root / "model")

    def code_folder(_cloud: object, _workspace: object, code: Mapping[str, str]) -> Path:
        return folder / code["codeId"].rpartition("/")[2]

    monkeypatch.setattr("localazure.providers.ml.online_serving.model_files", lambda *args: files)
    monkeypatch.setattr("localazure.providers.ml.online_serving.code_folder", code_folder)
    settings = Settings(max_instances_per_deployment=2)
    azure = LocalAzure(settings, home, tokens, cast("AzuriteFleet", FakeFleet()))
    azure.start(0)
    try:
        with answering(azure) as arm:
            made = Live(PatientCloud(arm, FakeServing(), azure, settings.subscription_id, tokens), folder)
            prepare(made, environment)
            yield made
    finally:
        azure.stop()
        assert not processes(home)


def prepare(live: Live, environment: EnvironmentSpec) -> None:
    cloud = live.cloud
    cloud.prepare()
    conda = json.dumps(environment.conda)
    shared = {"properties": {"image": "image", "condaFile": conda}}
    cloud.put(f"{cloud.workspace}/environments/shared/versions/1", shared)
    for version in ("first", "second"):
        live.code(version, SCRIPT % version)
    live.code("broken", "def init():\n    raise ValueError('no weights')\ndef run(x): return x\n")
    cloud.put(cloud.endpoint(), cloud.endpoint_body(keys={"primaryKey": "k1", "secondaryKey": "k2"}))
    cloud.put(live.path, live.body("first"))
    cloud.put(cloud.endpoint(), cloud.endpoint_body(traffic={"blue": 100}))


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.localazure.serving.conftest.HOST", HOST)


def test_no_change_in_place_costs_a_request(live: Live) -> None:
    cloud = live.cloud
    [first] = live.pids()
    with load(live.port) as answers:
        cloud.put(live.path, live.body("first", 2))
        assert live.pids()[0] == first, "scaling adds an instance beside the one there is"
        both = live.pids()
        probes = {"livenessProbe": {"period": "PT5S"}, "readinessProbe": {"timeout": "PT3S"}}
        cloud.put(live.path, live.body("first", 2, **probes))
        cloud.put(live.path, live.body("first", 2, **probes, requestSettings={"requestTimeout": "PT50S"}))
        cloud.wait(cloud.send("PATCH", live.path, {"tags": {"a": "b"}}))
        assert live.pids() == both, "no process is touched by what it does not see"
        cloud.put(live.path, live.body("second", 2, **probes))
        assert not set(live.pids()) & set(both)
        cloud.wait(cloud.send("PATCH", live.path, {"sku": {"capacity": 1}}))
    assert len(live.pids()) == 1
    assert set(answers) == {(200, "first"), (200, "second")}


def test_an_update_that_fails_leaves_the_old_one_answering_and_says_failed(live: Live) -> None:
    before = live.pids()
    with load(live.port, callers=1) as answers:
        end = live.cloud.wait(live.cloud.send("PUT", live.path, live.body("broken", 2)))
        with client(live.port) as caller:
            assert caller.post("/score", json={}).json() == {"says": "first"}
    assert end["error"]["code"] == "ResourceNotReady"
    assert "no weights" in end["error"]["message"]
    found = live.cloud.get(live.path)
    assert found["properties"]["provisioningState"] == "Failed"
    assert found["properties"]["codeConfiguration"]["codeId"].endswith("/first"), "it is what answers that is shown"
    assert set(answers) == {(200, "first")}
    assert live.pids() == before
    assert live.cloud.put(live.path, live.body("second"))["properties"]["provisioningState"] == "Succeeded"


def test_of_two_instances_the_killed_one_costs_its_own_requests_at_most_and_returns(live: Live) -> None:
    live.cloud.put(live.path, live.body("first", 2))
    killed, other = live.pids()
    with load(live.port, callers=1) as answers:
        for process in [*psutil.Process(killed).children(), psutil.Process(killed)]:
            process.kill()
        until(lambda: len(live.pids()) == 2 and killed not in live.pids())
        assert other in live.pids()
    lost = sum(count for (status, _), count in answers.items() if status != 200)
    assert lost <= 1


def test_the_logs_are_apart_by_container_and_end_with_the_last_line(live: Live) -> None:
    def lines(**asked: Any) -> list[str]:
        return live.cloud.send("POST", f"{live.path}/getLogs", asked).json()["content"].splitlines()

    server = lines(containerType="InferenceServer", tail=1000)
    assert any("Listening at: http://127.0.0.1:" in line for line in server)
    assert lines(tail=3) == server[-3:]
    assert not [line for line in server if "GET / " in line], "it was asked how it is, which tells nobody anything"
    fetched = lines(containerType="StorageInitializer")
    assert any("shared:1" in line for line in fetched)
    assert not set(fetched) & set(server)
