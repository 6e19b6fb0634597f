"""Asking one instance how it is, as Azure's liveness, readiness and startup probes do: `GET /`, again and again."""

import http.client
import threading
import time
from collections.abc import Callable

from localazure.serving.model import Probe, Probes

# Between two questions to an instance that has not been ready yet.
EAGER_SECONDS = 0.05


def answers(port: int, wait: float) -> bool:
    """Whether a loopback server calls itself well within `wait` seconds; any 2xx or 3xx will do, as in Kubernetes.

    A worker that is busy answers later: the question waits in the server's queue, and so it does in Azure.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=wait)
    try:
        connection.request("GET", "/")
        return http.HTTPStatus.OK <= connection.getresponse().status < http.HTTPStatus.BAD_REQUEST
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Tally:
    """What a probe's answers come to: it passes and fails by so many in a row."""

    def __init__(self, probe: Probe, *, passes: bool, due: float) -> None:
        """`due` is the moment of the first question, on the monotonic clock."""
        self.probe = probe
        self.passes = passes
        self.due = due
        self._in_a_row = 0

    def count(self, well: bool, asked: float) -> None:
        """Takes in the answer to a question that was asked at a moment, and sets when the next one is due."""
        self.due = max(asked + self.probe.period, time.monotonic())
        self._in_a_row = 0 if well == self.passes else self._in_a_row + 1
        if self._in_a_row >= (self.probe.success_threshold if well else self.probe.failure_threshold):
            self.passes, self._in_a_row = well, 0


class Prober:
    """Asks one process, each probe in a thread of its own, for as long as it is to run.

    The initial delay is how long an instance may take, not how long it must: it is asked from the first moment on, so
    that one which is quickly ready is quickly used. Failures before its first success count by the clock alone.
    """

    def __init__(self, port: int, probes: Probes, is_ours: Callable[[], bool], *, again: bool = False) -> None:
        """`is_ours` says whether it is the instance that listens on the port; asked once, when something answers.

        `again` is for a process that is started in place of one that has died: a deployment waits for its first
        instances by the readiness probe, but nobody ends a container for that.
        """
        self._again = again
        self._port = port
        self._probes = probes
        self._is_ours = is_ours
        self._started = time.monotonic()
        self._became_ready = threading.Event()
        # Set when there is something to look at before the next question is due: other probes, or the end. Once it is
        # ready, each set of probes has an event of its own.
        self._news = threading.Event()
        self._ended = False
        self._tallies: tuple[Tally, Tally] | None = None
        self._thread = threading.Thread(target=self._run, name=f"prober-{port}", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def end(self) -> None:
        """Ask no more; a question that is under way is not waited for."""
        self._ended = True
        self._news.set()

    def follow(self, probes: Probes) -> None:
        """Ask by other rules from now on; what was counted by the former is forgotten."""
        if probes != self._probes:
            self._probes = probes
            self._news.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the first success for so long at most; whether there was one."""
        return self._became_ready.wait(seconds)

    @property
    def ready(self) -> bool:
        """Whether requests may go to the instance."""
        tallies = self._tallies
        return tallies is not None and all(tally.passes for tally in tallies) and not self._ended

    @property
    def started(self) -> bool:
        """Whether it has been ready since its start."""
        return self._became_ready.is_set()

    @property
    def failed(self) -> str | None:
        """What made a probe give up on the instance, in words that follow its name; None while it may live."""
        tallies = self._tallies
        if tallies is not None:
            return None if tallies[0].passes else _words(tallies[0].probe)
        name, limit = self._start_limit()
        late = time.monotonic() - self._started > limit
        return f"was not ready within {limit:g} s ({name})" if late else None

    def _start_limit(self) -> tuple[str, float]:
        probes = self._probes
        if probes.startup is not None:
            return "startupProbe", probes.startup.patience
        if self._again or probes.liveness.patience < probes.readiness.patience:
            return "livenessProbe", probes.liveness.patience
        return "readinessProbe", probes.readiness.patience

    def _run(self) -> None:
        if not self._first():
            return
        while True:
            # Made before anything is looked at: what comes after that is seen at the next turn.
            self._news = news = threading.Event()
            if self._ended:
                return
            liveness, readiness = self._tallies = self._begin(self._probes)
            self._became_ready.set()
            # A slow answer to one probe delays no question of the other.
            name = f"{self._thread.name}-readiness"
            threading.Thread(target=self._go_on, args=(readiness, news), name=name, daemon=True).start()
            self._go_on(liveness, news)

    def _go_on(self, tally: Tally, news: threading.Event) -> None:
        while not news.wait(max(0.0, tally.due - time.monotonic())):
            asked = time.monotonic()
            tally.count(answers(self._port, tally.probe.timeout), asked)

    def _first(self) -> bool:
        """Ask until it answers as often in a row as makes it ready; False where it ends before."""
        in_a_row = 0
        while not self._ended:
            probe = self._probes.startup or self._probes.readiness
            in_a_row = in_a_row + 1 if answers(self._port, probe.timeout) and (in_a_row or self._is_ours()) else 0
            if in_a_row >= self._probes.readiness.success_threshold:
                return True
            if self._news.wait(EAGER_SECONDS):
                self._news.clear()
        return False

    def _begin(self, probes: Probes) -> tuple[Tally, Tally]:
        """Tallies by these probes; whether the instance is ready is taken over from the ones before."""
        ready = self._tallies[1].passes if self._tallies else True
        return self._tally(probes.liveness, passes=True), self._tally(probes.readiness, passes=ready)

    def _tally(self, probe: Probe, *, passes: bool) -> Tally:
        return Tally(probe, passes=passes, due=max(self._started + probe.initial_delay, time.monotonic()))


def _words(probe: Probe) -> str:
    times = f"{probe.failure_threshold} times in a row" if probe.failure_threshold > 1 else "once"
    return f"did not answer GET / within {probe.timeout:g} s, {times} (livenessProbe)"
