"""The managed identity's endpoint, asked over HTTP without a daemon around it."""

import asyncio
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from localazure.gateway.identity import identity_route
from localazure.gateway.tokens import TokenIssuer
from localazure.home import Home

TENANT = "10ca1a2e-0000-4000-8000-0000000000aa"


@pytest.mark.parametrize(
    ("header", "status"), [(b"secret", 200), (b"wrong", 401), ("sécret".encode(), 401), (b"\xff", 401)]
)
def test_a_secret_of_any_bytes_is_compared_and_refused(tmp_path: Path, header: bytes, status: int) -> None:
    home = Home.at(tmp_path / "home")
    home.create()
    app = Starlette(routes=[identity_route(TokenIssuer.at(home, TENANT), "secret", TENANT)])

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            query = {"api-version": "2019-08-01", "resource": "x"}
            return await client.get("/msi/token", params=query, headers={b"x-identity-header": header})

    assert asyncio.run(ask()).status_code == status
