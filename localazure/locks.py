"""Locks by name: one for each thing that is worked on right now, and none for what is not."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager


class KeyedLocks:
    """Lets one thread at a time work on each key; different keys do not wait for each other."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[Hashable, threading.Lock] = {}
        self._wanted: Counter[Hashable] = Counter()

    @contextmanager
    def hold(self, key: Hashable) -> Iterator[None]:
        """Waits until nobody else holds `key`, and holds it."""
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
            self._wanted[key] += 1
        try:
            with lock:
                yield
        finally:
            self._forget(key)

    def _forget(self, key: Hashable) -> None:
        # A lock stays while anybody waits for it: a new one beside it would let two threads in.
        with self._guard:
            self._wanted[key] -= 1
            if not self._wanted[key]:
                del self._wanted[key], self._locks[key]

    def __len__(self) -> int:
        """How many keys are held or waited for."""
        with self._guard:
            return len(self._locks)
