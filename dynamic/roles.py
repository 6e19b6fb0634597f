"""Waiting until roles are effective.

Azure answers a role assignment at once, and goes by it a minute or two later; until then a deployment that needs the
role fails for good. Nothing that the deployer may ask says when it is effective: so this waits until Azure lists each
assignment, and then until the latest of them has the age at which assignments are effective.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pulumi
from pulumi.dynamic import Resource

from dynamic.base import Pace, Props, WaitingProvider
from dynamic.purge import arm_client

API_VERSION = "2022-04-01"


def wait_until_effective(arm: Any, host: str, assignments: Sequence[str], seconds: float, pace: Pace) -> None:
    """Returns when each assignment, by its ARM id, is there and `seconds` old. Raises `Refusal` when one never is."""
    for assignment in assignments:
        pace.until(
            lambda id_=assignment: _age(arm, host, id_) is not None, f"role assignment {assignment} is not there"
        )
    ages = [_age(arm, host, assignment) for assignment in assignments]
    youngest = min((age for age in ages if age is not None), default=seconds)
    if youngest < seconds:
        pace.sleep(seconds - youngest)


def wait_until_defined(arm: Any, host: str, definition: str, seconds: float, pace: Pace) -> None:
    """Returns when a role definition, by its ARM id, has been found at every asking for `seconds`, and at least twice.

    Raises `Refusal` when it never is.
    """
    found: list[float] = []

    def is_steady() -> bool:
        if _get(arm, host, definition) is None:
            found.clear()
        else:
            found.append(pace.clock())
        return len(found) > 1 and found[-1] - found[0] >= seconds

    pace.until(is_steady, f"role definition {definition} is not there")


def _age(arm: Any, host: str, assignment: str) -> float | None:
    """How many seconds ago Azure made an assignment, by Azure's own clock; None where it is not there yet."""
    answer = _get(arm, host, assignment)
    if answer is None:
        return None
    created = datetime.fromisoformat(answer.json()["properties"]["createdOn"])
    return (_now(answer.headers) - created).total_seconds()


def _get(arm: Any, host: str, resource: str) -> Any | None:
    """What Azure answers for a resource; None where it is not there yet."""
    from azure.core.rest import HttpRequest

    answer = arm.send_request(HttpRequest("GET", f"{host}{resource}", params={"api-version": API_VERSION}))
    if answer.status_code == 404:
        return None
    answer.raise_for_status()
    return answer


def _now(headers: Mapping[str, str]) -> datetime:
    # The clock of this machine may be off by more than what is waited for.
    date = headers.get("Date")
    return parsedate_to_datetime(date) if date else datetime.now(UTC)


class RolesEffectiveProvider(WaitingProvider):
    """Waits on creation, and again when an assignment is another, or was made anew."""

    compared = ("assignments",)

    def name_of(self, props: Props) -> str:
        return "roles/effective"

    def wait(self, props: Props) -> None:
        """Blocks until all assignments are effective."""
        ids = [assignment["id"] for assignment in props["assignments"]]
        host = self.login.cloud.resource_manager
        wait_until_effective(arm_client(self.login), host, ids, float(props["seconds"]), Pace())


class RolesEffective(Resource, module="azureml", name="RolesEffective"):
    """Stands between the roles of an identity and what needs them."""

    def __init__(self, name: str, *, inputs: dict[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(RolesEffectiveProvider(), name, inputs, opts)


class RoleDefinedProvider(WaitingProvider):
    """Waits on creation, and again when the definition is another, or was made anew."""

    compared = ("definition",)

    def name_of(self, props: Props) -> str:
        return "roles/defined"

    def wait(self, props: Props) -> None:
        """Blocks until the definition can be assigned."""
        host, definition = self.login.cloud.resource_manager, props["definition"]["id"]
        wait_until_defined(arm_client(self.login), host, definition, float(props["seconds"]), Pace())


class RoleDefined(Resource, module="azureml", name="RoleDefined"):
    """Stands between a custom role and its assignments."""

    def __init__(self, name: str, *, inputs: dict[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(RoleDefinedProvider(), name, inputs, opts)
