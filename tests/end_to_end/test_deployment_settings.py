"""All that a deployment can be told, through a user's door, where roles take time to be effective as in Azure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localazure.home import Home
from tests.end_to_end.conftest import Clone

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

SCORE = "https://tumor-online.eastus.inference.ml.azure.com/score"
EFFECTIVE_AFTER = 5
PROBE = {"initialDelay": 1, "period": 1, "failureThreshold": 60}
TOLD: dict[str, Any] = {
    "tags": {"team": "a"},
    "properties": {"origin": "here"},
    "environmentVariables": {"LEVEL": "debug"},
    "appInsightsEnabled": True,
    "requestSettings": {"requestTimeoutMs": 30_000, "maxConcurrentRequestsPerInstance": 2},
    "livenessProbe": PROBE,
    "readinessProbe": PROBE,
    "startupProbe": PROBE,
    "egressPublicNetworkAccess": "enabled",
    "modelMountPath": "/var/models",
    "dataCollector": {"collections": {"model_inputs": {"samplingRate": 0.5}}, "rollingRate": "day"},
    "smokeTest": {"request": "scoring/samples/request.json", "schema": "answer.schema.json"},
}


def all_told(config: dict[str, Any]) -> None:
    """One deployment, told everything, under an identity that the stack makes; and nothing else."""
    (endpoint,) = config["onlineEndpoints"].values()
    del endpoint["deployments"]["blue"]
    endpoint["deployments"]["green"].update(TOLD)
    endpoint.update(identity="user", traffic={"green": 100})
    config["batchEndpoints"].clear()
    config["computeClusters"].clear()


@pytest.fixture
def told(clone: Clone) -> Clone:
    """A clone whose Local Azure takes a while to go by a role."""
    clone.mark()
    home = Home.at(clone.path / ".localazure")
    home.settings_file.write_text(json.dumps({"role_assignment_delay": EFFECTIVE_AFTER}))
    (clone.path / "answer.schema.json").write_text('{"type": "array", "items": {"type": "number"}}')
    clone.edit(all_told)
    file = clone.path / "Pulumi.local.yaml"
    # A second more than Azure takes, whose clock shows whole seconds.
    waits = f"roleAssignmentSeconds: {EFFECTIVE_AFTER + 1}"
    file.write_text(file.read_text().replace("roleAssignmentSeconds: 0", waits))
    return clone


def test_a_deployment_that_is_told_everything_comes_up_and_stays_as_it_is(told: Clone) -> None:
    told.make("up").ok()
    with told.scorer() as client:
        answer = client.post(SCORE, json=json.loads((told.path / "scoring/samples/request.json").read_text()))
    assert answer.status_code == 200, answer.text
    assert answer.headers["azureml-model-deployment"].startswith("green-")
    assert told.planned() == [], "Azure says what it was told, in its own words, and that is no difference"
    told.make("down").ok()
    assert told.processes() == []
