"""The job's log files, named and placed as Azure names them.

Source: "Troubleshoot batch endpoints" in Azure Machine Learning's documentation.
"""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

README = """Layout of these logs:
azureml-logs/70_driver_log.txt           the job from beginning to end
logs/job_progress_overview.txt           how many mini-batches there are and how many have been processed
logs/user/error.txt                      one line for each failure in the scoring script
logs/user/error/<node>/process<n>.txt    the stack traces; those of init() in logs/user/error/init.txt
logs/user/stdout/<node>/process<n>.stdout.txt    what init() and run() print and log
logs/user/stderr/<node>/process<n>.stderr.txt    what they write to stderr
logs/sys/node/<node>/process<n>.txt      each mini-batch: files, tries, duration
"""


class JobLog:
    """Writes the log files of one job, and goes on where an earlier run of it stopped. The job's own thread's only."""

    def __init__(self, folder: Path, level: str) -> None:
        self._folder = folder
        self._level = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
        self._files: dict[str, TextIO] = {}
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        (folder / "logs" / "readme.txt").write_text(README)

    def __enter__(self) -> "JobLog":
        return self

    def __exit__(self, *error: object) -> None:
        for file in self._files.values():
            file.close()

    def driver(self, text: str, level: int = logging.INFO) -> None:
        """A line about the job, unless it is below the deployment's logging level."""
        if level >= self._level:
            self._line("azureml-logs/70_driver_log.txt", f"{logging.getLevelName(level)} {text}")

    def progress(self, text: str) -> None:
        """A line of the overview; in the driver log too."""
        self._line("logs/job_progress_overview.txt", text)
        self.driver(text)

    def node(self, worker: str, text: str) -> None:
        """A line about what one worker did."""
        self._line(f"logs/sys/node/{worker}.txt", text)

    def error(self, worker: str, reason: str, trace: str = "") -> None:
        """A failure in the scoring script: the reason in the summary, the trace in the worker's file."""
        self._line("logs/user/error.txt", f"{worker or '-'} {reason}")
        self._line(f"logs/user/error/{worker or 'init'}.txt", trace or reason)
        self.driver(reason, logging.ERROR)

    def stdout(self, worker: str) -> Path:
        """Where a worker's standard output goes."""
        return self._folder / "logs" / "user" / "stdout" / f"{worker}.stdout.txt"

    def stderr(self, worker: str) -> Path:
        """Where a worker's standard error goes."""
        return self._folder / "logs" / "user" / "stderr" / f"{worker}.stderr.txt"

    def _line(self, name: str, text: str) -> None:
        file = self._files.get(name) or self._open(name)
        file.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}Z {text.rstrip()}\n")

    def _open(self, name: str) -> TextIO:
        # Open for the whole job, for a mini-batch writes several lines; by the line, for a log is read meanwhile.
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # File names need not be UTF-8, and a log must take them all.
        file = self._files[name] = path.open("a", buffering=1, encoding="utf-8", errors="backslashreplace")
        return file


def worker_name(slot: int, instances: int) -> str:
    """Name a worker as Azure's log folders do: node, then process. Nodes are numbered from 10.0.0.4 as in a subnet."""
    return f"10.0.0.{4 + slot % instances}/process{slot // instances:03d}"
