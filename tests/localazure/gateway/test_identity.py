"""The managed identity's endpoint, asked over HTTP without a daemon around it."""

import asyncio
import uuid
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from localazure.gateway.identity import developer_id, identity_route
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


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"client_id": "known"}, "its-principal"),
        ({"mi_res_id": "known"}, "its-principal"),
        ({}, developer_id(TENANT)),
        ({"client_id": "unknown"}, str(uuid.uuid5(uuid.NAMESPACE_URL, f"{TENANT}/unknown"))),
    ],
)
def test_a_token_is_in_the_name_of_the_identity_that_is_asked_for(
    tmp_path: Path, query: dict[str, str], expected: str
) -> None:
    home = Home.at(tmp_path / "home")
    home.create()
    tokens = TokenIssuer.at(home, TENANT)
    known = {"known": "its-principal"}
    app = Starlette(routes=[identity_route(tokens, "secret", TENANT, principal=known.get)])

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            params = {"api-version": "2019-08-01", "resource": "https://ml.azure.com", **query}
            return await client.get("/msi/token", params=params, headers={"x-identity-header": "secret"})

    token = asyncio.run(ask()).json()["access_token"]
    assert tokens.verify(token, ["https://ml.azure.com"])["oid"] == expected
