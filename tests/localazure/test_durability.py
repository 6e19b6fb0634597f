"""Killed at any point, Local Azure has what it acknowledged: the real daemon, SIGKILL, writers that keep a ledger."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from localazure.azure import LocalAzure
from localazure.gateway.azurite import AzuriteFleet
from localazure.gateway.tokens import TokenIssuer
from localazure.home import Home
from localazure.runtime import Runtime
from localazure.serving import Serving
from localazure.settings import Settings
from tests.localazure.providers.conftest import FakeServing
from tests.localazure.running import Installation, gone, until

ROOT = Path(__file__).resolve().parents[2]
WRITERS = 4
# Seconds of writing before the kill; the last is a kill while the operations of the round before are taken up.
ROUNDS = (0.6, 0.3, 0.0)
SEED = 20
SETTLED = ("Succeeded", "Failed")
GONE = ""


@dataclass(frozen=True)
class RealInstallation(Installation):
    """One home, and the command line as users have it."""

    def begin(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "localazure", *arguments, "--home", str(self.home.path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **variables},
        )


@dataclass
class Azure:
    """A client of the control plane as it runs now."""

    home: Home
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        settings = Settings.load(self.home, {})
        token = TokenIssuer.at(self.home, settings.tenant_id).issue("https://management.azure.com", object_id="someone")
        self.group = f"/subscriptions/{settings.subscription_id}/resourceGroups/rg"
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{Runtime.read(self.home).ports.control}",
            headers={"Host": "management.azure.com", "Authorization": f"Bearer {token}"},
            params={"api-version": "2025-12-01"},
            trust_env=False,
            timeout=30,
        )

    @property
    def workspace(self) -> str:
        return f"{self.group}/providers/Microsoft.MachineLearningServices/workspaces/work"

    def send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return self.client.request(method, path, json=body)

    def poll(self, link: str) -> dict[str, Any]:
        """What an operation's address answers."""
        answer = self.client.get(urlsplit(link).path)
        assert answer.status_code in (200, 202), f"{link}: {answer.text}"
        return answer.json() if answer.content else {"status": "Succeeded" if answer.status_code == 200 else "Running"}

    def create(self, path: str, body: Any) -> None:
        """PUT, to its end."""
        answer = self.send("PUT", path, body)
        assert answer.is_success, answer.text
        if link := answer.headers.get("azure-asyncoperation") or answer.headers.get("location"):
            until(lambda: self.poll(link).get("status", "Succeeded") in SETTLED, f"{path} is there")


@dataclass
class Ledger:
    """What one writer was told. Nobody else writes what it writes.

    Attributes:
        possible: for each path the tags that it may have: one, or two where an answer was lost. `GONE` is no resource.
        began: the addresses of the operations whose begin was acknowledged.
        acknowledged: how many writes were.
        broken: what was answered that must never be.
    """

    possible: dict[str, set[str]] = field(default_factory=dict)
    began: list[str] = field(default_factory=list)
    acknowledged: int = 0
    broken: list[str] = field(default_factory=list)


def bodies(azure: Azure, writer: int) -> dict[str, Any]:
    """What a writer writes: one kind of resource that is done at once, two with long operations."""
    endpoint = {"location": "eastus", "properties": {"authMode": "Key"}}
    batch = {"location": "eastus", "properties": {"authMode": "AADToken"}}
    identities = f"{azure.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
    return {
        **{f"{identities}/writer{writer}-{number}": {"location": "eastus"} for number in range(4)},
        f"{azure.workspace}/onlineEndpoints/online-{writer}": endpoint,
        f"{azure.workspace}/batchEndpoints/batch-{writer}": batch,
    }


def write(azure: Azure, ledger: Ledger, writer: int, seed: int) -> None:
    """Writes until the daemon is gone."""
    chance = random.Random(seed)
    choices = list(bodies(azure, writer).items())
    number = 0
    while not ledger.broken:
        path, body = chance.choice(choices)
        number += 1
        before = ledger.possible.get(path, {GONE})
        tag = GONE if chance.random() < 0.2 else f"{seed}-{number}"
        # Written down first: if the answer is lost, either is true.
        ledger.possible[path] = before | {tag}
        try:
            answer = azure.send("PUT" if tag else "DELETE", path, {**body, "tags": {"tag": tag}} if tag else None)
        except httpx.TransportError:
            return
        if answer.status_code >= 500:
            ledger.broken.append(f"{answer.request.method} {path}: {answer.status_code} {answer.text}")
        elif answer.is_success:
            ledger.possible[path] = {tag}
            ledger.acknowledged += 1
            ledger.began += filter(None, [answer.headers.get("azure-asyncoperation")])
        else:
            ledger.possible[path] = before


def daemon(home: Home) -> psutil.Process:
    return psutil.Process(Runtime.read(home).pid)


def killed_while_writing(home: Home, ledgers: list[Ledger], seconds: float, seed: int) -> None:
    """One round: the writers write, and after a while there is no daemon any more."""
    clients = [Azure(home) for _ in ledgers]
    threads = [
        threading.Thread(target=write, args=(client, ledger, number, seed * 10 + number))
        for number, (client, ledger) in enumerate(zip(clients, ledgers, strict=True))
    ]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    daemon(home).kill()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    for client in clients:
        client.client.close()


def check(installation: Installation, ledgers: list[Ledger]) -> None:
    """Everything acknowledged is there, nothing is between two states, and what is in doubt is one or the other."""
    azure = Azure(installation.home)
    for ledger in ledgers:
        assert ledger.broken == []
        for link in ledger.began:
            ended = until(lambda link=link: ended_as(azure, link), f"{link} ends")
            assert ended == "Succeeded"
    assert installation.status()["azure"]["operations"] == [], "what nobody was told of has ended, too"
    for number, ledger in enumerate(ledgers):
        for path in bodies(azure, number):
            tag = tag_of(azure, path)
            assert tag in ledger.possible.get(path, {GONE}), f"{path} is {tag!r}"
            ledger.possible[path] = {tag}
        ledger.began.clear()
    azure.client.close()


def ended_as(azure: Azure, link: str) -> str:
    """How an operation has ended; empty while it runs."""
    status = azure.poll(link)["status"]
    return status if status in SETTLED else ""


def tag_of(azure: Azure, path: str) -> str:
    """The tag of a resource that is whole; `GONE` for one that is not there."""
    answer = azure.send("GET", path)
    if answer.status_code == 404:
        return GONE
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert document["properties"].get("provisioningState", "Succeeded") == "Succeeded", document
    assert path in [each["id"] for each in azure.send("GET", path.rpartition("/")[0]).json()["value"]]
    return document["tags"]["tag"]


@pytest.fixture
def real(tmp_path: Path) -> Iterator[RealInstallation]:
    installation = RealInstallation(Home.at(tmp_path / "home"))
    yield installation
    if installation.home.exists:
        installation.ok("stop")


def prepared(real: RealInstallation) -> None:
    """The daemon with a workspace, where operations take a moment: so a kill finds some that run."""
    weather = '{"rules": [{"do": "prolong", "seconds": 0.05}]}'
    real.home.create()
    real.home.settings_file.write_text(f'{{"weather": {weather}}}')
    real.ok("start")
    azure = Azure(real.home)
    providers = f"{azure.group}/providers"
    storage = f"{providers}/Microsoft.Storage/storageAccounts/durable1"
    vault = f"{providers}/Microsoft.KeyVault/vaults/durable1"
    azure.create(azure.group, {"location": "eastus"})
    azure.create(storage, {"location": "eastus", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"})
    tenant = Settings.load(real.home, {}).tenant_id
    sku = {"family": "A", "name": "standard"}
    own = {"tenantId": tenant, "sku": sku, "accessPolicies": []}
    azure.create(vault, {"location": "eastus", "properties": own})
    properties = {"storageAccount": storage, "keyVault": vault}
    identity = {"type": "SystemAssigned"}
    azure.create(azure.workspace, {"location": "eastus", "identity": identity, "properties": properties})
    azure.client.close()


def test_what_was_acknowledged_survives_a_kill_at_any_point(real: RealInstallation) -> None:
    prepared(real)
    ledgers = [Ledger() for _ in range(WRITERS)]
    chance = random.Random(SEED)
    for number, seconds in enumerate(ROUNDS):
        left = [process for process in real.marked() if process.pid != daemon(real.home).pid]
        killed_while_writing(real.home, ledgers, seconds * (0.5 + chance.random()), SEED + number)
        # The mark of a process that is ending cannot be read any more, while it still counts as running.
        until(lambda left=left: not real.marked() and all(map(gone, left)), "nothing outlives it")
        with sqlite3.connect(f"{real.home.database.as_uri()}?mode=ro", uri=True) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        database.close()
        real.ok("start")
        # The last round kills what has just come up, with the operations of this one on their way.
        if number + 1 < len(ROUNDS) and ROUNDS[number + 1] == 0:
            continue
        check(real, ledgers)
    assert sum(ledger.acknowledged for ledger in ledgers) > 20, "there was something to lose"
    assert len([process for process in real.marked() if "serve" in process.cmdline()]) == 1


def test_blobs_of_an_account_that_is_gone_are_not_there_for_the_next_of_its_name(home: Home) -> None:
    settings = Settings()
    files = home.azurite / "gone" / "__blobstorage__"
    files.mkdir(parents=True)
    (files / "secret").write_text("what was deleted")
    tokens, fleet = TokenIssuer.at(home, settings.tenant_id), AzuriteFleet(home)
    azure = LocalAzure(settings, home, tokens, fleet, cast("Serving", FakeServing()))
    # As after a kill between the transaction of a DELETE and what follows it.
    azure.start(0)
    try:
        assert list(home.azurite.iterdir()) == []
    finally:
        azure.stop()
