"""Layer: the pack as CrossGuard's policies. Its library, which has an environment of its own, is stood in for.

tests/end_to_end/test_policy_pack.py has the real one, and the engine.
"""

import json
import runpy
import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from policies.resource import UNKNOWN
from tools.policy import PACK


class UnknownValueError(Exception):
    """What CrossGuard raises where a value is looked at that a preview does not know."""


class Level(Enum):
    ADVISORY = "advisory"
    MANDATORY = "mandatory"


class Policy:
    def __init__(self, name: str, description: str, validate: Any, *, enforcement_level: Level) -> None:
        self.name, self.description, self.validate, self.level = name, description, validate, enforcement_level

    def reports(self, args: Any) -> list[tuple[str, str | None]]:
        """What it says of a resource or a stack: the message, and whose it is."""
        said: list[tuple[str, str | None]] = []
        self.validate(args, lambda message, urn=None: said.append((message, urn)))
        return said


class OfResource(Policy):
    pass


class OfStack(Policy):
    pass


class Checking(Mapping[str, Any]):
    """Properties as CrossGuard hands them over."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        if value is UNKNOWN:
            raise UnknownValueError(key)
        return Checking(value) if isinstance(value, Mapping) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@pytest.fixture
def wrapper(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    return loaded(monkeypatch)


def loaded(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names in policies/__main__.py."""
    library, proxy = ModuleType("pulumi_policy"), ModuleType("pulumi_policy.proxy")
    names = {"EnforcementLevel": Level, "PolicyPack": object}
    vars(library).update(names, ResourceValidationPolicy=OfResource, StackValidationPolicy=OfStack)
    vars(proxy)["UnknownValueError"] = UnknownValueError
    monkeypatch.setitem(sys.modules, "pulumi_policy", library)
    monkeypatch.setitem(sys.modules, "pulumi_policy.proxy", proxy)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return runpy.run_path(str(PACK / "__main__.py"), run_name="pack")


def resource(type_: str, name: str, properties: Mapping[str, Any], **own: Any) -> Any:
    opts, urn = SimpleNamespace(protect=False), f"urn::{name}"
    return SimpleNamespace(
        resource_type=f"azure-native:{type_}", name=name, props=Checking(properties), opts=opts, urn=urn, **own
    )


def named(wrapper: dict[str, Any], stack: str) -> dict[str, Policy]:
    return {policy.name: policy for policy in wrapper["policies"](stack)}


@pytest.mark.parametrize(("stack", "level"), [("local", "advisory"), ("staging", "mandatory"), ("prod", "mandatory")])
def test_a_stack_has_its_level_and_an_old_exemption_is_never_more_than_a_warning(
    wrapper: dict[str, Any], stack: str, level: str
) -> None:
    levels = {name: policy.level.value for name, policy in named(wrapper, stack).items()}
    assert levels.pop("exemptions-reviewed") == "advisory"
    assert set(levels.values()) == {level}


def test_a_policy_tells_the_rule_its_sources_and_whose_finding_it_is(wrapper: dict[str, Any]) -> None:
    policy = named(wrapper, "prod")["registry-admin-user"]
    assert "CKV_AZURE_137" in policy.description
    registry = resource("containerregistry:Registry", "workspace-registry", {"adminUserEnabled": True})
    assert policy.reports(registry) == [("", registry.urn)]
    assert policy.reports(resource("storage:StorageAccount", "workspace-storage", {"adminUserEnabled": True})) == []


def test_what_is_not_known_yet_does_not_keep_a_rule_from_being_asked(wrapper: dict[str, Any]) -> None:
    policy = named(wrapper, "prod")["endpoint-aad-token"]
    endpoint = {"authMode": "Key", "compute": UNKNOWN}
    assert policy.reports(resource("machinelearningservices:OnlineEndpoint", "e", {"properties": endpoint}))
    endpoint["authMode"] = UNKNOWN
    assert not policy.reports(resource("machinelearningservices:OnlineEndpoint", "e", {"properties": endpoint}))


def test_a_rule_over_the_stack_goes_by_whose_output_a_property_is_made_of(wrapper: dict[str, Any]) -> None:
    policy = named(wrapper, "prod")["vault-private-endpoint"]
    vault = resource("keyvault:Vault", "workspace-vault", {}, property_dependencies={})
    needs = {"privateLinkServiceConnections": [vault]}
    connections = {"privateLinkServiceConnections": [{"groupIds": ["vault"]}]}
    link = resource("network:PrivateEndpoint", "link", connections, property_dependencies=needs)
    assert policy.reports(SimpleNamespace(resources=[vault])) == [("", vault.urn)]
    assert policy.reports(SimpleNamespace(resources=[vault, link])) == []


def test_a_policy_knows_what_the_configuration_says_of_a_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = {"tumor": {"deployments": {"written": {"retrySettings": {"maxRetries": 3, "timeout": 30}}, "bare": {}}}}
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps({"azureml-endpoints:batchEndpoints": json.dumps(batch)}))
    policy = named(loaded(monkeypatch), "prod")["batch-retries-explicit"]
    made = {"properties": {"retrySettings": {"maxRetries": 3, "timeout": "PT30S"}}}
    kind = "machinelearningservices:BatchDeployment"
    assert policy.reports(resource(kind, "tumor-bare-0123abcd", made))
    assert not policy.reports(resource(kind, "tumor-written-0123abcd", made))


def test_an_exemption_counts_as_needed_once_it_has_covered_a_finding(wrapper: dict[str, Any]) -> None:
    policies = named(wrapper, "prod")
    needed, quarantine = policies["exemptions-needed"], policies["registry-quarantine"]
    everything = SimpleNamespace(resources=[])
    assert any("registry-quarantine" in message for message, _ in needed.reports(everything))
    assert quarantine.reports(resource("containerregistry:Registry", "workspace-registry", {})) == []
    assert not any("registry-quarantine" in message for message, _ in needed.reports(everything))
    other = resource("containerregistry:Registry", "another-registry", {})
    assert quarantine.reports(other) == [("", other.urn)], "an exemption covers what it names"
