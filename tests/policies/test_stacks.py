"""Layer: the policy pack over the resources that the program registers for each committed stack, under mocks."""

import re
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from policies import exemptions
from policies.pack import findings
from policies.resource import Resource
from policies.rule import Finding
from policies.stacks import level
from tests.policies.conftest import STACKS, OfStack

TODAY = date(2026, 12, 1)
WORKSPACE, STORAGE, VAULT, REGISTRY = (f"workspace-{part}" for part in ("workspace", "storage", "vault", "registry"))
# What is known of each stack, exempted or not. What prod and staging do not keep to has a written exemption.
CUSTOMER_KEYS = {"workspace-customer-key": {WORKSPACE}, "storage-customer-key": {STORAGE}}
AZURE_ML_CANNOT = {
    "workspace-v1-legacy": {WORKSPACE},
    "compute-subnet": {"aml-cluster-cluster"},
    "registry-signed-images": {REGISTRY},
    "registry-quarantine": {REGISTRY},
    "registry-cleans-up": {REGISTRY},
    "registry-replicated": {REGISTRY},
}
PUBLIC = {
    "workspace-public-access": {WORKSPACE},
    "workspace-private-endpoint": {WORKSPACE},
    "storage-public-access": {STORAGE},
    "storage-default-deny": {STORAGE},
    "storage-private-endpoint": {STORAGE},
    "vault-public-access": {VAULT},
    "vault-default-deny": {VAULT},
    "vault-private-endpoint": {VAULT},
    "registry-public-access": {REGISTRY},
}
CHEAP = {
    "storage-replication": {STORAGE},
    "vault-recoverable": {VAULT},
    "registry-zones": {REGISTRY},
    "registry-data-endpoint": {REGISTRY},
}
# Of a registry that is not premium.
BASIC = {"registry-scans-images": {REGISTRY}}
BY_KEYS = {
    "workspace-user-identity": {WORKSPACE},
    "workspace-primary-identity": {WORKSPACE},
    "compute-local-auth": {"aml-cluster-cluster"},
    "storage-shared-keys": {STORAGE},
    "storage-sas-expiry": {STORAGE},
}
LOOSE = {
    "workspace-approved-outbound": {WORKSPACE},
    "workspace-outbound-private": {WORKSPACE},
    "workspace-logs": {WORKSPACE},
    "storage-logs": {STORAGE},
    "storage-soft-delete": {STORAGE},
    "image-pinned": {"tumor-batch-custom-environment", "tumor-online-green-environment"},
    "batch-threshold-explicit": {"tumor-batch-custom-*", "tumor-batch-mlflow-*"},
}
PROD = CUSTOMER_KEYS | AZURE_ML_CANNOT
STAGING = PROD | PUBLIC | CHEAP
OPEN = STAGING | BASIC | BY_KEYS | LOOSE
EXPECTED = {"prod": PROD, "staging": STAGING, "dev": OPEN, "local": OPEN}
Config = dict[str, Any]


def by_rule(found: list[Finding]) -> dict[str, set[str]]:
    """The resources by the rule; the content of a deployment is no part of its name here."""
    rules: dict[str, set[str]] = {}
    for each in found:
        rules.setdefault(each.rule.id, set()).add(re.sub(r"-[0-9a-f]{8}\b", "-*", each.resource.name))
    return rules


def left(stack: str, resources: list[Resource]) -> list[Finding]:
    exempting = exemptions.Exempting(stack, exemptions.load(), TODAY)
    return exempting.left_over(findings(stack, resources))


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_has_these_findings_and_no_others(stack: str, resources: OfStack) -> None:
    assert by_rule(list(findings(stack, resources(stack)))) == EXPECTED[stack]


@pytest.mark.parametrize("stack", ["staging", "prod"])
def test_a_strict_stack_keeps_to_the_rules_or_carries_a_written_exemption(stack: str, resources: OfStack) -> None:
    assert level(stack) == "mandatory"
    exempting = exemptions.Exempting(stack, exemptions.load(), TODAY)
    assert by_rule(exempting.left_over(findings(stack, resources(stack)))) == {}
    assert exempting.needless() == [], "each exemption covers something"


def online(config: Config) -> Config:
    return config["azureml-endpoints:onlineEndpoints"]["tumor-online"]


def batch(config: Config) -> Config:
    return config["azureml-endpoints:batchEndpoints"]["tumor-batch"]["deployments"]["mlflow"]


AUTOSCALE = {"maxInstances": 9, "rules": [{"metric": "cpu", "above": 70, "below": 30}]}
# An edit of Pulumi.prod.yaml, and what the pack says of it.
WEAKENED: dict[str, tuple[Callable[[Config], object], set[str]]] = {
    "keys instead of identities": (lambda c: online(c).update(authMode="key"), {"endpoint-aad-token"}),
    "a public endpoint": (lambda c: online(c).update(publicNetworkAccess="enabled"), {"endpoint-private"}),
    "a smaller floor": (
        lambda c: online(c)["deployments"]["blue"].update(instanceCount=2, autoscale={**AUTOSCALE, "minInstances": 2}),
        {"instances-prod"},
    ),
    "two instances without autoscale": (
        lambda c: online(c)["deployments"]["green"].update(instanceCount=2, autoscale=None),
        {"instances-prod"},
    ),
    "an image without a version": (
        lambda c: online(c)["deployments"]["green"]["environment"].update(image="mcr.microsoft.com/azureml/image"),
        {"image-pinned"},
    ),
    "whatever model is the latest": (
        lambda c: online(c)["deployments"]["blue"].update(
            model="azureml://registries/models/models/tumor/labels/latest"
        ),
        {"assets-pinned"},
    ),
    "retries of Azure's choice": (lambda c: batch(c).pop("retrySettings"), {"batch-retries-explicit"}),
    "any number of failures": (lambda c: batch(c).pop("errorThreshold"), {"batch-threshold-explicit"}),
    "unprotected data": (lambda c: c.update({"azureml-endpoints:protect": False}), {"data-protected"}),
    "keys of the storage account": (
        lambda c: c["azureml-endpoints:security"].update(keyless=False),
        {"storage-shared-keys", "storage-sas-expiry", "compute-local-auth"},
    ),
    "no logs": (
        lambda c: c["azureml-endpoints:security"].update(diagnostics=False),
        {"workspace-logs", "storage-logs"},
    ),
    "no way back for deleted blobs": (
        lambda c: c["azureml-endpoints:security"].update(softDeleteDays=0),
        {"storage-soft-delete"},
    ),
    "a vault that can be purged": (
        lambda c: c["azureml-endpoints:security"].update(purgeProtection=False),
        {"vault-recoverable"},
    ),
    "an identity of Azure's own": (
        lambda c: c["azureml-endpoints:security"].update(workspaceIdentity="system"),
        {"workspace-user-identity", "workspace-primary-identity"},
    ),
    "machines that reach anything": (
        lambda c: c["azureml-endpoints:network"].update(isolation="allow_internet_outbound", outboundRules={}),
        {"workspace-approved-outbound"},
    ),
    "nodes that wait for work": (
        lambda c: c["azureml-endpoints:computeClusters"]["aml-cluster"].update(minInstances=1),
        {"compute-scales-to-zero"},
    ),
}


def test_edits_that_weaken_prod_are_all_found_at_once(resources: OfStack) -> None:
    def change(config: Config) -> None:
        for weaken, _ in WEAKENED.values():
            weaken(config)

    expected = {rule for _, rules in WEAKENED.values() for rule in rules}
    assert set(by_rule(left("prod", resources("prod", change)))) == expected


@pytest.mark.slow
@pytest.mark.parametrize("edit", WEAKENED)
def test_an_edit_that_weakens_prod_is_found(edit: str, resources: OfStack) -> None:
    change, expected = WEAKENED[edit]
    assert set(by_rule(left("prod", resources("prod", change)))) == expected


def test_a_stack_that_nobody_has_named_is_held_to_be_production(resources: OfStack) -> None:
    assert level("prod-eu") == "mandatory"
    assert "endpoint-aad-token" in by_rule(list(findings("prod-eu", resources("dev"))))
    assert "endpoint-aad-token" not in by_rule(list(findings("dev", resources("dev"))))
