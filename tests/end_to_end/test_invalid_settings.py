"""Configurations that cannot be meant, and edits of those that can, through the real `pulumi` CLI."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from localazure.pulumi_plugin.install import install
from tests.end_to_end.conftest import Clone
from tests.invalid_configurations import FILES, INVALID, PROJECT, SECRET, Invalid
from tests.samples import write_files
from tools.cache import cache_dir

pytestmark = pytest.mark.end_to_end

QUICK = [
    row
    for row in INVALID
    if row.value in ("add up to 110 (blue 90, green 20)", "a password", '"two.py" (line 2) asks for more too')
]
PARTS = 4
GREEN = "onlineEndpoints.tumor-online.deployments.green"


def write(clone: Clone, row: Invalid) -> None:
    """Writes the stack file of the local stack as it is committed, with a row's edits."""
    file, committed = clone.path / "Pulumi.local.yaml", clone.path / "committed.yaml"
    if not committed.exists():
        committed.write_text(file.read_text())
    content = yaml.safe_load(committed.read_text())
    edited = row.apply({key.removeprefix(PROJECT): value for key, value in content["config"].items()})
    content["config"] = {key if ":" in key else f"{PROJECT}{key}": value for key, value in edited.items()}
    file.write_text(yaml.safe_dump(content, sort_keys=False))


def problem(clone: Clone, row: Invalid, environment: Mapping[str, str]) -> str | None:
    """What a preview of a row's configuration does otherwise than it should."""
    write(clone, row)
    done = clone.run("pulumi", "preview", "--non-interactive", "--stack", "local", environment=environment)
    said = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", done.out).split())
    wanted = ("has 1 problem; nothing has been changed", row.key, row.value, row.way_out)
    if row.by_pulumi:
        wanted = (f"configuration key '{row.key}' {row.by_pulumi}",)
    elif "." not in row.key:
        # What is not an object reaches a program as text.
        wanted = (*wanted[:2], re.sub(r"received ([-\d]+)$", r'received "\1"', row.value), row.way_out)
    missing = [each for each in wanted if " ".join(each.split()) not in said]
    shown = [each for each in (SECRET, SECRET.removeprefix("hunter2-"), "Traceback") if each in said]
    return (
        f"{row.name}: exit {done.code}, lacks {missing}, shows {shown}: {said}"
        if not done.code or missing or shown
        else None
    )


def bare(clone: Clone) -> dict[str, str]:
    """What the CLI needs for a stack whose program ends before it asks for anything of Azure's."""
    home = clone.path / ".localazure" / "pulumi"
    install(home)
    (clone.path / ".localazure" / "state").mkdir()
    return {
        **clone.environment,
        "PATH": f"{clone.path / '.venv/bin'}:{cache_dir(os.environ) / 'bin'}:{clone.environment['PATH']}",
        "PULUMI_HOME": str(home),
        "PULUMI_BACKEND_URL": f"file://{clone.path}/.localazure/state",
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }


def resources(clone: Clone, environment: Mapping[str, str]) -> list[Any]:
    """What the stack's state holds."""
    done = clone.run("pulumi", "stack", "export", "--stack", "local", environment=environment).ok()
    return (yaml.safe_load(done.out)["deployment"] or {}).get("resources") or []


def test_a_preview_says_what_cannot_be_meant_and_changes_nothing(clone: Clone) -> None:
    clone.make("setup").ok()
    write_files(clone.path, FILES)
    environment = bare(clone)
    clone.run("pulumi", "stack", "init", "local", environment=environment).ok()
    assert len(QUICK) == 3
    assert [found for row in QUICK if (found := problem(clone, row, environment))] == []
    assert resources(clone, environment) == []


@pytest.fixture
def running(clone: Clone) -> tuple[Clone, dict[str, str]]:
    """A clone whose Local Azure runs and whose local stack is there, and the variables of a shell that goes there."""
    clone.make("setup").ok()
    clone.shell(".venv/bin/python -m localazure start").ok()
    clone.make("preview").ok()
    lines = clone.with_local_azure("env -0").ok().out.split("\0")
    return clone, dict(line.split("=", 1) for line in lines if "=" in line)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_every_configuration_that_cannot_be_meant_is_refused_by_a_preview(
    part: int, running: tuple[Clone, dict[str, str]]
) -> None:
    clone, environment = running
    write_files(clone.path, FILES)
    before = clone.status
    rows: Sequence[Invalid] = INVALID[part::PARTS]
    assert [found for row in rows if (found := problem(clone, row, environment))] == []
    assert clone.status == before
    assert resources(clone, environment) == []


@pytest.mark.slow
def test_edits_by_the_cli_anchors_and_secrets_of_others_keep_working(running: tuple[Clone, dict[str, str]]) -> None:
    clone, environment = running
    file = clone.path / "Pulumi.local.yaml"

    def pulumi(*words: str) -> Any:
        return clone.run("pulumi", *words, "--stack", "local", "--non-interactive", environment=environment)

    def config(*words: str) -> None:
        pulumi("config", "set", *words).ok()

    anchored(file)
    assert "&probe" in file.read_text()
    pulumi("preview").ok()
    config("--path", "azureml-endpoints:onlineEndpoints.tumor-online.traffic.blue", "80")
    config("--path", "azureml-endpoints:onlineEndpoints.tumor-online.traffic.green", "20")
    config("--path", f"azureml-endpoints:{GREEN}.environmentVariables.LEVEL", "debug")
    config("azureml-endpoints:drainSeconds", "1")
    config("--secret", "another:token", SECRET)
    pulumi("preview").ok()
    config("--path", f"azureml-endpoints:{GREEN}.instanceCount", "none")
    refused = pulumi("preview")
    assert refused.code
    assert f"{GREEN}.instanceCount: input should be a valid integer" in refused.out
    config("--path", f"azureml-endpoints:{GREEN}.instanceCount", "1")
    config("--secret", "--path", f"azureml-endpoints:{GREEN}.environmentVariables.WORD", SECRET)
    refused = pulumi("preview")
    assert refused.code
    assert "onlineEndpoints: holds a secret" in refused.out
    assert SECRET not in refused.out
    assert SECRET not in file.read_text()


def anchored(file: Path) -> None:
    """Writes traffic as text, and what two deployments share once."""
    text = file.read_text()
    text = text.replace("traffic: {blue: 90, green: 10}", 'traffic: {blue: "90", green: "10"}')
    once = "          livenessProbe: &probe {period: 5, timeout: 4}\n          instanceType: Standard_F4s_v2\n"
    text = text.replace("          instanceType: Standard_F4s_v2\n", once)
    again = "          livenessProbe: *probe\n          readinessProbe: {<<: *probe, timeout: 3}\n"
    file.write_text(
        text.replace("          instanceType: Standard_DS2_v2\n", f"{again}          instanceType: Standard_DS2_v2\n")
    )
