"""Access tokens: issued to whoever holds the managed identity's secret, and checked by the control plane and Envoy."""

import uuid
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from jwt.types import Options

from localazure.errors import TokenRefused
from localazure.home import Home, write_private

ALGORITHM = "RS256"
LIFETIME = timedelta(hours=24)
# Clocks do not differ on one machine, but a token may be used in the second before the one it was issued in.
EARLIER = timedelta(minutes=5)


class TokenIssuer:
    """Signs tokens as Microsoft Entra ID does (v1.0), with a key that is made once and kept in the home."""

    def __init__(self, key: rsa.RSAPrivateKey, tenant_id: str) -> None:
        self._key = key
        self._tenant = tenant_id
        # Azurite takes this prefix only, and so does every client that checks Entra's v1.0 tokens.
        self.issuer = f"https://sts.windows.net/{tenant_id}/"

    @classmethod
    def at(cls, home: Home, tenant_id: str) -> "TokenIssuer":
        """The issuer of a home that exists; its key is made if there is none."""
        return cls(_kept_key(home.ca / "token-key.pem"), tenant_id)

    def issue(
        self, audience: str, *, object_id: str, lifetime: timedelta = LIFETIME, claims: Mapping[str, Any] | None = None
    ) -> str:
        """A token for `audience`, in the name of the principal `object_id`; `claims` win over the usual ones."""
        now = datetime.now(UTC)
        usual = {
            "aud": audience,
            "iss": self.issuer,
            "iat": now,
            "nbf": now - EARLIER,
            "exp": now + lifetime,
            "tid": self._tenant,
            "oid": object_id,
            "sub": object_id,
            "appid": object_id,
            "idtyp": "app",
            "ver": "1.0",
            "uti": uuid.uuid4().hex,
        }
        return jwt.encode({**usual, **(claims or {})}, self._key, ALGORITHM, headers={"kid": self._key_id})

    def verify(self, token: str, audiences: Collection[str]) -> Mapping[str, Any]:
        """The claims of a token of this issuer for one of `audiences` (a closing slash does not count).

        Raises:
            TokenRefused: it is another's, expired, or for something else; the text says which and holds no token.
        """
        either = {form for audience in audiences for form in (audience.rstrip("/"), f"{audience.rstrip('/')}/")}
        required: Options = {"require": ["exp", "iat", "aud", "iss", "oid"]}
        try:
            return jwt.decode(
                token, self._public, [ALGORITHM], audience=sorted(either), issuer=self.issuer, options=required
            )
        except jwt.InvalidTokenError as error:
            raise TokenRefused(f"The access token is not valid: {error}.") from None

    def jwks(self) -> dict[str, Any]:
        """The public key as a JSON Web Key Set."""
        key = RSAAlgorithm.to_jwk(self._public, as_dict=True)
        return {"keys": [{**key, "use": "sig", "alg": ALGORITHM, "kid": self._key_id}]}

    @cached_property
    def _public(self) -> rsa.RSAPublicKey:
        return self._key.public_key()

    @cached_property
    def _key_id(self) -> str:
        return uuid.uuid5(uuid.NAMESPACE_URL, str(self._public.public_numbers().n)).hex


def public_key(home: Home) -> str:
    """What a home's tokens are checked with, as PEM."""
    public = _kept_key(home.ca / "token-key.pem").public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return public.public_bytes(serialization.Encoding.PEM, form).decode()


def _kept_key(file: Path) -> rsa.RSAPrivateKey:
    if not file.is_file():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        write_private(file, pem_of(key))
        return key
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError(f"{file} holds no RSA key")
    return key


def pem_of(key: Any) -> bytes:
    """A private key as PEM, without a password: the folder and the file are the owner's alone."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
