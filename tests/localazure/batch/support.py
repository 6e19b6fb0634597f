"""What the tests of the batch runner share."""

import textwrap
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from localazure.batch import BatchResult, BatchSpec, run
from localazure.home import Home
from localazure.processes import HOME_MARK
from localazure.settings import Settings

Rows = Callable[[], list[str]]
Log = Callable[[str], str]


@dataclass(frozen=True)
class JobRunner:
    """Runs variations of one job."""

    spec: BatchSpec
    home: Home

    def __call__(self, script: str, files: list[str], /, **changes: Any) -> BatchResult:
        """Run a script's text over files of the given names, whose content is their name."""
        write_script(self.spec, script)
        for name in files:
            path = self.spec.inputs[0] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name, encoding="utf-8", errors="surrogateescape")
        return self.run(**changes)

    def run(self, workers: int = 2, cancelled: threading.Event | None = None, **changes: Any) -> BatchResult:
        """Run the job as it is, but for the changes."""
        spec = replace(self.spec, **changes)
        settings = Settings(max_batch_workers=workers)
        return run(spec, home=self.home, cancelled=cancelled or threading.Event(), settings=settings)


def write_script(spec: BatchSpec, text: str) -> Path:
    """Put a scoring script into the job's code folder."""
    assert spec.code_dir is not None
    spec.code_dir.mkdir(exist_ok=True)
    path = spec.code_dir / "score.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def running(home: Home) -> list[int]:
    """The processes that carry this home's mark."""
    return [process.pid for process in psutil.process_iter() if _of(home, process)]


def _of(home: Home, process: psutil.Process) -> bool:
    try:
        return process.environ().get(HOME_MARK) == home.id and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return False
