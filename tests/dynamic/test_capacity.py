"""Layer: how many instances a new revision starts with, against a fake of azure-ai-ml."""

from typing import Any

import pytest
from pulumi.output import Unknown

from dynamic.base import Refusal
from dynamic.capacity import StartingCapacityProvider, starting_count

INPUTS = {
    "endpointName": "e",
    "deployment": "blue",
    "revision": "blue-1a2b3c4d",
    "instanceCount": 2.0,
    "least": 1.0,
    "most": 8.0,
}


def serve(client: Any, traffic: dict[str, int], counts: dict[str, int]) -> None:
    client.online_endpoints.found.traffic = traffic
    client.online_deployments.counts = counts


def live(client: Any) -> dict[str, int]:
    return {name: share for name, share in client.online_endpoints.get("e").traffic.items() if share}


def test_a_new_revision_starts_with_as_many_instances_as_the_live_one_has(client: Any) -> None:
    serve(client, {"blue-9f8e7d6c": 100}, {"blue-9f8e7d6c": 6})
    assert starting_count(client, INPUTS) == 6


@pytest.mark.parametrize(("live", "starts"), [(1, 3), (3, 3), (8, 8), (20, 8)])
def test_a_new_revision_stays_within_the_bounds(live: int, starts: int, client: Any) -> None:
    serve(client, {"blue-9f8e7d6c": 100}, {"blue-9f8e7d6c": live})
    assert starting_count(client, {**INPUTS, "least": 3.0}) == starts


@pytest.mark.parametrize(
    "traffic",
    [
        {},
        {"green-9f8e7d6c": 100},
        {"blue-green-9f8e7d6c": 100},
        {"blue-deadbeef-9f8e7d6c": 100},
        {"blue": 100},
        {"blue-9f8e7d6c": 0},
    ],
)
def test_without_a_live_revision_of_its_own_it_starts_as_configured(traffic: dict[str, int], client: Any) -> None:
    serve(client, traffic, dict.fromkeys(traffic, 6))
    assert starting_count(client, INPUTS) == 2


def test_of_several_live_revisions_the_one_with_most_of_the_traffic_counts(client: Any) -> None:
    serve(client, {"blue-9f8e7d6c": 30, "blue-00000000": 70}, {"blue-9f8e7d6c": 3, "blue-00000000": 7})
    assert starting_count(client, INPUTS) == 7


def test_a_deployment_is_found_whatever_the_case_of_its_name(client: Any) -> None:
    serve(client, {"blue-9f8e7d6c": 100}, {"blue-9f8e7d6c": 6})
    assert starting_count(client, {**INPUTS, "deployment": "Blue"}) == 6, "azure-ai-ml lower-cases traffic"


def test_an_endpoint_or_a_revision_that_is_not_there_has_no_instances(client: Any) -> None:
    serve(client, {"blue-9f8e7d6c": 100}, {"blue-9f8e7d6c": 6})
    client.online_deployments.deleted = ["blue-9f8e7d6c"]
    assert starting_count(client, INPUTS) == 2
    client.online_endpoints.gone = True
    assert starting_count(client, INPUTS) == 2


def test_going_back_to_an_earlier_commit_takes_the_count_over_from_the_newer_revision(client: Any) -> None:
    serve(client, {"blue-9f8e7d6c": 100}, {"blue-9f8e7d6c": 5, "blue-1a2b3c4d": 1})
    assert starting_count(client, INPUTS) == 5


@pytest.fixture
def asking(client: Any, monkeypatch: pytest.MonkeyPatch) -> StartingCapacityProvider:
    made = StartingCapacityProvider()
    monkeypatch.setattr(made, "ml_client", lambda props: client)
    return made


def test_it_is_asked_before_the_revision_is_made(client: Any, asking: StartingCapacityProvider) -> None:
    serve(client, {"blue-9f8e7d6c": 100}, {"blue-9f8e7d6c": 6})
    made = asking.create(dict(INPUTS))
    assert made.id == "e/blue-1a2b3c4d/capacity"
    assert made.outs == {**INPUTS, "startingCount": 6}


def test_a_revision_that_was_not_made_at_night_starts_at_noon_with_what_the_live_one_has_then(
    client: Any, asking: StartingCapacityProvider
) -> None:
    serve(client, {"blue-9f8e7d6c": 100}, {"blue-9f8e7d6c": 2})
    night = asking.create(dict(INPUTS)).outs or {}
    client.online_deployments.counts = {"blue-9f8e7d6c": 7}
    noon = {**INPUTS, "liveTraffic": {"blue-9f8e7d6c": 100.0}}
    result = asking.diff("id", night, noon)
    assert (result.changes, result.replaces) == (True, [])
    assert (asking.update("id", night, noon).outs or {})["startingCount"] == 7


BOUNDS = {"deployment": "blue", "least": 1.0, "most": 8.0}


def split_inputs(**more: Any) -> dict[str, Any]:
    own = {"traffic": {"blue-1a2b3c4d": 100.0}, "provisioningStates": {"blue-1a2b3c4d": "Succeeded"}}
    return {"endpointName": "e", "autoscaled": {"blue-1a2b3c4d": BOUNDS}, **own, **more}


@pytest.mark.parametrize(("own", "live", "grown"), [(2, 6, 6), (2, 20, 8), (6, 2, 6), (3, 3, 3)])
def test_a_revision_that_was_made_small_is_grown_before_it_takes_over(
    own: int, live: int, grown: int, client: Any, provider: Any
) -> None:
    serve(client, {"blue-9f8e7d6c": 100}, {"blue-9f8e7d6c": live, "blue-1a2b3c4d": own})
    seen: list[int] = []
    client.online_endpoints.hooks = [lambda: seen.append(client.online_deployments.counts["blue-1a2b3c4d"])]
    provider.create(split_inputs())
    assert seen == [grown], "before its traffic, and never fewer"
    assert client.online_endpoints.get("e").traffic["blue-1a2b3c4d"] == 100


def test_a_revision_is_grown_whatever_the_case_of_its_name(client: Any, provider: Any) -> None:
    serve(client, {"blue-9f8e7d6c": 100}, {"blue-9f8e7d6c": 6})
    named = {"Blue-1a2b3c4d": {**BOUNDS, "deployment": "Blue"}}
    provider.create(split_inputs(autoscaled=named))
    assert client.online_deployments.counts["blue-1a2b3c4d"] == 6, "a split has lower-case names"


GREEN = {**BOUNDS, "deployment": "green"}


def switch_inputs(traffic: dict[str, int], mirror: dict[str, int] | None = None) -> dict[str, Any]:
    """A split over revisions of blue and green, both of which autoscale grows."""
    revisions = {"blue-9f8e7d6c": BOUNDS, "blue-1a2b3c4d": BOUNDS, "green-1a2b3c4d": GREEN}
    wanted = [*traffic, *(mirror or {})]
    own = {"traffic": traffic, "mirrorTraffic": mirror, "provisioningStates": dict.fromkeys(wanted, "Succeeded")}
    return split_inputs(autoscaled={name: revisions[name] for name in wanted if name in revisions}, **own)


@pytest.mark.parametrize(("blue", "own", "grown"), [(6, 1, 6), (20, 1, 8), (2, 4, 4)])
def test_a_deployment_that_takes_over_from_another_is_grown_first(
    blue: int, own: int, grown: int, client: Any, provider: Any
) -> None:
    serve(client, {"blue-9f8e7d6c": 100}, {"blue-9f8e7d6c": blue, "green-1a2b3c4d": own})
    seen: list[int] = []
    client.online_endpoints.hooks = [lambda: seen.append(client.online_deployments.counts["green-1a2b3c4d"])]
    provider.create(switch_inputs({"green-1a2b3c4d": 100}))
    assert seen == [grown], "before blue's traffic comes, and never fewer"


def test_of_several_deployments_that_give_their_traffic_up_the_largest_counts(client: Any, provider: Any) -> None:
    traffic = {"blue-9f8e7d6c": 20, "red-9f8e7d6c": 70, "handmade": 10}
    serve(client, traffic, {"blue-9f8e7d6c": 2, "red-9f8e7d6c": 3, "handmade": 5})
    provider.create(switch_inputs({"green-1a2b3c4d": 100}))
    assert client.online_deployments.counts["green-1a2b3c4d"] == 5


def test_a_deployment_whose_own_next_revision_takes_over_makes_no_other_grow(client: Any, provider: Any) -> None:
    counts = {"blue-9f8e7d6c": 6, "blue-1a2b3c4d": 6, "green-9f8e7d6c": 1, "green-1a2b3c4d": 1}
    serve(client, {"blue-9f8e7d6c": 90, "green-9f8e7d6c": 10}, dict(counts))
    provider.create(switch_inputs({"blue-1a2b3c4d": 90, "green-1a2b3c4d": 10}))
    assert client.online_deployments.counts == counts


def test_a_new_deployment_beside_one_that_goes_on_is_not_grown(client: Any, provider: Any) -> None:
    serve(client, {"blue-9f8e7d6c": 100}, {"blue-9f8e7d6c": 6, "green-1a2b3c4d": 1})
    provider.create(switch_inputs({"blue-9f8e7d6c": 90, "green-1a2b3c4d": 10}))
    assert client.online_deployments.counts["green-1a2b3c4d"] == 1, "its share is autoscale's to follow"


def test_mirrored_traffic_makes_nothing_grow_until_it_becomes_live(client: Any, provider: Any) -> None:
    counts = client.online_deployments.counts
    serve(client, {"blue-9f8e7d6c": 100}, counts)
    counts |= {"blue-9f8e7d6c": 6}
    provider.create(switch_inputs({"blue-9f8e7d6c": 100}, {"blue-1a2b3c4d": 10}))
    assert "blue-1a2b3c4d" not in counts, "nobody waits for the answers"
    provider.create(switch_inputs({"blue-1a2b3c4d": 100}))
    assert counts["blue-1a2b3c4d"] == 6


def test_a_revision_that_was_deleted_meanwhile_has_no_instances_to_take_over(client: Any, provider: Any) -> None:
    serve(client, {"blue-9f8e7d6c": 100}, {"blue-9f8e7d6c": 6})
    client.online_deployments.deleted = ["blue-9f8e7d6c"]
    provider.create(switch_inputs({"green-1a2b3c4d": 100}))
    assert live(client) == {"green-1a2b3c4d": 100}


def test_only_what_autoscale_has_grown_is_taken_over(client: Any, provider: Any) -> None:
    counts = {"blue-9f8e7d6c": 6, "blue-1a2b3c4d": 2}
    serve(client, {"blue-9f8e7d6c": 100}, dict(counts))
    provider.create(split_inputs(autoscaled={}))
    assert client.online_deployments.counts == counts


def test_growing_waits_for_a_busy_endpoint(client: Any, provider: Any, refusal: Any) -> None:
    serve(client, {"blue-9f8e7d6c": 100}, {"blue-9f8e7d6c": 6})
    client.online_deployments.refusals = [refusal(409, "Conflict")] * 3
    provider.create(split_inputs())
    assert client.online_deployments.counts["blue-1a2b3c4d"] == 6


def test_a_revision_that_cannot_be_grown_gets_no_traffic(client: Any, provider: Any, refusal: Any) -> None:
    serve(client, {"blue-9f8e7d6c": 100}, {"blue-9f8e7d6c": 6})
    client.online_deployments.refusals = [refusal(400, "Not enough quota.")]
    with pytest.raises(Refusal, match=r"not scaled to 6 instances.*Not enough quota\. The traffic is as it was; lower"):
        provider.create(split_inputs())
    assert not client.online_endpoints.puts


@pytest.mark.parametrize(
    "news",
    [
        {**INPUTS, "instanceCount": 4.0},
        {**INPUTS, "liveTraffic": Unknown()},
        {**INPUTS, "liveTraffic": {}},
        {**INPUTS, "liveTraffic": {"green-9f8e7d6c": 100.0, "blue-9f8e7d6c": 0.0}},
        {**INPUTS, "liveTraffic": {"blue-1a2b3c4d": 100.0}},
        {**INPUTS, "liveTraffic": {"blue-1a2b3c4d": 90.0, "blue-9f8e7d6c": 10.0}},
        {**INPUTS, "least": 5.0, "most": Unknown()},
        {**INPUTS, "endpointName": Unknown()},
        {**INPUTS, "__provider": "another pickle"},
    ],
)
def test_it_is_not_asked_again_without_another_revision_to_take_over_from(news: dict[str, Any]) -> None:
    result = StartingCapacityProvider().diff("id", {**INPUTS, "startingCount": 6.0}, news)
    assert (result.changes, result.replaces) == (False, [])
