"""A batch job's logs as clients see them: what its workers have written, and the log that `jobs.stream` follows."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from localazure.arm.store import Resource
from localazure.blobs import Blobs
from localazure.errors import LocalAzureError
from localazure.providers.cloud import Cloud
from localazure.providers.ml.job_runner import ENDED, LOG_CONTAINER

log = logging.getLogger(__name__)

# The one log of a pipeline's run that the client streams. Azure's batch job is a pipeline of one step.
EXECUTION_LOG = "logs/azureml/executionlogs.txt"
# While a job runs, the rest may be thousands of files; all are there at the end.
STREAMED = ("azureml-logs/70_driver_log.txt", "logs/job_progress_overview.txt", "logs/user/error.txt")


def mirrored(cloud: Cloud, blobs: Blobs, place: str, job: Resource, folder: Path) -> list[str]:
    """Put into storage what there is to read of a job's logs now, and name it; nothing where there is no storage.

    Azure's nodes upload what they log every few seconds; here it happens when somebody looks, and all at the end.

    Args:
        cloud: where the job's state is.
        blobs: the account that the workspace's artifacts are in.
        place: the folder of the job's logs there.
        job: the job as it was read.
        folder: where its workers write their logs.
    """
    from azure.core.exceptions import AzureError

    try:
        names = _upload(blobs, place, job, folder)
        now = cloud.store.get(job.id)
        if now is not None and now.properties["status"] != job.properties["status"]:
            # It may have ended meanwhile, and its last lines are not to be covered by earlier ones.
            names = _upload(blobs, place, now, folder)
    except (AzureError, LocalAzureError, OSError) as error:
        # The account or its container may be gone; the state of the job is still to be had.
        log.info("the logs of %s cannot be put into storage: %s", job.id, error)
        return []
    return names


def _upload(blobs: Blobs, place: str, job: Resource, folder: Path) -> list[str]:
    with TemporaryDirectory(prefix="aml-logs-") as scratch:
        _write(Path(scratch) / EXECUTION_LOG, execution_log(job))
        names = [name for name in STREAMED if _copied(folder / name, Path(scratch) / name)]
        blobs.upload_folder(LOG_CONTAINER, place, Path(scratch))
    if job.properties["status"] in ENDED:
        # Not what lies in the folder: a link to what could not be put into storage leads nowhere.
        names = [name.removeprefix(f"{place}/") for name in blobs.list(LOG_CONTAINER, f"{place}/")]
    return sorted({*names, EXECUTION_LOG})


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _copied(source: Path, target: Path) -> bool:
    # The job's own thread may be making the file, or removing the folder of a job that begins anew.
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError:
        return False
    return True


def execution_log(job: Resource) -> str:
    """What the service says of a pipeline's steps: the one that scores, and how it ended."""
    child, hidden = job.hidden["child"], job.hidden
    lines = [f"[{_second(hidden['startTime'])}] Submitting 1 runs, first five are: {child[:8]}:{child}"]
    ended = {
        "Completed": f"Completing processing run id {child}.",
        "Canceled": "Execution of experiment canceled, update experiment status and cancel running nodes.",
        "Failed": "Execution of experiment failed, update experiment status and cancel running nodes.",
    }
    if (status := job.properties["status"]) in ended:
        lines.append(f"[{_second(hidden['endTime'])}] {ended[status]}")
    return "".join(f"{line}\n" for line in lines)


def _second(moment: str | None) -> str:
    return f"{(moment or '')[:19].replace('T', ' ')}Z"
