"""The control plane under a client that does anything in any order, and that may be killed at any moment."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.localazure.state_machine.front import exchange, signing, unreal
from tests.localazure.state_machine.machine import ArmMachine

COMMON = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    database=None,
)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[type[ArmMachine]]:
    """Makes machines: each has a state of its own, all of them one server and one signing key."""
    tokens, numbers = signing(tmp_path / "keys"), itertools.count()
    with unreal(tmp_path) as scoring, exchange() as (board, client):
        # Hypothesis calls it without arguments, and asks for no class but in its annotation.
        yield cast(
            "type[ArmMachine]", lambda: ArmMachine(board, client, tmp_path / str(next(numbers)), tokens, scoring)
        )


def test_a_few_stories_in_any_order_hold(machines: type[ArmMachine]) -> None:
    few = settings(
        COMMON, max_examples=12, stateful_step_count=30, derandomize=True, phases=(Phase.explicit, Phase.generate)
    )
    run_state_machine_as_test(machines, settings=few)


@pytest.mark.slow
def test_ten_thousand_steps_in_any_order_hold(machines: type[ArmMachine]) -> None:
    # Random: where it fails, Hypothesis prints the steps, and a blob that repeats them (`@reproduce_failure`).
    many = settings(COMMON, max_examples=200, stateful_step_count=50, print_blob=True, phases=tuple(Phase))
    run_state_machine_as_test(machines, settings=many)
