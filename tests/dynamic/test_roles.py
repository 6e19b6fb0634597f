"""Layer: the wait for roles, against answers as ARM gives them, and its provider without Pulumi."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pulumi.output import Unknown

from dynamic.base import Pace, Refusal
from dynamic.login import Login
from dynamic.roles import RoleDefinedProvider, RolesEffectiveProvider, wait_until_defined, wait_until_effective
from tests.dynamic.conftest import Clock

BLOBS, IMAGES = "/subscriptions/s/blobs", "/subscriptions/s/images"
ROLE = "/subscriptions/s/role"
# Azure's clock, which is an hour ahead of everybody's here.
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass
class Answer:
    """One answer of ARM's."""

    status_code: int
    content: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        return self.content

    def raise_for_status(self) -> None:
        assert self.status_code == 200


@dataclass
class Arm:
    """ARM's role assignments: when each was made, and when it is listed, in seconds after noon."""

    clock: Clock
    created: dict[str, float]
    listed: dict[str, float] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def send_request(self, request: Any) -> Answer:
        path = request.url.partition("?")[0].removeprefix("https://arm")
        self.asked.append(path)
        now = NOON + timedelta(seconds=self.clock.now)
        if self.clock.now < self.listed.get(path, 0):
            return Answer(404)
        created = NOON + timedelta(seconds=self.created[path])
        # Azure writes seven digits of a second.
        text = created.strftime("%Y-%m-%dT%H:%M:%S.%f0Z")
        headers = {"Date": format_datetime(now, usegmt=True)}
        return Answer(200, {"properties": {"createdOn": text}}, headers)


def test_the_wait_ends_when_the_youngest_assignment_is_old_enough(clock: Clock, pace: Pace) -> None:
    clock.now = 100
    wait_until_effective(Arm(clock, {BLOBS: 10, IMAGES: 90}), "https://arm", [BLOBS, IMAGES], 120, pace)
    assert clock.now == 210


def test_what_is_old_enough_is_not_waited_for(clock: Clock, pace: Pace) -> None:
    clock.now = 1000
    wait_until_effective(Arm(clock, {BLOBS: 10, IMAGES: 90}), "https://arm", [BLOBS, IMAGES], 120, pace)
    assert clock.now == 1000


def test_an_assignment_is_waited_for_until_azure_lists_it(clock: Clock, pace: Pace) -> None:
    arm = Arm(clock, {BLOBS: 0, IMAGES: 0}, listed={IMAGES: 40})
    wait_until_effective(arm, "https://arm", [BLOBS, IMAGES], 0, pace)
    assert clock.now >= 40
    assert arm.asked.count(IMAGES) > 2


def test_an_assignment_that_never_comes_is_named(clock: Clock, pace: Pace) -> None:
    arm = Arm(clock, {IMAGES: 0}, listed={IMAGES: 10_000})
    with pytest.raises(Refusal, match=f"role assignment {IMAGES} is not there after 600 s"):
        wait_until_effective(arm, "https://arm", [IMAGES], 120, pace)


def test_without_assignments_there_is_nothing_to_wait_for(clock: Clock, pace: Pace) -> None:
    wait_until_effective(Arm(clock, {}), "https://arm", [], 120, pace)
    assert clock.now == 0


@pytest.mark.parametrize(
    ("changed", "waits"),
    [
        ({}, False),
        ({"seconds": 60.0}, False),
        ({"assignments": [{"id": BLOBS, "createdOn": "later"}]}, True),
        ({"assignments": [{"id": IMAGES, "createdOn": "then"}]}, True),
        ({"assignments": Unknown()}, False),
        ({"assignments": [{"id": BLOBS, "createdOn": Unknown()}]}, False),
    ],
)
def test_it_waits_again_for_an_assignment_that_is_another_or_was_made_anew(
    changed: dict[str, Any], waits: bool
) -> None:
    olds = {"assignments": [{"id": BLOBS, "createdOn": "then"}], "seconds": 120.0, "__provider": "a"}
    result = RolesEffectiveProvider().diff("id", olds, {**olds, **changed, "__provider": "b"})
    assert (result.changes, result.replaces) == (waits, [])


def test_the_provider_waits_for_the_assignments_that_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[tuple[Any, ...]] = []
    monkeypatch.setattr("dynamic.roles.arm_client", lambda login: f"client in {login.cloud.name}")
    monkeypatch.setattr("dynamic.roles.wait_until_effective", lambda *arguments: waited.append(arguments[:4]))
    provider = RolesEffectiveProvider()
    provider.login = Login.read(lambda _: None, {})
    props = {"assignments": [{"id": BLOBS, "createdOn": "then"}], "seconds": 120.0}
    made = provider.create(props)
    provider.update(str(made.id), props, {**props, "assignments": [{"id": IMAGES, "createdOn": "now"}]})
    arm = ("client in AzureCloud", "https://management.azure.com")
    assert waited == [(*arm, [BLOBS], 120.0), (*arm, [IMAGES], 120.0)]


# Custom roles --------------------------------------------------------------------------------------------------------


@dataclass
class Replicas:
    """ARM as several that answer, one of which hears of a role definition later than the others."""

    clock: Clock
    last: float
    asked: int = 0

    def send_request(self, request: Any) -> Answer:
        assert request.url.startswith(f"https://arm{ROLE}?")
        self.asked += 1
        return Answer(404 if self.asked % 3 == 0 and self.clock.now < self.last else 200)


def test_a_custom_role_is_waited_for_until_whoever_answers_has_it(clock: Clock, pace: Pace) -> None:
    wait_until_defined(Replicas(clock, last=70), "https://arm", ROLE, 30, pace)
    assert 90 <= clock.now < 120, "found for half a minute without a gap"


def test_a_custom_role_is_asked_for_again_though_there_is_no_time_to_wait(clock: Clock, pace: Pace) -> None:
    arm = Replicas(clock, last=0)
    wait_until_defined(arm, "https://arm", ROLE, 0, pace)
    assert arm.asked == 2
    assert clock.now < 1


def test_a_custom_role_that_never_comes_is_named(clock: Clock, pace: Pace) -> None:
    with pytest.raises(Refusal, match=f"role definition {ROLE} is not there after 600 s"):
        wait_until_defined(Replicas(clock, last=10_000), "https://arm", ROLE, 30, pace)


@pytest.mark.parametrize(
    ("changed", "waits"),
    [
        ({}, False),
        ({"seconds": 1.0}, False),
        ({"definition": {"id": ROLE, "createdOn": "later"}}, True),
        ({"definition": Unknown()}, False),
    ],
)
def test_it_waits_again_for_a_custom_role_that_was_made_anew(changed: dict[str, Any], waits: bool) -> None:
    olds = {"definition": {"id": ROLE, "createdOn": "then"}, "seconds": 30.0, "__provider": "a"}
    result = RoleDefinedProvider().diff("id", olds, {**olds, **changed, "__provider": "b"})
    assert (result.changes, result.replaces) == (waits, [])


def test_the_provider_waits_for_the_custom_role_that_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[tuple[Any, ...]] = []
    monkeypatch.setattr("dynamic.roles.arm_client", lambda login: "client")
    monkeypatch.setattr("dynamic.roles.wait_until_defined", lambda *arguments: waited.append(arguments[:4]))
    provider = RoleDefinedProvider()
    provider.login = Login.read(lambda _: None, {})
    props = {"definition": {"id": ROLE, "createdOn": "then"}, "seconds": 30.0}
    made = provider.create(props)
    provider.update(str(made.id), props, {**props, "seconds": 0.0})
    assert waited == [("client", "https://management.azure.com", ROLE, seconds) for seconds in (30.0, 0.0)]
