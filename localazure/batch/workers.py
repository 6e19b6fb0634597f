"""Mini-batches on this machine: one stdlib process per worker, spoken to over a Unix socket."""

import contextlib
import json
import os
import queue
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from localazure import processes
from localazure.batch.executor import Failed, InitFailed, Scored, WorkerPlan
from localazure.batch.spec import MiniBatch
from localazure.home import last_lines

WORKER = Path(__file__).with_name("worker.py")
# How soon a death that the socket does not show is noticed: a child of the script may hold the socket open.
POLL_SECONDS = 0.2
QUIET_END_SECONDS = 2.0
# A process that is killed in init() is no fault of the script's until it happens again and again.
INIT_TRIES = 3


class _Gone(Exception):
    """The process ended, or was ended, before it answered."""


class _TooLarge(Exception):
    """The process holds more memory than it may."""


class Worker:
    """One worker process and its successors. `start` and `score` are one thread's; `close` may come from another."""

    def __init__(self, name: str, plan: WorkerPlan) -> None:
        self.name = name
        self._plan = plan
        self._lock = threading.Lock()
        self._closed = False
        self._idle = False
        self._process: subprocess.Popen[bytes] | None = None
        self._mark = ""
        self._memory_seen = 0.0
        self._asked = 0
        self._connection: socket.socket | None = None
        self._buffer = b""

    @property
    def alive(self) -> bool:
        """Whether the process can take another mini-batch."""
        return self._idle and self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start a process and wait for the end of `init()`, however long it takes.

        Raises:
            InitFailed: it raised, or the process ended, which is tried a few times.
        """
        self._end_process()
        tries = 0
        while not self._idle:
            tries += 1
            try:
                self._init()
            except _TooLarge as error:
                self._end_process()
                raise InitFailed(f"init() needs too much memory. {error}") from None
            except (_Gone, OSError) as error:
                reason = self._explain_death(error)
                if tries == INIT_TRIES or self._closed or isinstance(error, FileNotFoundError):
                    raise InitFailed(reason) from None

    def score(self, batch: MiniBatch, timeout: float) -> Scored | Failed:
        """Run one mini-batch; a process that takes longer than `timeout` seconds, or too much memory, is killed."""
        self._idle = False
        try:
            outcome = _outcome(batch, self._ask(batch, time.monotonic() + timeout), self.name)
        except TimeoutError:
            self._end_process()
            return Failed(batch, "timeout", f"run() did not finish in {timeout:g} seconds", worker=self.name)
        except _TooLarge as error:
            self._end_process()
            return Failed(batch, "memory", str(error), worker=self.name)
        except (_Gone, OSError) as error:
            return Failed(batch, "crash", self._explain_death(error), worker=self.name)
        except Exception as error:
            # What the script starts may write to the worker's socket, and anything then comes out of it.
            self._end_process()
            reason = f"The worker process answered what cannot be read: {error!r}"
            return Failed(batch, "crash", reason, worker=self.name)
        self._idle = self._small()
        return outcome

    def close(self) -> None:
        """End the process: an idle one by hanging up, a busy one by force."""
        with self._lock:
            self._closed = True
            if self.alive:
                self._hang_up()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    assert self._process is not None
                    self._process.wait(QUIET_END_SECONDS)
            self._end()

    def _ask(self, batch: MiniBatch, deadline: float) -> dict[str, Any]:
        """The answer to this mini-batch and to this try of it; any other is not taken for it."""
        self._asked += 1
        self._send({"number": self._asked, "files": batch.files})
        while True:
            answer = self._receive(deadline)
            if answer.get("number") == self._asked:
                return answer

    def _init(self) -> None:
        self._connect()
        self._send(self._setup())
        answer = self._receive(deadline=None)
        if answer["event"] != "ready":
            raise InitFailed(answer["trace"].rstrip() or answer["reason"])
        self._idle = True

    def _connect(self) -> None:
        # A socket's path must be short (104 bytes on macOS), so it is not in the home; the folder is private (0700).
        folder = tempfile.mkdtemp(prefix="aml-", dir="/tmp" if len(tempfile.gettempdir()) > 60 else None)
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                address = os.path.join(folder, "s")  # noqa: PTH118 - an address, not a file
                listener.bind(address)
                listener.listen(1)
                self._spawn(address)
                self._accept(listener)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _spawn(self, address: str) -> None:
        plan = self._plan
        argv = [str(plan.python), "-u", str(WORKER), address]
        with self._lock:
            if self._closed:
                raise _Gone
            self._mark = secrets.token_hex(8)
            env = {**plan.environment, processes.WORKER_MARK: self._mark}
            # Nothing is ever written to its stdin: the worker is told by its end that this process is gone.
            self._process = processes.spawn(
                plan.home, argv, env=env, log=plan.stderr, cwd=plan.cwd, stdin=subprocess.PIPE
            )

    def _accept(self, listener: socket.socket) -> None:
        listener.settimeout(POLL_SECONDS)
        while True:
            self._check_process()
            with contextlib.suppress(TimeoutError):
                connection, _ = listener.accept()
                connection.settimeout(POLL_SECONDS)
                self._connection, self._buffer = connection, b""
                return

    def _setup(self) -> dict[str, Any]:
        plan = self._plan
        plan.stdout.parent.mkdir(parents=True, exist_ok=True)
        return {
            "script": str(plan.script),
            "folders": [str(folder) for folder in plan.folders],
            "arguments": plan.arguments,
            "stdout": str(plan.stdout),
            "logging_level": plan.logging_level.upper(),
            "keep_rows": plan.keep_rows,
        }

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._connection is None:
            raise _Gone
        # A timeout is for reading: a mini-batch of many files need not fit the socket's buffer at once.
        self._connection.settimeout(None)
        self._connection.sendall(json.dumps(message).encode("ascii") + b"\n")
        self._connection.settimeout(POLL_SECONDS)

    def _receive(self, deadline: float | None) -> dict[str, Any]:
        """The next message. Raises TimeoutError at the deadline and _Gone when the process has ended."""
        parts = [self._buffer]
        while b"\n" not in parts[-1]:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError
            try:
                parts.append(self._read(deadline))
            except TimeoutError:
                self._check_process()
                self._check_memory()
        line, _, self._buffer = b"".join(parts).partition(b"\n")
        return json.loads(line)

    def _read(self, deadline: float | None) -> bytes:
        connection = self._connection
        if connection is None:
            raise _Gone
        if deadline is not None:
            connection.settimeout(min(POLL_SECONDS, max(0.001, deadline - time.monotonic())))
        data = connection.recv(1 << 20)
        if not data:
            raise _Gone
        return data

    def _check_process(self) -> None:
        if self._closed or self._process is None or self._process.poll() is not None:
            raise _Gone

    def _check_memory(self) -> None:
        process, self._memory_seen = self._process, time.monotonic()
        held = 0
        if process is not None:
            with contextlib.suppress(psutil.Error):
                held = psutil.Process(process.pid).memory_info().rss
        if held > self._plan.memory:
            raise _TooLarge(
                f"The worker process held {held >> 20:,} MB of memory, and it may hold {self._plan.memory >> 20:,} "
                "(the setting batch_worker_memory_mb)."
            )

    def _small(self) -> bool:
        """Whether the process may live on: one that leaks a little each time is replaced between two mini-batches."""
        if time.monotonic() - self._memory_seen > POLL_SECONDS:
            try:
                self._check_memory()
            except _TooLarge:
                return False
        return True

    def _explain_death(self, error: Exception) -> str:
        """Why the process is gone, and what it wrote last; the process is ended if it is not."""
        if isinstance(error, FileNotFoundError):
            return f"The worker process could not be started: {error}."
        code = self._exit_code()
        tail = last_lines(self._plan.stderr, 10)
        return f"The worker process ended with {_exit_text(code)}." + (f" Last lines:\n{tail}" if tail else "")

    def _exit_code(self) -> int | None:
        process = self._process
        if process is not None:
            # Its end of the socket closes a moment before it can be waited for.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1.0)
        self._end_process()
        return process.returncode if process else None

    def _end_process(self) -> None:
        with self._lock:
            self._end()

    def _end(self) -> None:
        self._idle = False
        self._hang_up()
        if self._process is not None:
            # At once, and its whole group: nobody waits for the answer of a script that hangs.
            processes.stop(self._process, grace=0)
            # What the script started in a session of its own is in no group of the worker's.
            processes.sweep_marked({processes.WORKER_MARK: self._mark}, grace=0)
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process = None

    def _hang_up(self) -> None:
        if self._connection is not None:
            # Shut down, not only closed: another thread may be reading from it.
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
            self._connection.close()
            self._connection = None


def _outcome(batch: MiniBatch, answer: Mapping[str, Any], worker: str) -> Scored | Failed:
    if answer["event"] == "failed":
        return Failed(batch, "exception", answer["reason"], answer["trace"], worker)
    return Scored(batch, answer["rows"], answer["succeeded"], answer["failures"], answer["seconds"], worker)


def _exit_text(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


class ProcessExecutor:
    """The `Executor` of this machine: a thread for each worker process."""

    def __init__(self, plans: Mapping[str, WorkerPlan], timeout: float) -> None:
        self._workers = tuple(Worker(name, plan) for name, plan in plans.items())
        self._timeout = timeout
        self._tasks: queue.SimpleQueue[MiniBatch | None] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[Scored | Failed | InitFailed] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._threads = [_start_thread(self._serve, worker) for worker in self._workers]

    def submit(self, batch: MiniBatch) -> None:
        """See `Executor`."""
        self._tasks.put(batch)

    def next(self, timeout: float) -> Scored | Failed | None:
        """See `Executor`."""
        try:
            outcome = self._outcomes.get(timeout=timeout)
        except queue.Empty:
            return None
        if isinstance(outcome, InitFailed):
            raise outcome
        return outcome

    def close(self) -> None:
        """See `Executor`."""
        self._closed.set()
        for worker in self._workers:
            self._tasks.put(None)
            worker.close()
        for thread in self._threads:
            thread.join()

    def _serve(self, worker: Worker) -> None:
        try:
            worker.start()
            while (batch := self._tasks.get()) is not None and not self._closed.is_set():
                # It may have been killed while it had nothing to do, which is no mini-batch's fault.
                if not worker.alive:
                    worker.start()
                self._outcomes.put(worker.score(batch, self._timeout))
                if not worker.alive and not self._closed.is_set():
                    worker.start()
        except InitFailed as error:
            self._outcomes.put(error)
        except Exception as error:
            # Whatever it is: the job must hear of it, for it waits for outcomes that no thread brings any more.
            self._outcomes.put(InitFailed(f"The worker could not be started: {error!r}"))


def _start_thread(target: Callable[[Worker], None], worker: Worker) -> threading.Thread:
    thread = threading.Thread(target=target, args=(worker,), name=worker.name, daemon=True)
    thread.start()
    return thread
