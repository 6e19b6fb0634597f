"""What online and batch endpoints share: names, one write at a time, and the state that a client sees meanwhile."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import conflict, inference_refusal, user_error
from localazure.arm.routes import Call
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.common import check_name, normal_location
from localazure.providers.ml.names import (
    BATCH_ENDPOINT_TYPE,
    CREATING,
    DELETING,
    ENDPOINT_NAME,
    ENDPOINT_NAME_RULE,
    FAILED,
    ONLINE_ENDPOINT_TYPE,
    SUCCEEDED,
    UPDATING,
    region,
    workspace_above,
    workspace_of,
)

ENDPOINTS_PER_REGION = 100
DEPLOYMENTS_PER_ENDPOINT = 20
BUSY = (CREATING, UPDATING, DELETING)


def check_new_endpoint(cloud: Cloud, resource_id: str, location: str) -> None:
    """Refuses a region that is not the workspace's, and a name that is none or that an endpoint has, online or batch.

    Source: https://learn.microsoft.com/azure/machine-learning/concept-endpoints-online and how-to-manage-quotas.
    """
    name = ids.name(resource_id)
    check_name(name, ENDPOINT_NAME, "endpoint", ENDPOINT_NAME_RULE)
    _check_region(workspace_above(cloud, resource_id), name, location)
    others = cloud.store.of_type(ONLINE_ENDPOINT_TYPE) + cloud.store.of_type(BATCH_ENDPOINT_TYPE)
    others = [each for each in others if not ids.same(each.id, resource_id)]
    for taken in (each for each in others if each.name.lower() == name.lower()):
        # Azure allows one in each region. Here a deployment's processes and files go by the endpoint's name.
        raise user_error(
            409,
            f"There is already an endpoint with this name: '{name}' is taken in region "
            f"'{taken.document['location']}'. Choose another.",
        )
    here = [each for each in others if each.document["location"] == normal_location(location)]
    if len(here) >= ENDPOINTS_PER_REGION:
        raise user_error(
            400,
            f"The subscription has {len(here)} endpoints in region '{location}'; the limit is {ENDPOINTS_PER_REGION}.",
        )


def _check_region(workspace: Resource, name: str, location: str) -> None:
    if normal_location(location) != region(workspace):
        raise user_error(
            400,
            f"The endpoint '{name}' is in location '{location}', but its workspace '{workspace.name}' is in "
            f"'{region(workspace)}': they must be in the same.",
        )


def code_configuration(sent: dict[str, Any]) -> dict[str, Any] | None:
    """A deployment's code and its scoring script, which lies below it. Raises ArmError (400)."""
    where = "properties.codeConfiguration"
    code = read.mapping(sent, "codeConfiguration", "properties")
    if not code:
        return None
    script = read.text(code, "scoringScript", where, required=True) or ""
    path = PurePosixPath(script)
    if not path.name or path.is_absolute() or ".." in path.parts:
        raise user_error(400, f"'{where}.scoringScript' is '{script}'; it must be a path below the code's folder.")
    return {"codeId": read.text(code, "codeId", where, required=True), "scoringScript": script}


def endpoint_of(cloud: Cloud, call: Call, collection: str) -> Resource:
    """The endpoint of a request. Raises ArmError (404)."""
    workspace = workspace_of(cloud, call)
    found = cloud.store.get(f"{workspace.id}/{collection}/{call.params['endpoint']}")
    if found is None:
        detail = ("EndpointNotFound", f"Endpoint {call.params['endpoint']} not found.")
        raise user_error(404, "The specified resource was not found.", detail)
    return found


def deployment_of(cloud: Cloud, call: Call, endpoint: Resource) -> Resource:
    """The deployment of a request. Raises ArmError (404)."""
    found = cloud.store.get(f"{endpoint.id}/deployments/{call.params['deployment']}")
    if found is None:
        detail = (
            "DeploymentNotFound",
            f"Deployment {call.params['deployment']} not found in endpoint {endpoint.name}.",
        )
        raise user_error(404, "The specified resource was not found.", detail)
    return found


def shown(cloud: Cloud, endpoint: Resource) -> dict[str, Any]:
    """What a GET answers: an endpoint is `Updating` while one of its deployments is."""
    if endpoint.state == SUCCEEDED and cloud.store.running(endpoint.id):
        return endpoint.with_properties(provisioningState=UPDATING).document
    return endpoint.document


def refuse_busy(cloud: Cloud, endpoint: Resource, what: str) -> None:
    """One write at a time on an endpoint and all of its deployments. Raises ArmError (409)."""
    state = endpoint.state
    if state in BUSY or cloud.store.running(endpoint.id):
        raise conflict(
            f"Cannot {what} in endpoint {endpoint.name} because it is in "
            f"{state if state in BUSY else UPDATING} provisioning state."
        )


def refuse_broken_endpoint(endpoint: Resource) -> None:
    """A failed first creation of an endpoint is terminal. Raises ArmError (400)."""
    if endpoint.state == FAILED and not endpoint.hidden.get("created"):
        raise inference_refusal(
            "This endpoint has not been created successfully or is in deleting provisioning state. "
            "Please recreate endpoint and then try again to create deployment."
        )


def refuse_broken_deployment(existing: Resource | None) -> None:
    """A failed first creation of a deployment is terminal. Raises ArmError (400)."""
    if existing is not None and existing.state == FAILED and not existing.hidden.get("created"):
        raise inference_refusal(
            f"Specified deployment [{existing.name}] failed during initial provisioning and is in an "
            "unrecoverable state. Delete and re-create."
        )


def check_new_deployment(endpoint: Resource, name: str, others: int) -> None:
    """Refuses a deployment's name that is not one, and one deployment too many. Raises ArmError (400)."""
    check_name(name, ENDPOINT_NAME, "deployment", ENDPOINT_NAME_RULE)
    if others >= DEPLOYMENTS_PER_ENDPOINT:
        raise inference_refusal(
            f"Endpoint {endpoint.name} has {others} deployments; the limit is {DEPLOYMENTS_PER_ENDPOINT}."
        )
