"""A Local Azure without processes: the real control plane over HTTP, with serving and blobs replaced by records."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import uvicorn

from localazure.azure import LocalAzure
from localazure.gateway.azurite import AzuriteFleet
from localazure.gateway.identity import developer_id
from localazure.gateway.tokens import TokenIssuer
from localazure.home import Home
from localazure.providers.ml import content
from localazure.serving import DeploymentSpec, EndpointRoute, Serving, ServingError
from localazure.serving.counters import Reading, Running, Statistics, Usage
from localazure.serving.metrics import Clock, utc_now
from localazure.settings import Settings
from tests.localazure.providers.measuring import NOON, Measured

API = "?api-version=2025-12-01"


@dataclass
class FakeServing:
    """Serves nothing, and remembers what it was told. A deployment whose name begins with `bad` does not start.

    Attributes:
        gate: while it is clear, deployments take for ever to start.
        broken: further names that do not start.
        asked: the names of what was to start, in order.
        history: what was started, in order.
        deployed: what runs.
        routed: what was routed last.
        removed: what was ended, in order.
        statistics: what the router has counted.
        usages: what the processes use; deployment N of those that run has process N, from 1.
    """

    gate: threading.Event = field(default_factory=threading.Event)
    broken: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    history: list[DeploymentSpec] = field(default_factory=list)
    deployed: dict[str, DeploymentSpec] = field(default_factory=dict)
    routed: list[EndpointRoute] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    statistics: Statistics = field(default_factory=Statistics)
    usages: dict[int, Usage] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.gate.set()

    def start(self) -> int:
        return 1

    def deploy(self, spec: DeploymentSpec) -> None:
        self.asked.append(spec.name)
        assert self.gate.wait(30)
        if spec.name.startswith("bad") or spec.name in self.broken:
            raise ServingError("ResourceNotReady", "User container has crashed or terminated: ValueError: no model")
        self.history.append(spec)
        self.deployed[f"{spec.endpoint}/{spec.name}"] = spec

    def remove(self, endpoint: str, name: str) -> None:
        self.deployed.pop(f"{endpoint}/{name}", None)
        self.removed.append(f"{endpoint}/{name}")

    def route(self, routes: Sequence[EndpointRoute]) -> None:
        self.routed = list(routes)

    def status(self) -> list[dict[str, Any]]:
        return []

    def reading(self) -> Reading:
        running = tuple(
            Running(each.endpoint, each.name, each.instances, each.timeout_ms, (number,))
            for number, each in enumerate(list(self.deployed.values()), 1)
        )
        return Reading(running, self.statistics, {each: self.usages.get(each, Usage()) for each in range(1, 9)})

    def stop(self) -> None:
        return


class FakeBlobs:
    """Takes everything and keeps nothing."""

    def list(self, container: str, prefix: str = "") -> list[str]:
        return []

    def upload_folder(self, container: str, prefix: str, folder: Path) -> None:
        return

    def create_container(self, name: str) -> None:
        return

    def delete_container(self, name: str) -> None:
        return

    def sas(self, container: str | None = None, permissions: str = "r", hours: float = 1) -> str:
        return f"sig={container}"


class FakeFleet:
    def ensure(self, account: str, *keys: str, keyless: bool = False) -> int:
        return 1

    def register(self, account: str, *keys: str, keyless: bool = False) -> None:
        return

    def blobs(self, account: str) -> FakeBlobs:
        return FakeBlobs()

    def remove(self, account: str) -> None:
        return

    def status(self) -> list[dict[str, object]]:
        return []


@dataclass
class Cloud:
    """A client of one Local Azure, with the resources that most tests stand on."""

    client: httpx.Client
    serving: FakeServing
    azure: LocalAzure
    subscription: str
    tokens: TokenIssuer

    @cached_property
    def token(self) -> str:
        """A token for ARM."""
        return self.token_for("https://management.azure.com")

    def token_for(self, audience: str) -> str:
        return self.tokens.issue(audience, object_id=developer_id(Settings().tenant_id))

    @property
    def group(self) -> str:
        return f"/subscriptions/{self.subscription}/resourceGroups/rg"

    @property
    def workspace(self) -> str:
        return f"{self.group}/providers/Microsoft.MachineLearningServices/workspaces/work"

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """One request with a valid token."""
        relative = path.removeprefix("https://management.azure.com")
        said = "api-version=" in relative
        where = relative if said else relative + (f"&{API[1:]}" if "?" in relative else API)
        sent = {"Authorization": f"Bearer {self.token}", **headers}
        return self.client.request(method, where, json=body, headers=sent)

    def wait(self, response: httpx.Response) -> dict[str, Any]:
        """Polls a long operation to its end; its last body."""
        link = response.headers.get("azure-asyncoperation") or response.headers.get("location")
        assert link, f"{response.status_code} {response.text} has nothing to poll"
        for _ in range(1000):
            poll = self.send("GET", link)
            body = poll.json() if poll.content else {}
            if poll.status_code != 202 and body.get("status") not in ("Updating", "InProgress", "Creating", "Deleting"):
                return body
            time.sleep(0.005)
        raise AssertionError(f"{link} did not end")

    def put(self, path: str, body: Any, status: tuple[int, ...] = (200, 201, 202)) -> dict[str, Any]:
        """PUT, to its end; what a GET then answers."""
        response = self.send("PUT", path, body)
        assert response.status_code in status, response.text
        if response.status_code == 202 or "azure-asyncoperation" in response.headers:
            self.wait(response)
        return self.get(path)

    def get(self, path: str) -> dict[str, Any]:
        """What a GET answers."""
        response = self.send("GET", path)
        assert response.status_code == 200, response.text
        return response.json()

    def unchanged(self, path: str) -> None:
        """Sends what a GET answers back, twice, which must change nothing but the time of modification."""
        before = self.get(path)
        for _ in range(2):
            answer = self.send("PUT", path, self.get(path))
            assert answer.status_code in (200, 201, 202), answer.text
            if answer.status_code == 202 or "azure-asyncoperation" in answer.headers:
                self.wait(answer)
            assert _timeless(self.get(path)) == _timeless(before)

    def refusal(self, response: httpx.Response, status: int) -> str:
        """The whole error of a refusal, as text."""
        assert response.status_code == status, response.text
        return response.text

    def prepare(self) -> None:
        """Group, storage, vault, workspace, a custom and an MLflow model, code and environment."""
        providers = f"{self.group}/providers"
        self.put(self.group, {"location": "eastus"})
        storage = f"{providers}/Microsoft.Storage/storageAccounts/storage1"
        self.put(storage, {"location": "eastus", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"})
        vault = f"{providers}/Microsoft.KeyVault/vaults/vault1"
        sku = {"family": "A", "name": "standard"}
        own = {"tenantId": self.subscription, "sku": sku, "accessPolicies": []}
        self.put(vault, {"location": "eastus", "properties": own})
        properties = {"storageAccount": storage, "keyVault": vault}
        self.put(
            self.workspace, {"location": "eastus", "identity": {"type": "SystemAssigned"}, "properties": properties}
        )
        uri = "azureml://datastores/workspaceblobstore/paths/LocalUpload/x/model"
        for name, kind in (("custom", "custom_model"), ("mlflow", "mlflow_model")):
            self.put(f"{self.workspace}/models/{name}/versions/1", {"properties": {"modelUri": uri, "modelType": kind}})
        code = {
            "properties": {
                "codeUri": "https://storage1.blob.core.windows.net/c/code",
                "properties": {"hash_sha256": "ab"},
            }
        }
        self.put(f"{self.workspace}/codes/code/versions/1", code)
        environment = {"properties": {"image": "image", "condaFile": "dependencies: [python=3.11]"}}
        self.put(f"{self.workspace}/environments/env/versions/1", environment)

    def endpoint(self, name: str = "online") -> str:
        return f"{self.workspace}/onlineEndpoints/{name}"

    def endpoint_body(self, **properties: Any) -> dict[str, Any]:
        return {"location": "eastus", "properties": {"authMode": "Key", **properties}}

    def deployment_body(self, capacity: int = 1, **properties: Any) -> dict[str, Any]:
        own = {
            "endpointComputeType": "Managed",
            "model": f"{self.workspace}/models/mlflow/versions/1",
            "instanceType": "Standard_F4s_v2",
            **properties,
        }
        return {"location": "eastus", "sku": {"name": "Default", "capacity": capacity}, "properties": own}


def _timeless(document: dict[str, Any]) -> dict[str, Any]:
    data = document.get("systemData") or {}
    kept = {name: value for name, value in data.items() if not name.startswith("lastModified")}
    return {**document, "systemData": kept}


@contextmanager
def answering(azure: LocalAzure) -> Iterator[httpx.Client]:
    """Serves the control plane on a free port; a client that asks for ARM's host name there."""
    with served(azure.app) as url, httpx.Client(base_url=url, headers=HEADERS, trust_env=False) as client:
        yield client


HEADERS = {"Host": "management.azure.com"}


@contextmanager
def served(app: Any, log_level: str = "warning") -> Iterator[str]:
    """Serves an ASGI application on a free port; its URL."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level=log_level, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.005)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def booted(
    folder: Path, serving: FakeServing, settings: Settings | None = None, clock: Clock = utc_now
) -> Iterator[Cloud]:
    """A Local Azure on a state folder, which may hold what an earlier one left."""
    home = Home.at(folder)
    home.create()
    settings = settings or Settings()
    tokens = TokenIssuer.at(home, settings.tenant_id)
    azure = LocalAzure(settings, home, tokens, cast("AzuriteFleet", FakeFleet()), cast("Serving", serving), clock=clock)
    azure.start(0)
    try:
        with answering(azure) as client:
            yield Cloud(client, serving, azure, settings.subscription_id, tokens)
    finally:
        azure.stop()


def until(condition: Callable[[], object], what: str) -> None:
    """Waits for what happens in the background."""
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError(f"it did not come about that {what}")


def put_on_disk(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Models and code are on disk already."""
    found = content.ModelFiles(folder, folder / "model")
    monkeypatch.setattr("localazure.providers.ml.online_serving.model_files", lambda *args: found)
    monkeypatch.setattr("localazure.providers.ml.online_serving.code_folder", lambda *args: folder)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models and code are on disk already."""
    put_on_disk(monkeypatch, tmp_path)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud for tests that leave it as it was: one for all of them, for there are many. It has a deployment."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as monkeypatch, booted(folder / "home", FakeServing()) as made:
        put_on_disk(monkeypatch, folder)
        made.prepare()
        made.put(made.endpoint(), made.endpoint_body())
        made.put(f"{made.endpoint()}/deployments/blue", made.deployment_body())
        yield made


@pytest.fixture
def cloud(tmp_path: Path, files: None) -> Iterator[Cloud]:
    with booted(tmp_path / "home", FakeServing()) as made:
        made.prepare()
        yield made


@pytest.fixture
def measured(tmp_path: Path, files: None) -> Iterator[Measured]:
    # The clock is there before the cloud that goes by it.
    holder: list[Measured] = []
    settings = Settings(autoscale_seconds=86_400)
    with booted(tmp_path / "home", FakeServing(), settings, lambda: holder[0].now if holder else NOON) as cloud:
        holder.append(Measured(cloud))
        cloud.prepare()
        cloud.put(cloud.endpoint(), cloud.endpoint_body())
        for name, capacity in (("blue", 1), ("green", 3)):
            cloud.put(f"{cloud.endpoint()}/deployments/{name}", cloud.deployment_body(capacity))
        yield holder[0]
