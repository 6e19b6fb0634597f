"""Blobs in folders: what is uploaded comes back the same, and stays in the folder it was meant for."""

import builtins
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from localazure.blobs import Blobs
from localazure.errors import LocalAzureError
from localazure.gateway.azurite import AzuriteFleet
from localazure.home import Home

KEY = "Zmlyc3Qga2V5IG9mIGEgc3RvcmFnZSBhY2NvdW50IHRoYXQgZG9lcyBub3QgZXhpc3Q="


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Blobs]:
    home = Home.at(tmp_path_factory.mktemp("blobs") / "home")
    home.create()
    fleet = AzuriteFleet(home)
    fleet.ensure("mystore", KEY)
    yield fleet.blobs("mystore")
    fleet.stop()


@pytest.fixture
def container(account: Blobs, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"c{abs(hash(request.node.name))}"
    account.create_container(name)
    yield name
    account.delete_container(name)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "data/deep").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}")
    (folder / "data/deep/größe 1.bin").write_bytes(bytes(range(256)) * 40_000)
    (folder / "empty").touch()
    return folder


def test_a_folder_comes_back_as_it_was(account: Blobs, container: str, model: Path, tmp_path: Path) -> None:
    names = account.upload_folder(container, "LocalUpload/abc/model", model)
    assert names == sorted(account.list(container, "LocalUpload/abc"))
    account.download_prefix(container, "LocalUpload/abc/model", tmp_path / "back")
    assert content(tmp_path / "back") == content(model)


def content(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_single_blob_keeps_its_last_name(account: Blobs, container: str, model: Path, tmp_path: Path) -> None:
    account.upload_folder(container, "up", model)
    files = account.download_prefix(container, "up/MLmodel", tmp_path / "back")
    assert files == [tmp_path / "back/MLmodel"]


def test_a_prefix_is_a_folder_not_a_beginning(account: Blobs, container: str, model: Path, tmp_path: Path) -> None:
    account.upload_folder(container, "model", model)
    account.upload_folder(container, "model2", model)
    files = account.download_prefix(container, "model/", tmp_path / "back")
    assert len(files) == 3, "model2 is another model"


def test_only_what_matches_is_downloaded(account: Blobs, container: str, model: Path, tmp_path: Path) -> None:
    account.upload_folder(container, "up", model)
    files = account.download_prefix(container, "up", tmp_path / "back", re.compile(r"data/.*|empt"))
    assert [file.name for file in files] == ["größe 1.bin"], "the whole path below the folder has to match"


def test_blobs_that_mark_folders_are_no_files(account: Blobs, container: str, tmp_path: Path) -> None:
    client = account._service.get_container_client(container)
    for name in ("in", "in/deep", "in/deep-x", "in/deep/a", "in/empty/"):
        client.upload_blob(name, b"")
    account.download_prefix(container, "in", tmp_path / "back")
    assert sorted(content(tmp_path / "back")) == ["deep-x", "deep/a"]


def test_uploading_again_replaces(account: Blobs, container: str, model: Path, tmp_path: Path) -> None:
    account.upload_folder(container, "", model)
    (model / "MLmodel").write_text("changed")
    account.upload_folder(container, "", model)
    account.download_prefix(container, "", tmp_path / "back")
    assert (tmp_path / "back/MLmodel").read_text() == "changed"


class Hostile(Blobs):
    """An account with a blob whose name climbs, as clients that do not normalise paths can make it."""

    def list(self, container: str, prefix: str = "") -> builtins.list[str]:
        return ["up/../../climbed"]


def test_a_blob_cannot_leave_its_folder(account: Blobs, container: str, tmp_path: Path) -> None:
    hostile = Hostile(account.port, account.account, account.key, account.ca)
    with pytest.raises(LocalAzureError, match="outside"):
        hostile.download_prefix(container, "up", tmp_path / "back/inner")
    assert not (tmp_path / "climbed").exists()


def test_containers_may_be_there_or_not(account: Blobs, container: str) -> None:
    account.create_container(container)
    assert account.list(container) == []
    assert account.list("no-such-container") == []
    account.delete_container("no-such-container")
