"""The forms in which a job is answered: as ARM's job, the scoring host's batch job, and a run of the run history."""

from __future__ import annotations

import json
from typing import Any

from localazure.arm import body as read
from localazure.arm.store import Resource
from localazure.providers.ml.names import BATCH_DEPLOYMENT_TYPE


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


def as_batch_job(job: Resource) -> dict[str, Any]:
    """The form in which the scoring host answers a job."""
    settings = job.hidden["settings"]
    services = {
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
        "retrySettings": settings["retrySettings"],
        "miniBatchSize": settings["miniBatchSize"],
        "errorThreshold": settings["errorThreshold"],
        "outputFileName": settings["outputFileName"],
        "interactionEndpoints": services,
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
    """A run as the run history answers it: the pipeline, or its one child `batchscoring`."""
    status = job.properties["status"]
    error = job.hidden["error"]
    return {
        "runId": job.hidden["child"] if child else job.name,
        "rootRunId": job.name,
        "parentRunId": job.name if child else None,
        "experimentName": job.properties["experimentName"],
        "displayName": "batchscoring" if child else job.properties["displayName"],
        "runType": "azureml.StepRun" if child else "azureml.PipelineRun",
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
