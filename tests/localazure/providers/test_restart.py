"""What a restart of Local Azure brings back: deployments as they were, and updates that were under way."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.localazure.providers.conftest import Cloud, FakeServing, booted, until

pytestmark = pytest.mark.usefixtures("files")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def variables(serving: FakeServing) -> list[str | None]:
    return [spec.environment_variables.get("V") for spec in serving.history]


def blue(cloud: Cloud) -> str:
    return f"{cloud.endpoint()}/deployments/blue"


def prepare(cloud: Cloud) -> None:
    """The endpoint with the deployment blue, whose variable V is 1."""
    cloud.prepare()
    cloud.put(cloud.endpoint(), cloud.endpoint_body())
    cloud.put(blue(cloud), cloud.deployment_body(environmentVariables={"V": "1"}))


def test_an_update_that_a_restart_interrupts_is_done_after_what_served_before(home: Path) -> None:
    first, second = FakeServing(), FakeServing()
    with booted(home, first) as cloud:
        prepare(cloud)
        first.gate.clear()
        cloud.send("PUT", blue(cloud), cloud.deployment_body(environmentVariables={"V": "2"}))
    first.gate.set()
    with booted(home, second) as cloud:
        until(lambda: cloud.get(blue(cloud))["properties"]["provisioningState"] == "Succeeded", "the update ends")
        assert cloud.get(blue(cloud))["properties"]["environmentVariables"]["V"] == "2"
        assert variables(second) == ["1", "2"], "the old document serves until the new one does, and the new one stays"


def test_a_deployment_whose_update_failed_comes_back_as_it_was(home: Path) -> None:
    first, second = FakeServing(), FakeServing()
    with booted(home, first) as cloud:
        prepare(cloud)
        first.broken.add("blue")
        cloud.wait(cloud.send("PUT", blue(cloud), cloud.deployment_body(environmentVariables={"V": "2"})))
        assert cloud.get(blue(cloud))["properties"]["provisioningState"] == "Failed"
    with booted(home, second) as cloud:
        until(lambda: cloud.serving.routed[0].deployments == ("blue",), "blue is routed to")
        assert variables(second) == ["1"]
        assert cloud.get(blue(cloud))["properties"]["provisioningState"] == "Failed", "its update did fail"


def test_a_deployment_that_does_not_come_back_says_so_and_is_tried_again_at_the_next_start(home: Path) -> None:
    with booted(home, FakeServing()) as cloud:
        prepare(cloud)
    with booted(home, FakeServing(broken={"blue"})) as cloud:
        until(lambda: cloud.get(blue(cloud))["properties"]["provisioningState"] == "Failed", "the loss is stored")
        body = cloud.deployment_body(environmentVariables={"V": "2"})
        assert cloud.send("PUT", blue(cloud), body).status_code == 201, "it was created once, so it can be updated"
    with booted(home, FakeServing()) as cloud:
        until(lambda: cloud.get(blue(cloud))["properties"]["provisioningState"] == "Succeeded", "blue is back")


def test_a_key_whose_change_a_restart_interrupts_is_changed_after_it(home: Path) -> None:
    with booted(home, FakeServing()) as cloud:
        cloud.prepare()
        cloud.put(cloud.endpoint(), cloud.endpoint_body())
        release = threading.Event()
        cloud.serving.route = lambda routes: release.wait(30) and None  # pyright: ignore[reportAttributeAccessIssue]
        body = {"keyType": "Primary", "keyValue": "new-key"}
        assert cloud.send("POST", f"{cloud.endpoint()}/regenerateKeys", body).status_code == 202
        cloud.azure._cloud.operations.stop()
        release.set()
    with booted(home, FakeServing()) as cloud:
        keys = f"{cloud.endpoint()}/listKeys"
        until(lambda: cloud.send("POST", keys).json()["primaryKey"] == "new-key", "the operation is taken up")
        until(lambda: cloud.serving.routed[0].keys[0] == "new-key", "and requests with the new key are let in")
