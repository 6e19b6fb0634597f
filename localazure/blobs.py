"""Blob storage as the rest of Local Azure uses it: whole folders in and out of one storage account's Azurite."""

import builtins
import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localazure.errors import LocalAzureError

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

# Azurite's data of one account is written by one process: more connections than this only wait for each other.
CONNECTIONS = 4


@dataclass(frozen=True)
class Blobs:
    """One storage account, by its key. Get it from `AzuriteFleet.blobs`."""

    port: int
    account: str
    key: str
    ca: Path | None = None
    """The certificate authority that signed Azurite's certificate; without it the certificate is not checked."""

    @cached_property
    def _service(self) -> "BlobServiceClient":
        # azure.storage takes a third of a second to import, which the daemon's start should not wait for.
        from azure.core.pipeline.transport import RequestsTransport
        from azure.storage.blob import BlobServiceClient

        verify = str(self.ca) if self.ca else False
        transport = RequestsTransport(use_env_settings=False, connection_verify=verify)
        return BlobServiceClient(
            f"https://127.0.0.1:{self.port}/{self.account}",
            credential={"account_name": self.account, "account_key": self.key},
            transport=transport,
        )

    def create_container(self, name: str) -> None:
        """Create a container; one that exists is left as it is."""
        from azure.core.exceptions import ResourceExistsError

        with contextlib.suppress(ResourceExistsError):
            self._service.create_container(name)

    def delete_container(self, name: str) -> None:
        """Delete a container with all its blobs; one that is not there is no error."""
        from azure.core.exceptions import ResourceNotFoundError

        with contextlib.suppress(ResourceNotFoundError):
            self._service.delete_container(name)

    def list(self, container: str, prefix: str = "") -> "builtins.list[str]":
        """The names of the blobs that start with `prefix`; none when the container does not exist."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return list(self._service.get_container_client(container).list_blob_names(name_starts_with=prefix))
        except ResourceNotFoundError:
            return []

    def download_prefix(
        self, container: str, prefix: str, to: Path, wanted: re.Pattern[str] | None = None
    ) -> "builtins.list[Path]":
        """Download the blob called `prefix`, or the folder of that name, below `to`; returns the files.

        A single blob becomes `to/<its last part>`; a folder's blobs keep their paths below the folder. With `wanted`
        only those whose paths below the folder it matches wholly.
        """
        source = self._service.get_container_client(container)
        files: list[Path] = []
        for name, place in self._below(container, prefix):
            if wanted and not wanted.fullmatch(place):
                continue
            target = _inside(to, place)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                source.download_blob(name, max_concurrency=CONNECTIONS).readinto(file)
            files.append(target)
        return files

    def _below(self, container: str, prefix: str) -> Iterator[tuple[str, str]]:
        folder = prefix.rstrip("/")
        names = self.list(container, folder)
        folders = _folders(names)
        for name in names:
            # Tools that know folders mark them by empty blobs of their names.
            if name.endswith("/") or name in folders:
                continue
            if name == folder:
                yield name, name.rsplit("/", 1)[-1]
            elif not folder or name.startswith(f"{folder}/"):
                yield name, name[len(folder) :].lstrip("/")

    def upload_folder(self, container: str, prefix: str, folder: Path) -> "builtins.list[str]":
        """Upload every file below `folder` as `prefix/<its path>`, over what is there; returns the blobs' names."""
        target = self._service.get_container_client(container)
        names: list[str] = []
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = "/".join(part for part in (prefix.strip("/"), file.relative_to(folder).as_posix()) if part)
            with file.open("rb") as data:
                target.upload_blob(name, data, overwrite=True, max_concurrency=CONNECTIONS)
            names.append(name)
        return names

    def sas(self, container: str | None = None, permissions: str = "racwdl", hours: float = 1) -> str:
        """A shared access signature, as a query string: for one container, or with None for the whole account."""
        from azure.storage.blob import generate_container_sas

        # Started in the past, for clocks differ; https only, as Azure's portal makes them.
        window: dict[str, Any] = {
            "start": datetime.now(UTC) - timedelta(minutes=5),
            "expiry": datetime.now(UTC) + timedelta(hours=hours),
            "protocol": "https",
        }
        if container is None:
            return self._account_sas(permissions, window)
        return generate_container_sas(self.account, container, self.key, permission=permissions, **window)

    def _account_sas(self, permissions: str, window: dict[str, Any]) -> str:
        from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

        everything = ResourceTypes(service=True, container=True, object=True)
        allowed = AccountSasPermissions.from_string(permissions)
        return generate_account_sas(self.account, self.key, everything, allowed, **window)


def _folders(names: Sequence[str]) -> set[str]:
    """Every folder that some of these names lie in."""
    found: set[str] = set()
    for name in names:
        parent = name.rpartition("/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return found


def _inside(folder: Path, place: str) -> Path:
    target = folder / place
    # A blob may be called `../x`; a file system would follow it out of the folder.
    if not target.resolve().is_relative_to(folder.resolve()):
        raise LocalAzureError(f"The blob {place!r} would be written outside {folder}; rename it.")
    return target
