"""A pytest plugin that writes down which operations of Local Azure each test exercised.

`python -m pytest -p tests.localazure.recording --record-operations FILE tests/localazure/providers` writes a JSON
object: by operation (`GET /subscriptions/{subscription}`) the tests that passed and got a 2xx from it, the most telling
first.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localazure.arm import routes
from localazure.arm.errors import ArmError

# Preparing is something else than testing: a test that itself called the operation comes before one whose fixture did.
PHASES = ("call", "setup")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-operations", metavar="FILE", type=Path, help="where to write what was exercised (JSON)")


def pytest_configure(config: pytest.Config) -> None:
    if file := config.getoption("--record-operations"):
        config.pluginmanager.register(Recorder(file))


class Recorder:
    """Collects the operations that were answered while a test ran."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._running = ("", "")
        self._seen: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._passed: set[str] = set()
        self._patch = pytest.MonkeyPatch()

    def observed(self, route: routes.Route) -> routes.Route:
        """A route that writes down what it answers and refuses; called from the control plane's own threads."""

        def handler(call: routes.Call) -> routes.Answer:
            try:
                answer = route.handler(call)
            except ArmError as refusal:
                self._note(route, refusal.status)
                raise
            self._note(route, answer.status)
            return answer

        return replace(route, handler=handler)

    def _note(self, route: routes.Route, status: int) -> None:
        # What Azure refuses too, whoever asks, is carried out by refusing it.
        if status < 300 or (status == 400 and route.simplified.startswith("always refused")):
            self._seen[self._running].add(f"{route.method} {route.template.text}")

    def pytest_sessionstart(self) -> None:
        build = routes.Table.__init__

        def built(table: routes.Table, given: Iterable[routes.Route], *args: Any, **options: Any) -> None:
            build(table, map(self.observed, given), *args, **options)

        self._patch.setattr(routes.Table, "__init__", built)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        yield from self._during("setup", item)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        yield from self._during("call", item)

    def _during(self, phase: str, item: pytest.Item) -> Iterator[None]:
        self._running = (phase, item.nodeid)
        yield
        self._running = ("", "")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self._passed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self._patch.undo()
        self._file.write_text(json.dumps(self.tests(), indent=1, sort_keys=True))

    def tests(self) -> dict[str, list[str]]:
        """By operation the tests of it; those first that did little else."""
        found: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        for (phase, test), operations in self._seen.items():
            if test in self._passed:
                for operation in operations:
                    found[operation].append((PHASES.index(phase), len(operations), test))
        return {operation: [test for _, _, test in sorted(entries)] for operation, entries in found.items()}
