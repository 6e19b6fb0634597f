"""Processes of a home: started with its mark, ended in groups, never left behind."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from localazure import processes
from localazure.home import Home
from tests.localazure.running import gone, until

SLEEPER = "import time; print('up', flush=True); time.sleep(300)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(300)"
)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home.at(tmp_path / "home")
    home.create()
    yield home
    processes.sweep(home, grace=0)


def start(home: Home, code: str, name: str = "process") -> subprocess.Popen[bytes]:
    """A Python process of the home that has printed something."""
    log = home.logs / f"{name}.log"
    process = processes.spawn(home, [sys.executable, "-c", code], env=os.environ, log=log)
    until(lambda: log.is_file() and b"up" in log.read_bytes(), "the process prints")
    return process


def test_a_process_logs_to_its_file_and_reads_nothing(home: Home) -> None:
    log = home.logs / "process.log"
    log.write_text("earlier\n")
    code = "import sys; print(repr(sys.stdin.read()), flush=True); print('failed', file=sys.stderr)"
    processes.spawn(home, [sys.executable, "-c", code], env=os.environ, log=log).wait()
    assert log.read_text().splitlines() == ["earlier", "''", "failed"]


def test_the_environment_is_what_was_given_and_the_mark(home: Home) -> None:
    log = home.logs / "process.log"
    code = "import json, os; print(json.dumps(sorted(os.environ)))"
    processes.spawn(home, [sys.executable, "-c", code], env={"ONLY": "this"}, log=log).wait()
    assert "ONLY" in log.read_text()
    assert "LOCALAZURE_HOME_ID" in log.read_text()
    assert "PATH" not in log.read_text(), "nothing of the daemon's environment reaches a scoring process unasked"


def test_stop_ends_workers_that_ignore_the_signal(home: Home) -> None:
    worker = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {STUBBORN!r}]).wait()"
    process = start(home, worker)
    (child,) = psutil.Process(process.pid).children()
    processes.stop(process, grace=5)
    until(lambda: gone(child), "the worker has gone")


def test_stop_of_an_ended_process_is_nothing(home: Home) -> None:
    process = processes.spawn(home, [sys.executable, "-c", ""], env=os.environ, log=home.logs / "log")
    process.wait()
    processes.stop(process)
    assert process.returncode == 0


def test_sweep_ends_this_homes_processes_and_no_others(home: Home, tmp_path: Path) -> None:
    other = Home.at(tmp_path / "other")
    other.create()
    ours, spared, theirs = start(home, STUBBORN), start(home, SLEEPER, "spared"), start(other, SLEEPER)
    assert processes.sweep(home, spare=[spared.pid], grace=0.2) == 1
    assert ours.poll() is not None, "though it ignores SIGTERM"
    assert spared.poll() is None
    assert theirs.poll() is None
    processes.sweep(other, grace=0)


def test_sweep_finds_what_a_process_has_started(home: Home) -> None:
    orphaning = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPER!r}], start_new_session=True)"
    start(home, orphaning).wait()
    assert processes.sweep(home) == 1, "the mark is inherited, whatever session or parent a process has"


def test_sweep_by_a_mark_ends_those_that_carry_it_and_no_others(home: Home) -> None:
    other = start(home, SLEEPER, "other")
    log = home.logs / "marked.log"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPER!r}], start_new_session=True)"
    processes.spawn(home, [sys.executable, "-c", code], env={**os.environ, "MARK": "a"}, log=log).wait()
    assert processes.sweep_marked({"MARK": "b"}, grace=0) == 0
    assert processes.sweep_marked({"MARK": "a"}, grace=0) == 1
    assert other.poll() is None


def test_sweep_lets_a_process_save_what_it_has(home: Home, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    code = (
        "import pathlib, signal, sys, time\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path({str(saved)!r}).touch(), sys.exit()))\n"
        "print('up', flush=True)\ntime.sleep(300)"
    )
    start(home, code)
    processes.sweep(home, grace=10)
    assert saved.exists(), "Azurite writes its index when it is asked to end"


def test_sweep_of_one_run_leaves_another(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALAZURE_RUN_ID", "old")
    old = start(home, SLEEPER, "old")
    monkeypatch.setenv("LOCALAZURE_RUN_ID", "new")
    new = start(home, SLEEPER, "new")
    assert processes.sweep(home, run="old") == 1
    assert old.poll() is not None
    assert new.poll() is None, "the guardian of a dead daemon must not end the next daemon's processes"


def test_the_guardian_sweeps_when_its_daemon_is_killed(home: Home, tmp_path: Path) -> None:
    daemon = (
        "import os, sys, time\n"
        "from localazure import processes\nfrom localazure.home import Home\n"
        f"home = Home.at({str(home.path)!r})\n"
        "processes.start_guardian(home, processes.new_run())\n"
        f"sleeper = [sys.executable, '-c', {SLEEPER!r}]\n"
        "child = processes.spawn(home, sleeper, env=os.environ, log=home.logs / 'child.log')\n"
        "print(child.pid, 'up', flush=True)\ntime.sleep(300)"
    )
    environment = {**os.environ, "PYTHONPATH": str(processes.ROOT)}
    process = subprocess.Popen([sys.executable, "-c", daemon], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout
    child = psutil.Process(int(process.stdout.readline().split()[0]))
    process.kill()
    process.communicate()
    until(lambda: gone(child), "the child is swept though the daemon could do nothing any more")
    until(lambda: processes.sweep(home, grace=10) == 0, "the guardian itself has gone")


def test_a_free_port_can_be_listened_on() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", processes.free_port()))
