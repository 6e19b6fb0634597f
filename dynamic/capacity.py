"""How many instances a new revision starts with: as many as the live one has, where autoscale has raised it.

A new revision takes over the traffic of the one before. Started with the count of the configuration, it would be too
small for the load that autoscale had grown the old one to, until autoscale came to it.
"""

import re
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from dynamic.base import AzureProvider, Props
from dynamic.traffic import read_split

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


def live_count(client: "MLClient", endpoint: str, deployment: str) -> int | None:
    """How many instances the revision of a deployment has that most of its traffic goes to; none where there is none.

    `deployment` is its name in the configuration: `blue`, of which `blue-3fb2a9c1` is a revision.
    """
    from azure.core.exceptions import ResourceNotFoundError

    revision = re.compile(rf"{re.escape(deployment.lower())}-[0-9a-f]{{8}}")
    try:
        shares = {name: share for name, share in read_split(client, endpoint).live.items() if revision.fullmatch(name)}
        if not shares:
            return None
        live = max(shares, key=lambda name: shares[name])
        found: Any = client.online_deployments.get(name=live, endpoint_name=endpoint)
    except ResourceNotFoundError:
        # The endpoint is not there yet, or somebody has just deleted the revision.
        return None
    return found.instance_count


def starting_count(client: "MLClient", props: Props) -> int:
    """As many instances as the live revision has, within `least` and `most`; else `instanceCount`."""
    live = live_count(client, props["endpointName"], props["deployment"])
    if live is None:
        return int(props["instanceCount"])
    return max(int(props["least"]), min(live, int(props["most"])))


class StartingCapacityProvider(AzureProvider):
    """Asks once, when it is created. What the revision has after that is autoscale's affair."""

    def diff(self, _id: str, _olds: Props, _news: Props) -> DiffResult:
        return DiffResult(changes=False, replaces=[])

    def create(self, props: Props) -> CreateResult:
        count = starting_count(self.ml_client(props), props)
        return CreateResult(f"{props['endpointName']}/{props['revision']}/capacity", {**props, "startingCount": count})

    def update(self, _id: str, _olds: Props, _news: Props) -> UpdateResult:
        return UpdateResult({**_news, "startingCount": _olds["startingCount"]})


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
