"""Resources and operations in one SQLite file. What a transaction wrote is on disk before its answer is sent."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localazure.arm import ids
from localazure.errors import LocalAzureError

log = logging.getLogger(__name__)

# Step N takes a file from schema N-1 to schema N. A step that has been released is never changed: add another.
_STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE IF NOT EXISTS resources (
            key TEXT PRIMARY KEY, id TEXT NOT NULL, type TEXT NOT NULL, document TEXT NOT NULL, hidden TEXT NOT NULL,
            created TEXT NOT NULL, sequence INTEGER NOT NULL)""",
        "CREATE INDEX IF NOT EXISTS resources_by_type ON resources (type, sequence)",
        """CREATE TABLE IF NOT EXISTS operations (
            id TEXT PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, resource TEXT NOT NULL, status TEXT NOT NULL,
            payload TEXT NOT NULL, error TEXT, started TEXT NOT NULL, ended TEXT)""",
        "CREATE INDEX IF NOT EXISTS operations_running ON operations (status, key)",
    ),
    (
        "ALTER TABLE operations ADD COLUMN outlook TEXT",
        # The next place in a list is the highest one plus one: a look at the index's end, not at every resource.
        "CREATE INDEX resources_by_sequence ON resources (sequence)",
        "CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    ),
)
SCHEMA_VERSION = len(_STEPS)


class StoreError(LocalAzureError):
    """The state folder cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Resource:
    """A resource as stored.

    Attributes:
        id: canonical ARM id.
        type: canonical type, such as `Microsoft.KeyVault/vaults`.
        document: what a GET answers, without secrets.
        hidden: what Local Azure keeps beside it: keys, what is desired but not yet in force.
        created: time of creation, ISO-8601.
    """

    id: str
    type: str
    document: dict[str, Any]
    hidden: dict[str, Any] = field(default_factory=dict)
    created: str = ""

    @property
    def name(self) -> str:
        return ids.name(self.id)

    @property
    def properties(self) -> dict[str, Any]:
        return self.document.get("properties") or {}

    @property
    def state(self) -> str:
        """The provisioning state; empty where the type has none."""
        return self.properties.get("provisioningState") or ""

    def with_properties(self, **changes: Any) -> Resource:
        """A copy with these properties changed."""
        return replace(self, document={**self.document, "properties": {**self.properties, **changes}})


@dataclass(frozen=True)
class Operation:
    """A long operation: a row that is `Running` until its work is done, across restarts.

    Attributes:
        outlook: what the weather does to it (`localazure.arm.weather`), decided when it began; None for nothing.
    """

    id: str
    kind: str
    resource: str
    status: str
    payload: dict[str, Any]
    error: dict[str, Any] | None
    started: str
    ended: str | None
    outlook: dict[str, Any] | None = None


def now() -> str:
    """The time now as Azure ML writes it: seven digits of fraction, `+00:00`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0+00:00")


class Store:
    """One connection, one writer. All calls are thread-safe; the steps of one change belong in `transaction()`."""

    def __init__(self, path: Path) -> None:
        """Opens the file, or makes it; a file of an older schema is brought to the present one.

        Raises:
            StoreError: the file is of a newer schema, and stays as it is; or it is no database, or cannot be written.
        """
        self._path = path
        self._lock = threading.RLock()
        self._depth = 0
        self._after: list[Callable[[], None]] = []
        try:
            version = _version(path)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            # With the write-ahead log this syncs at each commit: it is on disk when COMMIT returns.
            self._db.execute("PRAGMA synchronous=FULL")
            self._bring_up_to_date(version)
        except sqlite3.Error as error:
            raise StoreError(
                f"{path} cannot be used: {error}. Free the disk or mend the file; "
                "`python -m localazure reset` starts again with nothing."
            ) from None

    def _bring_up_to_date(self, version: int) -> None:
        # The first step again for schema 1: its version used to be written before its tables were.
        for done, step in enumerate(_STEPS):
            if version > 1 and done < version:
                continue
            with self.transaction():
                for statement in step:
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version={done + 1}")

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is written and on disk afterwards, or nothing is. Nested use joins the outer one.

        Raises:
            StoreError: the file cannot be written, for want of space for instance.
        """
        with self._lock:
            if self._depth:
                with self._nested():
                    yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException as error:
                self._after.clear()
                # Where the disk is full, SQLite has rolled back by itself.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise StoreError(f"{self._path} cannot be written: {error}. Nothing of this was kept.") from error
                raise
            finally:
                self._depth = 0
            callbacks, self._after = self._after, []
        for callback in callbacks:
            _run(callback)

    @contextmanager
    def _nested(self) -> Iterator[None]:
        # Whoever catches the error of an inner part must not commit half of it with the rest.
        mark, level = len(self._after), f"level{self._depth}"
        self._db.execute(f"SAVEPOINT {level}")
        self._depth += 1
        try:
            yield
        except BaseException:
            del self._after[mark:]
            if self._db.in_transaction:
                self._db.execute(f"ROLLBACK TO {level}")
            raise
        finally:
            self._depth -= 1
            if self._db.in_transaction:
                self._db.execute(f"RELEASE {level}")

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Calls `callback` once the running transaction is on disk; never, where it is rolled back.

        It runs without the store's lock; at once, where no transaction runs. What it raises is logged: the transaction
        stands.
        """
        with self._lock:
            if self._depth:
                self._after.append(callback)
                return
        _run(callback)

    # Notes ---------------------------------------------------------------------------------------------------

    def note(self, name: str) -> str | None:
        """What was noted under a name, or None."""
        with self._lock:
            row = self._db.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def put_note(self, name: str, value: str | None) -> None:
        """Keeps something of Local Azure's own that is no resource; None forgets it."""
        with self._lock:
            if value is None:
                self._db.execute("DELETE FROM notes WHERE name = ?", (name,))
            else:
                self._db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, value))

    # Resources -----------------------------------------------------------------------------------------------

    def get(self, resource_id: str) -> Resource | None:
        """The resource of that id in any case, or None."""
        rows = self._resources("key = ?", ids.key(resource_id))
        return rows[0] if rows else None

    def put(self, resource: Resource) -> Resource:
        """Writes a resource; keeps the creation time and the place in lists of one that exists."""
        created = resource.created or now()
        with self._lock:
            self._db.execute(
                "INSERT INTO resources VALUES (?, ?, ?, ?, ?, ?, (SELECT coalesce(max(sequence), 0) + "
                "1 FROM resources)) "
                "ON CONFLICT (key) DO UPDATE SET document = excluded.document, hidden = excluded.hidden",
                (
                    ids.key(resource.id),
                    resource.id,
                    resource.type.lower(),
                    _dump(resource.document),
                    _dump(resource.hidden),
                    created,
                ),
            )
        return replace(resource, created=created)

    def delete(self, resource_id: str) -> None:
        """Removes a resource and everything below it."""
        first, last = _below(resource_id)
        with self._lock:
            self._db.execute(
                "DELETE FROM resources WHERE key = ? OR (key > ? AND key < ?)", (ids.key(resource_id), first, last)
            )

    def below(self, resource_id: str, kind: str | None = None) -> list[Resource]:
        """Resources below an id at any depth, oldest first; only those of one type where it is named."""
        first, last = _below(resource_id)
        if kind is None:
            return self._resources("key > ? AND key < ?", first, last)
        return self._resources("type = ? AND key > ? AND key < ?", kind.lower(), first, last)

    def of_type(self, kind: str) -> list[Resource]:
        """All resources of a type, oldest first."""
        return self._resources("type = ?", kind.lower())

    def _resources(self, where: str, *values: str) -> list[Resource]:
        with self._lock:
            rows = self._db.execute(
                f"SELECT id, type, document, hidden, created FROM resources WHERE {where} ORDER BY sequence", values
            ).fetchall()
        return [Resource(row[0], row[1], json.loads(row[2]), json.loads(row[3]), row[4]) for row in rows]

    # Operations ----------------------------------------------------------------------------------------------

    def operation(self, operation_id: str) -> Operation | None:
        """The operation of that id, or None."""
        rows = self._operations("id = ?", operation_id)
        return rows[0] if rows else None

    def running(self, resource_id: str | None = None) -> list[Operation]:
        """Operations that run: all, or those on a resource and on what lies below it."""
        if resource_id is None:
            return self._operations("status = 'Running'")
        first, last = _below(resource_id)
        return self._operations(
            "status = 'Running' AND (key = ? OR (key > ? AND key < ?))", ids.key(resource_id), first, last
        )

    def put_operation(self, operation: Operation) -> None:
        """Writes an operation."""
        error = None if operation.error is None else _dump(operation.error)
        with self._lock:
            self._db.execute(
                "INSERT OR REPLACE INTO operations (id, kind, key, resource, status, payload, error, started, ended, "
                "outlook) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    operation.id,
                    operation.kind,
                    ids.key(operation.resource),
                    operation.resource,
                    operation.status,
                    _dump(operation.payload),
                    error,
                    operation.started,
                    operation.ended,
                    None if operation.outlook is None else _dump(operation.outlook),
                ),
            )

    def _operations(self, where: str, *values: str) -> list[Operation]:
        with self._lock:
            rows = self._db.execute(
                "SELECT id, kind, resource, status, payload, error, started, ended, outlook FROM operations "
                f"WHERE {where} ORDER BY started",
                values,
            ).fetchall()
        return [
            Operation(
                row[0],
                row[1],
                row[2],
                row[3],
                json.loads(row[4]),
                json.loads(row[5]) if row[5] else None,
                row[6],
                row[7],
                json.loads(row[8]) if row[8] else None,
            )
            for row in rows
        ]


def _version(path: Path) -> int:
    """The schema of a file, 0 where there is none. Raises StoreError for a newer one, which is left as it is."""
    if not path.is_file():
        return 0
    # Read-only: opening it for writing could fold the write-ahead log of a newer Local Azure into it.
    looking = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        (version,) = looking.execute("PRAGMA user_version").fetchone()
    finally:
        looking.close()
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} was written by a newer Local Azure (schema {version}; this one reads up to {SCHEMA_VERSION}). "
            "Update the checkout, or use another state folder with --home."
        )
    return version


def _run(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:
        log.exception("what follows a transaction failed")


def _below(resource_id: str) -> tuple[str, str]:
    # '0' is the character after '/': the range holds every key that starts with "<id>/" and no other.
    folded = ids.key(resource_id)
    return folded + "/", folded + "0"


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
