"""Processes that belong to a home: started with its mark, stopped as groups, swept when nobody owns them any more."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import psutil

from localazure.home import Home

HOME_MARK = "LOCALAZURE_HOME_ID"
RUN_MARK = "LOCALAZURE_RUN_ID"
WORKER_MARK = "LOCALAZURE_WORKER_ID"
# Where this package is imported from: `python -m` finds it when started there.
ROOT = Path(__file__).parent.parent


def new_run() -> str:
    """Mark everything that this process starts from now on as one run: the guardian sweeps only its own run."""
    run = secrets.token_hex(8)
    os.environ[RUN_MARK] = run
    return run


def spawn(
    home: Home,
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    log: Path,
    cwd: Path | None = None,
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a process of this home, in a session of its own, with its output appended to `log`.

    `env` is its whole environment; the marks that let `sweep` find it are added.
    """
    marks = {HOME_MARK: home.id} | ({RUN_MARK: os.environ[RUN_MARK]} if RUN_MARK in os.environ else {})
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with log.open("ab") as output:
        return subprocess.Popen(
            list(argv),
            env={**env, **marks},
            cwd=cwd,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes], *, grace: float = 5.0) -> None:
    """Ask the process and all it started to end; after `grace` seconds, end them."""
    ask_to_end(process)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(grace)
    kill(process)


def ask_to_end(process: subprocess.Popen[bytes]) -> None:
    """Ask the process and all it started to end, and wait for nothing."""
    _signal_group(process, signal.SIGTERM)


def kill(process: subprocess.Popen[bytes]) -> None:
    """End the process and all it started."""
    # The leader may be gone while a worker of its group ignores SIGTERM.
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    # macOS answers EPERM for a group of zombies.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def sweep(home: Home, *, spare: Collection[int] = (), run: str | None = None, grace: float = 1.0) -> int:
    """End every process that carries this home's mark, but for this one and those to spare; returns how many.

    They have `grace` seconds to end by themselves (Azurite writes its index then). With `run`, only those of one
    daemon's life. Repeats until none is found, for a process may start another meanwhile.
    """
    return sweep_marked(_marks(home.id, run), spare=spare, grace=grace)


def sweep_marked(marks: Mapping[str, str], *, spare: Collection[int] = (), grace: float) -> int:
    """End every process with these marks in its environment, in whatever session, as `sweep` does."""
    ended: set[int] = set()
    for _ in range(20):
        found = _marked(marks, {os.getpid(), *spare})
        if not found:
            break
        _end(found, grace)
        ended |= {process.pid for process in found}
    return len(ended)


def _end(processes: list[psutil.Process], grace: float) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=grace)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=1)


def _marks(home: str, run: str | None) -> dict[str, str]:
    return {HOME_MARK: home} | ({RUN_MARK: run} if run else {})


def _marked(marks: Mapping[str, str], spare: set[int]) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if process.pid not in spare and _carries(process, marks)]


def _carries(process: psutil.Process, marks: Mapping[str, str]) -> bool:
    try:
        return marks.items() <= process.environ().items() and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return False


def free_port() -> int:
    """A loopback port that nobody listens on. Another process may take it before you do: be ready to ask again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_guardian(home: Home, run: str) -> subprocess.Popen[bytes]:
    """Start the process that outlives the caller just long enough to sweep `run`, however the caller ends.

    It waits on a pipe that only the caller holds, which the kernel closes even after SIGKILL.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "localazure.processes", home.id, run],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, HOME_MARK: home.id, RUN_MARK: ""},
    )


def release_guardian(guardian: subprocess.Popen[bytes]) -> None:
    """Let the guardian do its sweep and end."""
    if guardian.stdin:
        guardian.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        guardian.wait(5)


def _guard(mark: str, run: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin.buffer.read()
    # A process that was being started when the daemon died may appear a moment later. By its mark, not its home:
    # the home may be gone too.
    deadline = time.monotonic() + 0.5
    while sweep_marked(_marks(mark, run), grace=0.7) or time.monotonic() < deadline:
        time.sleep(0.1)


if __name__ == "__main__":
    _guard(sys.argv[1], sys.argv[2])
