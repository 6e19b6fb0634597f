"""A certificate authority of this home's own, and the certificates it signs for Azure's host names."""

import hashlib
import ipaddress
import re
import ssl
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from localazure.gateway.tokens import pem_of
from localazure.home import Home, write_private

# Apple's and OpenSSL's verifiers refuse server certificates that live longer than 398 days.
LEAF_DAYS = 390
CA_DAYS = 3650
RENEW_DAYS = 30
PEM_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class CertificateAuthority:
    """Only those who trust this home's bundle trust it; its key never leaves the home."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()
        self._key, self._certificate = self._kept()

    @property
    def certificate(self) -> Path:
        """The authority's certificate (PEM)."""
        return self._home.ca / "ca.pem"

    def server_context(self, host: str) -> ssl.SSLContext:
        """A TLS context that proves to be `host`, for HTTP/1.1; made once for each host."""
        with self._lock:
            if host not in self._contexts:
                self._contexts[host] = self._new_context(host)
            return self._contexts[host]

    def _new_context(self, host: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # What is piped behind TLS speaks HTTP/1.1, so a client must not choose HTTP/2.
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(*self.leaf(host, [host]))
        return context

    def leaf(self, name: str, hosts: Sequence[str]) -> tuple[Path, Path]:
        """The files of a certificate for `hosts` (names or addresses) and of its key, kept under `name`."""
        folder = self._home.ca / "leaves"
        folder.mkdir(mode=0o700, exist_ok=True)
        # A host name has at most 253 characters, which with a suffix may be too long for a file.
        stem = name if len(name) < 100 else hashlib.sha256(name.encode()).hexdigest()
        certificate, key = folder / f"{stem}.pem", folder / f"{stem}.key"
        if not (key.is_file() and _still_valid(certificate, self._certificate)):
            self._sign(hosts, certificate, key)
        return certificate, key

    def _sign(self, hosts: Sequence[str], certificate: Path, key_file: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        signed = (
            _builder(_name(hosts[0][:64]), self._certificate.subject, key.public_key(), LEAF_DAYS)
            .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(_authority(self._certificate), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        write_private(key_file, pem_of(key))
        write_private(certificate, signed.public_bytes(serialization.Encoding.PEM))

    def _kept(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key_file = self._home.ca / "ca.key"
        if not (key_file.is_file() and _still_valid(self.certificate)):
            self._make(key_file)
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{key_file} holds no EC key")
        return key, x509.load_pem_x509_certificate(self.certificate.read_bytes())

    def _make(self, key_file: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        # The home's mark keeps the authorities of several homes apart: verifiers look them up by name.
        name = _name(f"Local Azure {self._home.id}")
        certificate = (
            _builder(name, name, key.public_key(), CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        write_private(key_file, pem_of(key))
        write_private(self.certificate, certificate.public_bytes(serialization.Encoding.PEM))

    def bundle(self, in_force: Path | None) -> Path:
        """A file that trusts what `in_force` trusts (None: what clients trust by default) and this authority."""
        sources = [in_force] if in_force else _default_bundles()
        # One file for each bundle that it extends: shells with different bundles share a home.
        tag = hashlib.sha256("\n".join(map(str, sources)).encode()).hexdigest()[:12]
        blocks = [block for source in sources for block in PEM_BLOCK.findall(source.read_bytes())]
        content = b"\n".join(dict.fromkeys([*blocks, self.certificate.read_bytes().strip()])) + b"\n"
        file = self._home.ca / f"bundle-{tag}.pem"
        if not file.is_file() or file.read_bytes() != content:
            write_private(file, content)
        return file


def _default_bundles() -> list[Path]:
    # Python's clients trust certifi; curl and Go trust the system's store, where companies add theirs.
    system = ssl.get_default_verify_paths().openssl_cafile
    candidates = [Path(certifi.where()), Path(system), Path("/etc/ssl/certs/ca-certificates.crt")]
    return [path for path in candidates if path.is_file()]


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    # Strict verifiers (Python 3.13) want it, and want it to match the authority's own identifier.
    identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _still_valid(file: Path, issuer: x509.Certificate | None = None) -> bool:
    if not file.is_file():
        return False
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    renew = certificate.not_valid_after_utc - timedelta(days=RENEW_DAYS)
    if issuer is not None and _authority(issuer) not in [extension.value for extension in certificate.extensions]:
        return False
    return datetime.now(UTC) < renew
