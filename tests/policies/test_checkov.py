"""Layer: the real Checkov over the resources of each committed stack, as an ARM template; and that template itself."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from policies import exemptions
from policies.pack import RULES, findings
from policies.rule import AnyRule, Rule, is_called
from tests.components.conftest import Registered
from tests.policies.arm_template import Rendered, RenderError, render
from tests.policies.checkov import Results, scan
from tests.policies.conftest import STACKS, resource_of

STORAGE, VAULT = "Microsoft.Storage/storageAccounts", "Microsoft.KeyVault/vaults"
REGISTRY, WORKSPACE = "Microsoft.ContainerRegistry/registries", "Microsoft.MachineLearningServices/workspaces"
# What prod's template is weakened by, under the check that has to find it.
PLANTED: dict[str, tuple[str, str, Any]] = {
    "CKV_AZURE_3": (STORAGE, "supportsHttpsTrafficOnly", False),
    "CKV_AZURE_44": (STORAGE, "minimumTlsVersion", "TLS1_0"),
    "CKV_AZURE_137": (REGISTRY, "adminUserEnabled", True),
    "CKV_AZURE_139": (REGISTRY, "publicNetworkAccess", "Enabled"),
    "CKV_AZURE_189": (VAULT, "publicNetworkAccess", "Enabled"),
    "CKV2_AZURE_49": (WORKSPACE, "publicNetworkAccess", "Enabled"),
}
WEAKENED = "weakened"
# Where the pack and Checkov differ on purpose. Without a firewall there is none for Azure's services to pass; of an
# account without one Checkov asks that it name an exception all the same. And 59 is about public blobs in a template,
# but in Terraform about the public network, as ours is.
DIFFERS = {"CKV_AZURE_36", "CKV_AZURE_59"}
Recorded = dict[str, list[Registered]]


@pytest.fixture(scope="module")
def recorded(registered: Callable[..., list[Registered]]) -> Recorded:
    return {stack: registered(stack) for stack in STACKS}


@pytest.fixture(scope="module")
def rendered(recorded: Recorded) -> dict[str, Rendered]:
    return {stack: render(resources) for stack, resources in recorded.items()}


@pytest.fixture(scope="module")
def results(rendered: dict[str, Rendered], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Results]:
    templates = {stack: each.template for stack, each in rendered.items()}
    templates[WEAKENED] = weakened(templates["prod"])
    return scan(templates, tmp_path_factory.mktemp("templates"))


def weakened(template: dict[str, Any]) -> dict[str, Any]:
    template = deepcopy(template)
    for type_, name, value in PLANTED.values():
        the(template, type_)["properties"][name] = value
    return template


def the(template: dict[str, Any], type_: str) -> dict[str, Any]:
    """The only resource of a type."""
    (resource,) = (each for each in template["resources"] if each["type"] == type_)
    return resource


def rules_of(check: str) -> list[AnyRule]:
    """The pack's rules that stand for one of Checkov's; where there is none, Checkov's own."""
    ours = [rule for rule in RULES if is_called(rule, check)]
    return ours or [Rule(check, check, (), lambda resource: False)]


def type_of(resource: str) -> str:
    """The type in a `type.name`: only its provider has a dot of its own."""
    return ".".join(resource.split(".")[:2])


def by_name(pairs: frozenset[tuple[str, str]], rendered: Rendered) -> set[tuple[str, str]]:
    return {(check, rendered.names[resource]) for check, resource in pairs}


# the template


def test_every_resource_of_azure_is_in_the_template(recorded: Recorded, rendered: dict[str, Rendered]) -> None:
    for stack, resources in recorded.items():
        ours = {each.name for each in resources if each.type.startswith("azure-native:")}
        assert set(rendered[stack].names.values()) == ours
        assert len(rendered[stack].template["resources"]) == len(ours) > 10


def test_properties_have_the_names_and_places_that_arm_gives_them(rendered: dict[str, Rendered]) -> None:
    template = rendered["prod"].template
    account = the(template, STORAGE)
    assert account["sku"] == {"name": "Standard_GZRS"}, "beside properties"
    assert account["properties"]["supportsHttpsTrafficOnly"] is True, "which the SDK calls enableHttpsTrafficOnly"
    assert account["properties"]["networkAcls"]["defaultAction"] == "Deny", "which the SDK calls networkRuleSet"
    assert the(template, REGISTRY)["properties"]["adminUserEnabled"] is False
    (identity,) = the(template, WORKSPACE)["identity"]["userAssignedIdentities"].items()
    assert identity[1] == {}, "a set is a map of empty objects"


def test_a_nested_resource_has_as_many_names_as_its_type_has_parts(rendered: dict[str, Rendered]) -> None:
    template = rendered["prod"].template
    blobs = the(template, f"{STORAGE}/blobServices")
    assert blobs["name"] == f"{the(template, STORAGE)['name']}/default"
    settings = [each for each in template["resources"] if each["type"] == "Microsoft.Insights/diagnosticSettings"]
    assert len(settings) > 1
    assert all(each["scope"].startswith("/subscriptions/") for each in settings), "an extension names what it extends"


def test_what_the_plugin_does_not_know_is_not_left_out_in_silence() -> None:
    with pytest.raises(RenderError, match="cache: the plugin's table has no azure-native:cache:Redis"):
        render([Registered("azure-native:cache:Redis", "cache", {}, None)])


def test_two_resources_of_one_name_are_refused() -> None:
    def account(name: str) -> Registered:
        return Registered("azure-native:storage:StorageAccount", name, {"accountName": "aml"}, None)

    with pytest.raises(RenderError, match=r"second and first are both Microsoft.Storage/storageAccounts\.aml"):
        render([account("first"), account("second")])


# Checkov


@pytest.mark.slow
def test_checkov_finds_what_was_planted_and_nothing_else(results: dict[str, Results]) -> None:
    new = results[WEAKENED].failed - results["prod"].failed
    assert {(check, type_of(resource)) for check, resource in new} == {
        (check, type_) for check, (type_, _, _) in PLANTED.items()
    }


@pytest.mark.slow
def test_checkov_looked_at_all_that_it_has_rules_for(results: dict[str, Results]) -> None:
    looked_at = {type_of(resource) for _, resource in results["prod"].passed}
    assert looked_at >= {STORAGE, VAULT, REGISTRY, WORKSPACE}


@pytest.mark.slow
@pytest.mark.parametrize("stack", ["staging", "prod"])
def test_checkov_finds_nothing_on_a_strict_stack_that_is_not_exempted(
    stack: str, results: dict[str, Results], rendered: dict[str, Rendered]
) -> None:
    written = exemptions.load()
    found = by_name(results[stack].failed, rendered[stack])
    covering = {
        (check, resource): [each for each in written for rule in rules_of(check) if each.covers(stack, rule, resource)]
        for check, resource in found
    }
    # Of a difference there is no exemption: the pack, which finds nothing there, would say that it covers nothing.
    left = {check for (check, _), by in covering.items() if not by}
    assert left == ({"CKV_AZURE_36"} if stack == "staging" else set())
    needed = [each for by in covering.values() for each in by]
    own = [each for each in written if each.holds_in(stack) and not each.is_the_packs()]
    assert [str(each) for each in own if each not in needed] == [], "exemptions of what Checkov no longer finds"


@pytest.mark.slow
@pytest.mark.parametrize("stack", STACKS)
def test_the_pack_says_of_a_stack_what_checkov_says(
    stack: str, results: dict[str, Results], rendered: dict[str, Rendered], recorded: Recorded
) -> None:
    made = {check for check in results[stack].checks if any(is_called(rule, check) for rule in RULES)} - DIFFERS
    assert len(made) > 10
    checkovs = {pair for pair in by_name(results[stack].failed, rendered[stack]) if pair[0] in made}
    found = findings(stack, [resource_of(each) for each in recorded[stack]])
    assert {(check, each.resource.name) for each in found for check in each.rule.sources if check in made} == checkovs
