"""Autoscale with everything real but the time: requests through Envoy make 3 inference servers of 1, and 1 of 3."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from localazure.settings import Settings
from tests.localazure.providers.conftest import Cloud, FakeServing, booted, put_on_disk

from .conftest import REQUIREMENTS, client, until

SCRIPT = "def init():\n    pass\n\ndef run(raw_data):\n    return sum(range(20_000))\n"
METRICS = "/providers/Microsoft.Insights/metrics?api-version=2024-02-01&metricnames="
CONDA = "dependencies: [python=3.11, pip, {pip: " + json.dumps(REQUIREMENTS) + "}]"


class Real:
    """A Local Azure that serves for real, in which time goes on when a test says so."""

    def __init__(self) -> None:
        self.now = datetime(2026, 6, 5, 12, tzinfo=UTC)

    @contextmanager
    def running(self, folder: Path) -> Iterator[Real]:
        settings = Settings(max_instances_per_deployment=3, autoscale_seconds=86_400, default_quota=300)
        # Without a replacement Local Azure takes its own serving.
        with booted(folder, cast("FakeServing", None), settings, lambda: self.now) as self.cloud:
            self.cloud.prepare()
            yield self

    @property
    def blue(self) -> str:
        return f"{self.cloud.endpoint()}/deployments/blue"

    def deploy(self) -> None:
        """An endpoint with one instance of blue, which gets everything."""
        cloud: Cloud = self.cloud
        environment = f"{cloud.workspace}/environments/env/versions/2"
        cloud.put(environment, {"properties": {"image": "image", "condaFile": CONDA}})
        cloud.put(cloud.endpoint(), cloud.endpoint_body())
        code = {"codeId": f"{cloud.workspace}/codes/code/versions/1", "scoringScript": "score.py"}
        model = f"{cloud.workspace}/models/custom/versions/1"
        body = cloud.deployment_body(model=model, codeConfiguration=code, environmentId=environment)
        answer = cloud.send("PUT", self.blue, body)
        until(lambda: self.state() != "Creating", seconds=300)
        assert self.state() == "Succeeded", cloud.send("GET", answer.headers["azure-asyncoperation"]).text
        cloud.put(cloud.endpoint(), cloud.endpoint_body(traffic={"blue": 100}))

    def state(self) -> str:
        return self.cloud.get(self.blue)["properties"]["provisioningState"]

    def scale_by(self, above: float, below: float) -> None:
        """Rules on the requests per minute of each instance, as the program's own component writes them."""
        own = [{"DimensionName": "deployment", "Operator": "Equals", "Values": ["blue"]}]
        rules = [
            {
                "metricTrigger": {
                    "metricName": "RequestsPerMinute",
                    "metricResourceUri": self.cloud.endpoint(),
                    "operator": operator,
                    "threshold": threshold,
                    "statistic": "Average",
                    "timeAggregation": "Average",
                    "timeGrain": "PT1M",
                    "timeWindow": "PT5M",
                    "dimensions": own,
                    "dividePerInstance": True,
                },
                "scaleAction": {"direction": direction, "type": "ChangeCount", "value": "2", "cooldown": "PT5M"},
            }
            for operator, threshold, direction in (("GreaterThan", above, "Increase"), ("LessThan", below, "Decrease"))
        ]
        profile = {"name": "default", "capacity": {"minimum": "1", "maximum": "3", "default": "1"}, "rules": rules}
        setting = f"{self.cloud.group}/providers/Microsoft.Insights/autoscaleSettings/scale"
        own_properties = {"enabled": True, "targetResourceUri": self.blue, "profiles": [profile]}
        self.cloud.put(setting, {"location": "eastus", "properties": own_properties})

    def minute(self) -> None:
        """A minute passes: it is measured, autoscale looks, and what it began comes to its end."""
        self.cloud.azure.meter.sample()
        self.now += timedelta(minutes=1)
        self.cloud.azure.autoscaler.step()
        until(lambda: self.state() in ("Succeeded", "Failed"), seconds=120)
        assert self.state() == "Succeeded"

    def instances(self) -> int:
        """How many processes serve blue, which must be what ARM says."""
        (found,) = self.cloud.azure.status()["onlineEndpoints"][0]["deployments"]
        processes = [each for each in found["instances"] if each["ready"]]
        assert len(processes) == self.cloud.get(self.blue)["sku"]["capacity"]
        return len(processes)

    def points(self, resource: str, name: str) -> list[Any]:
        """The averages of a metric that are known."""
        (metric,) = self.cloud.get(f"{resource}{METRICS}{name}")["value"]
        return [each["average"] for found in metric["timeseries"] for each in found["data"] if "average" in each]


@pytest.fixture
def real(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Real]:
    monkeypatch.setenv("AZUREML_ENDPOINTS_CACHE", str(cache))
    code = tmp_path / "code"
    code.mkdir()
    (code / "score.py").write_text(SCRIPT)
    put_on_disk(monkeypatch, code)
    with Real().running(tmp_path / "home") as made:
        made.deploy()
        yield made


@contextmanager
def asking(real: Real) -> Iterator[tuple[Callable[[int], None], Counter[int]]]:
    """A caller that never stops, and what it was answered; waits until it has asked so many times more."""
    answers: Counter[int] = Counter()
    ended = threading.Event()
    host = real.cloud.get(real.cloud.endpoint())["properties"]["scoringUri"].split("/")[2]
    port = real.cloud.azure.upstream(host)
    assert port
    key = real.cloud.azure.endpoint_keys("online")["primaryKey"]

    def ask() -> None:
        with client(port, key, Host=host) as own:
            while not ended.is_set():
                answers[own.post("/score", content=b"{}").status_code] += 1

    def more(count: int) -> None:
        wanted = answers.total() + count
        until(lambda: answers.total() >= wanted, seconds=120)

    caller = threading.Thread(target=ask)
    caller.start()
    try:
        yield more, answers
    finally:
        ended.set()
        caller.join()


def test_load_makes_three_processes_of_one_and_its_end_makes_one_again(real: Real) -> None:
    real.scale_by(above=50, below=20)
    assert real.instances() == 1
    with asking(real) as (more, answers):
        more(100)
        real.minute()
        assert real.instances() == 3, "more than 50 a minute for one"
        # While three serve, and they have cooled.
        for _ in range(5):
            more(200)
            real.minute()
        assert real.instances() == 3
    assert set(answers) == {200}, "no request was lost on the way up"
    for _ in range(7):
        real.minute()
    assert real.instances() == 1
    capacities = real.points(real.blue, "DeploymentCapacity")
    assert (capacities[0], max(capacities)) == (1, 3)
    # The router counts from zero at each change of the count; what is answered in that very moment is lost to it.
    least, most = answers.total() - 10, answers.total()
    assert least <= sum(real.points(real.cloud.endpoint(), "RequestsPerMinute")) <= most
    assert max(real.points(real.blue, "CpuUtilizationPercentage")) > 0
    assert min(real.points(real.blue, "CpuMemoryUtilizationPercentage")) > 0
    # Latencies come later than counts, so more of them are lost where a change of the count takes long.
    until(lambda: real.cloud.azure.meter.sample() or 0.8 * most <= timed(real) <= most)


def timed(real: Real) -> float:
    """How many requests have a latency, up to now."""
    span = "timespan=PT1H&interval=FULL&aggregation=count&metricnames=RequestLatency&api-version=2024-02-01"
    found = real.cloud.get(f"{real.cloud.endpoint()}/providers/Microsoft.Insights/metrics?{span}")
    return sum(each["count"] for one in found["value"][0]["timeseries"] for each in one["data"])
