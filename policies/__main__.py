"""The pack as Pulumi's engine runs it: each rule becomes a policy of CrossGuard's.

A rule over one resource is asked before that resource is touched; rules over the whole stack, when all are known.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pulumi_policy import (  # pyright: ignore[reportMissingImports] - in a lock of its own, policies/requirements.txt
    EnforcementLevel,
    PolicyPack,
    ResourceValidationPolicy,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError  # pyright: ignore[reportMissingImports]

# The engine runs this folder as a program, not as a package.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from policies import exemptions
from policies.pack import in_force
from policies.resource import UNKNOWN, Resource, batch_deployments, kind_of, without_revision
from policies.rule import Rule, StackRule
from policies.stacks import level

Report = Callable[..., None]
# The engine gives a pack the stack's configuration, as it gives it to the program.
STATED = batch_deployments(json.loads(os.environ.get("PULUMI_CONFIG") or "{}"))


def plain(values: Any) -> Any:
    """What the engine hands over, with our own mark for what is not known yet where CrossGuard raises an error."""
    if isinstance(values, Mapping):
        return {key: _entry(values, key) for key in values}
    if isinstance(values, Sequence) and not isinstance(values, str | bytes):
        return [_entry(values, at) for at in range(len(values))]
    return values


def _entry(values: Any, key: Any) -> Any:
    try:
        return plain(values[key])
    except UnknownValueError:
        return UNKNOWN


def resource_of(args: Any) -> Resource:
    needs = getattr(args, "property_dependencies", {})
    return Resource(
        kind=kind_of(args.resource_type),
        name=args.name,
        properties=plain(args.props),
        protect=args.opts.protect,
        needs={key: frozenset(each.name for each in resources) for key, resources in needs.items()},
        urn=args.urn,
        stated=STATED.get(without_revision(args.name)),
    )


def check_resource(rule: Rule, exempting: exemptions.Exempting, args: Any, report: Report) -> None:
    if kind_of(args.resource_type) in rule.kinds:
        resource = resource_of(args)
        if rule.breaks(resource) and not exempting.exempts(rule, resource.name):
            report("", resource.urn)


def check_stack(rule: StackRule, exempting: exemptions.Exempting, args: Any, report: Report) -> None:
    for resource in rule.broken_by([resource_of(each) for each in args.resources]):
        if not exempting.exempts(rule, resource.name):
            report("", resource.urn)


def check_exemptions(texts: Callable[[], Sequence[str]], args: Any, report: Report) -> None:
    for text in texts():
        report(text)


def described(rule: Rule | StackRule) -> str:
    return f"{rule.text} ({', '.join(rule.sources)})" if rule.sources else rule.text


def policies(stack: str) -> list[Any]:
    """The rules in force, then what the exemptions themselves come to: they are counted while the rules are asked."""
    exempting = exemptions.Exempting(stack, exemptions.load(), datetime.now(UTC).date())
    levels = {"advisory": EnforcementLevel.ADVISORY, "mandatory": EnforcementLevel.MANDATORY}
    mine = levels[level(stack)]
    made: list[Any] = []
    for rule in in_force(stack):
        # CrossGuard wants functions that take what they are called with, and these carry more.
        if isinstance(rule, Rule):
            check = partial(check_resource, rule, exempting)
            made.append(ResourceValidationPolicy(rule.id, described(rule), check, enforcement_level=mine))
        else:
            check = partial(check_stack, rule, exempting)
            made.append(StackValidationPolicy(rule.id, described(rule), check, enforcement_level=mine))
    for id_, texts, text, weight in (
        ("exemptions-needed", exempting.needless, "Each exemption covers something.", mine),
        ("exemptions-reviewed", exempting.expired, "Each exemption is looked at again in time.", levels["advisory"]),
    ):
        check = partial(check_exemptions, texts)
        made.append(StackValidationPolicy(id_, text, check, enforcement_level=weight))
    return made


if __name__ == "__main__":
    PolicyPack("azureml-endpoints", policies(os.environ.get("PULUMI_STACK", "")))
