"""What a job needs of whatever runs its mini-batches: worker processes today, a cluster tomorrow."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from localazure.batch.spec import MiniBatch
from localazure.home import Home


@dataclass(frozen=True)
class WorkerPlan:
    """What a worker is started with."""

    home: Home
    python: Path
    script: Path
    folders: tuple[Path, ...]
    """First on the script's import path."""
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    stdout: Path
    stderr: Path
    logging_level: str
    keep_rows: bool
    cwd: Path
    memory: int
    """Bytes that the worker may hold; one that holds more is replaced."""


@dataclass(frozen=True)
class Scored:
    """`run` answered."""

    batch: MiniBatch
    rows: str
    """What goes into the output file, line ends included; empty when the job keeps a summary only."""
    succeeded: int
    """Files that the answer counts for."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Files that are known to have failed, and why."""
    seconds: float = 0.0
    worker: str = ""


@dataclass(frozen=True)
class Failed:
    """One try of a mini-batch came to nothing."""

    batch: MiniBatch
    kind: Literal["exception", "timeout", "crash", "memory"]
    reason: str
    """One line."""
    trace: str = ""
    worker: str = ""


class InitFailed(Exception):
    """A worker could not start: `init()` raised, or the process ended in it. The text ends with its last lines."""


class Executor(Protocol):
    """Runs mini-batches, several at a time, each worker after one `init()`.

    A worker that took too long, grew too large or died is replaced; trying again is the job's decision, so each
    submitted mini-batch has exactly one outcome. Nothing of it outlives the process that made it, however that ends.
    """

    def submit(self, batch: MiniBatch) -> None:
        """Queue a mini-batch; returns at once."""
        ...

    def next(self, timeout: float) -> Scored | Failed | None:
        """The next outcome in order of completion, or None after `timeout` seconds without one.

        Raises:
            InitFailed: a worker could not start; no more outcomes are to be expected.
        """
        ...

    def close(self) -> None:
        """End all workers, whatever they are doing. Idempotent."""
        ...


class StartExecutor(Protocol):
    """Makes an executor with a worker for each plan; a call of `run` may take `timeout` seconds."""

    def __call__(self, plans: Mapping[str, WorkerPlan], timeout: float) -> Executor: ...
