"""A clock that can be put forward: the time that schedules go by, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from localazure.arm.store import Store
from localazure.errors import LocalAzureError

_NOTE = "schedule-clock"


class ClockRefused(LocalAzureError):
    """The clock cannot be put there; the message says why."""


class MovableClock:
    """The machine's time, and what was added to it; that is kept, so that a restart does not take time back."""

    def __init__(self, store: Store, real: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store = store
        self._real = real
        self._ahead = timedelta(microseconds=int(store.note(_NOTE) or 0))

    @property
    def ahead(self) -> timedelta:
        """By how much it differs from the machine's."""
        return self._ahead

    def now(self) -> datetime:
        """The time it shows, in UTC."""
        return self._real() + self._ahead

    def put_forward(self, moment: datetime) -> None:
        """Makes it show a moment; one that has passed already leaves it as it is."""
        ahead = moment - self._real()
        if ahead > self._ahead:
            self._ahead = ahead
            self._store.put_note(_NOTE, str(ahead // timedelta(microseconds=1)))
