"""Driving the command line as a user does: as processes, in a folder of the test's own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from localazure.home import Home
from localazure.processes import HOME_MARK

PROGRAM = Path(__file__).with_name("fake_program.py")
PATIENCE = 60.0


def until(condition: Callable[[], Any], why: str) -> Any:
    """Wait for something that other processes bring about."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited in vain: {why}")


@dataclass(frozen=True)
class Installation:
    """One home, and the command line with the fake control plane for it."""

    home: Home

    @classmethod
    def of(cls, folder: Path) -> "Installation":
        """The installation with its home in a folder."""
        return cls(Home.at(folder))

    def begin(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start a command and leave it running."""
        return subprocess.Popen(
            [sys.executable, str(PROGRAM), *arguments, "--home", str(self.home.path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **variables},
        )

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Carry out a command."""
        process = self.begin(*arguments, **variables)
        out, err = process.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def ok(self, *arguments: str, **variables: str) -> str:
        """Carry out a command that must succeed; returns what it printed."""
        done = self.run(*arguments, **variables)
        assert done.returncode == 0, f"{arguments} failed:\n{done.stdout}{done.stderr}"
        return done.stdout

    def status(self) -> dict[str, Any]:
        """The running daemon's status."""
        return json.loads(self.ok("status", "--json"))

    def shell(self, script: str, **variables: str) -> str:
        """What a shell prints that has evaluated `env` and then runs a script."""
        env = 'eval "$("$PYTHON" "$PROGRAM" env --home "$THE_HOME")"'
        places = {"PYTHON": sys.executable, "PROGRAM": str(PROGRAM), "THE_HOME": str(self.home.path)}
        done = subprocess.run(
            ["sh", "-ec", f"{env}\n{script}"],
            env={**os.environ, **places, **variables},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def marked(self) -> list[psutil.Process]:
        """The processes that carry this home's mark."""
        return [process for process in psutil.process_iter() if _carries(process, self.home.id)]


def gone(process: psutil.Process) -> bool:
    """Whether a process has ended, be it that nobody has taken notice of its end yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _carries(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(HOME_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return False
