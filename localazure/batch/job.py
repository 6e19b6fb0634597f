"""One batch job from its inputs to its result. Knows how Azure counts, not how mini-batches are run."""

import contextlib
import hashlib
import heapq
import itertools
import logging
import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from localazure.batch.executor import Executor, Failed, InitFailed, Scored, StartExecutor, WorkerPlan
from localazure.batch.inputs import has_folders, list_files, mini_batches
from localazure.batch.journal import Journal
from localazure.batch.logs import JobLog, worker_name
from localazure.batch.output import free_target, publish
from localazure.batch.spec import BatchResult, BatchSpec, JobRefused, MiniBatch
from localazure.batch.workers import ProcessExecutor
from localazure.environment import container_environment
from localazure.home import Home
from localazure.settings import Settings

MLFLOW_SCRIPT = Path(__file__).with_name("mlflow_score.py")
NAMED_FAILURES = 20
LONGEST_REASON = 300
POLL_SECONDS = 0.2
# What the workers of a job may hold together of the machine's memory, unless the settings say otherwise.
MEMORY_SHARE = 0.8
# Read by the libraries that scripts use; everything else of the caller's environment stays with the caller.
INHERITED = ("LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class _Stopped(Exception):
    """The job ends early; the text is its message."""


class _Canceled(Exception):
    """The job ends here, and may go on later."""


def run(
    spec: BatchSpec,
    *,
    home: Home,
    cancelled: threading.Event,
    settings: Settings | None = None,
    executor: StartExecutor = ProcessExecutor,
) -> BatchResult:
    """Run a job to its end; blocks. Whatever goes wrong in it is in the result, and in the logs below `spec.log_dir`.

    A job that was killed or cancelled goes on where it was when it is run again with the journal it left: no
    mini-batch that has ended is scored again. Once it has ended, its result is the answer.

    Setting `cancelled` ends the job within a second. No process of the job is left when this returns.

    Raises:
        OSError: the output, the journal or a log could not be written.
    """
    tally = Tally()
    with JobLog(spec.log_dir, spec.logging_level) as log:
        try:
            batches = _plan(spec, log)
            tally.total = sum(len(batch.files) for batch in batches)
            with Journal(spec.journal, _identity(spec, batches)) as journal:
                job = _Job(spec, home, settings or Settings.load(home), batches, tally, journal, log, cancelled)
                return job.finished() or job.run(executor)
        except JobRefused as error:
            message = str(error)
            log.progress(f"The job failed. {message}")
        except _Canceled:
            message = "The job was canceled."
            log.progress(message)
        return BatchResult(False, tally.total, tally.failed, message)


@dataclass
class Tally:
    """How many files there are, and which of them failed."""

    total: int = 0
    succeeded: int = 0
    failed: int = 0
    unnamed: int = 0
    """Failed files of answers that were too short: which ones, only the script knows."""
    _named: list["_Named"] = field(default_factory=list)

    def count(self, outcome: Scored | Failed) -> None:
        """Take in the final outcome of a mini-batch."""
        for path, reason in named_failures(outcome).items():
            self._name(path, reason)
        if isinstance(outcome, Failed):
            self.failed += len(outcome.batch.files)
        else:
            self.succeeded += outcome.succeeded
            self.failed += len(outcome.batch.files) - outcome.succeeded
            self.unnamed += unnamed_failures(outcome)

    def _name(self, path: str, reason: str) -> None:
        # No more than the summary names: half a million files may fail.
        heapq.heappush(self._named, _Named(path, _short(reason)))
        if len(self._named) > NAMED_FAILURES:
            heapq.heappop(self._named)

    def summary(self) -> str:
        """One sentence, then the failed files, of many the first by name."""
        text = f"Processed {self.total} files: {self.succeeded} succeeded, {self.failed} failed."
        named = [f"{_display(each.path)}: {each.reason}" for each in sorted(self._named, reverse=True)]
        if (more := self.failed - self.unnamed - len(named)) > 0:
            named.append(f"and {more} more, see logs/user/error.txt")
        if self.unnamed:
            named.append(f"{self.unnamed} without an element in what run() returned, see logs/user/error.txt")
        return "\n".join([text, *named])


@dataclass(frozen=True)
class _Named:
    """A failed file; the smallest of them, for a heap, is the last by its name."""

    path: str
    reason: str

    def __lt__(self, other: "_Named") -> bool:
        return self.path > other.path


def named_failures(outcome: Scored | Failed) -> Mapping[str, str]:
    """Which files are known to have failed, and why."""
    if isinstance(outcome, Failed):
        return dict.fromkeys(outcome.batch.files, outcome.reason)
    if outcome.succeeded == 0 and not outcome.failures:
        return dict.fromkeys(outcome.batch.files, "run() returned nothing for it")
    return outcome.failures


def unnamed_failures(outcome: Scored) -> int:
    """How many more failed: the answer has too few elements, and does not say for which files."""
    return len(outcome.batch.files) - outcome.succeeded - len(named_failures(outcome))


def _plan(spec: BatchSpec, log: JobLog) -> list[MiniBatch]:
    nested = spec.script is not None
    if spec.mini_batch_size < 1:
        raise JobRefused(f"miniBatchSize: {spec.mini_batch_size} files; a mini-batch needs at least 1.")
    files = [list_files(source, nested=nested) for source in spec.inputs]
    if not nested and any(has_folders(source) for source in spec.inputs):
        # "Nested folder structures aren't explored during inference" (how-to-mlflow-batch).
        log.driver(
            "The input has folders in it, which Azure does not search for MLflow models without a scoring script: "
            "put all files into one folder.",
            logging.WARNING,
        )
    batches = mini_batches(files, spec.mini_batch_size)
    if not batches:
        raise JobRefused(f"The input contains no files: {', '.join(map(str, spec.inputs)) or 'none was named'}.")
    return batches


def _worker_count(spec: BatchSpec, batches: int, settings: Settings, log: JobLog) -> int:
    wanted = spec.instance_count * spec.max_concurrency_per_instance
    if wanted < 1:
        raise JobRefused(f"instanceCount × maxConcurrencyPerInstance is {wanted}; a job needs at least 1 worker.")
    limit = settings.max_batch_workers
    if wanted > limit:
        log.driver(
            f"{spec.instance_count} instances × {spec.max_concurrency_per_instance} are {wanted} workers; "
            f"the setting max_batch_workers keeps them to {limit} on this machine.",
            logging.WARNING,
        )
    return min(wanted, limit, batches)


@dataclass(frozen=True)
class _Job:
    """One run of a job whose mini-batches are known."""

    spec: BatchSpec
    home: Home
    settings: Settings
    batches: Sequence[MiniBatch]
    tally: Tally
    journal: Journal
    log: JobLog
    cancelled: threading.Event

    def finished(self) -> BatchResult | None:
        """The result of a run that ended and was killed before anybody heard of it; its output is there."""
        return self._leave(self.journal.result) if self.journal.result else None

    def run(self, executor: StartExecutor) -> BatchResult:
        """Score what is left to score, and end the job."""
        workers = _worker_count(self.spec, len(self.batches), self.settings, self.log)
        free_target(self.spec)
        self.log.progress(
            f"Job {self.spec.job}: {self.tally.total} files in {len(self.batches)} mini-batches, {workers} workers."
        )
        try:
            left = self._take_up()
            if any(left):
                self._score(left, workers, executor)
            if not self.tally.succeeded:
                raise _Stopped(_nothing_succeeded(self.tally))
        except _Stopped as error:
            self.log.progress(f"The job failed. {error}")
            return self._end(False, str(error))
        message = self.tally.summary()
        self.log.progress(message)
        return self._end(True, message)

    def _take_up(self) -> bytearray:
        """Count what an earlier run has done; answers with a 1 for each mini-batch that is left to score."""
        left = bytearray(b"\1") * len(self.batches)
        for outcome in self.journal.past(self.batches):
            left[outcome.batch.number] = 0
            self._count(outcome)
        if self.journal.discarded:
            self.log.driver("The journal is of another job or of other inputs: it is begun anew.", logging.WARNING)
        elif done := left.count(0):
            self.log.progress(f"Going on with what was left: {done} mini-batches were processed before.")
        return left

    def _score(self, left: bytearray, workers: int, start: StartExecutor) -> None:
        tries = self.journal.tries
        batches = (
            replace(batch, attempt=tries.get(batch.number, 0) + 1) for batch in itertools.compress(self.batches, left)
        )
        with self._executor(workers, start) as executor:
            for outcome in final_outcomes(executor, batches, 2 * workers, self._next_try, lambda: self._next(executor)):
                self._keep(outcome)

    def _next(self, executor: Executor) -> Scored | Failed:
        outcome, failure = None, None
        while outcome is None and failure is None and not self.cancelled.is_set():
            try:
                outcome = executor.next(POLL_SECONDS)
            except InitFailed as error:
                failure = str(error)
        # Whoever cancels may end the workers, too, which must not look like a fault of the script's.
        if self.cancelled.is_set():
            raise _Canceled
        if outcome is None:
            assert failure is not None
            self.log.error("", f"init() failed: {_tail(failure, 1)}", failure)
            raise _Stopped(f"The scoring script's init() failed. Last lines:\n{_tail(failure)}")
        _log_outcome(outcome, self.log)
        return outcome

    def _next_try(self, outcome: Failed) -> MiniBatch | None:
        """What to submit again after a failed try, if anything."""
        batch = outcome.batch
        if batch.attempt >= self.spec.max_retries:
            return None
        self.journal.failed(outcome, final=False)
        return replace(batch, attempt=batch.attempt + 1)

    def _keep(self, outcome: Scored | Failed) -> None:
        if isinstance(outcome, Scored):
            self.journal.scored(outcome)
        else:
            self.journal.failed(outcome, final=True)
        self._count(outcome)
        done = self.tally.succeeded + self.tally.failed
        self.log.progress(f"{done} of {self.tally.total} files processed, {self.tally.failed} failed.")

    def _count(self, outcome: Scored | Failed) -> None:
        self.tally.count(outcome)
        threshold = self.spec.error_threshold
        if 0 <= threshold < self.tally.failed:
            raise _Stopped(f"Exceeded error threshold {threshold}. {self.tally.summary()}")

    def _end(self, succeeded: bool, message: str) -> BatchResult:
        result = BatchResult(succeeded, self.tally.total, self.tally.failed, message)
        self.journal.end(result)
        return self._leave(result)

    def _leave(self, result: BatchResult) -> BatchResult:
        if result.succeeded:
            publish(self.spec, self.journal.rows)
        self.journal.rows.unlink(missing_ok=True)
        return result

    @contextlib.contextmanager
    def _executor(self, workers: int, start: StartExecutor) -> Iterator[Executor]:
        # Azure's driver moves to a temporary folder before it calls the script, so paths must not be relative.
        with tempfile.TemporaryDirectory(prefix="aml-batch-", ignore_cleanup_errors=True) as scratch:
            names = [worker_name(slot, self.spec.instance_count) for slot in range(workers)]
            executor = start(self._plans(names, Path(scratch)), self.spec.timeout)
            try:
                yield executor
            finally:
                executor.close()

    def _plans(self, names: Sequence[str], scratch: Path) -> Mapping[str, WorkerPlan]:
        spec = self.spec
        script, folders = _script(spec)
        shared = WorkerPlan(
            home=self.home,
            python=spec.python,
            script=script,
            folders=folders,
            arguments=driver_arguments(spec),
            environment=worker_environment(spec, os.environ, container_environment(self.home, self.settings)),
            stdout=Path(),
            stderr=Path(),
            logging_level=spec.logging_level,
            keep_rows=spec.output_action == "AppendRow",
            cwd=scratch,
            memory=_memory(self.settings, len(names)),
        )
        return {name: replace(shared, stdout=self.log.stdout(name), stderr=self.log.stderr(name)) for name in names}


def final_outcomes(
    executor: Executor,
    batches: Iterable[MiniBatch],
    in_flight: int,
    next_try: Callable[[Failed], MiniBatch | None],
    outcome_of: Callable[[], Scored | Failed],
) -> Iterator[Scored | Failed]:
    """Submit all mini-batches, at most `in_flight` ahead, and yield the last outcome of each exactly once.

    Those that are to be tried again are tried after all others.
    """
    fresh, again, running = iter(batches), deque[MiniBatch](), 0
    while True:
        while running < in_flight and (batch := next(fresh, None) or (again.popleft() if again else None)):
            executor.submit(batch)
            running += 1
        if not running:
            return
        outcome = outcome_of()
        running -= 1
        if isinstance(outcome, Failed) and (batch := next_try(outcome)):
            again.append(batch)
        else:
            yield outcome


def _log_outcome(outcome: Scored | Failed, log: JobLog) -> None:
    batch = outcome.batch
    names = ", ".join(map(_display, batch.files))
    head = f"mini-batch {batch.number}, try {batch.attempt}, {len(batch.files)} files ({names})"
    if isinstance(outcome, Failed):
        log.node(outcome.worker, f"{head}: {outcome.kind}")
        log.error(outcome.worker, f"{head}: {outcome.reason}", outcome.trace)
        return
    log.node(outcome.worker, f"{head}: {outcome.succeeded} succeeded, run() took {outcome.seconds:.3f} s")
    for path, reason in named_failures(outcome).items():
        log.error(outcome.worker, f"{_display(path)}: {reason}")
    if count := unnamed_failures(outcome):
        log.error(outcome.worker, f"{head}: {count} without an element in what run() returned")


def _nothing_succeeded(tally: Tally) -> str:
    # Azure's driver fails such a job whatever the error threshold is.
    return f"There is no succeeded mini batch item returned from run(). {tally.summary()}"


def _identity(spec: BatchSpec, batches: Iterable[MiniBatch]) -> str:
    """Tells jobs and their inputs apart: the rows of one must never count for another."""
    found = hashlib.sha256(repr((spec.job, spec.output_action, spec.output_file_name, spec.script)).encode())
    for batch in batches:
        for path in batch.files:
            found.update(os.fsencode(path) + b"\0%d\0" % _size(path))
        found.update(b"\n")
    return found.hexdigest()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - half a million files
    except OSError:
        return -1


def _memory(settings: Settings, workers: int) -> int:
    """Bytes that each worker may hold."""
    if settings.batch_worker_memory_mb is not None:
        return settings.batch_worker_memory_mb << 20
    return int(psutil.virtual_memory().total * MEMORY_SHARE / workers)


def _script(spec: BatchSpec) -> tuple[Path, tuple[Path, ...]]:
    """The scoring script, and the folders it may import from."""
    if spec.script is None:
        if spec.mlflow_path is None:
            raise JobRefused("The deployment has no scoring script, and its model is not an MLflow model: add code.")
        return MLFLOW_SCRIPT, ()
    if spec.code_dir is None or not (spec.code_dir / spec.script).is_file():
        raise JobRefused(f"The scoring script {spec.script} is not in the deployment's code folder.")
    script = spec.code_dir / spec.script
    if not script.resolve().is_relative_to(spec.code_dir.resolve()):
        raise JobRefused(f"The scoring script {spec.script} lies outside the deployment's code; name one within.")
    return script, tuple(dict.fromkeys((script.parent, spec.code_dir)))


def driver_arguments(spec: BatchSpec) -> tuple[str, ...]:
    """What a script finds in `sys.argv`: the arguments that Azure starts its batch driver with."""
    arguments = {
        "--scoring_module_name": spec.script or MLFLOW_SCRIPT.name,
        "--mini_batch_size": str(spec.mini_batch_size),
        "--error_threshold": str(spec.error_threshold),
        "--output_action": "append_row" if spec.output_action == "AppendRow" else "summary_only",
        "--logging_level": spec.logging_level.upper(),
        "--run_invocation_timeout": f"{spec.timeout:.0f}",
        "--run_max_try": str(spec.max_retries),
        "--append_row_file_name": spec.output_file_name,
        "--output": str(spec.output_dir),
        "--process_count_per_node": str(spec.max_concurrency_per_instance),
    }
    if spec.script is None:
        arguments["--mlflow_model"] = str(spec.mlflow_path)
    return tuple(part for pair in arguments.items() for part in pair)


def worker_environment(spec: BatchSpec, environ: Mapping[str, str], surroundings: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a worker: the deployment's variables, and those that Azure's driver sets."""
    inherited = {name: environ[name] for name in INHERITED if name in environ}
    own = {"AZUREML_BI_OUTPUT_PATH": str(spec.output_dir)}
    if spec.model_dir is not None:
        own["AZUREML_MODEL_DIR"] = str(spec.model_dir)
    path = os.pathsep.join([str(spec.python.parent), environ.get("PATH", os.defpath)])
    return {**inherited, **surroundings, "PATH": path, **spec.environment_variables, **own}


def _display(path: str) -> str:
    # It goes into answers, which are UTF-8, and a file's name need not be.
    return os.fsencode(Path(path).name).decode("utf-8", "backslashreplace")


def _short(reason: str) -> str:
    # An exception of MLflow's repeats the whole schema; the log has it all.
    line = reason.strip().partition("\n")[0]
    return line if len(line) <= LONGEST_REASON else line[:LONGEST_REASON] + "…"


def _tail(text: str, lines: int = 15) -> str:
    return "\n".join(text.splitlines()[-lines:])
