"""The executor's contract, held against each implementation with real workers."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from localazure import processes
from localazure.batch.executor import Executor, Failed, InitFailed, Scored, StartExecutor, WorkerPlan
from localazure.batch.instances import Instances
from localazure.batch.spec import BatchSpec, MiniBatch
from localazure.batch.workers import ProcessExecutor
from localazure.home import Home
from tests.localazure.batch.support import running, wait_for, write_script

Start = Callable[..., Executor]

SCRIPT = """
import os, signal, time
calls = 0

def init():
    global started
    started = time.time()

def run(mini_batch):
    global calls
    calls += 1
    for name in mini_batch:
        if name == "raise":
            raise ValueError("no good")
        if name == "exit":
            raise SystemExit(3)
        if name == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "hang":
            time.sleep(600)
    return [f"{name} {os.getpid()} {calls}" for name in mini_batch]
"""


IMPLEMENTATIONS: dict[str, StartExecutor] = {
    "processes": ProcessExecutor,
    "instances": Instances.of(lambda: {0: 1}),
}
"""Another executor is held to the contract by its row here."""


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def start(request: pytest.FixtureRequest, spec: BatchSpec, home: Home, tmp_path: Path) -> Iterator[Start]:
    """Start an executor of each kind with a script's text; closed at the end of the test."""
    opened: list[Executor] = []

    def start_one(script: str, workers: int = 1, timeout: float = 60.0, memory: int = 1 << 40) -> Executor:
        path = write_script(spec, script)
        plans = {f"node/{slot}": _plan(home, path, tmp_path / f"{slot}", memory) for slot in range(workers)}
        opened.append(IMPLEMENTATIONS[request.param](plans, timeout))
        return opened[-1]

    yield start_one
    for executor in opened:
        executor.close()


def _plan(home: Home, script: Path, logs: Path, memory: int) -> WorkerPlan:
    return WorkerPlan(
        home=home,
        python=Path(sys.executable),
        script=script,
        folders=(script.parent,),
        arguments=(),
        environment={"PATH": os.defpath},
        stdout=logs.with_suffix(".out"),
        stderr=logs.with_suffix(".err"),
        logging_level="info",
        keep_rows=True,
        cwd=script.parent,
        memory=memory,
    )


def outcome(executor: Executor) -> Scored | Failed:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := executor.next(1.0):
            return found
    raise AssertionError("the mini-batch had no outcome within a minute")


def batches(*names: str) -> list[MiniBatch]:
    return [MiniBatch(number, (name,)) for number, name in enumerate(names)]


def scored(executor: Executor) -> list[str]:
    found = outcome(executor)
    assert isinstance(found, Scored), found
    return found.rows.split()


def failed(executor: Executor) -> Failed:
    found = outcome(executor)
    assert isinstance(found, Failed), found
    return found


def test_each_mini_batch_has_one_outcome(start: Start) -> None:
    executor = start(SCRIPT, workers=2)
    for batch in batches(*map(str, range(40))):
        executor.submit(batch)
    assert sorted(outcome(executor).batch.number for _ in range(40)) == list(range(40))
    assert executor.next(0.3) is None


def test_next_returns_nothing_when_nothing_ends_in_time(start: Start) -> None:
    assert start(SCRIPT).next(0.05) is None


def test_init_is_called_once_for_all_of_a_workers_mini_batches(start: Start) -> None:
    executor = start("calls = 0\ndef init():\n    global calls\n    calls += 1\ndef run(files):\n    return [calls]\n")
    for batch in batches("a", "b", "c"):
        executor.submit(batch)
    assert [scored(executor) for _ in range(3)] == [["1"]] * 3


@pytest.mark.parametrize(("name", "reason"), [("raise", "ValueError: no good"), ("exit", "SystemExit: 3")])
def test_an_exception_is_an_outcome_and_the_worker_goes_on(start: Start, name: str, reason: str) -> None:
    executor = start(SCRIPT)
    for batch in batches("a", name, "b"):
        executor.submit(batch)
    before, failure, after = scored(executor), failed(executor), scored(executor)
    assert (failure.kind, failure.reason) == ("exception", reason)
    assert "in run" in failure.trace, "the trace leads to the line in the script"
    assert before[1] == after[1], "the same process"


FORKS = """
import os

def fork():
    pid = os.fork()
    if pid == 0:
        LEAVE
    os.waitpid(pid, 0)

def init():
    WHERE == "init" and fork()

def run(mini_batch):
    WHERE == "run" and fork()
    return list(mini_batch)
"""


@pytest.mark.parametrize("where", ["init", "run"])
@pytest.mark.parametrize("leave", ["raise SystemExit(0)", "raise ValueError", "return"])
def test_a_fork_that_comes_out_of_the_script_does_not_answer_in_the_workers_place(
    start: Start, where: str, leave: str
) -> None:
    executor = start(FORKS.replace("WHERE", repr(where)).replace("LEAVE", leave))
    for batch in batches("a", "b", "c"):
        executor.submit(batch)
    found = [outcome(executor) for _ in range(3)]
    assert [(each.batch.files, each.rows) for each in found if isinstance(each, Scored)] == [
        (("a",), "a\n"),
        (("b",), "b\n"),
        (("c",), "c\n"),
    ]


def test_a_fork_that_exits_has_the_exit_code_that_it_gave(start: Start) -> None:
    executor = start(
        """
        import os, sys
        def init(): ...
        def run(mini_batch):
            pid = os.fork()
            if pid == 0:
                sys.exit(7)
            return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]
        """
    )
    executor.submit(MiniBatch(0, ("a",)))
    assert scored(executor) == ["7"]


SPOILT = """
import os, socket, stat

def init(): ...

def run(mini_batch):
    if mini_batch[0] == "spoilt":
        for number in range(3, 64):
            try:
                is_socket = stat.S_ISSOCK(os.fstat(number).st_mode)
            except OSError:
                continue
            if is_socket:
                os.write(number, MESSAGE)
    return list(mini_batch)
"""


@pytest.mark.parametrize("message", [b"[1]\n", b"not JSON\n", b'{"number": 2, "event": "scored"}\n'])
def test_an_answer_that_cannot_be_read_is_a_crash_and_the_job_goes_on(start: Start, message: bytes) -> None:
    executor = start(SPOILT.replace("MESSAGE", repr(message)))
    for batch in batches("a", "spoilt", "b"):
        executor.submit(batch)
    assert scored(executor) == ["a"]
    failure = failed(executor)
    assert (failure.kind, failure.batch.files) == ("crash", ("spoilt",))
    assert "answered what cannot be read" in failure.reason
    assert scored(executor) == ["b"]


def test_an_answer_to_something_else_is_not_taken_for_the_mini_batchs(start: Start) -> None:
    executor = start(SPOILT.replace("MESSAGE", repr(b'{"event": "ready"}\n{"number": 1, "event": "scored"}\n')))
    for batch in batches("a", "spoilt", "b"):
        executor.submit(batch)
    assert [scored(executor) for _ in range(3)] == [["a"], ["spoilt"], ["b"]]


def test_a_worker_that_cannot_be_started_for_whatever_reason_is_said(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spawn(*_: object, **__: object) -> None:
        raise ValueError("embedded null byte")

    monkeypatch.setattr(processes, "spawn", spawn)
    with pytest.raises(InitFailed, match="embedded null byte"):
        outcome(start(SCRIPT))


def test_a_process_that_dies_is_replaced(start: Start) -> None:
    executor = start(SCRIPT)
    for batch in batches("a", "crash", "b"):
        executor.submit(batch)
    before, failure, after = scored(executor), failed(executor), scored(executor)
    assert failure.kind == "crash"
    assert "SIGKILL" in failure.reason
    assert before[1] != after[1]
    assert after[2] == "1", "a new process, with its own init()"


def test_a_mini_batch_that_takes_too_long_is_ended_with_its_process(start: Start, home: Home) -> None:
    executor = start(SCRIPT, timeout=5.0)
    for batch in batches("a", "hang", "b"):
        executor.submit(batch)
    before, failure, after = scored(executor), failed(executor), scored(executor)
    assert failure.kind == "timeout"
    assert "5 seconds" in failure.reason
    assert int(before[1]) not in running(home)
    assert int(after[1]) in running(home)


LEAK = """
import os, time
kept = []
def init(): ...
def run(mini_batch):
    grow = 400 if mini_batch[0] == "leak" else 2
    for _ in range(grow):
        kept.append(b"x" * (1 << 20))
        time.sleep(0.01)
    time.sleep(0.1)
    return [os.getpid()]
"""


def test_a_process_that_grows_too_large_is_ended_and_replaced(start: Start, home: Home) -> None:
    executor = start(LEAK, memory=150 << 20)
    for batch in batches("a", "leak", "b"):
        executor.submit(batch)
    before, failure, after = scored(executor), failed(executor), scored(executor)
    assert failure.kind == "memory"
    assert "MB of memory" in failure.reason
    assert "150" in failure.reason
    assert int(before[0]) not in running(home)
    assert int(after[0]) in running(home)


def test_a_process_that_leaks_a_little_each_time_is_replaced_at_no_cost(start: Start) -> None:
    executor = start(LEAK, memory=40 << 20)
    for batch in batches(*map(str, range(30))):
        executor.submit(batch)
    processes = [scored(executor)[0] for _ in range(30)]
    assert len(set(processes)) > 1


def test_an_idle_process_that_is_killed_costs_no_mini_batch(start: Start) -> None:
    executor = start(SCRIPT)
    first, second = batches("a", "b")
    executor.submit(first)
    pid = int(scored(executor)[1])
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT), "it did not die")
    executor.submit(second)
    assert scored(executor)[2] == "1", "another process"


def test_a_process_that_is_killed_in_init_is_started_again(start: Start, tmp_path: Path) -> None:
    executor = start(
        f"""
        import os, pathlib, signal
        def init():
            tries = pathlib.Path({str(tmp_path / "tries")!r})
            with tries.open("a") as file:
                file.write("x")
            if tries.stat().st_size < 3:
                os.kill(os.getpid(), signal.SIGKILL)
        def run(files):
            return files
        """
    )
    executor.submit(MiniBatch(0, ("a",)))
    assert scored(executor) == ["a"]


def test_what_a_script_starts_finds_the_end_of_its_input(start: Start) -> None:
    executor = start(
        "import subprocess\ndef init(): ...\ndef run(files):\n    return [subprocess.run(['wc', '-c'], "
        "capture_output=True, text=True).stdout]\n",
        timeout=20.0,
    )
    executor.submit(MiniBatch(0, ("a",)))
    assert scored(executor) == ["0"]


def test_a_failing_init_says_why(start: Start) -> None:
    executor = start("def init():\n    raise RuntimeError('no model here')\ndef run(files):\n    return files\n")
    with pytest.raises(InitFailed, match=r"(?s)in init.*RuntimeError: no model here"):
        outcome(executor)


def test_a_process_that_ends_in_init_says_what_it_wrote_last(start: Start) -> None:
    executor = start("import os\ndef init():\n    os.write(2, b'out of luck')\n    os._exit(7)\ndef run(files): ...\n")
    with pytest.raises(InitFailed, match=r"(?s)exit code 7.*out of luck"):
        outcome(executor)


@pytest.mark.parametrize("missing", ["init", "run"])
def test_a_script_without_its_functions_is_refused(start: Start, missing: str) -> None:
    other = {"init": "run", "run": "init"}[missing]
    executor = start(f"def {other}(*files):\n    return []\n")
    with pytest.raises(InitFailed, match=rf"has no function {missing}\(\)"):
        outcome(executor)


def test_what_a_script_started_in_a_session_of_its_own_ends_with_its_worker(start: Start, home: Home) -> None:
    executor = start(
        """
        import subprocess, time
        def init(): ...
        def run(files):
            if files[0] == "hang":
                subprocess.Popen(["sleep", "601"], start_new_session=True)
                time.sleep(600)
            return list(files)
        """,
        workers=2,
        timeout=5.0,
    )
    executor.submit(MiniBatch(0, ("hang",)))
    assert failed(executor).kind == "timeout"
    executor.submit(MiniBatch(1, ("a",)))
    assert scored(executor) == ["a"]
    assert [pid for pid in running(home) if "601" in psutil.Process(pid).cmdline()] == []


@pytest.mark.parametrize("own_session", [False, True])
def test_closing_ends_workers_that_are_busy_and_what_they_started(
    start: Start, home: Home, tmp_path: Path, own_session: bool
) -> None:
    executor = start(
        f"""
        import pathlib, subprocess, time
        def init(): ...
        def run(files):
            subprocess.Popen(["sleep", "600"], start_new_session={own_session})
            pathlib.Path({str(tmp_path / "busy")!r}).touch()
            time.sleep(600)
        """
    )
    executor.submit(MiniBatch(0, ("a",)))
    wait_for((tmp_path / "busy").exists, "the worker never got to run()")
    assert len(running(home)) == 2
    executor.close()
    assert running(home) == []
    executor.close()
