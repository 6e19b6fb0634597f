"""Paths, types and long-operation families of Azure ML, and the look-ups that its types share."""

from __future__ import annotations

import re
from typing import Any

from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid, user_error
from localazure.arm.ids import GROUP, Template
from localazure.arm.operations import Family
from localazure.arm.routes import Call
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.common import require_group

NAMESPACE = "Microsoft.MachineLearningServices"
WORKSPACES = GROUP + "/providers/" + NAMESPACE + "/workspaces"
WORKSPACE = WORKSPACES + "/{workspace}"

WORKSPACE_TYPE = NAMESPACE + "/workspaces"
COMPUTE_TYPE = WORKSPACE_TYPE + "/computes"
DATASTORE_TYPE = WORKSPACE_TYPE + "/datastores"
ONLINE_ENDPOINT_TYPE = WORKSPACE_TYPE + "/onlineEndpoints"
ONLINE_DEPLOYMENT_TYPE = ONLINE_ENDPOINT_TYPE + "/deployments"
BATCH_ENDPOINT_TYPE = WORKSPACE_TYPE + "/batchEndpoints"
BATCH_DEPLOYMENT_TYPE = BATCH_ENDPOINT_TYPE + "/deployments"
JOB_TYPE = WORKSPACE_TYPE + "/jobs"

ONLINE_ENDPOINT_FAMILY = Family(NAMESPACE, "oeidp", "mfeOperationsStatus", "mfeOperationResults", "Updating")
ONLINE_DEPLOYMENT_FAMILY = Family(NAMESPACE, "odidp", "mfeOperationsStatus", "mfeOperationResults", "Updating")
BATCH_ENDPOINT_FAMILY = Family(
    NAMESPACE, "bebes", "mfeOperationsStatus", "mfeOperationResults", "Updating", timed=False
)
BATCH_DEPLOYMENT_FAMILY = Family(
    NAMESPACE, "bdbes", "mfeOperationsStatus", "mfeOperationResults", "Updating", timed=False
)
COMPUTE_FAMILY = Family(
    NAMESPACE, "", "computeOperationsStatus", "", "InProgress", detailed=False, timed=False, timeout=""
)
WORKSPACE_FAMILY = Family(
    NAMESPACE,
    "",
    "workspaceOperationsStatus",
    "workspaceOperationsResult",
    "InProgress",
    detailed=False,
    timed=False,
    timeout="",
)

ENDPOINT_NAME = r"(?=.{3,32}$)[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?"
ENDPOINT_NAME_RULE = (
    "it must be 3 to 32 letters, digits and hyphens, begin with a letter and end with a letter or digit"
)

SUCCEEDED, FAILED, CREATING, UPDATING, DELETING = "Succeeded", "Failed", "Creating", "Updating", "Deleting"
SCALING = "Scaling"


def workspace_of(cloud: Cloud, call: Call) -> Resource:
    """The workspace of a request. Raises ArmError (404)."""
    require_group(cloud, call)
    found = cloud.store.get(Template(WORKSPACE).fill(dict(call.params)))
    if found is None:
        what = f"Microsoft.MachineLearningServices/workspaces/{call.params['workspace']}"
        raise ArmError(
            404,
            "ResourceNotFound",
            f"The Resource '{what}' under resource group '{call.params['group']}' was not found.",
        )
    return found


def workspace_above(cloud: Cloud, resource_id: str) -> Resource:
    """The workspace that a stored resource belongs to."""
    head = re.match(r"(?i)(.*/workspaces/[^/]+)", resource_id)
    found = cloud.store.get(head.group(1)) if head else None
    if found is None:
        raise LookupError(f"{resource_id} has no workspace")
    return found


def is_wanted(cloud: Cloud, resource_id: str) -> bool:
    """Whether a resource is there, and neither it nor anything above it is being deleted."""
    parts = resource_id.strip("/").split("/")
    above = ["/" + "/".join(parts[:count]) for count in range(4, len(parts) + 1, 2)]
    found = [cloud.store.get(each) for each in above]
    return found[-1] is not None and not any(each is not None and each.state == DELETING for each in found)


def guid(workspace: Resource) -> str:
    """The workspace's own GUID, which names its containers and operations."""
    return str(workspace.properties["workspaceId"])


def region(workspace: Resource) -> str:
    """Where the workspace is; everything below it is there too."""
    return str(workspace.document["location"])


def find_asset(cloud: Cloud, workspace: Resource, reference: str, kind: str, field: str) -> Resource:
    """The version that a reference names: an ARM id, `azureml:name:version`, or `azureml:name@latest`.

    An ARM id may end in `/labels/latest`, too: that and `@latest` are the newest version there is now.

    Args:
        kind: `models`, `environments` or `codes`.
        field: the property that holds the reference, for the error.

    Raises:
        ArmError: 400 for a reference of another form or to nothing, 501 for one into a registry.
    """
    if reference.lower().startswith("azureml://registries/") or "/registries/" in reference.lower():
        raise ArmError(
            501,
            "NotImplemented",
            f"Local Azure has no registries; '{field}' is '{reference}'. Register the asset in the workspace.",
        )
    found = cloud.store.get(_asset_id(cloud, workspace, reference, kind))
    if found is None or found.type.lower() != f"{WORKSPACE_TYPE}/{kind}/versions".lower():
        raise user_error(
            400, f"The asset '{reference}' that '{field}' names was not found in workspace '{workspace.name}'."
        )
    return found


def has_label(reference: str) -> bool:
    """Whether a reference names no version, but a label that moves from version to version."""
    return reference.endswith("@latest") or reference.lower().endswith("/labels/latest")


def _asset_id(cloud: Cloud, workspace: Resource, reference: str, kind: str) -> str:
    if reference.startswith("/"):
        return _latest(cloud, reference[: -len("/labels/latest")], kind) if has_label(reference) else reference
    short = re.fullmatch(r"azureml:([^:@/]+)(?::([^:@/]+)|@latest)", reference)
    if short is None:
        raise invalid(
            f"'{reference}' is no reference to an asset: use an ARM id, azureml:<name>:<version> or "
            "azureml:<name>@latest.",
            "ValidationError",
        )
    name, version = short.groups()
    container = f"{workspace.id}/{kind}/{name}"
    return f"{container}/versions/{version}" if version else _latest(cloud, container, kind)


def _latest(cloud: Cloud, container: str, kind: str) -> str:
    versions = cloud.store.below(container, f"{WORKSPACE_TYPE}/{kind}/versions")
    # The client's own look-up of a label goes through the list, which shows neither of these.
    shown = [each for each in versions if not (each.properties["isArchived"] or each.properties["isAnonymous"])]
    return f"{container}/versions/{shown[-1].name if shown else 'latest'}"


def front_end_system_data(resource: Resource | None, data: dict[str, Any]) -> dict[str, Any]:
    """The three keys that endpoints and deployments carry."""
    before = (resource.document.get("systemData") if resource else None) or {}
    return {
        "createdAt": before.get("createdAt") or data["createdAt"],
        "createdBy": before.get("createdBy") or data["createdBy"],
        "lastModifiedAt": data["lastModifiedAt"],
    }


def short_name(resource_id: str) -> str:
    """`endpoint/deployment` or `endpoint`, for messages and logs."""
    folded = resource_id.split("/")
    endpoint = (
        ids.segment(resource_id, "onlineEndpoints")
        if "onlineendpoints" in resource_id.lower()
        else ids.segment(resource_id, "batchEndpoints")
    )
    return f"{endpoint}/{folded[-1]}" if "deployments" in [part.lower() for part in folded] else endpoint
