"""Jobs as ARM shows them, and the invocation of a batch endpoint that begins one."""

from __future__ import annotations

import uuid

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, user_error
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.common import page, refuse_unsettled
from localazure.providers.ml.job_documents import as_batch_job, new_job
from localazure.providers.ml.job_request import JobRequest
from localazure.providers.ml.job_runner import ENDED, JobRunner
from localazure.providers.ml.names import BATCH_ENDPOINT_TYPE, JOB_TYPE, WORKSPACE, workspace_above, workspace_of

JOB = WORKSPACE + "/jobs/{job}"
NO_ROUTE = (
    "No valid deployments to route to. Please check that the endpoint has at least one deployment "
    "with positive weight values "
    "or use a deployment specific header to route."
)


class Jobs:
    """Batch jobs, as ARM, the scoring host and the run history show them."""

    def __init__(self, cloud: Cloud, runner: JobRunner) -> None:
        self._cloud = cloud
        self._runner = runner

    # Routes --------------------------------------------------------------------------------------------------

    def routes(self) -> list[Route]:
        """On the ARM host."""
        return [
            Route.of("GET", JOB, lambda call: Answer(200, self._find(call).document)),
            Route.of("GET", JOB.rpartition("/")[0], self.list),
            Route.of("POST", JOB + "/cancel", self.cancel),
            Route.of("DELETE", JOB, self.delete),
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
            raise user_error(404, "The specified resource was not found.", ("JobNotFound", f"Job {name} not found."))
        return found

    def list(self, call: Call) -> Answer:
        """The workspace's jobs, newest first."""
        found = self._cloud.store.below(workspace_of(self._cloud, call).id, JOB_TYPE)
        if kind := call.query.get("jobtype"):
            found = [each for each in found if each.properties["jobType"].lower() == kind.lower()]
        return page(call, call.path, found[::-1], 100)

    def delete(self, call: Call) -> Answer:
        """DELETE: of a job that has ended."""
        job = self._find(call)
        if job.properties["status"] not in ENDED:
            raise user_error(400, f"Job {job.name} is {job.properties['status']}; cancel it first.")
        self._cloud.store.delete(job.id)
        return Answer(202)

    def cancel(self, call: Call) -> Answer:
        """POST cancel: the workers end within a second."""
        job = self._find(call)
        if job.properties["status"] in ENDED:
            return Answer(200)
        self._cloud.store.put(job.with_properties(status="CancelRequested"))
        self._cloud.store.after_commit(lambda: self._runner.cancel(job))
        return Answer(200)

    def cancel_below(self, resource_id: str) -> None:
        """Cancels the running jobs of an endpoint or a deployment."""
        for job in self._cloud.store.of_type(JOB_TYPE):
            of = ids.key(job.hidden["deployment"]) + "/"
            if of.startswith(ids.key(resource_id) + "/") and job.properties["status"] not in ENDED:
                self._runner.cancel(job)

    # Invoke --------------------------------------------------------------------------------------------------

    def invoke(self, call: Call) -> Answer:
        """POST on the scoring host: 201 with a job that is being prepared."""
        endpoint = self._endpoint_of_host(call.host)
        deployment = self._deployment(endpoint, call.headers.get("azureml-model-deployment"))
        workspace = workspace_above(self._cloud, endpoint.id)
        refuse_unsettled(self._cloud, endpoint.id)
        repeat = call.headers.get("repeatability_request-id")
        if repeat and (job := self._repeated(workspace, repeat)):
            return Answer(201, as_batch_job(job))
        asked = JobRequest.of(deployment.properties, read.mapping(call.json(), "properties"))
        if self._cloud.store.get(f"{workspace.id}/jobs/{asked.name}"):
            raise user_error(409, f"A job with the name '{asked.name}' already exists.")
        who = str(call.caller.get("oid") or self._cloud.caller)
        job = new_job(asked, workspace, endpoint, deployment, caller=who, repeat=repeat)
        self._cloud.store.put(job)
        self._cloud.store.after_commit(lambda: self._runner.submit(job))
        return Answer(
            201, as_batch_job(job), {"azureml-model-deployment": deployment.name, "x-request-id": str(uuid.uuid4())}
        )

    def _endpoint_of_host(self, host: str) -> Resource:
        for endpoint in self._cloud.store.of_type(BATCH_ENDPOINT_TYPE):
            if endpoint.properties.get("scoringUri") == f"https://{host}/jobs":
                return endpoint
        raise ArmError(404, "NotFound", f"No batch endpoint answers at {host}.")

    def _deployment(self, endpoint: Resource, named: str | None) -> Resource:
        name = named or endpoint.properties["defaults"]["deploymentName"]
        found = self._cloud.store.get(f"{endpoint.id}/deployments/{name}") if name else None
        if found is None or not found.hidden.get("created"):
            raise ArmError(404, "NotFound", NO_ROUTE)
        return found

    def _repeated(self, workspace: Resource, request: str) -> Resource | None:
        # The client sends its request again when the connection broke; it must not run twice.
        found = self._cloud.store.below(workspace.id, JOB_TYPE)
        return next((job for job in found if job.hidden.get("request") == request), None)
