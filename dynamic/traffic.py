"""The traffic of an online endpoint has one owner, and this is it.

Traffic cannot be set before the deployments exist, a PATCH cannot carry it, and a deployment with traffic cannot be
deleted. So the split is applied after the deployments are there, by read, modify and PUT, and is put back if it fails.
One PUT carries both maps, so that a deployment goes from mirrored to live traffic, or back, without ever having both.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from dynamic.base import Pace, Props, Refusal, differs, is_unknown
from dynamic.capacity import given_up, grow
from dynamic.smoke import smoke_failures
from dynamic.wait import (
    FINAL_FAILURES,
    SUCCEEDED,
    AfterDeploymentsProvider,
    is_settled,
    serving,
    wait_for_deployments,
    wait_for_endpoint,
    wait_until_settled,
    write_endpoint,
)

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

Shares = Mapping[str, float]
# Says what is wrong with deployments that are about to get traffic; nothing, where all is well.
Check = Callable[[list[str]], list[str]]


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

    def is_between(self, one: "Split", other: "Split") -> bool:
        """Whether this is what a change from one to the other leaves, finished or not, and nobody else's."""
        return self.live in (one.live, other.live) and self.mirror in (one.mirror, other.mirror)

    def __str__(self) -> str:
        live = ", ".join(f"{name} {share} %" for name, share in self.live.items()) or "no deployment"
        mirror = ", ".join(f"{name} {share} %" for name, share in self.mirror.items())
        return live + (f" (mirrored to {mirror})" if mirror else "")


def _shares(traffic: Shares | None) -> dict[str, int]:
    return {name.lower(): int(share) for name, share in sorted((traffic or {}).items()) if int(share)}


NO_TRAFFIC = Split({}, {})


class Overtaken(Refusal):
    """Somebody else has set the traffic meanwhile."""

    def __init__(self, now: Split) -> None:
        super().__init__(
            f"somebody else has set it to {now} since this run read it, and that is left as it is; run pulumi up "
            "again, whose preview shows the difference."
        )


def read_split(client: "MLClient", endpoint: str) -> Split:
    """The split that is live."""
    return _split_of(client.online_endpoints.get(endpoint))


def _split_of(endpoint: Any) -> Split:
    return Split.of(endpoint.traffic, endpoint.mirror_traffic)


def _no_failures(_gaining: list[str]) -> list[str]:
    return []


def apply_split(
    client: "MLClient",
    endpoint: str,
    wanted: Split,
    pace: Pace,
    *,
    seen: Collection[Split] = (),
    check: Check = _no_failures,
) -> Split:
    """Makes `wanted` live and returns the split that was. Puts that back and raises `Refusal` when it cannot.

    `seen` are the splits that this run knows of; where it names any, another one is somebody else's and stays.
    `check` looks at the deployments that gain traffic, before anything is moved.
    """
    wait_until_settled(client, "online", endpoint, pace)
    before = read_split(client, endpoint)
    if before == wanted:
        return before
    if seen and before not in seen:
        raise Refusal(f"traffic of endpoint {endpoint}: {Overtaken(before)}")
    if failures := check(sorted(wanted.without_traffic_in(before))):
        raise Refusal(_not_moved(endpoint, before, wanted, failures))
    try:
        _put(client, endpoint, before, wanted, pace)
    except Overtaken as error:
        raise Refusal(f"traffic of endpoint {endpoint}: {error}") from None
    except Exception as error:
        if outcome := _restore(client, endpoint, before, wanted, pace):
            raise Refusal(f"traffic of endpoint {endpoint}: cannot set {wanted}: {error} {outcome}") from error
    return before


def _not_moved(endpoint: str, before: Split, wanted: Split, failures: list[str]) -> str:
    return "\n".join(
        [
            f"traffic of endpoint {endpoint}: cannot set {wanted}, because a deployment that would gain traffic fails "
            f"its smoke test. The traffic is as it was: {before}.",
            *failures,
            "Correct the deployment, or its smokeTest (request, status, json, schema, timeLimit) in the stack "
            "configuration; then run pulumi up again.",
        ]
    )


def _put(client: "MLClient", endpoint: str, before: Split, wanted: Split, pace: Pace) -> None:
    """Sets a split in place of `before`. A change that somebody else makes to the endpoint meanwhile is waited for.

    Raises:
        Overtaken: somebody else has changed the traffic.
        Refusal: the operation failed, or the endpoint stays busy.
    """

    def written() -> bool:
        wait_until_settled(client, "online", endpoint, pace)
        # Read anew for every try: the rest of the endpoint is written as somebody else may just have left it.
        found: Any = client.online_endpoints.get(endpoint)
        _refuse_overtaking(_split_of(found), before, wanted)
        found.traffic, found.mirror_traffic = dict(wanted.live), dict(wanted.mirror)
        write_endpoint(client.online_endpoints, found)
        return True

    def in_force() -> bool:
        now = read_split(client, endpoint)
        _refuse_overtaking(now, before, wanted)
        return now == wanted

    pace.until(written, "another change of the endpoint is still under way")
    # The answer to the PUT still shows the old map; the new one holds when the operation has succeeded.
    wait_for_endpoint(client, "online", endpoint, pace)
    pace.until(in_force, f"it is not {wanted}")


def _refuse_overtaking(now: Split, before: Split, wanted: Split) -> None:
    if not now.is_between(before, wanted):
        raise Overtaken(now)


def _restore(client: "MLClient", endpoint: str, before: Split, wanted: Split, pace: Pace) -> str:
    """Puts the old split back, unless the one that is there is somebody else's; says how that went.

    Says nothing where `wanted` came into force after all: the answer can get lost of an operation that succeeds.
    """
    try:
        # What failed has left the endpoint `Failed`, which the next PUT that succeeds puts right.
        wait_until_settled(client, "online", endpoint, pace)
        found: Any = client.online_endpoints.get(endpoint)
        now = _split_of(found)
        if now == wanted and found.provisioning_state == SUCCEEDED:
            return ""
        if not now.is_between(before, wanted):
            return f"It is now {now}, as somebody else has set it. Correct the cause, then run pulumi up again."
        if now != before:
            _put(client, endpoint, now, before, pace)
    except Exception as error:
        return f"Nor can the old split be put back ({error}); set it by hand: {before}."
    return f"The old split holds: {before}. Correct the cause, then run pulumi up again."


def drain(client: "MLClient", endpoint: str, seconds: float, pace: Pace) -> None:
    """Takes all traffic away from an endpoint that goes, and lets requests under way come to an end.

    It never stands in the way of the deletion: an endpoint that is gone, that never served or that refuses to be
    changed is left as it is. Raises `Refusal` only where the endpoint stays busy.
    """
    from azure.core.exceptions import HttpResponseError

    try:
        had_traffic = _take_away(client, endpoint, pace)
    except HttpResponseError:
        # Nothing there, or nothing to be done about it: Azure deletes an endpoint with its traffic as well.
        return
    if had_traffic:
        pace.sleep(seconds)


def _take_away(client: "MLClient", endpoint: str, pace: Pace) -> bool:
    """Whether there was traffic that is now gone."""
    tries: list[Split] = []

    def none_left() -> bool:
        found: Any = client.online_endpoints.get(endpoint)
        state, now = found.provisioning_state, _split_of(found)
        changeable = is_settled(state, found.scoring_uri)
        if now == NO_TRAFFIC or (not changeable and state in ("Deleting", *FINAL_FAILURES)):
            return True
        if changeable:
            tries.append(now)
            found.traffic, found.mirror_traffic = {}, {}
            write_endpoint(client.online_endpoints, found)
        return False

    pace.until(none_left, f"traffic of endpoint {endpoint} is not taken away, because the endpoint is busy,")
    return bool(tries)


class TrafficSplitProvider(AfterDeploymentsProvider):
    """Compares what is wanted with what is live; the live map is the endpoint's, as azure-native refreshed it."""

    def diff(self, _id: str, _olds: Props, _news: Props) -> DiffResult:
        # Also where what is wanted is live already: a run that was killed in between has not drained. And what is
        # recorded of the drain is what a later change, or the deletion, waits for.
        changes = _wants_other(_olds, _news) or differs(_olds.get("drainSeconds"), _news.get("drainSeconds"))
        values = [_news.get(key) for key in ("traffic", "mirrorTraffic", "liveTraffic", "liveMirrorTraffic")]
        # What is live is not known while the endpoint itself is about to change; what was wanted last time is.
        if not any(map(is_unknown, values)):
            changes = changes or Split.of(values[0], values[1]) != Split.of(values[2], values[3])
        return DiffResult(changes=changes, replaces=[])

    def create(self, props: Props) -> CreateResult:
        self.apply(props, NO_TRAFFIC)
        return CreateResult(f"{props['endpointName']}/traffic", props)

    def update(self, _id: str, _olds: Props, _news: Props) -> UpdateResult:
        # A shorter drain is for what comes; what loses its traffic now was deployed with the old request timeout.
        longest = max(float(props.get("drainSeconds") or 0) for props in (_olds, _news))
        self.apply({**_news, "drainSeconds": longest}, _wanted(_olds))
        return UpdateResult(_news)

    def delete(self, _id: str, _props: Props) -> None:
        """Takes the traffic away, since it goes with its endpoint, and drains."""
        drain(self.ml_client(_props), _props["endpointName"], float(_props.get("drainSeconds") or 0), Pace())

    def apply(self, props: Props, last: Split) -> None:
        """Waits for the deployments, grows those that take over, tests, moves the traffic, drains those that lost it.

        `last` is what this stack wanted before.
        """
        pace, client, endpoint = Pace(), self.ml_client(props), props["endpointName"]
        wanted, tests = _wanted(props), props.get("smokeTests") or {}
        scaled = {name.lower(): bounds for name, bounds in (props.get("autoscaled") or {}).items()}
        names = sorted({*props["provisioningStates"], *wanted.live, *wanted.mirror})
        wait_for_deployments(client.online_deployments, endpoint, names, pace, serving(props))

        def check(gaining: list[str]) -> list[str]:
            now = read_split(client, endpoint)
            # Nobody waits for the answer to a mirrored request; what was mirrored to may well take over now.
            for name in sorted((wanted.live.keys() - now.live.keys()) & scaled.keys()):
                grow(client, endpoint, name, scaled[name], pace, given_up(now.live, wanted.live))
            return smoke_failures(client, endpoint, tests, gaining, pace)

        before = apply_split(client, endpoint, wanted, pace, seen=_seen(props, last), check=check)
        if before.without_traffic_in(wanted) or last.without_traffic_in(wanted):
            pace.sleep(float(props.get("drainSeconds") or 0))


def _wanted(props: Props) -> Split:
    return Split.of(props.get("traffic"), props.get("mirrorTraffic"))


def _seen(props: Props, last: Split) -> list[Split]:
    """The splits that the preview knew of: the refreshed one, and what this stack set, which may be younger."""
    live = props.get("liveTraffic")
    return [] if live is None else [Split.of(live, props.get("liveMirrorTraffic")), last]


def _wants_other(olds: Props, news: Props) -> bool:
    wanted = [news.get(key) for key in ("traffic", "mirrorTraffic")]
    return not is_unknown(wanted) and _wanted(olds) != _wanted(news)


class TrafficSplit(Resource, module="azureml", name="TrafficSplit"):
    """The traffic split of an online endpoint, live and mirrored, by revision."""

    traffic: pulumi.Output[dict[str, float]]

    def __init__(self, name: str, *, inputs: dict[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(TrafficSplitProvider(), name, inputs, opts)
