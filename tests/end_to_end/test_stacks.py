"""Every committed stack comes up on Local Azure, stays as it is, goes without a trace, and comes up again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.end_to_end.conftest import Clone, Done

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

# Local Azure goes by a role at once, and nobody sends requests that an old revision would have to answer.
AT_ONCE = {"roleAssignmentSeconds": "0", "drainSeconds": "0"}
KEPT = {"workspace-group", "workspace-storage", "workspace-vault", "workspace-registry", "workspace-logs"}
KEPT |= {"workspace-workspace", "workspace-protection"}
LEFT = ("onlineEndpoints", "batchEndpoints", "clusters", "storageAccounts", "workflows")


def pulumi(clone: Clone, command: str) -> Done:
    return clone.with_local_azure(f"pulumi {command} --non-interactive")


def set_up(clone: Clone, stack: str) -> None:
    clone.make("setup").ok()
    clone.shell(".venv/bin/python -m localazure start").ok()
    if stack != "local":
        clone.with_local_azure("make preview STACK=" + stack).ok()
        for key, value in AT_ONCE.items():
            pulumi(clone, f"config set {key} {value} --stack {stack}").ok()


def resources(clone: Clone, stack: str) -> list[dict[str, Any]]:
    """What is in the state, but the stack itself and what every stack has."""
    exported = pulumi(clone, f"stack export --stack {stack} 2>/dev/null").ok().out
    found = json.loads(exported[exported.index("{") :])["deployment"].get("resources") or []
    return [each for each in found if not each["type"].startswith("pulumi:")]


def comes_up_and_stays(clone: Clone, stack: str) -> None:
    clone.with_local_azure(f"make up STACK={stack}").ok()
    # What private endpoints write into that to which they lead is read now; it asks for nothing.
    assert clone.planned(stack) == []
    clone.with_local_azure(f"make up STACK={stack}").ok()
    pulumi(clone, f"up --yes --skip-preview --expect-no-changes --stack {stack}").ok()
    pulumi(clone, f"refresh --yes --skip-preview --expect-no-changes --stack {stack}").ok()


def goes(clone: Clone, stack: str) -> None:
    # Not by `make down`, which ends Local Azure too.
    pulumi(clone, f"destroy --yes --skip-preview --stack {stack}").ok()
    assert resources(clone, stack) == []
    status = clone.status
    assert {kind: status.get(kind) for kind in LEFT if status.get(kind)} == {}


@pytest.mark.parametrize("stack", ["local", "dev", "staging"])
def test_a_stack_comes_up_stays_goes_and_comes_up_again(clone: Clone, stack: str) -> None:
    set_up(clone, stack)
    comes_up_and_stays(clone, stack)
    goes(clone, stack)
    comes_up_and_stays(clone, stack)
    goes(clone, stack)


def test_prod_goes_only_when_its_protection_is_lifted(clone: Clone) -> None:
    set_up(clone, "prod")
    comes_up_and_stays(clone, "prod")
    before = resources(clone, "prod")
    refused = pulumi(clone, "destroy --yes --skip-preview --stack prod")
    assert refused.code != 0
    assert "protect" in refused.out
    assert {each["urn"] for each in resources(clone, "prod")} == {each["urn"] for each in before}, "nothing has gone"
    kept = {each["urn"].rpartition("::")[2] for each in before if each.get("protect")}
    assert kept == KEPT
    # As docs/guides/state.md says it.
    pulumi(clone, "config set protect false --stack prod").ok()
    pulumi(clone, "up --yes --skip-preview --expect-no-changes --stack prod").ok()
    pulumi(clone, "config set purgeOnDestroy true --stack prod").ok()
    pulumi(clone, "up --yes --skip-preview --stack prod").ok()
    goes(clone, "prod")
    comes_up_and_stays(clone, "prod")
    goes(clone, "prod")


def test_prod_is_not_deployed_from_outside_its_network(clone: Clone) -> None:
    (clone.path / ".localazure").mkdir(exist_ok=True)
    (clone.path / ".localazure/settings.json").write_text('{"client_network": "public"}')
    set_up(clone, "prod")
    refused = clone.with_local_azure("make up STACK=prod")
    assert refused.code != 0
    assert "deploy from a machine in the network of the workspace" in " ".join(refused.out.split())
    assert "Traceback" not in refused.out
