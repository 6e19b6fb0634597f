"""The router's process: Envoy, and how it is told something new without being restarted.

Envoy watches files. Each push writes whole files, by rename, with a version in them, and waits until Envoy reports that
version; a push of routes waits until a request through the listener sees it.
"""

import contextlib
import http.client
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from localazure import tools
from localazure.home import Home, last_lines, write_private
from localazure.processes import free_port, spawn, stop
from localazure.serving import counters, envoy_config
from localazure.serving.counters import Statistics, Tally
from localazure.serving.envoy_config import Backend
from localazure.serving.model import EndpointRoute, ServingError

START_SECONDS = 30.0
PUSH_SECONDS = 30.0
_POLL_SECONDS = 0.005


class Router:
    """One Envoy. Every method may be called from any thread."""

    def __init__(self, home: Home, jwks: Mapping[str, Any], issuer: str) -> None:
        self._home = home
        self._folder = home.envoy
        self._jwks = jwks
        self._issuer = issuer
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._written: dict[str, Any] = {}
        self._admin_port = 0
        self._versions = time.time_ns()
        self._tally = Tally()
        self.port = 0

    @property
    def log(self) -> Path:
        """What Envoy says."""
        return self._home.logs / "envoy.log"

    def start(self) -> int:
        """Start Envoy with the routes of nobody; returns the listener's port, the same as last time if it is free.

        Raises:
            ServingError: Envoy did not come up; the message ends with its log.
        """
        with self._lock:
            self._prepare()
            self.port = self._kept_port()
            for _ in range(3):
                self._launch()
                if self._answers():
                    write_private(self._folder / "port", str(self.port))
                    return self.port
                self.stop()
                # Somebody else took the port between the question and the bind.
                self.port = free_port()
        raise ServingError("InternalServerError", f"The router (Envoy) did not start:\n{last_lines(self.log)}")

    def _prepare(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        for stale in self._folder.glob("*.json"):
            stale.unlink()
        self._written.clear()
        self._write("cds.json", [])
        self._write_routes([], {})

    def _kept_port(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            return int((self._folder / "port").read_text())
        return free_port()

    def _launch(self) -> None:
        self._admin_port = free_port()
        config = envoy_config.bootstrap(self._folder, self.port, self._admin_port, self._jwks, self._issuer)
        write_private(self._folder / "bootstrap.json", json.dumps(config))
        argv = [str(tools.envoy()), "-c", str(self._folder / "bootstrap.json"), "--concurrency", "1"]
        # Several homes run side by side: nothing may be shared between their Envoys.
        argv += ["--disable-hot-restart", "--log-level", "warning", "--component-log-level", "misc:error"]
        # A field that this Envoy does not know must fail, not be passed over.
        argv.append("--reject-unknown-dynamic-fields")
        environment = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR") if key in os.environ}
        self._process = spawn(self._home, argv, env=environment, log=self.log, cwd=self._folder)

    def _answers(self) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while self.alive and time.monotonic() < deadline:
            if self._seen_version() == self._written["rds.json"]["version_info"]:
                return True
            time.sleep(_POLL_SECONDS)
        return False

    @property
    def alive(self) -> bool:
        """Whether Envoy runs."""
        return self._process is not None and self._process.poll() is None

    def revive(self) -> bool:
        """Start Envoy again if it has died; it finds its configuration where it left it. True if it had."""
        with self._lock:
            if self._process is None or self.alive:
                return False
            self._launch()
            if not self._answers():
                # Whatever stops it is not over at once: do not start it in a tight loop.
                time.sleep(1)
            return True

    def stop(self) -> None:
        """End Envoy."""
        with self._lock:
            if self._process is not None:
                stop(self._process)
            self._process = None

    def push(self, routes: Iterable[EndpointRoute], backends: Iterable[Backend]) -> None:
        """Make this the whole configuration; returns when requests see it. No request is lost meanwhile.

        Raises:
            ServingError: Envoy refused it, or did not take it in time.
        """
        with self._lock:
            wanted = {backend.cluster: backend for backend in backends}
            self._write_instances(wanted)
            # A route may only name a cluster that is there: clusters come before the routes and go after them.
            going = [item for item in self._resources("cds.json") if item["name"] not in wanted]
            self._write_clusters([*envoy_config.clusters(wanted.values(), self._folder), *going], wanted)
            self._write_routes(list(routes), wanted)
            self._await("routes", lambda: self._seen_version() == self._version("rds.json"))
            if going:
                self._forget(wanted)

    def _forget(self, wanted: Mapping[str, Backend]) -> None:
        self._write_clusters(envoy_config.clusters(wanted.values(), self._folder), wanted)
        kept = {backend.file for backend in wanted.values()}
        for name in [name for name in self._written if name.startswith("eds-") and name not in kept]:
            (self._folder / name).unlink(missing_ok=True)
            del self._written[name]

    def _write_clusters(self, resources: list[dict[str, Any]], wanted: Mapping[str, Backend]) -> None:
        changes = resources != self._resources("cds.json")

        def seen() -> bool:
            if changes:
                # A cluster that changes counts from zero again: what it has counted is read up to the last moment.
                self.statistics()
            return self._clusters_seen(wanted)

        if changes:
            self.statistics()
        self._write("cds.json", resources)
        self._await("clusters", seen)
        if changes:
            self.statistics()

    def _write_instances(self, wanted: Mapping[str, Backend]) -> None:
        for backend in wanted.values():
            self._write(backend.file, envoy_config.endpoints(backend))

    def _write_routes(self, routes: list[EndpointRoute], wanted: Mapping[str, Backend]) -> None:
        def render(version: str) -> list[dict[str, Any]]:
            return envoy_config.routes([(route, _of(route, wanted)) for route in routes], version)

        if "rds.json" in self._written and render(self._version("rds.json")) == self._resources("rds.json"):
            return
        version = self._next_version()
        self._store("rds.json", version, render(version))

    def _write(self, name: str, resources: list[dict[str, Any]]) -> None:
        if name not in self._written or resources != self._resources(name):
            self._store(name, self._next_version(), resources)

    def _store(self, name: str, version: str, resources: list[dict[str, Any]]) -> None:
        self._written[name] = {"version_info": version, "resources": resources}
        write_private(self._folder / name, json.dumps(self._written[name]))

    def _next_version(self) -> str:
        self._versions += 1
        return str(self._versions)

    def _version(self, name: str) -> str:
        return self._written[name]["version_info"]

    def _resources(self, name: str) -> list[dict[str, Any]]:
        return self._written[name]["resources"]

    def _await(self, what: str, seen: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PUSH_SECONDS
        while not seen():
            # It may die meanwhile, and the monitor cannot help while this thread has the lock.
            self.revive()
            if time.monotonic() > deadline:
                tail = last_lines(self.log, 5)
                raise ServingError("InternalServerError", f"The router (Envoy) did not take its new {what}:\n{tail}")
            time.sleep(_POLL_SECONDS)

    def _clusters_seen(self, wanted: Mapping[str, Backend]) -> bool:
        expected = {f"cluster.{backend.cluster}": self._version(backend.file) for backend in wanted.values()}
        expected["cluster_manager.cds"] = self._version("cds.json")
        stats = self._stats("(version_text|warming_clusters)$")
        if stats.get("cluster_manager.warming_clusters") != "0":
            return False
        if any(stats.get(f"{name}.version_text") != f'"{version}"' for name, version in expected.items()):
            return False
        # Envoy's main thread has it. A request that is answered now comes after the worker was told.
        return self._seen_version() is not None

    def _stats(self, pattern: str) -> dict[str, str]:
        _, text = self._ask(self._admin_port, "localhost", f"/stats?filter={pattern}")
        return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)

    def statistics(self) -> Statistics:
        """What has been counted of deployments and connections since this router was made, for their metrics."""
        return self._tally.take(self._counted)

    def _counted(self) -> Statistics:
        wanted = quote(counters.WANTED, safe="")
        status, text = self._ask(
            self._admin_port, "localhost", f"/stats?format=json&histogram_buckets=detailed&filter={wanted}"
        )
        return Statistics.of(json.loads(text)) if status == 200 else Statistics()

    def requests_in_flight(self, backend: Backend, ports: Iterable[int]) -> int:
        """How many requests these instances have not answered yet."""
        _, text = self._ask(self._admin_port, "localhost", "/clusters?format=json")
        return in_flight(text, set(ports), backend.cluster)

    def _seen_version(self) -> str | None:
        status, text = self._ask(self.port, envoy_config.PROBE_HOST, "/")
        return text if status == 200 else None

    def _ask(self, port: int, host: str, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path, headers={"Host": host})
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()


def _of(route: EndpointRoute, backends: Mapping[str, Backend]) -> dict[str, Backend]:
    return {backend.name: backend for backend in backends.values() if backend.endpoint == route.name}


def in_flight(clusters: str, ports: Collection[int], cluster: str | None = None) -> int:
    """How many requests are active on these ports, of one cluster or of all, by Envoy's `/clusters?format=json`."""
    statuses = json.loads(clusters).get("cluster_statuses", []) if clusters else []
    hosts = [host for each in statuses if cluster in (None, each["name"]) for host in each.get("host_statuses", [])]
    return sum(_active(host) for host in hosts if host["address"]["socket_address"]["port_value"] in ports)


def _active(host: Mapping[str, Any]) -> int:
    return sum(int(stat.get("value", 0)) for stat in host.get("stats", []) if stat["name"] == "rq_active")
