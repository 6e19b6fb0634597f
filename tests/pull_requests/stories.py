"""Pull requests as a team makes them, and how their real previews are kept as recordings.

`python -m tests.pull_requests.record` makes the recordings and the summaries anew; a slow test makes the previews anew
and holds both to them.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.end_to_end.conftest import Clone
from tools.previews import UNKNOWN

RECORDINGS = Path(__file__).with_name("recordings")
ENDPOINT = "tumor-online"
# What every run has of its own, and what no reader of a preview has a use for.
NOISE = {
    "created",
    "modified",
    "sourcePosition",
    "stackTrace",
    "dependencies",
    "propertyDependencies",
    "provider",
    "custom",
    "__provider",
    "systemData",
    "deletedWith",
    "resourceHooks",
}
GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(?:Z|[+-]\d\d:?\d\d)")
# By content: revisions, versions of assets, hashes. They change with every sample file.
CONTENT = re.compile(r"(?<=-)[0-9a-f]{8}\b|\b[0-9a-f]{64}\b|(?<=versions/)\d+|(?<=:)\d{5,10}\b|(?<=\")\d{6,10}(?=\")")

WITH_OUTPUTS = (
    "azure-native:machinelearningservices:OnlineEndpoint",
    "azure-native:machinelearningservices:BatchEndpoint",
)

# A summary looks at no other, and the slow test holds that of a whole preview to that of its recording.
WITH_INPUTS = (
    "azure-native:machinelearningservices:",
    "azure-native:logic:",
    "azure-native:monitor:",
    "pulumi-python:dynamic/azureml:Model",
    "pulumi-python:dynamic/azureml:Code",
    "pulumi-python:dynamic/azureml:Environment",
    "pulumi-python:dynamic/azureml:TrafficSplit",
    "pulumi-python:dynamic/azureml:DefaultDeployment",
)

Config = dict[str, Any]


@dataclass(frozen=True)
class Story:
    """A pull request: what it edits in the configuration, and what else it changes in a clone."""

    title: str
    edit: Callable[[Config], None] = lambda config: None
    change: Callable[[Clone], None] = lambda clone: None


def base(config: Config) -> None:
    """What is up before any of them: the sample stack, with a deployment that scales by itself and is tested."""
    blue = config["onlineEndpoints"][ENDPOINT]["deployments"]["blue"]
    del blue["instanceCount"]
    blue["autoscale"] = {
        "minInstances": 1,
        "maxInstances": 3,
        "rules": [{"metric": "cpu", "above": 70, "below": 30}],
    }
    blue["smokeTest"] = {"request": "scoring/samples/request.json"}


def _traffic(config: Config) -> None:
    config["onlineEndpoints"][ENDPOINT]["traffic"] = {"blue": 50, "green": 50}


def _new_model(clone: Clone) -> None:
    (clone.path / "scoring/models/mlflow/note.txt").write_text("trained on another day\n")


def _new_instance_type(config: Config) -> None:
    config["onlineEndpoints"][ENDPOINT]["deployments"]["green"] |= {
        "instanceType": "Standard_DS3_v2",
        "instanceCount": 2,
    }


def _new_endpoint(config: Config) -> None:
    second = copy.deepcopy(config["onlineEndpoints"][ENDPOINT])
    second |= {"traffic": {"blue": 100}, "mirrorTraffic": {"green": 20}}
    second["deployments"]["green"]["environmentVariables"] = {"LOG_LEVEL": "debug"}
    config["onlineEndpoints"]["tumor-second"] = second


def _removed_deployment(config: Config) -> None:
    endpoint = config["onlineEndpoints"][ENDPOINT]
    del endpoint["deployments"]["green"]
    endpoint["traffic"] = {"blue": 100}


def _mistake(config: Config) -> None:
    config["onlineEndpoints"][ENDPOINT]["traffic"] = {"blue": 60, "green": 50}


def _renamed(config: Config) -> None:
    config["workspace"]["name"] = "aml-other"


def _batch(config: Config) -> None:
    batch = config["batchEndpoints"]["tumor-batch"]
    batch["defaultDeployment"] = "custom"
    batch["schedules"]["nightly"] |= {"at": "03:30", "paused": False}


def _log_in(config: Config) -> None:
    config["onlineEndpoints"][ENDPOINT]["authMode"] = "aml_token"


def _by_hand(clone: Clone) -> None:
    """Somebody moves the traffic and adds an instance in the portal; the pull request itself changes nothing."""
    clone.ml(
        f"endpoint = ml.online_endpoints.get('{ENDPOINT}')\n"
        "blue, green = sorted(endpoint.traffic)\n"
        "endpoint.traffic = {blue: 30, green: 70}\n"
        "ml.online_endpoints.begin_create_or_update(endpoint).result()\n"
        f"deployment = ml.online_deployments.get(name=green, endpoint_name='{ENDPOINT}')\n"
        "deployment.instance_count = 2\n"
        "ml.online_deployments.begin_create_or_update(deployment).result()\n"
    ).ok()


# The first five are what the summary is for; the last one leaves the stack changed by hand.
STORIES: Mapping[str, Story] = {
    "traffic": Story("a traffic edit", _traffic),
    "new-model": Story("a new model", change=_new_model),
    "new-instance-type": Story("a new instance type", _new_instance_type),
    "new-endpoint": Story("a new endpoint", _new_endpoint),
    "removed-deployment": Story("a removed deployment", _removed_deployment),
    "batch": Story("another default deployment, and a timetable that begins", _batch),
    "log-in": Story("another way to log in", _log_in),
    "renamed": Story("a workspace of another name", _renamed),
    "mistake": Story("a mistake in the configuration", _mistake),
    "nothing": Story("a change of nothing"),
    "by-hand": Story("traffic that was moved in the portal", change=_by_hand),
}


def recorded(preview: str) -> dict[str, Any]:
    """A preview as it is kept: without what every run has of its own, and in one order."""
    document = _without_noise(json.loads(preview))
    document.pop("duration", None)
    steps = [_step(step) for step in document["steps"]]
    if any(each["severity"] == "error" for each in document.get("diagnostics") or ()):
        # How far a preview got before it failed is chance; the stack itself is in each of them.
        document.pop("changeSummary", None)
        steps = [step for step in steps if step["urn"].rpartition("::")[0].endswith("pulumi:pulumi:Stack")]
    # Resources are handled side by side; the steps of one resource keep their order.
    document["steps"] = sorted(steps, key=lambda step: step["urn"])
    return json.loads(_numbered(json.dumps(document)))


def _without_noise(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_noise(each) for key, each in value.items() if key not in NOISE}
    return [_without_noise(each) for each in value] if isinstance(value, list) else value


def _step(step: dict[str, Any]) -> dict[str, Any]:
    if step["op"] == "refresh":
        # The same as the old one: what the refresh finds is told by the next step.
        step.pop("newState", None)
    for state in (step[key] for key in ("oldState", "newState") if key in step):
        if state["type"] not in WITH_OUTPUTS:
            state.pop("outputs", None)
        if not state["type"].startswith(WITH_INPUTS):
            state.pop("inputs", None)
        state.pop("urn", None)
    return step


def _numbered(text: str) -> str:
    """The same document with other GUIDs and moments, which are the same in every run."""
    # Local Azure's own ids are the same everywhere.
    numbers = {found: found for found in GUID.findall(text) if found.startswith("10ca1a2e")} | {UNKNOWN: UNKNOWN}
    for found in GUID.findall(text):
        numbers.setdefault(found, f"{len(numbers):08}-0000-4000-8000-000000000000")
    return MOMENT.sub("2026-01-01T00:00:00.0000000+00:00", GUID.sub(lambda found: numbers[found[0]], text))


def shape(text: str) -> str:
    """A text in which what depends on the content of files is numbered in order of appearance."""
    labels: dict[str, str] = {}
    numbered = CONTENT.sub(lambda found: labels.setdefault(found[0], f"<{len(labels)}>"), text)
    # The columns of a table are as wide as what is in them.
    return re.sub("-{3,}", "---", re.sub(" {2,}", " ", numbered))


def serving(document: Mapping[str, Any]) -> str:
    """What of a recording the summary is made from, as text to compare."""
    steps = [step for step in document["steps"] if "Endpoint" in step["urn"]]
    return shape(json.dumps(steps, indent=1, sort_keys=True))
