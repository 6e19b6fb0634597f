"""Azure's rules for autoscale: of Azure Monitor for managed deployments, of the cluster's router for Kubernetes.

Source: https://learn.microsoft.com/azure/azure-monitor/autoscale/autoscale-understanding-settings and
https://learn.microsoft.com/azure/machine-learning/how-to-kubernetes-inference-routing-azureml-fe.
"""

from collections.abc import Iterator
from itertools import combinations

from settings.scale import WEEK, AutoscaleSettings, ScaleRuleSettings, TimetableEntry
from settings.shapes import key_path
from settings.time_zones import windows_name

MAX_RULES = 10
MAX_PROFILES = 20

Findings = Iterator[str]


def managed_findings(path: str, scale: AutoscaleSettings) -> Findings:
    """What is wrong with the autoscale of a managed deployment."""
    for key, given in (
        ("targetUtilizationPercentage", scale.target_utilization_percentage),
        ("pollingInterval", scale.polling_interval),
    ):
        if given is not None:
            yield f"{path}.{key}: is for Kubernetes endpoints; use rules with metric: cpu instead."
    if not scale.rules and not scale.timetable:
        yield f"{path}: gives neither rules nor a timetable, so nothing would ever change; give one of them."
    yield from _bounds(path, scale)
    yield from _rules(path, scale)
    yield from _timetable(path, scale)


def kubernetes_findings(path: str, scale: AutoscaleSettings) -> Findings:
    """What is wrong with the autoscale of a Kubernetes deployment."""
    for key, given in (("rules", scale.rules), ("timetable", scale.timetable)):
        if given:
            yield (
                f"{path}.{key}: a Kubernetes deployment is scaled by its cluster's router, by its utilization only; "
                "remove it, and set targetUtilizationPercentage where 70 does not suit."
            )
    yield from _bounds(path, scale)


def _bounds(path: str, scale: AutoscaleSettings) -> Findings:
    yield from _ordered(path, *scale.bounds())
    for at, entry in enumerate(scale.timetable):
        yield from _ordered(key_path(path, "timetable", at), *scale.bounds(entry))


def _ordered(path: str, least: int, most: int) -> Findings:
    if least > most:
        yield f"{path}.minInstances: {least} is more than maxInstances ({most}); lower the one or raise the other."


def _rules(path: str, scale: AutoscaleSettings) -> Findings:
    # Azure has one rule for growing and another for shrinking.
    count = sum(1 if rule.below is None else 2 for rule in scale.rules)
    if count > MAX_RULES:
        yield (f"{path}.rules: {count} rules, each below counted; Azure takes {MAX_RULES}: remove {count - MAX_RULES}.")
    for at, rule in enumerate(scale.rules):
        yield from _thresholds(key_path(path, "rules", at), rule)
    least, most = scale.bounds()
    if scale.rules and least < most and all(rule.below is None for rule in scale.rules):
        yield f"{path}.rules: none says below, so no instance would ever be removed; add it to one of them."


def _thresholds(path: str, rule: ScaleRuleSettings) -> Findings:
    if rule.below is not None and rule.below >= rule.above:
        yield f"{path}.below: {rule.below:g} is not less than above ({rule.above:g}); leave room between the two."
    if rule.metric == "cpu" and rule.above >= 100:
        yield f"{path}.above: {rule.above:g} per cent of CPU is never exceeded; lower it."


def _timetable(path: str, scale: AutoscaleSettings) -> Findings:
    if windows_name(scale.time_zone) is None:
        yield f'{path}.timeZone: "{scale.time_zone}" is no time zone of Azure\'s; write one as Europe/London or UTC.'
    entries, own = scale.timetable, key_path(path, "timetable")
    if 2 * len(entries) > MAX_PROFILES:
        most = MAX_PROFILES // 2
        yield f"{own}: {len(entries)} entries; Azure takes {most}: remove {len(entries) - most}."
    for one, other in combinations(range(len(entries)), 2):
        if entries[one].name.lower() == entries[other].name.lower():
            yield f'{own}.{other}.name: "{entries[other].name}" is the name of another entry; choose another.'
        elif _overlap(entries[one], entries[other]):
            yield (
                f"{own}.{other}: {entries[other].name} and {entries[one].name} overlap; Azure could go by one of them "
                "only: end the one before the other begins."
            )
    for at, entry in enumerate(entries):
        if not entry.days:
            yield f"{own}.{at}.days: is empty; name days, or leave it out for every day."
        if (entry.min_instances, entry.max_instances) == (None, None):
            yield f"{own}.{at}: changes nothing; give minInstances, maxInstances, or both."


def _overlap(one: TimetableEntry, other: TimetableEntry) -> bool:
    return any(
        start < other_end + shift and other_start + shift < end
        for start, end in one.spans()
        for other_start, other_end in other.spans()
        for shift in (-WEEK, 0, WEEK)
    )
