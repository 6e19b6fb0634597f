"""SIGKILL at random moments, by seed: to a worker, to a process that runs a job, to one guarded as the daemon is.

Whatever is hit and whenever: the job, run again until it ends, writes each row once, and leaves no process behind.
"""

import contextlib
import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from localazure.batch import BatchSpec
from localazure.home import Home
from localazure.processes import sweep
from tests.localazure.batch.support import running, start_driver, wait_for, write_script

KINDS = ("worker", "runner", "daemon")
IN_FLIGHT = 4
"""Mini-batches of two workers that may be scored and not yet written when their job is killed."""

SCRIPT = """
import os, time
from pathlib import Path

def init():
    global seen
    seen = (Path(os.environ["SEEN"]) / str(os.getpid())).open("a", buffering=1)

def run(mini_batch):
    time.sleep(0.001)
    names = [Path(path).name for path in mini_batch]
    seen.write("".join(f"{name}\\n" for name in names))
    return names
"""


@dataclass(frozen=True)
class Kill:
    """What is killed once so many mini-batches are written."""

    after: int
    kind: str


@dataclass
class Victim:
    """A job that is killed again and again."""

    spec: BatchSpec
    home: Home
    seen: Path
    rng: random.Random
    driver: subprocess.Popen[str] | None = None
    struck: int = 0
    """How many of the kills met something alive."""

    def suffer(self, kills: Sequence[Kill]) -> str:
        """Run the job to its end, with these kills on the way; what it says at the end."""
        try:
            for number, kill in enumerate(kills):
                self._run(kills[number:])
                self._wait_for(kill.after)
                self._kill(kill.kind)
            return self._finish()
        finally:
            if self.driver:
                self.driver.kill()
                self.driver.communicate()
            sweep(self.home)

    def _run(self, coming: Sequence[Kill]) -> None:
        if self.driver is None:
            fatal = next((kill.kind for kill in coming if kill.kind != "worker"), "runner")
            self.driver = start_driver(self.spec, self.home, guarded=fatal == "daemon")

    def _wait_for(self, count: int) -> None:
        wait_for(lambda: self._written() > count or self._ended(), "the job came to a halt", poll=0.001)

    def _written(self) -> int:
        """The records of the journal, of which the first names the job; 0 without one."""
        records = self.spec.journal / "records"
        return records.read_bytes().count(b"\n") if records.exists() else 0

    def _ended(self) -> bool:
        return self.driver is not None and self.driver.poll() is not None

    def _kill(self, kind: str) -> None:
        assert self.driver is not None
        if kind == "worker":
            wait_for(lambda: self._workers() or self._ended(), "no worker came", poll=0.001)
            workers = self._workers()
            with contextlib.suppress(IndexError, ProcessLookupError):
                os.kill(self.rng.choice(workers), signal.SIGKILL)
                self.struck += 1
            return
        self.struck += not self._ended()
        self.driver.kill()
        self.driver.communicate()
        self.driver = None
        wait_for(lambda: not running(self.home), f"after the kill of the {kind} a worker lived on")

    def _workers(self) -> list[int]:
        return sorted(int(path.name) for path in self.seen.iterdir() if _alive(int(path.name)))

    def _finish(self) -> str:
        # A second time, for whoever was killed before it could say how its job ended: all it does is say it.
        for _ in range(2):
            self._run([])
            assert self.driver is not None
            said, _errors = self.driver.communicate(timeout=120)
            assert self.driver.returncode == 0, said
            self.driver = None
        assert running(self.home) == [], "no process outlives its job"
        return said


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def plan(rng: random.Random, mini_batches: int, kills: int) -> list[Kill]:
    """Kills at random points of the job, as many of each kind as can be."""
    kinds = [KINDS[number % len(KINDS)] for number in range(kills)]
    rng.shuffle(kinds)
    # Not at the very end, where a job is over before one has looked.
    points = sorted(rng.sample(range(mini_batches * 9 // 10), kills))
    return [Kill(after, kind) for after, kind in zip(points, kinds, strict=True)]


def check_kills(spec: BatchSpec, home: Home, folder: Path, mini_batches: int, kills: int, seed: int) -> None:
    """Run a job of two workers under as many kills; see that nothing is lost, nothing doubled, nothing left."""
    seen = folder / "seen"
    seen.mkdir()
    spec.inputs[0].mkdir()
    names = [f"f{number:04d}" for number in range(mini_batches)]
    for name in names:
        (spec.inputs[0] / name).touch()
    write_script(spec, SCRIPT)
    spec = replace(spec, environment_variables={"SEEN": str(seen)}, max_retries=kills + 1)
    rng = random.Random(seed)
    victim = Victim(spec, home, seen, rng)
    said = victim.suffer(plan(rng, mini_batches, kills))
    assert victim.struck > kills // 2
    assert said.strip() == f"Processed {mini_batches} files: {mini_batches} succeeded, 0 failed."
    written = (spec.output_dir / spec.output_file_name).read_text().splitlines()
    assert sorted(written) == names, "each row once"
    scored = Counter(name for path in seen.iterdir() for name in path.read_text().splitlines())
    assert scored.total() <= mini_batches + kills * IN_FLIGHT, "what had been written was not scored again"


@pytest.mark.parametrize("seed", range(2))
def test_a_job_under_kills_writes_each_row_once_and_leaves_no_process(
    spec: BatchSpec, home: Home, tmp_path: Path, seed: int
) -> None:
    check_kills(spec, home, tmp_path, mini_batches=200, kills=6, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_two_hundred_kills_of_jobs_of_a_thousand_mini_batches(
    spec: BatchSpec, home: Home, tmp_path: Path, seed: int
) -> None:
    check_kills(spec, home, tmp_path, mini_batches=1000, kills=10, seed=seed)
