"""Layer: the default deployment of a batch endpoint; it moves only to one that is ready, and only after all are."""

from typing import Any

import pytest

from dynamic.base import Pace, Refusal
from dynamic.default_deployment import DefaultDeploymentProvider
from tests.dynamic.conftest import Clock, Refused


@pytest.fixture
def default(client: Any, pace: Pace, monkeypatch: pytest.MonkeyPatch) -> DefaultDeploymentProvider:
    monkeypatch.setattr("dynamic.default_deployment.Pace", lambda: pace)
    made = DefaultDeploymentProvider()
    monkeypatch.setattr(made, "ml_client", lambda props: client)
    return made


def wanted(deployment: str, live: str = "", **states: str) -> dict[str, Any]:
    """What the provider gets; the states are those that the last refresh saw."""
    named = {name.replace("_", "-"): state for name, state in states.items()}
    return {
        "endpointName": "b",
        "deploymentName": deployment,
        "liveDeploymentName": live,
        "provisioningStates": named or {deployment: "Succeeded"},
    }


def live_default(client: Any) -> str | None:
    return client.batch_endpoints.get("b").defaults.deployment_name


def test_the_default_waits_for_a_deployment_that_is_still_coming_up(
    client: Any, clock: Clock, default: DefaultDeploymentProvider
) -> None:
    client.batch_deployments.states["mlflow-2"] = ["Creating", "Creating", "Succeeded"]
    default.create(wanted("mlflow-2"))
    assert live_default(client) == "mlflow-2"
    assert clock.now > 0


def test_a_deployment_that_failed_leaves_the_default_as_it_is(client: Any, default: DefaultDeploymentProvider) -> None:
    default.create(wanted("mlflow-1"))
    client.batch_deployments.states["mlflow-2"] = ["Creating", "Failed"]
    with pytest.raises(Refusal, match='raise "attempt" of deployment "mlflow"'):
        default.update("id", wanted("mlflow-1"), wanted("mlflow-2", "mlflow-1"))
    assert live_default(client) == "mlflow-1", "who invokes the endpoint goes on as before"


def test_so_does_another_one_of_the_endpoint(client: Any, default: DefaultDeploymentProvider) -> None:
    client.batch_deployments.states["custom-1"] = ["Failed"]
    with pytest.raises(Refusal, match="deployment custom-1 of endpoint b is Failed"):
        default.create(wanted("mlflow-1", mlflow_1="Succeeded", custom_1="Creating"))
    assert client.batch_endpoints.puts == 0


def test_a_deployment_that_azure_gave_up_is_refused_in_the_preview(default: DefaultDeploymentProvider) -> None:
    (failure,) = default.check({}, wanted("mlflow-2", "mlflow-1", mlflow_1="Succeeded", mlflow_2="Failed")).failures
    assert failure.property == "provisioningStates"
    assert "deployment mlflow-2 is Failed" in failure.reason


def test_a_busy_endpoint_is_asked_again(client: Any, default: DefaultDeploymentProvider, refusal: Refused) -> None:
    client.batch_endpoints.refusals = [refusal(409, "busy"), refusal(400, "it is in Updating provisioning state")]
    default.create(wanted("mlflow-1"))
    assert (live_default(client), client.batch_endpoints.puts) == ("mlflow-1", 1)
