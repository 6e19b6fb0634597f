"""Cleans up when the test run that started it is gone, however it went: killed, it could not do so itself.

Started with a folder and the mark of a home or of a run; its standard input is a pipe that ends with the test run.
"""

import shutil
import sys
from pathlib import Path

import psutil

MARKS = ("LOCALAZURE_HOME_ID", "LOCALAZURE_RUN_ID")


def belongs(process: psutil.Process, folder: Path, mark: str) -> bool:
    """Whether a process works in the folder, or carries the mark."""
    try:
        inside = Path(process.cwd()).is_relative_to(folder)
        return inside or mark in [process.environ().get(name) for name in MARKS]
    except (psutil.Error, OSError):
        return False


def processes_of(folder: Path, mark: str) -> list[psutil.Process]:
    """The processes that belong to a folder or a mark, but not this one."""
    return [each for each in psutil.process_iter() if each.pid != psutil.Process().pid and belongs(each, folder, mark)]


def clean(folder: Path, mark: str) -> None:
    """Ends these processes and removes the folder."""
    while found := processes_of(folder, mark):
        for process in found:
            try:
                process.kill()
            except psutil.Error:
                continue
        psutil.wait_procs(found, timeout=5)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    clean(Path(sys.argv[1]), sys.argv[2])
