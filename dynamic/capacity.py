"""How many instances a new revision starts with: as many as the live one has, where autoscale has raised it.

A new revision takes over the traffic of the one before. Started with the count of the configuration, it would be too
small for the load that autoscale had grown the old one to, until autoscale came to it. What was asked at night is too
little at noon: a revision that did not get its traffic then is asked for again, and is grown before it gets it. So is
one of another deployment that takes over, as green does from blue.
"""

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from dynamic.base import AzureProvider, Pace, Props, Refusal, is_unknown
from dynamic.wait import unless_busy

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


REVISION = re.compile(r"(.+)-[0-9a-f]{8}")
# How often Azure is asked how far it is, as azure-ai-ml does for deployments.
POLL_SECONDS = 5


def serving_shares(traffic: Mapping[str, float] | None, deployment: str) -> dict[str, float]:
    """The revisions of a deployment that have traffic, with their shares."""
    shares = {name: share for name, share in (traffic or {}).items() if share and REVISION.fullmatch(name)}
    return {name: share for name, share in shares.items() if _deployment_of(name) == deployment.lower()}


def given_up(before: Collection[str], wanted: Collection[str]) -> list[str]:
    """The revisions whose traffic other deployments get: of their own, none is to serve any more."""
    staying = {_deployment_of(name) for name in wanted}
    return sorted(name for name in before if _deployment_of(name) not in staying)


def _deployment_of(name: str) -> str:
    found = REVISION.fullmatch(name)
    return found[1] if found else name


def live_count(client: "MLClient", endpoint: str, deployment: str) -> int | None:
    """How many instances the revision of a deployment has that most of its traffic goes to; none where there is none.

    `deployment` is its name in the configuration: `blue`, of which `blue-3fb2a9c1` is a revision.
    """
    from azure.core.exceptions import ResourceNotFoundError

    try:
        shares = serving_shares(client.online_endpoints.get(endpoint).traffic, deployment)
    except ResourceNotFoundError:
        # The endpoint is not there yet.
        return None
    return _count(client, endpoint, max(shares, key=lambda name: shares[name])) if shares else None


def _count(client: "MLClient", endpoint: str, revision: str) -> int | None:
    from azure.core.exceptions import ResourceNotFoundError

    try:
        found: Any = client.online_deployments.get(name=revision, endpoint_name=endpoint)
    except ResourceNotFoundError:
        # Somebody has just deleted it.
        return None
    return found.instance_count


def starting_count(client: "MLClient", props: Props) -> int:
    """As many instances as the live revision has, within `least` and `most`; else `instanceCount`."""
    live = live_count(client, props["endpointName"], props["deployment"])
    return int(props["instanceCount"]) if live is None else _within(props, live)


def _within(bounds: Props, count: int) -> int:
    return max(int(bounds["least"]), min(count, int(bounds["most"])))


def grow(
    client: "MLClient", endpoint: str, revision: str, bounds: Props, pace: Pace, leaving: Collection[str] = ()
) -> None:
    """Gives a revision that is about to take over at least as many instances as the live one has, within `bounds`.

    `leaving` are revisions of other deployments whose load it may get, too: the largest counts.

    Raises `Refusal` where Azure does not give them, or the endpoint stays busy.
    """
    from azure.core.exceptions import HttpResponseError

    own = live_count(client, endpoint, bounds["deployment"])
    live = [each for each in (own, *(_count(client, endpoint, name) for name in leaving)) if each is not None]
    if not live:
        return
    count = _within(bounds, max(live))
    what = f"deployment {revision} of endpoint {endpoint} is not scaled to {count} instances, as the live one is"

    def grown() -> bool:
        found: Any = client.online_deployments.get(name=revision, endpoint_name=endpoint)
        if found.instance_count < count:
            with unless_busy():
                scale(client, endpoint, revision, count)
        return True

    try:
        pace.until(grown, f"{what}, because the endpoint is busy,")
    except HttpResponseError as error:
        way_out = (
            f"lower maxInstances of deployment {bounds['deployment']}, or see to its quota; then run pulumi up again."
        )
        raise Refusal(f"{what}: {error.message} The traffic is as it was; {way_out}") from error


def scale(client: "MLClient", endpoint: str, revision: str, count: int) -> None:
    """Sets the number of instances as autoscale does, by a PATCH of the capacity alone.

    azure-ai-ml writes whole deployments only, as it knows them, and would take a startup probe away. The client that it
    makes its own calls with has the PATCH, too.
    """
    deployments: Any = client.online_deployments
    deployments._online_deployment.begin_update(
        resource_group_name=client.resource_group_name,
        workspace_name=client.workspace_name,
        endpoint_name=endpoint,
        deployment_name=revision,
        body={"sku": {"capacity": count}},
        polling_interval=POLL_SECONDS,
    ).result()


class StartingCapacityProvider(AzureProvider):
    """Asks when it is created, and again until the revision has taken over. After that the count is autoscale's."""

    def diff(self, _id: str, _olds: Props, _news: Props) -> DiffResult:
        return DiffResult(changes=is_to_take_over(_news), replaces=[])

    def create(self, props: Props) -> CreateResult:
        return CreateResult(f"{props['endpointName']}/{props['revision']}/capacity", self.ask(props))

    def update(self, _id: str, _olds: Props, _news: Props) -> UpdateResult:
        return UpdateResult(self.ask(_news))

    def ask(self, props: Props) -> Props:
        """The inputs, with the count."""
        return {**props, "startingCount": starting_count(self.ml_client(props), props)}


def is_to_take_over(props: Props) -> bool:
    """Whether the last refresh saw another revision of the deployment serve, and not this one."""
    traffic = props.get("liveTraffic")
    if is_unknown(traffic):
        return False
    serving = serving_shares(traffic, props["deployment"])
    return bool(serving) and props["revision"].lower() not in serving


class StartingCapacity(Resource, module="azureml", name="StartingCapacity"):
    """The instance count that a revision is created with. One for each revision: name it by the revision."""

    # A dynamic resource's outputs are attributes under their own names.
    startingCount: pulumi.Output[float]

    def __init__(self, name: str, *, inputs: Props, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(StartingCapacityProvider(), name, {**inputs, "startingCount": None}, opts)

    @property
    def instance_count(self) -> pulumi.Output[int]:
        """How many instances to create it with."""
        return self.startingCount.apply(int)
