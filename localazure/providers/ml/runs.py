"""The run history of a region: what clients stream a job's state and logs from, and find its outputs by."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import user_error
from localazure.arm.ids import GROUP
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource
from localazure.providers import storage
from localazure.providers.cloud import Cloud
from localazure.providers.common import page
from localazure.providers.ml.endpoints import endpoint_of
from localazure.providers.ml.job_documents import as_batch_job, as_run, is_batch
from localazure.providers.ml.job_logs import EXECUTION_LOG, mirrored
from localazure.providers.ml.job_runner import LOG_CONTAINER, job_folder, log_place, output_uri
from localazure.providers.ml.jobs import FRONT_END
from localazure.providers.ml.names import JOB_TYPE, NAMESPACE, WORKSPACE, guid, workspace_of
from localazure.providers.ml.stored_jobs import NOTE

# The run history, data and front-end services of a region hang the workspace's ARM path below a prefix of their own.
_SCOPE = GROUP + f"/providers/{NAMESPACE}/workspaces/{{workspace}}"
HISTORY = "/history/v1.0" + _SCOPE
DATA = "/data/v1.0" + _SCOPE
_PAGE = 100
JOBS_OF_ENDPOINT = WORKSPACE + "/batchEndpoints/{endpoint}/jobs"
JOBS_OF_DEPLOYMENT = WORKSPACE + "/batchEndpoints/{endpoint}/deployments/{deployment}/jobs"


class Runs:
    """Run history, data references, and the front end's list of a batch endpoint's jobs, on the region's own host."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        return [
            Route.of("GET", HISTORY + "/runs/{job}", self.run),
            Route.of("GET", HISTORY + "/experiments/{experiment}/runs/{job}", self.run),
            Route.of("PATCH", HISTORY + "/runs/{job}", self.modify),
            Route.of("PATCH", HISTORY + "/experiments/{experiment}/runs/{job}", self.modify),
            Route.of("GET", HISTORY + "/runs/{job}/details", self.details),
            Route.of("GET", HISTORY + "/runs/{job}/children", self.children),
            Route.of("POST", HISTORY + "/rundata", self.run_data),
            Route.of("POST", DATA + "/dataversion/batchGetResolvedUris", self.resolve),
            Route.of("GET", FRONT_END + JOBS_OF_ENDPOINT, self.list_of_endpoint),
            Route.of("GET", FRONT_END + JOBS_OF_DEPLOYMENT, self.list_of_endpoint),
        ]

    def _by_run(self, call: Call, name: str) -> tuple[Resource, bool]:
        """The job of a run id, and whether the id is that of its one child."""
        workspace = workspace_of(self._cloud, call)
        found = self._cloud.store.get(f"{workspace.id}/jobs/{name}")
        if found is not None:
            return found, False
        for job in self._cloud.store.below(workspace.id, JOB_TYPE):
            if job.hidden.get("child") == name:
                return job, True
        raise user_error(404, f"Run {name} was not found.")

    def run(self, call: Call) -> Answer:
        """GET of a run."""
        job, child = self._by_run(call, call.params["job"])
        return Answer(200, as_run(job, child))

    def modify(self, call: Call) -> Answer:
        """PATCH of a run: names, tags, properties, and `hidden`, which is how clients archive and restore a job."""
        job, child = self._by_run(call, call.params["job"])
        if child:
            raise user_error(400, f"Run {call.params['job']} is part of job {job.name}; change that.")
        sent = call.json()
        before = job.properties
        changed = {
            "description": read.text(sent, "description") or before["description"],
            "displayName": read.text(sent, "displayName") or before["displayName"],
            "isArchived": read.flag(sent, "hidden", before["isArchived"]),
            "tags": {**before["tags"], **read.strings(sent, "tags")},
            "properties": {**before["properties"], **read.strings(sent, "properties")},
        }
        return Answer(200, as_run(self._cloud.store.put(job.with_properties(**changed)), False))

    def details(self, call: Call) -> Answer:
        """GET of a run's details: its status and the links to its logs."""
        job, child = self._by_run(call, call.params["job"])
        document = as_run(job, child)
        warnings = [] if is_batch(job) else [{"source": "Local Azure", "message": NOTE}]
        links = self._log_links(call, job, child)
        return Answer(200, {**document, "logFiles": links, "warnings": warnings, "runDefinition": None})

    def _log_links(self, call: Call, job: Resource, child: bool) -> dict[str, str]:
        folder = job_folder(self._cloud, job) / "logs"
        workspace = workspace_of(self._cloud, call)
        account = self._cloud.store.get(workspace.properties["storageAccount"])
        if account is None or not is_batch(job) or not folder.is_dir():
            return {}
        blobs = storage.open_blobs(self._cloud, account)
        place = log_place(job)
        names = mirrored(self._cloud, blobs, place, job, folder)
        signature = blobs.sas(LOG_CONTAINER, permissions="r", hours=24).lstrip("?")
        base = f"https://{account.name}.blob.core.windows.net/{LOG_CONTAINER}/{quote(place)}"
        shown = [name for name in names if not (child and name == EXECUTION_LOG)]
        return {name: f"{base}/{quote(name)}?{signature}" for name in shown}

    def children(self, call: Call) -> Answer:
        """GET of a run's children: the one that scores, of a batch job."""
        job, child = self._by_run(call, call.params["job"])
        return Answer(200, {"value": [as_run(job, True)] if is_batch(job) and not child else []})

    def run_data(self, call: Call) -> Answer:
        """POST rundata: a run with its outputs."""
        name = read.text(call.json(), "runId", required=True) or ""
        job, child = self._by_run(call, name)
        document = as_run(job, child)
        workspace = workspace_of(self._cloud, call)
        if child:
            asset = f"azureml://locations/{workspace.document['location']}/workspaces/{guid(workspace)}/data/azureml_{job.hidden['child']}_output_data_score/versions/1"
            document["outputs"] = {"score": {"assetId": asset, "type": "uri_folder"}}
        return Answer(200, {"runMetadata": document, "runDefinition": None, "jobSpecification": None})

    def resolve(self, call: Call) -> Answer:
        """POST batchGetResolvedUris: where the outputs lie."""
        workspace = workspace_of(self._cloud, call)
        values: dict[str, Any] = {}
        for asset in read.sequence(call.json(), "values"):
            found = re.search(r"/data/azureml_([0-9a-f-]{36})_output_data_score/", str(asset))
            jobs = [
                job
                for job in self._cloud.store.below(workspace.id, JOB_TYPE)
                if found and job.hidden.get("child") == found.group(1)
            ]
            if not jobs:
                raise user_error(404, f"The data asset '{asset}' was not found.")
            uri = output_uri(jobs[0])
            values[str(asset)] = {"uri": _long_form(uri, workspace), "type": "UriFolder"}
        return Answer(200, {"values": values})

    def list_of_endpoint(self, call: Call) -> Answer:
        """GET of a batch endpoint's jobs on the front end, newest first."""
        endpoint = endpoint_of(self._cloud, call, "batchEndpoints")
        wanted = (
            f"{endpoint.id}/deployments/{call.params['deployment']}" if "deployment" in call.params else endpoint.id
        )
        workspace = workspace_of(self._cloud, call)
        found = [
            job
            for job in filter(is_batch, self._cloud.store.below(workspace.id, JOB_TYPE))
            if (ids.key(job.hidden["deployment"]) + "/").startswith(ids.key(wanted) + "/")
        ]
        return page(call, call.path, [replace(job, document=as_batch_job(job)) for job in found[::-1]], _PAGE)


def _long_form(uri: str, workspace: Resource) -> str:
    parts = workspace.id.split("/")
    return uri.replace(
        "azureml://datastores/",
        f"azureml://subscriptions/{parts[2]}/resourcegroups/{parts[4]}/workspaces/{workspace.name}/datastores/",
    )
