"""What identities must be allowed to do: those of an endpoint to serve, and those of its callers to score by it.

Identities that the system assigns get these roles by themselves; others need them from whoever made them.
Source: https://learn.microsoft.com/azure/machine-learning/how-to-access-resources-from-endpoints-managed-identities
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

from localazure.arm import ids
from localazure.arm.errors import ArmError
from localazure.arm.operations import OperationFailed
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.identities import ASSIGNMENT_TYPE
from localazure.providers.role_definitions import allows, custom_role
from localazure.providers.roles import BUILT_IN_ROLES

# The first of each is the one to give; the others allow more.
READ_BLOBS = ("Storage Blob Data Reader", "Storage Blob Data Contributor", "Storage Blob Data Owner")
PULL_IMAGES = ("AcrPull", "AcrPush", "Contributor", "Owner")
# Those that allow `…/onlineEndpoints/score/action`, by their definitions:
# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
SCORE = ("AzureML Data Scientist", "Azure AI Developer", "Contributor", "Owner")
# The same ones allow `…/batchEndpoints/jobs/write`, which starts a job:
# https://learn.microsoft.com/azure/machine-learning/how-to-authenticate-batch-endpoint
_BATCH = "Microsoft.MachineLearningServices/workspaces/batchEndpoints"
# Of the actions that Microsoft's page asks for, those that are about the endpoint itself and about its jobs.
START = (f"{_BATCH}/jobs/write", f"{_BATCH}/deployments/jobs/write", f"{_BATCH}/read", f"{_BATCH}/deployments/read")
# What a workspace does with each part of what it stands on; the first role of each is the one to give.
_WORKSPACE_NEEDS = {
    "storageAccount": ("Storage Blob Data Contributor", "Storage Blob Data Owner"),
    "keyVault": ("Key Vault Administrator", "Contributor", "Owner"),
    "containerRegistry": ("Contributor", "Owner", "AcrPush"),
}
_SCORE = ("Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action",)


def require(cloud: Cloud, workspace: Resource, endpoint: Resource) -> None:
    """Each of the endpoint's user-assigned identities may fetch the model, and the image where there is a registry.

    Raises:
        OperationFailed: one has no such role, or has it for too short a time to be effective.
    """
    assigned = (endpoint.document.get("identity") or {}).get("userAssignedIdentities") or {}
    for (identity, known), (scope, roles) in product(assigned.items(), list(_needs(workspace))):
        held = [each for each in _assignments(cloud, known["principalId"], scope) if _role(each) in roles]
        if not held:
            raise _refusal(identity, roles[0], scope, "does not have")
        if not any(_is_effective(cloud, each) for each in held):
            raise _refusal(identity, roles[0], scope, "was given a moment ago, so that it is not effective yet,")


def require_of_workspace(cloud: Cloud, workspace: Resource) -> None:
    """The identity that a workspace works under, where that is a user's, may work with what the workspace stands on.

    Raises:
        OperationFailed: it has no such role, or has it for too short a time to be effective.

    Source: https://learn.microsoft.com/azure/machine-learning/how-to-identity-based-service-authentication (user-
    assigned managed identity).
    """
    identity = cloud.store.get(workspace.properties.get("primaryUserAssignedIdentity") or "/")
    if identity is None:
        return
    for name, roles in _WORKSPACE_NEEDS.items():
        scope = workspace.properties.get(name)
        if not scope:
            continue
        held = _assignments(cloud, identity.properties["principalId"], scope)
        mine = [each for each in held if _role(each) in roles]
        if not any(_is_effective(cloud, each) for each in mine):
            why = "was given a moment ago, so that it is not effective yet," if mine else "does not have"
            raise OperationFailed(
                "AuthorizationFailed",
                f"The identity '{identity.id}', which is the workspace's primaryUserAssignedIdentity, {why} the role "
                f"'{roles[0]}' on '{scope}'. Assign it, wait until it is effective, and create the workspace again.",
            )


def scorers(cloud: Cloud, endpoint_id: str) -> frozenset[str]:
    """The object ids of the identities that may score with a token of their own.

    The one that `localazure env` hands out is the subscription's owner without having been made so.
    """
    held = [each for each in _on(cloud, endpoint_id) if _may(cloud, each, _SCORE) and _is_effective(cloud, each)]
    return frozenset({cloud.caller, *(each["principalId"] for each in held)})


def require_starter(cloud: Cloud, endpoint: Resource, caller: Mapping[str, Any]) -> None:
    """The caller may start jobs on a batch endpoint. Raises ArmError (403)."""
    who = str(caller.get("oid") or cloud.caller)
    held = [each for each in _on(cloud, endpoint.id) if _may(cloud, each, START) and _is_effective(cloud, each)]
    if who not in {cloud.caller, *(each["principalId"] for each in held)}:
        raise ArmError(
            403,
            "AuthorizationFailed",
            f"The client '{caller.get('appid') or who}' with object id '{who}' does not have authorization to perform "
            f"action '{START[0]}' over scope '{endpoint.id}' or the scope is invalid. If access was recently granted, "
            f"please refresh your credentials. The role that allows it is '{SCORE[0]}'.",
        )


def next_scorer_in(cloud: Cloud, endpoint_ids: Sequence[str]) -> float | None:
    """The seconds until another identity may score on one of these endpoints; None where nobody waits for that."""
    held = [each for endpoint in endpoint_ids for each in _on(cloud, endpoint) if _may(cloud, each, _SCORE)]
    waits = [_seconds_until_effective(cloud, each) for each in held if not _is_effective(cloud, each)]
    return min(waits, default=None)


def _needs(workspace: Resource) -> Iterator[tuple[str, Sequence[str]]]:
    if account := workspace.properties.get("storageAccount"):
        yield account, READ_BLOBS
    if registry := workspace.properties.get("containerRegistry"):
        yield registry, PULL_IMAGES


def _assignments(cloud: Cloud, principal: str, scope: str) -> Iterator[dict[str, Any]]:
    return (each for each in _on(cloud, scope) if each["principalId"] == principal.lower())


def _on(cloud: Cloud, scope: str) -> Iterator[dict[str, Any]]:
    """The assignments that hold on a scope: its own and those of what is above it."""
    found = (each.properties for each in cloud.store.of_type(ASSIGNMENT_TYPE))
    return (each for each in found if _covers(each["scope"], scope))


def _covers(above: str, resource_id: str) -> bool:
    return f"{ids.key(resource_id)}/".startswith(f"{ids.key(above)}/")


def _role(assignment: dict[str, Any]) -> str | None:
    return BUILT_IN_ROLES.get(ids.name(assignment["roleDefinitionId"]).lower())


def _may(cloud: Cloud, assignment: dict[str, Any], actions: Sequence[str]) -> bool:
    """Whether a role allows all of these actions: a built-in one by its name, a custom one by what it says."""
    if (built_in := _role(assignment)) is not None:
        return built_in in SCORE
    custom = custom_role(cloud, ids.name(assignment["roleDefinitionId"]))
    return custom is not None and all(allows(custom, action) for action in actions)


def _is_effective(cloud: Cloud, assignment: dict[str, Any]) -> bool:
    return _seconds_until_effective(cloud, assignment) <= 0


def _seconds_until_effective(cloud: Cloud, assignment: dict[str, Any]) -> float:
    since = datetime.now(UTC) - datetime.fromisoformat(assignment["createdOn"])
    return cloud.settings.role_assignment_delay - since / timedelta(seconds=1)


def _refusal(identity: str, role: str, scope: str, why: str) -> OperationFailed:
    return OperationFailed(
        "AuthorizationFailed",
        f"The identity '{identity}' {why} the role '{role}' on '{scope}', which its deployments need. Assign it, wait "
        "until it is effective, then delete the deployment and create it again.",
    )
