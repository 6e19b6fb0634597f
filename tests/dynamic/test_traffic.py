"""Layer: the traffic split; the client function against a fake endpoint, and the provider's diff and check."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulumi.output import Unknown

from dynamic.base import Pace, Refusal
from dynamic.default_deployment import DefaultDeploymentProvider, apply_default
from dynamic.traffic import Split, TrafficSplitProvider, apply_split
from dynamic.wait import EndpointReadyProvider, wait_for_deployments, wait_until_settled

WANTED = Split.of({"blue-1": 90.0, "green-1": 10.0}, {})
SHARES = st.dictionaries(st.sampled_from(["blue-1", "green-1", "amber-1"]), st.integers(0, 100))


def live(client: Any) -> dict[str, int]:
    return {name: share for name, share in client.online_endpoints.get("e").traffic.items() if share}


def test_the_split_is_applied_and_what_was_live_is_returned(client: Any, pace: Pace) -> None:
    before = apply_split(client, "e", WANTED, pace)
    assert live(client) == {"blue-1": 90, "green-1": 10}
    assert before == Split({}, {})
    assert all(isinstance(share, int) for put in client.online_endpoints.puts for share in put.values())


def test_a_split_that_is_live_already_is_not_put_again(client: Any, pace: Pace) -> None:
    apply_split(client, "e", WANTED, pace)
    apply_split(client, "e", WANTED, pace)
    assert len(client.online_endpoints.puts) == 1


def test_applying_returns_only_when_the_new_map_is_live(client: Any, pace: Pace) -> None:
    client.online_endpoints.delay = 20
    apply_split(client, "e", WANTED, pace)
    assert live(client) == dict(WANTED.live), "Azure's answer to the PUT still shows the old map"


def test_a_split_that_fails_half_way_is_put_back(client: Any, pace: Pace) -> None:
    apply_split(client, "e", WANTED, pace)
    client.online_endpoints.fail = [RuntimeError("the operation broke")]
    with pytest.raises(
        Refusal, match=r"cannot set green-1 100 %: the operation broke The old split holds: blue-1 90 %"
    ):
        apply_split(client, "e", Split.of({"green-1": 100}, {}), pace)
    assert live(client) == {"blue-1": 90, "green-1": 10}


def test_a_split_that_cannot_be_put_back_is_named_for_doing_it_by_hand(client: Any, pace: Pace) -> None:
    apply_split(client, "e", WANTED, pace)
    client.online_endpoints.fail = [RuntimeError("broke"), RuntimeError("broke again")]
    with pytest.raises(
        Refusal, match=r"Nor can the old split be put back \(broke again\); set it by hand: blue-1 90 %"
    ):
        apply_split(client, "e", Split.of({"green-1": 100}, {}), pace)


def test_after_a_split_that_failed_the_next_one_succeeds(client: Any, pace: Pace) -> None:
    client.online_endpoints.found.provisioning_state = "Failed"
    apply_split(client, "e", WANTED, pace)
    assert live(client) == dict(WANTED.live), "only a failed first creation is final"
    assert client.online_endpoints.get("e").provisioning_state == "Succeeded"


def test_a_put_that_leaves_the_endpoint_failed_has_not_succeeded(client: Any, pace: Pace) -> None:
    client.batch_endpoints.after_put = "Failed"
    with pytest.raises(Refusal, match="endpoint b is Failed: its last change failed, and it still serves"):
        apply_default(client, "b", "mlflow-1", pace)


@pytest.mark.parametrize("state", ["Failed", "Canceled"])
def test_only_an_endpoint_whose_creation_failed_is_to_be_deleted(client: Any, pace: Pace, state: str) -> None:
    client.online_endpoints.found.provisioning_state = state
    wait_until_settled(client, "online", "e", pace)
    client.online_endpoints.found.scoring_uri = None
    with pytest.raises(Refusal, match=f"endpoint e is {state}: delete it"):
        wait_until_settled(client, "online", "e", pace)


def test_the_split_waits_for_an_endpoint_that_is_busy(client: Any, pace: Pace) -> None:
    client.online_endpoints.delay = 30
    client.online_endpoints.begin_create_or_update(client.online_endpoints.get("e"))
    apply_split(client, "e", WANTED, pace)
    assert live(client) == dict(WANTED.live)


def test_waiting_ends_and_says_what_it_waited_for(client: Any, pace: Pace) -> None:
    client.online_endpoints.found.provisioning_state = "Updating"
    with pytest.raises(Refusal, match="endpoint e is not Succeeded after 600 s"):
        apply_split(client, "e", WANTED, pace)


@given(one=SHARES, other=SHARES)
def test_two_splits_are_the_same_whatever_their_order_zeroes_and_number_types(
    one: dict[str, int], other: dict[str, int]
) -> None:
    shuffled = {name.upper(): float(share) for name, share in reversed(one.items())}
    assert Split.of(one, {}) == Split.of(shuffled, None)
    strip = {name: share for name, share in one.items() if share} == {n: s for n, s in other.items() if s}
    assert (Split.of(one, {}) == Split.of(other, {})) == strip


@given(one=SHARES, other=SHARES)
def test_only_a_loss_of_all_traffic_asks_for_draining(one: dict[str, int], other: dict[str, int]) -> None:
    lost = Split.of(one, {}).without_traffic_in(Split.of(other, {}))
    assert lost == {name for name, share in one.items() if share and not other.get(name)}


def news(**values: Any) -> dict[str, Any]:
    return {"traffic": {"blue-1": 100.0}, "mirrorTraffic": {}, "liveTraffic": {"blue-1": 100}, **values}


@pytest.mark.parametrize(
    ("inputs", "changes"),
    [
        (news(), False),
        (news(liveTraffic={"blue-1": 60, "green-1": 40}), True),
        (news(traffic={"green-1": 100.0}), True),
        (news(liveMirrorTraffic={"green-1": 10}), True),
        (news(liveTraffic={"blue-1": 100, "green-1": 0}), False),
        (news(__provider="another pickle", drainSeconds=5), False),
        (news(liveTraffic=Unknown()), False),
        (news(liveTraffic=Unknown(), traffic={"green-1": 100.0}), True),
    ],
)
def test_a_change_is_a_difference_between_what_is_wanted_and_what_is_live(
    inputs: dict[str, Any], changes: bool
) -> None:
    result = TrafficSplitProvider().diff("id", news(), inputs)
    assert result.changes is changes
    assert not result.replaces, "a split is never replaced"


def test_a_deployment_that_azure_gave_up_is_refused_with_the_way_out() -> None:
    states = {"blue-3fb2a9c1": "Failed", "green-1": "Succeeded", "amber-1": Unknown()}
    (failure,) = TrafficSplitProvider().check({}, news(provisioningStates=states)).failures
    assert "deployment blue-3fb2a9c1 is Failed: " in failure.reason
    assert 'raise "attempt" of deployment "blue"' in failure.reason


@pytest.mark.parametrize(
    "inputs", [{"liveTraffic": {"blue-1": 90.0, "green-1": 0.0}}, {"liveDeploymentName": "blue-1"}]
)
def test_a_deployment_that_serves_was_created_so_its_last_change_is_to_be_put_back(inputs: dict[str, Any]) -> None:
    states = {"blue-1": "Failed", "green-1": "Failed"}
    blue, green = TrafficSplitProvider().check({}, {**inputs, "provisioningStates": states}).failures
    way_out = 'put back what was changed last (instanceCount, requestSettings), or raise "attempt" of deployment'
    assert blue.reason.startswith(f'deployment blue-1 is Failed: {way_out} "blue"')
    assert green.reason.startswith("deployment green-1 is Failed: correct its model, code or environment, put back")
    assert not any("creation failed" in failure.reason for failure in (blue, green)), "which is not known"


def test_what_is_live_but_not_known_yet_counts_as_not_serving() -> None:
    inputs = news(liveTraffic=Unknown(), liveDeploymentName=Unknown(), provisioningStates={"blue-1": "Failed"})
    (failure,) = TrafficSplitProvider().check({}, inputs).failures
    assert "correct its model" in failure.reason


@pytest.mark.parametrize(("old", "new"), [(300.0, 30.0), (30.0, 300.0), (None, 300.0)])
def test_an_update_drains_as_long_as_the_longer_of_the_old_and_the_new_timeout(
    old: float | None, new: float, client: Any, clock: Any, pace: Pace, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply_split(client, "e", WANTED, pace)
    monkeypatch.setattr("dynamic.traffic.Pace", lambda: pace)
    provider = TrafficSplitProvider()
    monkeypatch.setattr(provider, "ml_client", lambda props: client)
    inputs = {"endpointName": "e", "provisioningStates": {}, "traffic": {"green-1": 100.0}}
    before = clock.now
    result = provider.update("id", {**inputs, "drainSeconds": old}, {**inputs, "drainSeconds": new})
    assert clock.now - before >= 300, "blue may still be at work on requests that were sent to it under the old one"
    assert result.outs == {**inputs, "drainSeconds": new}


def test_deployments_under_way_are_waited_for_and_failed_ones_refused(client: Any, pace: Pace) -> None:
    client.online_deployments.states = {
        "blue-1": ["Creating", "Creating", "Succeeded"],
        "green-1": ["Updating", "Failed"],
    }
    wait_for_deployments(client.online_deployments, "e", ["blue-1"], pace)
    with pytest.raises(Refusal, match=r'deployment green-1 of endpoint e is Failed: .*raise "attempt"'):
        wait_for_deployments(client.online_deployments, "e", ["green-1"], pace)


def test_the_default_deployment_is_moved_once(client: Any, pace: Pace) -> None:
    apply_default(client, "b", "mlflow-1", pace)
    apply_default(client, "b", "mlflow-1", pace)
    assert client.batch_endpoints.get("b").defaults.deployment_name == "mlflow-1"
    assert client.batch_endpoints.puts == 1


@pytest.mark.parametrize(
    ("live_now", "changes"), [("mlflow-1", False), ("custom-1", True), ("", True), (Unknown(), False)]
)
def test_a_default_is_compared_with_the_live_one(live_now: Any, changes: bool) -> None:
    inputs = {"deploymentName": "mlflow-1", "liveDeploymentName": live_now}
    result = DefaultDeploymentProvider().diff("id", {"deploymentName": "mlflow-1"}, inputs)
    assert (result.changes, result.replaces) == (changes, [])


@pytest.mark.parametrize(
    ("state", "scoring_uri", "changes"),
    [
        ("Succeeded", "https://e/score", False),
        ("Updating", "https://e/score", True),
        ("Failed", "https://e/score", False),
        ("Failed", None, True),
        (Unknown(), "https://e/score", False),
        ("Failed", Unknown(), False),
    ],
)
def test_an_endpoint_is_waited_for_again_when_a_refresh_saw_it_busy(
    state: Any, scoring_uri: Any, changes: bool
) -> None:
    inputs = {"provisioningState": state, "scoringUri": scoring_uri}
    assert EndpointReadyProvider().diff("id", {}, inputs).changes is changes
