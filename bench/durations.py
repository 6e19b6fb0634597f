"""How long a stack takes where Azure takes its time: `pulumi up`, a plain script of SDK calls, and the critical path.

Local Azure's long operations take Azure's published times, multiplied by a scale. The critical path is the longest
chain of operations that the stack's own order leaves one after another (those on one endpoint are), each as long as
Local Azure recorded it: no tool that keeps the order can be sooner. The scripts run beside the `up`s, in Local Azures
of their own, for they do nothing but wait.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from bench import trivial
from bench.clone import Clone, copy_of_the_tree
from bench.figures import Figure, timed
from localazure.environment import led
from localazure.home import Home
from tools.up import tools_environment

SCALE = 0.1
SEED = 1
ROW = "Azure's times"
UP = ("pulumi", "up", "--yes", "--skip-preview", "--suppress-outputs", "--non-interactive", "--stack", "local")
SCRIPT = ("-m", "bench.sdk_script")

Resource = Mapping[str, Any]


@dataclass(frozen=True)
class Stack:
    """What is brought up: online endpoints by name, each with the names of its deployments; with batch, or without."""

    name: str
    online: Mapping[str, tuple[str, ...]]
    batch: bool

    def configure(self, clone: Clone) -> None:
        """Writes it into the configuration of a clone. Deployments are trivial: their start is no part of Azure's."""
        trivial.write(clone.path)
        file = clone.path / "Pulumi.local.yaml"
        content = yaml.safe_load(file.read_text())
        content["config"]["azureml-endpoints:onlineEndpoints"] = {
            name: {"authMode": "key", **_online(colours)} for name, colours in self.online.items()
        }
        if not self.batch:
            content["config"]["azureml-endpoints:batchEndpoints"] = {}
            content["config"]["azureml-endpoints:computeClusters"] = {}
        file.write_text(yaml.safe_dump(content, sort_keys=False))


def _online(colours: tuple[str, ...]) -> dict[str, Any]:
    traffic = dict.fromkeys(colours, 0) | {colours[0]: 90, colours[1]: 10}
    return {"deployments": {colour: trivial.deployment(colour) for colour in colours}, "traffic": traffic}


STACKS = (
    Stack("the sample", {"tumor-online": ("blue", "green")}, batch=True),
    Stack(
        "five endpoints of three deployments",
        {f"tumor-{number}": ("blue", "green", "red") for number in range(1, 6)},
        batch=False,
    ),
)


def measure(root: Path, folder: Path, scale: float = SCALE, say: Callable[[str], None] = print) -> Iterator[Figure]:
    """Brings each stack up by `pulumi up` and by the script, with Azure's times multiplied by `scale`."""
    with ThreadPoolExecutor(len(STACKS)) as pool:
        scripts = [
            pool.submit(_by_script, root, folder / f"script-{at}", each, scale) for at, each in enumerate(STACKS)
        ]
        ups = []
        for number, stack in enumerate(STACKS):
            ups.append(_by_pulumi(root, folder / f"up-{number}", stack, scale))
            say(f"{stack.name}: `pulumi up` {ups[-1][0]:.1f} s, critical path {ups[-1][1]:.1f} s")
        yield from _figures(ups, [script.result() for script in scripts], scale)


def _figures(ups: list[tuple[float, float]], scripts: list[float], scale: float) -> Iterator[Figure]:
    for stack, (up, path), script in zip(STACKS, ups, scripts, strict=True):
        what = f"`pulumi up` of {stack.name}, {ROW} × {scale:g}"
        yield Figure(what, up, "the critical path", path)
        yield Figure(what, up, "a script of SDK calls, one after another", script)
        # What a tool costs by itself does not grow with Azure's times, so that it weighs more where they are scaled.
        full = f"{stack.name}, reckoned for {ROW} × 1 with the seconds that were added"
        yield Figure(full, path / scale + up - path, "the critical path", path / scale)


def _by_pulumi(root: Path, folder: Path, stack: Stack, scale: float) -> tuple[float, float]:
    """How long `pulumi up` takes from nothing, and its critical path."""
    with _prepared(root, folder, stack, scale) as (clone, variables):
        clone.run("pulumi", "stack", "init", "local", variables=variables)
        seconds = timed(lambda: clone.run(*UP, variables=variables))
        return seconds, critical_path(_resources(clone, variables), operations(clone.path / ".localazure"))


def _by_script(root: Path, folder: Path, stack: Stack, scale: float) -> float:
    """How long the script takes for the same."""
    work = json.dumps({"online": stack.online, "batch": stack.batch, "folder": trivial.FOLDER})
    with _prepared(root, folder, stack, scale) as (clone, variables):
        return timed(lambda: clone.run(sys.executable, *SCRIPT, work, variables=variables))


@contextmanager
def _prepared(root: Path, folder: Path, stack: Stack, scale: float) -> Iterator[tuple[Clone, dict[str, str]]]:
    """A clone whose Local Azure runs, with nothing in it, and the variables that lead there."""
    clone = copy_of_the_tree(root, folder)
    stack.configure(clone)
    clone.make("setup")
    try:
        clone.localazure("start")
        latency = {"profile": "azure", "factor": scale, "calls": True}
        clone.localazure("weather", json.dumps({"seed": SEED, "latency": latency}))
        led_there = tools_environment(led(Home.at(clone.path / ".localazure"), clone.environment))
        yield clone, {name: value for name, value in led_there.items() if name != "PATH"}
    finally:
        clone.end()


def _resources(clone: Clone, variables: Mapping[str, str]) -> list[Resource]:
    exported = clone.run("pulumi", "stack", "export", "--stack", "local", variables=variables)
    return json.loads(exported)["deployment"]["resources"]


# The critical path --------------------------------------------------------------------------------------------------


def operations(home: Path) -> dict[str, list[float]]:
    """How long each long operation took that Local Azure carried out, in their order, by the resource's id."""
    found: dict[str, list[float]] = {}
    with closing(sqlite3.connect(f"{(home / 'state.db').as_uri()}?mode=ro", uri=True)) as store:
        rows = store.execute("SELECT resource, started, ended FROM operations WHERE ended IS NOT NULL ORDER BY started")
        for resource, started, ended in rows:
            found.setdefault(resource.lower(), []).append(_instant(ended) - _instant(started))
    return found


def _instant(text: str) -> float:
    # Azure writes seven digits of a fraction, of which Python reads six.
    return datetime.fromisoformat(text[:26] + text[27:]).timestamp()


def critical_path(resources: Sequence[Resource], took: Mapping[str, list[float]]) -> float:
    """The longest chain of operations, by what the state says that each resource depends on."""
    ends: dict[str, float] = {}
    # The state lists what a resource depends on before it.
    for resource in resources:
        before = max((ends.get(urn, 0.0) for urn in resource.get("dependencies", [])), default=0.0)
        ends[resource["urn"]] = before + sum(_operations_of(resource, resources, took))
    return max(ends.values(), default=0.0)


def _operations_of(resource: Resource, resources: Sequence[Resource], took: Mapping[str, list[float]]) -> list[float]:
    """The first operation on a resource is its own; those that follow on an endpoint are its traffic's or default's."""
    if resource["type"].endswith(("TrafficSplit", "DefaultDeployment")):
        endpoint = f"/{resource['inputs']['endpointName']}".lower()
        ids = [each for each in took if each.endswith(endpoint) and "endpoints/" in each]
        return [seconds for each in ids for seconds in took[each][1:]]
    return took.get(str(resource.get("id", "")).lower(), [])[:1]
