"""All rules, and what a stack's resources come to under them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policies import registries, serving, storage, vaults, workspaces
from policies.resource import Resource
from policies.rule import AnyRule, Finding, Rule, StackRule
from policies.stacks import kind_of_stack

RULES: tuple[AnyRule, ...] = (
    *workspaces.RULES,
    *storage.RULES,
    *vaults.RULES,
    *registries.RULES,
    *serving.RULES,
)


def in_force(stack: str) -> list[AnyRule]:
    """The rules that hold in a stack."""
    return [rule for rule in RULES if not rule.stacks or kind_of_stack(stack) in rule.stacks]


def findings(stack: str, resources: Sequence[Resource]) -> Iterator[Finding]:
    """What the resources of a stack do not keep to, exempted or not."""
    for rule in in_force(stack):
        yield from (Finding(rule, each) for each in broken_by(rule, resources))


def broken_by(rule: AnyRule, resources: Sequence[Resource]) -> Iterator[Resource]:
    match rule:
        case Rule():
            yield from (each for each in resources if rule.breaks(each))
        case StackRule():
            yield from rule.broken_by(resources)
