"""What identities must be allowed to do: those of an endpoint to serve, and those of its callers to score.

Identities that the system assigns get these roles by themselves; others need them from whoever made them.
Source: https://learn.microsoft.com/azure/machine-learning/how-to-access-resources-from-endpoints-managed-identities
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

from localazure.arm import ids
from localazure.arm.operations import OperationFailed
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.identities import ASSIGNMENT_TYPE
from localazure.providers.roles import BUILT_IN_ROLES

# The first of each is the one to give; the others allow more.
READ_BLOBS = ("Storage Blob Data Reader", "Storage Blob Data Contributor", "Storage Blob Data Owner")
PULL_IMAGES = ("AcrPull", "AcrPush", "Contributor", "Owner")
# Those that allow `…/onlineEndpoints/score/action`, by their definitions:
# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
SCORE = ("AzureML Data Scientist", "Azure AI Developer", "Contributor", "Owner")


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


def scorers(cloud: Cloud, endpoint_id: str) -> frozenset[str]:
    """The object ids of the identities that may score with a token of their own.

    The one that `localazure env` hands out is the subscription's owner without having been made so.
    """
    held = [each for each in _on(cloud, endpoint_id) if _role(each) in SCORE and _is_effective(cloud, each)]
    return frozenset({cloud.caller, *(each["principalId"] for each in held)})


def next_scorer_in(cloud: Cloud, endpoint_ids: Sequence[str]) -> float | None:
    """The seconds until another identity may score on one of these endpoints; None where nobody waits for that."""
    held = [each for endpoint in endpoint_ids for each in _on(cloud, endpoint) if _role(each) in SCORE]
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
