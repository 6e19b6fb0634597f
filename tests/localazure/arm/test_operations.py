"""Long operations: carried out once committed, resumed after a restart, polled in their provider's form."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from localazure.arm.operations import Family, Kind, OperationFailed, Operations
from localazure.arm.store import Operation, Resource, Store
from localazure.arm.weather import Rule, Weather, WeatherSettings
from localazure.errors import LocalAzureError

THING = "/subscriptions/s/resourceGroups/g/providers/N/things/A"


def until(condition: Callable[[], bool], why: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, why
        time.sleep(0.01)


class Bench:
    """A store with operations, and a record of what happened."""

    def __init__(self, path: Path, failure: Exception | None = None, weather: Weather | None = None) -> None:
        self.store = Store(path)
        self.operations = Operations(self.store, threads=2, weather=weather)
        self.ended = threading.Event()
        self.seen: list[str] = []
        self.failure = failure
        self.operations.register("kind", Kind(self._work, self._done, self._failed))

    def _work(self, operation: Operation) -> dict[str, str]:
        self.seen.append("work")
        if self.failure:
            raise self.failure
        return {"from": "work"}

    def _done(self, operation: Operation, outcome: object) -> None:
        self.seen.append("done")
        self.store.put(Resource(operation.resource, "N/things", {"outcome": outcome}))
        self.store.after_commit(self.ended.set)

    def _failed(self, operation: Operation, failure: OperationFailed) -> None:
        self.seen.append(failure.code)
        self.store.after_commit(self.ended.set)

    def begin(self) -> str:
        with self.store.transaction():
            return self.operations.begin("kind", THING, prefix="od:ws").id

    def status(self, operation: str) -> Operation:
        found = self.store.operation(operation)
        assert found is not None
        return found


def test_an_operation_is_carried_out_and_its_outcome_and_status_come_together(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "state.db")
    operation = bench.begin()
    assert bench.ended.wait(10)
    assert bench.status(operation).status == "Succeeded"
    found = bench.store.get(THING)
    assert found is not None
    assert found.document == {"outcome": {"from": "work"}}


def test_a_failure_is_what_the_poll_answers(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "state.db", OperationFailed("BadArgument", "no such model"))
    operation = bench.begin()
    assert bench.ended.wait(10)
    assert bench.status(operation).error == {"code": "BadArgument", "message": "no such model"}
    assert bench.seen == ["work", "BadArgument"]


def test_an_operation_that_was_running_is_taken_up_after_a_restart(tmp_path: Path) -> None:
    before = Store(tmp_path / "state.db")
    before.put_operation(Operation("od:ws:1", "kind", THING, "Running", {}, None, "then", None))
    bench = Bench(tmp_path / "state.db")
    bench.operations.resume()
    assert bench.ended.wait(10), "an acknowledged operation must end, whenever the process was killed"
    assert bench.status("od:ws:1").status == "Succeeded"


def test_an_operation_of_a_request_that_was_refused_never_starts(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "state.db")

    def refused() -> None:
        with bench.store.transaction():
            bench.operations.begin("kind", THING)
            raise RuntimeError("refused")

    with pytest.raises(RuntimeError):
        refused()
    assert bench.store.running() == []
    assert bench.seen == []


@pytest.mark.parametrize(
    ("family", "status", "body"),
    [
        (
            Family("N", "oeidp", "mfeOperationsStatus", "mfeOperationResults", "Updating"),
            "Running",
            {
                "id": "/p",
                "name": "op",
                "status": "Updating",
                "startTime": "then",
                "endTime": "0001-01-01T00:00:00+00:00",
                "percentComplete": 0.0,
            },
        ),
        (
            Family("N", "bebes", "mfeOperationsStatus", "mfeOperationResults", "Updating", timed=False),
            "Succeeded",
            {"id": "/p", "name": "op", "status": "Succeeded"},
        ),
        (
            Family("N", "", "computeOperationsStatus", "", "InProgress", detailed=False, timed=False),
            "Running",
            {"status": "InProgress"},
        ),
        (
            Family("N", "", "computeOperationsStatus", "", "InProgress", detailed=False, timed=False),
            "Succeeded",
            {"status": "Succeeded", "percentComplete": 100.0},
        ),
    ],
)
def test_polls_have_the_recorded_form_of_their_family(family: Family, status: str, body: dict[str, object]) -> None:
    ended = "later" if status == "Succeeded" else None
    assert family.poll(Operation("op", "kind", THING, status, {}, None, "then", ended), "/p") == body


def test_a_failure_with_a_way_out_is_told_as_it_is(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "state.db", LocalAzureError("The disk is full: free 1 GB."))
    operation = bench.begin()
    assert bench.ended.wait(10)
    error = {"code": "InternalServerError", "message": "The disk is full: free 1 GB."}
    assert bench.status(operation).error == error


def test_what_nobody_foresaw_is_in_the_log_under_a_reference(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(tmp_path / "state.db", KeyError("secret"))
    operation = bench.begin()
    assert bench.ended.wait(10)
    error = bench.status(operation).error
    assert error is not None
    assert "secret" not in error["message"]
    assert error["message"].rpartition(" ")[2].rstrip(".") in caplog.text


def test_a_failure_that_cannot_be_applied_still_ends_the_operation(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "state.db")

    def refuses(operation: Operation) -> None:
        raise OperationFailed("BadArgument", "no such model")

    def stumbles(operation: Operation, failure: OperationFailed) -> None:
        raise KeyError("properties")

    bench.operations.register("broken", Kind(refuses, bench._done, stumbles))
    with bench.store.transaction():
        operation = bench.operations.begin("broken", THING).id
    until(lambda: bench.status(operation).status == "Failed", "a client that polls it must not poll for ever")
    assert bench.status(operation).error == {"code": "BadArgument", "message": "no such model"}


def test_an_operation_of_a_kind_that_is_no_longer_known_fails(tmp_path: Path) -> None:
    before = Store(tmp_path / "state.db")
    before.put_operation(Operation("op", "long gone", THING, "Running", {}, None, "then", None))
    bench = Bench(tmp_path / "state.db")
    bench.operations.resume()
    until(lambda: bench.status("op").status == "Failed", "nobody can carry it out")
    error = bench.status("op").error
    assert error is not None
    assert "'long gone'" in error["message"]


def test_an_operation_begun_outside_a_transaction_is_carried_out(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "state.db")
    bench.operations.begin("kind", THING)
    assert bench.ended.wait(10)


def test_an_operation_that_takes_its_time_waits_without_a_thread_and_across_a_restart(tmp_path: Path) -> None:
    slow = WeatherSettings(rules=(Rule(do="prolong", seconds=3600),))
    bench = Bench(tmp_path / "state.db", weather=Weather(slow))
    waiting = [bench.begin() for _ in range(20)]
    until(lambda: bench.seen == ["work"] * 20, "two threads have done the work of twenty")
    assert {bench.status(each).status for each in waiting} == {"Running"}
    bench.operations.stop()
    bench.store.close()
    again = Bench(tmp_path / "state.db")
    again.operations.resume()
    until(lambda: again.seen == ["work"] * 20, "the work is done again")
    assert {again.status(each).status for each in waiting} == {"Running"}, "an hour has not passed"
    again.operations.stop()


def test_an_operation_that_has_taken_its_time_succeeds(tmp_path: Path) -> None:
    slow = WeatherSettings(rules=(Rule(do="prolong", seconds=0.2),))
    bench = Bench(tmp_path / "state.db", weather=Weather(slow))
    began = time.time()
    operation = bench.begin()
    assert bench.ended.wait(10)
    assert time.time() - began >= 0.2
    assert bench.status(operation).status == "Succeeded"


def test_an_operation_that_is_to_fail_fails_after_a_restart_too_and_its_work_is_never_done(tmp_path: Path) -> None:
    bad = WeatherSettings(rules=(Rule(do="fail", seconds=0.3, code="OutOfCapacity", message="No machine is free."),))
    first = Bench(tmp_path / "state.db", weather=Weather(bad))
    operation = first.begin()
    first.operations.stop()
    first.store.close()
    second = Bench(tmp_path / "state.db")
    second.operations.resume()
    assert second.ended.wait(10)
    assert second.status(operation).error == {"code": "OutOfCapacity", "message": "No machine is free."}
    assert (first.seen, second.seen) == ([], ["OutOfCapacity"])
