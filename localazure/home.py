"""The folder that holds everything one Local Azure keeps: state, keys, logs, and the mark of its processes."""

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from localazure.errors import LocalAzureError

DEFAULT_NAME = ".localazure"


def write_private(path: Path, content: str | bytes) -> None:
    """Write a file that only its owner may read, and whole or not at all."""
    data = content.encode() if isinstance(content, str) else content
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def last_lines(file: Path, count: int = 20) -> str:
    """The end of a text file; nothing when there is no such file."""
    lines = file.read_text(errors="replace").splitlines() if file.is_file() else []
    return "\n".join(lines[max(len(lines) - count, 0) :])


@dataclass(frozen=True)
class Home:
    """A state folder. Making the object touches nothing; `create` makes the folder."""

    path: Path

    @classmethod
    def at(cls, path: Path | str | None = None) -> "Home":
        """The home in `path`, by default `.localazure` in the working directory."""
        return cls(Path(path).expanduser().absolute() if path else Path.cwd() / DEFAULT_NAME)

    def create(self) -> None:
        """Make the folder (mode 0700) and its identity; idempotent.

        Raises:
            LocalAzureError: something else is in the way, or the folder is full of other things.
        """
        if self.path.exists() and not self.path.is_dir():
            raise LocalAzureError(f"{self.path} is a file; --home needs a folder of its own.")
        # Stopping and resetting work on the whole folder, so it must never be one that somebody uses for other things.
        # Settings may lie there before the first start, which reads them.
        found = {*self.path.iterdir()} - {self.settings_file} if self.path.is_dir() else set()
        if found and not self.exists:
            raise LocalAzureError(f"{self.path} is not empty and not a Local Azure home; name another with --home.")
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)
        if not self.exists:
            write_private(self._identity, secrets.token_hex(8))
        # Pulumi wants its backend's folder to be there.
        for folder in (self.logs, self.ca, self.pulumi_home, self.pulumi_state):
            folder.mkdir(mode=0o700, exist_ok=True)

    @property
    def exists(self) -> bool:
        """Whether `create` has been here."""
        return self._identity.is_file()

    @property
    def id(self) -> str:
        """Marks the processes of this home. A copied or moved home is another: the path is part of it."""
        place = hashlib.sha256(os.fsencode(self.path.resolve())).hexdigest()[:8]
        return f"{self._identity.read_text().strip()}-{place}"

    @property
    def _identity(self) -> Path:
        return self.path / "home-id"

    @property
    def database(self) -> Path:
        """SQLite: every resource and operation."""
        return self.path / "state.db"

    @property
    def metrics(self) -> Path:
        """What online deployments did and used in the last day, a line a minute."""
        return self.path / "metrics.jsonl"

    @property
    def runtime_file(self) -> Path:
        """The daemon's process and ports (JSON)."""
        return self.path / "runtime.json"

    @property
    def settings_file(self) -> Path:
        """Optional settings (JSON)."""
        return self.path / "settings.json"

    @property
    def logs(self) -> Path:
        """One file a process."""
        return self.path / "logs"

    @property
    def ca(self) -> Path:
        """The certificate authority, the certificates it signed, the token key and the bundles for clients."""
        return self.path / "ca"

    @property
    def azurite(self) -> Path:
        """A folder of blobs for each storage account."""
        return self.path / "azurite"

    @property
    def envoy(self) -> Path:
        """The router's configuration."""
        return self.path / "envoy"

    @property
    def serving(self) -> Path:
        """What the online deployments run from."""
        return self.path / "serving"

    @property
    def jobs(self) -> Path:
        """Batch jobs: inputs, outputs, logs."""
        return self.path / "jobs"

    @property
    def assets(self) -> Path:
        """Assets fetched from blob storage for deployments."""
        return self.path / "assets"

    @property
    def pulumi_home(self) -> Path:
        """Pulumi's own home, apart from the user's, with Local Azure's provider plugin in it."""
        return self.path / "pulumi-home"

    @property
    def pulumi_state(self) -> Path:
        """Pulumi's file backend."""
        return self.path / "pulumi-state"
