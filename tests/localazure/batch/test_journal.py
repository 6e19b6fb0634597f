"""The journal: a job that is killed anywhere goes on where it was. An executor of no cost scores the mini-batches."""

import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localazure.batch import BatchResult, BatchSpec, job, journal, run
from localazure.batch.executor import Failed, Scored, WorkerPlan
from localazure.batch.spec import MiniBatch
from localazure.home import Home
from localazure.settings import Settings

FILES = 40


class Killed(BaseException):
    """Stands for the end of the process: nothing of the job may catch it."""


@dataclass
class Scorer:
    """An executor that scores at once; with `lives`, it is killed when it is to hand over so many outcomes and one."""

    lives: int = 1_000_000
    bad: Mapping[str, int] = field(default_factory=dict)
    """How many tries fail of a file's mini-batch."""
    runs: Counter[str] = field(default_factory=Counter)
    _queue: deque[MiniBatch] = field(default_factory=deque)

    def __call__(self, plans: Mapping[str, WorkerPlan], timeout: float) -> "Scorer":
        self._queue.clear()
        return self

    def submit(self, batch: MiniBatch) -> None:
        self._queue.append(batch)

    def next(self, timeout: float) -> Scored | Failed | None:
        if self.lives == 0:
            raise Killed
        self.lives -= 1
        batch = self._queue.popleft()
        names = [Path(path).name for path in batch.files]
        self.runs.update(names)
        if any(self.runs[name] <= self.bad.get(name, 0) for name in names):
            return Failed(batch, "exception", "ValueError: no good", worker="node/0")
        return Scored(batch, "".join(f"{name}\n" for name in names), len(names), worker="node/0")

    def close(self) -> None:
        pass


@pytest.fixture
def spec(spec: BatchSpec) -> BatchSpec:
    """A job over forty files that needs no process."""
    assert spec.code_dir is not None
    spec.code_dir.mkdir()
    (spec.code_dir / "score.py").touch()
    spec.inputs[0].mkdir()
    for number in range(FILES):
        (spec.inputs[0] / f"f{number:02d}").touch()
    return spec


def go(spec: BatchSpec, home: Home, scorer: Scorer) -> BatchResult:
    return run(spec, home=home, cancelled=threading.Event(), settings=Settings(max_batch_workers=2), executor=scorer)


def killed(spec: BatchSpec, home: Home, scorer: Scorer) -> None:
    with pytest.raises(Killed):
        go(spec, home, scorer)


def rows(spec: BatchSpec) -> list[str]:
    return sorted((spec.output_dir / "predictions.csv").read_text().splitlines())


def names(count: int = FILES) -> list[str]:
    return [f"f{number:02d}" for number in range(count)]


def log(spec: BatchSpec) -> str:
    return (spec.log_dir / "logs" / "job_progress_overview.txt").read_text()


def test_a_killed_job_goes_on_where_it_was(spec: BatchSpec, home: Home) -> None:
    scorer = Scorer(lives=25)
    killed(spec, home, scorer)
    assert not list(spec.output_dir.iterdir()), "nothing is there before all is there"
    scorer.lives = FILES
    result = go(spec, home, scorer)
    assert (result.succeeded, result.total, result.failed) == (True, FILES, 0)
    assert rows(spec) == names()
    assert set(scorer.runs.values()) == {1}, "no mini-batch that had ended was scored again"
    assert "Going on with what was left: 25 mini-batches were processed before." in log(spec)


wounds = st.lists(st.tuples(st.integers(0, FILES), st.integers(0, 400), st.integers(0, 60), st.binary(max_size=9)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wounds=wounds, size=st.integers(1, 5))
def test_every_row_is_there_once_whatever_is_torn_off_the_journal(
    spec: BatchSpec, home: Home, tmp_path_factory: pytest.TempPathFactory, wounds: list, size: int
) -> None:
    place = tmp_path_factory.mktemp("job")
    spec = replace(spec, journal=place / "journal", output_dir=place / "output", mini_batch_size=size)
    ended = False
    for lives, off_records, off_rows, garbage in wounds:
        try:
            go(spec, home, Scorer(lives=lives))
            ended = True
        except Killed:
            tear(spec.journal / "records", off_records, garbage)
            tear(spec.journal / "rows", off_rows, garbage)
    scorer = Scorer()
    result = go(spec, home, scorer)
    assert (result.succeeded, result.total, result.failed) == (True, FILES, 0)
    assert rows(spec) == names()
    assert not (ended and scorer.runs), "a job that has ended is not run again"


def tear(path: Path, size: int, garbage: bytes) -> None:
    """Take off the end of a file, and put what never was a record in its place."""
    data = path.read_bytes()
    path.write_bytes(data[: max(0, len(data) - size)] + garbage)


def test_rows_that_were_damaged_are_scored_again(spec: BatchSpec, home: Home) -> None:
    killed(spec, home, Scorer(lives=20))
    data = bytearray((spec.journal / "rows").read_bytes())
    data[4 * 10] ^= 1
    (spec.journal / "rows").write_bytes(data)
    scorer = Scorer()
    assert go(spec, home, scorer).succeeded
    assert rows(spec) == names()
    assert len(scorer.runs) == FILES - 10


@pytest.mark.parametrize("change", ["another job", "another input", "another size of mini-batches"])
def test_the_journal_of_something_else_does_not_count(spec: BatchSpec, home: Home, change: str) -> None:
    killed(spec, home, Scorer(lives=20))
    if change == "another job":
        spec = replace(spec, job="batchjob-other")
    elif change == "another input":
        (spec.inputs[0] / "f00").write_text("other")
    else:
        spec = replace(spec, mini_batch_size=2)
    scorer = Scorer()
    assert go(spec, home, scorer).succeeded
    assert rows(spec) == names()
    assert len(scorer.runs) == FILES, "all of it was scored anew"
    assert "begun anew" in (spec.log_dir / "azureml-logs" / "70_driver_log.txt").read_text()


def test_a_job_that_has_ended_answers_again_without_being_run(spec: BatchSpec, home: Home) -> None:
    first = go(spec, home, Scorer(bad={"f03": 1}))
    assert (first.succeeded, first.failed) == (True, 1)
    again = Scorer()
    assert go(spec, home, again) == first
    assert not again.runs
    assert rows(spec) == [name for name in names() if name != "f03"]


def test_a_job_killed_before_its_output_appears_publishes_it_the_next_time(
    spec: BatchSpec, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(job, "publish", die)
        killed(spec, home, Scorer())
    again = Scorer()
    assert go(spec, home, again).succeeded
    assert rows(spec) == names()
    assert not again.runs


def test_a_job_that_failed_does_not_try_its_luck_again(spec: BatchSpec, home: Home) -> None:
    spec = replace(spec, error_threshold=0)
    first = go(spec, home, Scorer(bad={"f03": 1}))
    assert not first.succeeded
    again = Scorer()
    assert go(spec, home, again) == first
    assert not again.runs


def test_failures_before_the_kill_count_towards_the_threshold(spec: BatchSpec, home: Home) -> None:
    spec = replace(spec, error_threshold=1)
    killed(spec, home, Scorer(lives=10, bad={"f03": 1}))
    result = go(spec, home, Scorer(bad={"f30": 1}))
    assert not result.succeeded
    assert "Exceeded error threshold 1" in result.message
    assert "f03: ValueError: no good" in result.message, "the summary names the one of before, too"
    assert "f30: ValueError: no good" in result.message


def test_tries_before_the_kill_are_tries(spec: BatchSpec, home: Home) -> None:
    spec = replace(spec, max_retries=3)
    scorer = Scorer(lives=FILES + 1, bad={"f03": 99})
    killed(spec, home, scorer)
    assert scorer.runs["f03"] == 2, "the second try comes after all others"
    scorer.lives = FILES
    result = go(spec, home, scorer)
    assert (result.succeeded, result.failed) == (True, 1)
    assert scorer.runs["f03"] == 3


def test_a_cancelled_job_can_go_on(spec: BatchSpec, home: Home) -> None:
    cancelled = threading.Event()

    class Cancelling(Scorer):
        def next(self, timeout: float) -> Scored | Failed | None:
            if sum(self.runs.values()) == 10:
                cancelled.set()
            return super().next(timeout)

    first = Cancelling()
    result = run(spec, home=home, cancelled=cancelled, settings=Settings(), executor=first)
    assert (result.succeeded, result.message) == (False, "The job was canceled.")
    rest = Scorer()
    assert go(spec, home, rest).succeeded
    assert rows(spec) == names()
    assert len(rest.runs) == FILES - 10


def test_what_fails_while_a_job_is_cancelled_is_not_held_against_it(spec: BatchSpec, home: Home) -> None:
    cancelled = threading.Event()

    class Ending(Scorer):
        """Whoever stops everything cancels the job, and then ends its workers."""

        def next(self, timeout: float) -> Scored | Failed | None:
            cancelled.set()
            return Failed(self._queue.popleft(), "crash", "The worker process ended with signal SIGTERM.")

    assert not run(spec, home=home, cancelled=cancelled, settings=Settings(), executor=Ending()).succeeded
    result = go(spec, home, Scorer())
    assert (result.succeeded, result.failed) == (True, 0)


def test_two_runs_do_not_share_a_journal(spec: BatchSpec, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "LOCK_SECONDS", 0.1)
    answers: list[BatchResult] = []

    class Meanwhile(Scorer):
        def next(self, timeout: float) -> Scored | Failed | None:
            if not answers:
                answers.append(go(replace(spec, log_dir=spec.log_dir / "second"), home, Scorer()))
            return super().next(timeout)

    assert go(spec, home, Meanwhile()).succeeded
    assert "Another run of this job still goes on" in answers[0].message
    assert rows(spec) == names()


def test_the_summary_names_the_first_failures_and_counts_the_others(spec: BatchSpec, home: Home) -> None:
    result = go(spec, home, Scorer(bad=dict.fromkeys(names()[5:], 1)))
    assert (result.succeeded, result.failed) == (True, FILES - 5)
    lines = result.message.splitlines()
    assert lines[1:21] == [f"{name}: ValueError: no good" for name in names()[5:25]]
    assert lines[21:] == ["and 15 more, see logs/user/error.txt"]


def test_text_that_no_encoding_has_does_not_stop_the_job(spec: BatchSpec, home: Home) -> None:
    class Odd(Scorer):
        def next(self, timeout: float) -> Scored | Failed | None:
            found = super().next(timeout)
            assert isinstance(found, Scored)
            return replace(found, rows="\ud83d\n")

    assert go(spec, home, Odd()).succeeded
    assert rows(spec) == ["\\ud83d"] * FILES
