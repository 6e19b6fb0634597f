"""A worker process: calls the scoring script's `init()` once, then `run()` for each mini-batch it is sent.

Started as a file with the interpreter of the deployment's environment, so it uses the standard library only and runs
on any Python from 3.8. It talks to the job in JSON lines over a Unix socket; the script may print what it likes. It
ends when the socket or its stdin does, with all that the script has started, so it cannot outlive the job.

Answers are written as Azure's batch driver writes them: a DataFrame as CSV separated by spaces, without header and
index; a list, tuple or array with one line per element, `str(element)`.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import io
import json
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

# Linux's, which the module fcntl does not name.
F_SETSIG = 10


def main(address: str) -> None:
    """Serve the job that listens at `address`, until it hangs up."""
    die_with_the_job()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    lines = connection.makefile("r", encoding="ascii")
    setup = json.loads(lines.readline())
    redirect_stdout(setup["stdout"])
    tasks: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=receive, args=(lines, tasks), daemon=True).start()
    serve(connection, tasks, setup)


def die_with_the_job() -> None:
    """Have the kernel kill this process and its children when the job's end of the pipe at stdin is closed.

    Without it a script that computes in native code would go on: it lets no other thread notice that the job is gone.
    """
    if sys.platform == "linux" and leads_its_group():
        # A kernel that does not know how leaves it to the thread that reads the socket.
        with contextlib.suppress(OSError):
            fcntl.fcntl(0, fcntl.F_SETOWN, -os.getpid())
            fcntl.fcntl(0, F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    # Kept open out of the way: what reads stdin must find its end, and not wait for ever.
    os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def leads_its_group() -> bool:
    return os.getpgrp() == os.getpid()


def redirect_stdout(path: str) -> None:
    """Send everything that is printed, also by native code and children, to the job's log."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.close(descriptor)
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(line_buffering=True, encoding="utf-8", errors="backslashreplace")


def receive(lines: io.TextIOWrapper, tasks: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Hand each line to the main thread. The end of them means that the job is gone: end at once, even within run()."""
    try:
        with contextlib.suppress(OSError):
            for line in lines:
                tasks.put(json.loads(line))
    finally:
        if leads_its_group():
            os.killpg(0, signal.SIGKILL)
        os._exit(0)


def serve(connection: socket.socket, tasks: queue.SimpleQueue[dict[str, Any]], setup: dict[str, Any]) -> None:
    """Say how `init()` went, then answer each mini-batch."""
    try:
        with forks_ended():
            module = load_script(setup)
            begin = time.perf_counter()
            module.init()
        send(connection, event="ready", seconds=time.perf_counter() - begin)
    except BaseException as error:
        send(connection, event="init_failed", **describe(error))
        return
    while True:
        task = tasks.get()
        send(connection, number=task["number"], **score(module, task["files"], setup["keep_rows"]))


@contextlib.contextmanager
def forks_ended() -> Iterator[None]:
    """End every fork of this process that comes out of the script's code, with the exit code it would have had.

    It holds the same socket, and what it answered would be taken for the worker's. At once, as `multiprocessing` ends
    its own: a fork has no thread but one, and would wait for the locks of the others.
    """
    worker, code = os.getpid(), 0
    try:
        yield
    except BaseException as error:
        if os.getpid() == worker:
            raise
        code = exit_code(error)
    if os.getpid() != worker:
        os._exit(code)


def exit_code(error: BaseException) -> int:
    """What Python ends with after an exception that nobody catches; it is printed, too."""
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        return error.code or 0
    traceback.print_exception(type(error), error, error.__traceback__)
    return 1


def load_script(setup: dict[str, Any]) -> ModuleType:
    """Import the scoring script as its folder sees it, with the arguments that Azure's driver is started with."""
    path = setup["script"]
    logging.basicConfig(level=setup["logging_level"], stream=sys.stdout, format=logging.BASIC_FORMAT)
    sys.argv = [path, *setup["arguments"]]
    sys.path[0:1] = setup["folders"]
    name = Path(path).stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"the scoring script {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Registered, so that what the script defines can be pickled.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    for function in ("init", "run"):
        if not callable(getattr(module, function, None)):
            raise AttributeError(
                f"the scoring script has no function {function}(): it needs init() and run(mini_batch)"
            )
    return module


def score(module: ModuleType, files: list[str], keep_rows: bool) -> dict[str, Any]:
    """Call `run` and count its answer: each element stands for a file, and there may be more elements than files."""
    begin = time.perf_counter()
    try:
        with forks_ended():
            answer = module.run(files)
            if hasattr(answer, "__next__"):
                answer = list(answer)
        check(answer)
        said = getattr(answer, "failures", None)
        failures = {path: str(said[path]) for path in files if path in said} if isinstance(said, dict) else {}
        return {
            "event": "scored",
            "rows": as_rows(answer) if keep_rows else "",
            "succeeded": len(files) - len(failures) if isinstance(said, dict) else min(len(answer), len(files)),
            "failures": failures,
            "seconds": time.perf_counter() - begin,
        }
    except BaseException as error:
        return {"event": "failed", **describe(error)}


def check(answer: Any) -> None:
    if is_frame(answer) or (hasattr(answer, "__len__") and not isinstance(answer, (str, bytes, dict))):
        return
    kind = type(answer).__name__
    raise TypeError(f"run() returned {kind}; it must return a pandas DataFrame, a list, a tuple or an array, by file")


def is_frame(answer: Any) -> bool:
    return hasattr(answer, "to_csv") and hasattr(answer, "columns")


def as_rows(answer: Any) -> str:
    if is_frame(answer):
        return answer.to_csv(header=False, index=False, sep=" ")
    return "".join(f"{element}\n" for element in answer)


def describe(error: BaseException) -> dict[str, str]:
    first_line = str(error).strip().partition("\n")[0]
    return {"reason": f"{type(error).__name__}: {first_line}".rstrip(": "), "trace": traceback.format_exc()}


def send(connection: socket.socket, **message: Any) -> None:
    # ASCII: file names that are not UTF-8 travel as lone surrogates, which only escapes can carry.
    connection.sendall(json.dumps(message).encode("ascii") + b"\n")


if __name__ == "__main__":
    main(sys.argv[1])
