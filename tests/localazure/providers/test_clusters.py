"""Compute clusters over ARM while batch jobs run on them: nodes, queues, pre-emption, and what a restart finds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from localazure import report
from localazure.arm.store import StoreError
from localazure.batch import BatchResult, BatchSpec
from localazure.errors import LocalAzureError, UnknownName
from localazure.providers.ml.clusters import Clusters, change_job
from localazure.providers.ml.job_runner import JobRunner
from localazure.settings import Settings
from tests.localazure.providers.conftest import API, Cloud, FakeServing, booted, until
from tests.localazure.providers.test_jobs import RUNNER, FakeBatch, add_batch, ends, invoke, job, reason, scorer

__all__ = ["scorer"]

REST = 100


class Gates:
    """In place of scoring: each job ends when its gate is opened, or when it is canceled."""

    def __init__(self) -> None:
        self.specs: list[BatchSpec] = []
        self.open: set[str] = set()
        self.failing: set[str] = set()
        self.executors: dict[str, Any] = {}

    def run(self, spec: BatchSpec, *, cancelled: threading.Event, executor: Any = None, **_rest: object) -> BatchResult:
        self.specs.append(spec)
        self.executors[spec.job] = executor
        while spec.job not in self.open and not cancelled.wait(0.005):
            pass
        good = not cancelled.is_set() and spec.job not in self.failing
        return BatchResult(good, 1, 0, "" if good else "it ended badly")

    @property
    def names(self) -> list[str]:
        return [spec.job for spec in self.specs]


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


Boot = Callable[..., AbstractContextManager[Cloud]]


@pytest.fixture
def gates(scorer: FakeBatch, monkeypatch: pytest.MonkeyPatch) -> Gates:
    made = Gates()
    monkeypatch.setattr("localazure.providers.ml.job_runner.batch.run", made.run)
    return made


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def boot(tmp_path: Path, gates: Gates, clock: Time) -> Boot:
    """Starts a Local Azure, again on what the one before left."""

    def start(**settings: Any) -> AbstractContextManager[Cloud]:
        return booted(tmp_path / "home", FakeServing(), Settings(**settings), clock)

    return start


@pytest.fixture
def batch(boot: Boot) -> Iterator[Cloud]:
    with boot() as cloud:
        prepare(cloud)
        yield cloud


def prepare(cloud: Cloud, least: int = 0, most: int = 4, **properties: Any) -> None:
    """A batch endpoint on a cluster of that many nodes."""
    cloud.prepare()
    cloud.put(path(cloud), body(least, most, **properties))
    add_batch(cloud, cloud.workspace, "batch", compute=path(cloud))


def path(cloud: Cloud) -> str:
    return f"{cloud.workspace}/computes/nodes"


def body(least: int = 0, most: int = 4, rest: int = REST, **properties: Any) -> dict[str, Any]:
    scale = {"minNodeCount": least, "maxNodeCount": most, "nodeIdleTimeBeforeScaleDown": f"PT{rest}S"}
    own = {"vmSize": "Standard_DS3_v2", "scaleSettings": scale, **properties}
    return {"location": "eastus", "properties": {"computeType": "AmlCompute", "properties": own}}


def ask(cloud: Cloud, name: str, instances: int = 1) -> None:
    assert invoke(cloud, name=name, compute={"instanceCount": instances}).status_code == 201


def inner(cloud: Cloud) -> dict[str, Any]:
    return cloud.get(path(cloud))["properties"]["properties"]


def states(cloud: Cloud) -> dict[str, int]:
    """How many nodes are in which state, without those of which there are none."""
    counts = inner(cloud)["nodeStateCounts"]
    return {name.removesuffix("NodeCount"): count for name, count in counts.items() if count}


def owners(cloud: Cloud) -> list[str | None]:
    return [node["runId"] for node in cloud.send("POST", f"{path(cloud)}/listNodes").json()["nodes"]]


def cancel(cloud: Cloud, name: str) -> None:
    assert cloud.send("POST", f"{cloud.workspace}/jobs/{name}/cancel").status_code in (200, 202)


def step(cloud: Cloud) -> None:
    """Has the cluster look at a clock that was moved."""
    cloud.azure._clusters.step(path(cloud))


def stepping(before: Callable[[], Exception | None]) -> Callable[[Clusters, str], None]:
    """A look at a cluster that begins with something, which may fail it, where it is due by time alone."""
    real = Clusters.step

    def look(clusters: Clusters, cluster_id: str) -> None:
        if threading.current_thread().name == "later" and (failure := before()):
            raise failure
        real(clusters, cluster_id)

    return look


def weather(cloud: Cloud, **rule: Any) -> None:
    cloud.azure.weather.set({"rules": [{"type": "*/computes/nodes", **rule}]})


# Nodes and queue ------------------------------------------------------------------------------------------------------


def test_jobs_have_nodes_and_further_ones_wait_in_order_of_arrival(batch: Cloud, gates: Gates) -> None:
    for name, instances in (("one", 2), ("two", 2), ("three", 3), ("four", 1)):
        ask(batch, name, instances)
    until(lambda: sorted(gates.names) == ["one", "two"], "those that fit run together")
    assert owners(batch) == ["one", "one", "two", "two"]
    assert states(batch) == {"running": 4}
    assert [job(batch, name)["status"] for name in ("three", "four")] == ["Queued", "Queued"]
    gates.open.add("one")
    ends(batch, "one", "Completed")
    assert states(batch) == {"running": 2, "idle": 2}
    assert job(batch, "four")["status"] == "Queued", "it would fit, but came later"
    gates.open.add("two")
    until(lambda: len(gates.names) == 4, "the others have their turn")
    assert sorted(map(str, owners(batch))) == ["four", "three", "three", "three"]
    gates.open |= {"three", "four"}
    for name in ("three", "four"):
        ends(batch, name, "Completed")
    assert states(batch) == {"idle": 4}


def test_idle_nodes_go_after_their_rest_down_to_the_smallest_number(batch: Cloud, gates: Gates, clock: Time) -> None:
    batch.put(path(batch), body(1, 4))
    assert states(batch) == {"idle": 1}
    gates.open.add("one")
    ask(batch, "one", 3)
    ends(batch, "one", "Completed")
    before = inner(batch)["allocationStateTransitionTime"]
    clock.now += timedelta(seconds=REST - 1)
    step(batch)
    assert states(batch) == {"idle": 3}
    clock.now += timedelta(seconds=2)
    step(batch)
    assert states(batch) == {"idle": 1}
    assert inner(batch)["allocationStateTransitionTime"] > before


def test_idle_nodes_go_by_themselves(tmp_path: Path, gates: Gates) -> None:
    with booted(tmp_path / "home", FakeServing()) as cloud:
        prepare(cloud)
        cloud.put(path(cloud), body(0, 4, rest=1))
        gates.open.add("one")
        ask(cloud, "one", 2)
        ends(cloud, "one", "Completed")
        until(lambda: states(cloud) == {}, "nobody looks, and they go")


def test_a_job_that_its_cluster_can_never_run_fails_and_says_why(batch: Cloud, gates: Gates) -> None:
    ask(batch, "large", 5)
    ends(batch, "large", "Failed")
    assert "asks for 5 instances" in reason(batch, "large")
    assert "'nodes' has 4 at most" in reason(batch, "large")
    assert not gates.names


def test_a_job_with_more_cores_than_the_quota_fails_in_the_live_services_words(boot: Boot) -> None:
    with boot(quota={"standardDSv2Family": 6}) as cloud:
        prepare(cloud)
        ask(cloud, "large", 2)
        ends(cloud, "large", "Failed")
        said = reason(cloud, "large")
        assert "JobNodeCountExceedsCoreQuota, The specified subscription has a Standard DSv2 family vCPU quota" in said
        assert "of 6 and is less than the requested job node count of 2 which maps to 8 vCPUs." in said


def test_a_job_waits_for_cores_that_another_cluster_has(boot: Boot, gates: Gates) -> None:
    with boot(quota={"standardDSv2Family": 8}) as cloud:
        prepare(cloud)
        other = f"{cloud.workspace}/computes/other"
        cloud.put(other, body(1, 4))
        ask(cloud, "waits", 2)
        ends(cloud, "waits", "Queued")
        (error,) = inner(cloud)["errors"]
        assert error["error"]["code"] == "ClusterCoreQuotaReached"
        cloud.wait(cloud.send("DELETE", f"{other}{API}&underlyingResourceAction=Delete"))
        step(cloud)
        until(lambda: gates.names == ["waits"], "the cores are free")
        assert inner(cloud)["errors"] is None


def test_new_scale_settings_hold_while_jobs_run(batch: Cloud, gates: Gates) -> None:
    ask(batch, "one", 3)
    ask(batch, "two", 3)
    until(lambda: gates.names == ["one"], "the first runs")
    ends(batch, "two", "Queued")
    scale = {"minNodeCount": 0, "maxNodeCount": 6, "nodeIdleTimeBeforeScaleDown": "PT1M40S"}
    patch = {"properties": {"properties": {"scaleSettings": scale}}}
    batch.wait(batch.send("PATCH", path(batch), patch))
    until(lambda: len(gates.names) == 2, "the second has room now")
    batch.put(path(batch), body(0, 2))
    assert states(batch) == {"running": 6}, "no job is interrupted for it"
    gates.open |= {"one", "two"}
    ends(batch, "two", "Completed")
    ends(batch, "one", "Completed")
    assert states(batch) == {"idle": 2}


def test_a_job_that_waits_for_more_than_there_may_be_by_now_fails(batch: Cloud, gates: Gates) -> None:
    ask(batch, "one", 2)
    ask(batch, "large", 4)
    ask(batch, "small", 1)
    ends(batch, "large", "Queued")
    batch.put(path(batch), body(0, 3))
    ends(batch, "large", "Failed")
    until(lambda: sorted(gates.names) == ["one", "small"], "it holds up nobody")


def test_jobs_beyond_what_the_machine_carries_out_have_their_nodes_and_wait(boot: Boot, gates: Gates) -> None:
    with boot(max_batch_jobs=1) as cloud:
        prepare(cloud)
        for name in ("one", "two"):
            ask(cloud, name)
        until(lambda: gates.names == ["one"], "one is carried out")
        assert states(cloud) == {"running": 2}
        gates.open |= {"one", "two"}
        ends(cloud, "two", "Completed")


def test_a_job_is_canceled_within_a_second_whatever_holds_it_up(
    batch: Cloud, gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    stuck = threading.Event()

    def build(*_: object) -> Path:
        stuck.set()
        release.wait(30)
        return Path("python")

    monkeypatch.setattr("localazure.providers.ml.job_runner.JobRunner._python", build)
    ask(batch, "stuck", 4)
    ask(batch, "next", 4)
    assert stuck.wait(10)
    begin = time.monotonic()
    cancel(batch, "stuck")
    assert not change_job(batch.azure._cloud, f"{batch.workspace}/jobs/none", "Running")
    change_job(batch.azure._cloud, f"{batch.workspace}/jobs/stuck", "Finalizing")
    assert job(batch, "stuck")["status"] in ("CancelRequested", "Canceled"), "it goes on until it hears of it"
    ends(batch, "stuck", "Canceled")
    assert time.monotonic() - begin < 8, "it does not wait for the environment, which takes 30 s"
    until(lambda: job(batch, "next")["status"] == "Running", "its nodes are free")
    release.set()
    until(lambda: "next" in gates.names, "the other runs")
    assert job(batch, "stuck")["status"] == "Canceled", "what ends late changes nothing"
    assert "stuck" not in gates.names


def test_a_job_fails_and_frees_its_nodes(batch: Cloud, gates: Gates) -> None:
    gates.failing.add("bad")
    gates.open.add("bad")
    ask(batch, "bad", 2)
    ends(batch, "bad", "Failed")
    assert states(batch) == {"idle": 2}


def test_a_job_on_a_compute_without_a_cluster_has_no_places_to_count(
    batch: Cloud, gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[Any] = []
    start = JobRunner.start
    monkeypatch.setattr(JobRunner, "start", lambda self, job, each: (places.append(each), start(self, job, each)))
    own = f"{batch.workspace}/computes/own"
    inner = {"computeType": "ComputeInstance", "properties": {"vmSize": "Standard_DS3_v2"}}
    batch.put(own, {"location": "eastus", "properties": inner})
    add_batch(batch, batch.workspace, "alone", compute=own)
    gates.open.add("many")
    invoke(batch, "alone", name="many", compute={"instanceCount": 1000})
    ends(batch, "many", "Completed")
    assert places == [{}], "an instanceCount goes up to two thousand million, and nobody reads them there"


# Times and failures ---------------------------------------------------------------------------------------------------


def test_nodes_take_their_time_where_the_weather_asks_for_it(batch: Cloud, gates: Gates, clock: Time) -> None:
    weather(batch, do="prolong", method="ALLOCATE", seconds=300)
    ask(batch, "one", 2)
    ends(batch, "one", "Queued")
    assert states(batch) == {"preparing": 2}
    found = inner(batch)
    assert (found["allocationState"], found["currentNodeCount"], found["targetNodeCount"]) == ("Resizing", 2, 2)
    clock.now += timedelta(seconds=301)
    step(batch)
    until(lambda: gates.names == ["one"], "its nodes are there")
    assert inner(batch)["allocationState"] == "Steady"


def test_with_azures_times_a_node_takes_minutes(batch: Cloud, clock: Time) -> None:
    batch.azure.weather.set({"latency": {"profile": "azure"}})
    ask(batch, "one")
    ends(batch, "one", "Queued")
    for seconds, expected in ((170, {"preparing": 1}), (320, {"running": 1})):
        clock.now += timedelta(seconds=seconds)
        step(batch)
        assert states(batch) == expected


def test_nodes_that_cannot_be_had_show_as_an_error_of_the_cluster(batch: Cloud, gates: Gates, clock: Time) -> None:
    weather(batch, do="fail", code="AllocationFailed", message="There is no capacity.", count=1)
    ask(batch, "one")
    ends(batch, "one", "Queued")
    assert states(batch) == {"unusable": 1}
    (error,) = inner(batch)["errors"]
    assert (error["error"]["code"], error["error"]["message"]) == ("AllocationFailed", "There is no capacity.")
    clock.now += timedelta(seconds=60)
    step(batch)
    until(lambda: gates.names == ["one"], "another node was tried")
    assert inner(batch)["errors"] is None


def test_a_cluster_tries_again_what_the_store_could_not_keep(
    tmp_path: Path, gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    with booted(tmp_path / "home", FakeServing()) as cloud:
        prepare(cloud)
        cloud.put(path(cloud), body(0, 4, rest=1))
        gates.open.add("one")
        failures = [StoreError("The disk is full.")]
        monkeypatch.setattr("localazure.providers.ml.clusters.RETRY_SECONDS", 0.1)
        monkeypatch.setattr(Clusters, "step", stepping(lambda: failures.pop() if failures else None))
        ask(cloud, "one", 2)
        until(lambda: states(cloud) == {} and not failures, "its idle nodes go")


def test_a_job_whose_end_the_store_could_not_keep_ends_later(
    batch: Cloud, gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures, end = [StoreError("The disk is full.")], Clusters.end

    def fail_first(*of: Any) -> None:
        if failures:
            raise failures.pop()
        end(*of)

    monkeypatch.setattr(Clusters, "end", fail_first)
    monkeypatch.setattr(f"{RUNNER}.RETRY_SECONDS", 0.1, raising=False)
    gates.open.add("one")
    ask(batch, "one", 2)
    ends(batch, "one", "Completed")
    assert states(batch) == {"idle": 2}
    assert not failures


def test_a_starved_cluster_looks_again_once_at_a_time_however_many_ask(
    boot: Boot, gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[None] = []
    monkeypatch.setattr("localazure.providers.ml.clusters.RETRY_SECONDS", 0.2)
    monkeypatch.setattr(Clusters, "step", stepping(lambda: looks.append(None)))
    with boot(quota={"standardDSv2Family": 8}) as cloud:
        prepare(cloud)
        cloud.put(f"{cloud.workspace}/computes/other", body(1, 4))
        ask(cloud, "waits", 2)
        ends(cloud, "waits", "Queued")
        for _ in range(30):
            step(cloud)
        looks.clear()
        time.sleep(1)
        assert 1 <= len(looks) <= 10


# Clusters that go -----------------------------------------------------------------------------------------------------


def test_the_jobs_of_a_cluster_that_is_deleted_fail_and_so_do_later_ones(batch: Cloud, gates: Gates) -> None:
    ask(batch, "runs", 4)
    ask(batch, "waits", 1)
    until(lambda: gates.names == ["runs"], "it runs")
    batch.wait(batch.send("DELETE", f"{path(batch)}{API}&underlyingResourceAction=Delete"))
    ask(batch, "late")
    for name in ("runs", "waits", "late"):
        ends(batch, name, "Failed")
        assert reason(batch, name) == "AzureMLCompute cluster nodes does not exist"
    assert gates.names == ["runs"]


def test_a_cluster_of_the_same_name_begins_with_nothing(batch: Cloud, gates: Gates) -> None:
    ask(batch, "runs", 4)
    until(lambda: gates.names == ["runs"], "it runs")
    batch.wait(batch.send("DELETE", f"{path(batch)}{API}&underlyingResourceAction=Delete"))
    batch.put(path(batch), body())
    ends(batch, "runs", "Failed")
    assert states(batch) == {}


def test_jobs_that_wait_for_a_cluster_that_is_being_created_run_once_it_is_there(batch: Cloud, gates: Gates) -> None:
    batch.wait(batch.send("DELETE", f"{path(batch)}{API}&underlyingResourceAction=Delete"))
    weather_rule = {"do": "prolong", "type": "*/computes", "method": "PUT", "seconds": 1.5}
    batch.azure.weather.set({"rules": [weather_rule]})
    answer = batch.send("PUT", path(batch), body(1))
    ask(batch, "early")
    ends(batch, "early", "Queued")
    assert states(batch) == {}
    batch.wait(answer)
    until(lambda: gates.names == ["early"], "it runs")


def test_jobs_that_run_and_jobs_that_wait_go_on_without_their_endpoint(batch: Cloud, gates: Gates) -> None:
    ask(batch, "runs", 4)
    ask(batch, "waits", 2)
    until(lambda: gates.names == ["runs"], "it runs")
    batch.wait(batch.send("DELETE", f"{batch.workspace}/batchEndpoints/batch"))
    assert [job(batch, name)["status"] for name in ("runs", "waits")] == ["Running", "Queued"]
    gates.open |= {"runs", "waits"}
    ends(batch, "runs", "Completed")
    ends(batch, "waits", "Completed")
    until(lambda: states(batch) == {"idle": 4}, "the nodes are free")


@pytest.fixture
def building(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Jobs build an environment, which no cancellation interrupts, for as long as the test runs; set once one does."""
    begun, release = threading.Event(), threading.Event()

    def build(*_: object) -> Path:
        begun.set()
        release.wait(30)
        return Path("python")

    monkeypatch.setattr(f"{RUNNER}.JobRunner._python", build)
    monkeypatch.setattr(f"{RUNNER}.PATIENCE_SECONDS", 60)
    yield begun
    release.set()


def test_a_job_whose_workspace_goes_does_not_come_back_at_the_next_start(boot: Boot, building: threading.Event) -> None:
    with boot() as cloud:
        prepare(cloud)
        ask(cloud, "runs", 2)
        assert building.wait(10)
        cloud.azure._jobs.cancel_below(cloud.workspace)
        assert job(cloud, "runs")["status"] == "CancelRequested"
    with boot() as cloud:
        ends(cloud, "runs", "Canceled")
        assert states(cloud) == {"idle": 2}


# Pre-emption ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def cheap(boot: Boot) -> Iterator[Cloud]:
    """On low-priority nodes."""
    with boot() as cloud:
        prepare(cloud, vmPriority="LowPriority")
        yield cloud


def test_a_job_goes_on_with_fewer_nodes_until_others_come(cheap: Cloud, gates: Gates, clock: Time) -> None:
    ask(cheap, "runs", 4)
    until(lambda: gates.names == ["runs"], "it runs")
    answer = cheap.azure.preempt("nodes", 3, 60)
    assert answer == {"cluster": "nodes", "preempted": 3, "canceled": []}
    assert states(cheap) == {"running": 1, "preempted": 3}
    assert job(cheap, "runs")["status"] == "Running"
    clock.now += timedelta(seconds=61)
    step(cheap)
    assert states(cheap) == {"running": 4}
    gates.open.add("runs")
    ends(cheap, "runs", "Completed")


def test_a_job_that_loses_its_last_node_is_canceled_and_says_why(cheap: Cloud, gates: Gates, clock: Time) -> None:
    ask(cheap, "runs", 2)
    ask(cheap, "waits", 3)
    until(lambda: gates.names == ["runs"], "it runs")
    assert cheap.azure.preempt("work/nodes", 2, 60)["canceled"] == ["runs"]
    ends(cheap, "runs", "Canceled")
    assert "preempted" in reason(cheap, "runs")
    assert job(cheap, "waits")["status"] == "Queued"
    clock.now += timedelta(seconds=61)
    step(cheap)
    until(lambda: "waits" in gates.names, "there are nodes again")


def test_a_job_that_lost_its_last_node_is_canceled_though_local_azure_ends_before_it(
    boot: Boot, building: threading.Event
) -> None:
    with boot() as cloud:
        prepare(cloud, vmPriority="LowPriority")
        ask(cloud, "runs", 2)
        assert building.wait(10)
        assert cloud.azure.preempt("nodes", 2, 60)["canceled"] == ["runs"]
    with boot() as cloud:
        ends(cloud, "runs", "Canceled")
        assert "preempted" in reason(cloud, "runs")


def test_only_low_priority_nodes_are_preempted(batch: Cloud) -> None:
    with pytest.raises(LocalAzureError, match="dedicated nodes"):
        batch.azure.preempt("nodes", 1, 60)
    with pytest.raises(UnknownName, match="there are: nodes, cluster"):
        batch.azure.preempt("other", 1, 60)


# Restarts -------------------------------------------------------------------------------------------------------------


def test_a_restart_takes_up_what_ran_and_what_waited_in_the_same_order(boot: Boot, gates: Gates) -> None:
    with boot() as cloud:
        prepare(cloud)
        for name, instances in (("one", 3), ("two", 3), ("three", 1)):
            ask(cloud, name, instances)
        until(lambda: gates.names == ["one"], "the first runs")
        ends(cloud, "three", "Queued")
        before = owners(cloud)
    gates.specs.clear()
    with boot() as cloud:
        until(lambda: gates.names == ["one"], "it goes on")
        assert owners(cloud) == before == ["one"] * 3
        gates.open.add("one")
        until(lambda: sorted(gates.names[1:]) == ["three", "two"], "then the others")
        gates.open |= {"two", "three"}
        for name in ("one", "two", "three"):
            ends(cloud, name, "Completed")


def test_a_restart_takes_up_a_job_on_more_nodes_than_its_cluster_may_have_by_now(boot: Boot, gates: Gates) -> None:
    with boot() as cloud:
        prepare(cloud)
        ask(cloud, "large", 4)
        until(lambda: gates.names == ["large"], "it runs")
        cloud.put(path(cloud), body(0, 2))
        assert states(cloud) == {"running": 4}
    with boot() as cloud:
        until(lambda: gates.names == ["large", "large"], "no job is interrupted for it")
        gates.open.add("large")
        ends(cloud, "large", "Completed")
        assert states(cloud) == {"idle": 2}


def test_a_restart_goes_on_with_the_folder_of_a_job_that_had_begun(boot: Boot, gates: Gates) -> None:
    with boot() as cloud:
        prepare(cloud)
        ask(cloud, "one")
        until(lambda: gates.names == ["one"], "it runs")
        journal = gates.specs[0].journal
        journal.mkdir(parents=True)
        (journal / "records").write_text("so far")
    with boot() as cloud:
        until(lambda: len(gates.specs) == 2, "it goes on")
        assert (gates.specs[1].journal / "records").read_text() == "so far"
        cancel(cloud, "one")
        ends(cloud, "one", "Canceled")


def test_a_job_that_ended_without_its_cluster_hearing_of_it_frees_its_nodes_at_the_next_start(
    boot: Boot, gates: Gates
) -> None:
    with boot() as cloud:
        prepare(cloud)
        ask(cloud, "one", 2)
        ask(cloud, "two", 3)
        until(lambda: gates.names == ["one"], "it runs")
        cloud.azure._cloud.store.delete(f"{cloud.workspace}/jobs/one")
    with boot() as cloud:
        until(lambda: gates.names == ["one", "two"], "the next has its nodes")
        assert owners(cloud) == ["two"] * 3


# What is seen of it ---------------------------------------------------------------------------------------------------


def test_the_status_shows_nodes_and_queues(batch: Cloud, gates: Gates) -> None:
    ask(batch, "one", 3)
    ask(batch, "two", 2)
    ends(batch, "two", "Queued")
    (found,) = [each for each in batch.azure.status()["clusters"] if each["name"] == "nodes"]
    assert found == {
        "name": "nodes",
        "state": "Succeeded",
        "least": 0,
        "most": 4,
        "nodes": {"running": 3},
        "running": ["one"],
        "queued": ["two"],
        "errors": [],
    }
    status = {"home": "here", "pid": 1, "ports": {}, "azure": batch.azure.status()}
    shown = [" ".join(line.split()) for line in report.lines(status)]
    at = shown.index("Compute clusters")
    assert shown[at + 1] == "NAME NODES OF QUEUED JOBS"
    assert "nodes 3 running 0 to 4 two" in shown[at:]


def test_a_job_that_scores_is_running_and_one_that_writes_its_output_is_finalizing(
    batch: Cloud, gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr("localazure.providers.ml.job_runner.JobRunner._upload", lambda *_: release.wait(30))
    ask(batch, "one")
    ends(batch, "one", "Running")
    gates.open.add("one")
    ends(batch, "one", "Finalizing")
    assert states(batch) == {"running": 1}
    release.set()
    ends(batch, "one", "Completed")
