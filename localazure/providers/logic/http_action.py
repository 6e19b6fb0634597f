"""HTTP actions: one attempt of one action, in the name of the workflow's identity."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from localazure.arm.store import Resource
from localazure.errors import LocalAzureError
from localazure.providers.cloud import Cloud
from localazure.providers.logic.names import FAILED, SUCCEEDED

Json = dict[str, Any]

# "The default value is https://management.azure.com/", of an HTTP action's `audience`.
_AUDIENCE = "https://management.azure.com"
_RETRIED = (408, 429)
_AGENT = "azure-logic-apps/1.0 (local)"


@dataclass(frozen=True)
class Request:
    """What is sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Unreachable(LocalAzureError):
    """No answer came; the message says why."""


class NoIdentity(LocalAzureError):
    """The workflow has lost the identity that an action asks for."""


Send = Callable[[Request], Reply]
"""Sends a request and waits for the reply. Raises Unreachable."""


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        status, code: as the action shows them, such as `Succeeded` and `Created`.
        error: code and message of a failure.
        outputs: status, headers and body of the reply; empty where none came.
        again: whether another attempt may help, and in how many seconds at the earliest; None where it would not.
    """

    status: str
    code: str
    error: Json | None = None
    outputs: Json = field(default_factory=dict)
    again: float | None = None


def attempt(cloud: Cloud, workflow: Resource, run: str, action: str, inputs: Json, send: Send) -> Outcome:
    """Carries an action out once; `inputs` has its expressions evaluated."""
    try:
        request = _request(cloud, workflow, run, action, inputs)
    except NoIdentity as error:
        code = "InvalidWorkflowManagedIdentitySpecified"
        return Outcome(FAILED, code, {"code": code, "message": str(error)})
    except (TypeError, ValueError) as error:
        # An expression gave an object where a text belongs.
        message = f"The inputs of the action '{action}' make no request: {error}"
        return Outcome(FAILED, "InvalidTemplate", {"code": "InvalidTemplate", "message": message})
    try:
        reply = send(request)
    except Unreachable as error:
        message = f"Http request failed: {error}"
        return Outcome(FAILED, "BadGateway", {"code": "BadGateway", "message": message}, again=0.0)
    return _outcome(reply)


def _request(cloud: Cloud, workflow: Resource, run: str, action: str, inputs: Json) -> Request:
    sent = {name: str(value) for name, value in (inputs.get("headers") or {}).items()}
    body = inputs.get("body")
    headers = {
        "User-Agent": _AGENT,
        "x-ms-workflow-id": workflow.properties["version"],
        "x-ms-workflow-name": workflow.name,
        "x-ms-workflow-run-id": run,
        "x-ms-client-tracking-id": run,
        # After a kill the request is sent again: whoever got it the first time knows it by this.
        "repeatability_request-id": f"{run}:{action}",
        **sent,
    }
    if body is not None and not isinstance(body, str) and "content-type" not in {name.lower() for name in sent}:
        headers["Content-Type"] = "application/json; charset=utf-8"
    if authentication := inputs.get("authentication"):
        headers["Authorization"] = f"Bearer {_token(cloud, workflow, authentication)}"
    url = str(inputs["uri"])
    if queries := inputs.get("queries"):
        url += ("&" if "?" in url else "?") + urlencode(queries)
    content = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return Request(str(inputs["method"]).upper(), url, headers, content)


def _token(cloud: Cloud, workflow: Resource, authentication: Json) -> str:
    has: Json = workflow.document.get("identity") or {}
    named = authentication.get("identity")
    if named:
        users: Json = has.get("userAssignedIdentities") or {}
        found: Json = next((each for name, each in users.items() if name.lower() == named.lower()), {})
    else:
        found = has
    if not found.get("principalId"):
        raise NoIdentity(f"The workflow '{workflow.name}' does not have the identity that the action asks for.")
    claims = {"appid": found["clientId"]} if named else {}
    audience = authentication.get("audience") or _AUDIENCE
    return cloud.tokens.issue(audience, object_id=found["principalId"], claims=claims)


def _outcome(reply: Reply) -> Outcome:
    body = _body(reply)
    outputs: Json = {"statusCode": reply.status, "headers": dict(reply.headers), "body": body}
    code = _code(reply.status)
    if reply.status < 400:
        return Outcome(SUCCEEDED, code, None, outputs)
    error = body.get("error") if isinstance(body, dict) else None
    message = str(error.get("message")) if isinstance(error, dict) else f"The server answered {reply.status}."
    again = _wait(reply) if reply.status in _RETRIED or reply.status >= 500 else None
    return Outcome(FAILED, code, {"code": code, "message": message}, outputs, again)


def _code(status: int) -> str:
    try:
        return HTTPStatus(status).phrase.replace(" ", "").replace("-", "")
    except ValueError:
        return str(status)


def _wait(reply: Reply) -> float:
    said = next((value for name, value in reply.headers.items() if name.lower() == "retry-after"), "")
    return float(said) if said.isdecimal() and len(said) < 6 else 0.0


def _body(reply: Reply) -> Any:
    text = reply.body.decode(errors="replace")
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text
