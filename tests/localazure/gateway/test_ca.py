"""The certificate authority: verifiers accept what it signs, and nobody else can sign."""

import socket
import ssl
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from localazure.gateway import ca
from localazure.gateway.ca import CertificateAuthority
from localazure.home import Home

HOST = "management.azure.com"


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> str | None:
    """Shake hands over a pair of sockets; returns the protocol that was agreed on."""
    near, far = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(far, server_side=True).recv(1)
        except OSError:
            far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(near, server_hostname=host) as secure:
            return secure.selected_alpn_protocol()
    finally:
        near.close()
        thread.join()


def strict_client(bundle: Path) -> ssl.SSLContext:
    """A client that checks as Python 3.13 does by default."""
    client = ssl.create_default_context(cafile=str(bundle))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.set_alpn_protocols(["h2", "http/1.1"])
    return client


def test_a_strict_verifier_accepts_a_served_host(authority: CertificateAuthority) -> None:
    client = strict_client(authority.certificate)
    agreed = handshake(authority.server_context(HOST), client, HOST)
    assert agreed == "http/1.1", "what is behind the proxy does not speak HTTP/2"


def test_a_certificate_is_for_its_host_only(authority: CertificateAuthority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(authority.server_context(HOST), strict_client(authority.certificate), "login.microsoftonline.com")


def test_the_authority_of_another_home_is_not_trusted(authority: CertificateAuthority, tmp_path: Path) -> None:
    other = Home.at(tmp_path / "other")
    other.create()
    client = strict_client(CertificateAuthority(other).certificate)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(authority.server_context(HOST), client, HOST)


def test_addresses_can_be_certified(authority: CertificateAuthority) -> None:
    certificate, key = authority.leaf("azurite-a", ["a.blob.core.windows.net", "127.0.0.1"])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    handshake(server, strict_client(authority.certificate), "127.0.0.1")


def test_very_long_host_names_can_be_certified(authority: CertificateAuthority) -> None:
    host = f"{'a' * 60}.{'b' * 60}.{'c' * 60}.eastus.inference.ml.azure.com"
    handshake(authority.server_context(host), strict_client(authority.certificate), host)


def test_the_authority_outlives_the_daemon(authority: CertificateAuthority, home: Home) -> None:
    again = CertificateAuthority(home)
    handshake(again.server_context(HOST), strict_client(authority.certificate), HOST)
    assert again.leaf(HOST, [HOST])[0].read_bytes() == authority.leaf(HOST, [HOST])[0].read_bytes()


def test_keys_are_their_owners_alone(authority: CertificateAuthority, home: Home) -> None:
    authority.server_context(HOST)
    keys = [*home.ca.rglob("*.key")]
    assert len(keys) == 2
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_a_certificate_about_to_expire_is_renewed(
    authority: CertificateAuthority, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ca, "LEAF_DAYS", ca.RENEW_DAYS - 1)
    first = authority.leaf(HOST, [HOST])[0].read_bytes()
    monkeypatch.undo()
    renewed = CertificateAuthority(home).leaf(HOST, [HOST])[0].read_bytes()
    assert renewed != first
    days = (x509.load_pem_x509_certificate(renewed).not_valid_after_utc - datetime.now(UTC)).days
    assert ca.RENEW_DAYS < days < 398, "Apple's verifier refuses more"


def test_a_new_authority_signs_everything_anew(authority: CertificateAuthority, home: Home) -> None:
    authority.leaf(HOST, [HOST])
    authority.certificate.unlink()
    renewed = CertificateAuthority(home)
    handshake(renewed.server_context(HOST), strict_client(renewed.certificate), HOST)


def test_a_bundle_trusts_what_was_trusted_and_the_authority(authority: CertificateAuthority, tmp_path: Path) -> None:
    company = Home.at(tmp_path / "company")
    company.create()
    in_force = CertificateAuthority(company).certificate
    bundle = authority.bundle(in_force)
    handshake(authority.server_context(HOST), strict_client(bundle), HOST)
    handshake(CertificateAuthority(company).server_context("pypi.org"), strict_client(bundle), "pypi.org")
    assert authority.bundle(in_force) == bundle, "asked twice, it is the same file"
    assert bundle.read_text().count("BEGIN CERTIFICATE") == 2


def test_without_a_bundle_in_force_the_usual_authorities_are_trusted(authority: CertificateAuthority) -> None:
    assert authority.bundle(None).read_text().count("BEGIN CERTIFICATE") > 50
