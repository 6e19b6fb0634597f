"""Layer: the policy pack over the resources that the program registers for each committed stack, under mocks."""

import contextlib
import json
import runpy
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pulumi
import pytest
import yaml

from policies.resource import Resource, batch_deployments, kind_of, without_revision
from tests.components.conftest import Registered, run  # noqa: F401 - a fixture
from tools.up import ROOT

STACKS = ("local", "dev", "staging", "prod")
Change = Callable[[dict[str, Any]], None]
OfStack = Callable[..., list[Resource]]


@pytest.fixture(scope="module")
def registered(run: Any) -> Callable[..., list[Registered]]:  # noqa: F811
    """What __main__ registers for a committed stack, after a change of its configuration."""

    def of(stack: str, change: Change | None = None) -> list[Registered]:
        config = configuration(stack, change)
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}

        def program() -> None:
            pulumi.runtime.set_all_config(texts)
            runpy.run_path(str(ROOT / "__main__.py"))

        with contextlib.chdir(ROOT):
            return run(program).registered

    return of


@pytest.fixture(scope="module")
def resources(registered: Callable[..., list[Registered]]) -> OfStack:
    """The same as the rules see it. A stack as it is committed is registered once for all tests of a module."""

    @cache
    def committed(stack: str) -> list[Resource]:
        return seen(stack)

    def seen(stack: str, change: Change | None = None) -> list[Resource]:
        stated = batch_deployments(configuration(stack, change))
        return [resource_of(each, stated) for each in registered(stack, change)]

    def of(stack: str, change: Change | None = None) -> list[Resource]:
        return seen(stack, change) if change else committed(stack)

    return of


def configuration(stack: str, change: Change | None = None) -> dict[str, Any]:
    """What is committed of a stack, after a change of it."""
    config = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]
    config.setdefault("azureml-endpoints:nameSuffix", "s1")
    if change:
        change(config)
    return config


def resource_of(registered: Registered, stated: Mapping[str, Mapping[str, Any]] | None = None) -> Resource:
    needs = registered.request.propertyDependencies
    return Resource(
        kind=kind_of(registered.type),
        name=registered.name,
        properties=registered.inputs,
        protect=registered.request.protect,
        needs={key: frozenset(urn.rpartition("::")[2] for urn in value.urns) for key, value in needs.items()},
        stated=(stated or {}).get(without_revision(registered.name)),
    )
