"""ARM's error answers, in the two forms clients meet: ARM's own, and that of the Azure ML front end behind it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass
class ArmError(Exception):
    """A refusal.

    Attributes:
        status: HTTP status.
        code: ARM's error code, such as `ResourceNotFound`.
        message: what is wrong, with the value.
        details: further errors, each with `code` and `message`.
        front_end: whether the Azure ML front end answers (it adds `additionalInfo`), not ARM itself.
        headers: further headers of the answer.
    """

    status: int
    code: str
    message: str
    details: Sequence[Mapping[str, Any]] = ()
    front_end: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"({self.code}) {self.message}"

    def body(self, location: str = "eastus") -> dict[str, Any]:
        """The JSON body of the answer."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.details or self.front_end:
            error["details"] = [dict(detail) for detail in self.details]
        if self.front_end:
            error["additionalInfo"] = _additional_info(location)
        return {"error": error}


def _additional_info(location: str) -> list[dict[str, Any]]:
    def info(kind: str, value: Any) -> dict[str, Any]:
        return {"type": kind, "info": {"value": value}}

    correlation = {"operation": secrets.token_hex(16), "request": secrets.token_hex(8)}
    now = datetime.now(UTC).isoformat()
    return [
        info("ComponentName", "managementfrontend"),
        info("Correlation", correlation),
        info("Environment", location),
        info("Location", location),
        info("Time", now),
    ]


def resource_not_found(resource_id: str) -> ArmError:
    """404 for a resource whose parents exist."""
    group = _part(resource_id, "resourceGroups")
    kind = resource_id.partition("/providers/")[2] or resource_id
    return ArmError(404, "ResourceNotFound", f"The Resource '{kind}' under resource group '{group}' was not found.")


def parent_not_found(parent_id: str) -> ArmError:
    """404 for a child of a resource that does not exist."""
    what = parent_id.partition("/providers/")[2] or parent_id
    return ArmError(
        404,
        "ParentResourceNotFound",
        f"Can not perform requested operation on nested resource. Parent resource '{what}' not found.",
    )


def group_not_found(group: str) -> ArmError:
    """404 for anything in a resource group that does not exist."""
    return ArmError(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")


def invalid(message: str, code: str = "InvalidRequestContent") -> ArmError:
    """400 for a body or a name that ARM does not take."""
    return ArmError(400, code, message)


def user_error(status: int, message: str, detail: tuple[str, str] | None = None) -> ArmError:
    """A refusal of the Azure ML front end, whose code is `UserError` whatever the status."""
    details = [{"code": detail[0], "message": detail[1], "details": [], "additionalInfo": []}] if detail else []
    return ArmError(status, "UserError", message, details, front_end=True)


def inference_refusal(message: str, field_name: str = "") -> ArmError:
    """400 of the inference back end: the reason is JSON within a detail's message, as the live service sends it."""
    inner = json.dumps({"errors": {field_name: [message]}, "title": "One or more validation errors occurred."})
    details = [{"code": "InferencingClientCallFailed", "message": inner, "details": [], "additionalInfo": []}]
    return ArmError(400, "BadRequest", "The request is invalid.", details, front_end=True)


def conflict(message: str) -> ArmError:
    """409 for a write while another is under way."""
    return ArmError(409, "Conflict", message, front_end=True)


def not_emulated(what: str) -> ArmError:
    """501 for what Local Azure does not do; a client does not retry it."""
    return ArmError(
        501, "NotImplemented", f"Local Azure does not emulate {what}. See docs/localazure.md for what it does."
    )


def _part(resource_id: str, kind: str) -> str:
    parts = resource_id.split("/")
    folded = [part.lower() for part in parts]
    return parts[folded.index(kind.lower()) + 1] if kind.lower() in folded[:-1] else ""
