"""Carrying a job out: inputs, model, code and environment onto the disk, the batch runner, the outputs into storage."""

from __future__ import annotations

import logging
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

from localazure import batch
from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError
from localazure.arm.operations import OperationFailed
from localazure.arm.store import Resource, now
from localazure.errors import LocalAzureError
from localazure.providers import storage
from localazure.providers.cloud import Cloud
from localazure.providers.ml.content import Place, code_folder, fetch, locate, model_files
from localazure.providers.ml.job_documents import is_batch
from localazure.providers.ml.names import JOB_TYPE, find_asset, guid, workspace_above
from localazure.providers.ml.online_serving import environment_spec
from localazure.serving import ServingError
from localazure.serving.environments import Environments
from localazure.tools import cache_dir

log = logging.getLogger(__name__)

# Where Azure keeps what a run logs: the container of the workspace's artifact store.
LOG_CONTAINER = "azureml"
ENDED = ("Completed", "Failed", "Canceled")


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


class JobRunner:
    """Runs jobs a few at a time; those that had not ended are taken up at the next start."""

    def __init__(self, cloud: Cloud, *, threads: int = 4) -> None:
        self._cloud = cloud
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="job")
        self._cancelled: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self._stopping = False

    def resume(self) -> None:
        """Takes up the jobs that had not ended when the store was last open."""
        for job in filter(is_batch, self._cloud.store.of_type(JOB_TYPE)):
            if job.properties["status"] not in ENDED:
                self.submit(job, resumed=True)

    def stop(self) -> None:
        """Ends the workers; jobs that ran are taken up at the next start."""
        self._stopping = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        for event in list(self._cancelled.values()):
            event.set()

    def submit(self, job: Resource, *, resumed: bool = False) -> None:
        """Runs a job as soon as a place is free; `resumed` says that an earlier run may have written its output."""
        with self._lock:
            event = self._cancelled[ids.key(job.id)] = threading.Event()
        self._pool.submit(self._carry_out, job, event, resumed)

    def cancel(self, job: Resource) -> None:
        """Ends a job's workers within a second."""
        with self._lock:
            event = self._cancelled.get(ids.key(job.id))
        if event is not None:
            event.set()

    def _carry_out(self, job: Resource, event: threading.Event, resumed: bool) -> None:
        failure, folder = None, None
        try:
            self._begin(job, event)
            folder = job_folder(self._cloud, job)
            result = self._run(job, event, resumed)
            failure = None if result.succeeded else {"code": "UserError", "message": result.message}
        except Exception as error:  # whatever it is, the job must end and say so
            failure = _failure(job, error)
        if self._stopping:
            return
        status = "Canceled" if event.is_set() else "Failed" if failure else "Completed"
        self._change(job, status=status, hidden={"endTime": now(), "error": failure})
        self._clear(job, folder)
        with self._lock:
            self._cancelled.pop(ids.key(job.id), None)

    def _clear(self, job: Resource, folder: Path | None) -> None:
        # Whoever deleted the job or its workspace removed the folder, and this thread may have made it again.
        if folder is not None and self._cloud.store.get(job.id) is None:
            shutil.rmtree(folder, ignore_errors=True)

    def _begin(self, job: Resource, event: threading.Event) -> None:
        with self._cloud.store.transaction():
            found = self._cloud.store.get(job.id)
            # Canceled before it came to run, possibly before a restart.
            if found is None or found.properties["status"] == "CancelRequested":
                event.set()
            _check(event)
            self._change(job, status="Running")

    def _change(self, job: Resource, *, status: str, hidden: dict[str, Any] | None = None) -> None:
        with self._cloud.store.transaction():
            found = self._cloud.store.get(job.id)
            if found is not None:
                changed = found.with_properties(status=status)
                self._cloud.store.put(replace(changed, hidden={**found.hidden, **(hidden or {})}))

    def _run(self, job: Resource, event: threading.Event, resumed: bool) -> batch.BatchResult:
        workspace = workspace_above(self._cloud, job.id)
        if not resumed:
            self._refuse_overwrite(workspace, job)
        folder = job_folder(self._cloud, job)
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "output").mkdir(parents=True)
        (folder / "logs").mkdir()
        inputs = self._fetch_inputs(workspace, job, folder / "inputs", event)
        _check(event)
        spec = self._spec(workspace, job, folder, inputs)
        _check(event)
        try:
            return batch.run(spec, home=self._cloud.home, cancelled=event, settings=self._cloud.settings)
        finally:
            if not self._stopping:
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
        for name, each in sorted(job.hidden["inputs"].items()):
            _check(event)
            uri = each["uri"]
            if uri.startswith("/subscriptions/") or re.match(r"azureml:[^/]", uri):
                uri = find_asset(self._cloud, workspace, uri, "data", f"inputData.{name}").properties["dataUri"]
            place = locate(self._cloud, workspace, uri)
            fetch(self._cloud, place, folder / re.sub(r"[^\w.-]", "_", name))
            found.append(folder / re.sub(r"[^\w.-]", "_", name))
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
