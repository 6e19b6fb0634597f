"""Mistakes and edits of the sample stack through the real CLI: each works, or is refused in words."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings

from tests.end_to_end.conftest import PROJECT, Clone
from tests.end_to_end.test_stacks import set_up
from tests.mutations.mutating import mutations
from tests.mutations.test_mutations import AZURE_S_OWN

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

EXAMPLES = 25
REFUSALS = (
    "nothing has been changed",
    "in Azure, and Azure does not let it become",
    # Of the types that Pulumi.yaml declares.
    "validating stack config",
)


def test_what_is_written_works_or_is_refused_and_the_stack_comes_back(clone: Clone) -> None:
    set_up(clone, "local")
    clone.make("up").ok()
    file = clone.path / "Pulumi.local.yaml"
    committed = file.read_text()
    content = yaml.safe_load(committed)
    # Of a workspace that was renamed Azure keeps the old name for a while, and does not give it back.
    own = {
        key: value
        for key, value in content["config"].items()
        if key.startswith(PROJECT) and key != f"{PROJECT}workspace"
    }

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large),
        phases=(Phase.generate,),
    )
    @given(mutations(own))
    def works_or_is_refused(config: dict[str, Any]) -> None:
        kept = {key: value for key, value in content["config"].items() if key not in own}
        file.write_text(yaml.safe_dump({**content, "config": kept | config}, sort_keys=False))
        done = clone.with_local_azure("pulumi up --yes --skip-preview --suppress-outputs --stack local")
        said = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", done.out).split())
        allowed = (*REFUSALS, *AZURE_S_OWN)
        assert done.code == 0 or any(text in said for text in allowed), f"{config}\n{done.out}"

    works_or_is_refused()
    file.write_text(committed)
    clone.make("up").ok()
    assert clone.planned() == []
    assert clone.outputs()["onlineEndpoints"]["tumor-online"]["traffic"] == {"blue": 90, "green": 10}
