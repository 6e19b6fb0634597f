"""Jobs that a client submits itself: checked and kept, listed and canceled, and run by nobody."""

from __future__ import annotations

import re
from typing import Any

from localazure.arm import ids
from localazure.arm.errors import ArmError, user_error
from localazure.arm.store import Resource, now
from localazure.providers.cloud import Cloud
from localazure.providers.ml.job_definitions import CHANGEABLE, definition
from localazure.providers.ml.job_documents import services
from localazure.providers.ml.names import COMPUTE_TYPE, JOB_TYPE, find_asset

NAME = r"[a-zA-Z0-9][a-zA-Z0-9\-_]{0,254}"
NAME_RULE = "up to 255 letters, digits, hyphens and underscores, beginning with a letter or digit"
NOTE = "Local Azure runs batch scoring jobs only: this job is kept as it is and waits for a node that does not come."
# Where a job waits for nodes on Azure too. It never says that it runs, nor that it is done.
WAITING = "Queued"
_UNCHANGED = (
    "A job with this name already exists. If you are trying to submit a new job, use a different name. If you are "
    "trying to update an existing job, only description, tags, displayName, properties, notificationSetting and "
    "isArchived can be updated; this request changes: {changed}."
)


def submitted(cloud: Cloud, workspace: Resource, name: str, sent: dict[str, Any], caller: str) -> Resource:
    """A new job that waits. Raises ArmError (400) for one that is incomplete or names what is not there."""
    job_id = f"{workspace.id}/jobs/{name}"
    own = _complete(definition(sent, "properties"), workspace, name)
    _check_references(cloud, workspace, own)
    moment = now()
    data = {"createdAt": moment, "createdBy": caller, "createdByType": "Application"}
    document = {"id": job_id, "name": name, "type": JOB_TYPE, "properties": own, "systemData": data}
    hidden = {"startTime": None, "endTime": None, "error": None}
    return Resource(job_id, JOB_TYPE, document, hidden, moment)


def resubmitted(workspace: Resource, job: Resource, sent: dict[str, Any]) -> Resource:
    """A job with what a PUT changes of it. Raises ArmError (400) for a change of what it was submitted with."""
    before = job.properties
    kept = {name: sent.get(name) or before.get(name) for name in ("displayName", "services")}
    own = _complete(definition({**sent, **kept}, "properties"), workspace, job.name)
    changed = [
        name
        for name in sorted(own | before)
        if name not in (*CHANGEABLE, "status", "services") and (own.get(name) or None) != (before.get(name) or None)
    ]
    # The service lets properties be added, and none of those there are be changed (`azure.ai.ml`, job operations).
    changed += [
        f"properties.{name}"
        for name, value in before["properties"].items()
        if name in own["properties"] and own["properties"][name] != value
    ]
    if changed:
        raise user_error(400, _UNCHANGED.format(changed=", ".join(changed)))
    new = {name: own[name] for name in CHANGEABLE if name in own}
    return job.with_properties(**{**new, "properties": {**before["properties"], **own["properties"]}})


def _complete(own: dict[str, Any], workspace: Resource, name: str) -> dict[str, Any]:
    """What a submitted job has more than its definition, as recorded."""
    filled = {
        **own,
        "displayName": own["displayName"] or name,
        "services": services(name, workspace),
        "status": WAITING,
    }
    if own["jobType"] == "Command":
        place = f"azureml://datastores/workspaceartifactstore/ExperimentRun/dcid.{name}"
        default = {"description": None, "uri": place, "mode": "ReadWriteMount", "jobOutputType": "uri_folder"}
        filled["outputs"] = {**own["outputs"], "default": own["outputs"].get("default") or default}
        filled["parameters"] = own["parameters"] or {}
    return filled


def _check_references(cloud: Cloud, workspace: Resource, own: dict[str, Any]) -> None:
    """Raises ArmError (400) where a job names code, an environment or a compute that is not in its workspace."""
    for field, kind in (("codeId", "codes"), ("environmentId", "environments")):
        reference = own.get(field)
        if reference and not _is_elsewhere(reference):
            find_asset(cloud, workspace, reference, kind, f"properties.{field}")
    compute = own["computeId"]
    if compute and compute.startswith("/"):
        found = cloud.store.get(compute)
        if found is None or found.type.lower() != COMPUTE_TYPE.lower():
            raise user_error(400, f"'properties.computeId' is '{compute}', which is no compute that exists.")
    check_source(cloud, own.get("sourceJobId"))


def _is_elsewhere(reference: str) -> bool:
    # Curated environments are in a registry of Azure's and show in every workspace; nothing runs with them here.
    name = re.search(r"(?:environments/|azureml:)(AzureML-[^/:@]+)", reference, re.IGNORECASE)
    return bool(name) or "/registries/" in reference.lower()


def check_source(cloud: Cloud, source: str | None) -> None:
    """Raises ArmError (400) for a source job that is not there."""
    found = cloud.store.get(source.removeprefix("azureml:")) if source else None
    if source and (found is None or not ids.same(found.type, JOB_TYPE)):
        raise no_job(source)


def no_job(source: str) -> ArmError:
    """400 for a reference to a job that does not exist."""
    return user_error(400, f"The job '{source}' that 'sourceJobId' names was not found.")
