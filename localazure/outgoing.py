"""Requests of Local Azure's own parts to hosts that it answers for, by the way that a client's requests come in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
from starlette.types import ASGIApp

from localazure.providers.logic.http_action import Reply, Request, Unreachable

# "Synchronous, outbound request: 120 seconds", of an HTTP action in Consumption.
SECONDS = 120.0


class Outgoing:
    """Sends requests to the control plane, batch endpoints and online endpoints; nothing leaves the machine."""

    def __init__(self, app: ASGIApp, is_own: Callable[[str], bool], upstream: Callable[[str], int | None]) -> None:
        """`app` answers for the hosts of which `is_own` says so; the others are at the port that `upstream` knows."""
        self._app = app
        self._is_own = is_own
        self._upstream = upstream

    def __call__(self, request: Request) -> Reply:
        """Sends a request and waits for the reply. Raises Unreachable."""
        try:
            return asyncio.run(asyncio.wait_for(self._send(request), SECONDS))
        except TimeoutError:
            raise Unreachable(f"{request.url} did not answer within {SECONDS:g} seconds.") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise Unreachable(f"{request.url} cannot be reached: {error or type(error).__name__}.") from None

    async def _send(self, request: Request) -> Reply:
        host = (urlsplit(request.url).hostname or "").lower()
        port = self._upstream(host)
        if port is None:
            raise Unreachable(f"Local Azure does not answer for {host}, and its workflows reach no other host.")
        # Behind the own address is plain HTTP: no certificate to check, and none to load.
        transport = httpx.ASGITransport(app=self._app) if self._is_own(host) else httpx.AsyncHTTPTransport(verify=False)
        url = httpx.URL(request.url)
        if not self._is_own(host):
            url = url.copy_with(scheme="http", host="127.0.0.1", port=port)
        headers = {**request.headers, "Host": host}
        async with httpx.AsyncClient(transport=transport, trust_env=False, timeout=SECONDS) as client:
            answer = await client.request(request.method, url, headers=headers, content=request.body)
        return Reply(answer.status_code, dict(answer.headers), answer.content)
