"""Carrying a job out: inputs, model, code and environment onto the disk, the batch runner, the outputs into storage."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from localazure import batch
from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError
from localazure.arm.later import Later
from localazure.arm.operations import OperationFailed
from localazure.arm.store import Resource, now
from localazure.batch.instances import Instances
from localazure.batch.workers import ProcessExecutor
from localazure.errors import LocalAzureError
from localazure.providers import storage
from localazure.providers.cloud import Cloud
from localazure.providers.ml.clusters import ENDED, Clusters, Failure, Places, change_job
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
        verdict: status and error with which it ends where that is not its own doing.
    """

    places: Places
    stop: threading.Event = field(default_factory=threading.Event)
    verdict: tuple[str, Failure | None] | None = None


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
        self._stopping = False
        clusters.attach(self)

    def resume(self) -> None:
        """Takes up the jobs that had not ended when the store was last open, in the order in which they came."""
        self._clusters.resume()
        for job in filter(is_batch, self._cloud.store.of_type(JOB_TYPE)):
            if job.properties["status"] == "CancelRequested":
                self._end(job, "Canceled", None)
            elif job.properties["status"] not in ENDED:
                self.submit(job)

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

    def end(self, job: Resource, status: str, error: Failure | None) -> None:
        """A job is at its end, for a reason that is not its own."""
        if self._run_of(job) is None:
            self._end(job, status, error)
        if run := self._run_of(job):
            run.verdict = (status, error)
            self._stop_run(job, run)

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
        self._finish(job, run, failure)
        if not self._stopping:
            self._clear(job, folder)

    def _finish(self, job: Resource, run: _Run, failure: Failure | None) -> None:
        """Ends a job and frees its nodes, unless that has been done or the next start is to take it up."""
        with self._lock:
            if self._stopping or self._runs.get(ids.key(job.id)) is not run:
                return
            del self._runs[ids.key(job.id)]
        if run.stop.is_set():
            self._end(job, *(run.verdict or ("Canceled", failure)))
        else:
            self._end(job, "Failed" if failure else "Completed", failure)

    def _end(self, job: Resource, status: str, error: Failure | None) -> None:
        with self._cloud.store.transaction():
            change_job(self._cloud, job.id, status, {"endTime": now(), "error": error})
            self._clusters.leave(job)

    def _clear(self, job: Resource, folder: Path | None) -> None:
        # Whoever deleted the job or its workspace removed the folder, and this thread may have made it again.
        if folder is not None and self._cloud.store.get(job.id) is None:
            shutil.rmtree(folder, ignore_errors=True)

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
        self._upload(workspace, job, folder)

    def _refuse_overwrite(self, workspace: Resource, job: Resource) -> None:
        settings = job.hidden["settings"]
        if not job.hidden["output"] or settings["outputAction"] != "AppendRow":
            return
        place = self._output_place(workspace, job)
        file = "/".join(part for part in (place.path, settings["outputFileName"]) if part)
        if file in storage.open_blobs(self._cloud, place.account).list(place.container, file):
            raise OperationFailed(
                "UserError",
                f"The output file '{file}' exists already in container '{place.container}' of storage account "
                f"'{place.account.name}': delete it, or give another output folder or output file name.",
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
        place = self._output_place(workspace, job)
        blobs = storage.open_blobs(self._cloud, place.account)
        blobs.upload_folder(place.container, place.path, folder / "output")
        blobs.upload_folder(LOG_CONTAINER, f"ExperimentRun/dcid.{job.name}", folder / "logs")

    def _output_place(self, workspace: Resource, job: Resource) -> Place:
        return locate(self._cloud, workspace, output_uri(job))


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
