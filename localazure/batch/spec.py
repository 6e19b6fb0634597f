"""What a batch job is asked to do, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


class JobRefused(Exception):
    """The job cannot run as it was asked for: the text says what, which value, and the way out."""


@dataclass(frozen=True)
class BatchSpec:
    """One job of a batch deployment, everything it needs being on this machine already."""

    job: str
    python: Path
    """The interpreter of the environment that was built for the deployment."""
    model_dir: Path | None
    """Becomes AZUREML_MODEL_DIR: a folder model lies below it under its own name, a single file directly in it."""
    mlflow_path: Path | None
    """The folder with the file MLmodel; scored without a script when `script` is None."""
    code_dir: Path | None
    script: str | None
    """Below `code_dir`; has `init()` and `run(mini_batch)`."""
    environment_variables: Mapping[str, str]
    inputs: tuple[Path, ...]
    """Folders or files."""
    output_dir: Path
    """Becomes AZUREML_BI_OUTPUT_PATH; holds the output file at the end, and whatever the script writes there."""
    log_dir: Path
    journal: Path
    """A folder of the job's own, on the disk of `output_dir`: what a run that was killed left there is taken up."""
    instance_count: int
    max_concurrency_per_instance: int
    mini_batch_size: int
    """Files (not rows) given to one call of `run`."""
    error_threshold: int
    """Files that may fail; the job is aborted when more do. -1: any number may."""
    max_retries: int
    """How often a mini-batch is tried in all, when `run` raises, takes too long or ends its process.

    Azure hands `retrySettings.maxRetries` to its driver as `run_max_try`, the number of tries.
    """
    timeout: float
    """Seconds that one call of `run` may take."""
    output_action: Literal["AppendRow", "SummaryOnly"]
    output_file_name: str
    logging_level: str
    """Debug, Info or Warning, in any case."""


@dataclass(frozen=True)
class BatchResult:
    """How a job ended. `total` and `failed` count files; `message` names those that failed, and why."""

    succeeded: bool
    total: int
    failed: int
    message: str


@dataclass(frozen=True, slots=True)
class MiniBatch:
    """The files of one call of `run`, and which try this is (from 1)."""

    number: int
    files: tuple[str, ...]
    attempt: int = 1
