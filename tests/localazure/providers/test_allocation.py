"""The rules by which a cluster's nodes come, go and work, for any sequence of what may happen to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from localazure.providers.ml import allocation
from localazure.providers.ml.allocation import Ask, Means, Node, Outlook, Pool, Scale

REST = 60.0
MOST = 6


@dataclass
class Cluster:
    """A pool to which things happen, and what has come of it; times are seconds from 0."""

    scale: Scale = field(default_factory=lambda: Scale(0, MOST, REST))
    seconds: float = 0.0
    room: int = 1_000
    failing: bool = False
    now: float = 0.0
    pool: Pool = field(default_factory=Pool)
    arrived: list[str] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    over: set[str] = field(default_factory=set)

    def step(self) -> None:
        failure = {"code": "Broken", "message": "no"} if self.failing else None
        means = Means(
            lambda number: Outlook(self.seconds, failure),
            lambda number: self.seconds / 2,
            lambda: self.room - self.pool.count("idle", "running", "preparing", "leaving"),
        )
        result = allocation.advance(self.pool, self.scale, self.now, means)
        self.pool = result.pool
        self.begun += [ask.job for ask in result.started]
        self.over |= {ask.job for ask in result.refused}

    def ask(self, instances: int) -> str:
        job = f"job{len(self.arrived)}"
        self.arrived.append(job)
        self.pool = allocation.enter(self.pool, Ask(job, instances))
        self.step()
        return job

    def end(self, job: str) -> None:
        self.over.add(job)
        self.pool = allocation.leave(self.pool, job, self.now)
        self.step()

    def wait(self, seconds: float) -> None:
        """Time passes, from one moment at which something is due to the next."""
        until = self.now + seconds
        while (due := allocation.due(self.pool, self.scale, self.now)) is not None and due <= until:
            self.now = due
            self.step()
        self.now = until
        self.step()

    def preempt(self, count: int, seconds: float) -> tuple[str, ...]:
        self.pool, bereft = allocation.preempt(self.pool, count, self.now, self.now + seconds)
        self.over |= set(bereft)
        self.step()
        return bereft

    def resize(self, least: int, most: int) -> None:
        self.scale = replace(self.scale, least=least, most=most)
        self.step()

    def states(self) -> list[str]:
        return sorted(node.state for node in self.pool.nodes)

    def check(self) -> None:
        """What holds whatever happens."""
        nodes = self.pool.nodes
        assert len({node.number for node in nodes}) == len(nodes), "no node is there twice"
        running = {ask.job: ask for ask in self.pool.running}
        assert {node.job for node in nodes if node.job} <= set(running), "a node works for a job that runs"
        assert all((node.job is not None) == (node.state == "running") for node in nodes)
        for job, ask in running.items():
            places = [node.instance for node in nodes if node.job == job]
            assert len(set(places)) == len(places)
            assert set(places) <= set(range(ask.instances))
        assert [job for job in self.arrived if job in self.begun] == self.begun, "in order of arrival"
        waiting = [ask.job for ask in self.pool.waiting]
        assert set(running) | set(waiting) == set(self.arrived) - self.over, "no job is lost"
        assert not set(running) & set(waiting)
        assert Pool.read(self.pool.kept()) == self.pool, "it is kept as it is"


def cluster(least: int = 0, most: int = MOST, **values: float) -> Cluster:
    made = Cluster(Scale(least, most, REST), **values)  # pyright: ignore[reportArgumentType]
    made.step()
    return made


# What is known beforehand ---------------------------------------------------------------------------------------------


def test_two_jobs_that_fit_run_together_and_the_third_waits_for_them() -> None:
    it = cluster(most=3)
    for instances in (1, 2, 1):
        it.ask(instances)
    assert it.begun == ["job0", "job1"]
    assert it.states() == ["running"] * 3
    it.end("job0")
    assert it.begun == ["job0", "job1", "job2"]


def test_a_small_job_does_not_overtake_a_large_one() -> None:
    it = cluster(most=3)
    for instances in (2, 2, 1):
        it.ask(instances)
    assert it.begun == ["job0"], "the third would fit, but came after the second"
    it.end("job0")
    assert it.begun == ["job0", "job1", "job2"]


def test_a_job_that_needs_more_nodes_than_there_may_be_is_refused_and_holds_up_nobody() -> None:
    it = cluster(most=2)
    it.ask(3)
    it.ask(1)
    assert it.over == {"job0"}
    assert it.begun == ["job1"]


def test_nodes_take_their_time_and_are_idle_for_their_rest() -> None:
    it = cluster(seconds=30)
    it.ask(2)
    assert it.states() == ["preparing"] * 2
    assert it.pool.resizing
    it.wait(29)
    assert not it.begun
    it.wait(1)
    assert it.begun == ["job0"]
    assert not it.pool.resizing
    it.end("job0")
    it.wait(REST - 1)
    assert it.states() == ["idle"] * 2
    it.wait(1)
    assert it.states() == ["leaving"] * 2
    it.wait(15)
    assert it.states() == []


def test_a_job_gets_the_nodes_that_are_idle_before_new_ones_come() -> None:
    it = cluster()
    it.ask(2)
    it.end("job0")
    first = {node.number for node in it.pool.nodes}
    it.ask(3)
    assert first < {node.number for node in it.pool.nodes}
    assert it.states() == ["running"] * 3


def test_the_smallest_number_is_there_without_a_job_and_stays() -> None:
    it = cluster(least=2, most=4)
    assert it.states() == ["idle"] * 2
    it.ask(4)
    it.end("job0")
    it.wait(10 * REST)
    assert it.states() == ["idle"] * 2
    it.resize(0, 4)
    assert it.states() == [], "they have been idle for long enough"


def test_a_lower_largest_number_takes_idle_nodes_at_once_and_never_a_job_its_own() -> None:
    it = cluster()
    it.ask(3)
    it.ask(2)
    it.end("job1")
    it.resize(0, 2)
    assert it.states() == ["running"] * 3
    it.end("job0")
    assert it.states() == ["idle"] * 2


def test_preempted_nodes_are_replaced_once_there_are_some_and_the_job_runs_on_meanwhile() -> None:
    it = cluster(most=3)
    it.ask(3)
    before = it.pool.places("job0")
    assert it.preempt(2, 100) == ()
    assert it.pool.places("job0") == {0: before[0]}, "the driver's node goes last"
    assert it.states() == ["preempted", "preempted", "running"]
    it.wait(100)
    after = it.pool.places("job0")
    assert sorted(after) == [0, 1, 2]
    assert after[0] == before[0]
    assert {after[1], after[2]}.isdisjoint(before.values())


def test_a_job_that_loses_its_last_node_ends_unless_an_idle_one_takes_its_place() -> None:
    it = cluster(least=2, most=2)
    it.ask(1)
    assert it.preempt(1, 100) == ()
    assert it.states() == ["preempted", "running"]
    assert it.preempt(1, 100) == ("job0",)
    assert not it.pool.running


def test_the_quota_gives_a_job_all_its_nodes_or_none() -> None:
    it = cluster(room=3)
    it.ask(2)
    it.ask(2)
    assert it.begun == ["job0"]
    assert it.pool.starved
    assert it.states() == ["running"] * 2, "half of what it needs would be of no use"
    it.room = 4
    it.step()
    assert it.begun == ["job0", "job1"]
    assert not it.pool.starved


def test_a_node_that_cannot_be_had_is_unusable_for_a_while_and_then_tried_again() -> None:
    it = cluster(failing=True)
    it.ask(1)
    assert it.states() == ["unusable"]
    it.failing = False
    it.wait(allocation.UNUSABLE_SECONDS)
    assert it.begun == ["job0"]


# Whatever happens -----------------------------------------------------------------------------------------------------

HAPPENINGS = st.one_of(
    st.tuples(st.just("ask"), st.integers(1, MOST)),
    st.tuples(st.just("end"), st.integers(0, 20)),
    st.tuples(st.just("wait"), st.floats(0, 3 * REST)),
    st.tuples(st.just("preempt"), st.integers(1, MOST)),
    st.tuples(st.just("fail"), st.booleans()),
    st.tuples(st.just("room"), st.integers(0, 2 * MOST)),
)
RESIZINGS = st.tuples(st.just("resize"), st.integers(0, MOST))


def happen(it: Cluster, what: str, value: float) -> None:
    if what == "ask":
        it.ask(int(value))
    elif what == "end":
        left = [job for job in it.arrived if job not in it.over]
        if left:
            it.end(left[int(value) % len(left)])
    elif what == "wait":
        it.wait(value)
    elif what == "preempt":
        it.preempt(int(value), 50)
    elif what == "fail":
        it.failing = bool(value)
    elif what == "room":
        it.room = int(value)
        it.step()
    else:
        it.resize(min(it.scale.least, int(value)), int(value))


@given(st.integers(0, 3), st.sampled_from([0.0, 20.0]), st.lists(HAPPENINGS, max_size=40))
@settings(max_examples=300, deadline=None)
def test_there_are_never_more_nodes_than_there_may_be(
    least: int, seconds: float, happenings: Sequence[tuple[str, float]]
) -> None:
    it = cluster(least, MOST, seconds=seconds)
    for what, value in happenings:
        happen(it, what, value)
        it.check()
        assert len(it.pool.nodes) <= MOST
        assert not it.pool.waiting or it.pool.waiting[0].instances > it.pool.count("idle"), "nobody waits beside a node"


@given(st.sampled_from([0.0, 20.0]), st.lists(st.one_of(HAPPENINGS, RESIZINGS), max_size=40))
@settings(max_examples=300, deadline=None)
def test_every_job_has_its_turn_and_every_node_is_freed_in_the_end(
    seconds: float, happenings: Sequence[tuple[str, float]]
) -> None:
    it = cluster(0, MOST, seconds=seconds)
    for what, value in happenings:
        before = sum(node.state == "running" for node in it.pool.nodes)
        happen(it, what, value)
        it.check()
        staying = sum(node.state != "leaving" for node in it.pool.nodes)
        assert staying <= max(it.scale.most, before), "a smaller largest number ends no job"
    it.failing, it.room = False, 1_000
    it.resize(0, MOST)
    for _ in range(2 * len(it.arrived) + 1):
        it.wait(2 * REST)
        for ask in it.pool.running:
            it.end(ask.job)
    assert not it.pool.waiting, "nobody waits for ever"
    assert not it.pool.running
    it.wait(10 * REST)
    assert it.states() == []


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=12))
@settings(max_examples=200, deadline=None)
def test_two_clusters_that_share_a_quota_never_wait_for_each_other_for_ever(asks: Sequence[tuple[int, int]]) -> None:
    both = (cluster(0, 4), cluster(0, 4))

    def share() -> None:
        for this, other in (both, both[::-1]):
            this.room = 4 - other.pool.count("idle", "running", "preparing", "leaving")
            this.step()

    for pair in asks:
        for it, instances in zip(both, pair, strict=True):
            share()
            it.ask(instances)
            assert sum(each.pool.count("idle", "running", "preparing") for each in both) <= 4
    for _ in range(4 * len(asks) + 4):
        for it in both:
            for ask in it.pool.running:
                it.end(ask.job)
            it.wait(REST)
            share()
    assert [it.begun for it in both] == [it.arrived for it in both]


def test_a_node_that_was_used_last_is_used_again_and_the_others_go() -> None:
    nodes = tuple(Node(number, "idle", float(number)) for number in (1, 2, 3))
    pool = allocation.enter(Pool(nodes, made=3), Ask("job", 1))
    pool = allocation.advance(pool, Scale(0, 3, REST), 3.0).pool
    assert pool.places("job") == {0: 3}
