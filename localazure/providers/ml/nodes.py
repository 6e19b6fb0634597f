"""The nodes of compute clusters as ARM shows them; `allocation.py` has their rules, and `clusters.py` moves them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from localazure.arm import body as read
from localazure.arm.store import Resource
from localazure.providers.ml.allocation import STATES, Node, Pool, Scale
from localazure.providers.ml.compute_types import AML_COMPUTE
from localazure.providers.ml.names import DELETING, SUCCEEDED

Json = dict[str, Any]


def pool(cluster: Resource) -> Pool:
    """A cluster's nodes and the jobs on it."""
    return Pool.read(cluster.hidden.get("pool") or {})


def with_pool(cluster: Resource, changed: Pool) -> Resource:
    """A cluster with other nodes."""
    return replace(cluster, hidden={**cluster.hidden, "pool": changed.kept()})


def scale(cluster: Resource) -> Scale:
    """A cluster's scale settings."""
    sent = cluster.properties["properties"]["scaleSettings"]
    rest = read.seconds(sent["nodeIdleTimeBeforeScaleDown"], "nodeIdleTimeBeforeScaleDown")
    return Scale(sent["minNodeCount"], sent["maxNodeCount"], rest)


def is_cluster(compute: Resource) -> bool:
    """Whether a compute is one that has nodes of its own."""
    return compute.properties.get("computeType") == AML_COMPUTE


def is_low_priority(cluster: Resource) -> bool:
    """Whether Azure may take a cluster's nodes back."""
    return cluster.properties["properties"].get("vmPriority") == "LowPriority"


def is_ready(cluster: Resource) -> bool:
    """Whether a cluster has nodes, or could have some: once it was created, and until it is deleted."""
    return cluster.state != DELETING and (cluster.state == SUCCEEDED or bool(cluster.hidden.get("ready")))


def held(cluster: Resource) -> int:
    """The nodes whose cores a cluster has: those that are there, and come or go."""
    return pool(cluster).count("idle", "running", "preparing", "leaving")


def count(compute: Resource) -> int:
    """The nodes that a compute counts for in the quota; a compute instance is one, stopped or not."""
    if not is_cluster(compute):
        return 1
    # Its smallest number is promised to it from the start.
    return 0 if compute.state == DELETING else max(held(compute), scale(compute).least)


# As ARM shows them ----------------------------------------------------------------------------------------------------


def listed(cluster: Resource) -> list[Json]:
    """The entries of `listNodes`, those that work first. There is no machine behind a node, so it has no address."""
    nodes = sorted(pool(cluster).nodes, key=lambda node: (node.state != "running", node.number))
    return [
        {
            "nodeId": _node_id(cluster, node),
            "nodeState": node.state,
            "runId": node.job,
            "privateIpAddress": None,
            "publicIpAddress": None,
            "port": None,
        }
        for node in nodes
    ]


def shown(cluster: Resource) -> Json:
    """A cluster's document with the counts and errors of its nodes."""
    found = pool(cluster)
    resting = {"allocationState": "Resizing" if found.resizing else "Steady", "errors": _errors(cluster, found) or None}
    if found.changed:
        resting["allocationStateTransitionTime"] = _moment(found.changed)
    inner = {**cluster.properties["properties"], **resting, **_counts(found)}
    return {**cluster.document, "properties": {**cluster.properties, "properties": inner}}


def summary(cluster: Resource) -> Json:
    """What `status` shows of a cluster: how many nodes are in which state, of how many, and who waits for some."""
    found, bounds = pool(cluster), scale(cluster)
    return {
        "name": cluster.name,
        "state": cluster.state,
        "least": bounds.least,
        "most": bounds.most,
        "nodes": {state: found.count(state) for state in STATES if found.count(state)},
        "running": [ask.job for ask in found.running],
        "queued": [ask.job for ask in found.waiting],
        "errors": [error["error"]["message"] for error in _errors(cluster, found)],
    }


def _counts(found: Pool) -> Json:
    return {
        "currentNodeCount": len(found.nodes),
        "targetNodeCount": found.target if found.resizing else len(found.nodes),
        "nodeStateCounts": {f"{state}NodeCount": found.count(state) for state in STATES},
    }


def _errors(cluster: Resource, found: Pool) -> list[Json]:
    failures = [node.failure for node in found.nodes if node.state == "unusable" and node.failure]
    if found.starved:
        text = (
            f"Operation results in exceeding quota limits of Core: the cluster '{cluster.name}' waits for cores of its "
            "VM size. Free some, or request more."
        )
        failures.append({"code": "ClusterCoreQuotaReached", "message": text})
    unique = {failure["code"] + failure["message"]: failure for failure in failures}
    return [{"error": {**failure, "details": [], "additionalInfo": []}} for failure in unique.values()]


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0+00:00")


def _node_id(cluster: Resource, node: Node) -> str:
    kind = "p" if is_low_priority(cluster) else "d"
    return f"tvmps_{hashlib.sha256(f'{cluster.id.lower()} {node.number}'.encode()).hexdigest()}_{kind}"
