"""Layer: the traffic split; the client function against a fake endpoint, and the provider's diff and check."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from azure.core.exceptions import ServiceResponseError
from hypothesis import given
from hypothesis import strategies as st
from pulumi.output import Unknown

from dynamic.base import Pace, Refusal
from dynamic.default_deployment import DefaultDeploymentProvider, apply_default
from dynamic.traffic import NO_TRAFFIC, Split, TrafficSplitProvider, apply_split, drain
from dynamic.wait import EndpointReadyProvider, wait_for_deployments, wait_until_settled

WANTED = Split.of({"blue-1": 90.0, "green-1": 10.0}, {})
MIRRORED = Split.of({"blue-1": 100}, {"green-1": 50})
# As Azure words it, under either status.
BUSY = "Cannot update endpoint e because it is in Updating provisioning state."
SHARES = st.dictionaries(st.sampled_from(["blue-1", "green-1", "amber-1"]), st.integers(0, 100))


def live(client: Any) -> dict[str, int]:
    return {name: share for name, share in client.online_endpoints.get("e").traffic.items() if share}


def test_the_split_is_applied_and_what_was_live_is_returned(client: Any, pace: Pace) -> None:
    before = apply_split(client, "e", WANTED, pace)
    assert live(client) == {"blue-1": 90, "green-1": 10}
    assert before == Split({}, {})
    assert all(isinstance(share, int) for put in client.online_endpoints.puts for share in put.values())


def test_mirrored_traffic_becomes_live_in_one_write_and_back(client: Any, pace: Pace) -> None:
    for split in (MIRRORED, WANTED, MIRRORED, NO_TRAFFIC):
        apply_split(client, "e", split, pace)
        found = client.online_endpoints.get("e")
        assert Split.of(found.traffic, found.mirror_traffic) == split
    puts = zip(client.online_endpoints.puts, client.online_endpoints.mirrors, strict=True)
    assert list(puts) == [(dict(each.live), dict(each.mirror)) for each in (MIRRORED, WANTED, MIRRORED, NO_TRAFFIC)]


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


def by_hand(client: Any, live: dict[str, int], mirror: dict[str, int] | None = None) -> None:
    """What somebody else does in the portal."""
    client.online_endpoints.found.traffic, client.online_endpoints.found.mirror_traffic = live, mirror or {}


def refusing(error: Exception, then: Callable[[], None] = lambda: None) -> Callable[[], None]:
    """A PUT that is refused while somebody else is at work, with what they do."""

    def hook() -> None:
        then()
        raise error

    return hook


@pytest.mark.parametrize("status", [400, 409])
def test_the_split_waits_while_somebody_else_changes_the_endpoint(
    status: int, client: Any, pace: Pace, refusal: Any
) -> None:
    client.online_endpoints.hooks = [refusing(refusal(status, BUSY)), refusing(refusal(status, BUSY))]
    apply_split(client, "e", WANTED, pace)
    assert live(client) == dict(WANTED.live)


def test_what_somebody_else_changed_of_the_endpoint_meanwhile_is_kept(client: Any, pace: Pace, refusal: Any) -> None:
    def tag() -> None:
        client.online_endpoints.found.tags = {"owner": "somebody else"}

    client.online_endpoints.hooks = [refusing(refusal(409, BUSY), tag)]
    apply_split(client, "e", WANTED, pace)
    assert client.online_endpoints.get("e").tags == {"owner": "somebody else"}


@pytest.mark.parametrize(("live_now", "mirror"), [({"green-1": 100}, {}), ({"blue-1": 100}, {"green-1": 20})])
def test_a_split_that_somebody_else_sets_meanwhile_is_left_and_said(
    live_now: dict[str, int], mirror: dict[str, int], client: Any, pace: Pace, refusal: Any
) -> None:
    client.online_endpoints.hooks = [refusing(refusal(409, BUSY), lambda: by_hand(client, live_now, mirror))]
    with pytest.raises(Refusal, match=rf"somebody else has set it to {next(iter(live_now))} 100 %.*left as it is"):
        apply_split(client, "e", WANTED, pace)
    assert live(client) == live_now
    assert not client.online_endpoints.puts


def test_a_split_that_failed_and_that_somebody_else_has_replaced_is_left_to_them(client: Any, pace: Pace) -> None:
    apply_split(client, "e", WANTED, pace)
    broken = RuntimeError("the operation broke")
    client.online_endpoints.hooks = [refusing(broken, lambda: by_hand(client, {"amber-1": 100}))]
    with pytest.raises(Refusal, match=r"broke It is now amber-1 100 %, as somebody else has set it"):
        apply_split(client, "e", Split.of({"green-1": 100}, {}), pace)
    assert live(client) == {"amber-1": 100}


def test_an_endpoint_that_stays_busy_is_given_up_with_the_old_split_in_force(
    client: Any, pace: Pace, refusal: Any
) -> None:
    apply_split(client, "e", WANTED, pace)
    client.online_endpoints.hooks = [refusing(refusal(409, BUSY))] * 1000
    said = rf"still under way after 600 s.*Azure's last answer: {re.escape(BUSY)}.*old split hold"
    with pytest.raises(Refusal, match=said):
        apply_split(client, "e", MIRRORED, pace)
    assert live(client) == dict(WANTED.live)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (400, "bad weights"),
        (409, "ScopeLocked: the scope is locked"),
        (409, "MissingSubscriptionRegistration: not registered"),
        (409, "There is already an endpoint with this name"),
    ],
)
def test_a_refusal_that_no_waiting_removes_is_said_at_once(
    status: int, text: str, client: Any, clock: Any, pace: Pace, refusal: Any
) -> None:
    client.online_endpoints.hooks = [refusing(refusal(status, text))]
    with pytest.raises(Refusal, match=rf"{text}.*The old split holds: no deployment"):
        apply_split(client, "e", WANTED, pace)
    assert clock.now < 60


def test_an_operation_that_succeeds_while_its_answer_is_lost_has_succeeded(client: Any, pace: Pace) -> None:
    client.online_endpoints.delay = 20

    def lost() -> None:
        client.online_endpoints._effective = (20.0, dict(WANTED.live), {})
        raise ServiceResponseError("connection aborted")

    client.online_endpoints.hooks = [lost]
    assert apply_split(client, "e", WANTED, pace) == NO_TRAFFIC
    assert live(client) == dict(WANTED.live)


def test_the_old_split_is_put_back_while_somebody_else_is_at_work(client: Any, pace: Pace, refusal: Any) -> None:
    apply_split(client, "e", MIRRORED, pace)
    endpoints = client.online_endpoints
    endpoints.fail = [RuntimeError("the operation broke")]
    endpoints.hooks = [lambda: None, refusing(refusal(409, BUSY))]
    with pytest.raises(Refusal, match=r"The old split holds: blue-1 100 % \(mirrored to green-1 50 %\)"):
        apply_split(client, "e", WANTED, pace)
    assert (live(client), endpoints.get("e").mirror_traffic) == ({"blue-1": 100}, {"green-1": 50})


def test_a_change_by_hand_since_the_preview_is_not_overwritten(client: Any, pace: Pace) -> None:
    by_hand(client, {"green-1": 100})
    with pytest.raises(Refusal, match="somebody else has set it to green-1 100 % since this run read it"):
        apply_split(client, "e", WANTED, pace, seen=[Split.of({"blue-1": 100}, {}), NO_TRAFFIC])
    assert live(client) == {"green-1": 100}
    apply_split(client, "e", WANTED, pace, seen=[Split.of({"green-1": 100}, {})])
    assert live(client) == dict(WANTED.live), "the next preview has shown it"


def test_nothing_is_moved_when_a_deployment_that_gains_traffic_fails_its_check(client: Any, pace: Pace) -> None:
    apply_split(client, "e", Split.of({"blue-1": 100}, {}), pace)
    asked: list[list[str]] = []

    def check(gaining: list[str]) -> list[str]:
        asked.append(gaining)
        return [f"deployment {name}: no good" for name in gaining]

    split = Split.of({"blue-1": 90, "amber-1": 10}, {"green-1": 10})
    with pytest.raises(Refusal, match=r"as it was: blue-1 100 %\.\n.*amber-1: no good\n.*green-1: no good\n"):
        apply_split(client, "e", split, pace, check=check)
    assert asked == [["amber-1", "green-1"]], "blue has traffic already, and a mirrored one counts"
    assert live(client) == {"blue-1": 100}
    assert len(client.online_endpoints.puts) == 1


# The end -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [WANTED, MIRRORED])
def test_an_endpoint_that_goes_is_drained_first(split: Split, client: Any, clock: Any, pace: Pace) -> None:
    apply_split(client, "e", split, pace)
    before = clock.now
    drain(client, "e", 35, pace)
    found = client.online_endpoints.get("e")
    assert Split.of(found.traffic, found.mirror_traffic) == NO_TRAFFIC
    assert clock.now - before >= 35, "requests that are under way come to an end"


def test_an_endpoint_without_traffic_goes_at_once(client: Any, clock: Any, pace: Pace) -> None:
    drain(client, "e", 35, pace)
    assert clock.now == 0
    assert not client.online_endpoints.puts


def test_what_is_gone_already_is_drained(client: Any, clock: Any, pace: Pace) -> None:
    client.online_endpoints.gone = True
    drain(client, "e", 35, pace)
    assert clock.now == 0


def test_an_endpoint_that_vanishes_while_it_is_drained_is_drained(client: Any, clock: Any, pace: Pace) -> None:
    apply_split(client, "e", WANTED, pace)
    before = clock.now

    def vanish() -> None:
        client.online_endpoints.gone = True

    client.online_endpoints.delay = 20
    client.online_endpoints.hooks = [vanish]
    drain(client, "e", 35, pace)
    assert clock.now - before < 35


@pytest.mark.parametrize("state", ["Failed", "Canceled", "Deleting"])
def test_an_endpoint_that_cannot_be_changed_does_not_hold_up_its_own_deletion(
    state: str, client: Any, clock: Any, pace: Pace
) -> None:
    by_hand(client, {"blue-1": 100})
    client.online_endpoints.found.provisioning_state, client.online_endpoints.found.scoring_uri = state, None
    drain(client, "e", 35, pace)
    assert clock.now == 0


def test_a_broken_deployment_does_not_hold_up_the_deletion_of_its_endpoint(
    client: Any, clock: Any, pace: Pace, refusal: Any
) -> None:
    by_hand(client, {"blue-1": 100})
    broken = refusal(400, "Specified deployment [blue-1] failed during initial provisioning")
    client.online_endpoints.hooks = [refusing(broken)]
    drain(client, "e", 35, pace)
    assert clock.now == 0


def test_draining_waits_for_somebody_else_and_takes_away_what_they_set(client: Any, pace: Pace, refusal: Any) -> None:
    by_hand(client, {"blue-1": 100})
    client.online_endpoints.hooks = [refusing(refusal(409, BUSY), lambda: by_hand(client, {"green-1": 100}))]
    drain(client, "e", 0, pace)
    assert not live(client)


def test_an_endpoint_that_stays_busy_is_not_deleted_undrained(client: Any, pace: Pace, refusal: Any) -> None:
    by_hand(client, {"blue-1": 100})
    client.online_endpoints.hooks = [refusing(refusal(409, BUSY))] * 1000
    with pytest.raises(Refusal, match="traffic of endpoint e is not taken away, because the endpoint is busy"):
        drain(client, "e", 35, pace)


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
        (news(mirrorTraffic={"green-1": 10.0}), True),
        (news(mirrorTraffic={"green-1": 10.0}, liveMirrorTraffic={"green-1": 10}), True),
        (news(smokeTests={"blue-1": {"request": "r.json"}}, provisioningStates={"blue-1": "Updating"}), False),
        (news(liveTraffic={"blue-1": 100, "green-1": 0}), False),
        (news(__provider="another pickle"), False),
        # What is recorded is what a later change, or the deletion, waits for.
        (news(drainSeconds=5), True),
        (news(drainSeconds=Unknown()), False),
        (news(liveTraffic=Unknown()), False),
        (news(liveMirrorTraffic=Unknown()), False),
        (news(traffic=Unknown()), False),
        (news(mirrorTraffic=Unknown(), liveTraffic=Unknown()), False),
        (news(liveTraffic=Unknown(), traffic={"green-1": 100.0}), True),
        (news(liveMirrorTraffic=Unknown(), mirrorTraffic={"green-1": 10.0}), True),
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


def inputs_of(traffic: dict[str, float], **values: Any) -> dict[str, Any]:
    return {"endpointName": "e", "provisioningStates": {}, "traffic": traffic, **values}


@pytest.mark.parametrize(("old", "new"), [(300.0, 30.0), (30.0, 300.0), (None, 300.0)])
def test_an_update_drains_as_long_as_the_longer_of_the_old_and_the_new_timeout(
    old: float | None, new: float, client: Any, clock: Any, pace: Pace, provider: TrafficSplitProvider
) -> None:
    apply_split(client, "e", WANTED, pace)
    inputs, before = inputs_of({"green-1": 100.0}), clock.now
    result = provider.update("id", {**inputs, "drainSeconds": old}, {**inputs, "drainSeconds": new})
    assert clock.now - before >= 300, "blue may still be at work on requests that were sent to it under the old one"
    assert result.outs == {**inputs, "drainSeconds": new}


def test_a_run_that_was_killed_before_it_had_drained_drains_the_next_time(
    client: Any, clock: Any, provider: TrafficSplitProvider
) -> None:
    by_hand(client, {"green-1": 100})
    recorded = inputs_of({"blue-1": 100.0}, liveTraffic={"blue-1": 100}, drainSeconds=35.0)
    wanted = inputs_of({"green-1": 100.0}, liveTraffic={"green-1": 100}, drainSeconds=35.0)
    assert provider.diff("id", recorded, wanted).changes, "else the old revision would go with requests under way"
    provider.update("id", recorded, wanted)
    assert clock.now >= 35
    assert not client.online_endpoints.puts
    assert not provider.diff("id", wanted, wanted).changes


def test_a_split_that_its_stack_gives_up_is_drained(client: Any, clock: Any, provider: TrafficSplitProvider) -> None:
    by_hand(client, {"blue-1": 100})
    provider.delete("id", inputs_of({"blue-1": 100.0}, drainSeconds=35.0))
    assert not live(client)
    assert clock.now >= 35


def test_the_provider_leaves_a_split_that_nobody_has_seen_before(client: Any, provider: TrafficSplitProvider) -> None:
    by_hand(client, {"green-1": 100})
    recorded = inputs_of({"blue-1": 100.0})
    with pytest.raises(Refusal, match="somebody else has set it to green-1 100 %"):
        provider.update("id", recorded, inputs_of(dict(WANTED.live), liveTraffic={"blue-1": 100}))
    provider.update("id", recorded, inputs_of(dict(WANTED.live), liveTraffic={"green-1": 100}))
    assert live(client) == dict(WANTED.live)


def test_what_this_stack_set_itself_is_known_without_a_refresh(client: Any, provider: TrafficSplitProvider) -> None:
    by_hand(client, {"blue-1": 100})
    # The endpoint's recorded traffic is from before the split was applied.
    provider.update("id", inputs_of({"blue-1": 100.0}), inputs_of(dict(WANTED.live), liveTraffic={}))
    assert live(client) == dict(WANTED.live)


# Revisions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["Failed", "Canceled"])
@pytest.mark.parametrize("split", [{"traffic": {"green-1": 100.0}}, {"mirrorTraffic": {"green-1": 10.0}}])
def test_a_revision_that_did_not_come_up_never_gets_traffic(
    split: dict[str, Any], state: str, client: Any, provider: TrafficSplitProvider
) -> None:
    by_hand(client, {"blue-1": 100})
    client.online_deployments.states = {"green-1": ["Creating", state]}
    # Not among the states either: what a split names is looked at in any case.
    news = {**inputs_of({"blue-1": 100.0}), **split}
    with pytest.raises(Refusal, match=rf'green-1 of endpoint e is {state}: .*raise "attempt" of deployment "green"'):
        provider.create(news)
    assert live(client) == {"blue-1": 100}
    assert not client.online_endpoints.puts


@pytest.mark.parametrize("state", ["Creating", "Updating", "Scaling"])
def test_a_revision_gets_traffic_only_when_it_is_finished(
    state: str, client: Any, clock: Any, provider: TrafficSplitProvider
) -> None:
    client.online_deployments.states = {"green-1": [state] * 10 + ["Succeeded"]}
    client.online_endpoints.hooks = [lambda: finished.append(len(client.online_deployments.states["green-1"]))]
    finished: list[int] = []
    provider.create(inputs_of({"green-1": 100.0}))
    assert finished == [1], "all that is left to be read is that it has succeeded"


def test_a_revision_that_never_finishes_never_gets_traffic(client: Any, provider: TrafficSplitProvider) -> None:
    client.online_deployments.states = {"green-1": ["Creating"]}
    with pytest.raises(Refusal, match="deployment green-1 of endpoint e is not Succeeded after 600 s"):
        provider.create(inputs_of({"green-1": 100.0}))
    assert not client.online_endpoints.puts


def test_a_revision_that_somebody_deleted_is_said_to_be_gone(client: Any, provider: TrafficSplitProvider) -> None:
    client.online_deployments.deleted = ["green-1"]
    with pytest.raises(Refusal, match="deployment green-1 of endpoint e is gone: somebody has deleted it"):
        provider.create(inputs_of({"green-1": 100.0}))


def test_going_back_to_an_earlier_commit_moves_the_traffic_back_and_drains_the_newer_revision(
    client: Any, clock: Any, provider: TrafficSplitProvider
) -> None:
    older, newer = {"blue-1a2b3c4d": 100.0}, {"blue-9f8e7d6c": 100.0}
    by_hand(client, {"blue-9f8e7d6c": 100})
    recorded = inputs_of(newer, drainSeconds=35.0, provisioningStates={"blue-9f8e7d6c": "Succeeded"})
    # The earlier revision is another deployment again; the newer one is no longer in the program, and goes afterwards.
    states = {"blue-1a2b3c4d": "Succeeded"}
    again = inputs_of(older, liveTraffic=newer, drainSeconds=35.0, provisioningStates=states)
    result = provider.diff("id", recorded, again)
    assert (result.changes, result.replaces) == (True, [])
    provider.update("id", recorded, again)
    assert live(client) == {"blue-1a2b3c4d": 100}
    assert clock.now >= 35


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


def test_the_default_deployment_waits_while_somebody_else_changes_the_endpoint(
    client: Any, pace: Pace, refusal: Any
) -> None:
    client.batch_endpoints.refusals = [refusal(409, BUSY), refusal(400, BUSY)]
    apply_default(client, "b", "mlflow-1", pace)
    assert client.batch_endpoints.get("b").defaults.deployment_name == "mlflow-1"


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
