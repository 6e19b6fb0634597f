"""The managed identity, in the form that App Service gives its apps: tokens for whoever holds the home's secret."""

import hmac
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localazure.gateway.tokens import LIFETIME, TokenIssuer
from localazure.home import Home, write_private

PATH = "/msi/token"
HEADER = "x-identity-header"
API_VERSION = "2019-08-01"
# The query's ways of naming a user-assigned identity.
SELECTORS = ("client_id", "object_id", "principal_id", "mi_res_id")


def kept_secret(home: Home) -> str:
    """The value of IDENTITY_HEADER: made once, so that a shell which evaluated `env` earlier keeps working."""
    file = home.path / "identity-secret"
    if not file.is_file():
        write_private(file, secrets.token_hex(32))
    return file.read_text().strip()


def developer_id(tenant_id: str) -> str:
    """The object id of the identity that `localazure env` hands out."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{tenant_id}/developer"))


def holds(request: Request, secret: str) -> bool:
    """Whether a request carries the secret. A page in a browser cannot send it, for it is not told."""
    # As bytes, for of text it compares ASCII alone.
    return hmac.compare_digest(request.headers.get(HEADER, "").encode(), secret.encode())


def identity_route(
    tokens: TokenIssuer,
    secret: str,
    tenant_id: str,
    lifetime: timedelta = LIFETIME,
    principal: Callable[[str], str | None] = lambda _: None,
) -> Route:
    """`GET /msi/token?api-version=2019-08-01&resource=…`, as `ManagedIdentityCredential` asks it.

    `principal` knows the object id of an identity that a query names; others get one made of their name.

    Source: "How to use managed identities for App Service and Azure Functions", REST endpoint reference.
    """

    def token(request: Request) -> Response:
        if not holds(request, secret):
            return _refusal(
                401, "Unauthorized", "The X-IDENTITY-HEADER is not this Local Azure's: evaluate `env` again."
            )
        query = request.query_params
        if query.get("api-version") != API_VERSION:
            return _refusal(400, "InvalidApiVersion", f"api-version must be {API_VERSION}.")
        if not (resource := query.get("resource")):
            return _refusal(400, "BadRequest", "The query parameter 'resource' is missing.")
        return JSONResponse(
            _answer(tokens, resource, query, _object_id(query), lifetime), headers={"Cache-Control": "no-store"}
        )

    def _object_id(query: Mapping[str, str]) -> str:
        chosen = next((query[name] for name in SELECTORS if query.get(name)), None)
        if chosen is None:
            return developer_id(tenant_id)
        return principal(chosen) or str(uuid.uuid5(uuid.NAMESPACE_URL, f"{tenant_id}/{chosen}"))

    return Route(PATH, token)


def _answer(
    tokens: TokenIssuer, resource: str, query: Mapping[str, str], object_id: str, lifetime: timedelta
) -> dict[str, Any]:
    client_id = query.get("client_id") or object_id
    token = tokens.issue(resource, object_id=object_id, lifetime=lifetime, claims={"appid": client_id})
    return {
        "access_token": token,
        # App Service answers the moment as a string of seconds.
        "expires_on": str(int(time.time() + lifetime.total_seconds())),
        "resource": resource,
        "token_type": "Bearer",
        "client_id": client_id,
    }


def _refusal(status: int, code: str, message: str) -> Response:
    return JSONResponse({"statusCode": status, "code": code, "message": message}, status_code=status)
