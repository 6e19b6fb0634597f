"""Mini-batches on instances that are taken away while they run, with workers that do what the test says."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from localazure.batch import BatchSpec, run
from localazure.batch.executor import Failed, InitFailed, Scored, WorkerPlan
from localazure.batch.instances import Instances
from localazure.batch.logs import worker_name
from localazure.batch.spec import MiniBatch
from localazure.home import Home
from localazure.settings import Settings


class Workers:
    """The workers of one instance: what they are given waits until the test answers it."""

    def __init__(self, plans: Mapping[str, WorkerPlan], timeout: float) -> None:
        self.names = list(plans)
        self.given: list[MiniBatch] = []
        self.closed = False
        self.said: queue.SimpleQueue[Scored | Failed | InitFailed] = queue.SimpleQueue()

    def submit(self, batch: MiniBatch) -> None:
        self.given.append(batch)

    def next(self, timeout: float) -> Scored | Failed | None:
        try:
            said = self.said.get(timeout=0.01)
        except queue.Empty:
            return None
        if isinstance(said, InitFailed):
            raise said
        return said

    def close(self) -> None:
        self.closed = True

    def answer(self) -> None:
        self.said.put(Scored(self.given[-1], "row\n", 1))


class World:
    """An executor on nodes that the test gives and takes."""

    def __init__(self, instances: int, workers: int) -> None:
        self.nodes = {instance: 100 + instance for instance in range(instances)}
        self.crews: list[Workers] = []
        names = [worker_name(slot, instances) for slot in range(workers)]
        self.executor = Instances(dict.fromkeys(names), 1.0, lambda: self.nodes, self.start)  # pyright: ignore[reportArgumentType]

    def start(self, plans: Mapping[str, WorkerPlan], timeout: float) -> Workers:
        self.crews.append(Workers(plans, timeout))
        return self.crews[-1]

    def submit(self, count: int) -> None:
        for number in range(count):
            self.executor.submit(MiniBatch(number, (f"f{number}",)))

    def working(self) -> dict[int, int]:
        """How many mini-batches each crew that is there works on, by the order of their beginning."""
        return {at: len(crew.given) for at, crew in enumerate(self.crews) if not crew.closed}

    def next(self) -> Scored | Failed | None:
        """The next outcome, if there is to be one."""
        found = (self.executor.next(0.1) for _ in range(30))
        return next((each for each in found if each), None)


@pytest.fixture
def world() -> Iterator[Callable[[int, int], World]]:
    made: list[World] = []

    def make(instances: int, workers: int) -> World:
        made.append(World(instances, workers))
        return made[-1]

    yield make
    for each in made:
        each.executor.close()


Make = Callable[[int, int], World]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_each_instance_has_workers_of_its_own(world: Make) -> None:
    it = world(2, 4)
    assert [crew.names for crew in it.crews] == [
        ["10.0.0.4/process000", "10.0.0.4/process001"],
        ["10.0.0.5/process000", "10.0.0.5/process001"],
    ]
    it.submit(5)
    assert it.working() == {0: 2, 1: 2}, "as many as there are workers; the fifth waits for the first that is free"
    it.crews[1].answer()
    assert it.next() is not None
    assert it.working() == {0: 2, 1: 3}


def test_what_was_scored_on_an_instance_that_goes_is_scored_on_another_as_the_same_try(world: Make) -> None:
    it = world(2, 2)
    it.submit(2)
    (lost,) = it.crews[1].given
    del it.nodes[1]
    it.executor.next(0)
    until(lambda: it.crews[1].closed)
    it.crews[0].answer()
    assert it.next() is not None
    assert it.crews[0].given[-1] == lost
    it.crews[0].answer()
    outcome = it.next()
    assert outcome is not None
    assert outcome.batch == lost


def test_what_a_lost_instance_says_late_does_not_count(world: Make) -> None:
    it = world(2, 2)
    it.submit(2)
    del it.nodes[1]
    it.executor.next(0)
    it.crews[1].answer()
    it.crews[1].said.put(InitFailed("ended in init()"))
    assert it.executor.next(0.2) is None


def test_an_instance_that_comes_back_has_new_workers(world: Make) -> None:
    it = world(2, 2)
    it.nodes[1] = 200
    it.submit(2)
    it.executor.next(0)
    until(lambda: it.crews[1].closed)
    assert it.working() == {0: 1, 2: 1}, "another node, so another crew, though nobody saw it missing"


def test_the_few_workers_of_a_small_machine_move_to_the_instances_that_are_left(world: Make) -> None:
    it = world(4, 2)
    it.submit(2)
    it.nodes = {2: 102, 3: 103}
    it.executor.next(0)
    until(lambda: it.crews[0].closed and it.crews[1].closed)
    assert it.working() == {2: 1, 3: 1}


def test_a_failing_init_is_heard_of(world: Make) -> None:
    it = world(1, 1)
    it.crews[0].said.put(InitFailed("no model"))
    with pytest.raises(InitFailed, match="no model"):
        it.next()


SLOW = """
import os, pathlib, time

def init():
    pass

def run(files):
    time.sleep(0.05)
    return [pathlib.Path(file).name for file in files]
"""


def test_every_row_is_there_once_however_often_instances_come_and_go(
    spec: BatchSpec, home: Home, tmp_path: Path
) -> None:
    source = tmp_path / "many"
    source.mkdir()
    for number in range(60):
        (source / f"f{number:03d}.txt").touch()
    code = tmp_path / "slow"
    code.mkdir()
    (code / "score.py").write_text(SLOW)
    nodes = {0: 1, 1: 2}
    ended = threading.Event()

    def disturb() -> None:
        for number in range(3, 11):
            if ended.wait(0.4):
                return
            nodes.update({number % 2: number})
            nodes.pop((number + 1) % 2, None)
        nodes.update({0: 20, 1: 21})

    changed = replace(
        spec,
        code_dir=code,
        script="score.py",
        mlflow_path=None,
        inputs=(source,),
        instance_count=2,
        mini_batch_size=2,
        max_retries=1,
    )
    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        result = run(
            changed,
            home=home,
            cancelled=threading.Event(),
            settings=Settings(max_batch_workers=2),
            executor=Instances.of(lambda: dict(nodes)),
        )
    finally:
        ended.set()
        disturber.join()
    assert (result.succeeded, result.total, result.failed) == (True, 60, 0), result.message
    rows = (spec.output_dir / spec.output_file_name).read_text().splitlines()
    assert sorted(rows) == [f"f{number:03d}.txt" for number in range(60)]
