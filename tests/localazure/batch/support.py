"""What the tests of the batch runner share."""

import subprocess
import sys
import textwrap
import threading
import time
import uuid
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

    def run(
        self, workers: int = 2, cancelled: threading.Event | None = None, memory: int | None = None, **changes: Any
    ) -> BatchResult:
        """Run the job as it is, but for the changes; each time as another job unless a journal is given."""
        spec = replace(self.spec, **{"journal": self.spec.journal / uuid.uuid4().hex, **changes})
        settings = Settings(max_batch_workers=workers, batch_worker_memory_mb=memory)
        return run(spec, home=self.home, cancelled=cancelled or threading.Event(), settings=settings)


DRIVER = """
import sys, threading
from pathlib import Path
sys.path.insert(0, {root!r})
from localazure.batch import BatchSpec, run
from localazure.home import Home
from localazure.processes import new_run, start_guardian
from localazure.settings import Settings
home = Home(Path({home!r}))
if {guarded}:
    guardian = start_guardian(home, new_run())
answers = []
settings = Settings(max_batch_workers=2)
job = lambda: answers.append(run({spec}, home=home, cancelled=threading.Event(), settings=settings))
if {guarded}:
    thread = threading.Thread(target=job)
    thread.start()
    thread.join()
else:
    job()
print(answers[0].message, flush=True)
sys.exit(not answers[0].succeeded)
"""


def start_driver(spec: BatchSpec, home: Home, *, guarded: bool = False) -> subprocess.Popen[str]:
    """Run a job in a process of its own; guarded, in a thread of one that is guarded as Local Azure's daemon is."""
    text = repr(spec).replace("PosixPath(", "Path(")
    code = DRIVER.format(root=str(Path(__file__).parents[3]), spec=text, home=str(home.path), guarded=guarded)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], object], complaint: str, poll: float = 0.02) -> None:
    """Wait until it holds; a minute at most."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, complaint
        time.sleep(poll)


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
