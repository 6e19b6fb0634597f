"""Layer: how many instances a new revision starts with, against a fake of azure-ai-ml."""

from typing import Any

import pytest
from pulumi.output import Unknown

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


def test_it_is_asked_once_and_whole(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(client, {"blue-9f8e7d6c": 100}, {"blue-9f8e7d6c": 6})
    provider = StartingCapacityProvider()
    monkeypatch.setattr(provider, "ml_client", lambda props: client)
    made = provider.create(dict(INPUTS))
    assert made.id == "e/blue-1a2b3c4d/capacity"
    assert made.outs == {**INPUTS, "startingCount": 6}


@pytest.mark.parametrize(
    "news",
    [
        {**INPUTS, "instanceCount": 4.0},
        {**INPUTS, "least": 5.0, "most": Unknown()},
        {**INPUTS, "endpointName": Unknown()},
        {**INPUTS, "__provider": "another pickle"},
    ],
)
def test_nothing_changes_it_afterwards(news: dict[str, Any]) -> None:
    result = StartingCapacityProvider().diff("id", {**INPUTS, "startingCount": 6.0}, news)
    assert (result.changes, result.replaces) == (False, [])
