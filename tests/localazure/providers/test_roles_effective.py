"""Layer: the program's wait for roles against a Local Azure in which they take time to be effective, as in Azure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from azure.core import PipelineClient

from dynamic.base import Pace
from dynamic.roles import wait_until_effective
from localazure.settings import Settings
from tests.localazure.providers.conftest import Cloud, FakeServing, booted
from tests.localazure.providers.test_permissions import READER, assign, deploy, storage

DELAY = 2.0


@pytest.fixture
def slow(tmp_path: Path, files: None) -> Iterator[Cloud]:
    """A cloud in which a role assignment takes a while to be effective."""
    with booted(tmp_path / "slow", FakeServing(), Settings(role_assignment_delay=DELAY)) as made:
        made.prepare()
        yield made


@dataclass
class Arm:
    """azure-core's client of the resource manager, which logs in over plain HTTP here."""

    cloud: Cloud
    client: Any

    def send_request(self, request: Any) -> Any:
        request.headers.update({"Authorization": f"Bearer {self.cloud.token}", "Host": "management.azure.com"})
        return self.client.send_request(request)


def test_after_the_programs_wait_the_role_is_effective(slow: Cloud) -> None:
    assign(slow, READER, storage(slow))
    scope = f"{storage(slow)}/providers/Microsoft.Authorization/roleAssignments"
    (assignment,) = slow.get(scope)["value"]
    host = str(slow.client.base_url).rstrip("/")
    wait_until_effective(Arm(slow, PipelineClient(host)), host, [assignment["id"]], DELAY, Pace())
    assert deploy(slow)["status"] == "Succeeded"
