"""Tokens: what the issuer signed is accepted, for what it was signed, for as long as it holds."""

from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from localazure.errors import TokenRefused
from localazure.gateway.tokens import TokenIssuer
from localazure.home import Home

TENANT = "10ca1a2e-0000-4000-8000-0000000000aa"
ARM = "https://management.azure.com"


@pytest.fixture
def issuer(home: Home) -> TokenIssuer:
    return TokenIssuer.at(home, TENANT)


def test_a_token_names_its_principal_as_entra_does(issuer: TokenIssuer) -> None:
    claims = issuer.verify(issuer.issue(ARM, object_id="somebody", claims={"appid": "an-app"}), [ARM])
    assert claims["iss"] == f"https://sts.windows.net/{TENANT}/"
    assert (claims["tid"], claims["oid"], claims["sub"], claims["appid"]) == (TENANT, "somebody", "somebody", "an-app")
    assert claims["exp"] - claims["iat"] == timedelta(hours=24).total_seconds()
    assert claims["nbf"] <= claims["iat"]


@pytest.mark.parametrize(("asked", "accepted"), [(ARM, f"{ARM}/"), (f"{ARM}/", ARM)])
def test_a_closing_slash_of_the_audience_does_not_count(issuer: TokenIssuer, asked: str, accepted: str) -> None:
    assert issuer.verify(issuer.issue(asked, object_id="somebody"), [accepted])["aud"] == asked


def test_a_token_for_storage_does_not_open_the_control_plane(issuer: TokenIssuer) -> None:
    token = issuer.issue("https://storage.azure.com", object_id="somebody")
    with pytest.raises(TokenRefused, match=r"(?i)audience") as refused:
        issuer.verify(token, [ARM, "https://ml.azure.com"])
    assert token not in str(refused.value), "messages are logged"


def test_an_expired_token_is_refused(issuer: TokenIssuer) -> None:
    token = issuer.issue(ARM, object_id="somebody", lifetime=timedelta(seconds=-1))
    with pytest.raises(TokenRefused, match="expired"):
        issuer.verify(token, [ARM])


def test_a_token_of_another_key_is_refused(issuer: TokenIssuer) -> None:
    stranger = TokenIssuer(rsa.generate_private_key(public_exponent=65537, key_size=2048), TENANT)
    with pytest.raises(TokenRefused):
        issuer.verify(stranger.issue(ARM, object_id="somebody"), [ARM])


def test_an_unsigned_token_is_refused(issuer: TokenIssuer) -> None:
    claims = issuer.verify(issuer.issue(ARM, object_id="somebody"), [ARM])
    with pytest.raises(TokenRefused):
        issuer.verify(jwt.encode(dict(claims), "", "none"), [ARM])


@pytest.mark.parametrize("token", ["", "x", "a.b.c"])
def test_what_is_no_token_is_refused(issuer: TokenIssuer, token: str) -> None:
    with pytest.raises(TokenRefused):
        issuer.verify(token, [ARM])


def test_tokens_hold_across_restarts(issuer: TokenIssuer, home: Home) -> None:
    token = issuer.issue(ARM, object_id="somebody")
    assert TokenIssuer.at(home, TENANT).verify(token, [ARM])["oid"] == "somebody"


def test_the_published_key_verifies_tokens(issuer: TokenIssuer) -> None:
    token = issuer.issue(ARM, object_id="somebody")
    published = jwt.PyJWKSet.from_dict(issuer.jwks())
    key = published[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, key, ["RS256"], audience=ARM)["oid"] == "somebody", "Envoy checks tokens this way"
    assert "d" not in issuer.jwks()["keys"][0], "the private part stays here"
