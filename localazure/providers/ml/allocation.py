"""Which nodes a compute cluster has and whom they work for: pure rules, without clock, store or threads.

Jobs get their nodes in order of arrival, all at once, and nobody overtakes: two that fit run together, and one that
does not fit is waited for. The cluster grows for the jobs that its largest size and the quota have room for, and idle
nodes go after their rest, down to the smallest number
(learn.microsoft.com/azure/machine-learning/how-to-create-attach-compute-cluster).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

State = Literal["idle", "running", "preparing", "unusable", "leaving", "preempted"]
STATES: tuple[State, ...] = ("idle", "running", "preparing", "unusable", "leaving", "preempted")
# What is idle or works, or is about to. The others take a place of the largest number, and nobody can use them.
_SOUND = ("idle", "running", "preparing")
# How long a node that could not be had is shown as unusable before another is tried.
UNUSABLE_SECONDS = 30.0


@dataclass(frozen=True)
class Node:
    """A node of a cluster.

    Attributes:
        number: from 1 in order of allocation; never given twice in a cluster.
        state: as Azure names it.
        moment: when it is idle or running, since when; else until when. Seconds, as of `time.time()`.
        job: whose it is, by name.
        instance: which of the job's instances it is, from 0.
        failure: why it is or will be unusable: code and message.
    """

    number: int
    state: State
    moment: float
    job: str | None = None
    instance: int = 0
    failure: dict[str, str] | None = None


@dataclass(frozen=True)
class Ask:
    """A job, and how many nodes it is to run on."""

    job: str
    instances: int


@dataclass(frozen=True)
class Scale:
    """Scale settings: the smallest and the largest number of nodes, and the seconds that an idle one stays."""

    least: int
    most: int
    rest: float


@dataclass(frozen=True)
class Outlook:
    """What becomes of a node that is allocated now: it can be used after some `seconds`, or it is a `failure` then."""

    seconds: float = 0.0
    failure: dict[str, str] | None = None


@dataclass(frozen=True)
class Pool:
    """The nodes of one cluster and the jobs on it: `running` have nodes, `waiting` have none yet.

    Attributes:
        made: nodes that there have been.
        target: how many nodes there are to be.
        changed: when the cluster last began or ceased to resize.
        starved: whether the quota keeps it from growing.
    """

    nodes: tuple[Node, ...] = ()
    running: tuple[Ask, ...] = ()
    waiting: tuple[Ask, ...] = ()
    made: int = 0
    target: int = 0
    changed: float = 0.0
    starved: bool = False

    @classmethod
    def read(cls, kept: dict[str, Any]) -> Pool:
        """A pool from what `kept` gave."""
        lists = {
            "nodes": tuple(Node(**each) for each in kept.get("nodes", ())),
            "running": tuple(Ask(**each) for each in kept.get("running", ())),
            "waiting": tuple(Ask(**each) for each in kept.get("waiting", ())),
        }
        return cls(**{**kept, **lists})

    def kept(self) -> dict[str, Any]:
        """The pool as JSON."""
        return asdict(self)

    @property
    def resizing(self) -> bool:
        """Whether nodes come or go."""
        return any(node.state in ("preparing", "leaving") for node in self.nodes)

    def places(self, job: str) -> dict[int, int]:
        """The number of the node that each instance of a job has."""
        return {node.instance: node.number for node in self.nodes if node.job == job}

    def count(self, *states: State) -> int:
        """How many nodes are in one of these states."""
        return sum(node.state in states for node in self.nodes)


@dataclass(frozen=True)
class Step:
    """What a look at a pool comes to: the pool as it is now, who got nodes, and who never will."""

    pool: Pool
    started: tuple[Ask, ...] = ()
    refused: tuple[Ask, ...] = ()


@dataclass
class _Needs:
    """What the jobs need of a pool: nodes that are to be idle for them, and new ones."""

    kept: int = 0
    new: int = 0
    starved: bool = False


@dataclass
class Means:
    """What a cluster can have.

    Attributes:
        allocate: the outlook of one more node.
        release: the seconds after which a node that goes now is gone.
        room: how many more nodes the quota has cores for.
    """

    allocate: Callable[[int], Outlook] = field(default=lambda number: Outlook())
    release: Callable[[int], float] = field(default=lambda number: 0.0)
    room: Callable[[], int] = field(default=lambda: 1_000_000)


# What happens to a pool -----------------------------------------------------------------------------------------------


def enter(pool: Pool, ask: Ask) -> Pool:
    """A job comes, and waits behind those that wait."""
    return replace(pool, waiting=(*pool.waiting, ask))


def leave(pool: Pool, job: str, now: float) -> Pool:
    """A job ends, wherever it is: its nodes are idle."""
    nodes = tuple(Node(node.number, "idle", now) if node.job == job else node for node in pool.nodes)
    return replace(
        pool,
        nodes=nodes,
        running=tuple(each for each in pool.running if each.job != job),
        waiting=tuple(each for each in pool.waiting if each.job != job),
    )


def preempt(pool: Pool, count: int, now: float, until: float) -> tuple[Pool, tuple[str, ...]]:
    """Azure takes nodes back, those that work first, and has none to give in their place until a moment.

    Returns the pool and the jobs that have lost their last node, with no idle one to go on with: Azure cancels them,
    "as there is no capacity available for it to run"
    (learn.microsoft.com/azure/machine-learning/how-to-use-low-priority-batch).
    """
    order = sorted(
        (node for node in pool.nodes if node.state in _SOUND),
        key=lambda node: (node.state != "running", node.instance == 0, -node.number),
    )
    taken = {node.number for node in order[:count]}
    nodes = (Node(node.number, "preempted", until) if node.number in taken else node for node in pool.nodes)
    pool = _mended(replace(pool, nodes=tuple(nodes)), now)
    bereft = tuple(ask.job for ask in pool.running if not pool.places(ask.job))
    for job in bereft:
        pool = leave(pool, job, now)
    return pool, bereft


def advance(pool: Pool, scale: Scale, now: float, means: Means | None = None) -> Step:
    """The pool at a moment: times that have passed, nodes given, grown and shrunk."""
    means = means or Means()
    refused = tuple(ask for ask in pool.waiting if ask.instances > scale.most)
    before = pool
    pool = replace(pool, waiting=tuple(ask for ask in pool.waiting if ask.instances <= scale.most))
    pool = _trimmed(_elapsed(pool, now), scale, now, means)
    pool, first = _begun(_mended(pool, now), now)
    pool = _given_way(pool, scale, now, means)
    pool, second = _begun(_mended(_elapsed(pool, now), now), now)
    if pool.resizing != before.resizing or len(pool.nodes) != len(before.nodes):
        pool = replace(pool, changed=now)
    return Step(pool, (*first, *second), refused)


def due(pool: Pool, scale: Scale, now: float) -> float | None:
    """The next moment at which time alone changes something."""
    moments = [node.moment for node in pool.nodes if node.state not in ("idle", "running")]
    if pool.count(*_SOUND) > scale.least:
        moments += [node.moment + scale.rest for node in pool.nodes if node.state == "idle"]
    return min((moment for moment in moments if moment > now), default=None)


# The rules ------------------------------------------------------------------------------------------------------------


def _elapsed(pool: Pool, now: float) -> Pool:
    """Nodes whose time has come: those that were prepared can be used, and those that went are gone."""
    return replace(pool, nodes=tuple(after for node in pool.nodes if (after := _aged(node, now))))


def _aged(node: Node, now: float) -> Node | None:
    if node.state in ("idle", "running") or node.moment > now:
        return node
    if node.state != "preparing":
        return None
    if node.failure is None:
        return replace(node, state="idle")
    return _aged(replace(node, state="unusable", moment=node.moment + UNUSABLE_SECONDS), now)


def _trimmed(pool: Pool, scale: Scale, now: float, means: Means) -> Pool:
    """Nodes above the largest number go, unless they work: a job is never interrupted for it."""
    staying = [node for node in pool.nodes if node.state != "leaving"]
    excess = len(staying) - scale.most
    spare = [
        node for state in ("unusable", "preempted", "preparing", "idle") for node in staying if node.state == state
    ]
    return _without(pool, {node.number for node in spare[: max(0, excess)]}, now, means)


def _without(pool: Pool, numbers: set[int], now: float, means: Means) -> Pool:
    return replace(pool, nodes=tuple(_leaving(pool, numbers, now, means)))


def _leaving(pool: Pool, numbers: set[int], now: float, means: Means) -> Iterator[Node]:
    for node in pool.nodes:
        if node.number not in numbers:
            yield node
        elif (seconds := means.release(node.number)) > 0:
            yield Node(node.number, "leaving", now + seconds)


def _mended(pool: Pool, now: float) -> Pool:
    """Idle nodes for the jobs that lost some."""
    for ask in pool.running:
        pool = _handed(pool, ask.job, sorted(set(range(ask.instances)) - set(pool.places(ask.job))), now)
    return pool


def _begun(pool: Pool, now: float) -> tuple[Pool, tuple[Ask, ...]]:
    """Idle nodes for the jobs that wait, in order of arrival; and which jobs got them."""
    started: list[Ask] = []
    for ask in pool.waiting:
        if ask.instances > pool.count("idle"):
            break
        pool = _handed(pool, ask.job, range(ask.instances), now)
        started.append(ask)
    running, waiting = (*pool.running, *started), pool.waiting[len(started) :]
    return replace(pool, running=running, waiting=waiting), tuple(started)


def _handed(pool: Pool, job: str, instances: Sequence[int], now: float) -> Pool:
    """Idle nodes as these instances of a job, as far as there are any."""
    # First the one that has been idle for the shortest time: the others come nearer to their end.
    idle = sorted((node for node in pool.nodes if node.state == "idle"), key=lambda node: -node.moment)
    given = {node.number: Node(node.number, "running", now, job, at) for node, at in zip(idle, instances, strict=False)}
    return replace(pool, nodes=tuple(given.get(node.number, node) for node in pool.nodes))


def _given_way(pool: Pool, scale: Scale, now: float, means: Means) -> Pool:
    """Grown by what the jobs need, and without the nodes that nobody needs any more."""
    needs = _needs(pool, scale, means)
    idle = sorted((node for node in pool.nodes if node.state == "idle"), key=lambda node: node.moment)
    tired = [node for node in idle[: max(0, len(idle) - needs.kept)] if node.moment + scale.rest <= now]
    above = max(0, pool.count(*_SOUND) + needs.new - scale.least)
    pool = _without(pool, {node.number for node in tired[:above]}, now, means)
    pool = _grown(pool, needs.new, now, means)
    return replace(pool, starved=needs.starved, target=min(scale.most, pool.count(*_SOUND)))


def _needs(pool: Pool, scale: Scale, means: Means) -> _Needs:
    """What is needed for jobs with lost nodes, the waiting ones that fit, and the smallest number."""
    needs, room = _Needs(), _Room(means)
    free = pool.count("idle", "preparing")
    places = max(0, scale.most - len(pool.nodes))
    lost = sum(ask.instances - len(pool.places(ask.job)) for ask in pool.running)
    needs.new = min(max(0, lost - free), places)
    if needs.new > room.left(needs.new):
        needs.new, needs.starved = room.left(needs.new), True
    needs.kept, free, places = min(lost, free), max(0, free - lost), places - needs.new
    for ask in pool.waiting:
        lacking = max(0, ask.instances - free)
        if lacking > places:
            # Its time will come when others end; what is idle meanwhile is for it.
            needs.kept += free
            break
        if lacking > room.left(lacking + needs.new) - needs.new:
            # All or nothing: two clusters that each keep half of what they need would wait for each other for ever.
            needs.starved = True
            break
        needs.kept += min(free, ask.instances)
        free, places, needs.new = max(0, free - ask.instances), places - lacking, needs.new + lacking
    short = min(scale.least - pool.count(*_SOUND) - needs.new, places)
    if short > 0:
        needs.new += max(0, min(short, room.left(short + needs.new) - needs.new))
    return needs


class _Room:
    """The quota's room, which is asked for only where something is needed: it takes a look at every resource."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._known: int | None = None

    def left(self, needed: int) -> int:
        if needed <= 0:
            return 0
        if self._known is None:
            self._known = max(0, self._means.room())
        return self._known


def _grown(pool: Pool, count: int, now: float, means: Means) -> Pool:
    nodes = list(pool.nodes)
    for number in range(pool.made + 1, pool.made + 1 + count):
        outlook = means.allocate(number)
        nodes.append(Node(number, "preparing", now + outlook.seconds, failure=outlook.failure))
    return replace(pool, nodes=tuple(nodes), made=pool.made + count)
