"""What a stack needs so that it can be previewed on Local Azure against another commit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools import preview_against_base, up
from tools.preview_against_base import for_local_azure, merge_base
from tools.stack_files import PLACEHOLDER

MADE = {"encryptionsalt": "v1:local"}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose branches went apart: `main` has gone on, the pull request is checked out."""
    monkeypatch.setattr(up, "ROOT", tmp_path)
    for words in (
        ["init", "--initial-branch=main", "."],
        ["commit", "--allow-empty", "--message", "first"],
        ["checkout", "-b", "change"],
        ["commit", "--allow-empty", "--message", "change"],
        ["checkout", "main"],
        ["commit", "--allow-empty", "--message", "went on"],
        ["checkout", "change"],
    ):
        git(tmp_path, *words)
    return tmp_path


def git(folder: Path, *words: str) -> str:
    own = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    done = subprocess.run(["git", *own, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_what_the_base_branch_went_on_with_is_no_part_of_the_pull_request(repository: Path) -> None:
    assert merge_base("main") == git(repository, "rev-parse", "main~1")


def test_a_base_that_is_not_there_is_an_error_with_the_way_out(repository: Path) -> None:
    with pytest.raises(up.UpError, match=r"--base nowhere: .*git fetch --unshallow"):
        merge_base("nowhere")


def test_a_stack_keeps_its_configuration_but_for_its_account_and_its_secrets() -> None:
    stack = {
        "secretsprovider": "azurekeyvault://kv.vault.azure.net/keys/pulumi",
        "encryptedkey": "abc",
        "config": {
            "azure-native:location": "westeurope",
            "azure-native:subscriptionId": "11111111-0000-4000-8000-000000000000",
            "azure-native:useOidc": "true",
            "azureml-endpoints:onlineEndpoints": {"a": {"tags": {"token": {"secure": "v1:xyz"}, "team": "b"}}},
            "azureml-endpoints:list": [{"secure": "v1:xyz"}, 3],
        },
    }
    made = for_local_azure(stack, MADE)
    assert {key: made[key] for key in made if key != "config"} == MADE
    assert made["config"]["azure-native:location"] == "westeurope"
    assert made["config"]["azure-native:subscriptionId"].startswith("10ca1a2e")
    assert "azure-native:useOidc" not in made["config"], "nobody logs in to Azure"
    endpoint = made["config"]["azureml-endpoints:onlineEndpoints"]["a"]
    assert endpoint == {"tags": {"token": PLACEHOLDER, "team": "b"}}
    assert made["config"]["azureml-endpoints:list"] == [PLACEHOLDER, 3]


def test_an_empty_stack_file_is_a_stack() -> None:
    assert for_local_azure({}, MADE)["encryptionsalt"] == "v1:local"


def test_a_failure_is_a_report_too(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(base: str, stack: str) -> None:
        raise up.UpError("the base branch does not come up")

    monkeypatch.setattr(preview_against_base, "against_base", refuse)
    output = tmp_path / "out" / "prod.md"
    assert preview_against_base.main(["--stack", "prod", "--output", str(output)]) == 1
    text = output.read_text()
    assert text.startswith("## What `prod` serves\n\n> [!CAUTION]\n> **No preview**")
    assert "the base branch does not come up" in text
