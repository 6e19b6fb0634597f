"""What Local Azure's router adds to a request, beside a bare Envoy with a static configuration and nginx.

All stand before the same upstream, which answers at once, and all are measured in the same run, in turns and in an
order that chance makes, each with one worker. What counts is the ratio to the bare Envoy.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from localazure import tools
from localazure.gateway.tokens import TokenIssuer
from localazure.home import Home
from localazure.processes import free_port, spawn, stop
from localazure.serving import EndpointRoute
from localazure.serving.envoy import Router
from localazure.serving.envoy_config import Backend
from localazure.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
TITLE = "What the router adds to a request"
AIM = 1.2
CONNECTIONS = (1, 8, 16, 64)
ROUNDS = 7
SECONDS = 2
PATIENCE = 30.0
HOST = "tumor.eastus.inference.ml.azure.com"
KEY = "k" * 32
BODY = json.dumps({"input_data": [[17.99, 10.38, 122.8, 1001.0, 0.1184, 0.2776, 0.3001, 0.1471, 0.2419, 0.0787]] * 4})
ANSWER = "[1, 0, 1, 1]"
HEADERS = {"Host": HOST, "Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
DIRECT, OURS, BARE, NGINX = "direct", "router", "bare Envoy", "nginx"
_TYPES = "type.googleapis.com/envoy.extensions.filters"
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True)
class Run:
    """One run against one target: seconds to an answer, requests/s, and the processor's seconds that each took."""

    p50: float
    p99: float
    rate: float
    cpu: float


@dataclass(frozen=True)
class Target:
    """What listens at a port."""

    port: int
    process: psutil.Process

    def run(self, measure: Measure, connections: int) -> Run:
        """As many requests as go."""
        before = self._used()
        p50, p99, rate = measure(self.port, connections)
        return Run(p50, p99, rate, (self._used() - before) / (rate * SECONDS))

    def _used(self) -> float:
        family = [self.process, *self.process.children(recursive=True)]
        return sum(sum(each.cpu_times()[:2]) for each in family)


Measure = Callable[[int, int], tuple[float, float, float]]
Results = Mapping[tuple[int, str], Sequence[Run]]


def main() -> int:
    """Measures, and prints the section."""
    print(measure())
    return 0


def measure(rounds: int = ROUNDS) -> str:
    """The section of BENCHMARKS.md. A quarter of an hour at most."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ExitStack() as running:
        place = Path(folder)
        generator, load = _generator(place)
        targets = {name: running.enter_context(target) for name, target in _targets(place)}
        results: dict[tuple[int, str], list[Run]] = {}
        for turn in range(rounds):
            for connections in CONNECTIONS:
                for name, target in random.sample(list(targets.items()), len(targets)):
                    results.setdefault((connections, name), []).append(target.run(load, connections))
            print(f"round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
        return _section(results, generator)


# What is measured -----------------------------------------------------------------------------------------------------


def _targets(folder: Path) -> Iterator[tuple[str, Any]]:
    upstream = free_port()
    yield DIRECT, _upstream(folder, upstream)
    yield BARE, _envoy(folder / "bare", {"cluster": "upstream"}, upstream)
    yield OURS, _router(folder / "home", upstream)
    if shutil.which("nginx"):
        pool = f"upstream up {{ server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 1000000000; }}"
        place = 'proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection "";'
        yield NGINX, _nginx(folder / "nginx", free_port(), place, pool)


def _upstream(folder: Path, port: int) -> Any:
    if shutil.which("nginx"):
        return _nginx(folder / "upstream", port, f"default_type application/json; return 200 '{ANSWER}';")
    return _envoy(folder / "upstream", {"status": 200, "body": {"inline_string": ANSWER}}, None, port)


@contextmanager
def _nginx(folder: Path, port: int, location: str, extra: str = "") -> Iterator[Target]:
    kept = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
    config = (
        f"worker_processes 1; daemon off; pid {folder}/pid; error_log stderr; events {{ worker_connections 4096; }}\n"
        f"http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}/body; {kept}\n{extra}\n"
        f"server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ {location} }} }} }}"
    )
    with _process(folder, "nginx.conf", config, ["nginx", "-e", "stderr", "-c"], port) as target:
        yield target


@contextmanager
def _envoy(folder: Path, action: Mapping[str, Any], upstream: int | None, port: int = 0) -> Iterator[Target]:
    """An Envoy with nothing but what it needs to pass a request on, or to answer it."""
    port = port or free_port()
    route = {"match": {"prefix": "/"}, "route" if upstream else "direct_response": dict(action)}
    passing = {"name": "router", "typed_config": {"@type": f"{_TYPES}.http.router.v3.Router"}}
    # An answer before the end of its request would end the connection, too.
    whole = {"name": "whole", "typed_config": {"@type": f"{_TYPES}.http.buffer.v3.Buffer", "max_request_bytes": 10_000}}
    manager = {
        "@type": f"{_TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bare",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [*([] if upstream else [whole]), passing],
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    listener = {"name": "bare", "address": _address(port), "filter_chains": [chain]}
    resources: dict[str, Any] = {"listeners": [listener]}
    if upstream:
        members = {"endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(upstream)}}]}]}
        load = {"cluster_name": "upstream", **members}
        resources["clusters"] = [{"name": "upstream", "type": "STATIC", "load_assignment": load}]
    config = json.dumps({"admin": {"address": _address(free_port())}, "static_resources": resources})
    argv = [str(tools.envoy()), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning", "-c"]
    with _process(folder, "envoy.json", config, argv, port) as target:
        yield target


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


@contextmanager
def _process(folder: Path, name: str, config: str, argv: Sequence[str], port: int) -> Iterator[Target]:
    folder.mkdir()
    home = Home.at(folder / "home")
    home.create()
    (folder / name).write_text(config)
    # Started as the router is: the system shares the processor out among sessions.
    process = spawn(home, [*argv, str(folder / name)], env=dict(os.environ), log=folder / "log", cwd=folder)
    try:
        _until_it_listens(port, folder / "log")
        yield Target(port, psutil.Process(process.pid))
    finally:
        stop(process)


def _until_it_listens(port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"nothing listens at port {port}: {log.read_text()}")


@contextmanager
def _router(folder: Path, upstream: int) -> Iterator[Target]:
    """The router with all that it is told for five endpoints of three deployments each, with keys and a split."""
    home = Home.at(folder)
    home.create()
    tokens = TokenIssuer.at(home, Settings().tenant_id)
    router = Router(home, tokens.jwks(), tokens.issuer)
    router.start()
    try:
        names = ("tumor", "lung", "heart", "brain", "liver")
        colours = {"blue": 60, "green": 30, "red": 10}
        routes = [
            EndpointRoute(name, (HOST.replace("tumor", name),), "key", (KEY, KEY[::-1] + "2"), colours, {}, (*colours,))
            for name in names
        ]
        router.push(routes, [Backend(name, colour, 5000, 1000, (upstream,)) for name in names for colour in colours])
        [process] = [item for item in psutil.Process().children() if item.cmdline()[-1:] and _is_of(item, home)]
        yield Target(router.port, process)
    finally:
        router.stop()


def _is_of(process: psutil.Process, home: Home) -> bool:
    return str(home.envoy / "bootstrap.json") in process.cmdline()


# Load -----------------------------------------------------------------------------------------------------------------


def _generator(folder: Path) -> tuple[str, Measure]:
    if not shutil.which("wrk"):
        return "`python -m bench.wire`, for there is no `wrk`", _own
    script = folder / "post.lua"
    script.write_text(f"wrk.method = 'POST'\nwrk.body = [==[{BODY}]==]\n")
    return "`wrk`", lambda port, connections: _wrk(script, port, connections)


def _wrk(script: Path, port: int, connections: int) -> tuple[float, float, float]:
    headers = [part for name, value in HEADERS.items() for part in ("-H", f"{name}: {value}")]
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", "-s", str(script), *headers]
    said = subprocess.run([*argv, f"http://127.0.0.1:{port}/score"], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"not every answer was 200:\n{said}")

    def quantile(percent: int) -> float:
        number, unit = re.findall(rf"^ +{percent}% +([\d.]+)(us|ms|s)$", said, re.MULTILINE)[0]
        return float(number) * _UNITS[unit]

    return quantile(50), quantile(99), float(re.findall(r"Requests/sec: +([\d.]+)", said)[0])


def _own(port: int, connections: int) -> tuple[float, float, float]:
    lines = [f"{name}: {value}" for name, value in (HEADERS | {"Content-Length": str(len(BODY))}).items()]
    request = "\r\n".join(["POST /score HTTP/1.1", *lines, "", BODY])
    argv = [sys.executable, "-m", "bench.wire", str(port), str(connections), str(SECONDS)]
    done = subprocess.run(argv, input=request.encode(), cwd=ROOT, capture_output=True)
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    said = json.loads(done.stdout)
    return said["p50"], said["p99"], said["rate"]


# What is found --------------------------------------------------------------------------------------------------------


def _section(results: Results, generator: str) -> str:
    names = [name for name in (OURS, BARE, NGINX) if (CONNECTIONS[0], name) in results]
    missing = (
        "" if NGINX in names else " There is no nginx on PATH: its columns are missing, and Envoy is the upstream."
    )
    note = (
        f"Load by {generator}, connections kept, a POST of {len(BODY)} bytes; medians of runs of {SECONDS} s in turns. "
        f"Each has one worker. Ratios are to the bare Envoy of the same run, the aim is {AIM} at most.{missing}"
    )
    columns = [*names, f"ratio, {OURS}", *([f"ratio, {NGINX}"] if NGINX in names else [])]
    head = [f"| connections | what | {DIRECT} | {' | '.join(columns)} |", "|---:|---|" + "---:|" * (1 + len(columns))]
    rows = [row for connections in CONNECTIONS for row in _rows(results, connections, names)]
    return "\n".join([note, "", *head, *rows])


def _rows(results: Results, connections: int, names: Sequence[str]) -> Iterator[str]:
    def median(name: str, of: Callable[[Run], float]) -> float:
        return statistics.median(of(run) for run in results[connections, name])

    direct = median(DIRECT, lambda run: run.p50)
    kinds: tuple[tuple[str, Callable[[str], float], str], ...] = (
        ("p50, added", lambda name: median(name, lambda run: run.p50) - (direct if name != DIRECT else 0), "µs"),
        ("p99", lambda name: median(name, lambda run: run.p99), "µs"),
        ("requests/s", lambda name: median(name, lambda run: run.rate), ""),
        ("processor, a request", lambda name: median(name, lambda run: run.cpu), "µs"),
    )
    for what, value, unit in kinds:
        cells = [_said(value(name), unit) for name in (DIRECT, *names)]
        ratios = [f"{_ratio(what, value(name), value(BARE)):.2f}" for name in names if name != BARE]
        yield f"| {connections} | {what} | {' | '.join([*cells, *ratios])} |"


def _ratio(what: str, value: float, bare: float) -> float:
    # Of a rate the other way round, so that more is worse in each row.
    return bare / value if what == "requests/s" else value / bare


def _said(value: float, unit: str) -> str:
    return f"{value * 1e6:,.0f} {unit}" if unit else f"{value:,.0f}"


if __name__ == "__main__":
    sys.exit(main())
