"""The provider under the real Pulumi CLI, against a fake ARM: what a user sees of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from localazure.pulumi_plugin.install import install
from localazure.tools import cache_dir
from tests.localazure.pulumi_plugin.fake_arm import WORKSPACE, FakeArm

BIN = cache_dir() / "bin"
ENDPOINT_ID = f"{WORKSPACE}/onlineEndpoints/ep"

pytestmark = [
    pytest.mark.end_to_end,
    # The story drives the same plugin by the same CLI in every test run.
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("pulumi", path=f"{BIN}:{os.environ['PATH']}") is None, reason="no Pulumi CLI: run make up first"
    ),
]

# No SDK of azure-native: its import takes seconds, and what a program sends is the same.
PROGRAM = """
    import pulumi

    config = pulumi.Config()
    version = pulumi.ResourceOptions(version="3.29.0")

    def azure(kind, name, *, after=(), **properties):
        options = pulumi.ResourceOptions(version="3.29.0", depends_on=after)
        return pulumi.CustomResource(f"azure-native:{kind}", name, properties, options)

    class Group(pulumi.CustomResource):
        name: pulumi.Output[str]

        def __init__(self):
            properties = {"resourceGroupName": "rg", "name": None}
            super().__init__("azure-native:resources:ResourceGroup", "rg", properties, version)

    class Endpoint(pulumi.CustomResource):
        properties: pulumi.Output[dict]

        def __init__(self, group, identity):
            properties = {
                "resourceGroupName": group.name,
                "workspaceName": "ws",
                "endpointName": "ep",
                "location": config.get("place") or "eastus",
                "tags": {"owner": config.require_secret("owner")},
                "identity": {"type": "UserAssigned", "userAssignedIdentities": [identity.id]},
                "properties": {"authMode": "Key", "description": config.get("text") or "first"},
            }
            super().__init__("azure-native:machinelearningservices:OnlineEndpoint", "ep", properties, version)

    group = Group()
    identity = azure("managedidentity:UserAssignedIdentity", "id", resourceGroupName=group.name)
    endpoint = Endpoint(group, identity)
    pulumi.export("uri", endpoint.properties["scoringUri"])
"""


class Pulumi:
    """The CLI in a folder of its own."""

    def __init__(self, folder: Path, arm: FakeArm) -> None:
        self.folder = folder
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PULUMI_")},
            **arm.environment(),
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PATH": f"{BIN}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def __call__(self, *arguments: str, fails: bool = False) -> str:
        """Runs a command; what it printed."""
        ran = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        output = ran.stdout + ran.stderr
        assert (ran.returncode != 0) == fails, output
        return output if fails else ran.stdout

    def interrupt(self, arguments: list[str], when: Callable[[], object]) -> None:
        """Starts a command, and presses Ctrl-C once `when` holds."""
        with subprocess.Popen(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as running:
            while not when() and running.poll() is None:
                time.sleep(0.05)
            running.send_signal(signal.SIGINT)

    def changes(self) -> dict[str, Any]:
        """The preview's steps that do something, by type: operation and paths."""
        steps = json.loads(self("preview", "--json"))["steps"]
        return {
            step["urn"].split("::")[2]: (step["op"], sorted(step.get("detailedDiff") or {}))
            for step in steps
            if step["op"] != "same"
        }


@pytest.fixture
def pulumi(tmp_path: Path, fake: FakeArm) -> Iterator[Pulumi]:
    fake.operation = "async"
    fake.computed = _as_azure_answers
    (tmp_path / "state").mkdir()
    (tmp_path / "Pulumi.yaml").write_text("name: test\nruntime: python\n")
    (tmp_path / "__main__.py").write_text(textwrap.dedent(PROGRAM))
    install(tmp_path / "home")
    pulumi = Pulumi(tmp_path, fake)
    pulumi("stack", "init", "dev")
    pulumi("config", "set", "azure-native:location", "eastus")
    pulumi("config", "set", "--secret", "owner", "hush-hush")
    yield pulumi
    left = [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path / "home") in " ".join(p.info["cmdline"] or ())]
    assert not left, "every plugin ends with its engine"


def _assert_secret(state: str) -> None:
    assert "hush-hush" not in state
    (endpoint,) = [r for r in json.loads(state)["deployment"]["resources"] if r["type"].endswith("OnlineEndpoint")]
    assert "ciphertext" in endpoint["inputs"]["tags"]["owner"]
    assert "ciphertext" in endpoint["outputs"]["tags"]["owner"]


def _as_azure_answers(resource: dict[str, Any]) -> None:
    properties = resource.setdefault("properties", {})
    if "authMode" in properties:
        properties["scoringUri"] = "https://ep/score"
        properties.setdefault("traffic", {})
        identities = resource["identity"]["userAssignedIdentities"]
        resource["identity"]["userAssignedIdentities"] = {
            id: {"clientId": "c", "principalId": "p"} for id in identities
        }


def test_a_stack_comes_up_stays_as_it_is_shows_what_changes_and_goes(pulumi: Pulumi, fake: FakeArm) -> None:
    assert {operation for operation, _ in pulumi.changes().values()} == {"create"}
    assert fake.sent("PUT") == []

    pulumi("up", "--yes", "--skip-preview")

    assert json.loads(pulumi("stack", "output", "--json")) == {"uri": "https://ep/score"}
    endpoint = fake.resources[ENDPOINT_ID.lower()]
    assert list(endpoint["identity"]["userAssignedIdentities"]) == [
        resource["id"] for id, resource in fake.resources.items() if "userassignedidentities" in id
    ]
    assert endpoint["tags"] == {"owner": "hush-hush"}
    pulumi("preview", "--expect-no-changes")
    _assert_secret(pulumi("stack", "export"))

    pulumi("config", "set", "text", "second")
    type = "azure-native:machinelearningservices:OnlineEndpoint"
    assert pulumi.changes() == {type: ("update", ["properties.description"])}
    pulumi("config", "set", "place", "westus")
    assert pulumi.changes()[type][0] == "replace"
    pulumi("up", "--yes", "--skip-preview")
    writes = [request.method for request in fake.requests if request.path == ENDPOINT_ID and request.method != "GET"]
    assert writes == ["PUT", "DELETE", "PUT"], "what is named by hand is deleted before it is created anew"
    assert fake.resources[ENDPOINT_ID.lower()]["location"] == "westus"

    pulumi("destroy", "--yes", "--skip-preview")

    assert fake.resources == {}


def test_drift_is_found_by_a_refresh_and_undone_by_the_next_update(pulumi: Pulumi, fake: FakeArm) -> None:
    pulumi("up", "--yes", "--skip-preview")
    fake.resources[ENDPOINT_ID.lower()]["properties"]["description"] = "by hand"

    pulumi("refresh", "--yes", "--skip-preview")

    type = "azure-native:machinelearningservices:OnlineEndpoint"
    assert pulumi.changes() == {type: ("update", ["properties.description"])}
    pulumi("up", "--yes", "--skip-preview")
    assert fake.resources[ENDPOINT_ID.lower()]["properties"]["description"] == "first"

    del fake.resources[ENDPOINT_ID.lower()]
    pulumi("refresh", "--yes", "--skip-preview")
    assert pulumi.changes()[type][0] == "create"


def test_a_failed_creation_is_reported_and_the_resource_is_not_forgotten(pulumi: Pulumi, fake: FakeArm) -> None:
    fake.failure = {"code": "ResourceNotReady", "message": "User container has crashed"}

    output = pulumi("up", "--yes", "--skip-preview", fails=True)

    assert "User container has crashed" in output
    assert ENDPOINT_ID in pulumi("stack", "export")
    fake.failure = None
    pulumi("up", "--yes", "--skip-preview")
    pulumi("destroy", "--yes", "--skip-preview")
    assert fake.resources == {}


def test_after_ctrl_c_during_a_creation_the_next_update_goes_on(pulumi: Pulumi, fake: FakeArm) -> None:
    fake.polls = 10**6

    pulumi.interrupt(
        ["up", "--yes", "--skip-preview"],
        when=lambda: any(request.path == ENDPOINT_ID for request in fake.sent("PUT")),
    )

    assert ENDPOINT_ID in pulumi("stack", "export"), "what has been started in Azure must not be lost"
    fake.polls = 1
    pulumi("up", "--yes", "--skip-preview")
    pulumi("preview", "--expect-no-changes")


def test_what_exists_outside_of_the_stack_is_refused_and_can_be_imported(pulumi: Pulumi, fake: FakeArm) -> None:
    group = WORKSPACE.split("/providers/")[0]
    fake.resources[group.lower()] = {"id": group, "name": "rg", "location": "eastus", "type": "t"}

    refused = pulumi("up", "--yes", "--skip-preview", fails=True)
    assert "cannot create already existing resource" in refused

    pulumi("import", "azure-native:resources:ResourceGroup", "rg", group, "--yes", "--generate-code=false")
    pulumi("up", "--yes", "--skip-preview")
    assert ENDPOINT_ID.lower() in fake.resources


def test_a_mistake_in_the_inputs_fails_the_preview(pulumi: Pulumi) -> None:
    program = (pulumi.folder / "__main__.py").read_text()
    (pulumi.folder / "__main__.py").write_text(program.replace('"authMode": "Key"', '"autMode": "Key"'))

    output = pulumi("preview", fails=True)

    assert "missing required property 'properties.authMode'" in output
    assert "did you mean 'properties.authMode'?" in output
