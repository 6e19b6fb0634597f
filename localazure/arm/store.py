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

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS resources (
    key TEXT PRIMARY KEY, id TEXT NOT NULL, type TEXT NOT NULL, document TEXT NOT NULL, hidden TEXT NOT NULL,
    created TEXT NOT NULL, sequence INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS resources_by_type ON resources (type, sequence);
CREATE TABLE IF NOT EXISTS operations (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, resource TEXT NOT NULL, status TEXT NOT NULL,
    payload TEXT NOT NULL, error TEXT, started TEXT NOT NULL, ended TEXT);
CREATE INDEX IF NOT EXISTS operations_running ON operations (status, key);
"""


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
    """A long operation: a row that is `Running` until its work is done, across restarts."""

    id: str
    kind: str
    resource: str
    status: str
    payload: dict[str, Any]
    error: dict[str, Any] | None
    started: str
    ended: str | None


def now() -> str:
    """The time now as Azure ML writes it: seven digits of fraction, `+00:00`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0+00:00")


class Store:
    """One connection, one writer. All calls are thread-safe; the steps of one change belong in `transaction()`."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._after: list[Callable[[], None]] = []
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._check_version(path)
        self._db.executescript(_SCHEMA)

    def _check_version(self, path: Path) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            self._db.close()
            raise StoreError(
                f"{path} was written by a newer Local Azure (schema {version}; this one reads up to {SCHEMA_VERSION}). "
                "Update the checkout, or use another state folder with --home."
            )
        self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is written, or nothing. Nested use joins the outer one."""
        with self._lock:
            if self._depth:
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1
                return
            self._db.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                self._after.clear()
                raise
            else:
                self._db.execute("COMMIT")
            finally:
                self._depth = 0
            callbacks, self._after = self._after, []
        for callback in callbacks:
            _run(callback)

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Calls `callback` once the running transaction is on disk; never, where it is rolled back.

        It runs without the store's lock. What it raises is logged: the transaction stands.
        """
        self._after.append(callback)

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
                "INSERT OR REPLACE INTO operations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
                ),
            )

    def _operations(self, where: str, *values: str) -> list[Operation]:
        with self._lock:
            rows = self._db.execute(
                "SELECT id, kind, resource, status, payload, error, started, ended FROM operations "
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
            )
            for row in rows
        ]


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
