"""The workflows of GitHub Actions keep the house rules, and are right by actionlint's word."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import pulumi_cli, workflows

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / ".github").rglob("*.yml"))
WORKFLOWS = [file for file in FILES if file.parent.name == "workflows"]
PINNED = re.compile(r"uses: (?:\./\S+|[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)$")
DEPLOYS = "deploy.yml"

Workflow = dict[Any, Any]


def load(text: str) -> Workflow:
    loaded = yaml.safe_load(text)
    # YAML 1.1 takes a bare `on` for a truth value.
    return {"on" if key is True else key: value for key, value in loaded.items()}


def steps(workflow: Workflow) -> Iterator[dict[str, Any]]:
    for job in [*workflow.get("jobs", {}).values(), workflow.get("runs", {})]:
        yield from job.get("steps", [])


def problems(name: str, text: str) -> Iterator[str]:
    """What a workflow, or an action, does against the rules."""
    workflow = load(text)
    for line in re.findall(r"uses: .*", text):
        if not PINNED.match(line.strip()):
            yield f"not pinned by a full commit with its version: {line}"
    for step in steps(workflow):
        if (
            step.get("uses", "").startswith("actions/checkout@")
            and step["with"].get("persist-credentials") is not False
        ):
            yield "a checkout that leaves its token behind"
        if "${{" in step.get("run", ""):
            yield f"an expression within a script: {step['run']}"
        yield from unknown_commands(step.get("run", ""))
    if "jobs" in workflow:
        yield from rights(workflow, text)
        yield from concurrency(name, workflow)


def rights(workflow: Workflow, text: str) -> Iterator[str]:
    triggers = workflow["on"] if isinstance(workflow["on"], dict) else {workflow["on"]: None}
    if "pull_request_target" in triggers:
        yield "pull_request_target runs with secrets, and sooner or later somebody else's code"
    if workflow.get("permissions") != {}:
        yield "rights that no job has asked for"
    for job in workflow["jobs"].values():
        if "permissions" not in job:
            yield "a job that does not say what it may"
        writes = {key for key, value in job.get("permissions", {}).items() if value != "read"}
        if "pull_request" in triggers and (writes - {"id-token"} or "secrets." in text):
            yield "the code of a pull request with a secret, or a right to write"
        if "workflow_run" in triggers and any(step.get("with", {}).get("ref") for step in job["steps"]):
            yield "somebody else's code with the rights of the default branch"
        if "self-hosted" in job["runs-on"] and {*triggers} != {"push"}:
            yield "a runner of our own for what is not merged"


def concurrency(name: str, workflow: Workflow) -> Iterator[str]:
    for key, job in workflow["jobs"].items():
        if name == DEPLOYS and job.get("concurrency") != {"group": f"stack-{key}", "cancel-in-progress": False}:
            yield "an update beside another of its stack, or one that may be ended half-way"
        if name == DEPLOYS and job.get("environment") != key:
            yield "an update without the rules of its environment"


def unknown_commands(script: str) -> Iterator[str]:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"\bmake ([\w-]+)", script):
        if target not in targets:
            yield f"there is no `make {target}`"
    for module in re.findall(r"python3? -m ([\w.]+)", script):
        if importlib.util.find_spec(module) is None:
            yield f"there is no module {module}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_workflow_keeps_the_rules(file: Path) -> None:
    assert [*problems(file.name, file.read_text())] == []


def test_there_is_one_for_each_occasion() -> None:
    names = {file.name for file in WORKFLOWS}
    assert names == {"ci.yml", "deploy.yml", "drift.yml", "preview-comment.yml", "preview.yml"}


MISTAKES = {
    "not pinned": ("ci.yml", r"checkout@\w+", "checkout@v6"),
    "a checkout that leaves": ("preview.yml", "persist-credentials: false", "fetch-tags: false"),
    "an expression within a script": ("preview.yml", r"--base \"\$\(.*\)\"", "--base ${{ github.base_ref }}"),
    "there is no `make": ("deploy.yml", "make up", "make upp"),
    "there is no module": ("drift.yml", "tools.drift", "tools.drifting"),
    "pull_request_target": ("preview.yml", "pull_request:", "pull_request_target:"),
    "rights that no job": ("drift.yml", r"\npermissions: {}", "\npermissions: write-all"),
    "a job that does not say": ("ci.yml", r"    permissions:\n      contents: read\n", ""),
    "the code of a pull request with": ("preview.yml", "contents: read", "contents: write"),
    "somebody else's code with": ("preview-comment.yml", "persist-credentials: false", "ref: x"),
    "a runner of our own": ("preview.yml", "runs-on: ubuntu-latest", "runs-on: [self-hosted]"),
    "an update beside another": ("deploy.yml", "cancel-in-progress: false", "cancel-in-progress: true"),
    "an update without the rules": ("deploy.yml", "environment: prod", "environment: staging"),
}


@pytest.mark.parametrize("problem", MISTAKES)
def test_a_planted_mistake_is_found(problem: str) -> None:
    name, pattern, mistake = MISTAKES[problem]
    text = (ROOT / ".github" / "workflows" / name).read_text()
    broken, count = re.subn(pattern, mistake, text)
    assert count, "the mistake could be planted"
    assert any(found.startswith(problem) for found in problems(name, broken))


def test_a_preview_is_against_the_base_that_was_merged_into() -> None:
    text = (ROOT / ".github" / "workflows" / "preview.yml").read_text()
    assert '--base "$(git rev-parse HEAD^1)"' in text, "HEAD is the merge commit; what the event says goes stale"
    assert "base.sha" not in text


def test_a_repository_without_an_account_deploys_nothing() -> None:
    jobs = load((ROOT / ".github" / "workflows" / DEPLOYS).read_text())["jobs"]
    assert {key: job.get("if") for key, job in jobs.items()} == dict.fromkeys(jobs, "vars.AZURE_TENANT_ID != ''")


def test_every_action_is_used_in_one_version() -> None:
    used = {line for file in FILES for line in re.findall(r"uses: ([\w/-]+@.*)", file.read_text())}
    names = [line.partition("@")[0] for line in used]
    assert sorted(names) == sorted({*names})


def test_the_cli_is_the_one_that_the_tests_know() -> None:
    action = load((ROOT / ".github" / "actions" / "azure" / "action.yml").read_text())
    versions = [step["with"]["pulumi-version"] for step in steps(action) if "pulumi/actions" in step.get("uses", "")]
    assert versions == [pulumi_cli.VERSION]


def test_a_login_is_renewed_from_when_it_is_made() -> None:
    action = load((ROOT / ".github" / "actions" / "azure" / "action.yml").read_text())
    done = [step.get("uses", step.get("run", "")) for step in steps(action)]
    login = next(at for at, step in enumerate(done) if step.startswith("azure/login@"))
    assert "python3 -m tools.azure_login" in done[login + 1]
    assert done[login + 1].rstrip().endswith("&"), "in the background: the job goes on meanwhile"


@pytest.mark.slow
def test_actionlint_finds_nothing_in_them_and_what_is_wrong_in_others(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert workflows.main([]) == 0, capfd.readouterr().out
    planted = {
        "runs-on: ubuntu-latest": "runs-on: ubuntu-oldest",
        "steps.deployed.outputs.commit": "steps.deploid.outputs.commit",
        'run: .venv/bin/python -m tools.preview_report "$STACK"': "run: echo ${{ github.head_ref }}",
        "needs: staging": "needs: stagging",
    }
    for number, (right, wrong) in enumerate(planted.items()):
        source = next(file for file in WORKFLOWS[::-1] if right in file.read_text())
        broken = tmp_path / f"{number}.yml"
        broken.write_text(source.read_text().replace(right, wrong))
        assert workflows.main([str(broken)]) == 1, f"{wrong} is a mistake"
        assert f"{number}.yml" in capfd.readouterr().out
