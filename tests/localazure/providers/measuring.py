"""A cloud whose time and load a test makes, for what is measured and what is scaled by it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

from localazure.serving.counters import Statistics, Usage

if TYPE_CHECKING:
    from tests.localazure.providers.conftest import Cloud

API = "?api-version=2024-02-01"
NOON = datetime(2026, 6, 5, 12, tzinfo=UTC)
HOUR = "timespan=2026-06-05T12:00:00Z/2026-06-05T13:00:00Z"


@dataclass
class Measured:
    """A cloud with an endpoint and two deployments, whose time and load a test makes."""

    cloud: Cloud
    now: datetime = NOON
    counters: dict[str, int] = field(default_factory=dict)
    latency: dict[str, dict[float, int]] = field(default_factory=dict)
    cpu: dict[int, float] = field(default_factory=lambda: {1: 0.0, 2: 0.0})

    def answer(
        self, deployment: str, count: int, status: int = 200, took: float = 10.0, kind: str = "external"
    ) -> None:
        """Requests that are answered now."""
        own = f"cluster.online/{deployment}.{kind}.upstream_rq_"
        self.counters[f"{own}{status}"] = self.counters.get(f"{own}{status}", 0) + count
        times = self.latency.setdefault(f"{own}time", {})
        times[took] = times.get(took, 0) + count

    def work(self, process: int, cores: float, seconds: float = 60) -> None:
        """What an instance uses in the time that passes next."""
        self.cpu[process] += cores * seconds

    def sample(self) -> None:
        """One look at what was done."""
        counters = {**self.counters, "http.scoring.downstream_cx_active": 4}
        self.cloud.serving.statistics = Statistics(counters, {name: dict(each) for name, each in self.latency.items()})
        self.cloud.serving.usages = {each: Usage({each: cpu}, each * 2**30) for each, cpu in self.cpu.items()}
        self.cloud.azure.meter.sample()

    def minutes(self, count: int = 1) -> None:
        """A look, and so many minutes, each with a look of its own at its beginning."""
        for _ in range(count):
            self.sample()
            self.now += timedelta(minutes=1)

    def ask(self, names: str, parameters: str = "", deployment: str = "") -> httpx.Response:
        """A query of an endpoint's metrics, or of a deployment's."""
        where = self.cloud.endpoint() + (f"/deployments/{deployment}" if deployment else "")
        path = f"{where}/providers/Microsoft.Insights/metrics{API}&metricnames={names}&{parameters}"
        return self.cloud.send("GET", path)

    def series(self, names: str, parameters: str = HOUR, deployment: str = "") -> list[dict[str, Any]]:
        """The time series of the first metric."""
        answer = self.ask(names, parameters, deployment)
        assert answer.status_code == 200, answer.text
        return answer.json()["value"][0]["timeseries"]

    def points(self, names: str, parameters: str = HOUR, deployment: str = "") -> list[Any]:
        """The values of the only series, by time; a step without samples has none."""
        (found,) = self.series(names, parameters, deployment)
        return [next((value for name, value in each.items() if name != "timeStamp"), None) for each in found["data"]]
