"""Waiting until an endpoint, or a deployment, is really there.

Azure refuses a deployment while its endpoint is `Updating`, and azure-native does not try that again.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CheckFailure, CheckResult, DiffResult, Resource
from pulumi.output import Unknown

from dynamic.base import AzureProvider, NotYet, Pace, Props, Refusal, WaitingProvider, is_unknown, known

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

SUCCEEDED = "Succeeded"
FINAL_FAILURES = ("Failed", "Canceled")
# As Azure words it: "Cannot create a deployment in endpoint e because it is in Updating provisioning state."
UNDER_WAY = re.compile(r"\b(Creating|Updating|Scaling|Deleting) provisioning state")
# Conflicts that no waiting removes: a lock, a subscription that is not set up or switched off, a group that goes, and a
# name that somebody else has. Azure has no code of its own for an endpoint that is busy, so that is any other conflict.
LASTING = re.compile(
    r"\b(ScopeLocked|MissingSubscriptionRegistration|SubscriptionNotRegistered|ReadOnlyDisabledSubscription"
    r"|ResourceGroupBeingDeleted|EndpointAlreadyExists)\b|already an endpoint with this name"
)


def deployment_way_out(name: str, *, serves: bool = False) -> str:
    """What to do about a deployment that Azure gave up.

    One whose creation failed can only be made anew beside; one that serves was created, so its last change failed.
    """
    colour = name.rpartition("-")[0] or name
    causes = "put back what was changed last (instanceCount, requestSettings)"
    return (
        f"{causes if serves else f'correct its model, code or environment, {causes}'}, or raise "
        f'"attempt" of deployment "{colour}" in the stack configuration to make the same content anew; then run '
        "pulumi up again."
    )


def endpoint_way_out(name: str, scoring_uri: str | None) -> str:
    """What to do about an endpoint whose last operation failed; only a failed first creation is final."""
    if scoring_uri:
        return "its last change failed, and it still serves; correct the cause, then run pulumi up again."
    return f"delete it (az ml online-endpoint delete, or batch-endpoint, --name {name}), then run pulumi up again."


def is_settled(state: str | None, scoring_uri: str | None) -> bool:
    """Whether an endpoint takes a change: one whose last change failed does, since its URI says that it was created."""
    return state == SUCCEEDED or (state in FINAL_FAILURES and bool(scoring_uri))


def wait_until_succeeded(state: Callable[[], str | None], what: str, way_out: str, pace: Pace) -> None:
    """Returns when `state()` is `Succeeded`. Raises `Refusal` when it is final and another, or the time is up."""

    def done() -> bool:
        now = state()
        if now in FINAL_FAILURES:
            raise Refusal(f"{what} is {now}: {way_out}")
        return now == SUCCEEDED

    pace.until(done, f"{what} is not {SUCCEEDED}")


def wait_until_settled(client: "MLClient", kind: str, name: str, pace: Pace) -> None:
    """Waits until an endpoint of `kind` online or batch takes a change. Raises `Refusal` when it never will."""
    _wait_for_endpoint(client, kind, name, is_settled, pace)


def wait_for_endpoint(client: "MLClient", kind: str, name: str, pace: Pace) -> None:
    """Waits until the last change of an endpoint has succeeded. Raises `Refusal` when it has not."""
    _wait_for_endpoint(client, kind, name, lambda state, _: state == SUCCEEDED, pace)


def _wait_for_endpoint(
    client: "MLClient", kind: str, name: str, accepted: Callable[[str | None, str | None], bool], pace: Pace
) -> None:
    endpoints: Any = client.online_endpoints if kind == "online" else client.batch_endpoints

    def done() -> bool:
        found = endpoints.get(name)
        state, scoring_uri = found.provisioning_state, found.scoring_uri
        if accepted(state, scoring_uri):
            return True
        if state in FINAL_FAILURES:
            raise Refusal(f"endpoint {name} is {state}: {endpoint_way_out(name, scoring_uri)}")
        return False

    pace.until(done, f"endpoint {name} is not {SUCCEEDED}")


def is_busy(error: Any) -> bool:
    """Whether Azure refused a write because another one on the same endpoint is under way.

    It answers 409, or 400 with a text of its own. There are 409s that mean something else and last.
    """
    text = str(error)
    return (error.status_code == 409 and not LASTING.search(text)) or bool(UNDER_WAY.search(text))


@contextmanager
def unless_busy() -> Iterator[None]:
    """Around a write on an endpoint. Raises `NotYet` when Azure refused it because another one is under way."""
    from azure.core.exceptions import HttpResponseError

    try:
        yield
    except HttpResponseError as error:
        if is_busy(error):
            raise NotYet(error.message) from error
        raise


def write_endpoint(endpoints: Any, found: Any) -> None:
    """Writes an endpoint as `found` says and returns when Azure is done. Raises `NotYet` when it is busy."""
    with unless_busy():
        endpoints.begin_create_or_update(found).result()


def wait_for_deployments(
    deployments: Any, endpoint: str, names: list[str], pace: Pace, serving: Collection[str] = ()
) -> None:
    """Waits for deployments of an endpoint; `deployments` is azure-ai-ml's client of their kind.

    Raises `Refusal` for one that Azure gave up, that is gone, or that takes too long.
    """
    from azure.core.exceptions import ResourceNotFoundError

    for name in names:
        what = f"deployment {name} of endpoint {endpoint}"

        def state(name: str = name, what: str = what) -> str | None:
            try:
                return deployments.get(name=name, endpoint_name=endpoint).provisioning_state
            except ResourceNotFoundError:
                raise Refusal(
                    f"{what} is gone: somebody has deleted it; run pulumi up again to make it anew."
                ) from None

        wait_until_succeeded(state, what, deployment_way_out(name, serves=name in serving), pace)


def serving(props: Props) -> set[str]:
    """The deployments that the last refresh saw answer requests, as the inputs of a split or a default say."""
    shares = [props.get("liveTraffic"), props.get("liveMirrorTraffic")]
    maps = [known(found) for found in shares if isinstance(found, Mapping)]
    names = {name for found in maps for name, share in found.items() if share}
    default = props.get("liveDeploymentName")
    return names | ({default} if default and not is_unknown(default) else set())


def failed_deployments(states: Mapping[str, str], serving: Collection[str] = ()) -> list[str]:
    """What to say of each deployment that Azure gave up, by the states that the last refresh saw."""
    return [
        f"deployment {name} is {state}: {deployment_way_out(name, serves=name in serving)}"
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
        problems = [] if isinstance(states, Unknown) else failed_deployments(states, serving(news))
        return CheckResult(news, [CheckFailure("provisioningStates", problem) for problem in problems])


class EndpointReadyProvider(WaitingProvider):
    """Waits on creation, and again whenever a refresh saw that the endpoint is not settled."""

    def diff(self, _id: str, _olds: Props, _news: Props) -> DiffResult:
        state, scoring_uri = _news.get("provisioningState"), _news.get("scoringUri")
        waits = not is_unknown(state) and not is_unknown(scoring_uri) and not is_settled(state, scoring_uri)
        return DiffResult(changes=waits, replaces=[])

    def name_of(self, props: Props) -> str:
        return f"{props['endpointName']}/ready"

    def wait(self, props: Props) -> None:
        """Blocks until the endpoint takes deployments."""
        wait_until_settled(self.ml_client(props), props["kind"], props["endpointName"], Pace())


class EndpointReady(Resource, module="azureml", name="EndpointReady"):
    """Stands between an endpoint and its deployments, and lets them start when the endpoint takes them."""

    def __init__(self, name: str, *, inputs: dict[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(EndpointReadyProvider(), name, inputs, opts)
