"""Long operations: a row each, carried out by a few threads, resumed after a restart, polled in a provider's form."""

from __future__ import annotations

import logging
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from localazure.arm.errors import ArmError
from localazure.arm.ids import SUBSCRIPTION
from localazure.arm.later import Later
from localazure.arm.store import Operation, Store, now
from localazure.arm.weather import Weather
from localazure.errors import LocalAzureError

log = logging.getLogger(__name__)

RUNNING, SUCCEEDED, FAILED = "Running", "Succeeded", "Failed"
_NO_TIME = "0001-01-01T00:00:00+00:00"


class OperationFailed(Exception):
    """The work of an operation failed, for the reason that its poll answers."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Family:
    """How one provider's long operations look on the wire (recorded shapes: one prefix and one status route a family).

    Attributes:
        provider: the resource provider's namespace; empty for ARM's own.
        prefix: what an operation id begins with, such as `oeidp`; empty for a bare GUID.
        status: the route of `Azure-AsyncOperation`, such as `mfeOperationsStatus`; empty where only `Location` is sent.
        result: the route of `Location`; empty where `Location` is the resource itself or absent.
        running: the status polls answer while it runs.
        detailed: whether polls carry id, name and times.
        timed: whether polls carry startTime, endTime and percentComplete.
        timeout: the value of `x-ms-async-operation-timeout`; empty for none.
    """

    provider: str
    prefix: str
    status: str
    result: str
    running: str
    detailed: bool = True
    timed: bool = True
    timeout: str = "PT30M"

    def path(self, route: str, subscription: str, location: str, operation: str) -> str:
        """The path at which an operation is polled."""
        provider = f"/providers/{self.provider}/locations/{location}" if self.provider else ""
        return f"/subscriptions/{subscription}{provider}/{route}/{operation}"

    @property
    def templates(self) -> tuple[str, str]:
        """The route templates of status and result; empty where the family has none."""
        provider = f"/providers/{self.provider}/locations/{{location}}" if self.provider else ""
        base = SUBSCRIPTION + provider
        return (
            f"{base}/{self.status}/{{operation}}" if self.status else "",
            f"{base}/{self.result}/{{operation}}" if self.result else "",
        )

    def poll(self, operation: Operation, path: str) -> dict[str, Any]:
        """The body that a poll of the status route answers."""
        done = operation.status != RUNNING
        body: dict[str, Any] = {"status": operation.status if done else self.running}
        if self.detailed:
            body = {"id": path, "name": operation.id, **body}
        if self.timed:
            body |= {"startTime": operation.started, "endTime": operation.ended or _NO_TIME, "percentComplete": 0.0}
        elif done and not self.detailed:
            body["percentComplete"] = 100.0
        if operation.error:
            body["error"] = operation.error
        return body


Work = Callable[[Operation], Mapping[str, Any] | None]
Finish = Callable[[Operation, Mapping[str, Any]], None]
Fail = Callable[[Operation, OperationFailed], None]


@dataclass(frozen=True)
class Kind:
    """What an operation of one kind does.

    Attributes:
        work: the slow part, outside any transaction; may be called again after a restart, and then finds by itself
            what a crash between `work` and `done` left.
        done: applies the outcome, in the transaction that marks the operation as succeeded.
        failed: applies a failure, likewise.
    """

    work: Work
    done: Finish
    failed: Fail


class Operations:
    """Begins, carries out and resumes long operations."""

    def __init__(self, store: Store, *, threads: int = 8, weather: Weather | None = None) -> None:
        """`weather` says which operations take longer than their work, and which fail."""
        self._store = store
        self._weather = weather or Weather()
        self._kinds: dict[str, Kind] = {}
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="operation")
        self._later = Later()
        self._stopping = False

    def register(self, name: str, kind: Kind) -> None:
        """Makes a kind of operation known; before `resume`, so that rows of an earlier run find it."""
        self._kinds[name] = kind

    def begin(
        self, kind: str, resource_id: str, payload: Mapping[str, Any] | None = None, *, prefix: str = ""
    ) -> Operation:
        """Writes an operation and starts it once the running transaction is on disk."""
        identifier = str(uuid.uuid4()) if not prefix else f"{prefix}:{uuid.uuid4()}"
        outlook = None if self._weather.calm else self._weather.outlook(resource_id)
        operation = Operation(identifier, kind, resource_id, RUNNING, dict(payload or {}), None, now(), None, outlook)
        self._store.put_operation(operation)
        self._store.after_commit(lambda: self._submit(self._carry_out, operation))
        return operation

    def resume(self) -> None:
        """Takes up what was running when the store was last open."""
        for operation in self._store.running():
            self._submit(self._carry_out, operation)

    def stop(self) -> None:
        """Takes no more; what runs stays `Running` in the store and is taken up at the next start."""
        self._stopping = True
        self._later.stop()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, step: Callable[..., None], *arguments: Any) -> None:
        if not self._stopping:
            self._pool.submit(self._logged, step, *arguments)

    def _logged(self, step: Callable[..., None], *arguments: Any) -> None:
        # Of what a pool's thread raises, nobody would hear.
        try:
            step(*arguments)
        except Exception:
            if not self._stopping:
                log.exception("an operation could not be ended; it is taken up at the next start")

    def _carry_out(self, operation: Operation) -> None:
        failure = _forced(operation)
        try:
            outcome = {} if failure else self._kind(operation).work(operation) or {}
        except Exception as error:
            self._fail(operation, error)
            return
        due = operation.outlook["due"] if operation.outlook else 0.0
        if due <= time.time():
            self._finish(operation, outcome, failure)
        else:
            self._later.at(due, lambda: self._submit(self._finish, operation, outcome, failure))

    def _finish(self, operation: Operation, outcome: Mapping[str, Any], failure: OperationFailed | None) -> None:
        if failure:
            self._fail(operation, failure)
            return
        try:
            with self._store.transaction():
                self._kind(operation).done(operation, outcome)
                self._end(operation, SUCCEEDED, None)
        except Exception as error:
            self._fail(operation, error)

    def _kind(self, operation: Operation) -> Kind:
        try:
            return self._kinds[operation.kind]
        except KeyError:
            # Begun by another version, and interrupted there.
            raise OperationFailed(
                "OperationInterrupted", f"This version of Local Azure does not know the operation '{operation.kind}'."
            ) from None

    def _fail(self, operation: Operation, error: Exception) -> None:
        if self._stopping:
            return
        failure = _failure(operation, error)
        log.warning(
            "operation %s on %s failed: %s: %s", operation.kind, operation.resource, failure.code, failure.message
        )
        try:
            with self._store.transaction():
                self._kind(operation).failed(operation, failure)
                self._end(operation, FAILED, failure)
        except Exception:
            # It must end all the same: a client polls it.
            log.exception("the failure of operation %s on %s could not be applied", operation.kind, operation.resource)
            with self._store.transaction():
                self._end(operation, FAILED, failure)

    def _end(self, operation: Operation, status: str, failure: OperationFailed | None) -> None:
        error = {"code": failure.code, "message": failure.message} if failure else None
        self._store.put_operation(replace(operation, status=status, ended=now(), error=error))


def _forced(operation: Operation) -> OperationFailed | None:
    """The failure that the weather has in store for an operation."""
    failure = operation.outlook["failure"] if operation.outlook else None
    return OperationFailed(failure["code"], failure["message"]) if failure else None


def _failure(operation: Operation, error: Exception) -> OperationFailed:
    """What the poll of an operation answers for an error of its work."""
    if isinstance(error, OperationFailed):
        return error
    if isinstance(error, ArmError):
        return OperationFailed(error.code, error.message)
    if isinstance(error, LocalAzureError):
        return OperationFailed("InternalServerError", str(error))
    # The client gets a reference, not internals; the log has the traceback under it.
    reference = secrets.token_hex(4)
    log.error("operation %s on %s failed (reference %s)", operation.kind, operation.resource, reference, exc_info=error)
    message = f"Local Azure failed while it carried this out. Its log has the reason under reference {reference}."
    return OperationFailed("InternalServerError", message)
