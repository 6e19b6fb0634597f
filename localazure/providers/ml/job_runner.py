"""Carrying a job out: inputs, model, code and environment onto the disk, the batch runner, the outputs into storage."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from localazure import batch
from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError
from localazure.arm.later import Later
from localazure.arm.operations import OperationFailed
from localazure.arm.store import Resource
from localazure.batch.instances import Instances
from localazure.batch.workers import ProcessExecutor
from localazure.errors import LocalAzureError
from localazure.locks import KeyedLocks
from localazure.providers import storage
from localazure.providers.cloud import Cloud
from localazure.providers.ml.clusters import ENDED, RETRY_SECONDS, Clusters, Failure, Places, change_job
from localazure.providers.ml.content import Place, code_folder, fetch, locate, model_files
from localazure.providers.ml.job_documents import is_batch
from localazure.providers.ml.job_inputs import places
from localazure.providers.ml.names import JOB_TYPE, find_asset, guid, workspace_above
from localazure.providers.ml.online_serving import environment_spec
from localazure.serving import ServingError
from localazure.serving.environments import Environments
from localazure.tools import cache_dir

log = logging.getLogger(__name__)

# Where Azure keeps what a run logs: the container of the workspace's artifact store.
LOG_CONTAINER = "azureml"
# What a cancelled job has to end by itself, before it is ended without it: an environment that is being built goes on.
PATIENCE_SECONDS = 0.8


def job_folder(cloud: Cloud, job: Resource) -> Path:
    """Where a job's inputs, outputs and logs are while it runs."""
    return cloud.home.jobs / guid(workspace_above(cloud, job.id)) / job.name


def output_uri(job: Resource) -> str:
    """The folder that a job's predictions go to: the caller's, or Azure's default."""
    return job.hidden["output"] or f"azureml://datastores/workspaceblobstore/paths/azureml/{job.hidden['child']}/score/"


def log_place(job: Resource) -> str:
    """The folder of a job's logs in `LOG_CONTAINER` of its workspace's account."""
    return f"ExperimentRun/dcid.{job.name}"


class _Canceled(Exception):
    """The job's event is set."""


def _check(event: threading.Event) -> None:
    if event.is_set():
        raise _Canceled


@dataclass(eq=False)
class _Run:
    """A job that is being carried out.

    Attributes:
        places: the node of each of its instances, by number.
        stop: set to end it.
    """

    places: Places
    stop: threading.Event = field(default_factory=threading.Event)


class JobRunner:
    """Carries jobs out once they have their nodes, a few at a time; a restart takes up those that had not ended."""

    def __init__(self, cloud: Cloud, clusters: Clusters) -> None:
        self._cloud = cloud
        self._clusters = clusters
        # Nodes are free, and this machine is small.
        self._pool = ThreadPoolExecutor(cloud.settings.max_batch_jobs, thread_name_prefix="job")
        self._later = Later()
        self._runs: dict[str, _Run] = {}
        self._lock = threading.Lock()
        self._outputs = KeyedLocks()
        self._stopping = False
        clusters.attach(self)

    def resume(self) -> None:
        """Takes up the jobs that had not ended when the store was last open, in the order in which they came."""
        self._clusters.resume()
        for job in filter(is_batch, self._cloud.store.of_type(JOB_TYPE)):
            if job.properties["status"] == "CancelRequested":
                self._clusters.end(job, "Canceled", None)
            elif job.properties["status"] not in ENDED:
                self.submit(job)
            else:
                _remove_work(job, job_folder(self._cloud, job))

    def stop(self) -> None:
        """Ends the workers; jobs that ran are taken up at the next start."""
        self._stopping = True
        self._clusters.stop()
        self._later.stop()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for run in list(self._runs.values()):
            run.stop.set()

    def submit(self, job: Resource) -> None:
        """Runs a job as soon as its cluster has nodes for it."""
        self._clusters.enter(job.id)

    def cancel(self, job: Resource) -> None:
        """Ends a job within a second: its workers, and the hold that it has on its nodes."""
        if self._run_of(job) is None:
            self._clusters.withdraw(job)
        # It may have begun meanwhile; one that begins only now sees what was written of it.
        if run := self._run_of(job):
            self._stop_run(job, run)

    # For the clusters ------------------------------------------------------------------------------------------------

    def start(self, job: Resource, places: Places) -> None:
        """A job has its nodes."""
        with self._lock:
            if self._stopping or ids.key(job.id) in self._runs:
                return
            run = self._runs[ids.key(job.id)] = _Run(places)
        self._pool.submit(self._carry_out, job, run)

    def move(self, job: Resource, places: Places) -> None:
        """A job has lost nodes, or has got others for them."""
        with self._lock:
            if run := self._runs.get(ids.key(job.id)):
                run.places = places

    def _run_of(self, job: Resource) -> _Run | None:
        with self._lock:
            return self._runs.get(ids.key(job.id))

    # The life of a job -----------------------------------------------------------------------------------------------

    def _stop_run(self, job: Resource, run: _Run) -> None:
        run.stop.set()
        self._later.at(time.time() + PATIENCE_SECONDS, lambda: self._finish(job, run, None))

    def _carry_out(self, job: Resource, run: _Run) -> None:
        failure, folder = None, None
        try:
            self._begin(job, run.stop)
            folder = job_folder(self._cloud, job)
            result = self._run(job, run)
            failure = None if result.succeeded else {"code": "UserError", "message": result.message}
        except Exception as error:  # whatever it is, the job must end and say so
            failure = _failure(job, error)
        if folder is not None and not self._stopping:
            self._upload_logs(job, folder / "logs")
        self._finish(job, run, failure)
        if folder is not None and not self._stopping:
            self._clear(job, folder)

    def _finish(self, job: Resource, run: _Run, failure: Failure | None) -> None:
        """Ends a job and frees its nodes, unless that has been done or the next start is to take it up."""
        with self._lock:
            if self._stopping or self._runs.get(ids.key(job.id)) is not run:
                return
            del self._runs[ids.key(job.id)]
        status = "Canceled" if run.stop.is_set() else "Failed" if failure else "Completed"
        try:
            self._clusters.end(job, status, failure)
        except Exception:
            self._finish_later(job, run, failure)

    def _finish_later(self, job: Resource, run: _Run, failure: Failure | None) -> None:
        """The store could not keep the end of a job, for want of space perhaps: it still has its nodes."""
        with self._lock:
            if self._stopping:
                return
            self._runs.setdefault(ids.key(job.id), run)
        log.exception("the end of job %s could not be written; it is tried again in %.0f s", job.id, RETRY_SECONDS)
        self._later.at(time.time() + RETRY_SECONDS, lambda: self._finish(job, run, failure))

    def _clear(self, job: Resource, folder: Path) -> None:
        found = self._cloud.store.get(job.id)
        if found is None:
            # Whoever deleted the job or its workspace removed the folder, and this thread may have made it again.
            shutil.rmtree(folder, ignore_errors=True)
        elif found.properties["status"] in ENDED:
            _remove_work(found, folder)

    def _begin(self, job: Resource, stop: threading.Event) -> None:
        with self._cloud.store.transaction():
            found = self._cloud.store.get(job.id)
            # Canceled before it came to run, possibly before a restart.
            if found is None or found.properties["status"] in ("CancelRequested", *ENDED):
                stop.set()
            _check(stop)
            change_job(self._cloud, job.id, "Running")

    def _run(self, job: Resource, run: _Run) -> batch.BatchResult:
        workspace = workspace_above(self._cloud, job.id)
        folder = job_folder(self._cloud, job)
        if not self._has_begun(job):
            self._refuse_overwrite(workspace, job)
            shutil.rmtree(folder, ignore_errors=True)
        for part in ("output", "logs"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        # From here on what lies in the folder is this job's, and its output may be half uploaded.
        change_job(self._cloud, job.id, "Running", {"begun": True})
        inputs = self._fetch_inputs(workspace, job, folder / "inputs", run.stop)
        _check(run.stop)
        spec = self._spec(workspace, job, folder, inputs)
        _check(run.stop)
        nodes = Instances.of(lambda: run.places) if self._clusters.may_lose_nodes(job) else ProcessExecutor
        try:
            return batch.run(
                spec, home=self._cloud.home, cancelled=run.stop, settings=self._cloud.settings, executor=nodes
            )
        finally:
            if not self._stopping:
                self._finalize(workspace, job, run, folder)

    def _has_begun(self, job: Resource) -> bool:
        found = self._cloud.store.get(job.id)
        return found is not None and bool(found.hidden.get("begun"))

    def _finalize(self, workspace: Resource, job: Resource, run: _Run, folder: Path) -> None:
        if not run.stop.is_set():
            change_job(self._cloud, job.id, "Finalizing")
        try:
            self._upload(workspace, job, folder / "output")
        except Exception as error:
            if self._stopping:  # the next start tries again
                raise
            self._note(job, kept=True)
            raise _unsent(job, error, folder / "output") from error

    def _note(self, job: Resource, **hidden: Any) -> None:
        """Remembers something of a job, whatever its status."""
        with self._cloud.store.transaction():
            if found := self._cloud.store.get(job.id):
                self._cloud.store.put(replace(found, hidden={**found.hidden, **hidden}))

    def _refuse_overwrite(self, workspace: Resource, job: Resource) -> None:
        if not _has_fixed_file(job):
            return
        place = self._output_place(workspace, job)
        file = _output_file(job, place)
        found = storage.open_blobs(self._cloud, place.account).list(place.container, file)
        if file in found or self._is_claimed(job, _claim(place, file)):
            raise OperationFailed(
                "UserError",
                f"The output file '{file}' exists already in container '{place.container}' of storage account "
                f"'{place.account.name}': delete it, or give another output folder or output file name.",
            )

    def _is_claimed(self, job: Resource, claim: str) -> bool:
        """Whether another job was killed while it wrote this file, and is to write it yet."""
        return any(
            other.hidden.get("uploading") == claim and other.properties["status"] not in ENDED
            for other in self._cloud.store.of_type(JOB_TYPE)
            if not ids.same(other.id, job.id)
        )

    def _fetch_inputs(
        self, workspace: Resource, job: Resource, folder: Path, event: threading.Event
    ) -> tuple[Path, ...]:
        found: list[Path] = []
        for name, place in places(self._cloud, workspace, job):
            _check(event)
            fetch(self._cloud, place, folder / name)
            found.append(folder / name)
        return tuple(found)

    def _spec(self, workspace: Resource, job: Resource, folder: Path, inputs: tuple[Path, ...]) -> batch.BatchSpec:
        settings = job.hidden["settings"]
        model = find_asset(self._cloud, workspace, settings["model"]["assetId"], "models", "model")
        files = model_files(self._cloud, workspace, model)
        code = settings["codeConfiguration"]
        action: Literal["AppendRow", "SummaryOnly"] = cast("Any", settings["outputAction"])
        return batch.BatchSpec(
            job=job.name,
            python=self._python(workspace, settings, files.content, folder / "logs"),
            model_dir=files.root,
            mlflow_path=files.content if code is None else None,
            code_dir=code_folder(self._cloud, workspace, code),
            script=code["scoringScript"] if code else None,
            environment_variables=dict(settings["environmentVariables"]),
            inputs=inputs,
            output_dir=folder / "output",
            log_dir=folder / "logs",
            journal=folder / "journal",
            instance_count=settings["resources"]["instanceCount"],
            max_concurrency_per_instance=settings["maxConcurrencyPerInstance"],
            mini_batch_size=settings["miniBatchSize"],
            error_threshold=settings["errorThreshold"],
            max_retries=settings["retrySettings"]["maxRetries"],
            timeout=read.seconds(settings["retrySettings"]["timeout"], "retrySettings.timeout"),
            output_action=action,
            output_file_name=settings["outputFileName"],
            logging_level=settings["loggingLevel"],
        )

    def _python(self, workspace: Resource, settings: dict[str, Any], model: Path, logs: Path) -> Path:
        def note(text: str) -> None:
            with (logs / "environment.txt").open("a") as log:
                log.write(text.rstrip("\n") + "\n")

        environments = Environments(self._cloud.settings, cache_dir(), note)
        spec = environment_spec(self._cloud, workspace, settings["environmentId"])
        return environments.ensure(spec, need="batch") if spec else environments.ensure_mlflow(model, need="batch")

    def _upload(self, workspace: Resource, job: Resource, folder: Path) -> None:
        if not any(path.is_file() for path in folder.rglob("*")):
            return
        place = self._output_place(workspace, job)
        file = _output_file(job, place)
        # Another job may write the same file: between the check and the last byte it has to wait.
        with self._outputs.hold(_claim(place, file)):
            if (folder / job.hidden["settings"]["outputFileName"]).is_file():
                self._claim_output(workspace, job, _claim(place, file))
            storage.open_blobs(self._cloud, place.account).upload_folder(place.container, place.path, folder)

    def _claim_output(self, workspace: Resource, job: Resource, claim: str) -> None:
        # Much time has gone since the job began; only what it has itself put there before a kill is its to replace.
        found = self._cloud.store.get(job.id)
        if found is None or found.hidden.get("uploading") != claim:
            self._refuse_overwrite(workspace, job)
            self._note(job, uploading=claim)

    def _upload_logs(self, job: Resource, folder: Path) -> None:
        """Puts a job's logs where the links to them say; for want of that no job fails."""
        from azure.core.exceptions import AzureError

        try:
            # Not the account of the output, which may be any.
            account = self._cloud.store.get(workspace_above(self._cloud, job.id).properties["storageAccount"])
            if account is not None:
                storage.open_blobs(self._cloud, account).upload_folder(LOG_CONTAINER, log_place(job), folder)
        except (AzureError, LocalAzureError, LookupError, OSError) as error:
            log.warning("the logs of %s cannot be put into storage: %s", job.id, error)

    def _output_place(self, workspace: Resource, job: Resource) -> Place:
        return locate(self._cloud, workspace, output_uri(job))


def _has_fixed_file(job: Resource) -> bool:
    """Whether a job's predictions go to a file that another job's may go to as well."""
    return bool(job.hidden["output"]) and job.hidden["settings"]["outputAction"] == "AppendRow"


def _output_file(job: Resource, place: Place) -> str:
    return "/".join(part for part in (place.path, job.hidden["settings"]["outputFileName"]) if part)


def _claim(place: Place, file: str) -> str:
    return f"{place.account.name}/{place.container}/{file}"


def _remove_work(job: Resource, folder: Path) -> None:
    """Removes what a job that has ended needs no more: not its logs, nor predictions that are nowhere else."""
    for part in ("inputs", "journal", *(() if job.hidden.get("kept") else ("output",))):
        shutil.rmtree(folder / part, ignore_errors=True)


def _unsent(job: Resource, error: Exception, output: Path) -> OperationFailed:
    failure = _failure(job, error) or {"code": "InternalServerError", "message": str(error)}
    return OperationFailed(failure["code"], f"{failure['message']}\nWhat the job has scored is kept in {output}.")


def _failure(job: Resource, error: Exception) -> dict[str, str] | None:
    """What a job that ended in an error says; nothing for one that was canceled."""
    if isinstance(error, _Canceled):
        return None
    if isinstance(error, (OperationFailed, ServingError, ArmError)):
        return {"code": error.code, "message": error.message}
    if isinstance(error, LocalAzureError):
        return {"code": "InternalServerError", "message": str(error)}
    log.error("job %s failed", job.id, exc_info=error)
    return {"code": "InternalServerError", "message": f"{type(error).__name__}: {error}"}
