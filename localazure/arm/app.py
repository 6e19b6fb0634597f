"""The ASGI application: authenticates, finds the route, runs its handler, and dresses the answer as ARM does."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from localazure.arm.body import require_api_version
from localazure.arm.errors import ArmError, not_emulated
from localazure.arm.routes import Answer, Call, NoBody, Route, Table
from localazure.arm.store import Store
from localazure.arm.weather import Occasion, Weather
from localazure.errors import LocalAzureError

log = logging.getLogger(__name__)

_ALWAYS = {"Cache-Control": "no-cache", "Pragma": "no-cache", "Expires": "-1", "X-Content-Type-Options": "nosniff"}
# A name in a URL may be any text and a header may not; `%` stays, for what is encoded already.
_URLS = {"location", "azure-asyncoperation"}
_URL_SAFE = ":/?&=%$,;@+!()*'-._~#[]"
# Bodies of the front end's operations (the largest is a workspace's template deployment) are far below this.
_LARGEST = 8 * 1024 * 1024


class Dropped(Exception):
    """The connection is to be closed without an answer."""


class Verifier(Protocol):
    """Checks a bearer token; `localazure.gateway.tokens.TokenIssuer` is one."""

    def verify(self, token: str, audiences: Collection[str]) -> Mapping[str, Any]: ...


def create_app(
    table_of: Callable[[str], Table | None],
    *,
    store: Store,
    tokens: Verifier,
    location: str,
    weather: Weather | None = None,
) -> ASGIApp:
    """The control plane as an ASGI application.

    Args:
        table_of: the routes that a host name answers with their audiences, or None for a host that is not served.
        store: every handler that may write runs in one transaction of it.
        tokens: verifies callers.
        location: the region that error bodies name.
        weather: what happens to calls beside being answered.
    """
    return _Service(table_of, store, tokens, location, weather or Weather())


class _Service:
    def __init__(
        self,
        table_of: Callable[[str], Table | None],
        store: Store,
        tokens: Verifier,
        location: str,
        weather: Weather,
    ) -> None:
        self._table_of = table_of
        self._store = store
        self._tokens = tokens
        self._location = location
        self._weather = weather

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            response = await self.answer(Request(scope, receive))
        except Dropped:
            await _hang_up(receive, send)
        else:
            await response(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        """Answers one request; nothing a client sends gets a 5xx but 501."""
        client_request = request.headers.get("x-ms-client-request-id")
        try:
            return _dress(await self._handle(request), client_request)
        except Dropped:
            raise
        except Exception as error:
            refusal = _refusal(request, error)
        headers = {"x-ms-response-type": "error", **refusal.headers}
        return _dress(Answer(refusal.status, refusal.body(self._location), headers), client_request)

    async def _handle(self, request: Request) -> Answer:
        host = request.headers.get("host", "").partition(":")[0].lower()
        table = self._table_of(host)
        if table is None:
            raise not_emulated(f"the host {host}")
        path = request.scope.get("raw_path", b"").partition(b"?")[0].decode("latin-1") or request.url.path
        route, holes, known = table.find(request.method, path)
        if route is None:
            raise _unknown(request.method, path, known)
        caller = {} if route.open else self._authenticate(request, table)
        call = Call(
            request.method,
            host,
            holes,
            {name.lower(): value for name, value in request.query_params.items()},
            {name.lower(): value for name, value in request.headers.items()},
            await _read(request),
            caller,
            route.resource,
        )
        if table.versioned:
            require_api_version(call.query)
        if self._weather.calm:
            return await run_in_threadpool(self._run, route, call)
        return await self._in_weather(route, call, Occasion(call.method, path, f"{route.method} {route.template.text}"))

    def _run(self, route: Route, call: Call) -> Answer:
        if route.slow or route.method in ("GET", "HEAD"):
            return route.handler(call)
        with self._store.transaction():
            return route.handler(call)

    async def _in_weather(self, route: Route, call: Call, occasion: Occasion) -> Answer:
        occasion = replace(occasion, new=await run_in_threadpool(self._store.get, call.path) is None)
        strike = self._weather.call(occasion)
        await asyncio.sleep(strike.seconds)
        fault = strike.fault
        if fault is None or fault.when == "after":
            answer = await run_in_threadpool(self._run_observed, route, call, occasion)
            if fault is None:
                return answer
        raise Dropped if fault.do == "drop" else fault.error()

    def _run_observed(self, route: Route, call: Call, occasion: Occasion) -> Answer:
        with self._weather.during(occasion):
            return self._run(route, call)

    def _authenticate(self, request: Request, table: Table) -> Mapping[str, Any]:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _unauthorized("Authentication failed. The 'Authorization' header is missing.", "AuthenticationFailed")
        try:
            return self._tokens.verify(token.strip(), table.audiences)
        except Exception as error:
            raise _unauthorized(f"The access token is invalid: {error}", "InvalidAuthenticationToken") from None


async def _hang_up(receive: Receive, send: Send) -> None:
    # ASGI has no word for this. Uvicorn's `send` belongs to the cycle of one request, which knows its connection.
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        raise ConnectionResetError("the connection was dropped, as was asked for")
    transport.abort()
    # Until the server has seen it, for it would answer 500 for an application that returns without an answer.
    while (await receive())["type"] != "http.disconnect":
        continue


async def _read(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > _LARGEST:
            raise ArmError(413, "RequestEntityTooLarge", f"The request body is larger than {_LARGEST} bytes.")
        parts.append(part)
    return b"".join(parts)


def _refusal(request: Request, error: Exception) -> ArmError:
    if isinstance(error, ArmError):
        return error
    if isinstance(error, LocalAzureError):
        log.warning("%s %s failed: %s", request.method, request.url.path, error)
        return ArmError(500, "InternalServerError", str(error))
    reference = uuid.uuid4().hex[:8]
    log.error("%s %s failed (reference %s)", request.method, request.url.path, reference, exc_info=error)
    return ArmError(500, "InternalServerError", f"Local Azure failed; its log has the reason under {reference}.")


def _unauthorized(message: str, code: str) -> ArmError:
    challenge = 'Bearer authorization_uri="https://login.microsoftonline.com/common", error="invalid_token"'
    return ArmError(401, code, message, headers={"WWW-Authenticate": challenge})


def _unknown(method: str, path: str, known: bool) -> ArmError:
    return not_emulated(f"{method} on {path}" if known else f"{path} ({method})")


def _dress(answer: Answer, client_request: str | None) -> Response:
    correlation = str(uuid.uuid4())
    headers = {
        **_ALWAYS,
        "x-ms-response-type": "standard",
        "x-ms-correlation-request-id": correlation,
        "x-ms-routing-request-id": f"LOCAL:{correlation}",
        **{
            name: quote(value, safe=_URL_SAFE) if name.lower() in _URLS else value
            for name, value in answer.headers.items()
        },
    }
    if client_request:
        headers["x-ms-request-id"] = correlation
        headers["x-ms-client-request-id"] = client_request
    if isinstance(answer.body, NoBody):
        return Response(b"", answer.status, headers)
    if isinstance(answer.body, str):
        return Response(answer.body, answer.status, headers, media_type="text/plain")
    return Response(json.dumps(answer.body), answer.status, headers, media_type="application/json")
