"""Killed at any point, a timetable neither loses an instant nor fires one twice: the real daemon, SIGKILL."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import psutil
import pytest

from localazure.home import Home
from localazure.runtime import Runtime
from tests.localazure.running import until
from tests.localazure.test_durability import Azure, RealInstallation

KILLS = 3
SEED = 6


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[RealInstallation]:
    made = RealInstallation(Home.at(tmp_path / "home"))
    yield made
    made.run("stop")


def workflow(azure: Azure) -> dict[str, Any]:
    """Every second it makes an identity, which has the name of the run."""
    made = f"{azure.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/@{{workflow().run.name}}"
    inputs = {
        "method": "PUT",
        "uri": f"https://management.azure.com{made}?api-version=2023-01-31",
        "body": {"location": "eastus"},
        "authentication": {"type": "ManagedServiceIdentity"},
    }
    definition = {
        "triggers": {"Recurrence": {"type": "Recurrence", "recurrence": {"frequency": "Second", "interval": 1}}},
        "actions": {"Make": {"type": "Http", "inputs": inputs, "runAfter": {}}},
    }
    properties = {"definition": definition}
    return {"location": "eastus", "identity": {"type": "SystemAssigned"}, "properties": properties}


def everything(azure: Azure, link: str) -> list[dict[str, Any]]:
    """A list, with all of its pages."""
    found: list[dict[str, Any]] = []
    while link:
        parts = urlsplit(link)
        page = azure.client.get(parts.path, params=dict(parse_qsl(parts.query))).json()
        found += page["value"]
        link = page.get("nextLink", "")
    return found


def test_each_instant_has_one_run_through_any_kill(installation: RealInstallation) -> None:
    chance = random.Random(SEED)
    installation.ok("start")
    azure = Azure(installation.home)
    azure.create(azure.group, {"location": "eastus"})
    path = f"{azure.group}/providers/Microsoft.Logic/workflows/clock"
    azure.create(path, workflow(azure))
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.1, 1.5))
        process = psutil.Process(Runtime.read(installation.home).pid)
        process.kill()
        process.wait(10)
        installation.ok("start")
    azure = Azure(installation.home)
    assert azure.send("POST", f"{path}/disable").status_code == 200
    until(lambda: not statuses(azure, path) - {"Succeeded"}, "the last run has ended")

    runs = everything(azure, f"{path}/runs")
    instants = sorted(each["properties"]["trigger"]["scheduledTime"][:19] for each in runs)
    seconds = [time.mktime(time.strptime(each, "%Y-%m-%dT%H:%M:%S")) for each in instants]
    assert seconds == [seconds[0] + number for number in range(len(seconds))], "every second, once"
    assert len(seconds) > KILLS
    made = everything(azure, f"{azure.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities")
    assert {each["name"] for each in made} == {each["name"] for each in runs}


def statuses(azure: Azure, path: str) -> set[str]:
    return {each["properties"]["status"] for each in everything(azure, f"{path}/runs")}
