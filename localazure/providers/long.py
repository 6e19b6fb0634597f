"""A kind of resource whose writes and deletions are long operations, as those of `Microsoft.Network` are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from localazure.arm.errors import ArmError
from localazure.arm.operations import Family, Kind, OperationFailed
from localazure.arm.routes import Answer, Call
from localazure.arm.store import Operation, Resource
from localazure.providers.common import Plain, long_headers, require_group, with_state

BUSY = ("Updating", "Deleting", "Creating")
_GLOBAL = "global"


def _leave(_resource: Resource) -> None:
    return


@dataclass(frozen=True)
class Long(Plain):
    """A plain kind of resource, but that it is `Updating` until the operation of its PUT is done.

    Attributes:
        family: how its operations are polled.
        settled: called in the transaction in which a write ends, with the resource as it is then.
        gone: called in the transaction in which the resource goes, before its row does.
        refuse_removal: raises ArmError where it may not be deleted.
    """

    family: Family = field(default=Family("", "", "", "", ""))
    settled: Callable[[Resource], None] = _leave
    gone: Callable[[Resource], None] = _leave
    refuse_removal: Callable[[Resource], None] = _leave

    def __post_init__(self) -> None:
        nothing = lambda *arguments: None  # noqa: E731
        self.cloud.operations.register(self._kind("put"), Kind(nothing, self._written, self._failed))
        self.cloud.operations.register(self._kind("delete"), Kind(nothing, self._deleted, self._failed))

    def create(self, call: Call) -> Answer:
        """PUT: 201 or 200 with the resource as it will be, and an operation to follow."""
        self._refuse_busy(call)
        answer = super().create(call)
        return self._begin(call, str(answer.body["id"]), answer.status, "put")

    def patch(self, call: Call) -> Answer:
        """PATCH: tags, at once."""
        self._refuse_busy(call)
        return super().patch(call)

    def delete(self, call: Call) -> Answer:
        """DELETE: 202, or 204 where there was nothing."""
        require_group(self.cloud, call)
        existing = self.cloud.store.get(call.path)
        if existing is None:
            return Answer(204)
        self._refuse_busy(call)
        self.refuse_removal(existing)
        answer = self._begin(call, existing.id, 202, "delete")
        return Answer(202, headers=answer.headers)

    def _begin(self, call: Call, resource_id: str, status: int, what: str) -> Answer:
        resource = self.cloud.store.get(resource_id)
        assert resource is not None, resource_id
        resource = self.cloud.store.put(with_state(resource, "Updating" if what == "put" else "Deleting"))
        operation = self.cloud.operations.begin(self._kind(what), resource_id)
        location = str(resource.document.get("location") or self._place(call))
        headers = long_headers(self.cloud, call, self.family, operation, location)
        return Answer(status, resource.document, headers)

    def _place(self, call: Call) -> str:
        group = require_group(self.cloud, call)
        return str(group.document.get("location") or _GLOBAL)

    def _refuse_busy(self, call: Call) -> None:
        existing = self.cloud.store.get(call.path)
        if existing is not None and existing.state in BUSY:
            raise busy(existing)

    def _kind(self, what: str) -> str:
        return f"{self.type}.{what}"

    def _written(self, operation: Operation, _outcome: object) -> None:
        if resource := self.cloud.store.get(operation.resource):
            self.settled(self.cloud.store.put(with_state(resource, "Succeeded")))

    def _deleted(self, operation: Operation, _outcome: object) -> None:
        if resource := self.cloud.store.get(operation.resource):
            self.gone(resource)
            self.cloud.store.delete(resource.id)

    def _failed(self, operation: Operation, _failure: OperationFailed) -> None:
        if resource := self.cloud.store.get(operation.resource):
            self.settled(self.cloud.store.put(with_state(resource, "Failed")))


def busy(resource: Resource) -> ArmError:
    """409 for a write on what another write is changing; clients try again."""
    return ArmError(
        409,
        "AnotherOperationInProgress",
        f"Another operation on this or dependent resource is in progress: '{resource.name}' is {resource.state}.",
    )
