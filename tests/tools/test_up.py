"""What `make up` does around the CLI: the environment it gives it, and what Ctrl-C means while it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tools import up
from tools.stack_files import PLACEHOLDER

ROOT = Path(__file__).resolve().parents[2]
RUN = "import os, sys; from tools.up import pulumi; sys.exit(pulumi(['up'], os.environ))"
# Like the real one, it counts interruptions, and ends between two steps.
PULUMI = """#!/bin/sh
interrupted=0
trap 'interrupted=$((interrupted + 1)); echo interrupted $interrupted' INT
echo started
while [ $interrupted = 0 ]; do sleep 0.05; done
sleep 0.3
echo ended after $interrupted
exit 255
"""


@contextmanager
def running(tmp_path: Path, script: str) -> Iterator[subprocess.Popen[str]]:
    """`up.pulumi` in a process group of its own, with a stand-in for the CLI."""
    (tmp_path / "pulumi").write_text(script)
    (tmp_path / "pulumi").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [sys.executable, "-c", RUN]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def lines(process: subprocess.Popen[str]) -> list[str]:
    return process.communicate(timeout=30)[0].splitlines()


def test_ctrl_c_reaches_the_cli_once_and_is_waited_for(tmp_path: Path) -> None:
    with running(tmp_path, PULUMI) as process:
        assert process.stdout
        assert process.stdout.readline() == "started\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it: to all of the foreground
        assert lines(process) == ["interrupted 1", "ended after 1"]
        assert process.returncode == up.INTERRUPTED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_order_to_end_interrupts_the_cli(number: signal.Signals, tmp_path: Path) -> None:
    with running(tmp_path, PULUMI) as process:
        assert process.stdout
        assert process.stdout.readline() == "started\n"
        process.send_signal(number)
        assert lines(process) == ["interrupted 1", "ended after 1"]
        assert process.returncode == up.INTERRUPTED


def test_the_exit_code_is_the_clis(tmp_path: Path) -> None:
    with running(tmp_path, "#!/bin/sh\nexit 7\n") as process:
        assert process.wait(30) == 7


def test_tools_come_first_on_path(tmp_path: Path) -> None:
    environment = up.tools_environment({"PATH": "/usr/bin", "AZUREML_ENDPOINTS_CACHE": str(tmp_path)})
    assert environment["PATH"].split(":") == [str(Path(sys.executable).parent), f"{tmp_path}/bin", "/usr/bin"]
    assert up.tools_environment(environment)["PATH"] == environment["PATH"], "however often it is applied"


def test_many_steps_go_at_a_time_unless_the_user_says_how_many() -> None:
    assert int(up.tools_environment({})["PULUMI_PARALLEL"]) >= 50
    assert up.tools_environment({"PULUMI_PARALLEL": "3"})["PULUMI_PARALLEL"] == "3"


LOCAL = {
    "IDENTITY_ENDPOINT": "http://127.0.0.1:4000/token",
    "HTTPS_PROXY": "http://127.0.0.1:4001",
    "LOCALAZURE_PROXY": "http://127.0.0.1:4001",
}


@pytest.mark.parametrize(
    ("environment", "unattended"),
    [
        ({**LOCAL, "PULUMI_HOME": "/x"}, ["--yes", "--skip-preview"]),
        ({"IDENTITY_ENDPOINT": "http://127.0.0.1:41234/msi/token", "PULUMI_HOME": "/x"}, []),
        ({**LOCAL, "PULUMI_HOME": "/x", "HTTPS_PROXY": "http://proxy.example"}, []),
        ({"IDENTITY_ENDPOINT": "http://169.254.169.254/token", "PULUMI_HOME": "/x"}, []),
        ({}, []),
    ],
    ids=["Local Azure", "an app in Azure", "a shell that went elsewhere", "a machine in Azure", "a laptop"],
)
def test_nothing_is_done_in_azure_without_asking(environment: dict[str, str], unattended: list[str]) -> None:
    assert up.unattended(environment) == unattended


def test_a_clone_without_local_azure_has_nothing_to_take_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(up, "HOME", tmp_path / ".localazure")
    assert up.main(["down", "local"]) == 0
    assert "nothing to take down" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


# A CLI that makes a stack once, and then writes beside the project's file what encrypts the state here.
MAKES = """#!/bin/sh
[ -e "$PULUMI_HOME/made" ] && exit 0
touch "$PULUMI_HOME/made"
grep -v secretsprovider Pulumi.staging.yaml >new 2>/dev/null
echo 'encryptionsalt: v1:here' >>new
mv new Pulumi.staging.yaml
"""
COMMITTED = """secretsprovider: azurekeyvault://kv.vault.azure.net/keys/pulumi
encryptedkey: abc
config:
  azure-native:location: eastus # where the data is
  azureml-endpoints:tags: {secure: v1:xyz}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A clone with a stack of Azure's; returns the environment that leads to its Local Azure."""
    for folder in ("bin", "home", "clone"):
        (tmp_path / folder).mkdir()
    (tmp_path / "clone" / "Pulumi.yaml").write_text("name: tumors\n")
    (tmp_path / "clone" / "Pulumi.staging.yaml").write_text(COMMITTED)
    (tmp_path / "bin" / "pulumi").write_text(MAKES)
    (tmp_path / "bin" / "pulumi").chmod(0o755)
    monkeypatch.setattr(up, "ROOT", tmp_path / "clone")
    # The real one is looked for on the test's own path.
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return {**LOCAL, "PATH": os.environ["PATH"], "PULUMI_HOME": str(tmp_path / "home")}


def test_a_stack_of_azures_goes_to_local_azure_by_a_copy_of_its_file(project: dict[str, str]) -> None:
    file = up.ROOT / "Pulumi.staging.yaml"
    up.select("staging", project)
    options = up.named("staging", project)
    assert file.read_text() == COMMITTED, "what opens its state in Azure stays there"
    assert options[:3] == ["--stack", "staging", "--config-file"]
    copy = yaml.safe_load(Path(options[3]).read_text())
    assert copy == {
        "encryptionsalt": "v1:here",
        "config": {"azure-native:location": "eastus", "azureml-endpoints:tags": PLACEHOLDER},
    }
    file.write_text(COMMITTED.replace("eastus", "westeurope"))
    up.named("staging", project)
    changed = yaml.safe_load(Path(options[3]).read_text())
    assert changed["config"]["azure-native:location"] == "westeurope", "what is set now is what counts"


def test_a_stack_goes_by_its_own_file_where_it_is_at_home(project: dict[str, str]) -> None:
    assert up.named("local", project) == ["--stack", "local"]
    assert up.named("staging", {"PULUMI_HOME": "/x"}) == ["--stack", "staging"], "in Azure"
    assert up.named("staging", project, Path("/other.yaml")) == ["--stack", "staging", "--config-file", "/other.yaml"]
