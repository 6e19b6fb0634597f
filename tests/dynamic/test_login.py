"""Layer: who the dynamic resources are; the same identity that azure-native's settings describe."""

import base64
import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import dill
import pytest
from pulumi.dynamic import ConfigureRequest
from pulumi.dynamic.config import Config
from pulumi.dynamic.dynamic import serialize_provider

from dynamic.base import Pace, Refusal
from dynamic.login import Login
from dynamic.traffic import TrafficSplitProvider


def login(config: dict[str, Any] | None = None, environment: dict[str, str] | None = None) -> Login:
    return Login.read((config or {}).get, environment or {})


@pytest.mark.parametrize(
    ("config", "environment", "method", "credential"),
    [
        ({}, {}, "azure cli", "AzureCliCredential"),
        ({}, {"ARM_USE_MSI": "true"}, "managed identity", "ManagedIdentityCredential"),
        ({"azure-native:useMsi": True}, {}, "managed identity", "ManagedIdentityCredential"),
        (
            {"azure-native:clientId": "c", "azure-native:clientSecret": "s", "azure-native:tenantId": "t"},
            {},
            "secret",
            "ClientSecretCredential",
        ),
        (
            {},
            {"ARM_CLIENT_ID": "c", "ARM_CLIENT_SECRET": "s", "ARM_TENANT_ID": "t", "ARM_USE_OIDC": "true"},
            "secret",
            "ClientSecretCredential",
        ),
        (
            {"azure-native:tenantId": "t", "azure-native:clientId": "c"},
            {"ARM_USE_OIDC": "1", "ARM_OIDC_TOKEN": "x"},
            "oidc",
            "ClientAssertionCredential",
        ),
    ],
)
def test_the_credential_is_the_one_that_azure_native_would_use(
    config: dict[str, Any], environment: dict[str, str], method: str, credential: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_CLIENT_ID", "somebody else")
    who = login(config, environment)
    assert who.method() == method
    assert type(who.credential()).__name__ == credential


def test_the_stack_goes_before_the_environment() -> None:
    who = login({"azure-native:tenantId": "of the stack"}, {"ARM_TENANT_ID": "of the shell"})
    assert who.values["tenantId"] == "of the stack"


def test_a_login_shows_no_secret() -> None:
    assert "hush" not in repr(login({"azure-native:clientSecret": "hush", "azure-native:clientId": "c"}))


def test_an_unknown_cloud_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r'"mars" is not a cloud; use one of public, usgovernment, china'):
        _ = login({"azure-native:environment": "mars"}).cloud
    assert login({"azure-native:environment": "china"}).cloud.authority == "login.chinacloudapi.cn"


def test_the_outer_token_is_given_read_or_asked_for(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" from the file\n")
    assert login({"azure-native:oidcToken": "given"}).assertion() == "given"
    assert login({}, {"ARM_OIDC_TOKEN_FILE_PATH": str(tmp_path / "token")}).assertion() == "from the file"
    with pytest.raises(ValueError, match="useOidc is set without a token"):
        login().assertion()


def test_a_runner_is_asked_for_a_token_for_azure() -> None:
    seen: list[tuple[str, str | None]] = []

    class Runner(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers["Authorization"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"value": "asked for"}).encode())

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Runner) as server:
        Thread(target=server.handle_request, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/token?job=1"
        who = login({}, {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "runner"})
        assert who.assertion() == "asked for"
    assert seen == [("/token?job=1&audience=api://AzureADTokenExchange", "Bearer runner")]


def test_a_provider_is_pickled_by_name_and_without_a_login() -> None:
    provider = TrafficSplitProvider()
    before = serialize_provider(provider)
    assert b"dynamic.traffic" in base64.b64decode(before)
    assert type(dill.loads(base64.b64decode(before))) is TrafficSplitProvider
    assert provider.serialize_as_secret_always is False
    assert serialize_provider(TrafficSplitProvider()) == before, "else every run would change the state"


def test_a_provider_takes_its_login_from_the_stack_when_it_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARM_USE_MSI", raising=False)
    provider = TrafficSplitProvider()
    provider.configure(ConfigureRequest(Config({"azure-native:useMsi": "true"}, "azureml-endpoints")))
    assert provider.login.method() == "managed identity"


def test_waiting_asks_ever_more_slowly_and_never_beyond_its_longest_pause() -> None:
    pauses: list[float] = []
    pace = Pace(timeout=60, sleep=pauses.append, clock=lambda: sum(pauses))
    with pytest.raises(Refusal, match="it is not there after 60 s"):
        pace.until(lambda: False, "it is not there")
    assert pauses == sorted(pauses)
    assert max(pauses) == pace.longest
