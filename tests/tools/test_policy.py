"""`make policy`: the pack as it is handed to the Pulumi CLI."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from policies.exemptions import ExemptionError
from tools import policy


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A copy of the pack that outlives its preview, and the environment that goes with it."""
    echo = shutil.which("echo")
    monkeypatch.setattr(policy, "interpreter", lambda cache: Path(str(echo)))
    environment = {"PATH": os.defpath, "AZUREML_ENDPOINTS_CACHE": str(tmp_path / "cache")}
    with policy.pack(environment) as (folder, with_plugin):
        kept = tmp_path / "kept"
        shutil.copytree(folder.parent, kept)
    assert not folder.exists(), "nothing is left behind"
    path = with_plugin["PATH"].replace(str(folder.parent), str(kept))
    return kept / folder.name, {**with_plugin, "PATH": path}


def test_the_pack_is_a_copy_that_says_another_runtime(handed: tuple[Path, dict[str, str]]) -> None:
    copy, committed = ({**yaml.safe_load((at / "PulumiPolicy.yaml").read_text())} for at in (handed[0], policy.PACK))
    assert copy.pop("runtime") == "pack"
    assert committed.pop("runtime") == "python", "an official CLI starts it by itself"
    assert copy == committed
    assert (handed[0] / "exemptions.yaml").read_text() == (policy.PACK / "exemptions.yaml").read_text()


def test_the_cli_finds_what_starts_that_runtime_on_path(handed: tuple[Path, dict[str, str]]) -> None:
    folder, environment = handed
    name = f"pulumi-analyzer-policy-{yaml.safe_load((folder / 'PulumiPolicy.yaml').read_text())['runtime']}"
    plugin = shutil.which(name, path=environment["PATH"])
    assert plugin is not None
    done = subprocess.run([plugin, "127.0.0.1:4000", str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["-u", "-m", "pulumi.policy", "127.0.0.1:4000", str(folder)]


def test_a_mistake_in_the_exemptions_is_told_before_anything_is_started(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong() -> None:
        raise ExemptionError("exemptions.yaml[0]: reason is empty")

    monkeypatch.setattr(policy.exemptions, "load", wrong)
    monkeypatch.setattr(policy.up, "prepare", lambda stack: pytest.fail("nothing is started"))
    assert policy.main(["prod"]) == 1
    assert capsys.readouterr().err == "exemptions.yaml[0]: reason is empty\n"
