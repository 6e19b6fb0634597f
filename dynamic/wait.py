"""Waiting until an endpoint, or a deployment, is really there.

Azure refuses a deployment while its endpoint is `Updating`, and azure-native does not try that again.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CheckFailure, CheckResult, CreateResult, DiffResult, Resource, UpdateResult
from pulumi.output import Unknown

from dynamic.base import AzureProvider, Pace, Props, Refusal, is_unknown, known

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

SUCCEEDED = "Succeeded"
FINAL_FAILURES = ("Failed", "Canceled")


def deployment_way_out(name: str) -> str:
    """What to do about a deployment that Azure gave up: it cannot be repaired, only made anew beside."""
    colour = name.rpartition("-")[0] or name
    return (
        f'correct its model, code or environment, or raise "attempt" of deployment "{colour}" in the stack '
        "configuration to make the same content anew; then run pulumi up again. Azure cannot repair a deployment whose "
        "creation failed."
    )


def endpoint_way_out(name: str) -> str:
    """What to do about an endpoint that Azure gave up."""
    return f"delete it (az ml online-endpoint delete, or batch-endpoint, --name {name}), then run pulumi up again."


def wait_until_succeeded(state: Callable[[], str | None], what: str, way_out: str, pace: Pace) -> None:
    """Returns when `state()` is `Succeeded`. Raises `Refusal` when it is final and another, or the time is up."""

    def done() -> bool:
        now = state()
        if now in FINAL_FAILURES:
            raise Refusal(f"{what} is {now}: {way_out}")
        return now == SUCCEEDED

    pace.until(done, f"{what} is not {SUCCEEDED}")


def wait_for_endpoint(client: "MLClient", kind: str, name: str, pace: Pace) -> None:
    """Waits for an endpoint of `kind` online or batch."""
    endpoints: Any = client.online_endpoints if kind == "online" else client.batch_endpoints
    way_out = endpoint_way_out(name)
    wait_until_succeeded(lambda: endpoints.get(name).provisioning_state, f"endpoint {name}", way_out, pace)


def wait_for_deployments(deployments: Any, endpoint: str, names: list[str], pace: Pace) -> None:
    """Waits for deployments of an endpoint; `deployments` is azure-ai-ml's client of their kind."""
    for name in names:

        def state(name: str = name) -> str | None:
            return deployments.get(name=name, endpoint_name=endpoint).provisioning_state

        what = f"deployment {name} of endpoint {endpoint}"
        wait_until_succeeded(state, what, deployment_way_out(name), pace)


def failed_deployments(states: Mapping[str, str]) -> list[str]:
    """What to say of each deployment that Azure gave up, by the states that the last refresh saw."""
    return [
        f"deployment {name} is {state}: {deployment_way_out(name)}"
        for name, state in known(states).items()
        if state in FINAL_FAILURES
    ]


class AfterDeploymentsProvider(AzureProvider):
    """For what comes after the deployments, and takes their refreshed `provisioningStates` as an input.

    A refresh erases Pulumi's own record of a failed creation, so this is where such a deployment is noticed.
    """

    def check(self, _olds: Props, news: Props) -> CheckResult:
        """Refuses, in the preview already, to go on with a deployment that Azure gave up."""
        states = news.get("provisioningStates") or {}
        problems = [] if isinstance(states, Unknown) else failed_deployments(states)
        return CheckResult(news, [CheckFailure("provisioningStates", problem) for problem in problems])


class EndpointReadyProvider(AzureProvider):
    """Waits on creation, and again whenever the endpoint's refreshed state is not `Succeeded`."""

    def diff(self, _id: str, _olds: Props, _news: Props) -> DiffResult:
        state = _news.get("provisioningState")
        return DiffResult(changes=not is_unknown(state) and state != SUCCEEDED, replaces=[])

    def create(self, props: Props) -> CreateResult:
        self.wait(props)
        return CreateResult(f"{props['endpointName']}/ready", props)

    def update(self, _id: str, _olds: Props, _news: Props) -> UpdateResult:
        self.wait(_news)
        return UpdateResult(_news)

    def wait(self, props: Props) -> None:
        """Blocks until the endpoint takes deployments."""
        wait_for_endpoint(self.ml_client(props), props["kind"], props["endpointName"], Pace())


class EndpointReady(Resource, module="azureml", name="EndpointReady"):
    """Stands between an endpoint and its deployments, and lets them start when the endpoint is `Succeeded`."""

    def __init__(self, name: str, *, inputs: dict[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(EndpointReadyProvider(), name, inputs, opts)
