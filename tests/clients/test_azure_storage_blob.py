"""azure-storage-blob, as it is, on a storage account that ARM made: by key, by signature and by token."""

from __future__ import annotations

import base64
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.identity import DefaultAzureCredential
from azure.storage.blob import (
    AccountSasPermissions,
    BlobBlock,
    BlobServiceClient,
    ContainerClient,
    ContainerSasPermissions,
    ContentSettings,
    LinearRetry,
    ResourceTypes,
    generate_account_sas,
    generate_container_sas,
)

from tests.clients.conftest import Place

SOON = timedelta(hours=1)


def service(place: Place, credential: object) -> BlobServiceClient:
    """The account at its own host name; a refusal is told at once."""
    url = f"https://{place.account}.blob.core.windows.net"
    return BlobServiceClient(url, credential=credential, retry_policy=LinearRetry(retry_total=0))  # pyright: ignore[reportArgumentType]


def by_key(place: Place) -> BlobServiceClient:
    return service(place, place.keys()[0])


def by_second_key(place: Place) -> BlobServiceClient:
    return service(place, place.keys()[1])


def by_signature(place: Place) -> BlobServiceClient:
    whole = ResourceTypes(service=True, container=True, object=True)
    allowed = AccountSasPermissions(read=True, write=True, delete=True, list=True, create=True, add=True)
    return service(
        place, generate_account_sas(place.account, place.keys()[0], whole, allowed, datetime.now(UTC) + SOON)
    )


def by_token(place: Place) -> BlobServiceClient:
    return service(place, DefaultAzureCredential())


DOORS = (by_key, by_second_key, by_signature, by_token)


@pytest.fixture
def container(place: Place) -> Iterator[ContainerClient]:
    """A container of the test's own."""
    made = by_key(place).create_container(f"test-{uuid.uuid4().hex}")
    yield made
    made.delete_container()


@pytest.mark.parametrize("door", DOORS, ids=lambda each: each.__name__)
def test_a_blob_is_made_read_listed_and_deleted(place: Place, door: Callable[[Place], BlobServiceClient]) -> None:
    name = f"test-{uuid.uuid4().hex}"
    container = door(place).create_container(name, metadata={"team": "tumor"})
    assert container.get_container_properties().metadata == {"team": "tumor"}
    settings = ContentSettings(content_type="text/csv", cache_control="no-store")
    written = container.upload_blob("in/box.csv", b"1,2\n", metadata={"rows": "1"}, content_settings=settings)
    container.upload_blob("out/box.csv", b"")

    known = written.get_blob_properties()
    assert (known.name, known.size, known.metadata) == ("in/box.csv", 4, {"rows": "1"})
    assert known.content_settings.content_type == "text/csv"
    assert known.content_settings.cache_control == "no-store"
    assert known.blob_type == "BlockBlob"
    assert written.download_blob().readall() == b"1,2\n"
    assert written.download_blob(offset=2, length=1).readall() == b"2"
    assert [each.name for each in container.list_blobs()] == ["in/box.csv", "out/box.csv"]
    (listed,) = container.list_blobs(name_starts_with="in/", include=["metadata"])
    assert listed.metadata == {"rows": "1"}
    assert [each.name for each in container.walk_blobs()] == ["in/", "out/"]
    assert name in [each.name for each in door(place).list_containers()]

    written.delete_blob()
    with pytest.raises(ResourceNotFoundError) as missing:
        written.download_blob()
    assert "BlobNotFound" in str(missing.value)
    container.delete_container()
    assert not container.exists()


ASYNC = """
import asyncio, sys
from azure.identity.aio import DefaultAzureCredential
from azure.storage.blob.aio import BlobClient

async def write_and_read():
    async with DefaultAzureCredential() as credential, BlobClient(*sys.argv[1:], credential=credential) as blob:
        await blob.upload_blob(b"written")
        return await (await blob.download_blob()).readall()

print(asyncio.run(write_and_read()).decode())
"""


def test_the_async_client_does_the_same(place: Place, container: ContainerClient) -> None:
    where = [f"https://{place.account}.blob.core.windows.net", str(container.container_name), "async"]
    # In a process of its own: aiohttp reads its certificates when it is imported.
    done = subprocess.run([sys.executable, "-c", ASYNC, *where], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "written\n"), done.stderr


def test_a_blob_is_changed_only_by_who_has_seen_it(container: ContainerClient) -> None:
    blob = container.get_blob_client("model.pkl")
    first = blob.upload_blob(b"one")
    with pytest.raises(ResourceExistsError) as exists:
        blob.upload_blob(b"two")
    assert "BlobAlreadyExists" in str(exists.value)
    second = blob.upload_blob(b"two", overwrite=True, etag=first["etag"], match_condition=MatchConditions.IfNotModified)
    assert second["etag"] != first["etag"]
    with pytest.raises(ResourceModifiedError):
        blob.upload_blob(b"late", overwrite=True, etag=first["etag"], match_condition=MatchConditions.IfNotModified)
    assert blob.download_blob().readall() == b"two"
    blob.set_blob_metadata({"upload_status": "completed"})
    known = blob.get_blob_properties()
    assert known.metadata == {"upload_status": "completed"}
    assert known.etag not in (first["etag"], second["etag"])


def test_a_lease_keeps_others_out(container: ContainerClient) -> None:
    blob = container.get_blob_client("state")
    blob.upload_blob(b"mine")
    lease = blob.acquire_lease(15)
    with pytest.raises(HttpResponseError) as refused:
        blob.upload_blob(b"theirs", overwrite=True)
    assert refused.value.status_code == 412
    blob.upload_blob(b"mine still", overwrite=True, lease=lease)
    assert blob.get_blob_properties().lease.state == "leased"
    lease.release()
    blob.upload_blob(b"theirs", overwrite=True)
    assert blob.download_blob().readall() == b"theirs"


def test_a_blob_is_put_together_from_blocks(container: ContainerClient) -> None:
    blob = container.get_blob_client("large")
    parts = [b"a" * 70_000, b"b" * 70_000]
    ids = [base64.b64encode(f"block-{at}".encode()).decode() for at in range(len(parts))]
    for block, part in zip(ids, parts, strict=True):
        blob.stage_block(block, part)
    blob.commit_block_list([BlobBlock(block) for block in ids])
    assert blob.download_blob().readall() == b"".join(parts)
    assert [each.size for each in blob.get_block_list()[0]] == [70_000, 70_000]


def test_a_signature_opens_what_it_says_and_no_more(place: Place, container: ContainerClient) -> None:
    container.upload_blob("seen", b"yes")

    def signed(expiry: datetime) -> ContainerClient:
        allowed = ContainerSasPermissions(read=True, list=True)
        sas = generate_container_sas(
            place.account, str(container.container_name), place.keys()[0], permission=allowed, expiry=expiry
        )
        return service(place, sas).get_container_client(str(container.container_name))

    reader = signed(datetime.now(UTC) + SOON)
    assert reader.download_blob("seen").readall() == b"yes"
    with pytest.raises(HttpResponseError) as refused:
        reader.upload_blob("written", b"no")
    assert refused.value.status_code == 403
    with pytest.raises(HttpResponseError) as late:
        signed(datetime.now(UTC) - SOON).download_blob("seen")
    assert late.value.status_code == 403
    elsewhere = service(place, reader.credential).get_container_client("azureml")
    with pytest.raises(HttpResponseError):
        list(elsewhere.list_blobs())


def test_a_wrong_key_opens_nothing(place: Place) -> None:
    wrong = base64.b64encode(bytes(64)).decode()
    # Azurite's status is 400 where Azure's is 403; to the client both are the same error.
    with pytest.raises(ClientAuthenticationError):
        list(service(place, wrong).list_containers())


def test_nobody_opens_nothing(place: Place) -> None:
    with pytest.raises(HttpResponseError) as refused:
        list(service(place, None).list_containers())
    assert refused.value.status_code in (401, 403, 404, 409)


def test_a_regenerated_key_opens_and_the_old_one_no_more(place: Place) -> None:
    before = place.keys()
    place.send("POST", f"{place.storage_id}/regenerateKey", {"keyName": "key2"}).raise_for_status()
    after = place.keys()
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert list(service(place, after[1]).list_containers())
    with pytest.raises(ClientAuthenticationError):
        list(service(place, before[1]).list_containers())


def test_an_account_that_nobody_made_is_not_there(place: Place) -> None:
    stranger = BlobServiceClient("https://nobodys.blob.core.windows.net", retry_policy=LinearRetry(retry_total=0))
    with pytest.raises(ServiceRequestError, match="nobodys"):
        list(stranger.list_containers())


def test_a_container_that_arm_made_is_there_until_arm_deletes_it(place: Place) -> None:
    name = f"test-{uuid.uuid4().hex}"
    path = f"{place.storage_id}/blobServices/default/containers/{name}"
    place.put(path, {"properties": {"metadata": {"made": "by-arm"}}})
    container = by_key(place).get_container_client(name)
    assert container.exists()
    container.upload_blob("in", b"side")
    assert name in [each.name for each in by_token(place).list_containers()]
    place.send("DELETE", path).raise_for_status()
    assert not container.exists()
    assert place.send("GET", path).status_code == 404


def test_a_workspace_begins_with_the_containers_of_its_datastores(place: Place) -> None:
    there = {each.name for each in by_token(place).list_containers()}
    default = place.get(f"{place.workspace_id}/datastores/workspaceblobstore")["properties"]["containerName"]
    assert {default, "azureml"} <= there
