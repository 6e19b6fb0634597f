"""Mini-batches on instances that can be taken away while a job runs: those of a low-priority cluster.

As Azure does it (learn.microsoft.com/azure/machine-learning/how-to-use-low-priority-batch), what is being processed on
an instance that goes is processed again on another; what is done is kept, and the lost capacity is replaced.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from localazure.batch.executor import Executor, Failed, InitFailed, Scored, StartExecutor, WorkerPlan
from localazure.batch.spec import MiniBatch
from localazure.batch.workers import ProcessExecutor

PUMP_SECONDS = 0.2

Nodes = Callable[[], Mapping[int, int]]
"""The node that each instance of the job has now, by number; an instance without one is left out."""


@dataclass(eq=False)
class _Crew:
    """The workers of one instance, while it has a node.

    Attributes:
        executor: runs them.
        size: how many mini-batches they run at a time.
        running: what they were given and have not answered.
        dismissed: set when the node is gone; what they say then counts no more.
    """

    executor: Executor
    size: int
    running: dict[int, MiniBatch] = field(default_factory=dict)
    dismissed: threading.Event = field(default_factory=threading.Event)


class Instances:
    """An `Executor` with the workers of each instance apart, of which those are at work whose instance has a node."""

    def __init__(
        self, plans: Mapping[str, WorkerPlan], timeout: float, nodes: Nodes, start: StartExecutor = ProcessExecutor
    ) -> None:
        """`plans` are named as `logs.worker_name` does, an instance's first worker before the second of any."""
        self._groups: dict[str, dict[str, WorkerPlan]] = {}
        for name, plan in plans.items():
            self._groups.setdefault(name.partition("/")[0], {})[name] = plan
        self._timeout = timeout
        self._nodes = nodes
        self._start = start
        self._crews: dict[int, tuple[int, _Crew]] = {}
        """The node and the workers of each group that is at work."""
        self._waiting: deque[MiniBatch] = deque()
        self._said: queue.SimpleQueue[tuple[_Crew, Scored | Failed | InitFailed]] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._look()

    @classmethod
    def of(cls, nodes: Nodes) -> StartExecutor:
        """Makes executors whose instances have these nodes."""
        return lambda plans, timeout: cls(plans, timeout, nodes)

    def submit(self, batch: MiniBatch) -> None:
        """See `Executor`."""
        self._waiting.append(batch)
        self._hand_out()

    def next(self, timeout: float) -> Scored | Failed | None:
        """See `Executor`."""
        self._look()
        self._hand_out()
        try:
            crew, said = self._said.get(timeout=timeout)
        except queue.Empty:
            return None
        if crew.dismissed.is_set():
            return None
        if isinstance(said, InitFailed):
            raise said
        crew.running.pop(said.batch.number, None)
        self._hand_out()
        return said

    def close(self) -> None:
        """See `Executor`."""
        for group in list(self._crews):
            self._dismiss(group)
        for thread in self._threads:
            thread.join()

    def _look(self) -> None:
        """Ends the workers whose node is gone, and starts those that have one now."""
        nodes = self._nodes()
        for group, (node, _) in list(self._crews.items()):
            if node not in nodes.values():
                self._dismiss(group)
        taken = {node for node, _ in self._crews.values()}
        free = [node for _, node in sorted(nodes.items()) if node not in taken]
        # A small machine has fewer workers than there are instances: any node will do for them.
        for group in [each for each in range(len(self._groups)) if each not in self._crews][: len(free)]:
            node = nodes[group] if nodes.get(group) in free else free[0]
            free.remove(node)
            self._begin(group, node)

    def _begin(self, group: int, node: int) -> None:
        plans = list(self._groups.values())[group]
        crew = _Crew(self._start(plans, self._timeout), len(plans))
        self._crews[group] = (node, crew)
        self._spawn(lambda: self._listen(crew))

    def _dismiss(self, group: int) -> None:
        _, crew = self._crews.pop(group)
        crew.dismissed.set()
        # They come first, and with the tries that they had: what happened is not their fault.
        self._waiting.extendleft(reversed(crew.running.values()))
        self._spawn(crew.executor.close)

    def _hand_out(self) -> None:
        for _, crew in self._crews.values():
            while self._waiting and len(crew.running) < crew.size:
                batch = self._waiting.popleft()
                crew.running[batch.number] = batch
                crew.executor.submit(batch)

    def _listen(self, crew: _Crew) -> None:
        while not crew.dismissed.is_set():
            try:
                said = crew.executor.next(PUMP_SECONDS)
            except InitFailed as error:
                said = error
            if said is not None:
                self._said.put((crew, said))

    def _spawn(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name="instance", daemon=True)
        self._threads.append(thread)
        thread.start()
