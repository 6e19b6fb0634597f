"""A status as text: what a person wants to see of a Local Azure, in columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Entry = Mapping[str, Any]

LONGEST = 100


def lines(status: Entry) -> Iterator[str]:
    """The lines of `status`, for a status as the daemon answers it."""
    azure = status["azure"]
    yield f"Local Azure runs in {status['home']} (process {status['pid']})."
    for endpoint in azure.get("onlineEndpoints", []):
        yield from _online(endpoint)
    for endpoint in azure.get("batchEndpoints", []):
        yield from _batch(endpoint)
    timetable = map(_workflow, azure.get("workflows", []))
    yield from _section("Workflows", ("NAME", "STATE", "NEXT RUN", "LAST RUN"), timetable)
    heads = ("NAME", "NODES", "OF", "STATE", "QUEUED JOBS", "")
    yield from _section("Compute clusters", heads, map(_cluster, azure.get("clusters", [])))
    yield from _section("Jobs", ("NAME", "STATUS", "DEPLOYMENT", "PROGRESS"), map(_job, azure.get("jobs", [])))
    under_way = [(_name(each["resource"]), each["kind"]) for each in azure.get("operations", [])]
    yield from _section("Under way", ("ON", "OPERATION"), under_way)
    accounts = [(each["account"], *_process(each)) for each in azure.get("storageAccounts", [])]
    yield from _section("Storage accounts", ("NAME", "PROCESS", "PORT"), accounts)
    ports = [(name, f"127.0.0.1:{port}") for name, port in status["ports"].items()]
    yield from _section("Ports", ("OF", "ADDRESS"), ports)


def _online(endpoint: Entry) -> Iterator[str]:
    yield from _endpoint("Online endpoint", endpoint, endpoint.get("scoringUri"))
    heads = ("DEPLOYMENT", "TRAFFIC", "MIRROR", "STATE", "READY", "REQUESTS", "PROCESSES")
    yield from _table(heads, [_deployment(each, endpoint) for each in endpoint.get("deployments", [])])


def _endpoint(what: str, endpoint: Entry, address: str | None) -> Iterator[str]:
    state = endpoint.get("state")
    yield ""
    # What is as it should be needs no saying.
    yield f"{what} {endpoint['name']}{'' if state in (None, 'Succeeded') else f' is {state}'}"
    if address:
        yield f"  {address}"


def _deployment(deployment: Entry, endpoint: Entry) -> tuple[str, ...]:
    name, instances = deployment["name"], deployment.get("instances", [])
    requests = deployment.get("requests")
    return (
        name,
        _share(endpoint.get("traffic"), name),
        _share(endpoint.get("mirrorTraffic"), name),
        deployment.get("state") or "",
        f"{sum(bool(each['ready']) for each in instances)}/{len(instances)}",
        "" if requests is None else str(requests),
        ", ".join(map(_instance, instances)) + _short_of(deployment, len(instances)) or "none yet",
    )


def _share(shares: Mapping[str, float] | None, name: str) -> str:
    share = (shares or {}).get(name, 0)
    return f"{share:g} %" if share else ""


def _instance(instance: Entry) -> str:
    if instance["pid"] is None:
        return "to be started again"
    restarts = f", restarted {instance['restarts']}×" if instance.get("restarts") else ""
    return f"{instance['pid']} on {instance['port']}" + ("" if instance["ready"] else " (not ready)") + restarts


def _short_of(deployment: Entry, count: int) -> str:
    wanted = deployment.get("wanted") or 0
    return f" ({wanted} asked for)" if count and wanted > count else ""


def _batch(endpoint: Entry) -> Iterator[str]:
    yield from _endpoint("Batch endpoint", endpoint, endpoint.get("invokeUri"))
    default = endpoint.get("defaultDeployment")
    deployments = [
        (each["name"], "default" if each["name"] == default else "", each["state"])
        for each in endpoint.get("deployments", [])
    ]
    yield from _table(("DEPLOYMENT", "", "STATE"), deployments)


def _workflow(workflow: Entry) -> tuple[str, ...]:
    last = workflow.get("lastRun")
    ran = f"{_minute(last['startTime'])} ({last['status']})" if last else ""
    return workflow["name"], workflow["state"], _minute(workflow.get("nextRun") or ""), ran


def _minute(moment: str) -> str:
    return f"{moment[:16].replace('T', ' ')} UTC" if moment else ""


def _job(job: Entry) -> tuple[str, ...]:
    progress = job.get("progress") or ""
    return job["name"], job["status"], job.get("deployment") or "", _shortened(progress)


def _cluster(cluster: Entry) -> tuple[str, ...]:
    states = cluster["nodes"]
    state = cluster.get("state")
    return (
        cluster["name"],
        ", ".join(f"{count} {name}" for name, count in states.items()) or "none",
        f"{cluster['least']} to {cluster['most']}",
        "" if state == "Succeeded" else state or "",
        _shortened(", ".join(cluster["queued"])),
        "; ".join(cluster["errors"]),
    )


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _process(account: Entry) -> tuple[str, str]:
    if account["pid"] is None:
        return "starts when needed", ""
    return str(account["pid"]), str(account["port"])


def _name(resource: str) -> str:
    parts = resource.rstrip("/").split("/")
    return f"{parts[-3]}/{parts[-1]}" if parts[-2:-1] == ["deployments"] else parts[-1]


def _section(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    found = list(rows)
    if found:
        yield ""
        yield title
        yield from _table(heads, found)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Aligned columns, without those that are empty in every row."""
    found = [tuple(row) for row in rows]
    columns = [at for at in range(len(heads)) if any(row[at] for row in found)]
    cells = [[line[at] for at in columns] for line in (tuple(heads), *found)] if found else []
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
