"""What a `pulumi preview` of an unchanged stack costs, beside a program that does nothing but register as much.

There are two references. One registers as many components and as many resources of azure-native, without importing
anything of it, in the same Local Azure and with the same plugin. The other has as many dynamic resources among them as
the program has, for which Pulumi starts a process of its own, twice. All are up, and all are refreshed first, as the
project asks for. The program's own part is what its process does by itself: it runs to its end without an engine, whose
answers take no time.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.clone import Clone, copy_of_the_tree
from bench.figures import timed
from localazure.environment import client_environment
from localazure.home import DEFAULT_NAME, Home

TITLE = "What a preview costs"
ROUNDS = 7
BIG = 5_000_000_000
NO_OP = """\
import pulumi
GROUP = "azure-native:resources:ResourceGroup"
for number in range({components}):
    pulumi.ComponentResource("no-op:index:Component", f"component-{{number}}")
for number in range({native}):
    named = {{"resourceGroupName": f"rg-{name}-{{number}}", "location": "eastus"}}
    pulumi.CustomResource(GROUP, f"group-{{number}}", named)
if {dynamic}:
    from pulumi.dynamic import CreateResult, Resource, ResourceProvider
    class Nothing(ResourceProvider):
        def create(self, props):
            return CreateResult("nothing", props)
    class Empty(Resource):
        pass
    for number in range({dynamic}):
        Empty(Nothing(), f"nothing-{{number}}", {{"number": number}})
"""
PROJECT = """\
name: no-op
runtime: {name: python, options: {virtualenv: .venv}}
options: {refresh: always}
"""
# Runs the program as its host does, and says how long that took after `import pulumi` and what it has imported.
OWN_PART = """\
import json, runpy, sys, time
import pulumi
from pulumi.runtime import mocks

class Azure(mocks.Mocks):
    def new_resource(self, args):
        # Of a dynamic resource the outputs are attributes.
        extra = {"assetId": "/a", "startingCount": 1, "properties": {**args.inputs.get("properties", {}),
                 "provisioningState": "Succeeded", "scoringUri": "https://e/score"}}
        outputs = {**args.inputs, **extra}
        if (given := (outputs.get("identity") or {}).get("userAssignedIdentities")):
            outputs["identity"] = {**outputs["identity"], "userAssignedIdentities": {each: {} for each in given}}
        return f"/subscriptions/s/resourceGroups/g/providers/p/t/{args.name}", outputs
    def call(self, args):
        return {"clientId": "c", "objectId": "o", "subscriptionId": "s", "tenantId": "t"}

pulumi.runtime.config.set_all_config(json.loads(sys.argv[1]), [])
mocks.set_mocks(Azure(), project="azureml-endpoints", stack="local", preview=False)
sys.path.insert(0, ".")
began = time.perf_counter()
pulumi.runtime.test(lambda: runpy.run_path("__main__.py") and None)()
took = time.perf_counter() - began
print(json.dumps([took, sorted(name for name in sys.modules if name.startswith("azure."))]))
"""


def measure(root: Path, folder: Path) -> str:
    """The section of the page; its clone lies in `folder`."""
    clone = copy_of_the_tree(root, folder / "clone")
    try:
        clone.make("up")
        return "\n".join(_lines(clone, folder))
    finally:
        clone.end()


def _lines(clone: Clone, folder: Path) -> Iterator[str]:
    variables = client_environment(Home.at(clone.path / DEFAULT_NAME), clone.environment)
    ours = _previews(clone, clone.path, "local", variables)
    native, dynamic, components = _registered(clone, variables)
    resources = native + dynamic
    no_op = _no_op(clone, folder / "no-op", variables, components, native=resources)
    alike = _no_op(clone, folder / "alike", variables, components, native=native, dynamic=dynamic)
    seconds = _in_turns({"ours": ours, "no-op": no_op, "alike": alike})
    own = statistics.median(own_part(clone)[0] for _ in range(ROUNDS))
    small, big = _with_models(clone, ours)
    yield (
        f"Nothing changed, medians of {ROUNDS} rounds in turns. {resources} resources, {dynamic} of them dynamic, and "
        f"{components} components, and as many in the references. The aims: 1.3 times the reference at most, 0.6 s for "
        "the program's own part, 0.2 s for a model folder of 5 GB that was read before.\n"
    )
    yield "| what | measured | reference | measured | |\n|---|---:|---|---:|---:|"
    yield _row("`pulumi preview`", seconds["ours"], "of a program that only registers as much", seconds["no-op"])
    yield _row("`pulumi preview`", seconds["ours"], "of one that registers as many dynamic ones too", seconds["alike"])
    yield f"| the program's own part of it | {own:.2f} s | | | |"
    yield _row("`pulumi preview`, one model of 5 GB, read before", big, "the same model of a few bytes", small, "+")


def _row(what: str, mine: float, reference: str, other: float, compared: str = "×") -> str:
    last = f"{mine - other:+.2f} s" if compared == "+" else f"{mine / other:.2f} ×"
    return f"| {what} | {mine:.2f} s | {reference} | {other:.2f} s | {last} |"


def _in_turns(works: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """The median seconds of each, after a first round that does not count."""
    for work in works.values():
        work()
    rounds = [{name: timed(work) for name, work in works.items()} for _ in range(ROUNDS)]
    return {name: statistics.median(each[name] for each in rounds) for name in works}


def _previews(clone: Clone, folder: Path, stack: str, variables: Mapping[str, str]) -> Callable[[], str]:
    command = ("pulumi", "preview", "--non-interactive", "--stack", stack)
    return lambda: clone.run(*command, cwd=folder, variables=variables)


def _registered(clone: Clone, variables: Mapping[str, str]) -> tuple[int, int, int]:
    """How many resources of azure-native, dynamic ones and components it has; all others are the engine's own."""
    exported = json.loads(clone.run("pulumi", "stack", "export", "--stack", "local", variables=variables))
    found = [each for each in exported["deployment"]["resources"] if not each["type"].startswith("pulumi:")]
    custom = [each["type"] for each in found if each["custom"]]
    dynamic = sum(each.startswith("pulumi-python:dynamic") for each in custom)
    return len(custom) - dynamic, dynamic, len(found) - len(custom)


def _no_op(
    clone: Clone, folder: Path, variables: Mapping[str, str], components: int, *, native: int, dynamic: int = 0
) -> Callable[[], str]:
    """Brings a reference up, whose stack is called as its folder; what previews it."""
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text(PROJECT)
    program = NO_OP.format(name=folder.name, components=components, native=native, dynamic=dynamic)
    (folder / "__main__.py").write_text(program)
    (folder / ".venv").symlink_to(clone.path / ".venv")
    clone.run("pulumi", "stack", "init", folder.name, cwd=folder, variables=variables)
    for key in ("subscriptionId", "tenantId", "metadataHost"):
        value = clone.run("pulumi", "config", "get", f"azure-native:{key}", "--stack", "local", variables=variables)
        set_value = ("pulumi", "config", "set", f"azure-native:{key}", value.strip(), "--stack", folder.name)
        clone.run(*set_value, cwd=folder, variables=variables)
    up = ("pulumi", "up", "--yes", "--skip-preview", "--stack", folder.name)
    clone.run(*up, cwd=folder, variables=variables)
    return _previews(clone, folder, folder.name, variables)


def own_part(clone: Clone) -> tuple[float, list[str]]:
    """How long the program takes by itself, in seconds, and the modules of `azure` that it has imported."""
    import yaml

    content: dict[str, Any] = yaml.safe_load((clone.path / "Pulumi.local.yaml").read_text())["config"]
    config = {key: value if isinstance(value, str) else json.dumps(value) for key, value in content.items()}
    python = str(clone.path / ".venv/bin/python")
    took, imported = json.loads(clone.run(python, "-c", OWN_PART, json.dumps(config)).splitlines()[-1])
    return took, imported


def _with_models(clone: Clone, preview: Callable[[], object]) -> tuple[float, float]:
    """The seconds of a preview with another small model, and of one with a model of 5 GB after it was read once."""
    note = clone.path / "scoring/models/mlflow/note.bin"
    note.write_bytes(b"small")
    _age(note)
    small = _in_turns({"small": preview})["small"]
    with note.open("wb") as file:
        file.truncate(BIG)  # has holes: it is read whole all the same, and takes no place
    _age(note)
    return small, _in_turns({"big": preview})["big"]


def _age(file: Path) -> None:
    # What was written within the last two seconds is not remembered, for it may be written again.
    time.sleep(2.5)
    os.utime(file)
    time.sleep(2.5)
