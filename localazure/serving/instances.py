"""One instance of a deployment: an inference server of its own, on a loopback port, in the deployment's environment."""

import os
import re
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

from localazure.environment import container_environment
from localazure.home import Home
from localazure.processes import ask_to_end, free_port, kill, spawn, stop
from localazure.serving.model import Probes, ServingError
from localazure.serving.probes import Prober
from localazure.settings import Settings

# The longest request timeout, on a Kubernetes cluster, is 300 s: nobody waits for a later answer, and a worker must not
# be held by it.
SCORING_TIMEOUT_MS = 301_000
# The timeout of azureml_inference_server_http's own start script.
WORKER_TIMEOUT_SECONDS = "300"
LONGEST_PAUSE = 60.0
# For so long an instance that a probe has given up on may go on with the requests that it has: what Kubernetes'
# `terminationGracePeriodSeconds` is where nobody sets it.
GRACE_SECONDS = 30.0
CRASHES = 3
TAIL_LINES = 25
_CONFIG = Path(__file__).with_name("gunicorn_config.py")
# What a container would have of its machine. The rest of this process's environment is not the container's business.
_PASSED_ON = re.compile(
    r"(PATH|USER|LOGNAME|TZ|TMPDIR|LANG|LC_\w+|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
    r"|(HTTPS?|NO|ALL)_PROXY|(https?|no|all)_proxy|DYLD_\w+|LD_LIBRARY_PATH)"
)


@dataclass(frozen=True)
class Launch:
    """Everything that makes two instances the same: how to start one."""

    python: Path
    app_root: Path
    script: str
    model_dir: Path | None
    environment_variables: Mapping[str, str]
    service: str

    def argv(self, port: int) -> list[str]:
        """The command, as the start script of Azure's images gives it to gunicorn, but bound to loopback."""
        workers = self.environment_variables.get("WORKER_COUNT", "1")
        timeout = self.environment_variables.get("WORKER_TIMEOUT", WORKER_TIMEOUT_SECONDS)
        options = ["-b", f"127.0.0.1:{port}", "-w", workers, "--timeout", timeout, "-c", str(_CONFIG)]
        if self.environment_variables.get("WORKER_PRELOAD", "").lower() == "true":
            options.append("--preload")
        # Scripts of a venv name their interpreter by a path that may be too long for a first line.
        return [str(self.python), "-m", "gunicorn", *options, "azureml_inference_server_http.server.entry:app"]

    def environment(self, port: int, surroundings: Mapping[str, str]) -> dict[str, str]:
        """The whole environment; what Azure sets wins over the user's, for clients send back what they have read."""
        passed = {key: value for key, value in os.environ.items() if _PASSED_ON.fullmatch(key)}
        machine = {
            **surroundings,
            "PATH": os.pathsep.join([str(self.python.parent), passed.get("PATH", os.defpath)]),
            "PYTHONUNBUFFERED": "1",
            "SERVICE_NAME": self.service,
            "SCORING_TIMEOUT_MS": str(SCORING_TIMEOUT_MS),
            "HTTP_X_MS_SERVER_VERSION": f"azmlinfsrv/{_server_version(self.python)}",
        }
        azure = {"AML_APP_ROOT": str(self.app_root), "AZUREML_ENTRY_SCRIPT": self.script, "SERVER_PORT": str(port)}
        model = {"AZUREML_MODEL_DIR": str(self.model_dir)} if self.model_dir else {}
        return {**passed, **machine, **self.environment_variables, **azure, **model}


def _server_version(python: Path) -> str:
    found = python.parent.parent.glob("lib/python*/site-packages/azureml_inference_server_http-*.dist-info")
    return next((folder.name.split("-")[1].removesuffix(".dist") for folder in found), "unknown")


@dataclass(eq=False)
class Instance:
    """A process that is starting, ready, or waiting to be started again."""

    home: Home
    settings: Settings
    launch: Launch
    log: Path
    probes: Probes = field(default_factory=Probes)
    process: subprocess.Popen[bytes] | None = None
    # The process before, for as long as it takes to end: the next one is started only then.
    _ending: subprocess.Popen[bytes] | None = None
    _kill_at: float = 0.0
    port: int = 0
    restarts: int = 0
    _prober: Prober | None = None
    _seen_ready: bool = False
    _begin: int = 0
    _started: float = 0.0
    _again_at: float = 0.0
    _failures: int = 0
    _retired: bool = False
    # The monitor may tend what another thread is about to stop for good.
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Start the process on a free port; it is not ready yet."""
        self.port = free_port()
        self._started = time.monotonic()
        self._begin = self.log.stat().st_size if self.log.exists() else 0
        self.process = spawn(
            self.home,
            self.launch.argv(self.port),
            env=self.launch.environment(self.port, container_environment(self.home, self.settings)),
            log=self.log,
            cwd=self.launch.app_root,
        )
        self._ask(self.process)

    def _ask(self, process: subprocess.Popen[bytes]) -> None:
        if self._prober is not None:
            self._prober.end()
        port = self.port
        self._prober = Prober(port, self.probes, lambda: _listens(process, port), again=self.restarts > 0)
        self._prober.start()

    def follow(self, probes: Probes) -> None:
        """Be asked by other probes from now on; the process is not touched."""
        # Not while the monitor is starting the process again: its prober would keep the former ones.
        with self._lock:
            self.probes = probes
            if self._prober is not None:
                self._prober.follow(probes)

    def stop(self, grace: float) -> None:
        """End the process for good: it finishes the requests it is working on, for `grace` seconds at most."""
        with self._lock:
            self._retired = True
        self._end(grace)

    def _end(self, grace: float) -> None:
        if self._prober is not None:
            self._prober.end()
        for process in (self._ending, self.process):
            if process is not None:
                stop(process, grace=grace)
        self._ending = self.process = None

    @property
    def ready(self) -> bool:
        """Whether requests may go to it: its process runs and its readiness probe passes."""
        return self.process is not None and self._prober is not None and self._prober.ready

    @property
    def exit_code(self) -> int | None:
        """How the process ended; None while it runs, or was never started."""
        return self.process.poll() if self.process else None

    @property
    def overdue(self) -> bool:
        """Whether a probe has given up on it: it has been starting for too long, or has hung since."""
        return self._verdict is not None

    def check(self, wait: float = 0.05) -> bool:
        """Wait for it to be ready, for `wait` seconds at most; True once it is."""
        if self._prober is not None and self._prober.wait(wait):
            self._seen_ready = self.ready
        return self.ready

    def tend(self) -> bool:
        """Start it again if it has died, after a pause that grows with every failure; True if its readiness changed."""
        with self._lock:
            return not self._retired and self._tend()

    def _tend(self) -> bool:
        if self.process is None:
            if self._has_ended() and time.monotonic() >= self._again_at:
                self.restarts += 1
                self.start()
            return False
        if self.exit_code is not None:
            self._died()
        elif self.overdue and not self._seen_ready:
            # One that has hung leaves the routes at one turn and is ended at the next.
            self._say_why()
            self._died()
        before, self._seen_ready = self._seen_ready, self.ready
        return before != self._seen_ready

    def _died(self) -> None:
        # One that ran for a while is not failing to start: its pause begins from the shortest again.
        self._failures = 1 if time.monotonic() - self._started > 2 * LONGEST_PAUSE else self._failures + 1
        self._again_at = time.monotonic() + min(LONGEST_PAUSE, 2.0 ** (self._failures - 1))
        self._begin_to_end()

    def _begin_to_end(self) -> None:
        """Ask the process to end. The monitor, which has others to look after, comes back to it at its next turns."""
        if self._prober is not None:
            self._prober.end()
        if self.process is not None:
            ask_to_end(self.process)
        self._ending, self.process = self.process, None
        self._kill_at = time.monotonic() + GRACE_SECONDS

    def _has_ended(self) -> bool:
        """Whether the process before is gone; it is killed when its time is up."""
        if self._ending is not None and (self._ending.poll() is not None or time.monotonic() >= self._kill_at):
            kill(self._ending)
            self._ending = None
        return self._ending is None

    def _say_why(self) -> None:
        # Azure tells this by the container's events, which nobody has here; the log is where one looks.
        with self.log.open("a") as log:
            log.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} The instance {self._verdict} and is restarted.\n")

    @property
    def _verdict(self) -> str | None:
        return self._prober.failed if self._prober else None

    @property
    def crash_loops(self) -> bool:
        """Whether its workers die as soon as gunicorn starts them, which gunicorn itself would go on with for ever."""
        # The instances of a deployment share a log, in which each gunicorn names itself.
        ends = rf"\[{self.process.pid if self.process else 0}\] \[\w+\] Worker \(pid:\d+\) (?:exited|was sent)"
        return len(re.findall(ends, self._output())) >= CRASHES

    @property
    def port_was_taken(self) -> bool:
        """Whether it ended because somebody else had its port."""
        return self.exit_code is not None and f"Connection in use: ('127.0.0.1', {self.port})" in self._output()

    def failure(self) -> ServingError:
        """Why it did not become ready, as Azure says it."""
        text = excerpt(self._output())
        if self.exit_code is None and not self.crash_loops:
            reason = f"User container {self._verdict or 'was ended before it was ready'}"
        else:
            reason = "User container has crashed or terminated"
        text = text or f"exit code {self.exit_code}, and nothing in the log."
        return ServingError("ResourceNotReady", f"{reason}: {text}")

    def _output(self) -> str:
        with self.log.open("rb") as file:
            file.seek(self._begin)
            return file.read().decode(errors="replace")


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    # Between choosing the port and binding it another server may have come to answer there.
    try:
        sockets = psutil.Process(process.pid).net_connections("tcp4")
    except psutil.Error:
        return False
    return any(item.status == psutil.CONN_LISTEN and item.laddr.port == port for item in sockets)


# A log entry of the server or of gunicorn begins with its time.
_ENTRY = re.compile(r"^(?=\d{4}-\d\d-\d\d |\[\d{4}-\d\d-\d\d )", re.MULTILINE)
# Indented frames, then the exception's own lines up to an empty line.
_TRACEBACK = re.compile(r"Traceback \(most recent call last\):\n((?:[ \t].*\n)+(?:.+\n?)+)")


def excerpt(output: str) -> str:
    """The traceback of the user's code if there is one, else the last lines."""
    # The server looks for its own telemetry beside the model, and complains at length when there is none.
    entries = [entry for entry in _ENTRY.split(output) if " azmlinfsrv.trace - " not in entry]
    traces = [trace for entry in entries for trace in _TRACEBACK.findall(entry)]
    # The server wraps the script's exception in its own; the first one says what happened.
    own = [trace for trace in traces if not _last(trace).startswith("azureml_inference_server_http.")]
    lines = (own or traces or ["".join(entries)])[-1].strip().splitlines()
    return "\n".join(lines[-TAIL_LINES:])


def _last(trace: str) -> str:
    return trace.strip().splitlines()[-1]


def stop_all(instances: Sequence[Instance], grace: float) -> None:
    """Stop several, all of them told before any is waited for."""
    for instance in instances:
        if instance.process is not None and instance.process.poll() is None:
            instance.process.terminate()
    for instance in instances:
        instance.stop(grace)
