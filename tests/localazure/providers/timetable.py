"""A cloud with a batch endpoint and workflows that start jobs on it, by a clock that only the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from localazure.providers.ml.names import JOB_TYPE
from tests.localazure.providers.conftest import Cloud, FakeServing, booted

Json = dict[str, Any]

SCIENTIST = "f6c7c914-8db3-469d-8ca1-694a8f32e121"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
SCHEMA = "https://schema.management.azure.com/providers/Microsoft.Logic/schemas/2016-06-01/workflowdefinition.json#"
AUTHENTICATION = {"type": "ManagedServiceIdentity", "audience": "https://ml.azure.com"}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def definition(recurrence: Json, action: Json | None = None, **inputs: Any) -> Json:
    """A definition as the program makes it: a recurrence, and a POST to the batch endpoint."""
    named = {"in": {"jobInputType": "UriFolder", "uri": "azureml://datastores/workspaceblobstore/paths/inbox/"}}
    own = {
        "method": "POST",
        "uri": "https://batch.eastus.inference.ml.azure.com/jobs",
        "headers": {"azureml-model-deployment": "first"},
        "body": {"properties": {"inputData": named}},
        "authentication": AUTHENTICATION,
        **inputs,
    }
    return {
        "$schema": SCHEMA,
        "contentVersion": "1.0.0.0",
        "triggers": {"Recurrence": {"type": "Recurrence", "recurrence": recurrence}},
        "actions": {"Invoke": {"type": "Http", "inputs": own, "runAfter": {}, **(action or {})}},
    }


def body(recurrence: Json, *, state: str = "Enabled", identity: Json | None = None, **inputs: Any) -> Json:
    """What a PUT of a workflow says."""
    properties = {"definition": definition(recurrence, **inputs), "state": state, "parameters": {}}
    return {
        "location": "eastus",
        "tags": {},
        "identity": identity or {"type": "SystemAssigned"},
        "properties": properties,
    }


@dataclass
class Timetable:
    """What the tests ask of a cloud with workflows."""

    cloud: Cloud

    def path(self, name: str) -> str:
        return f"{self.cloud.group}/providers/Microsoft.Logic/workflows/{name}"

    def put(self, name: str, recurrence: Json, *, role: str | None = SCIENTIST, **rest: Any) -> Json:
        """A workflow whose identity has a role on the workspace."""
        made = self.cloud.put(self.path(name), body(recurrence, **rest))
        if role:
            self.give(made["identity"]["principalId"], role)
        return made

    def give(self, principal: str, role: str) -> None:
        """A role on the workspace; giving it again changes nothing."""
        own = {
            "roleDefinitionId": f"/subscriptions/{self.cloud.subscription}/providers/Microsoft.Authorization/"
            f"roleDefinitions/{role}",
            "principalId": principal,
            "principalType": "ServicePrincipal",
        }
        path = f"{self.cloud.workspace}/providers/Microsoft.Authorization/roleAssignments/{principal}"
        self.cloud.put(path, {"properties": own})

    def pass_until(self, text: str) -> None:
        self.cloud.azure.schedule.pass_time(utc(text))

    def runs(self, name: str) -> list[Json]:
        """The workflow's runs, oldest first."""
        found: list[Json] = []
        link = f"{self.path(name)}/runs?$top=250"
        while link:
            page = self.cloud.get(link)
            found += page["value"]
            link = page.get("nextLink")
        return found[::-1]

    def scheduled(self, name: str) -> list[datetime]:
        """The instants that its runs were for."""
        return [utc(each["properties"]["trigger"]["scheduledTime"][:26]) for each in self.runs(name)]

    def action(self, name: str, action: str = "Invoke") -> Json:
        """An action of the newest run."""
        run = self.runs(name)[-1]["name"]
        return self.cloud.get(f"{self.path(name)}/runs/{run}/actions/{action}")["properties"]

    def jobs(self) -> int:
        return len(self.cloud.azure._cloud.store.of_type(JOB_TYPE))


@dataclass
class Machine:
    """A computer with a Local Azure on it, whose clock stands still until it is set."""

    folder: Path
    now: datetime

    @contextmanager
    def running(self) -> Iterator[Timetable]:
        """Local Azure, from its start to its end."""
        with booted(self.folder / "home", FakeServing(), clock=lambda: self.now) as cloud:
            yield Timetable(cloud)

    def off(self, duration: timedelta) -> None:
        """Time that passes while Local Azure does not run."""
        self.now += duration


def prepare(cloud: Cloud) -> None:
    """A batch endpoint with a deployment, which is its default."""
    cloud.prepare()
    size = {"vmSize": "Standard_DS3_v2", "scaleSettings": {"maxNodeCount": 1}}
    compute = {"location": "eastus", "properties": {"computeType": "AmlCompute", "properties": size}}
    cloud.put(f"{cloud.workspace}/computes/cluster", compute)
    endpoint = f"{cloud.workspace}/batchEndpoints/batch"
    cloud.put(endpoint, {"location": "eastus", "properties": {"authMode": "AADToken"}})
    model = {"referenceType": "Id", "assetId": f"{cloud.workspace}/models/mlflow/versions/1"}
    own = {"model": model, "compute": f"{cloud.workspace}/computes/cluster"}
    cloud.put(f"{endpoint}/deployments/first", {"location": "eastus", "properties": own})
    chosen = {"authMode": "AADToken", "defaults": {"deploymentName": "first"}}
    cloud.put(endpoint, {"location": "eastus", "properties": chosen})


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Machine]:
    """A computer whose clock shows a time. Nothing is scored on it: that there are jobs is what counts here."""
    for name in ("submit", "resume"):
        monkeypatch.setattr(f"localazure.providers.ml.job_runner.JobRunner.{name}", lambda *_: None)
    return lambda text: Machine(tmp_path, utc(text))
