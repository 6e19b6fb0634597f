"""Online serving: deployments as processes, endpoints as routes, and a monitor that keeps both alive."""

import dataclasses
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localazure import tools
from localazure.home import Home, last_lines
from localazure.serving.counters import Reading, Running, usages
from localazure.serving.environments import Environments
from localazure.serving.envoy import Router
from localazure.serving.envoy_config import Backend
from localazure.serving.instances import Instance, Launch, stop_all
from localazure.serving.model import Container, DeploymentSpec, EndpointRoute, Probes, ServingError
from localazure.settings import Settings

LOG_FILES: Mapping[str, str] = {
    "InferenceServer": "inference-server.log",
    "StorageInitializer": "storage-initializer.log",
}
_MLFLOW_SCRIPT = Path(__file__).with_name("mlflow_score.py")
_TEND_SECONDS = 0.25
_CHECK_SECONDS = 0.05
_PORT_ATTEMPTS = 3
_Key = tuple[str, str]


@dataclass(frozen=True)
class _Deployment:
    """What runs under one name. Replaced as a whole, so that readers need no lock."""

    spec: DeploymentSpec
    launch: Launch
    instances: tuple[Instance, ...]
    draining: tuple[Instance, ...] = ()
    limit: int = 0

    @property
    def backend(self) -> Backend:
        ports = tuple(instance.port for instance in self.instances if instance.ready)
        draining = tuple(instance.port for instance in self.draining)
        return Backend(self.spec.endpoint, self.spec.name, self.spec.timeout_ms, self.limit, ports, draining)


class Serving:
    """The online deployments of one home. Every method may be called from any thread."""

    def __init__(self, settings: Settings, home: Home, *, jwks: Mapping[str, Any], issuer: str) -> None:
        self._settings = settings
        self._home = home
        self._router = Router(home, jwks, issuer)
        self._deployments: dict[_Key, _Deployment] = {}
        self._routes: tuple[EndpointRoute, ...] = ()
        self._lock = threading.RLock()
        self._names: dict[_Key, threading.Lock] = {}
        self._ending = threading.Event()
        self._monitor = threading.Thread(target=self._watch, name="serving-monitor", daemon=True)

    def start(self) -> int:
        """Start the router; returns the port of its listener (plain HTTP, loopback).

        Raises:
            ServingError: the router did not start.
        """
        port = self._router.start()
        self._monitor.start()
        return port

    @property
    def port(self) -> int:
        """The port of the router's listener; 0 before `start`."""
        return self._router.port

    def deploy(self, spec: DeploymentSpec) -> None:
        """Make this deployment run as specified; returns once all its instances answer.

        What already runs under its name is replaced one for one without a gap, or kept and only scaled when nothing but
        counts or request settings differ.

        Raises:
            ServingError: its environment cannot be built, or an instance does not come up; what ran before still does.
        """
        key = (spec.endpoint, spec.name)
        with self._name(key):
            note = self._notes(key)
            launch = self._launch(spec, note)
            before = self._deployments.get(key)
            same = before is not None and before.launch == launch
            keep = tuple(item for item in before.instances if item.ready) if before and same else ()
            wanted = self._capped(spec, note)
            fresh = self._start_instances(key, launch, spec.probes, wanted - len(keep))
            for instance in keep:
                instance.follow(spec.probes)
            self._exchange(key, before, _Deployment(spec, launch, (*keep, *fresh)[:wanted], limit=_limit(spec)))

    def remove(self, endpoint: str, name: str) -> None:
        """Take the deployment out of the routes, let it finish what it has, and end it; nothing if there is none."""
        key = (endpoint, name)
        with self._name(key):
            if before := self._deployments.get(key):
                # Out of the routes, but still known to the router, which counts what is in flight.
                self._set(key, dataclasses.replace(before, instances=(), draining=before.instances))
                self._push(without=key)
                self._drain(before, before.instances)
                with self._lock:
                    del self._deployments[key]
                self._push()
            shutil.rmtree(self._folder(key), ignore_errors=True)
            with suppress(OSError):
                self._folder(key).parent.rmdir()

    def route(self, routes: Sequence[EndpointRoute]) -> None:
        """Make this the whole routing; returns when requests see it.

        Raises:
            ServingError: the router refused it.
        """
        with self._lock:
            self._routes = tuple(routes)
            self._push()

    def logs(self, endpoint: str, name: str, container: Container, tail: int) -> str:
        """The last `tail` lines of a container's log; empty when there is none."""
        return last_lines(self._folder((endpoint, name)) / LOG_FILES[container], tail)

    def log_file(self, endpoint: str, name: str) -> Path:
        """The inference server's log."""
        return self._folder((endpoint, name)) / LOG_FILES["InferenceServer"]

    def status(self) -> list[dict[str, Any]]:
        """Every deployment with its instances, and the requests that they answered since the router was made."""
        statistics = self._router.statistics()
        return [
            {
                "endpoint": endpoint,
                "deployment": name,
                "instances": [_status(item) for item in deployment.instances],
                "requests": statistics.answered(endpoint, name),
            }
            for (endpoint, name), deployment in sorted(self._deployments.items())
        ]

    def reading(self) -> Reading:
        """What runs and what it has done and used so far, for its metrics."""
        running = tuple(_running(each) for each in list(self._deployments.values()))
        leaders = [process for each in running for process in each.processes]
        return Reading(running, self._router.statistics(), usages(leaders))

    def stop(self) -> None:
        """End the router and every instance; requests in flight are not waited for."""
        self._ending.set()
        if self._monitor.is_alive():
            self._monitor.join()
        self._router.stop()
        with self._lock:
            running = [item for deployment in self._deployments.values() for item in _all(deployment)]
            self._deployments.clear()
        stop_all(running, grace=2)

    @contextmanager
    def _name(self, key: _Key) -> Iterator[None]:
        with self._lock:
            lock = self._names.setdefault(key, threading.Lock())
        with lock:
            yield

    def _folder(self, key: _Key) -> Path:
        return self._home.serving / key[0] / key[1]

    def _notes(self, key: _Key) -> Callable[[str], None]:
        file = self._folder(key) / LOG_FILES["StorageInitializer"]
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

        def note(text: str) -> None:
            with file.open("a") as log:
                log.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}\n")

        return note

    def _capped(self, spec: DeploymentSpec, note: Callable[[str], None]) -> int:
        most = self._settings.max_instances_per_deployment
        if spec.instances > most:
            note(f"{spec.instances} instances asked for; {most} run here (setting max_instances_per_deployment).")
        return min(spec.instances, most)

    def _launch(self, spec: DeploymentSpec, note: Callable[[str], None]) -> Launch:
        environments = Environments(self._settings, tools.cache_dir(), note)
        return _mlflow_launch(spec, environments, self._folder) if spec.mlflow else _custom_launch(spec, environments)

    def _start_instances(self, key: _Key, launch: Launch, probes: Probes, count: int) -> list[Instance]:
        log = self._folder(key) / LOG_FILES["InferenceServer"]
        with ThreadPoolExecutor(max(count, 1)) as pool:
            pending = [
                pool.submit(self._start_instance, Instance(self._home, self._settings, launch, log, probes))
                for _ in range(count)
            ]
        errors = [error for item in pending if (error := item.exception())]
        if errors:
            stop_all([item.result() for item in pending if not item.exception()], grace=2)
            raise errors[0]
        return [item.result() for item in pending]

    def _start_instance(self, instance: Instance) -> Instance:
        for _ in range(_PORT_ATTEMPTS):
            instance.start()
            while instance.exit_code is None and not instance.overdue and not self._ending.is_set():
                if instance.check():
                    return instance
                if instance.crash_loops:
                    break
            if not instance.port_was_taken:
                break
        error = instance.failure()
        instance.stop(grace=2)
        raise error

    def _exchange(self, key: _Key, before: _Deployment | None, after: _Deployment) -> None:
        going = tuple(item for item in (before.instances if before else ()) if item not in after.instances)
        if before and going:
            # The old limit stays until the drain is over: a changed limit makes Envoy count from zero again.
            self._set(key, dataclasses.replace(after, draining=going, limit=before.limit))
            self._push()
            self._drain(before, going)
        self._set(key, after)
        self._push()

    def _drain(self, deployment: _Deployment, going: Sequence[Instance]) -> None:
        deadline = time.monotonic() + deployment.spec.timeout_ms / 1000
        ports = [instance.port for instance in going]
        while self._router.requests_in_flight(deployment.backend, ports) and time.monotonic() < deadline:
            time.sleep(_CHECK_SECONDS)
        stop_all(going, grace=2)

    def _set(self, key: _Key, deployment: _Deployment) -> None:
        with self._lock:
            self._deployments[key] = deployment

    def _push(self, without: _Key | None = None) -> None:
        with self._lock:
            self._router.push(
                [_reachable(route, without) for route in self._routes],
                [deployment.backend for deployment in self._deployments.values()],
            )

    def _watch(self) -> None:
        stale = False
        while not self._ending.wait(_TEND_SECONDS):
            try:
                self._router.revive()
                stale = self._tend() or stale
                if stale:
                    self._push()
                stale = False
            except Exception as error:
                # Said and tried again at the next turn: the monitor must outlive whatever it watches.
                stale = True
                self._complain(error)

    def _complain(self, error: Exception) -> None:
        # Without its folder there is no log either, and soon no daemon.
        with suppress(OSError), (self._home.logs / "serving.log").open("a") as log:
            log.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {type(error).__name__}: {error}\n")

    def _tend(self) -> bool:
        instances = [item for deployment in list(self._deployments.values()) for item in deployment.instances]
        # Each of them is tended, whatever the ones before it say.
        changed = [instance.tend() for instance in instances]
        return any(changed)


def _reachable(route: EndpointRoute, without: _Key | None) -> EndpointRoute:
    if without is None or without[0] != route.name:
        return route
    deployments, known = (
        tuple(name for name in names if name != without[1]) for names in (route.deployments, route.known)
    )
    return dataclasses.replace(route, deployments=deployments, known=known)


def _limit(spec: DeploymentSpec) -> int:
    # Azure queues as many as it works on: https://learn.microsoft.com/azure/machine-learning/
    # how-to-troubleshoot-online-endpoints#http-429-too-many-pending-requests. The count is the one asked for.
    return 2 * spec.max_concurrent * max(spec.instances, 1)


def _custom_launch(spec: DeploymentSpec, environments: Environments) -> Launch:
    if spec.environment is None or spec.code_dir is None or spec.script is None:
        raise ServingError(
            "BadArgument",
            f"Deployment {spec.name}: a custom model needs an environment, code and a scoring script.",
        )
    if not (spec.code_dir / spec.script).resolve().is_relative_to(spec.code_dir.resolve()):
        message = f"Deployment {spec.name}: the scoring script {spec.script!r} lies outside its code; name one within."
        raise ServingError("BadArgument", message)
    if not (spec.code_dir / spec.script).is_file():
        message = f"User container has crashed or terminated: the code has no scoring script {spec.script!r}."
        raise ServingError("ResourceNotReady", message)
    python = environments.ensure(spec.environment, need="online")
    variables = dict(spec.environment_variables)
    return Launch(python, spec.code_dir, spec.script, spec.model_dir, variables, spec.endpoint)


def _mlflow_launch(spec: DeploymentSpec, environments: Environments, folder: Callable[[_Key], Path]) -> Launch:
    if spec.mlflow_path is None or not (spec.mlflow_path / "MLmodel").is_file():
        message = f"Deployment {spec.name}: the model is registered as an MLflow model but has no MLmodel file."
        raise ServingError("BadArgument", message)
    python = environments.ensure_mlflow(spec.mlflow_path, need="online")
    code = folder((spec.endpoint, spec.name)) / "code"
    code.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_MLFLOW_SCRIPT, code / _MLFLOW_SCRIPT.name)
    model_dir = spec.model_dir or spec.mlflow_path.parent
    variables = {
        **spec.environment_variables,
        "MLFLOW_MODEL_FOLDER": str(spec.mlflow_path.relative_to(model_dir)),
    }
    return Launch(python, code, _MLFLOW_SCRIPT.name, model_dir, variables, spec.endpoint)


def _all(deployment: _Deployment) -> tuple[Instance, ...]:
    return (*deployment.instances, *deployment.draining)


def _running(deployment: _Deployment) -> Running:
    spec = deployment.spec
    processes = tuple(process.pid for item in deployment.instances if (process := item.process) is not None)
    return Running(spec.endpoint, spec.name, spec.instances, spec.timeout_ms, processes)


def _status(instance: Instance) -> dict[str, Any]:
    pid = instance.process.pid if instance.process else None
    return {"pid": pid, "port": instance.port, "ready": instance.ready, "restarts": instance.restarts}
