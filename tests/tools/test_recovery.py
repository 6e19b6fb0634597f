"""What a killed pulumi leaves: its lock is freed, its processes are ended, its half-made resources are taken in."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from tools import recovery

SLEEP = "import sys; print(flush=True); sys.stdin.read()"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "PULUMI_BACKEND_URL": f"file://{tmp_path}/state", "PULUMI_HOME": str(tmp_path / "home")}


@contextmanager
def process(environment: dict[str, str], *argv: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has started, and ends with this block at the latest."""
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, env=environment, stdin=pipe, stdout=pipe, text=True) as running:
        assert running.stdout
        running.stdout.readline()
        yield running
        running.communicate("")


def lock(environment: dict[str, str], pid: int, *, host: str | None = None, stack: str = "local") -> Path:
    folder = recovery.bookkeeping(environment)
    assert folder
    file = folder / "locks" / "organization" / "project" / stack / "a1.json"
    file.parent.mkdir(parents=True)
    now = datetime.now(UTC).isoformat()
    file.write_text(json.dumps({"pid": pid, "hostname": host or socket.gethostname(), "timestamp": now}))
    return file


def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    return gone.pid


def test_the_lock_of_a_dead_pulumi_is_freed(environment: dict[str, str]) -> None:
    file = lock(environment, dead_pid())
    recovery.free_dead_locks("local", environment)
    assert not file.exists()


def test_the_lock_of_another_stack_is_left_alone(environment: dict[str, str]) -> None:
    file = lock(environment, dead_pid(), stack="dev")
    recovery.free_dead_locks("local", environment)
    assert file.exists()


def test_a_number_that_another_program_has_now_counts_as_dead(environment: dict[str, str]) -> None:
    file = lock(environment, os.getpid())
    recovery.free_dead_locks("local", environment)
    assert not file.exists(), "this process is a pytest, not a pulumi"


@pytest.mark.skipif(sys.platform == "darwin", reason="a script has its interpreter's name there")
def test_a_pulumi_that_is_at_work_is_waited_for(
    environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "pulumi"
    program.write_text("#!/bin/sh\necho\nread line\n")
    program.chmod(0o755)
    with process(environment, program) as engine:
        file = lock(environment, engine.pid)
        waiter = threading.Thread(target=recovery.free_dead_locks, args=("local", environment))
        waiter.start()
        waiter.join(0.5)
        assert waiter.is_alive()
        assert file.exists()
        file.unlink()  # as it does when it has ended
        waiter.join(30)
        assert not waiter.is_alive()
    assert f"process {engine.pid}" in capsys.readouterr().out


def test_a_lock_of_another_machine_is_not_judged(environment: dict[str, str]) -> None:
    file = lock(environment, 1, host="elsewhere")
    with pytest.raises(recovery.RecoveryError, match=r"elsewhere.*pulumi cancel"):
        recovery.free_dead_locks("local", environment)
    assert file.exists()


def test_a_lock_that_cannot_be_read_is_freed(environment: dict[str, str]) -> None:
    file = lock(environment, 1)
    file.write_text("{")
    recovery.free_dead_locks("local", environment)
    assert not file.exists()


def test_what_was_half_written_is_removed_and_what_is_whole_is_kept(environment: dict[str, str]) -> None:
    folder = recovery.bookkeeping(environment)
    assert folder
    whole = ["stacks/project/local.json", "stacks/project/local.json.bak", "history/project/local/local-1.history.json"]
    torn = ["stacks/project/local.json.attrs", "locks/organization/project/local/a2.json.attrs", "meta.yaml.attrs"]
    drafts = [
        "stacks/project/local.json.18ea6e8c9a52b5cd.tmp",
        "locks/organization/project/local/a.18ea6e8c9a52b5cd.tmp",
    ]
    others = ["stacks/project/dev.json.18ea6e8c9a52b5cd.tmp", "locks/organization/project/dev/a3.json.attrs"]
    for name in (*whole, *torn, *drafts, *others):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("" if name in (*torn, *drafts, *others) else "{}")
    (folder / f"{whole[1]}.attrs").write_text("{}")
    recovery.free_dead_locks("local", environment)
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()) == sorted(
        [*whole, *others, f"{whole[1]}.attrs"]
    )


def test_state_in_a_service_is_not_looked_into(environment: dict[str, str], tmp_path: Path) -> None:
    elsewhere = {**environment, "PULUMI_BACKEND_URL": "https://example.invalid"}
    assert recovery.bookkeeping(elsewhere) is None
    assert recovery.checkpoint(tmp_path, "local", elsewhere) is None


@pytest.fixture
def child(tmp_path: Path) -> Path:
    """A script that is called as a plugin is, and goes on until it is ended."""
    file = tmp_path / "bin" / "pulumi-resource-azure-native"
    file.parent.mkdir()
    file.write_text("#!/bin/sh\necho\nread line\n")
    file.chmod(0o755)
    return file


def test_what_a_dead_engine_started_is_ended(environment: dict[str, str], child: Path) -> None:
    with process(environment, child, "127.0.0.1:1") as orphan:
        assert recovery.end_orphans(environment) == 1
        assert not psutil.pid_exists(orphan.pid)


@pytest.mark.parametrize(
    ("command", "ours"),
    [
        ("/cache/bin/pulumi-language-python -root=/clone 127.0.0.1:1", True),
        ("/clone/.venv/bin/python -u -m pulumi.dynamic 127.0.0.1:1", True),
        ("/usr/bin/python3.13 -P -m localazure.pulumi_plugin serve", True),
        ("/bin/sh /cache/bin/pulumi-resource-pulumi-python 127.0.0.1:1", True),
        ("/clone/.venv/bin/python /cache/bin/pulumi-language-python-exec --monitor 127.0.0.1:1", True),
        ("tail -f pulumi-resource-notes.log", False),
        ("vim pulumi-language-notes.md", False),
        ("/usr/bin/python -m pytest pulumi.dynamic", False),
        ("/usr/bin/python -c pass pulumi-resource-azure-native", False),
        ("grep -m pulumi.dynamic", False),
        ("/usr/bin/python -m", False),
        ("/usr/bin/python", False),
        ("", False),
    ],
)
def test_a_child_is_known_by_the_program_that_runs_not_by_what_it_names(command: str, ours: bool) -> None:
    assert recovery._is_child(command.split()) is ours


def test_a_bystander_that_only_names_a_plugin_lives_on(environment: dict[str, str], tmp_path: Path) -> None:
    notes = tmp_path / "pulumi-resource-notes.log"
    notes.write_text("a line\n")
    with process(environment, "tail", "-f", notes) as bystander:
        assert recovery.end_orphans(environment) == 0
        assert bystander.poll() is None
        bystander.kill()


def test_processes_of_another_pulumi_home_live_on(environment: dict[str, str], child: Path) -> None:
    other = {**environment, "PULUMI_HOME": f"{environment['PULUMI_HOME']}-other"}
    with process(other, child) as somebodys:
        assert recovery.end_orphans(environment) == 0
        assert somebodys.poll() is None


def test_without_a_folder_of_states_no_process_is_touched(environment: dict[str, str], child: Path) -> None:
    elsewhere = {**environment, "PULUMI_BACKEND_URL": "https://example.invalid"}
    with process(elsewhere, child) as somebodys:
        assert recovery.end_orphans(elsewhere) == 0, "other backends look after themselves"
        assert somebodys.poll() is None


def test_a_shell_with_the_variables_of_local_azure_lives_on(environment: dict[str, str]) -> None:
    with process(environment, sys.executable, "-c", SLEEP) as shell:
        assert recovery.end_orphans(environment) == 0
        assert shell.poll() is None


# half-made resources


def operation(urn: str, kind: str = "creating") -> dict[str, Any]:
    return {"type": kind, "resource": {"urn": urn, "type": "t", "custom": True, "inputs": {"name": urn}}}


LOCAL = {
    "IDENTITY_ENDPOINT": "http://127.0.0.1:1/token",
    "HTTPS_PROXY": "http://127.0.0.1:2",
    "https_proxy": "http://127.0.0.1:2",
    "ARM_SUBSCRIPTION_ID": "10ca1a2e-0000-4000-8000-000000000001",
}


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        ({}, True),
        ({"IDENTITY_ENDPOINT": "http://169.254.169.254/token"}, False),
        ({"HTTPS_PROXY": "http://proxy.example:8080", "https_proxy": "http://proxy.example:8080"}, False),
        ({"ARM_SUBSCRIPTION_ID": "another"}, False),
        ({"PULUMI_BACKEND_URL": "https://example.invalid"}, False),
    ],
)
def test_only_a_stack_in_local_azure_is_looked_for_there(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: dict[str, str], asked: bool
) -> None:
    exported = {"deployment": {"pending_operations": [operation("new")]}}
    commands: list[str] = []

    def pulumi(argv: list[str], *_: object) -> str:
        commands.append(argv[-1])
        return json.dumps(exported)

    monkeypatch.setattr(recovery, "checkpoint", lambda *_: exported["deployment"])
    monkeypatch.setattr(recovery, "_pulumi", pulumi)
    monkeypatch.setattr(recovery, "in_local_azure", lambda environment: lambda resource: None)
    recovery.bring_back(tmp_path, "local", {**environment, **LOCAL, **change})
    assert commands == (["export", "import"] if asked else [])


def test_a_creation_that_azure_carried_out_becomes_a_resource() -> None:
    deployment = {"resources": [{"urn": "old"}], "pending_operations": [operation("new")]}
    result = recovery.repaired(deployment, lambda resource: ("/id", {"state": "Succeeded"}))
    added = {**operation("new")["resource"], "id": "/id", "outputs": {"state": "Succeeded"}}
    assert result == {"resources": [{"urn": "old"}, added]}, "after the old ones, on which it may depend"


def test_a_creation_that_azure_knows_nothing_of_is_dropped() -> None:
    result = recovery.repaired({"pending_operations": [operation("new")]}, lambda resource: None)
    assert result == {"resources": []}


@pytest.mark.parametrize("kind", ["updating", "deleting", "reading"])
def test_other_operations_are_waited_for_and_left_to_the_next_refresh(kind: str) -> None:
    deployment = {"resources": [{"urn": "old"}], "pending_operations": [operation("old", kind)]}
    looked_for: list[str] = []

    def find(resource: recovery.Resource) -> tuple[str, dict[str, Any]]:
        looked_for.append(resource["urn"])
        return "/id", {}

    assert recovery.repaired(deployment, find) == {"resources": [{"urn": "old"}]}
    assert looked_for == ["old"]


def test_a_resource_is_not_taken_in_twice() -> None:
    deployment = {"resources": [{"urn": "old"}], "pending_operations": [operation("old")]}
    assert recovery.repaired(deployment, lambda resource: ("/id", {})) == {"resources": [{"urn": "old"}]}


def test_an_id_is_made_of_the_names_in_the_inputs() -> None:
    path = "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}/x/{name}"
    inputs = {"resourceGroupName": "rg", "name": "a b", "properties": {"x": 1}}
    assert recovery.arm_id(path, "sub", inputs) == "/subscriptions/sub/resourceGroups/rg/x/a%20b"


def test_the_id_of_a_role_assignment_starts_with_its_scope() -> None:
    path = "/{scope}/providers/Microsoft.Authorization/roleAssignments/{roleAssignmentName}"
    inputs = {"scope": "/subscriptions/sub/resourceGroups/rg", "roleAssignmentName": "r"}
    expected = "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.Authorization/roleAssignments/r"
    assert recovery.arm_id(path, "sub", inputs) == expected


def test_a_creation_that_goes_on_is_waited_for() -> None:
    states = iter(["Creating", "Updating", "Succeeded", "never read"])
    recovery._wait_until_done(lambda: {"properties": {"provisioningState": next(states)}}, pause=0)
    assert next(states) == "never read"


def test_a_creation_that_never_ends_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "PATIENCE", 0.0)
    with pytest.raises(recovery.RecoveryError, match="/id is still creating"):
        recovery._wait_until_done(lambda: {"id": "/id", "properties": {"provisioningState": "Creating"}}, pause=0)


def test_what_azure_did_not_finish_is_written_again_but_for_what_it_never_repairs() -> None:
    def resource(name: str, kind: str, *errors: str) -> dict[str, Any]:
        return {"urn": f"urn:pulumi:local::project::{kind}::{name}", "type": kind, "initErrors": list(errors)}

    resources = [
        resource("storage", "azure-native:storage:StorageAccount", "OutOfCapacity"),
        resource("workspace", "azure-native:machinelearningservices:Workspace"),
        resource("endpoint", "azure-native:machinelearningservices:OnlineEndpoint", "OutOfCapacity"),
        resource("blue", "azure-native:machinelearningservices:OnlineDeployment", "ResourceNotReady"),
        {"urn": "urn:pulumi:local::project::pulumi:pulumi:Stack::stack", "type": "pulumi:pulumi:Stack"},
    ]
    storage = "urn:pulumi:local::project::azure-native:storage:StorageAccount::storage"
    assert recovery.unfinished(resources) == {storage: ["OutOfCapacity"]}
