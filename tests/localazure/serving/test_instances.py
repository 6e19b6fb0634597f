"""What befalls real instances: they hang, are busy, are too slow to start, or get other probes; and who notices."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from localazure.home import Home
from localazure.serving import DeploymentSpec, EnvironmentSpec, Probe, Probes, Serving, ServingError, instances

from .conftest import client, processes, until
from .test_service import custom, load, pids, route

# Gives up after half a second at the least, and on nothing but an instance that says nothing at all.
IMPATIENT = Probe(initial_delay=0.1, period=0.2, timeout=1, failure_threshold=3)
NEVER = Probe(failure_threshold=1_000_000)
# Without it the impatient would not wait for Python to start.
STARTUP = Probe()


@pytest.fixture
def spec(tmp_path: Path, environment: EnvironmentSpec) -> DeploymentSpec:
    return replace(custom(tmp_path, environment, "hello"), timeout_ms=60_000)


def ready(serving: Serving) -> list[bool]:
    return [instance["ready"] for deployment in serving.status() for instance in deployment["instances"]]


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """An instance that neither answers nor ends."""
    group = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in group:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in group:
            if process.is_running():
                os.kill(process.pid, signal.SIGCONT)


def test_an_instance_that_hangs_is_restarted_and_the_log_says_so(
    serving: Serving, spec: DeploymentSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instances, "GRACE_SECONDS", 1.0)
    serving.deploy(replace(spec, probes=Probes(liveness=IMPATIENT, readiness=NEVER, startup=STARTUP)))
    serving.route([route("blue")])
    [before] = pids(serving)
    with ThreadPoolExecutor(1) as pool, client(serving.port) as caller:
        hanging = pool.submit(caller.post, "/score", json={"sleep": 600})
        until(lambda: ready(serving) == [True] and pids(serving) != [before])
        assert hanging.result().status_code in (502, 503), "its request dies with it"
        until(lambda: caller.post("/score", json={}).status_code == 200)
    assert not psutil.pid_exists(before)
    log = serving.logs("tumor", "blue", "InferenceServer", 1000)
    assert "did not answer GET / within 1 s, 3 times in a row (livenessProbe) and is restarted" in log


def test_an_instance_that_is_busy_within_the_limits_of_its_probe_is_left_alone(
    serving: Serving, spec: DeploymentSpec
) -> None:
    slow = Probe(initial_delay=0.1, period=0.1, timeout=0.5, failure_threshold=60)
    serving.deploy(replace(spec, probes=Probes(liveness=slow, readiness=slow, startup=STARTUP)))
    serving.route([route("blue")])
    before = pids(serving)
    with client(serving.port) as caller:
        answer = caller.post("/score", json={"sleep": 3})
    assert answer.status_code == 200, "the question waits behind the request, as in Azure"
    assert pids(serving) == before


def test_an_instance_that_stops_answering_gets_no_requests_until_it_answers_again(
    serving: Serving, spec: DeploymentSpec
) -> None:
    serving.deploy(replace(spec, instances=2, probes=Probes(liveness=NEVER, readiness=IMPATIENT, startup=STARTUP)))
    serving.route([route("blue")])
    first, second = pids(serving)
    with frozen(first):
        until(lambda: ready(serving) == [False, True])
        serving.route([route("blue")])  # it returns when requests see what is ready
        with load(serving.port) as answers:
            until(lambda: sum(item["requests"] for item in serving.status()) > 50)
        assert set(answers) == {(200, "hello")}, "nobody waits for the one that is gone"
    until(lambda: ready(serving) == [True, True])
    assert pids(serving) == [first, second], "it was not restarted: that is what the liveness probe is for"


def test_a_script_that_takes_longer_to_start_than_its_probe_allows_fails(
    serving: Serving, home: Home, tmp_path: Path, environment: EnvironmentSpec
) -> None:
    slow = custom(tmp_path, environment, "slow", "import time\ntime.sleep(600)\n")
    readiness = Probe(initial_delay=1, period=1, failure_threshold=2)
    with pytest.raises(ServingError, match=r"was not ready within 3 s \(readinessProbe\)") as caught:
        serving.deploy(replace(slow, probes=Probes(readiness=readiness)))
    assert caught.value.code == "ResourceNotReady"
    assert [item.name() for item in processes(home)] == ["envoy"], "what did not come up is not left behind"


def test_other_probes_touch_no_process_and_hold(serving: Serving, spec: DeploymentSpec) -> None:
    serving.deploy(replace(spec, probes=Probes(liveness=NEVER, readiness=NEVER)))
    before = pids(serving)
    serving.deploy(replace(spec, probes=Probes(liveness=NEVER, readiness=IMPATIENT), max_concurrent=3))
    assert pids(serving) == before
    with frozen(before[0]):
        until(lambda: ready(serving) == [False])
    until(lambda: ready(serving) == [True])


def test_an_update_that_fails_costs_no_request(
    serving: Serving, spec: DeploymentSpec, tmp_path: Path, environment: EnvironmentSpec
) -> None:
    serving.deploy(replace(spec, instances=2))
    serving.route([route("blue")])
    before = pids(serving)
    bad = custom(
        tmp_path, environment, "bad", "def init():\n    raise ValueError('no weights')\ndef run(x): return x\n"
    )
    with load(serving.port, callers=1) as answers, pytest.raises(ServingError, match="no weights"):
        serving.deploy(replace(bad, instances=2))
    assert set(answers) == {(200, "hello")}
    assert pids(serving) == before


def test_a_model_under_another_path_is_another_instance(serving: Serving, spec: DeploymentSpec, tmp_path: Path) -> None:
    serving.deploy(spec)
    serving.route([route("blue")])
    before = pids(serving)
    assert spec.model_dir
    link = tmp_path / "var" / "models" / "hello"
    link.parent.mkdir(parents=True)
    link.symlink_to(spec.model_dir, target_is_directory=True)
    serving.deploy(replace(spec, model_dir=link))
    with client(serving.port) as caller:
        answer = caller.post("/score", json={"env": ["AZUREML_MODEL_DIR"]}).json()
    assert (answer["says"], answer["env"]) == ("hello", {"AZUREML_MODEL_DIR": str(link)})
    assert pids(serving) != before
