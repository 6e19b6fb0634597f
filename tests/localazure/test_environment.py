"""A shell that has evaluated `env`: unmodified clients in it reach Local Azure and nothing else of Azure."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from localazure.environment import led, shell_lines
from tests.localazure.fake_program import ACCOUNT
from tests.localazure.running import Installation

SHOW = "env | sort | grep -v '^_=' | grep -v '^SHLVL='"
CLIENT = f"""
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient
client = BlobServiceClient("https://{ACCOUNT}.blob.core.windows.net", DefaultAzureCredential(), retry_total=0)
container = client.get_container_client("from-sync")
container.create_container()
container.upload_blob("a", b"content")
print(container.download_blob("a").readall().decode())
"""
AIO_CLIENT = f"""
import asyncio
from azure.identity.aio import DefaultAzureCredential
from azure.storage.blob.aio import BlobServiceClient
async def main():
    credential = DefaultAzureCredential()
    client = BlobServiceClient("https://{ACCOUNT}.blob.core.windows.net", credential, retry_total=0)
    async with credential, client:
        container = client.get_container_client("from-aio")
        await container.create_container()
        await container.upload_blob("a", b"content")
        print((await (await container.download_blob("a")).readall()).decode())
asyncio.run(main())
"""


def variables(printed: str) -> dict[str, str]:
    """What `env` prints, without values of several lines."""
    return dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)


def python(running: Installation, code: str, **extra: str) -> str:
    """What a Python program prints in an evaluated shell."""
    return running.shell('"$PYTHON" -c "$CODE"', CODE=code, **extra)


def test_everything_that_leads_to_local_azure_is_set(running: Installation) -> None:
    found = variables(running.shell(SHOW))
    proxy = f"http://127.0.0.1:{running.status()['ports']['proxy']}"
    assert found["HTTPS_PROXY"] == found["https_proxy"] == proxy
    assert found["NO_PROXY"] == found["no_proxy"] == "127.0.0.1,localhost"
    assert found["REQUESTS_CA_BUNDLE"] == found["CURL_CA_BUNDLE"] == found["SSL_CERT_FILE"]
    assert found["AZURE_TOKEN_CREDENTIALS"] == "ManagedIdentityCredential"
    assert found["ARM_USE_MSI"] == "true"
    assert found["ARM_SUBSCRIPTION_ID"] == "10ca1a2e-0000-4000-8000-000000000001"
    assert found["ARM_TENANT_ID"] == "10ca1a2e-0000-4000-8000-0000000000aa"
    assert found["PULUMI_CONFIG_PASSPHRASE"] == ""
    assert found["PULUMI_BACKEND_URL"] == f"file://{running.home.pulumi_state}"
    assert Path(found["PULUMI_HOME"]).is_dir()
    assert running.home.pulumi_state.is_dir(), "Pulumi's file backend wants its folder to be there"
    assert found["PATH"].split(":")[0] == str(Path(sys.executable).parent)


def test_nobody_acts_as_the_user(running: Installation) -> None:
    found = variables(
        running.shell(
            SHOW,
            AZURE_CLIENT_ID="me",
            AZURE_CLIENT_SECRET="mine",
            ARM_CLIENT_ID="me",
            ARM_CLIENT_SECRET="mine",
            ARM_USE_OIDC="true",
            ARM_SUBSCRIPTION_ID="my-subscription",
            AZURE_AUTHORITY_HOST="login.microsoftonline.us",
            PULUMI_CONFIG_PASSPHRASE_FILE="/my/passphrase",
        )
    )
    assert not {name for name in found if "CLIENT" in name or "OIDC" in name or "AUTHORITY" in name}
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in found
    assert found["ARM_SUBSCRIPTION_ID"].startswith("10ca1a2e")


def test_a_program_is_led_as_a_shell_is(running: Installation) -> None:
    extra = {"ARM_CLIENT_ID": "me", "HTTPS_PROXY": "http://proxy.corp:3128", "KEPT": "yes"}
    shell = variables(running.shell(SHOW, **extra))
    found = led(running.home, {**os.environ, **extra})
    assert found["KEPT"] == "yes"
    assert "ARM_CLIENT_ID" not in found
    names = {name for name in found if name.isupper() and "\n" not in found[name]} - {"OLDPWD", "PWD", "SHLVL"}
    assert {name: found[name] for name in names} == {name: shell[name] for name in names}


def test_evaluating_twice_is_as_once(running: Installation) -> None:
    company = {"HTTPS_PROXY": "http://proxy.corp:3128", "NO_PROXY": ".corp"}
    once = variables(running.shell(SHOW, **company))
    env = 'eval "$("$PYTHON" "$PROGRAM" env --home "$THE_HOME")"'
    twice = variables(running.shell(f"{env}\n{SHOW}", **company))
    assert twice == once
    assert once["LOCALAZURE_OUTER_PROXY"] == "http://proxy.corp:3128", "it is remembered, for what is not Azure"
    assert once["LOCALAZURE_OUTER_NO_PROXY"] == ".corp"


def test_a_companys_certificates_stay_trusted(running: Installation, tmp_path: Path) -> None:
    company = tmp_path / "company.pem"
    company.write_text("-----BEGIN CERTIFICATE-----\nthe company's\n-----END CERTIFICATE-----\n")
    found = variables(running.shell(SHOW, SSL_CERT_FILE=str(company), REQUESTS_CA_BUNDLE="", CURL_CA_BUNDLE=""))
    bundle = Path(found["SSL_CERT_FILE"]).read_text()
    assert "the company's" in bundle
    assert (running.home.ca / "ca.pem").read_text().strip() in bundle


def test_values_are_quoted_for_the_shell() -> None:
    lines = shell_lines({"A": "it's $HOME `x`", "B": ""})
    assert lines.splitlines()[1:] == ["export A='it'\"'\"'s $HOME `x`'", "export B=''"]


def test_curl_reaches_the_control_plane_under_azures_name(running: Installation) -> None:
    answer = running.shell("curl -sS https://management.azure.com/subscriptions?api-version=2020-01-01")
    assert '"url":"https://management.azure.com/subscriptions?api-version=2020-01-01"' in answer


def test_other_azure_hosts_are_refused_with_a_reason(running: Installation) -> None:
    answer = running.shell("curl -sS -v https://westeurope.management.azure.com/ 2>&1 || true")
    assert "403 Local Azure does not serve westeurope.management.azure.com" in answer
    code = (
        "import requests\ntry: requests.get('https://login.microsoftonline.com')\nexcept OSError as error: print(error)"
    )
    assert "Local Azure does not serve login.microsoftonline.com" in python(running, code)


def test_the_unmodified_storage_client_works(running: Installation) -> None:
    assert python(running, CLIENT) == "content\n"


def test_the_unmodified_aio_storage_client_works(running: Installation) -> None:
    pytest.importorskip("aiohttp")
    assert python(running, AIO_CLIENT) == "content\n"


def test_a_client_id_asks_for_that_identity(running: Installation) -> None:
    code = (
        "import jwt\nfrom azure.identity import ManagedIdentityCredential as Credential\n"
        "scope = 'https://management.azure.com/.default'\n"
        "for credential in (Credential(), Credential(client_id='an-identity')):\n"
        "    claims = jwt.decode(credential.get_token(scope).token, options={'verify_signature': False})\n"
        "    print(claims['aud'], claims['appid'] == 'an-identity', claims['oid'])"
    )
    own, other = (line.split() for line in python(running, code).splitlines())
    assert own[:2] == ["https://management.azure.com", "False"]
    assert other[:2] == ["https://management.azure.com", "True"]
    assert own[2] != other[2]


@pytest.mark.parametrize(
    ("header", "query", "status"),
    [
        ("wrong", "api-version=2019-08-01&resource=x", 401),
        ("$IDENTITY_HEADER", "api-version=2017-09-01&resource=x", 400),
        ("$IDENTITY_HEADER", "api-version=2019-08-01", 400),
        ("$IDENTITY_HEADER", "api-version=2019-08-01&resource=x", 200),
    ],
)
def test_tokens_are_for_who_holds_the_secret(running: Installation, header: str, query: str, status: int) -> None:
    ask = f'curl -sS -o /dev/null -w "%{{http_code}}" -H "X-IDENTITY-HEADER: {header}" "$IDENTITY_ENDPOINT?{query}"'
    assert running.shell(ask) == str(status)


@pytest.mark.parametrize("path", ["status", "keys?name=tumor-online", "logs?name=blue", "ping"])
def test_the_admin_routes_want_the_secret_too(running: Installation, path: str) -> None:
    port = running.status()["ports"]["identity"]
    answer = running.shell(f"curl -sS -w ' %{{http_code}}' 'http://127.0.0.1:{port}/admin/{path}'")
    assert answer.endswith(" 401")
    assert "first-key" not in answer


def test_with_local_azure_down_a_client_fails_and_reaches_nothing(installation: Installation) -> None:
    installation.ok("start")
    script = '"$PYTHON" "$PROGRAM" stop --home "$THE_HOME" >/dev/null\n"$PYTHON" -c "$CODE" 2>&1 || true'
    answer = installation.shell(script, CODE=CLIENT)
    assert "content" not in answer
    assert "ManagedIdentityCredential" in answer, "it fails at the token, which only Local Azure gives"


def test_the_daemon_chains_to_the_proxy_that_it_was_started_behind(installation: Installation) -> None:
    async def first_request() -> bytes:
        asked: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def company(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.set_result(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 407 Blocked\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(company, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            await asyncio.to_thread(installation.ok, "start", HTTPS_PROXY=f"http://127.0.0.1:{port}", NO_PROXY="")
            await asyncio.to_thread(installation.shell, "curl -sS https://pypi.invalid/ || true")
            return await asyncio.wait_for(asked, 30)

    assert asyncio.run(first_request()).startswith(b"CONNECT pypi.invalid:443 ")
