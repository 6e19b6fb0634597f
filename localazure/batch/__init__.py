"""Batch scoring jobs: mini-batches of files, scored by worker processes, as Azure ML's batch deployments do it."""

from localazure.batch.job import run
from localazure.batch.spec import BatchResult, BatchSpec

__all__ = ["BatchResult", "BatchSpec", "run"]
