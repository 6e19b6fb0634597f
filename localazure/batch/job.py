"""One batch job from its inputs to its result. Knows how Azure counts, not how mini-batches are run."""

import contextlib
import logging
import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from localazure.batch.executor import Executor, Failed, InitFailed, Scored
from localazure.batch.inputs import has_folders, list_files, mini_batches
from localazure.batch.logs import JobLog, worker_name
from localazure.batch.output import Output, open_output
from localazure.batch.spec import BatchResult, BatchSpec, JobRefused, MiniBatch
from localazure.batch.workers import ProcessExecutor, Worker, WorkerPlan
from localazure.environment import container_environment
from localazure.home import Home
from localazure.settings import Settings

MLFLOW_SCRIPT = Path(__file__).with_name("mlflow_score.py")
NAMED_FAILURES = 20
LONGEST_REASON = 300
POLL_SECONDS = 0.2
# Read by the libraries that scripts use; everything else of the caller's environment stays with the caller.
INHERITED = ("LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class _Stopped(Exception):
    """The job ends early; the text is its message."""


def run(spec: BatchSpec, *, home: Home, cancelled: threading.Event, settings: Settings | None = None) -> BatchResult:
    """Run a job to its end; blocks. Whatever goes wrong in it is in the result, and in the logs below `spec.log_dir`.

    Setting `cancelled` ends the job within a second. No process of the job is left when this returns.

    Raises:
        OSError: the output or a log could not be written.
    """
    log = JobLog(spec.log_dir, spec.logging_level)
    tally = Tally()
    settings = settings or Settings.load(home)
    try:
        batches = _plan(spec, log)
        tally.total = sum(len(batch.files) for batch in batches)
        workers = _worker_count(spec, len(batches), settings, log)
        _run_batches(spec, home, settings, batches, workers, tally, log, cancelled)
    except (JobRefused, _Stopped) as error:
        log.progress(f"The job failed. {error}")
        return BatchResult(False, tally.total, tally.failed, str(error))
    message = tally.summary()
    log.progress(message)
    return BatchResult(True, tally.total, tally.failed, message)


@dataclass
class Tally:
    """How many files there are, and which of them failed."""

    total: int = 0
    succeeded: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    unnamed: int = 0
    """Failed files of answers that were too short: which ones, only the script knows."""

    @property
    def failed(self) -> int:
        return len(self.failures) + self.unnamed

    def count(self, outcome: Scored | Failed) -> None:
        """Take in the final outcome of a mini-batch."""
        if isinstance(outcome, Failed):
            self.failures.update(dict.fromkeys(outcome.batch.files, _short(outcome.reason)))
            return
        self.succeeded += outcome.succeeded
        self.failures.update({path: _short(reason) for path, reason in outcome.failures.items()})
        self.unnamed += len(outcome.batch.files) - outcome.succeeded - len(outcome.failures)

    def summary(self) -> str:
        """One sentence, then the failed files."""
        text = f"Processed {self.total} files: {self.succeeded} succeeded, {self.failed} failed."
        named = [f"{_display(path)}: {reason}" for path, reason in sorted(self.failures.items())]
        if len(named) > NAMED_FAILURES:
            named[NAMED_FAILURES:] = [f"and {len(named) - NAMED_FAILURES} more, see logs/user/error.txt"]
        if self.unnamed:
            named.append(f"{self.unnamed} without an element in what run() returned")
        return "\n".join([text, *named])


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


def _run_batches(
    spec: BatchSpec,
    home: Home,
    settings: Settings,
    batches: Sequence[MiniBatch],
    workers: int,
    tally: Tally,
    log: JobLog,
    cancelled: threading.Event,
) -> None:
    log.progress(f"Job {spec.job}: {tally.total} files in {len(batches)} mini-batches, {workers} workers.")
    output = open_output(spec)
    try:
        with _executor(spec, home, settings, workers, log) as executor:
            for outcome in final_outcomes(executor, batches, spec.max_retries, 2 * workers, cancelled, log):
                _take(outcome, spec, output, tally, log)
        if not tally.succeeded:
            raise _Stopped(_nothing_succeeded(tally))
        output.commit()
    finally:
        output.discard()


def final_outcomes(
    executor: Executor,
    batches: Sequence[MiniBatch],
    tries: int,
    in_flight: int,
    cancelled: threading.Event,
    log: JobLog,
) -> Iterator[Scored | Failed]:
    """Submit all mini-batches, at most `in_flight` ahead, and yield the last outcome of each exactly once."""
    waiting, running = deque(batches), 0
    while waiting or running:
        while waiting and running < in_flight:
            executor.submit(waiting.popleft())
            running += 1
        outcome = _next(executor, cancelled, log)
        running -= 1
        _log_outcome(outcome, log)
        if isinstance(outcome, Failed) and outcome.batch.attempt < tries:
            waiting.append(replace(outcome.batch, attempt=outcome.batch.attempt + 1))
        else:
            yield outcome


def _next(executor: Executor, cancelled: threading.Event, log: JobLog) -> Scored | Failed:
    outcome = None
    while outcome is None:
        if cancelled.is_set():
            raise _Stopped("The job was canceled.")
        try:
            outcome = executor.next(POLL_SECONDS)
        except InitFailed as error:
            log.error("", f"init() failed: {_tail(str(error), 1)}", str(error))
            raise _Stopped(f"The scoring script's init() failed. Last lines:\n{_tail(str(error))}") from None
    return outcome


def _take(outcome: Scored | Failed, spec: BatchSpec, output: Output, tally: Tally, log: JobLog) -> None:
    tally.count(outcome)
    if isinstance(outcome, Scored):
        output.append(outcome.rows)
    done = tally.succeeded + tally.failed
    log.progress(f"{done} of {tally.total} files processed, {tally.failed} failed.")
    if 0 <= spec.error_threshold < tally.failed:
        raise _Stopped(f"Exceeded error threshold {spec.error_threshold}. {tally.summary()}")


def _log_outcome(outcome: Scored | Failed, log: JobLog) -> None:
    batch = outcome.batch
    names = ", ".join(map(_display, batch.files))
    head = f"mini-batch {batch.number}, try {batch.attempt}, {len(batch.files)} files ({names})"
    if isinstance(outcome, Scored):
        log.node(outcome.worker, f"{head}: {outcome.succeeded} succeeded, run() took {outcome.seconds:.3f} s")
        for path, reason in outcome.failures.items():
            log.error(outcome.worker, f"{_display(path)}: {reason}")
    else:
        log.node(outcome.worker, f"{head}: {outcome.kind}")
        log.error(outcome.worker, f"{head}: {outcome.reason}", outcome.trace)


def _nothing_succeeded(tally: Tally) -> str:
    # Azure's driver fails such a job whatever the error threshold is.
    return f"There is no succeeded mini batch item returned from run(). {tally.summary()}"


@contextlib.contextmanager
def _executor(spec: BatchSpec, home: Home, settings: Settings, workers: int, log: JobLog) -> Iterator[Executor]:
    # Azure's driver moves to a temporary folder before it calls the script, so paths must not be relative.
    with tempfile.TemporaryDirectory(prefix="aml-batch-", ignore_cleanup_errors=True) as scratch:
        plan = _planner(spec, home, settings, log, Path(scratch))
        names = [worker_name(slot, spec.instance_count) for slot in range(workers)]
        executor = ProcessExecutor([Worker(name, plan(name)) for name in names], spec.timeout)
        try:
            yield executor
        finally:
            executor.close()


def _planner(
    spec: BatchSpec, home: Home, settings: Settings, log: JobLog, scratch: Path
) -> Callable[[str], WorkerPlan]:
    script, folders = _script(spec)
    environment = worker_environment(spec, os.environ, container_environment(home, settings))

    def plan(name: str) -> WorkerPlan:
        return WorkerPlan(
            home=home,
            python=spec.python,
            script=script,
            folders=folders,
            arguments=driver_arguments(spec),
            environment=environment,
            stdout=log.stdout(name),
            stderr=log.stderr(name),
            logging_level=spec.logging_level,
            keep_rows=spec.output_action == "AppendRow",
            cwd=scratch,
        )

    return plan


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
    return Path(path).name


def _short(reason: str) -> str:
    # An exception of MLflow's repeats the whole schema; the log has it all.
    line = reason.strip().partition("\n")[0]
    return line if len(line) <= LONGEST_REASON else line[:LONGEST_REASON] + "…"


def _tail(text: str, lines: int = 15) -> str:
    return "\n".join(text.splitlines()[-lines:])
