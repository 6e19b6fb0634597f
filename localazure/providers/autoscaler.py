"""Carries autoscale settings out: looks at each of them every few seconds, and scales as a PATCH of the capacity would.

As in Azure, a scale action shows in the deployment and in the log (there, the activity log), not in the setting.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError
from localazure.arm.store import Resource
from localazure.periodic import Periodic
from localazure.providers.autoscale import TYPE
from localazure.providers.cloud import Cloud
from localazure.providers.metric_points import Dimensions, Span, Stat, series
from localazure.providers.ml.names import FAILED, SUCCEEDED
from localazure.scaling import Decision, decide, in_force
from localazure.serving.metrics import Clock, History, minute_of

log = logging.getLogger(__name__)

Json = dict[str, Any]
Scale = Callable[[str, int], None]
"""Sets the capacity of a deployment as a PATCH does; raises ArmError where that is refused."""

# After one that failed; else a deployment that cannot be scaled would be tried at every turn.
PAUSE_SECONDS = 60.0


class Autoscaler:
    """The engine behind `Microsoft.Insights/autoscaleSettings`."""

    def __init__(self, cloud: Cloud, history: History, clock: Clock, scale: Scale) -> None:
        self._cloud = cloud
        self._history = history
        self._clock = clock
        self._scale = scale
        self._thread = Periodic("autoscale", cloud.settings.autoscale_seconds, self.step)

    def start(self) -> None:
        """Begins to look, every `autoscale_seconds`."""
        self._thread.start()

    def stop(self) -> None:
        """Ends; what it has begun to scale goes on."""
        self._thread.stop()

    def step(self) -> None:
        """Looks at every setting once."""
        for setting in self._cloud.store.of_type(TYPE):
            if setting.properties.get("enabled"):
                self._look_safely(setting, self._clock())

    def _look_safely(self, setting: Resource, now: datetime) -> None:
        try:
            self._look(setting, now)
        except Exception:
            # It must not keep the settings after it from being looked at.
            log.exception("autoscale setting %s failed", setting.name)
            self._note(setting, tried=_later(now), refused=True)

    def _look(self, setting: Resource, now: datetime) -> None:
        deployment = self._cloud.store.get(setting.properties["targetResourceUri"])
        if deployment is None or not self._is_settled(deployment, setting, now):
            return
        profile = in_force(setting.properties["profiles"], now)
        present = deployment.document["sku"]["capacity"]
        if profile is None:
            return
        rested = (now - _moment(setting.hidden.get("scaled"))).total_seconds()
        decision = decide(profile, present, lambda trigger: self._observe(trigger, present, now), rested)
        if decision is not None and decision.count != present:
            self._carry_out(setting, deployment, decision, now)

    def _is_settled(self, deployment: Resource, setting: Resource, now: datetime) -> bool:
        """Whether it can be scaled: nothing is under way on its endpoint, and no attempt has just failed."""
        if not deployment.hidden.get("created") or self._cloud.store.running(ids.parent(deployment.id)):
            return False
        failed = deployment.state == FAILED or setting.hidden.get("refused")
        just_now = now < _moment(setting.hidden.get("tried")) + timedelta(seconds=PAUSE_SECONDS)
        return deployment.state in (SUCCEEDED, FAILED) and not (failed and just_now)

    def _carry_out(self, setting: Resource, deployment: Resource, decision: Decision, now: datetime) -> None:
        try:
            with self._cloud.store.transaction():
                # What was decided on may have changed or gone since.
                if self._cloud.store.get(setting.id) != setting or self._cloud.store.get(deployment.id) != deployment:
                    return
                self._scale(deployment.id, decision.count)
                self._note(setting, tried=_later(now), refused=False, scaled=_later(now))
        except ArmError as error:
            self._note(setting, tried=_later(now), refused=True)
            log.warning("%s is not scaled by %s: %s", deployment.id, setting.name, error.message)
            return
        present = deployment.document["sku"]["capacity"]
        words = "autoscale setting %s scales %s from %d to %d: %s"
        log.info(words, setting.name, deployment.id, present, decision.count, decision.reason)

    def _note(self, setting: Resource, **notes: Any) -> None:
        with self._cloud.store.transaction():
            if found := self._cloud.store.get(setting.id):
                self._cloud.store.put(replace(found, hidden={**found.hidden, **notes}))

    # What triggers see ---------------------------------------------------------------------------------------

    def _observe(self, trigger: Json, present: int, now: datetime) -> float | None:
        """A trigger's metric over its window, whose last minute is the last one that is over."""
        source = self._cloud.store.get(trigger["metricResourceUri"])
        if source is None:
            return None
        last = minute_of(now)
        window, grain = (int(read.seconds(trigger[name], name) // 60) for name in ("timeWindow", "timeGrain"))
        span = Span(last - window, last, grain)
        found = series(self._history, source, trigger["metricName"], span, _selection(trigger["dimensions"]))
        steps = [_STATISTICS[trigger["statistic"]](stat) for _, stat in sorted(found.get((), {}).items())]
        if not steps:
            return None
        value = _AGGREGATIONS[trigger["timeAggregation"]](steps)
        return value / present if trigger["dividePerInstance"] else value


_STATISTICS: Mapping[str, Callable[[Stat], float]] = {
    "Average": lambda stat: stat.average,
    "Min": lambda stat: stat.least,
    "Max": lambda stat: stat.most,
    "Sum": lambda stat: stat.total,
    "Count": lambda stat: float(stat.count),
}
_AGGREGATIONS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "Average": lambda values: sum(values) / len(values),
    "Minimum": min,
    "Maximum": max,
    "Total": sum,
    "Count": lambda values: float(len(values)),
    "Last": lambda values: values[-1],
}


def _selection(dimensions: Sequence[Json]) -> Callable[[Dimensions], bool]:
    """The samples whose dimensions a trigger names; one without such a dimension counts for every value of it."""

    def selects(has: Dimensions) -> bool:
        folded = {name.lower(): value.lower() for name, value in has.items()}
        return all(_agrees(folded, each) for each in dimensions)

    return selects


def _agrees(has: Mapping[str, str], wanted: Json) -> bool:
    value = has.get(wanted["DimensionName"].lower())
    values = [str(each).lower() for each in wanted["Values"]]
    if value is None or "*" in values:
        return True
    return (value in values) == (wanted["Operator"] == "Equals")


def _later(now: datetime, seconds: float = 0.0) -> str:
    return (now + timedelta(seconds=seconds)).isoformat()


def _moment(noted: str | None) -> datetime:
    return datetime.fromisoformat(noted) if noted else datetime(1970, 1, 1, tzinfo=UTC)
