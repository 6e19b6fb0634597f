"""Layer: settings, program and Local Azure together; whatever is written is refused in the settings' words or works."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.mutations.cloud import Ground, Outcome
from tests.mutations.configurations import CONFIGURATIONS, prepare
from tests.mutations.mutating import mutations

# A size or a region of the right shape that the program's lists lack is a warning, and Azure's to refuse.
AZURE_S_OWN = ("vmSize", "VM size", "The provided location")

Up = Callable[[dict[str, Any]], Outcome]


@pytest.fixture
def up(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Up]:
    """Brings a configuration up, from nothing."""
    caplog.set_level(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    # Of a failed update Pulumi leaves tasks behind, whose errors are the one that is told.
    loop.set_exception_handler(lambda *_: None)
    asyncio.set_event_loop(loop)
    yield Ground(monkeypatch, prepare).up
    asyncio.set_event_loop(None)
    loop.close()


def hold(up: Up, name: str, examples: int, *, repeatable: bool) -> None:
    """Brings mutations of a configuration up, each of which works or is refused before anything is there."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=repeatable,
        print_blob=True,
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture),
        phases=(Phase.generate,) if repeatable else (Phase.generate, Phase.shrink),
    )
    @given(mutations(CONFIGURATIONS[name]))
    def each_holds(config: dict[str, Any]) -> None:
        outcome = up(config)
        told = [failure for failure in outcome.failures if not any(text in failure for text in AZURE_S_OWN)]
        assert not told, "the settings let it pass, and Azure refuses it in words of its own"
        assert all(": " in finding for finding in outcome.findings)

    each_holds()


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_configuration_that_is_mutated_works_itself(up: Up, name: str) -> None:
    outcome = up(CONFIGURATIONS[name])
    assert (outcome.findings, outcome.failures) == ((), ())
    assert len(outcome.created) > 20


def test_a_failure_of_local_azure_would_be_noticed(up: Up) -> None:
    two = CONFIGURATIONS["kubernetes"]
    other = two["kubernetesClusters"]["edge"]["cluster"] + "-other"
    outcome = up({**two, "kubernetesClusters": {"edge": {**two["kubernetesClusters"]["edge"], "cluster": other}}})
    assert any("was not found" in failure for failure in outcome.failures)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_few_mutations_are_refused_by_the_settings_or_work(up: Up, name: str) -> None:
    # A whole private network takes seconds.
    hold(up, name, 4 if name in ("managed", "byo") else 10, repeatable=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_many_mutations_are_refused_by_the_settings_or_work(up: Up, name: str) -> None:
    hold(up, name, 300, repeatable=False)
