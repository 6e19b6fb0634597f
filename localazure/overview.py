"""What the command line shows of a Local Azure: what it holds and runs, and where each thing logs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localazure.arm import ids
from localazure.arm.store import Operation, Resource
from localazure.errors import LocalAzureError, UnknownName
from localazure.providers.cloud import Cloud
from localazure.providers.ml import nodes
from localazure.providers.ml.job_runner import ENDED, job_folder
from localazure.providers.ml.names import (
    BATCH_DEPLOYMENT_TYPE,
    BATCH_ENDPOINT_TYPE,
    COMPUTE_TYPE,
    JOB_TYPE,
    ONLINE_DEPLOYMENT_TYPE,
    ONLINE_ENDPOINT_TYPE,
)

Json = dict[str, Any]

SHOWN_JOBS = 10
# What a deployment's name ends with where its name carries its revision.
_REVISION = re.compile(r"-[0-9a-f]{8}$")
_STAMP = re.compile(r"^\d{4}-\d\d-\d\d [\d:.]+Z (.*)")
# Of a job's logs what is not also in the driver's.
_JOB_LOGS = ("environment.txt", "azureml-logs/*.txt", "logs/user/std*/**/*.txt", "logs/user/error/**/*.txt")


@dataclass(frozen=True)
class _Logger:
    """Something that logs, the names by which it can be asked for, and those that may stand for others too."""

    name: str
    own: frozenset[str]
    shared: frozenset[str]
    answer: Json


class Overview:
    """Looks at the store and at what runs; changes nothing."""

    def __init__(self, cloud: Cloud, workflows: Callable[[], list[Json]] = list) -> None:
        """`workflows` says of each workflow when it runs."""
        self._cloud = cloud
        self._workflows = workflows

    # Status --------------------------------------------------------------------------------------------------

    def status(self) -> Json:
        """Endpoints with their traffic, deployments and processes; workflows; clusters; jobs and what is under way."""
        store = self._cloud.store
        running = {(each["endpoint"], each["deployment"]): each for each in self._cloud.serving.status()}
        jobs = [self._job(each) for each in store.of_type(JOB_TYPE)]
        return {
            "onlineEndpoints": [self._online(each, running) for each in store.of_type(ONLINE_ENDPOINT_TYPE)],
            "batchEndpoints": [self._batch(each) for each in store.of_type(BATCH_ENDPOINT_TYPE)],
            "workflows": self._workflows(),
            "clusters": [nodes.summary(each) for each in filter(nodes.is_cluster, store.of_type(COMPUTE_TYPE))],
            "jobs": [job for job in jobs if job["status"] not in ENDED]
            + [job for job in jobs if job["status"] in ENDED][-SHOWN_JOBS:],
            "operations": [_operation(each) for each in store.running()],
            "storageAccounts": self._cloud.fleet.status(),
        }

    def _online(self, endpoint: Resource, running: Mapping[tuple[str, str], Mapping[str, Any]]) -> Json:
        deployments = [
            _deployment(each, running.get((endpoint.name, each.name), {}))
            for each in self._cloud.store.below(endpoint.id, ONLINE_DEPLOYMENT_TYPE)
        ]
        shown = ("authMode", "scoringUri", "traffic", "mirrorTraffic")
        return {
            "name": endpoint.name,
            "state": endpoint.state,
            **{name: endpoint.properties.get(name) for name in shown},
            "deployments": deployments,
        }

    def _batch(self, endpoint: Resource) -> Json:
        below = self._cloud.store.below(endpoint.id, BATCH_DEPLOYMENT_TYPE)
        return {
            "name": endpoint.name,
            "state": endpoint.state,
            "invokeUri": endpoint.properties.get("scoringUri"),
            "defaultDeployment": (endpoint.properties.get("defaults") or {}).get("deploymentName"),
            "deployments": [{"name": each.name, "state": each.state} for each in below],
        }

    def _job(self, job: Resource) -> Json:
        error = job.hidden.get("error") or {}
        return {
            "name": job.name,
            "status": job.properties["status"],
            "deployment": _deployment_of(job),
            "progress": error.get("message", "").partition("\n")[0] or _progress(job_folder(self._cloud, job)),
            "started": job.created,
        }

    # Logs ----------------------------------------------------------------------------------------------------

    def logs(self, name: str) -> Json:
        """Where a deployment or a job logs.

        A deployment is asked for by its name or `endpoint/deployment`, each with or without the revision, or by its
        endpoint's name where that has only one; a job by its name, or by that of its batch endpoint or deployment.

        Returns:
            `name` in full, `kind`, `files` in the order in which they are read, and `ended`: nothing more comes.

        Raises:
            UnknownName: nothing has this name; the text lists what there is.
            LocalAzureError: several have it; the text lists them.
        """
        loggers = [*self._deployment_loggers(), *self._job_loggers()]
        wanted = name.lower()
        own = [each for each in loggers if wanted in each.own]
        fitting = own or [each for each in loggers if wanted in each.shared]
        if len(fitting) == 1:
            return fitting[0].answer
        if fitting:
            raise LocalAzureError(f"{name!r} fits several: {_names(fitting)}. Name one of them.")
        raise UnknownName(f"Nothing that logs is called {name!r}; there are: {_names(loggers)}.")

    def _deployment_loggers(self) -> Iterator[_Logger]:
        for each in self._cloud.store.of_type(ONLINE_DEPLOYMENT_TYPE):
            endpoint = ids.segment(each.id, "onlineEndpoints")
            own, shared = _spellings(endpoint, each.name)
            server = self._cloud.serving.log_file(endpoint, each.name)
            files = [str(server), str(server.with_name("storage-initializer.log"))]
            name = f"{endpoint}/{each.name}"
            yield _Logger(name, own, shared, {"name": name, "kind": "deployment", "files": files, "ended": False})

    def _job_loggers(self) -> Iterator[_Logger]:
        for each in self._cloud.store.of_type(JOB_TYPE):
            endpoint, _, deployment = _deployment_of(each).partition("/")
            own, shared = _spellings(endpoint, deployment) if endpoint else (frozenset(), frozenset())
            answer = {"name": each.name, "kind": "job", "ended": each.properties["status"] in ENDED}
            answer["files"] = [str(file) for file in _job_files(job_folder(self._cloud, each) / "logs")]
            yield _Logger(each.name, frozenset({each.name.lower()}), own | shared, answer)


def _spellings(endpoint: str, deployment: str) -> tuple[frozenset[str], frozenset[str]]:
    """The names of a deployment that are its own, and those that others may have too."""
    of, full, colour = endpoint.lower(), deployment.lower(), _REVISION.sub("", deployment.lower())
    return frozenset({full, f"{of}/{full}"}), frozenset({colour, f"{of}/{colour}", of})


def _names(loggers: Iterable[_Logger]) -> str:
    # The newest are the likeliest to be meant; a list of a thousand jobs helps nobody.
    names = [each.name for each in loggers]
    more = [f"and {len(names) - 2 * SHOWN_JOBS} older ones"] if len(names) > 2 * SHOWN_JOBS else []
    return ", ".join([*names[-2 * SHOWN_JOBS :], *more]) or "none"


def _deployment(deployment: Resource, running: Mapping[str, Any]) -> Json:
    return {
        "name": deployment.name,
        "state": deployment.state,
        "instances": running.get("instances", []),
        "wanted": (deployment.document.get("sku") or {}).get("capacity"),
        "requests": running.get("requests"),
    }


def _deployment_of(job: Resource) -> str:
    """`endpoint/deployment` of a batch job; empty for any other."""
    deployment = job.hidden.get("deployment")
    return f"{ids.segment(deployment, 'batchEndpoints')}/{ids.name(deployment)}" if deployment else ""


def _operation(operation: Operation) -> Json:
    return {"kind": operation.kind, "resource": operation.resource, "started": operation.started}


def _progress(folder: Path) -> str:
    """The last that a job said of itself; empty before it has."""
    overview = folder / "logs" / "logs" / "job_progress_overview.txt"
    lines = overview.read_text(errors="replace").splitlines() if overview.is_file() else []
    said = [found[1] for line in lines if (found := _STAMP.match(line))]
    return said[-1] if said else ""


def _job_files(folder: Path) -> list[Path]:
    return [file for pattern in _JOB_LOGS for file in sorted(folder.glob(pattern)) if file.is_file()]
