"""Local Azure's control plane by itself: how soon it answers, what it holds in memory, what a write and a list take."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from bench.figures import Figure, median, timed
from localazure.settings import Settings

STARTS = 5
RESOURCES = 1000
LISTS = 20
PATIENCE = 120.0
API = "api-version=2023-01-31"
KIND = "Microsoft.ManagedIdentity/userAssignedIdentities"
# The client that everybody who talks to it has loaded.
CLIENT = "import azure.ai.ml"
CLIENT_MEMORY = f"{CLIENT}, resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"


@dataclass(frozen=True)
class ControlPlane:
    """A running daemon with an empty state folder, asked on its own port: neither proxy nor TLS in between."""

    process: psutil.Process
    client: httpx.Client
    group: str

    def path(self, name: str = "") -> str:
        """The path of a resource of a kind that is done when it is answered; of the list, without a name."""
        return f"{self.group}/providers/{KIND}{'/' if name else ''}{name}?{API}"

    def put(self, name: str) -> None:
        """One durable write."""
        self.client.put(self.path(name), json={"location": "eastus", "tags": {"name": name}}).raise_for_status()

    def list(self) -> list[dict[str, Any]]:
        """All of that kind."""
        answer = self.client.get(self.path())
        answer.raise_for_status()
        return answer.json()["value"]

    @property
    def megabytes(self) -> float:
        """What the process holds in memory."""
        return self.process.memory_info().rss / 2**20


def measure(root: Path, python: Path, folder: Path) -> Iterator[Figure]:
    """Measures the control plane of the tree in `root` with an interpreter; state is kept below `folder`."""
    starts = []
    for number in range(STARTS):
        with running(root, python, folder / f"home-{number}") as (seconds, _):
            starts.append(seconds)
    loading = median(timed(lambda: subprocess.run([python, "-c", CLIENT], check=True)) for _ in range(STARTS))
    yield Figure("Local Azure from start to its first answer", median(starts), f"`{CLIENT}`", loading)
    with running(root, python, folder / "home") as (_, plane):
        yield from _work(plane, python, folder)


def _work(plane: ControlPlane, python: Path, folder: Path) -> Iterator[Figure]:
    names = [f"identity-{number:04}" for number in range(RESOURCES)]
    writes = [timed(lambda name=name: plane.put(name)) for name in names]
    syncs = [timed(lambda: _synced(folder / "page")) for _ in range(RESOURCES)]
    yield Figure("a durable PUT (median)", median(writes), "one write of 4 KB and its `fsync`", median(syncs))
    lists = [timed(plane.list) for _ in range(LISTS)]
    found = plane.list()
    assert len(found) == RESOURCES
    codec = [timed(lambda: json.loads(json.dumps(found))) for _ in range(LISTS)]
    what = f"a list of {RESOURCES:,} resources (median)"
    yield Figure(what, median(lists), "its JSON, written and read", median(codec))
    client = int(subprocess.run([python, "-c", CLIENT_MEMORY], capture_output=True, text=True, check=True).stdout)
    yield Figure("Local Azure's process after that", plane.megabytes, f"`{CLIENT}`", client / 1024, unit="MB")


@contextmanager
def running(root: Path, python: Path, home: Path) -> Iterator[tuple[float, ControlPlane]]:
    """A daemon of that tree, and how long it took to answer."""
    command = [python, "-m", "localazure"]
    began = time.perf_counter()
    with (home.parent / f"{home.name}.log").open("wb") as log:
        daemon = subprocess.Popen([*command, "serve", "--home", home], cwd=root, stdout=log, stderr=log)
    try:
        _until_it_answers(home, daemon)
        seconds = time.perf_counter() - began
        with _client(home) as client:
            group = f"/subscriptions/{Settings().subscription_id}/resourceGroups/bench"
            client.put(f"{group}?{API}", json={"location": "eastus"}).raise_for_status()
            yield seconds, ControlPlane(psutil.Process(daemon.pid), client, group)
    finally:
        daemon.terminate()
        daemon.wait(PATIENCE)


def _until_it_answers(home: Path, daemon: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and daemon.poll() is None:
        try:
            if json.loads((home / "runtime.json").read_text())["pid"] == daemon.pid:
                _ask(home, "/admin/ping")
                return
        except (OSError, ValueError):
            pass
        time.sleep(0.005)
    raise RuntimeError(f"Local Azure did not answer; see {home}.log")


def _client(home: Path) -> httpx.Client:
    token = _ask(home, "/msi/token?api-version=2019-08-01&resource=https://management.azure.com")["access_token"]
    headers = {"Host": "management.azure.com", "Authorization": f"Bearer {token}"}
    url = f"http://127.0.0.1:{_ports(home)['control']}"
    return httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60)


def _ask(home: Path, path: str) -> dict[str, Any]:
    secret = (home / "identity-secret").read_text().strip()
    url = f"http://127.0.0.1:{_ports(home)['identity']}{path}"
    request = urllib.request.Request(url, headers={"X-IDENTITY-HEADER": secret})
    # No proxy of the environment's: it is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        return json.load(answer)


def _ports(home: Path) -> dict[str, int]:
    return json.loads((home / "runtime.json").read_text())["ports"]


def _synced(file: Path) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, b"x" * 4096)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
