"""The traffic of an online endpoint has one owner, and this is it.

Traffic cannot be set before the deployments exist, a PATCH cannot carry it, and a deployment with traffic cannot be
deleted. So the split is applied after the deployments are there, by read, modify and PUT, and is put back if it fails.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from dynamic.base import Pace, Props, Refusal, differs, is_unknown
from dynamic.wait import (
    AfterDeploymentsProvider,
    serving,
    wait_for_deployments,
    wait_for_endpoint,
    wait_until_settled,
)

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

Shares = Mapping[str, float]


@dataclass(frozen=True)
class Split:
    """Live and mirrored traffic in per cent by deployment; a deployment without a share is left out."""

    live: Mapping[str, int]
    mirror: Mapping[str, int]

    @classmethod
    def of(cls, live: Shares | None, mirror: Shares | None) -> "Split":
        """Brings both maps into one form: azure-ai-ml adds zeroes and lower-cases names, Pulumi sends floats."""
        return cls(_shares(live), _shares(mirror))

    def without_traffic_in(self, other: "Split") -> set[str]:
        """The deployments that have traffic of either kind here and none there."""
        return {*self.live, *self.mirror} - {*other.live, *other.mirror}

    def __str__(self) -> str:
        live = ", ".join(f"{name} {share} %" for name, share in self.live.items()) or "no deployment"
        mirror = ", ".join(f"{name} {share} %" for name, share in self.mirror.items())
        return live + (f" (mirrored to {mirror})" if mirror else "")


def _shares(traffic: Shares | None) -> dict[str, int]:
    return {name.lower(): int(share) for name, share in sorted((traffic or {}).items()) if int(share)}


def read_split(client: "MLClient", endpoint: str) -> Split:
    """The split that is live."""
    found: Any = client.online_endpoints.get(endpoint)
    return Split.of(found.traffic, found.mirror_traffic)


def apply_split(client: "MLClient", endpoint: str, wanted: Split, pace: Pace) -> Split:
    """Makes `wanted` live and returns the split that was. Puts that back and raises `Refusal` when it cannot."""
    wait_until_settled(client, "online", endpoint, pace)
    before = read_split(client, endpoint)
    if before == wanted:
        return before
    try:
        _put(client, endpoint, wanted, pace)
    except Exception as error:
        restored = _restore(client, endpoint, before, pace)
        raise Refusal(f"traffic of endpoint {endpoint}: cannot set {wanted}: {error} {restored}") from error
    return before


def _put(client: "MLClient", endpoint: str, split: Split, pace: Pace) -> None:
    found: Any = client.online_endpoints.get(endpoint)
    found.traffic, found.mirror_traffic = dict(split.live), dict(split.mirror)
    client.online_endpoints.begin_create_or_update(found).result()
    # The answer to the PUT still shows the old map; the new one holds when the operation has succeeded.
    wait_for_endpoint(client, "online", endpoint, pace)
    pace.until(lambda: read_split(client, endpoint) == split, f"traffic of endpoint {endpoint} is not {split}")


def _restore(client: "MLClient", endpoint: str, before: Split, pace: Pace) -> str:
    try:
        # What failed has left the endpoint `Failed`, which the next PUT that succeeds puts right.
        wait_until_settled(client, "online", endpoint, pace)
        if read_split(client, endpoint) != before:
            _put(client, endpoint, before, pace)
    except Exception as error:
        return f"Nor can the old split be put back ({error}); set it by hand: {before}."
    return f"The old split holds: {before}. Correct the cause, then run pulumi up again."


class TrafficSplitProvider(AfterDeploymentsProvider):
    """Compares what is wanted with what is live; the live map is the endpoint's, as azure-native refreshed it."""

    def diff(self, _id: str, _olds: Props, _news: Props) -> DiffResult:
        values = [_news.get(key) for key in ("traffic", "mirrorTraffic", "liveTraffic", "liveMirrorTraffic")]
        if any(map(is_unknown, values)):
            # What is live is not known while the endpoint itself is about to change; what was wanted last time is.
            return DiffResult(changes=_wants_other(_olds, _news), replaces=[])
        wanted, live = Split.of(values[0], values[1]), Split.of(values[2], values[3])
        return DiffResult(changes=wanted != live, replaces=[])

    def create(self, props: Props) -> CreateResult:
        self.apply(props)
        return CreateResult(f"{props['endpointName']}/traffic", props)

    def update(self, _id: str, _olds: Props, _news: Props) -> UpdateResult:
        # A shorter drain is for what comes; what loses its traffic now was deployed with the old request timeout.
        longest = max(float(props.get("drainSeconds") or 0) for props in (_olds, _news))
        self.apply({**_news, "drainSeconds": longest})
        return UpdateResult(_news)

    def delete(self, _id: str, _props: Props) -> None:
        """Leaves the traffic as it is: who stops managing a split does not want its requests refused."""

    def apply(self, props: Props) -> None:
        """Waits for the deployments, moves the traffic, and lets requests to those that lost it come to an end."""
        pace, client, endpoint = Pace(), self.ml_client(props), props["endpointName"]
        wanted = Split.of(props.get("traffic"), props.get("mirrorTraffic"))
        names, live = sorted(props["provisioningStates"]), serving(props)
        wait_for_deployments(client.online_deployments, endpoint, names, pace, live)
        before = apply_split(client, endpoint, wanted, pace)
        if before.without_traffic_in(wanted):
            pace.sleep(float(props.get("drainSeconds") or 0))


def _wants_other(olds: Props, news: Props) -> bool:
    return any(differs(olds.get(key) or {}, news.get(key) or {}) for key in ("traffic", "mirrorTraffic"))


class TrafficSplit(Resource, module="azureml", name="TrafficSplit"):
    """The traffic split of an online endpoint, live and mirrored, by revision."""

    traffic: pulumi.Output[dict[str, float]]

    def __init__(self, name: str, *, inputs: dict[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(TrafficSplitProvider(), name, inputs, opts)
