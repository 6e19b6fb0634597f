"""Jobs as ARM shows them, and the invocation of a batch endpoint that begins one."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import replace

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, user_error
from localazure.arm.ids import SUBSCRIPTION, Template
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource, now
from localazure.providers.cloud import Cloud
from localazure.providers.common import check_name, page, refuse_unsettled, require_subscription
from localazure.providers.ml.clusters import ENDED, change_job
from localazure.providers.ml.job_definitions import JOB_TYPES
from localazure.providers.ml.job_documents import as_batch_job, is_batch, new_job
from localazure.providers.ml.job_inputs import check_uri, sources
from localazure.providers.ml.job_request import JobRequest
from localazure.providers.ml.job_runner import JobRunner, job_folder
from localazure.providers.ml.names import (
    BATCH_ENDPOINT_TYPE,
    JOB_TYPE,
    NAMESPACE,
    WORKSPACE,
    WORKSPACE_TYPE,
    guid,
    region,
    workspace_above,
    workspace_of,
)
from localazure.providers.ml.permissions import require_starter
from localazure.providers.ml.queries import has_pairs, viewed
from localazure.providers.ml.stored_jobs import NAME, NAME_RULE, resubmitted, submitted
from localazure.serving.envoy_config import NO_DEPLOYMENT

JOB = WORKSPACE + "/jobs/{job}"
_LOCATION = f"{SUBSCRIPTION}/providers/{NAMESPACE}/locations/{{location}}"
# The id of a cancellation is made of the workspace's and the job's names: it can be polled as long as there is a job.
CANCELLATION = _LOCATION + "/mfeOperationResults/jc:{operation}"
_STORED = "jobs are checked and kept, and stay Queued: nothing but batch scoring runs"

_PAGE = 100
REGIONAL = ".api.azureml.ms"
FRONT_END = "/mferp/managementfrontend"
DATA_PLANE_API = "2020-09-01-dataplanepreview"
# The header that names a request which may come twice: as the client spells it, and as the standard does.
REPEAT = ("repeatability_request-id", "repeatability-request-id")


class Jobs:
    """Jobs, as ARM and the scoring host show them: batch jobs, which run, and submitted ones, which are kept."""

    def __init__(self, cloud: Cloud, runner: JobRunner) -> None:
        self._cloud = cloud
        self._runner = runner

    # Routes --------------------------------------------------------------------------------------------------

    def routes(self) -> list[Route]:
        """On the ARM host."""
        return [
            Route.of("PUT", JOB, self.create, simplified=_STORED),
            Route.of("GET", JOB, lambda call: Answer(200, self._find(call).document)),
            Route.of("GET", JOB.rpartition("/")[0], self.list),
            Route.of("POST", JOB + "/cancel", self.cancel),
            Route.of("DELETE", JOB, self.delete),
            Route.of("GET", CANCELLATION, self.poll_cancellation),
        ]

    def scoring_routes(self) -> list[Route]:
        """On a batch endpoint's scoring host."""
        return [Route.of("POST", "/jobs", self.invoke)]

    # ARM -----------------------------------------------------------------------------------------------------

    def _find(self, call: Call) -> Resource:
        return self._named(workspace_of(self._cloud, call), call.params["job"])

    def _named(self, workspace: Resource, name: str) -> Resource:
        found = self._cloud.store.get(f"{workspace.id}/jobs/{name}")
        if found is None:
            raise user_error(404, f"Job {name} not found.")
        return found

    def create(self, call: Call) -> Answer:
        """PUT: a job that waits, or a change of what may change in one that is there."""
        workspace = workspace_of(self._cloud, call)
        name = call.params["job"]
        check_name(name, NAME, "job", NAME_RULE)
        sent = read.mapping(call.json(), "properties", required=True)
        existing = self._cloud.store.get(f"{workspace.id}/jobs/{name}")
        if existing is not None:
            return Answer(200, self._cloud.store.put(resubmitted(workspace, existing, sent)).document)
        caller = str(call.caller.get("oid") or self._cloud.caller)
        job = self._cloud.store.put(submitted(self._cloud, workspace, name, sent, caller))
        link = {"Location": f"https://{call.host}{job.id}?api-version={call.api_version}"}
        return Answer(201, job.with_properties(status="Preparing").document, link)

    def list(self, call: Call) -> Answer:
        """The workspace's jobs, newest first, by type, tag, properties, schedule, and whether they are archived."""
        found = viewed(call, self._cloud.store.below(workspace_of(self._cloud, call).id, JOB_TYPE))
        query = call.query
        if kind := read.choice({"jobType": query.get("jobtype") or None}, "jobType", JOB_TYPES, None):
            found = [each for each in found if each.properties["jobType"] == kind]
        for name, of in (("tag", "tags"), ("properties", "properties")):
            if wanted := query.get(name):
                found = [each for each in found if has_pairs(wanted, each.properties[of])]
        if query.get("scheduled", "").lower() == "true" or query.get("scheduleid"):
            # Schedules of Azure ML, which begin nothing here; a Logic App's call is a caller's like any other.
            found = []
        return page(call, call.path, found[::-1], _PAGE)

    def delete(self, call: Call) -> Answer:
        """DELETE: of a job that has ended; its files go too."""
        workspace = workspace_of(self._cloud, call)
        job = self._cloud.store.get(f"{workspace.id}/jobs/{call.params['job']}")
        if job is None:
            return Answer(204)
        if job.properties["status"] not in ENDED:
            raise user_error(400, f"Job {job.name} is {job.properties['status']}; cancel it first.")
        self._cloud.store.delete(job.id)
        folder = job_folder(self._cloud, job)
        self._cloud.store.after_commit(lambda: shutil.rmtree(folder, ignore_errors=True))
        return Answer(200)

    def cancel(self, call: Call) -> Answer:
        """POST cancel: 202 with a place to poll; the workers of a batch job end within a second."""
        job = self._find(call)
        if job.properties["status"] in ENDED:
            return Answer(200)
        if is_batch(job):
            self._cloud.store.put(job.with_properties(status="CancelRequested"))
            self._cloud.store.after_commit(lambda: self._runner.cancel(job))
        else:
            canceled = job.with_properties(status="Canceled")
            self._cloud.store.put(replace(canceled, hidden={**job.hidden, "endTime": now()}))
        workspace = workspace_above(self._cloud, job.id)
        values = {"location": region(workspace), "operation": f"{guid(workspace)}:{job.name}"}
        return self._canceling(call, Template(CANCELLATION).fill({**call.params, **values}))

    def _canceling(self, call: Call, path: str) -> Answer:
        link = f"https://{call.host}{path}?api-version={call.api_version}"
        wait = str(self._cloud.settings.operation_retry_after_ms)
        headers = {"Location": link, "retry-after-ms": wait, "x-ms-async-operation-timeout": "PT1H"}
        return Answer(202, {}, headers)

    def poll_cancellation(self, call: Call) -> Answer:
        """GET of a cancellation: 202 until the job has ended, then 200 without a body."""
        require_subscription(self._cloud, call.params["subscription"])
        identifier, _, name = call.params["operation"].partition(":")
        for workspace in self._cloud.store.of_type(WORKSPACE_TYPE):
            job = self._cloud.store.get(f"{workspace.id}/jobs/{name}")
            if guid(workspace) == identifier and job is not None:
                ended = job.properties["status"] in ENDED
                return Answer(200) if ended else self._canceling(call, Template(CANCELLATION).fill(dict(call.params)))
        raise ArmError(404, "OperationNotFound", f"The operation 'jc:{call.params['operation']}' was not found.")

    def cancel_below(self, resource_id: str) -> None:
        """Cancels the running jobs of a workspace that goes."""
        for job in filter(is_batch, self._cloud.store.of_type(JOB_TYPE)):
            of = ids.key(job.hidden["deployment"]) + "/"
            if of.startswith(ids.key(resource_id) + "/") and job.properties["status"] not in ENDED:
                # Written first: a job takes a while to stop, and the next start must not take it up if a kill comes.
                change_job(self._cloud, job.id, "CancelRequested")
                self._runner.cancel(job)

    # Invoke --------------------------------------------------------------------------------------------------

    def invoke(self, call: Call) -> Answer:
        """POST on the scoring host: 201 with a job that is being prepared."""
        endpoint = self._endpoint_of_host(call.host)
        require_starter(self._cloud, endpoint, call.caller)
        deployment = self._deployment(endpoint, call.headers.get("azureml-model-deployment"))
        workspace = workspace_above(self._cloud, endpoint.id)
        refuse_unsettled(self._cloud, endpoint.id)
        repeat = next((call.headers[name] for name in REPEAT if call.headers.get(name)), None)
        job = self._repeated(deployment, repeat) if repeat else None
        if job is None:
            job = self._begin(call, endpoint, deployment, repeat)
        # Recorded: the link names the deployment at the region's front end, not the job.
        link = f"https://{region(workspace)}{REGIONAL}{FRONT_END}{deployment.id}?api-version={DATA_PLANE_API}"
        headers = {"azureml-model-deployment": deployment.name, "x-request-id": str(uuid.uuid4()), "Location": link}
        return Answer(201, as_batch_job(job), headers)

    def _begin(self, call: Call, endpoint: Resource, deployment: Resource, repeat: str | None) -> Resource:
        workspace = workspace_above(self._cloud, endpoint.id)
        asked = JobRequest.of(deployment.properties, call.json())
        if self._cloud.store.get(f"{workspace.id}/jobs/{asked.name}"):
            raise user_error(409, f"A job with the name '{asked.name}' already exists.")
        found = sources(self._cloud, workspace, asked.inputs)
        if asked.output.folder:
            check_uri(self._cloud, workspace, asked.output.folder, "properties.outputData")
        who = str(call.caller.get("oid") or self._cloud.caller)
        job = new_job(asked, workspace, endpoint, deployment, sources=found, caller=who, repeat=repeat)
        self._cloud.store.put(job)
        self._cloud.store.after_commit(lambda: self._runner.submit(job))
        return job

    def _endpoint_of_host(self, host: str) -> Resource:
        for endpoint in self._cloud.store.of_type(BATCH_ENDPOINT_TYPE):
            if endpoint.properties.get("scoringUri") == f"https://{host}/jobs":
                return endpoint
        raise ArmError(404, "NotFound", f"No batch endpoint answers at {host}.")

    def _deployment(self, endpoint: Resource, named: str | None) -> Resource:
        name = named or endpoint.properties["defaults"]["deploymentName"]
        found = self._cloud.store.get(f"{endpoint.id}/deployments/{name}") if name else None
        if found is None or not found.hidden.get("created"):
            raise ArmError(404, "NotFound", NO_DEPLOYMENT)
        return found

    def _repeated(self, deployment: Resource, request: str) -> Resource | None:
        # The client sends its request again when the connection broke; it must not run twice.
        found = self._cloud.store.below(workspace_above(self._cloud, deployment.id).id, JOB_TYPE)
        mine = (job for job in found if job.hidden.get("request") == request)
        return next((job for job in mine if ids.same(job.hidden["deployment"], deployment.id)), None)
