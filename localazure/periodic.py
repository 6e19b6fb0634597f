"""Something that is done again and again, by a thread of its own."""

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Periodic:
    """Does something every so often until it is stopped; what it raises is logged, once for each new error."""

    def __init__(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        self._name = name
        self._seconds = seconds
        self._action = action
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._said = ""

    def start(self) -> None:
        """Begins; the first time is one period from now."""
        self._thread.start()

    def stop(self, wait: float = 5.0) -> None:
        """Ends it, and waits for what is being done, for `wait` seconds at most. It may not have been started."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(wait)

    def _run(self) -> None:
        while not self._ending.wait(self._seconds):
            try:
                self._action()
                self._said = ""
            except Exception as error:
                # It must outlive whatever it meets, without a line in the log at each turn.
                if repr(error) != self._said and not self._ending.is_set():
                    log.exception("%s failed; it goes on", self._name)
                self._said = repr(error)
