"""The policy pack through Pulumi's engine: `make policy`, against Local Azure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.end_to_end.conftest import Clone

# Slow: each preview starts the engine, the program and the pack.
pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]
FINDING = re.compile(r"- \[(advisory|mandatory)\]\s+(\S+)\s+\(\S+: (\S+)\)")


def found(output: str) -> set[tuple[str, str, str]]:
    """Level, rule and resource of each finding."""
    return set(FINDING.findall(output))


def weaken(config: dict[str, Any]) -> None:
    endpoint = config["onlineEndpoints"]["tumor-online"]
    endpoint["authMode"] = "key"
    config["security"]["diagnostics"] = False


@pytest.fixture
def azure(clone: Clone) -> Iterator[Clone]:
    """A clone whose Local Azure runs."""
    clone.make("setup").ok()
    clone.shell(".venv/bin/python -m localazure start").ok()
    yield clone
    clone.shell(".venv/bin/python -m localazure stop").ok()


def test_prod_passes_fails_when_it_is_weakened_and_passes_when_it_is_mended(azure: Clone) -> None:
    policy = "make policy STACK=prod"
    configuration = azure.path / "Pulumi.prod.yaml"
    committed = configuration.read_text()
    assert not found(azure.with_local_azure(policy).ok().out), "prod keeps to the rules or carries an exemption"
    assert configuration.read_text() == committed, "what opens its state in Azure stays in its file"
    azure.edit(weaken, "prod")
    refused = azure.with_local_azure(policy)
    assert refused.code != 0, refused.out
    rules = {rule for level, rule, _ in found(refused.out) if level == "mandatory"}
    assert rules == {"endpoint-aad-token", "workspace-logs", "storage-logs"}
    configuration.write_text(committed)
    azure.with_local_azure(policy).ok()
    assert azure.status["onlineEndpoints"] == [], "a preview creates nothing"


def test_an_exemption_of_nothing_fails_and_an_old_one_is_a_warning(azure: Clone) -> None:
    file = azure.path / "policies" / "exemptions.yaml"
    committed = file.read_text()
    file.write_text(committed.replace("review: 2027-11-30", "review: 2020-01-31"))
    warned = azure.with_local_azure("make policy STACK=staging").ok().out
    assert "exemptions-reviewed" in warned
    assert "2020-01-31" in warned
    file.write_text(committed.replace("resources: workspace-vault", "resources: gone-vault"))
    refused = azure.with_local_azure("make policy STACK=staging")
    assert refused.code != 0, refused.out
    assert "covers nothing in staging; remove it" in refused.out
    assert ("mandatory", "vault-public-access") in {finding[:2] for finding in found(refused.out)}


def test_in_a_loose_stack_a_finding_is_advice(azure: Clone) -> None:
    levels = {level for level, _, _ in found(azure.make("policy").ok().out)}
    assert levels == {"advisory"}
