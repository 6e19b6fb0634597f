"""azure-identity, as it is: the managed identity that `env` hands out, and what its tokens open."""

from __future__ import annotations

import asyncio
import time

import httpx
import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError, DefaultAzureCredential
from azure.identity import ManagedIdentityCredential as Managed
from azure.identity.aio import DefaultAzureCredential as AsyncDefaultAzureCredential

from tests.clients.conftest import Daemon, Place

ARM = "https://management.azure.com"
# Whom clients ask for a token for: ARM by its two names, storage, Azure ML's data plane, key vault.
AUDIENCES = (
    ARM,
    "https://management.core.windows.net/",
    "https://storage.azure.com",
    "https://ml.azure.com",
    "https://vault.azure.net",
)


def claims(token: str) -> dict[str, object]:
    """What a token says; that Local Azure takes it is for the tests that use it."""
    return jwt.decode(token, options={"verify_signature": False})


@pytest.mark.parametrize("audience", AUDIENCES)
@pytest.mark.parametrize("credential", [DefaultAzureCredential, Managed])
def test_a_token_is_for_the_audience_that_was_asked_for(daemon: Daemon, credential: type, audience: str) -> None:
    token = credential().get_token(f"{audience}/.default")
    said = claims(token.token)
    assert said["aud"] == audience, "the client itself takes `/.default` off"
    assert said["iss"] == f"https://sts.windows.net/{daemon.tenant}/"
    assert said["tid"] == daemon.tenant
    assert said["oid"] == said["sub"] == said["appid"]
    assert abs(token.expires_on - int(str(said["exp"]))) <= 1, "what the client believes is what the token says"
    assert int(str(said["nbf"])) <= time.time() < token.expires_on


def test_the_same_identity_gets_the_same_object_id_each_time() -> None:
    first, second = (claims(Managed().get_token(f"{audience}/.default").token) for audience in AUDIENCES[:2])
    assert first["oid"] == second["oid"]
    assert first["uti"] != second["uti"], "two tokens all the same"


def test_a_user_assigned_identity_is_another_principal() -> None:
    own = claims(Managed().get_token(f"{ARM}/.default").token)
    client_id = "6f9a1d53-2a35-4bb5-9d5e-2f2b4ac1c001"
    other = claims(Managed(client_id=client_id).get_token(f"{ARM}/.default").token)
    assert other["appid"] == client_id
    assert other["oid"] != own["oid"]


def test_the_async_credential_gets_tokens_too() -> None:
    async def ask() -> str:
        async with AsyncDefaultAzureCredential() as credential:
            return (await credential.get_token(f"{ARM}/.default")).token

    assert claims(asyncio.run(ask()))["aud"] == ARM


def test_a_token_opens_arm_and_one_for_something_else_does_not(place: Place) -> None:
    def status(audience: str) -> int:
        token = DefaultAzureCredential().get_token(f"{audience}/.default").token
        headers = {"Authorization": f"Bearer {token}"}
        return place.client.get(place.group_id, params={"api-version": "2024-03-01"}, headers=headers).status_code

    assert [status(audience) for audience in AUDIENCES] == [200, 200, 401, 401, 401]


def test_a_token_that_somebody_changed_opens_nothing(place: Place) -> None:
    token = DefaultAzureCredential().get_token(f"{ARM}/.default").token
    forged = jwt.encode(claims(token), "a secret of somebody else's, 32 bytes", "HS256")
    unsigned = jwt.encode(claims(token), "", "none")
    for wrong in (forged, unsigned, token[:-8] + "AAAAAAAA"):
        headers = {"Authorization": f"Bearer {wrong}"}
        answer = place.client.get(place.group_id, params={"api-version": "2024-03-01"}, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"]


@pytest.mark.parametrize("credential", [DefaultAzureCredential, Managed])
def test_the_wrong_secret_is_refused(monkeypatch: pytest.MonkeyPatch, credential: type) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "somebody else's")
    with pytest.raises(ClientAuthenticationError):
        credential().get_token(f"{ARM}/.default")


def test_without_local_azure_the_credential_falls_through_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:9/msi/token")
    with pytest.raises((ClientAuthenticationError, CredentialUnavailableError)):
        DefaultAzureCredential(retry_total=0).get_token(f"{ARM}/.default")


def test_signing_in_at_microsofts_own_door_is_refused_by_the_proxy(daemon: Daemon) -> None:
    with (
        httpx.Client(proxy=daemon.variables["HTTPS_PROXY"], trust_env=False) as client,
        pytest.raises(httpx.ProxyError, match="403"),
    ):
        client.get("https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration")
