"""The proxy and the bundle in force before Local Azure's: found behind it, given back, used for what is not Azure."""

import base64
from pathlib import Path

import pytest

from localazure.gateway.outer import OuterProxy, outer_bundle, restored

COMPANY = "http://proxy.corp:3128"
EVALUATED = {
    "HTTPS_PROXY": "http://127.0.0.1:5000",
    "https_proxy": "http://127.0.0.1:5000",
    "NO_PROXY": "127.0.0.1,localhost",
    "LOCALAZURE_PROXY": "http://127.0.0.1:5000",
    "LOCALAZURE_OUTER_PROXY": COMPANY,
    "LOCALAZURE_OUTER_NO_PROXY": ".corp",
}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, OuterProxy()),
        ({"HTTPS_PROXY": COMPANY, "NO_PROXY": "a"}, OuterProxy(COMPANY, "a")),
        ({"https_proxy": COMPANY}, OuterProxy(COMPANY)),
        ({"ALL_PROXY": COMPANY}, OuterProxy(COMPANY)),
        ({"HTTP_PROXY": COMPANY}, OuterProxy()),
        (EVALUATED, OuterProxy(COMPANY, ".corp")),
        (EVALUATED | {"LOCALAZURE_OUTER_PROXY": ""}, OuterProxy("", ".corp")),
        # The user has set another since: it is meant.
        (
            EVALUATED | {"https_proxy": "http://new:1", "HTTPS_PROXY": "http://new:1"},
            OuterProxy("http://new:1", "127.0.0.1,localhost"),
        ),
    ],
)
def test_the_proxy_in_force_is_never_our_own(environ: dict[str, str], expected: OuterProxy) -> None:
    assert OuterProxy.of(environ) == expected


@pytest.mark.parametrize(
    ("no_proxy", "host", "applies"),
    [
        ("", "pypi.org", True),
        ("pypi.org", "pypi.org", False),
        ("corp, .pypi.org", "files.pypi.org", False),
        ("*.pypi.org", "files.pypi.org", False),
        ("ypi.org", "pypi.org", True),
        ("*", "pypi.org", False),
    ],
)
def test_exempt_hosts_are_reached_directly(no_proxy: str, host: str, applies: bool) -> None:
    assert OuterProxy(COMPANY, no_proxy).applies_to(host) is applies


def test_credentials_of_the_proxy_are_sent_to_it() -> None:
    request = OuterProxy("http://ada:p%40ss@proxy.corp:3128").connect_request("pypi.org", 443).decode()
    assert request.startswith("CONNECT pypi.org:443 HTTP/1.1\r\n")
    assert base64.b64encode(b"ada:p@ss").decode() in request
    assert request.endswith("\r\n\r\n")


@pytest.mark.parametrize(
    ("url", "address", "secure"),
    [(COMPANY, ("proxy.corp", 3128), False), ("https://p", ("p", 443), True), ("p:8080", ("p", 8080), False)],
)
def test_a_proxys_address_may_be_written_in_several_ways(url: str, address: tuple[str, int], secure: bool) -> None:
    outer = OuterProxy(url)
    assert (outer.address, outer.secure, outer.supported) == (address, secure, True)


def test_socks_is_not_spoken() -> None:
    assert not OuterProxy("socks5://proxy.corp:1080").supported


def test_the_bundle_in_force_is_never_our_own(tmp_path: Path) -> None:
    company, ours = tmp_path / "company.pem", tmp_path / "ours.pem"
    company.touch()
    ours.touch()
    first = {"SSL_CERT_FILE": str(company)}
    assert outer_bundle({}) is None
    assert outer_bundle(first) == company
    second = {
        name: str(ours) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "LOCALAZURE_BUNDLE")
    }
    assert outer_bundle(second | {"LOCALAZURE_OUTER_BUNDLE": str(company)}) == company
    assert outer_bundle(second | {"LOCALAZURE_OUTER_BUNDLE": ""}) is None
    assert outer_bundle({"SSL_CERT_FILE": str(tmp_path / "missing.pem")}) is None


def test_an_environment_is_given_back_as_it_was(tmp_path: Path) -> None:
    company = tmp_path / "company.pem"
    company.touch()
    bundles = {"SSL_CERT_FILE": "/ours.pem", "LOCALAZURE_BUNDLE": "/ours.pem", "LOCALAZURE_OUTER_BUNDLE": str(company)}
    assert restored(EVALUATED | bundles | {"PATH": "/bin"}) == {
        "HTTPS_PROXY": COMPANY,
        "NO_PROXY": ".corp",
        "SSL_CERT_FILE": str(company),
        "PATH": "/bin",
    }


def test_an_environment_that_was_never_changed_stays() -> None:
    before = {"HTTPS_PROXY": COMPANY, "NO_PROXY": "x", "SSL_CERT_FILE": "/company.pem"}
    assert restored(before) == before
