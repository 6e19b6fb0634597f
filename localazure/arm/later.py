"""Calls at a later time, from one thread that is there only once something waits."""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


class Later:
    """A timetable. However much waits, it takes one thread; what it calls must be quick."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._dates: dict[str, float] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def at(self, moment: float, callback: Callable[[], None]) -> None:
        """Calls `callback` at a moment of `time.time()`, or soon where that has passed; never after `stop`."""
        with self._changed:
            heapq.heappush(self._waiting, (moment, next(self._numbers), callback))
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="later", daemon=True)
                self._thread.start()
            self._changed.notify()

    def once(self, key: str, moment: float, callback: Callable[[], None]) -> None:
        """As `at`, but of all that waits under a key only what comes first is called, and the others never are."""
        with self._changed:
            if self._dates.get(key, math.inf) <= moment:
                return
            self._dates[key] = moment
            self.at(moment, lambda: self._call(key, moment, callback))

    def _call(self, key: str, moment: float, callback: Callable[[], None]) -> None:
        with self._changed:
            if self._dates.get(key) != moment:
                return
            del self._dates[key]
        callback()

    def stop(self) -> None:
        """Calls nothing any more."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def _watch(self) -> None:
        while callback := self._next():
            try:
                callback()
            except Exception:
                # The thread is everybody's: one failure must not be the end of all that waits.
                if not self._stopping:
                    log.exception("what was due failed")

    def _next(self) -> Callable[[], None] | None:
        """The next callback, when it is time for it; None once stopped."""
        with self._changed:
            while not self._stopping:
                left = self._waiting[0][0] - time.time() if self._waiting else None
                if left is not None and left <= 0:
                    return heapq.heappop(self._waiting)[2]
                self._changed.wait(left)
        return None
