"""What a file or folder holds, as one hash: the identity of models, code and environments.

A folder's hash covers the files that azure-ai-ml uploads, so `.amlignore` (or else `.gitignore`) counts as it does
there. A file is read again only when its size or one of its times has changed; what was read is kept outside the clone.
"""

import hashlib
import importlib.util
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from types import ModuleType

# A file written just now may be written again within one tick of the clock and keep its size: it is not remembered.
FRESH_NS = 2_000_000_000
MAX_VERSION = 2**31 - 1


def content_hash(path: Path) -> str:
    """The SHA-256 of what a file or folder holds, in hexadecimal. Raises `FileNotFoundError` and `ValueError`."""
    if not path.exists():
        raise FileNotFoundError(f'there is no file or folder "{path}"')
    with HashCache.default() as known:
        if path.is_file():
            return known.digest(path)
        files = sorted(uploaded_files(path))
        if not files:
            raise ValueError(f'"{path}" holds no file to upload; is everything in its .amlignore?')
        lines = (f"{name}\0{known.digest(file)}\n" for name, file in files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def model_hash(path: Path, kind: str) -> str:
    """The SHA-256 of what makes a model: its type, what it holds, and the name under which a script finds it."""
    # azure-ai-ml uploads what a link leads to, under that name.
    return hashlib.sha256(json.dumps([path.resolve().name, kind, content_hash(path)]).encode()).hexdigest()


def version_of(digest: str) -> str:
    """The version of an asset with this hash: a positive integer of 31 bits, since Azure takes no other for a model."""
    return str(int(digest[:8], 16) % MAX_VERSION + 1)


def environment_hash(
    image: str | None, conda_file: str | None, build_context: str | None, dockerfile: str | None
) -> str:
    """The SHA-256 of what makes an environment: an image and the content of a conda file, or a build context."""
    parts = {
        "image": image,
        "condaFile": content_hash(Path(conda_file)) if conda_file else None,
        "buildContext": content_hash(Path(build_context)) if build_context else None,
        "dockerfile": dockerfile if build_context else None,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def uploaded_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of a folder that azure-ai-ml uploads, each with its name relative to the folder.

    Follows `azure.ai.ml._utils._asset_utils.get_upload_files_from_folder`, whose import takes seconds.
    """
    base = folder.resolve()
    excluded = _exclusion(base)
    for root, _, names in os.walk(folder, followlinks=True):
        relative = Path(root).relative_to(folder)
        for name in names:
            if not excluded(os.path.relpath(Path(root).resolve() / name, base)):
                yield (relative / name).as_posix(), Path(root) / name


def _exclusion(base: Path) -> Callable[[str], bool]:
    """Says of a path relative to `base` whether its ignore file excludes it. `.amlignore` goes before `.gitignore`."""
    file = next((file for file in (base / ".amlignore", base / ".gitignore") if file.exists()), None)
    if file is None:
        return lambda name: False
    syntax = _ignore_syntax()
    lines = file.read_text(encoding="utf-8").splitlines()
    patterns = [syntax.GitWildMatchPattern(line.rstrip()) for line in lines if line]

    def excluded(name: str) -> bool:
        normal = syntax.normalize_file(name)
        verdicts = [
            rule.include for rule in patterns if rule.include is not None and rule.match_file(normal) is not None
        ]
        return verdicts[-1] if verdicts else False

    return excluded


@cache
def _ignore_syntax() -> ModuleType:
    """azure-ai-ml's own reading of ignore patterns, loaded from its file without the package around it."""
    namespace = importlib.util.find_spec("azure.ai")
    for folder in (namespace and namespace.submodule_search_locations) or []:
        file = Path(folder) / "ml/_utils/_pathspec.py"
        spec = importlib.util.spec_from_file_location("_azure_ai_ml_pathspec", file) if file.exists() else None
        if spec and spec.loader:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise ImportError("azure-ai-ml 1.35.2 is not installed; install the project's requirements")


class HashCache:
    """Hashes of files that were read before, by path, size and times, in one SQLite file that processes may share."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._connection: sqlite3.Connection | None = None

    @classmethod
    def default(cls) -> "HashCache":
        """The cache in `AZUREML_ENDPOINTS_CACHE`, else in the user's cache folder."""
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(os.environ.get("AZUREML_ENDPOINTS_CACHE") or Path(home) / "azureml-endpoints")
        return cls(folder / "hashes.sqlite")

    def __enter__(self) -> "HashCache":
        # A cache that cannot be opened (a read-only home, a full disk) costs time, never the run.
        with suppress(OSError, sqlite3.Error):
            if self._file:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                self._connection = sqlite3.connect(self._file, timeout=10, isolation_level=None)
                self._connection.execute(
                    "CREATE TABLE IF NOT EXISTS hashes (path TEXT PRIMARY KEY, stamp TEXT, digest TEXT)"
                )
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def digest(self, file: Path) -> str:
        """The SHA-256 of one file, from memory where its size and times are as they were."""
        path, status = str(file.resolve()), file.stat()
        # The change time cannot be set by hand, so it also sees a file that was replaced by an older one of its size.
        stamp = f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
        known = self._recall(path, stamp)
        if known:
            return known
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > FRESH_NS:
            self._remember(path, stamp, digest)
        return digest

    def _recall(self, path: str, stamp: str) -> str | None:
        with suppress(sqlite3.Error):
            if self._connection:
                query = "SELECT digest FROM hashes WHERE path = ? AND stamp = ?"
                with closing(self._connection.execute(query, (path, stamp))) as rows:
                    row = rows.fetchone()
                return row[0] if row else None
        return None

    def _remember(self, path: str, stamp: str, digest: str) -> None:
        with suppress(sqlite3.Error):
            if self._connection:
                self._connection.execute("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?)", (path, stamp, digest))
