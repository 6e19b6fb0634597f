"""Answers for hosts that do not let a caller in, before anybody else is asked."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from xml.sax.saxutils import escape

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from localazure.arm.errors import ArmError
from localazure.providers.reach import Refusal


class Walls:
    """An application behind walls: `refusal` says what a host answers, or None where it lets the caller in.

    Hosts of which `is_free` says so have none.
    """

    def __init__(
        self, app: ASGIApp, refusal: Callable[[str], Refusal | None], is_free: Callable[[str], bool], location: str
    ) -> None:
        self._app, self._refusal, self._is_free, self._location = app, refusal, is_free, location

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = _host(scope) if scope["type"] == "http" else ""
        refusal = None if self._is_free(host) else await run_in_threadpool(self._refusal, host)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        # A client that is still sending would take an early answer for a broken connection.
        message: Message = {"more_body": True}
        while message.get("more_body"):
            message = await receive()
        await _answer(refusal, self._location)(scope, receive, send)


def _host(scope: Scope) -> str:
    named = dict(scope["headers"]).get(b"host", b"")
    return named.decode("latin-1").partition(":")[0].lower()


def _answer(refusal: Refusal, location: str) -> Response:
    request, moment = str(uuid.uuid4()), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")
    # The next request asks the proxy anew: the walls may have another gate by then.
    headers = {"x-ms-request-id": request, "Connection": "close"}
    if not refusal.is_blob:
        body = ArmError(refusal.status, refusal.code, refusal.message, front_end=True).body(location)
        return Response(json.dumps(body), refusal.status, headers, media_type="application/json")
    text = escape(f"{refusal.message}\nRequestId:{request}\nTime:{moment}")
    error = f"<Error><Code>{refusal.code}</Code><Message>{text}</Message></Error>"
    content = f'<?xml version="1.0" encoding="utf-8"?>{error}'
    return Response(content, refusal.status, {**headers, "x-ms-error-code": refusal.code}, media_type="application/xml")
