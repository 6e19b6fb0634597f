"""Nodes of compute clusters: as many as the running jobs hold, those that are idle still, and the smallest number."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.ml.names import JOB_TYPE

STATES = ("idle", "running", "preparing", "unusable", "leaving", "preempted")
# What the nodes of a job are while it has these statuses. A job that waits for its turn has none.
_AT_WORK = {
    "Starting": "preparing",
    "Provisioning": "preparing",
    "Preparing": "preparing",
    "Running": "running",
    "Finalizing": "running",
    "CancelRequested": "running",
}


@dataclass(frozen=True)
class Node:
    """A node: its state, and the job that it works for."""

    id: str
    state: str
    run: str | None = None

    def document(self) -> dict[str, Any]:
        """The entry of `listNodes`. There is no machine behind it, so it has no address."""
        return {
            "nodeId": self.id,
            "nodeState": self.state,
            "runId": self.run,
            "privateIpAddress": None,
            "publicIpAddress": None,
            "port": None,
        }


def count(cloud: Cloud, compute: Resource) -> int:
    """The nodes that a compute holds cores for; a compute instance is one, stopped or not."""
    return len(of(cloud, compute)) if compute.properties.get("computeType") == "AmlCompute" else 1


def of(cloud: Cloud, cluster: Resource) -> list[Node]:
    """The nodes of a cluster, those that work first."""
    scale = cluster.properties["properties"]["scaleSettings"]
    rest = timedelta(seconds=read.seconds(scale["nodeIdleTimeBeforeScaleDown"], "nodeIdleTimeBeforeScaleDown"))
    busy: list[tuple[str, str | None]] = []
    resting = 0
    for job in _jobs(cloud, cluster):
        if state := _AT_WORK.get(job.properties["status"]):
            busy += [(state, job.name)] * _instances(job)
        elif _ended_within(job, rest):
            resting = max(resting, _instances(job))
    busy = busy[: scale["maxNodeCount"]]
    whole = max(len(busy), min(resting, scale["maxNodeCount"]), scale["minNodeCount"])
    states = [*busy, *[("idle", None)] * (whole - len(busy))]
    return [Node(_node_id(cluster, at), state, run) for at, (state, run) in enumerate(states)]


def shown(cloud: Cloud, cluster: Resource) -> dict[str, Any]:
    """A cluster's document with the counts that its nodes give."""
    found = [node.state for node in of(cloud, cluster)]
    counts = {
        "currentNodeCount": len(found),
        "targetNodeCount": len(found),
        "nodeStateCounts": {f"{state}NodeCount": found.count(state) for state in STATES},
    }
    inner = {**cluster.properties["properties"], **counts}
    return {**cluster.document, "properties": {**cluster.properties, "properties": inner}}


def _jobs(cloud: Cloud, cluster: Resource) -> list[Resource]:
    # A job names its compute by id, or by name as in `azureml:<name>`.
    names = (cluster.id.lower(), cluster.name.lower())
    found = cloud.store.below(ids.parent(cluster.id), JOB_TYPE)
    return [
        job for job in found if str(job.properties.get("computeId") or "").lower().removeprefix("azureml:") in names
    ]


def _instances(job: Resource) -> int:
    settings = job.hidden.get("settings") or {}
    return int((settings.get("resources") or {}).get("instanceCount") or 1)


def _ended_within(job: Resource, rest: timedelta) -> bool:
    ended = job.hidden.get("endTime")
    return bool(ended) and _moment(str(ended)) + rest > datetime.now(UTC)


def _moment(text: str) -> datetime:
    # Seven digits of fraction are one more than Python reads.
    return datetime.fromisoformat(text[: len("2026-01-01T00:00:00.000000")] + "+00:00")


def _node_id(cluster: Resource, at: int) -> str:
    kind = "p" if cluster.properties["properties"].get("vmPriority") == "LowPriority" else "d"
    return f"tvmps_{hashlib.sha256(f'{cluster.id.lower()} {at}'.encode()).hexdigest()}_{kind}"
