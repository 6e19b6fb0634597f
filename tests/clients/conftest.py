"""A real Local Azure for real clients: one daemon for each worker, and the environment that leads clients to it."""

from __future__ import annotations

import shlex
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.ai.ml.constants._endpoint import EndpointInvokeFields
from azure.core.pipeline.transport import HttpTransport
from azure.identity import DefaultAzureCredential

from localazure.home import Home
from tests.end_to_end import janitor
from tests.end_to_end.conftest import ROOT, Clone
from tests.localazure.running import until

LOCATION = "eastus"
SCORING = ROOT / "scoring"


@dataclass(frozen=True)
class Daemon:
    """A Local Azure that runs, as its command line shows it.

    Attributes:
        home: its state folder.
        variables: what evaluating `env` sets in a shell, and what it takes away (None).
    """

    home: Home
    variables: dict[str, str | None] = field(repr=False)

    @property
    def subscription(self) -> str:
        return str(self.variables["ARM_SUBSCRIPTION_ID"])

    @property
    def tenant(self) -> str:
        return str(self.variables["ARM_TENANT_ID"])

    @contextmanager
    def evaluated(self) -> Iterator[None]:
        """Makes this process one that a shell has started after it evaluated `env`."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.variables.items():
                # Set first also where it is to be gone, so that what a client sets meanwhile goes in the end.
                patch.setenv(name, value or "")
                if value is None:
                    patch.delenv(name)
            yield


def localazure(home: Home, *arguments: str) -> str:
    """What `python -m localazure` prints when it is called from a plain shell."""
    return Clone(ROOT).run(sys.executable, "-m", "localazure", *arguments, "--home", str(home.path)).ok().out


def changes(lines: str) -> dict[str, str | None]:
    """The variables that a shell has set or unset (None) after it evaluated these lines."""
    found: dict[str, str | None] = {}
    for line in lines.splitlines():
        word, *rest = shlex.split(line)
        named = [each.partition("=") for each in rest]
        found |= {name: value if word == "export" else None for name, _, value in named}
    return found


@contextmanager
def started(folder: Path) -> Iterator[Daemon]:
    """A Local Azure with its home in a folder. The janitor ends it where the test run itself is killed."""
    home = Home.at(folder / "home")
    home.create()
    cleaner = [sys.executable, janitor.__file__, str(home.path.parent), home.id]
    with subprocess.Popen(cleaner, stdin=subprocess.PIPE, start_new_session=True):
        localazure(home, "start")
        yield Daemon(home, changes(localazure(home, "env")))
        localazure(home, "stop")


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A Local Azure of this worker's own."""
    with started(tmp_path_factory.mktemp("clients")) as found:
        yield found


@pytest.fixture(scope="module", autouse=True)
def environment(daemon: Daemon) -> Iterator[None]:
    """Leads this module's clients to Local Azure; a worker runs other modules as well, so that it has to end."""
    with daemon.evaluated():
        yield


# What is there before a client comes ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """A resource group with a workspace and what that stands on, and plain requests to ARM.

    Attributes:
        group: the group's name, and the beginning of the others.
    """

    daemon: Daemon
    group: str

    @property
    def subscription(self) -> str:
        return self.daemon.subscription

    @property
    def workspace(self) -> str:
        return f"{self.group}-workspace"

    @property
    def account(self) -> str:
        """The storage account's name."""
        return f"{self.group}storage"

    @property
    def group_id(self) -> str:
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"

    @property
    def storage_id(self) -> str:
        return f"{self.group_id}/providers/Microsoft.Storage/storageAccounts/{self.account}"

    @property
    def vault_id(self) -> str:
        return f"{self.group_id}/providers/Microsoft.KeyVault/vaults/{self.group}-vault"

    @property
    def insights_id(self) -> str:
        return f"{self.group_id}/providers/Microsoft.Insights/components/{self.group}-insights"

    @property
    def workspace_id(self) -> str:
        return f"{self.group_id}/providers/Microsoft.MachineLearningServices/workspaces/{self.workspace}"

    def prepare(self) -> None:
        """Makes the group and what a workspace stands on."""
        where = {"location": LOCATION}
        self.put(self.group_id, where)
        self.put(self.storage_id, {**where, "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"})
        sku = {"family": "A", "name": "standard"}
        vault = {"tenantId": self.daemon.tenant, "sku": sku, "enableRbacAuthorization": True}
        self.put(self.vault_id, {**where, "properties": vault})
        logs = f"{self.group_id}/providers/Microsoft.OperationalInsights/workspaces/{self.group}-logs"
        self.put(logs, where)
        insights = {"Application_Type": "web", "WorkspaceResourceId": logs}
        self.put(self.insights_id, {**where, "kind": "web", "properties": insights})

    def put_workspace(self) -> None:
        """Makes the workspace, on what `prepare` has made."""
        parts = {"storageAccount": self.storage_id, "keyVault": self.vault_id, "applicationInsights": self.insights_id}
        self.put(self.workspace_id, {"location": LOCATION, "identity": {"type": "SystemAssigned"}, "properties": parts})

    def keys(self) -> list[str]:
        """The storage account's two keys."""
        return [key["value"] for key in self.send("POST", f"{self.storage_id}/listKeys").json()["keys"]]

    # Plain requests -----------------------------------------------------------------------------------------------

    @cached_property
    def client(self) -> httpx.Client:
        """Goes where `env` sends one, with a token for ARM."""
        variables = self.daemon.variables
        context = ssl.create_default_context(cafile=variables["SSL_CERT_FILE"])
        token = DefaultAzureCredential().get_token("https://management.azure.com/.default").token
        return httpx.Client(
            base_url="https://management.azure.com",
            proxy=variables["HTTPS_PROXY"],
            verify=context,
            trust_env=False,
            timeout=60,
            headers={"Authorization": f"Bearer {token}"},
        )

    def send(self, method: str, path: str, body: Any = None, version: str = "2025-12-01") -> httpx.Response:
        """One request to ARM; the path is an id."""
        return self.client.request(method, path, params={"api-version": version}, json=body)

    def put(self, path: str, body: Any, version: str = "2025-12-01") -> dict[str, Any]:
        """PUT to its end, and what a GET then answers."""
        answer = self.send("PUT", path, body, version)
        assert answer.status_code in (200, 201, 202), answer.text
        until(lambda: self._state(path) not in ("Creating", "Updating", "ResolvingDNS"), f"{path} is there")
        return self.get(path)

    def _state(self, path: str) -> str | None:
        return (self.get(path).get("properties") or {}).get("provisioningState")

    def get(self, path: str) -> dict[str, Any]:
        """What a GET answers."""
        answer = self.send("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="session")
def place(daemon: Daemon) -> Place:
    """A group with storage, key vault, Application Insights and a workspace."""
    place = Place(daemon, "clients")
    with daemon.evaluated():
        place.prepare()
        place.put_workspace()
    return place


# How long a client is told to wait ------------------------------------------------------------------------------------


@dataclass
class Waits:
    """The seconds that a client's pollers and retries slept, as the server's answers told them to."""

    seconds: list[float] = field(default_factory=list)

    @property
    def longest(self) -> float:
        return max(self.seconds, default=0)


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client sends the last deployment that it was told of again, to every endpoint, for as long as it lives."""
    monkeypatch.setattr(EndpointInvokeFields, "DEFAULT_HEADER", dict(EndpointInvokeFields.DEFAULT_HEADER))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """Records every sleep that a client's transport is asked for, and sleeps."""
    found = Waits()
    sleep = HttpTransport.sleep

    def record(self: HttpTransport[Any, Any], duration: float) -> None:
        found.seconds.append(duration)
        sleep(self, duration)

    monkeypatch.setattr(HttpTransport, "sleep", record)
    return found
