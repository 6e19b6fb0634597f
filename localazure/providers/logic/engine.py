"""Fires the triggers of workflows at their instants and carries their runs out.

It sleeps until the next instant, and goes by a clock of its own that can be put forward. A run is on disk, under the
one name that its instant has, before anything is sent: after a kill it goes on, and no instant fires twice.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

from localazure.arm.store import Resource
from localazure.clock import ClockRefused, MovableClock
from localazure.providers.cloud import Cloud
from localazure.providers.logic import runs
from localazure.providers.logic.definition import recurrence_of, trigger_of
from localazure.providers.logic.expressions import Scope, evaluated
from localazure.providers.logic.http_action import Send, attempt
from localazure.providers.logic.names import ENABLED, RUN_TYPE, WORKFLOW_TYPE, moment_of, run_name, stamp
from localazure.recurrence import next_after

log = logging.getLogger(__name__)

# How late an instant still fires: "the timestamp for the triggered run might vary up to 1 minute from the scheduled
# time". What is later was missed, and "the trigger doesn't process the missed recurrences but restarts recurrences at
# the next scheduled interval" (https://learn.microsoft.com/azure/connectors/connectors-native-recurrence).
GRACE = timedelta(minutes=1)
# "Run history retention period: 90 days", in Consumption.
KEPT = timedelta(days=90)
# At most, for the machine's clock may be set, and no sleep counts the time that a machine sleeps.
_LONGEST_SLEEP = 30.0
_FARTHEST = timedelta(days=400)
_THREADS = 4


class Engine:
    """What makes the workflows of one Local Azure run."""

    def __init__(self, cloud: Cloud, clock: MovableClock, send: Send) -> None:
        self._cloud = cloud
        self.clock = clock
        self._send = send
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="workflow")
        self._thread = threading.Thread(target=self._watch, name="workflows", daemon=True)
        # Who looks what is due: the thread, or whoever puts the clock forward.
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._waiting: dict[str, datetime] = {}
        self._busy: set[str] = set()
        self._woken = False
        self._stopping = False

    # Life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Takes up what runs; what was missed while nothing ran stays missed, as in Azure."""
        with self._changed:
            found = (each for each in self._cloud.store.of_type(RUN_TYPE) if runs.is_running(each))
            self._waiting |= {each.id: runs.due(each) for each in found}
        self._thread.start()

    def stop(self) -> None:
        """Begins nothing more; a run that is under way goes on at the next start."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._thread.is_alive():
            self._thread.join(5)

    def wake(self) -> None:
        """Something has changed: look again what is due."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def _watch(self) -> None:
        while not self._stopping:
            try:
                with self._turn:
                    self._step()
                    pause = self._pause()
            except Exception:
                if self._stopping:
                    return
                log.exception("workflows could not be looked at; they are again in a moment")
                pause = _LONGEST_SLEEP
            self._sleep(pause)

    def _sleep(self, seconds: float | None) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._woken or self._stopping, seconds)
            self._woken = False

    def _pause(self) -> float | None:
        """The seconds to sleep; None where nothing is going to happen by itself."""
        due = self._earliest()
        if due is None:
            return None
        return min(max((due - self.clock.now()).total_seconds(), 0.0), _LONGEST_SLEEP)

    # Time ----------------------------------------------------------------------------------------------------

    def pass_time(self, until: datetime) -> datetime:
        """Puts the clock forward, with all that happens on the way in its order; the time that it shows then.

        Raises:
            ClockRefused: the time has passed already, or is more than 400 days off.
        """
        if not timedelta(0) <= until - self.clock.now() <= _FARTHEST:
            raise ClockRefused(
                f"The clock of schedules shows {stamp(self.clock.now())}; it can be put forward by up to 400 days, not "
                f"to {stamp(until)}."
            )
        with self._turn:
            self._settle()
            while (due := self._earliest()) is not None and due <= until and not self._stopping:
                self.clock.put_forward(due)
                self._settle()
            self.clock.put_forward(until)
        self.wake()
        return self.clock.now()

    def _settle(self) -> None:
        """Does what is due, and waits until it has been done."""
        while not self._stopping:
            self._step()
            with self._changed:
                self._changed.wait_for(lambda: not self._busy or self._stopping)
                now = self.clock.now()
                if not any(due <= now for due in self._waiting.values()):
                    return

    def _earliest(self) -> datetime | None:
        instants = [due for each in self._workflows() if (due := self.next_of(each))]
        with self._changed:
            retries = [due for run, due in self._waiting.items() if run not in self._busy]
        return min([*instants, *retries], default=None)

    def next_of(self, workflow: Resource) -> datetime | None:
        """The next instant at which a workflow's trigger fires; None where it is off or has run out."""
        trigger = trigger_of(workflow.properties["definition"])
        if trigger is None or workflow.properties["state"] != ENABLED:
            return None
        recurrence = recurrence_of(trigger[1], moment_of(workflow.hidden["saved"]), trigger[0])
        since = max(self.clock.now() - GRACE, moment_of(workflow.hidden["since"]))
        return next_after(recurrence, since)

    def _workflows(self) -> list[Resource]:
        return self._cloud.store.of_type(WORKFLOW_TYPE)

    # Firing --------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        now = self.clock.now()
        for workflow in self._workflows():
            for instant in self._due(workflow, now):
                self._fire(workflow.id, instant)
        with self._changed:
            ready = [run for run, due in self._waiting.items() if due <= now and run not in self._busy]
            self._busy.update(ready)
        for run in ready:
            self._pool.submit(self._carry_on, run)

    def _due(self, workflow: Resource, now: datetime) -> Iterator[datetime]:
        instant = self.next_of(workflow)
        while instant is not None and instant <= now:
            yield instant
            found = self._cloud.store.get(workflow.id)
            instant = self.next_of(found) if found else None

    def _fire(self, workflow_id: str, instant: datetime) -> None:
        with self._cloud.store.transaction():
            workflow = self._cloud.store.get(workflow_id)
            # It may have changed or gone since the look.
            if workflow is None or self.next_of(workflow) != instant:
                return
            trigger, _ = trigger_of(workflow.properties["definition"]) or ("", {})
            name = run_name(instant, workflow.id, trigger)
            if self._cloud.store.get(f"{workflow.id}/runs/{name}") is None:
                self.begin(workflow, name, trigger, instant)
                workflow = self._cloud.store.get(workflow.id) or workflow
            since = {"since": stamp(instant)}
            self._cloud.store.put(replace(workflow, hidden={**workflow.hidden, **since}))

    def begin(self, workflow: Resource, name: str, trigger: str, scheduled: datetime) -> Resource:
        """Writes a run, which is carried out once the transaction is on disk."""
        run = self._cloud.store.put(runs.new_run(workflow, name, trigger, scheduled, self.clock.now()))
        self._cloud.store.put(replace(workflow, hidden={**workflow.hidden, "run": run.id}))
        self._forget_old(workflow)
        if runs.is_running(run):
            self._cloud.store.after_commit(lambda: self._wait_for(run))
        return run

    def _wait_for(self, run: Resource) -> None:
        with self._changed:
            self._waiting[run.id] = runs.due(run)
        self.wake()

    def _forget_old(self, workflow: Resource) -> None:
        """Removes runs beyond the history, once a day: each look reads all of the workflow's runs."""
        now = self.clock.now()
        before = self._cloud.store.get(workflow.hidden.get("run") or "")
        if before is None or moment_of(before.properties["startTime"]).date() == now.date():
            return
        oldest = stamp(now - KEPT)
        for run in self._cloud.store.below(workflow.id, RUN_TYPE):
            if run.properties["startTime"] < oldest and not runs.is_running(run):
                self._cloud.store.delete(run.id)

    # Carrying out --------------------------------------------------------------------------------------------

    def _carry_on(self, run_id: str) -> None:
        due: datetime | None = None
        try:
            due = self._attempt(run_id)
        except Exception:
            if not self._stopping:
                log.exception("run %s could not go on; it does so later", run_id)
                due = self.clock.now() + GRACE
        with self._changed:
            self._busy.discard(run_id)
            self._waiting.pop(run_id, None)
            if due is not None:
                self._waiting[run_id] = due
        self.wake()

    def _attempt(self, run_id: str) -> datetime | None:
        """Attempts the next action of a run; when to do so again, or None where it has ended."""
        run, workflow = self._present(run_id)
        if run is None or workflow is None:
            return None
        name = runs.ready(run) or ""
        begun = self.clock.now()
        scope = Scope(run.hidden["parameters"], run.name, begun)
        # Evaluated once: each attempt sends the same.
        inputs = run.hidden["actions"][name].get("inputs") or evaluated(_inputs(run, name), scope)
        outcome = attempt(self._cloud, workflow, run.name, name, inputs, self._send)
        with self._cloud.store.transaction():
            present, _ = self._present(run_id)
            if present is None:
                return None
            now = self.clock.now()
            after = self._cloud.store.put(runs.attempted(present, name, inputs, outcome, begun, now))
        if outcome.error:
            log.warning("%s: action %s failed: %s: %s", run.id, name, outcome.code, outcome.error["message"])
        return runs.due(after) if runs.is_running(after) else None

    def _present(self, run_id: str) -> tuple[Resource | None, Resource | None]:
        """A run that runs, and its workflow; neither where one of them has gone or ended."""
        run = self._cloud.store.get(run_id)
        workflow = self._cloud.store.get(run_id.rpartition("/runs/")[0])
        return (run, workflow) if run and workflow and runs.is_running(run) else (None, None)


def _inputs(run: Resource, name: str) -> runs.Json:
    return run.hidden["definition"]["actions"][name]["inputs"]
