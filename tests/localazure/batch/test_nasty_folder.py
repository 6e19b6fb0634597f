"""A folder of files that go wrong in every way at once, under each kind of error threshold."""

import errno
import multiprocessing
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from localazure.batch import BatchSpec
from localazure.home import Home
from tests.localazure.batch.support import JobRunner, Log, Rows, running, write_script

SCRIPT = """
import ctypes, os, resource, time
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
kept = []

def init(): ...

def run(mini_batch):
    rows = []
    for path in mini_batch:
        name = os.path.basename(path)
        if name == "crash.csv":
            ctypes.string_at(0)
        if name == "hang.csv":
            time.sleep(600)
        while name == "leak.csv":
            kept.append(b"x" * (4 << 20))
            time.sleep(1.0 if len(kept) > 100 else 0.0)
        with open(path) as file:
            first = file.readline(80).rstrip()
        if not first:
            raise ValueError("the file is empty")
        rows.append(name)
    return rows
"""
GIBIBYTE = 1 << 30
SCORED = ["a.csv", "b.csv", "huge.csv", os.fsdecode(b"caf\xe9.csv")]
FAILED = {
    "crash.csv": "The worker process ended with signal SIGSEGV",
    "empty.csv": "ValueError: the file is empty",
    "hang.csv": "run() did not finish in 15 seconds",
    "leak.csv": "The worker process held",
    "unreadable.csv": "OSError: [Errno 40] Too many levels of symbolic links",
}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="macOS has no such file names")


@pytest.fixture
def nasty(spec: BatchSpec) -> Path:
    """The folder; what is unreadable is a link to itself, for nothing else stops a user who may read everything."""
    folder = spec.inputs[0]
    folder.mkdir()
    for name in (*SCORED, "crash.csv", "hang.csv", "leak.csv"):
        (folder / name).write_text("1,2,3\n")
    (folder / "empty.csv").touch()
    (folder / "unreadable.csv").symlink_to("unreadable.csv")
    os.truncate(folder / "huge.csv", 8 * GIBIBYTE)
    write_script(spec, SCRIPT)
    return folder


@pytest.mark.usefixtures("nasty")
@pytest.mark.parametrize(("threshold", "succeeds"), [(-1, True), (0, False), (4, False), (5, True)])
def test_the_threshold_is_held_against_all_that_goes_wrong(
    job: JobRunner, spec: BatchSpec, rows: Rows, log: Log, home: Home, threshold: int, succeeds: bool
) -> None:
    result = job.run(error_threshold=threshold, timeout=15.0, memory=200)
    assert result.succeeded is succeeds, result.message
    assert result.total == len(SCORED) + len(FAILED)
    assert running(home) == []
    if succeeds:
        assert result.failed == len(FAILED)
        assert rows() == sorted(SCORED)
    else:
        assert result.failed == threshold + 1, "it ends with the failure that is one too many"
        assert f"Exceeded error threshold {threshold}." in result.message
        assert not (spec.output_dir / "predictions.csv").exists()
    said = dict(line.split(": ", 1) for line in result.message.splitlines()[1:] if ": " in line)
    assert len(said) == result.failed, "each is named"
    for name, reason in said.items():
        assert reason.startswith(FAILED[name])
        assert name in log("logs/user/error.txt")


@pytest.mark.usefixtures("nasty")
def test_a_file_that_goes_wrong_takes_its_mini_batch_with_it(job: JobRunner, spec: BatchSpec, rows: Rows) -> None:
    for name in ("hang.csv", "leak.csv", "empty.csv", "unreadable.csv"):
        (spec.inputs[0] / name).unlink()
    result = job.run(mini_batch_size=3)
    assert (result.succeeded, result.total, result.failed) == (True, 5, 2), result.message
    assert [line.split(": ")[0] for line in result.message.splitlines()[1:]] == ["crash.csv", "huge.csv"]
    assert rows() == sorted(set(SCORED) - {"huge.csv"})


def test_a_folder_that_cannot_be_read_is_named_and_not_left_out(
    job: JobRunner, nasty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nasty / "closed").mkdir()
    scan = os.scandir

    def scandir(path: str) -> Iterator[os.DirEntry[str]]:
        # As for a user without the right to; the one who runs the test may be root.
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scan(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        result = job.run()
    assert not result.succeeded
    assert f"{nasty / 'closed'} cannot be read: Permission denied" in result.message


def test_the_job_itself_takes_no_more_memory_for_a_huge_file(job: JobRunner, nasty: Path) -> None:
    for path in nasty.iterdir():
        if path.name != "huge.csv":
            path.unlink()
    # In a process of its own: the peak of this one may be an earlier test's.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        assert process.submit(growth, job).result(timeout=120) < 100 << 10, "kilobytes"


def growth(job: JobRunner) -> int:
    """Kilobytes by which the job raises this process's peak."""
    before = peak()
    assert job.run().succeeded
    return peak() - before


def peak() -> int:
    # Not ru_maxrss, which is at first that of the process that started this one.
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1])
