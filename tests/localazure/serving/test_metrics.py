"""What is measured: a real Envoy's statistics, a real process's usage, and the minutes that are kept of them."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from localazure.serving import EndpointRoute
from localazure.serving.counters import Reading, Running, Statistics, Tally, Usage, usages
from localazure.serving.envoy import Router
from localazure.serving.envoy_config import Backend
from localazure.serving.meter import Meter
from localazure.serving.metrics import KEPT_MINUTES, ROUTER, Code, Gauge, History, Minute, Traffic, minute_of

from .conftest import HOST, Container, client, until

NOON = datetime(2026, 6, 5, 12, tzinfo=UTC)
BLUE = ("tumor", "blue")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


# The router ------------------------------------------------------------------------------------------------------


@pytest.fixture
def caller(router: Router, container: Callable[[str], Container]) -> Iterator[httpx.Client]:
    """A caller of blue; green gets a copy of everything, one more is dead and one has no instances."""
    route = EndpointRoute(
        "tumor", (HOST,), "key", ("k1",), {"blue": 100}, {"green": 50}, ("blue", "green", "dead", "none")
    )
    blue, green = container("blue"), container("green")
    backends = [
        Backend("tumor", "blue", 700, 2, (blue.port,)),
        Backend("tumor", "green", 5000, 100, (green.port,)),
        Backend("tumor", "dead", 5000, 100, (1,)),
        Backend("tumor", "none", 5000, 100, ()),
    ]
    router.push([route], backends)
    with client(router.port) as made:
        yield made


def codes(router: Router, deployment: str, mirrored: bool = False) -> dict[tuple[int, int], int]:
    """How requests were answered: the caller's status and the model's, and how often."""
    found = router.statistics().traffic("tumor", deployment, 700)[mirrored].codes
    return {(code.status, code.model): count for code, count in found.items()}


def test_each_answer_is_counted_as_its_caller_saw_it_and_as_the_model_gave_it(
    router: Router, caller: httpx.Client
) -> None:
    seen = [
        caller.post("/score", content=b"{}", headers=headers).status_code
        for headers in ({}, {}, {"x-status": "500"}, {"x-status": "503"}, {"x-sleep": "1.2"}, {"x-crash": "1"})
    ]
    assert seen == [200, 200, 424, 424, 408, 502]
    expected = {(200, 200): 2, (424, 500): 1, (424, 503): 1, (408, 0): 1, (502, 0): 1}
    until(lambda: codes(router, "blue") == expected)


def test_what_the_router_answers_by_itself_is_no_answer_of_the_model(router: Router, caller: httpx.Client) -> None:
    for name in ("dead", "none"):
        assert caller.post("/score", content=b"{}", headers={"azureml-model-deployment": name}).status_code == 503
        until(lambda name=name: codes(router, name) == {(503, 0): 1})
    with ThreadPoolExecutor(6) as pool:
        # A client is not for several threads at once.
        def ask(_: int) -> int:
            with client(router.port) as own:
                return own.post("/score", content=b"{}", headers={"x-sleep": "0.5"}).status_code

        seen = list(pool.map(ask, range(6)))
    refused = seen.count(429)
    assert refused, "two at a time are taken"
    until(lambda: codes(router, "blue") == {(200, 200): 6 - refused, (429, 0): refused})


def test_copies_are_counted_apart(router: Router, caller: httpx.Client) -> None:
    for _ in range(20):
        caller.post("/score", content=b"{}")
    until(lambda: codes(router, "blue") == {(200, 200): 20})
    assert codes(router, "green") == {}
    until(lambda: 1 <= codes(router, "green", mirrored=True).get((200, 200), 0) <= 19)


def test_how_long_requests_take_is_known_also_of_those_that_take_too_long(router: Router, caller: httpx.Client) -> None:
    for sleep in ("0", "0.3", "1.2"):
        caller.post("/score", content=b"{}", headers={"x-sleep": sleep})

    def latency() -> list[float]:
        return sorted(router.statistics().traffic("tumor", "blue", 700)[0].latency)

    until(lambda: len(latency()) == 3)
    fast, slow, late = latency()
    assert fast < 300 <= slow + 5 < 700, "a bucket of Envoy's is 10 ms wide there"
    assert late == 700, "it was given up after its deployment's time limit"


def test_bytes_and_connections_are_counted(router: Router, caller: httpx.Client) -> None:
    caller.post("/score", content=b"x" * 10_000)
    until(lambda: router.statistics().bytes(*BLUE) > 10_000)
    opened, active = router.statistics().connections()
    assert opened >= 1
    assert active >= 1


def test_a_router_that_is_down_has_no_statistics(router: Router) -> None:
    router.stop()
    assert router.statistics() == Statistics()


def test_what_was_counted_since_survives_a_router_that_began_again() -> None:
    before = Statistics({"a": 10, "b": 3}, {"t": {1.0: 4, 2.0: 1}})
    assert Statistics({"a": 12, "b": 3}, {"t": {1.0: 5, 2.0: 1}}).since(before) == Statistics(
        {"a": 2, "b": 0}, {"t": {1.0: 1}}
    )
    assert Statistics({"a": 7}, {"t": {1.0: 2}}).since(before) == Statistics({"a": 7}, {"t": {1.0: 2}})


def test_a_tally_goes_on_where_the_router_begins_again() -> None:
    tally, name = Tally(), "http.scoring.downstream_cx_active"
    first = Statistics({"a": 5, name: 9}, {"t": {1.0: 5}})
    assert tally.take(lambda: first) == first
    assert tally.take(lambda: Statistics()).counters["a"] == 5, "it is down"
    began_again = tally.take(lambda: Statistics({"a": 2, name: 1}, {"t": {1.0: 2}}))
    assert began_again == Statistics({"a": 7, name: 1}, {"t": {1.0: 7}}), "open connections are not added up"
    assert tally.take(lambda: Statistics({name: 1})).counters["a"] == 7, "a counter that is gone had what it had"


def test_what_was_counted_is_kept_when_a_deployment_is_scaled(
    router: Router, container: Callable[[str], Container]
) -> None:
    blue = container("blue")
    route = EndpointRoute("tumor", (HOST,), "key", ("k1",), {"blue": 100}, {}, ("blue",))
    for limit in (2, 4, 6):
        # With its limit a cluster of the router's is made anew, and counts from zero.
        router.push([route], [Backend("tumor", "blue", 700, limit, (blue.port,))])
        with client(router.port) as caller:
            for _ in range(5):
                assert caller.post("/score", content=b"{}").status_code == 200
        until(lambda limit=limit: codes(router, "blue") == {(200, 200): 5 * limit // 2})
    until(lambda: sum(router.statistics().traffic("tumor", "blue", 700)[0].latency.values()) == 15)


# Processes -------------------------------------------------------------------------------------------------------

BUSY = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'while True: pass']).wait()"


def test_a_process_is_measured_with_all_that_it_started() -> None:
    leader = subprocess.Popen([sys.executable, "-c", BUSY], start_new_session=True)
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        until(lambda: len(usages([leader.pid])[leader.pid].cpu) == 2)
        before, at = usages([leader.pid, other.pid]), time.monotonic()
        time.sleep(1)
        after, seconds = usages([leader.pid, other.pid]), time.monotonic() - at
        busy = after[leader.pid].cores(before[leader.pid], seconds)
        idle = after[other.pid].cores(before[other.pid], seconds)
        assert idle < busy <= 1.3
        assert after[leader.pid].memory > 2**20
    finally:
        for each in (leader, other):
            for child in usages([each.pid])[each.pid].cpu:
                subprocess.run(["kill", "-9", str(child)], check=False)
            each.wait()
    assert usages([leader.pid])[leader.pid].memory == 0, "one that has gone uses nothing"


# The meter -------------------------------------------------------------------------------------------------------


def statistics(answered: int, **more: int) -> Statistics:
    own = {"cluster.tumor/blue.external.upstream_rq_200": answered, "http.scoring.downstream_cx_total": answered}
    return Statistics({**own, **{f"cluster.tumor/blue.{name}": value for name, value in more.items()}})


def reading(answered: int, cpu: float = 0.0, memory: int = 0, running: bool = True) -> Reading:
    ours = (Running("tumor", "blue", 2, 5000, (7,)),) if running else ()
    return Reading(ours, statistics(answered), {7: Usage({7: cpu}, memory)})


def test_each_minute_gets_what_was_added_in_it() -> None:
    clock, history, seen = Clock(), History(), [reading(5, 100.0, 50), reading(8, 102.5, 150), reading(20, 102.5, 100)]
    meter = Meter(lambda: seen.pop(0), history, clock)
    for seconds in (5, 60, 0):
        meter.sample()
        clock.move(seconds=seconds)
    found = history.between(*BLUE, 0, 10**9)
    first, second = minute_of(NOON), minute_of(NOON) + 1
    assert list(found) == [first, second]
    assert found[first].live.codes == {Code(200, 200): 8}, "counters begin with their router, so the first look counts"
    assert found[second].live.codes == {Code(200, 200): 12}
    assert found[first].cpu == {"7": Gauge(0.5, 1)}, "2.5 s in 5 s; what it used before it was seen is no load"
    assert found[first].memory == {"7": Gauge(200, 2)}
    assert found[first].capacity.mean == 2
    assert history.between(*ROUTER, first, second)[first].opened == 8


def test_a_router_that_does_not_answer_for_a_moment_is_not_counted_twice() -> None:
    clock, history = Clock(), History()
    silent = Reading((Running("tumor", "blue", 2, 5000, (7,)),), Statistics(), {7: Usage()})
    seen = [reading(5), silent, reading(6)]
    meter = Meter(lambda: seen.pop(0), history, clock)
    for _ in range(3):
        meter.sample()
        clock.move(seconds=5)
    (minute,) = history.between(*BLUE, 0, 10**9).values()
    assert minute.live.codes == {Code(200, 200): 6}


def test_a_deployment_that_is_idle_has_minutes_and_one_that_is_gone_has_none() -> None:
    clock, history = Clock(), History()
    seen = [reading(5), reading(5), reading(5, running=False)]
    meter = Meter(lambda: seen.pop(0), history, clock)
    for _ in range(3):
        meter.sample()
        clock.move(minutes=1)
    assert [sum(each.live.codes.values()) for each in history.between(*BLUE, 0, 10**9).values()] == [5, 0]


# The history -----------------------------------------------------------------------------------------------------

FULL = Minute(
    Traffic({Code(200, 200): 3, Code(429, 0): 1}, {1.5: 2, 100.0: 1}),
    Traffic({Code(424, 500): 1}, {7.0: 1}),
    bytes=1000,
    capacity=Gauge(4, 2),
    cpu={"7": Gauge(0.5, 1)},
    memory={"7": Gauge(2.0**30, 1)},
    connections=Gauge(3, 1),
    opened=2,
)


def test_names_count_in_any_case() -> None:
    history = History()
    history.add("Tumor", "Blue", 7, FULL)
    assert history.between("tumor", "blue", 7, 8) == {7: FULL}
    assert history.deployments("TUMOR") == ["blue"]


def test_a_day_is_kept_and_no_more() -> None:
    history = History()
    for number in range(3 * KEPT_MINUTES):
        history.add(*BLUE, number, FULL)
        history.keep(number)
    assert list(history.between(*BLUE, 0, 10**9)) == list(range(2 * KEPT_MINUTES, 3 * KEPT_MINUTES))
    history.keep(10 * KEPT_MINUTES)
    assert history.deployments("tumor") == []


def test_a_restart_finds_what_was_measured_also_of_the_minute_in_which_it_happened(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    before = History(file)
    before.add(*BLUE, 10, FULL)
    before.add(*BLUE, 11, FULL)
    before.keep(11)
    assert len(file.read_text().splitlines()) == 1, "a minute is written when it is over"
    before.close()
    assert file.stat().st_mode & 0o777 == 0o600
    after = History(file)
    after.load(11)
    assert after.between(*BLUE, 0, 100) == {10: FULL, 11: FULL}
    after.add(*BLUE, 11, FULL)
    after.close()
    again = History(file)
    again.load(11)
    assert again.between(*BLUE, 11, 12)[11].live.codes == {Code(200, 200): 6, Code(429, 0): 2}


def test_lines_that_are_cut_off_or_old_count_for_nothing(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    before = History(file)
    before.add(*BLUE, 10, FULL)
    before.add(*BLUE, 5000, FULL)
    before.close()
    whole = file.read_text()
    file.write_text(whole + "\n{}\n[1, 2]\n" + json.dumps(["tumor", "blue", 5000, {"live": 1}]) + "\n" + whole[:40])
    after = History(file)
    after.load(5001)
    assert after.between(*BLUE, 0, 10**9) == {5000: FULL}


def test_what_follows_half_a_line_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    before = History(file)
    before.add(*BLUE, 10, FULL)
    before.close()
    file.write_text(file.read_text() + file.read_text()[:40])
    after = History(file)
    after.add(*BLUE, 11, FULL)
    after.close()
    again = History(file)
    again.load(11)
    assert again.between(*BLUE, 0, 100) == {10: FULL, 11: FULL}


@pytest.mark.parametrize("written", [0, 1, 30])
def test_minutes_that_cannot_be_written_are_written_the_next_time_and_once(
    written: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "metrics.jsonl"
    history = History(file)
    history.add(*BLUE, 10, FULL)
    history.keep(11)
    history.add(*BLUE, 11, FULL)
    history.add("tumor", "green", 11, FULL)
    left, write = [written], os.write

    def full_disk(descriptor: int, data: bytes) -> int:
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: left.pop()])

    with monkeypatch.context() as patch:
        patch.setattr("os.write", full_disk)
        with pytest.raises(OSError, match="No space left"):
            history.keep(12)
    history.keep(12)
    history.close()
    again = History(file)
    again.load(12)
    assert again.between(*BLUE, 0, 100) == {10: FULL, 11: FULL}
    assert again.between("tumor", "green", 0, 100) == {11: FULL}
    assert len(file.read_text().splitlines()) == 3


def test_minutes_that_cannot_be_written_for_a_day_are_forgotten(tmp_path: Path) -> None:
    history = History(tmp_path / "no such folder" / "metrics.jsonl")
    history.add(*BLUE, 10, FULL)
    with pytest.raises(OSError, match="No such file"):
        history.keep(11)
    history.keep(10 + KEPT_MINUTES)  # nothing is left to be written


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    history = History(file)
    for number in range(6 * KEPT_MINUTES):
        history.add(*BLUE, number, Minute(bytes=1))
        history.keep(number)
    assert len(file.read_text().splitlines()) <= 3 * KEPT_MINUTES + 2
    history.close()
    after = History(file)
    after.load(6 * KEPT_MINUTES - 1)
    assert after.between(*BLUE, 0, 10**9) == history.between(*BLUE, 0, 10**9), "what is kept is still there"


def test_minutes_can_be_read_while_they_are_written() -> None:
    history, failures = History(), []

    def write() -> None:
        for number in range(2000):
            history.add(*BLUE, number % 50, Minute(live=Traffic({Code(200, number % 7): 1})))

    def look() -> None:
        try:
            for _ in range(500):
                for minute in history.between(*BLUE, 0, 50).values():
                    sum(minute.live.codes.values())
        except RuntimeError as error:
            failures.append(error)

    threads = [threading.Thread(target=each) for each in (write, look, look)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert sum(sum(each.live.codes.values()) for each in history.between(*BLUE, 0, 50).values()) == 2000
