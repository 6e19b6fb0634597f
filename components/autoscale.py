"""Autoscale of a managed online deployment: Azure Monitor adds and removes instances."""

import json
from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi_azure_native import machinelearningservices as ml
from pulumi_azure_native import monitor

from components.workspace import MLWorkspace
from settings import AutoscaleSettings
from settings.scale import DAYS, WEEK, ScaleRuleSettings, TimetableEntry
from settings.time_zones import windows_name

# The deployment itself knows how busy its processors are, and the endpoint what becomes of its requests
# (https://learn.microsoft.com/azure/machine-learning/how-to-autoscale-endpoints).
METRICS = {
    "cpu": "CpuUtilizationPercentage",
    "latency": "RequestLatency",
    "requests_per_minute": "RequestsPerMinute",
}
USUAL = "default"


class Autoscale(pulumi.ComponentResource):
    """The autoscale setting of one deployment, deleted before it; from here on the instance count is Azure Monitor's.

    ```python
    Autoscale(
        "tumor-online-blue-1a2b3c4d-autoscale", settings=settings, endpoint=endpoint, deployment=deployment,
        setting_name="tumor-online-blue-1a2b3c4d", deployment_name="blue-1a2b3c4d", workspace=workspace,
    )
    ```
    """

    def __init__(
        self,
        name: str,
        *,
        settings: AutoscaleSettings,
        endpoint: pulumi.CustomResource,
        deployment: ml.OnlineDeployment,
        setting_name: str,
        deployment_name: str,
        workspace: MLWorkspace,
        after: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("azureml-endpoints:index:Autoscale", name, None, opts)
        self._settings, self._deployment_name = settings, deployment_name
        self._endpoint, self._deployment = endpoint, deployment
        setting = monitor.AutoscaleSetting(
            f"{name}-setting",
            autoscale_setting_name=setting_name,
            resource_group_name=workspace.resource_group_name,
            location=workspace.location,
            enabled=True,
            target_resource_uri=deployment.id,
            target_resource_location=workspace.location,
            profiles=self._profiles(),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[deployment, *after]),
        )
        self.id = setting.id
        self.register_outputs({"id": self.id})

    def _profiles(self) -> list[monitor.AutoscaleProfileArgs]:
        """What holds when; with a timetable, each entry and, at its end, what holds otherwise."""
        entries = self._settings.timetable
        if not entries:
            return [self._profile(USUAL)]
        ends = [(entry, after(entry, entries)) for entry in entries]
        return [
            *(self._profile(entry.name, entry, [start for start, _ in entry.spans()]) for entry in entries),
            # Azure goes by the profile that began last, and knows by such a name that this one is an end.
            *(self._profile(_end_of(entry), None, moments) for entry, moments in ends if moments),
        ]

    def _profile(
        self, name: str, entry: TimetableEntry | None = None, moments: Sequence[int] = ()
    ) -> monitor.AutoscaleProfileArgs:
        least, most = self._settings.bounds(entry)
        return monitor.AutoscaleProfileArgs(
            name=name,
            # ARM has these numbers as text. `default` is where Azure goes when it cannot measure.
            capacity=monitor.ScaleCapacityArgs(minimum=str(least), maximum=str(most), default=str(least)),
            rules=[one for rule in self._settings.rules for one in self._rule(rule)],
            recurrence=self._weekly(moments) if moments else None,
        )

    def _weekly(self, moments: Sequence[int]) -> monitor.RecurrenceArgs:
        minutes = moments[0] % (24 * 60)
        return monitor.RecurrenceArgs(
            frequency=monitor.RecurrenceFrequency.WEEK,
            schedule=monitor.RecurrentScheduleArgs(
                time_zone=str(windows_name(self._settings.time_zone)),
                days=[DAYS[moment // (24 * 60)].capitalize() for moment in moments],
                hours=[minutes // 60],
                minutes=[minutes % 60],
            ),
        )

    def _rule(self, rule: ScaleRuleSettings) -> list[monitor.ScaleRuleArgs]:
        """The rule that adds instances and, where there is one, the rule that removes them."""
        grow = self._half(rule, "GreaterThan", rule.above, "Increase")
        return [grow] if rule.below is None else [grow, self._half(rule, "LessThan", rule.below, "Decrease")]

    def _half(self, rule: ScaleRuleSettings, operator: str, threshold: float, direction: str) -> monitor.ScaleRuleArgs:
        action = monitor.ScaleActionArgs(
            direction=monitor.ScaleDirection(direction),
            type=monitor.ScaleType.CHANGE_COUNT,
            value=str(rule.by),
            cooldown=iso_duration(rule.cooldown),
        )
        trigger = monitor.MetricTriggerArgs(
            metric_name=METRICS[rule.metric],
            operator=monitor.ComparisonOperationType(operator),
            threshold=threshold,
            statistic=monitor.MetricStatisticType.AVERAGE,
            time_aggregation=monitor.TimeAggregationType.AVERAGE,
            time_grain="PT1M",
            time_window=iso_duration(rule.over),
            **self._source(rule),
        )
        return monitor.ScaleRuleArgs(metric_trigger=trigger, scale_action=action)

    def _source(self, rule: ScaleRuleSettings) -> dict[str, Any]:
        """Where a metric is asked for, and which part of it is this deployment's."""
        if rule.metric == "cpu":
            return {"metric_resource_uri": self._deployment.id}
        own = monitor.ScaleRuleMetricDimensionArgs(
            dimension_name="deployment", operator="Equals", values=[self._deployment_name]
        )
        return {
            "metric_resource_uri": self._endpoint.id,
            "dimensions": [own],
            "divide_per_instance": rule.metric == "requests_per_minute",
        }


def after(entry: TimetableEntry, entries: Sequence[TimetableEntry]) -> list[int]:
    """When an entry ends and no other begins, in minutes since Monday 0:00."""
    begins = {start for each in entries for start, _ in each.spans()}
    return sorted(end % WEEK for _, end in entry.spans() if end % WEEK not in begins)


def iso_duration(seconds: int) -> str:
    """A duration as Azure answers it, so that a refresh finds what was sent: 300 is `PT5M`, 5400 is `PT1H30M`."""
    days, rest = divmod(seconds, 86_400)
    parts = {"H": rest // 3600, "M": rest % 3600 // 60, "S": rest % 60}
    clock = "".join(f"{value}{unit}" for unit, value in parts.items() if value)
    return "P" + (f"{days}D" if days else "") + (f"T{clock}" if clock else "")


def _end_of(entry: TimetableEntry) -> str:
    return json.dumps({"name": USUAL, "for": entry.name}, separators=(",", ":"))
