"""The HTTP client: operations, retries, errors, and that nothing but this machine is ever reached."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from localazure.pulumi_plugin.arm import Arm, Tokens, Waits, local_access
from localazure.pulumi_plugin.errors import ArmError, Interrupted, NotLocalError
from tests.localazure.pulumi_plugin.fake_arm import GROUP, Answer, FakeArm

ID = f"{GROUP}/providers/Microsoft.Fake/things/thing"
QUERY = {"api-version": "2025-12-01"}
GOOD = {
    "IDENTITY_ENDPOINT": "http://127.0.0.1:1/msi",
    "IDENTITY_HEADER": "x",
    "HTTPS_PROXY": "http://127.0.0.1:2",
    "SSL_CERT_FILE": "/ca.pem",
}


def test_the_standard_variables_lead_through_the_proxy_to_azures_name() -> None:
    access = local_access(GOOD)

    assert access.arm_url == "https://management.azure.com"
    assert access.proxy == "http://127.0.0.1:2"
    assert access.certificates == "/ca.pem"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"IDENTITY_ENDPOINT": ""}, "IDENTITY_ENDPOINT is not set"),
        ({"IDENTITY_ENDPOINT": "http://169.254.169.254/metadata"}, "IDENTITY_ENDPOINT is 'http://169.254.169.254"),
        ({"HTTPS_PROXY": ""}, "HTTPS_PROXY is not set"),
        ({"HTTPS_PROXY": "http://proxy.example:3128"}, "not on this machine"),
        ({"https_proxy": "http://proxy.example:3128"}, "https_proxy is 'http://proxy.example"),
        ({"AZURE_NATIVE_LOCAL_ENDPOINT": "https://management.azure.com"}, "AZURE_NATIVE_LOCAL_ENDPOINT is"),
        ({"HTTPS_PROXY": "http://127.0.0.1.example.com:1"}, "not on this machine"),
    ],
)
def test_an_environment_that_leads_elsewhere_is_refused_with_the_way_out(change: dict[str, str], named: str) -> None:
    with pytest.raises(NotLocalError) as refusal:
        local_access(GOOD | change)

    assert named in str(refusal.value)
    assert 'eval "$(python -m localazure env)"' in str(refusal.value)


@pytest.mark.parametrize("operation", ["none", "async", "location", "state"])
def test_a_write_is_followed_to_its_end_whatever_form_the_operation_has(
    fake: FakeArm, arm: Arm, operation: str
) -> None:
    fake.operation = operation
    fake.polls = 3

    written = arm.put(ID, {"properties": {"a": 1}}, QUERY, long=True)

    assert written["properties"]["a"] == 1
    assert written["id"] == ID
    if operation != "none":
        assert len(fake.sent("GET")) > 3, "each look at the operation is a request"


@pytest.mark.parametrize("operation", ["none", "async", "location"])
def test_a_delete_is_followed_to_its_end_and_sends_the_api_version_only(
    fake: FakeArm, arm: Arm, operation: str
) -> None:
    arm.put(ID, {}, QUERY, long=False)
    fake.operation = operation

    arm.delete(ID, "2025-12-01", long=True)

    assert fake.resources == {}
    (delete,) = fake.sent("DELETE")
    assert delete.query == QUERY
    assert delete.body is None


@pytest.mark.parametrize("answer", [Answer(404, {"error": {"code": "ResourceNotFound"}}), Answer(204)])
def test_to_delete_what_is_not_there_is_a_success(fake: FakeArm, arm: Arm, answer: Answer) -> None:
    fake.faults["DELETE"] = [answer]

    arm.delete(ID, "2025-12-01", long=True)

    assert fake.sent("GET") == [], "there is no operation to follow"


@pytest.mark.parametrize("operation", ["async", "state"])
def test_an_operation_that_fails_says_why_and_that_something_may_be_there(
    fake: FakeArm, arm: Arm, operation: str
) -> None:
    fake.operation = operation
    fake.failure = {"code": "ResourceNotReady", "message": "User container has crashed"}

    with pytest.raises(ArmError) as failed:
        arm.put(ID, {"properties": {}}, QUERY, long=True)

    assert failed.value.accepted
    if operation == "async":
        assert str(failed.value) == 'Status=200 Code="ResourceNotReady" Message="User container has crashed"'


def test_a_refusal_carries_code_message_and_details(fake: FakeArm, arm: Arm) -> None:
    details = [{"code": "InferencingClientCallFailed", "message": "traffic is 110"}]
    error = {"error": {"code": "BadRequest", "message": "The request is invalid.", "details": details}}
    fake.faults["PUT"] = [Answer(400, error)]

    with pytest.raises(ArmError) as refused:
        arm.put(ID, {}, QUERY, long=True)

    assert str(refused.value) == 'Status=400 Code="BadRequest" Message="The request is invalid. traffic is 110"'
    assert not refused.value.accepted


LOST = Answer(0)
BUSY = Answer(409, {"error": {"code": "AnotherOperationInProgress", "message": "wait"}})


@pytest.mark.parametrize("answer", [Answer(429, headers={"Retry-After": "0"}), Answer(503), Answer(408), BUSY, LOST])
def test_what_may_pass_is_tried_again(fake: FakeArm, arm: Arm, answer: Answer) -> None:
    fake.faults["PUT"] = [answer] * 3

    arm.put(ID, {}, QUERY, long=False)

    assert len(fake.sent("PUT")) == 4


def test_what_does_not_pass_fails_after_four_attempts(fake: FakeArm, arm: Arm) -> None:
    fake.faults["PUT"] = [Answer(500, {"error": {"code": "InternalServerError", "message": "m"}})] * 4

    with pytest.raises(ArmError, match="InternalServerError") as refused:
        arm.put(ID, {}, QUERY, long=False)

    assert len(fake.sent("PUT")) == 4
    assert not refused.value.accepted


def test_a_connection_that_breaks_each_time_is_said(fake: FakeArm, arm: Arm) -> None:
    fake.faults["PUT"] = [LOST] * 4

    with pytest.raises(ArmError, match=r"does not answer PUT .*disconnected") as lost:
        arm.put(ID, {}, QUERY, long=False)

    assert len(fake.sent("PUT")) == 4
    assert lost.value.accepted, "Azure may have done what it did not answer any more"


def test_another_conflict_is_final(fake: FakeArm, arm: Arm) -> None:
    fake.faults["PUT"] = [Answer(409, {"error": {"code": "Conflict", "message": "Updating"}})]

    with pytest.raises(ArmError, match="Conflict"):
        arm.put(ID, {}, QUERY, long=False)

    assert len(fake.sent("PUT")) == 1


def test_azures_wish_to_wait_is_obeyed(fake: FakeArm, arm: Arm) -> None:
    fake.faults["PUT"] = [Answer(429, headers={"retry-after-ms": "300"})]
    before = time.monotonic()

    arm.put(ID, {}, QUERY, long=False)

    assert time.monotonic() - before >= 0.3, "without the header it would have been 0.005"


@pytest.fixture
def stoppable(fake: FakeArm) -> Iterator[tuple[Arm, threading.Event]]:
    access = local_access(fake.environment())
    tokens, stop = Tokens(access), threading.Event()
    arm = Arm(access, tokens, stop, Waits(poll=60))
    yield arm, stop
    arm.close()
    tokens.close()


def test_a_cancellation_ends_the_wait_at_once(fake: FakeArm, stoppable: Any) -> None:
    arm, stop = stoppable
    fake.operation = "state"
    fake.polls = 10**6
    fake.faults["GET"] = [Answer(200, {"properties": {"provisioningState": "Creating"}})]  # without a time to wait
    threading.Timer(0.05, stop.set).start()

    with pytest.raises(Interrupted) as interrupted:
        arm.put(ID, {"properties": {}}, QUERY, long=True)

    assert interrupted.value.accepted, "the resource may be there, and belongs into the state"


def test_the_time_allowed_for_a_resource_is_kept(fake: FakeArm, arm: Arm) -> None:
    fake.operation = "async"
    fake.polls = 10**6

    with pytest.raises(Interrupted, match="customTimeouts"):
        arm.put(ID, {}, QUERY, long=True, timeout=0.05)


def test_a_token_is_fetched_once_and_sent_with_every_request(fake: FakeArm, arm: Arm) -> None:
    arm.put(ID, {}, QUERY, long=False)
    arm.get(ID, "2025-12-01")

    assert {request.headers["authorization"][:10] for request in fake.requests} == {"Bearer e30"}


def test_a_wrong_identity_header_is_reported(fake: FakeArm) -> None:
    access = local_access(fake.environment() | {"IDENTITY_HEADER": "wrong"})
    tokens = Tokens(access)

    with pytest.raises(ArmError, match="wrong X-IDENTITY-HEADER"):
        tokens.get()

    tokens.close()


def test_with_local_azure_down_the_error_says_how_to_start_it() -> None:
    closed = {**GOOD, "AZURE_NATIVE_LOCAL_ENDPOINT": "http://127.0.0.1:1"}
    tokens = Tokens(local_access(closed))

    with pytest.raises(ArmError, match=r"Local Azure does not answer.*start Local Azure"):
        tokens.get()

    tokens.close()


def test_an_empty_answer_means_that_there_is_nothing(fake: FakeArm, arm: Arm) -> None:
    fake.faults["GET"] = [Answer(200), Answer(204), Answer(403, {"error": {"code": "Forbidden", "message": "no"}})]

    assert not arm.exists(ID, "2025-12-01")
    assert not arm.exists(ID, "2025-12-01")
    with pytest.raises(ArmError, match="cannot check existence of resource"):
        arm.exists(ID, "2025-12-01")
