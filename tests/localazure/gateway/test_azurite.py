"""Azurite, one for each storage account: with keys, tokens and signatures, across restarts and crashes."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.storage.blob import BlobServiceClient, ContainerClient

from localazure.errors import StartFailed, UnknownName
from localazure.gateway.azurite import AzuriteFleet
from localazure.gateway.ca import CertificateAuthority
from localazure.gateway.tokens import TokenIssuer
from localazure.home import Home
from tests.localazure.running import gone, until

ACCOUNT = "mystore"
KEY = "Zmlyc3Qga2V5IG9mIGEgc3RvcmFnZSBhY2NvdW50IHRoYXQgZG9lcyBub3QgZXhpc3Q="
SECOND_KEY = "c2Vjb25kIGtleSBvZiBhIHN0b3JhZ2UgYWNjb3VudCB0aGF0IGRvZXMgbm90IGV4aXN0"
STORAGE = "https://storage.azure.com"


@pytest.fixture
def fleet(home: Home, authority: CertificateAuthority) -> Iterator[AzuriteFleet]:
    fleet = AzuriteFleet(home, authority)
    yield fleet
    fleet.stop()


class Fixed:
    """A credential that has one token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_token(self, *_: str, **__: object) -> AccessToken:
        """The token, good for a day."""
        return AccessToken(self._token, 2**31)


def pid(fleet: AzuriteFleet) -> int:
    (account,) = fleet.status()
    assert isinstance(account["pid"], int)
    return account["pid"]


def test_blobs_are_kept_across_restarts(fleet: AzuriteFleet, home: Home, authority: CertificateAuthority) -> None:
    fleet.ensure(ACCOUNT, KEY)
    fleet.blobs(ACCOUNT).create_container("models")
    (home.path / "upload").mkdir()
    (home.path / "upload/a.txt").write_text("content")
    fleet.blobs(ACCOUNT).upload_folder("models", "v1", home.path / "upload")
    fleet.stop()
    assert fleet.status() == [{"account": ACCOUNT, "pid": None, "port": None}]

    again = AzuriteFleet(home, authority)
    again.register(ACCOUNT, KEY)
    assert again.status()[0]["pid"] is None, "known, but not started before it is needed"
    try:
        assert again.blobs(ACCOUNT).list("models") == ["v1/a.txt"]
    finally:
        again.stop()


def test_blobs_that_were_taken_a_moment_ago_outlive_a_kill(fleet: AzuriteFleet, home: Home) -> None:
    fleet.ensure(ACCOUNT, KEY)
    fleet.blobs(ACCOUNT).create_container("models")
    upload = home.path / "upload"
    upload.mkdir()
    (upload / "a.txt").write_text("content")
    index = home.azurite / ACCOUNT / "__azurite_db_blob__.json"
    waiting = [f"v{number}" for number in range(20)]

    def all_kept() -> bool:
        fleet.blobs(ACCOUNT).upload_folder("models", waiting[0], upload)
        if index.is_file() and f"{waiting[0]}/a.txt" in index.read_text():
            waiting.pop(0)
        return not waiting

    until(all_kept, "each is in the index soon; Azurite by itself writes it every 5 s, which is too slow for all")
    psutil.Process(pid(fleet)).kill()
    until(lambda: fleet.status()[0]["pid"] is None, "the kill is seen")
    assert len(fleet.blobs(ACCOUNT).list("models")) == 20


def test_an_azurite_that_is_told_twice_to_end_still_writes_its_index(fleet: AzuriteFleet) -> None:
    fleet.ensure(ACCOUNT, KEY)
    fleet.blobs(ACCOUNT).create_container("models")
    process = psutil.Process(pid(fleet))
    process.terminate()
    process.terminate()
    process.wait(30)
    until(lambda: fleet.status()[0]["pid"] is None, "its end is seen")
    assert fleet.blobs(ACCOUNT).list("models") == [], "the container is still there"


def test_a_crashed_azurite_is_started_again(fleet: AzuriteFleet) -> None:
    fleet.ensure(ACCOUNT, KEY)
    first = pid(fleet)
    psutil.Process(first).kill()
    until(lambda: fleet.status()[0]["pid"] is None, "the crash is seen")
    fleet.blobs(ACCOUNT).create_container("models")
    assert pid(fleet) != first


def test_one_account_is_started_once_however_many_ask(fleet: AzuriteFleet) -> None:
    ports: list[int] = []
    threads = [threading.Thread(target=lambda: ports.append(fleet.ensure(ACCOUNT, KEY))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ports) == 5
    assert len(set(ports)) == 1


def test_both_keys_open_it_and_a_new_pair_replaces_them(fleet: AzuriteFleet, authority: CertificateAuthority) -> None:
    def containers(key: str) -> list[str]:
        url = f"https://127.0.0.1:{fleet.port(ACCOUNT)}/{ACCOUNT}"
        credential = {"account_name": ACCOUNT, "account_key": key}
        with BlobServiceClient(url, credential, connection_verify=str(authority.certificate), retry_total=0) as client:
            return [container.name for container in client.list_containers()]

    fleet.ensure(ACCOUNT, KEY, SECOND_KEY)
    assert containers(KEY) == containers(SECOND_KEY) == []
    fleet.ensure(ACCOUNT, SECOND_KEY)
    assert containers(SECOND_KEY) == []
    with pytest.raises(ClientAuthenticationError):
        containers(KEY)


def test_a_token_for_storage_opens_it(
    fleet: AzuriteFleet, home: Home, authority: CertificateAuthority, tmp_path: Path
) -> None:
    stranger = Home.at(tmp_path / "another home")
    stranger.create()
    tokens = TokenIssuer.at(home, "a-tenant")
    url = f"https://127.0.0.1:{fleet.ensure(ACCOUNT, KEY)}/{ACCOUNT}"

    def containers(token: str) -> list[str]:
        client = BlobServiceClient(url, Fixed(token), connection_verify=str(authority.certificate), retry_total=0)
        with client:
            return [container.name for container in client.list_containers()]

    assert containers(tokens.issue(STORAGE, object_id="somebody")) == []
    for refused in (
        tokens.issue("https://management.azure.com", object_id="somebody"),
        tokens.issue(STORAGE, object_id="somebody", lifetime=timedelta(minutes=-1)),
        TokenIssuer.at(stranger, "a-tenant").issue(STORAGE, object_id="somebody"),
    ):
        with pytest.raises(HttpResponseError, match=r"authenticat|validation"):
            containers(refused)


def test_a_signature_opens_its_container_only(fleet: AzuriteFleet, authority: CertificateAuthority) -> None:
    port = fleet.ensure(ACCOUNT, KEY)
    blobs = fleet.blobs(ACCOUNT)
    blobs.create_container("open")
    blobs.create_container("closed")
    signature = blobs.sas("open", "rcwl")

    def client(container: str, sas: str) -> ContainerClient:
        url = f"https://127.0.0.1:{port}/{ACCOUNT}/{container}?{sas}"
        return ContainerClient.from_container_url(url, connection_verify=str(authority.certificate), retry_total=0)

    client("open", signature).upload_blob("a", b"content")
    assert blobs.list("open") == ["a"]
    with pytest.raises(HttpResponseError):
        client("closed", signature).upload_blob("a", b"content")
    client("closed", blobs.sas(None, "rcwl")).upload_blob("b", b"content")
    assert blobs.list("closed") == ["b"], "a signature for the account opens every container"


def test_an_account_that_takes_no_keys_says_so_to_keys_and_signatures_and_takes_tokens(
    fleet: AzuriteFleet, home: Home, authority: CertificateAuthority
) -> None:
    port = fleet.ensure(ACCOUNT, SECOND_KEY, keyless=True)
    own = fleet.blobs(ACCOUNT)
    own.create_container("inbox")
    url = f"https://127.0.0.1:{port}/{ACCOUNT}"

    def names(credential: Any, address: str = url) -> list[str]:
        client = BlobServiceClient(address, credential, connection_verify=str(authority.certificate), retry_total=0)
        with client:
            return [container.name for container in client.list_containers()]

    signed = f"{url}?{replace(own, key=KEY).sas(None, 'rl')}"
    for refused in (
        lambda: names({"account_name": ACCOUNT, "account_key": KEY}),
        lambda: names(None, signed),
    ):
        with pytest.raises(HttpResponseError) as caught:
            refused()
        assert caught.value.status_code == 403
        assert "KeyBasedAuthenticationNotPermitted" in str(caught.value)
    assert names(Fixed(TokenIssuer.at(home, "a-tenant").issue(STORAGE, object_id="somebody"))) == ["inbox"]
    assert own.list("inbox") == [], "Local Azure itself goes in by a key that nobody else has"


def test_plain_http_is_not_spoken(fleet: AzuriteFleet) -> None:
    port = fleet.ensure(ACCOUNT, KEY)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/{ACCOUNT}", timeout=5)


def test_a_removed_account_leaves_nothing(fleet: AzuriteFleet, home: Home) -> None:
    fleet.ensure(ACCOUNT, KEY)
    process = psutil.Process(pid(fleet))
    fleet.remove(ACCOUNT)
    assert gone(process)
    assert not (home.azurite / ACCOUNT).exists()
    with pytest.raises(UnknownName, match=ACCOUNT):
        fleet.port(ACCOUNT)
    fleet.remove(ACCOUNT)


def test_a_failing_start_shows_what_azurite_said(fleet: AzuriteFleet, home: Home) -> None:
    home.azurite.mkdir()
    (home.azurite / ACCOUNT).mkdir()
    (home.azurite / ACCOUNT / "__azurite_db_blob__.json").mkdir()
    with pytest.raises(StartFailed, match=rf"{ACCOUNT}(.|\n)*__azurite_db_blob__"):
        fleet.ensure(ACCOUNT, KEY)


def test_it_logs_neither_keys_nor_signatures(fleet: AzuriteFleet, home: Home) -> None:
    fleet.ensure(ACCOUNT, KEY)
    fleet.blobs(ACCOUNT).create_container("models")
    text = (home.logs / f"azurite-{ACCOUNT}.log").read_text()
    assert "successfully listens" in text
    assert KEY not in text
    assert "sig" not in text.replace("sigterm", "")
