"""The forms in which a job is answered: as ARM's job, the scoring host's batch job, and a run of the run history."""

from __future__ import annotations

import json
import uuid
from typing import Any

from localazure.arm import body as read
from localazure.arm.store import Resource, now
from localazure.providers.ml.job_request import JobRequest
from localazure.providers.ml.names import BATCH_DEPLOYMENT_TYPE, JOB_TYPE


def new_job(
    asked: JobRequest,
    workspace: Resource,
    endpoint: Resource,
    deployment: Resource,
    *,
    sources: dict[str, str],
    caller: str,
    repeat: str | None,
) -> Resource:
    """A job that has just been asked for, in the form that ARM keeps.

    Args:
        asked: the invocation.
        sources: where each input's files lie.
        repeat: the caller's id of the request.
    """
    moment = now()
    job_id = f"{workspace.id}/jobs/{asked.name}"
    properties = {
        **dict.fromkeys(("description", "identity", "componentId", "jobs", "inputs", "outputs", "sourceJobId")),
        "jobType": "Pipeline",
        "status": "Preparing",
        "displayName": asked.name,
        "experimentName": asked.experiment or endpoint.name,
        "tags": _tags(asked, deployment),
        "properties": {**asked.own, "azureml.parameters": driver_parameters(asked.settings)},
        "services": services(asked.name, workspace),
        "computeId": asked.settings["compute"],
        "isArchived": False,
        "settings": {},
    }
    data = {"createdAt": moment, "createdBy": caller, "createdByType": "Application"}
    document = {"id": job_id, "name": asked.name, "type": JOB_TYPE, "properties": properties, "systemData": data}
    hidden = {
        "deployment": deployment.id,
        "settings": asked.settings,
        "inputs": asked.inputs,
        "sources": sources,
        "output": asked.output.folder,
        "outputs": asked.output.sent,
        # The run of the one child, which the predictions' folder is named after.
        "child": str(uuid.uuid4()),
        "request": repeat,
        "startTime": moment,
        "endTime": None,
        "error": None,
    }
    return Resource(job_id, JOB_TYPE, document, hidden, moment)


def _tags(asked: JobRequest, deployment: Resource) -> dict[str, str]:
    return {
        "azureml.batchrun": "true",
        "azureml.deploymentname": deployment.name,
        "azureml.jobtype": "azureml.batchjob",
        "inputType": ",".join(sorted({each["jobInputType"] for each in asked.inputs.values()})),
        "outputType": next((each["jobOutputType"] for each in (asked.output.sent or {}).values()), "UriFolder"),
    }


def services(name: str, workspace: Resource) -> dict[str, Any]:
    """Where a job is tracked and looked at."""
    host = f"{workspace.document['location']}.api.azureml.ms"
    tenant = workspace.properties["tenantId"]
    return {
        "Tracking": service("Tracking", f"azureml://{host}/mlflow/v1.0{workspace.id}?"),
        "Studio": service("Studio", f"https://ml.azure.com/runs/{name}?wsid={workspace.id}&tid={tenant}"),
    }


def driver_parameters(settings: dict[str, Any]) -> str:
    """The settings of a job as its driver gets them: JSON text of strings."""
    return json.dumps(
        {
            "run_max_try": str(settings["retrySettings"]["maxRetries"]),
            "run_invocation_timeout": str(
                round(read.seconds(settings["retrySettings"]["timeout"], "retrySettings.timeout"))
            ),
            "mini_batch_size": str(settings["miniBatchSize"]),
            "error_threshold": str(settings["errorThreshold"]),
            "append_row_file_name": settings["outputFileName"],
            "NodeCount": str(settings["resources"]["instanceCount"]),
            "process_count_per_node": str(settings["maxConcurrencyPerInstance"]),
            "logging_level": settings["loggingLevel"].upper(),
        }
    )


def service(kind: str, endpoint: str) -> dict[str, Any]:
    """One of a job's services: where it is tracked or looked at."""
    return {
        "jobServiceType": kind,
        "port": None,
        "endpoint": endpoint,
        "status": None,
        "errorMessage": None,
        "properties": None,
    }


def is_batch(job: Resource) -> bool:
    """Whether a batch endpoint began it: those run, and have a child that scores."""
    return "deployment" in job.hidden


def as_batch_job(job: Resource) -> dict[str, Any]:
    """The form in which the scoring host answers a job."""
    settings = job.hidden["settings"]
    links = {
        name: {"jobEndpointType": name, "port": None, "endpoint": each["endpoint"], "properties": None}
        for name, each in job.properties["services"].items()
    }
    properties = {
        "provisioningState": "Succeeded",
        "status": job.properties["status"],
        "name": job.name,
        "description": None,
        "inputData": job.hidden["inputs"],
        "compute": {"target": settings["compute"], "instanceCount": settings["resources"]["instanceCount"]},
        "output": {"datastoreId": None, "path": None},
        **({"outputData": job.hidden["outputs"]} if job.hidden.get("outputs") else {}),
        "retrySettings": settings["retrySettings"],
        "miniBatchSize": settings["miniBatchSize"],
        "errorThreshold": settings["errorThreshold"],
        "outputFileName": settings["outputFileName"],
        "interactionEndpoints": links,
        "tags": job.properties["tags"],
        "properties": job.properties["properties"],
    }
    return {
        "id": f"{job.hidden['deployment']}/jobs/{job.name}",
        "name": job.name,
        "type": BATCH_DEPLOYMENT_TYPE + "/jobs",
        "properties": properties,
        "systemData": job.document["systemData"],
    }


def as_run(job: Resource, child: bool) -> dict[str, Any]:
    """A run as the run history answers it: the job, or the one child `batchscoring` of a batch job."""
    kind = "azureml.PipelineRun" if job.properties["jobType"] == "Pipeline" else "azureml.scriptrun"
    status = job.properties["status"]
    error = job.hidden["error"]
    return {
        "runId": job.hidden["child"] if child else job.name,
        "rootRunId": job.name,
        "parentRunId": job.name if child else None,
        "experimentName": job.properties["experimentName"],
        "displayName": "batchscoring" if child else job.properties["displayName"],
        "runType": "azureml.StepRun" if child else kind,
        "status": status,
        "startTimeUtc": job.hidden["startTime"],
        "endTimeUtc": job.hidden["endTime"],
        "createdUtc": job.created,
        "error": {"error": {**error, "severity": None, "details": []}} if error else None,
        "tags": dict(job.properties["tags"]),
        "properties": dict(job.properties["properties"]),
        "inputs": {},
        "outputs": {},
    }
