"""One interrupted `up`: what is edited, what is struck and when, and what is seen until the next `up` has ended."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil

from bench import trivial
from localazure.environment import client_environment
from localazure.home import Home
from localazure.runtime import Runtime
from tests.end_to_end.conftest import Clone
from tools import recovery

ENDPOINT = "tumor-online"
SCORE = f"https://{ENDPOINT}.eastus.inference.ml.azure.com/score"
ARM = "https://management.azure.com"
API = {"api-version": "2025-12-01"}
ENDS = 300.0  # seconds in which a struck `up` comes to its end

Config = dict[str, Any]
Split = dict[str, int]


# The stack --------------------------------------------------------------------------------------------------------


def make_small(clone: Clone) -> None:
    """Leaves one endpoint of two deployments, as cheap as there are: what is interrupted is `up`, not scoring."""
    trivial.write(clone.path)

    def change(config: Config) -> None:
        config["batchEndpoints"].clear()
        config["computeClusters"].clear()
        endpoint = config["onlineEndpoints"][ENDPOINT]
        endpoint["deployments"] = {colour: trivial.deployment(colour) for colour in ("blue", "green")}
        endpoint["traffic"] = {"blue": 90, "green": 10}

    clone.edit(change)


def make_slow(clone: Clone) -> None:
    """Has the endpoint's operations take a second, as they take minutes in Azure: strikes meet one under way."""
    rules = {"rules": [{"do": "prolong", "type": "*/onlineEndpoints*", "seconds": 1}]}
    clone.run(".venv/bin/python", "-m", "localazure", "weather", json.dumps(rules)).ok()


def shift(endpoint: Config, number: int) -> None:
    """Moves traffic between the two that are always there."""
    third = endpoint["traffic"].get("red", 0)
    blue = 10 + (endpoint["traffic"]["blue"] + 7 + 13 * number) % (80 - third)
    endpoint["traffic"] |= {"blue": blue, "green": 100 - third - blue}


def renew(endpoint: Config, number: int) -> None:
    """Asks for a new revision, by a variable or by another attempt."""
    green, blue = endpoint["deployments"]["green"], endpoint["deployments"]["blue"]
    if number % 2:
        green["environmentVariables"] = {"ANSWER": f"green {number}"}
    else:
        blue["attempt"] = blue.get("attempt", 0) + 1


def tag(endpoint: Config, number: int) -> None:
    endpoint["tags"] = {"point": str(number)}


def scale(endpoint: Config, number: int) -> None:
    endpoint["deployments"]["blue"]["instanceCount"] ^= 3


def add_or_remove(endpoint: Config, number: int) -> None:
    """Adds a third deployment with traffic, or removes it."""
    if endpoint["deployments"].pop("red", None):
        endpoint["traffic"]["blue"] += endpoint["traffic"].pop("red")
    else:
        endpoint["deployments"]["red"] = trivial.deployment(f"red {number}")
        endpoint["traffic"]["blue"] -= (share := min(5, endpoint["traffic"]["blue"]))
        endpoint["traffic"]["red"] = share


EDITS: dict[str, Callable[[Config, int], None]] = {
    "traffic shift": shift,
    "new revision": renew,
    "tag": tag,
    "instance count": scale,
    "deployment added or removed": add_or_remove,
}


@dataclass(frozen=True)
class Point:
    """Where and how an `up` is interrupted.

    Attributes:
        moment: the share of the time of such an `up` after which is struck, or a pattern of its output.
        by_hand: whether `pulumi up` is typed in a shell with Local Azure's variables, not `make up`.
    """

    number: int
    edit: str
    strike: str
    moment: float | str
    by_hand: bool = False

    @classmethod
    def seeded(cls, seed: int, strike: str, number: int, of: int) -> Point:
        """The moments of a kind of edit are spread over all of its `up`, each at random within its part."""
        edits, chance = list(EDITS), random.Random(f"{seed}/{strike}/{number}")
        parts, part = max(1, of // len(edits)), number // len(edits)
        moment = round((part + chance.random()) / parts, 3)
        return cls(number, edits[number % len(edits)], strike, moment, by_hand=chance.random() < 0.3)

    def __str__(self) -> str:
        how = "pulumi up" if self.by_hand else "make up"
        return f"point {self.number}: {self.strike} at {self.moment} of `{how}`, {self.edit}"


def edit(clone: Clone, name: str, number: int) -> None:
    """Edits the configuration of the endpoint."""
    clone.edit(lambda config: EDITS[name](config["onlineEndpoints"][ENDPOINT], number))


# Strikes ----------------------------------------------------------------------------------------------------------


def ctrl_c(clone: Clone, running: psutil.Process) -> bool:
    # As a terminal does: to every process of the foreground group.
    os.killpg(running.pid, signal.SIGINT)
    return True


def kill_engine(clone: Clone, running: psutil.Process) -> bool:
    return _kill(running, lambda process: process.name() == "pulumi")


def kill_provider(clone: Clone, running: psutil.Process) -> bool:
    return _kill(running, lambda process: process.cmdline()[-3:-1] == ["-m", "pulumi.dynamic"])


def kill_local_azure(clone: Clone, running: psutil.Process) -> bool:
    if pid := Runtime.read(Home.at(clone.path / ".localazure")).pid:
        os.kill(pid, signal.SIGKILL)
    return bool(pid)


def _kill(running: psutil.Process, is_it: Callable[[psutil.Process], bool]) -> bool:
    # Typed by hand, the engine is what was started itself.
    for process in (running, *running.children(recursive=True)):
        with suppress(psutil.Error):
            if is_it(process):
                process.kill()
                return True
    return False


STRIKES: dict[str, Callable[[Clone, psutil.Process], bool]] = {
    "SIGINT": ctrl_c,
    "SIGKILL of the engine": kill_engine,
    "SIGKILL of the dynamic provider": kill_provider,
    "SIGKILL of Local Azure": kill_local_azure,
}
BY_HAND = (
    'eval "$(.venv/bin/python -m localazure env)"; '
    "exec pulumi up --yes --skip-preview --suppress-outputs --non-interactive --stack local"
)


@dataclass
class Struck:
    """An `up` that was struck, or came to its end before.

    Attributes:
        after: seconds from its start to the strike; None: what was to be struck was not there.
    """

    code: int
    out: str
    after: float | None


def interrupted(clone: Clone, point: Point, usual: float) -> Struck:
    """Starts an `up` and strikes; returns when it has come to its end. `usual` is how long such an `up` takes."""
    command = ("bash", "-c", BY_HAND) if point.by_hand else ("make", "up")
    process, lines = clone.begin(*command), list[str]()
    began = time.monotonic()
    reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")))  # type: ignore[union-attr]
    reader.start()
    try:
        _wait_for(point.moment, usual, began, process, lines)
        after = _strike(clone, point, process, began)
        process.wait(ENDS)
    finally:
        _end(process)
        reader.join(ENDS)
    return Struck(process.returncode, "".join(lines), after)


def _wait_for(
    moment: float | str, usual: float, began: float, process: subprocess.Popen[str], lines: list[str]
) -> None:
    while process.poll() is None:
        if isinstance(moment, str) and re.search(moment, "".join(lines)):
            return
        if isinstance(moment, float) and time.monotonic() >= began + moment * usual:
            return
        time.sleep(0.005)


def _strike(clone: Clone, point: Point, process: subprocess.Popen[str], began: float) -> float | None:
    """Strikes as soon as what is to be struck is there."""
    while process.poll() is None:
        with suppress(psutil.Error, ProcessLookupError):
            if STRIKES[point.strike](clone, psutil.Process(process.pid)):
                return time.monotonic() - began
        time.sleep(0.01)
    return None


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# What is seen meanwhile -------------------------------------------------------------------------------------------


@dataclass
class Watch:
    """What a client sees of the endpoint while others work on it.

    Attributes:
        splits: the traffic that Resource Manager showed, each time that it was another.
        answered: the deployments that answered requests.
        unanswered: requests that no deployment answered, and calls that Resource Manager did not.
    """

    splits: list[Split] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)
    unanswered: list[str] = field(default_factory=list)
    looks: int = 0


class Observer:
    """Looks at the endpoint as its users do: by Resource Manager, and by scoring."""

    def __init__(self, clone: Clone) -> None:
        self._clone, self._key, found = clone, clone.key(), clone.outputs()
        self._workspace = (
            f"/subscriptions/{found['subscriptionId']}/resourceGroups/{found['resourceGroupName']}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{found['workspaceName']}"
        )

    @property
    def _variables(self) -> dict[str, str]:
        # Read anew: a Local Azure that was killed comes back on its ports only where they are still free.
        return client_environment(Home.at(self._clone.path / ".localazure"), self._clone.environment)

    def _client(self) -> httpx.Client:
        variables = self._variables
        verified = ssl.create_default_context(cafile=variables["SSL_CERT_FILE"])
        return httpx.Client(proxy=variables["HTTPS_PROXY"], verify=verified, trust_env=False, timeout=30)

    def _token(self) -> dict[str, str]:
        variables = self._variables
        headers = {"X-IDENTITY-HEADER": variables["IDENTITY_HEADER"]}
        asked = {"api-version": "2019-08-01", "resource": f"{ARM}/"}
        answer = httpx.get(variables["IDENTITY_ENDPOINT"], params=asked, headers=headers, trust_env=False, timeout=30)
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def get(self, path: str) -> dict[str, Any]:
        """What Resource Manager answers about something in the workspace."""
        with self._client() as client:
            answer = client.get(f"{ARM}{self._workspace}/{path}", params=API, headers=self._token())
            return answer.raise_for_status().json()

    def split(self) -> Split:
        """The traffic that is live."""
        return _split(self.get(f"onlineEndpoints/{ENDPOINT}"))

    def deployments(self) -> dict[str, str]:
        """The provisioning states of the revisions that there are."""
        found = self.get(f"onlineEndpoints/{ENDPOINT}/deployments")["value"]
        return {each["name"]: each["properties"]["provisioningState"] for each in found}

    @contextmanager
    def watching(self) -> Iterator[Watch]:
        """Looks again and again until the block ends."""
        watch, over = Watch(), threading.Event()
        watcher = threading.Thread(target=self._look, args=(watch, over, self._token()))
        watcher.start()
        try:
            yield watch
        finally:
            over.set()
            watcher.join()

    def _look(self, watch: Watch, over: threading.Event, token: dict[str, str]) -> None:
        endpoint = f"{ARM}{self._workspace}/onlineEndpoints/{ENDPOINT}"
        key = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        with self._client() as client:
            while not over.wait(0.03):
                watch.looks += 1
                with _noted(watch):
                    seen = _split(client.get(endpoint, params=API, headers=token).raise_for_status().json())
                    if watch.splits[-1:] != [seen]:
                        watch.splits.append(seen)
                with _noted(watch):
                    answer = client.post(SCORE, content="{}", headers=key).raise_for_status()
                    watch.answered.add(answer.headers["azureml-model-deployment"])


@contextmanager
def _noted(watch: Watch) -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        watch.unanswered.append(f"{time.strftime('%X')} {error!r}")


def _split(endpoint: dict[str, Any]) -> Split:
    traffic = endpoint["properties"].get("traffic") or {}
    return {name: int(share) for name, share in sorted(traffic.items()) if share}


# What is left -----------------------------------------------------------------------------------------------------


def wanted(clone: Clone) -> tuple[set[str], Split]:
    """The revisions and the split that the stack's outputs name, by its state."""
    variables = {"PULUMI_BACKEND_URL": f"file://{clone.path}/.localazure/pulumi-state"}
    state = recovery.checkpoint(clone.path, "local", variables) or {}
    stack = next(each for each in state["resources"] if each["type"] == "pulumi:pulumi:Stack")
    endpoint = stack["outputs"]["onlineEndpoints"][ENDPOINT]
    revisions = endpoint["deployments"]
    split = {revisions[colour]: int(share) for colour, share in endpoint["traffic"].items() if share}
    assert not state.get("pending_operations"), state["pending_operations"]
    return set(revisions.values()), dict(sorted(split.items()))


def leftovers(clone: Clone) -> list[str]:
    """What nobody needs any more: locks, drafts, engines and what they started, instances of no deployment."""
    home = clone.path / ".localazure"
    locks = [file for file in home.glob("pulumi-state/.pulumi/locks/**/*") if file.is_file()]
    drafts = [file for pattern in ("*.part", "*.partial", "*.tmp") for file in home.rglob(pattern)]
    return [*map(str, [*locks, *drafts]), *_processes(clone)]


def _processes(clone: Clone) -> Iterable[str]:
    instances = {
        one["pid"]
        for endpoint in clone.status["onlineEndpoints"]
        for deployment in endpoint["deployments"]
        for one in deployment["instances"]
    }
    daemon = Runtime.read(Home.at(clone.path / ".localazure")).pid
    for process in clone.processes():
        with suppress(psutil.Error):
            line = " ".join(process.cmdline())
            above = {process.pid, *(each.pid for each in process.parents())}
            if "gunicorn" in line or "azmlinfsrv" in line:
                if not above & instances:
                    yield f"an instance of no deployment: {process.pid} {line}"
            elif daemon not in above and "localazure.processes" not in line and process.is_running():
                yield f"{process.pid} {line}"
