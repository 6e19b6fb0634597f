"""The cache outside the clone: what set-up makes is kept here by its content, so the next clone finds it made."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

SIGN_OF_LIFE = 15.0  # seconds of silence before a long step says that it is still at work


class SetupError(Exception):
    """Set-up cannot go on; the message says what is wrong and the way out."""


def say(text: str) -> None:
    print(text, flush=True)


def cache_dir(environ: Mapping[str, str]) -> Path:
    """`AZUREML_ENDPOINTS_CACHE`, else `azureml-endpoints` in the user's cache folder."""
    if chosen := environ.get("AZUREML_ENDPOINTS_CACHE"):
        return Path(chosen).expanduser().absolute()
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "azureml-endpoints"


def digest(*parts: Path | str) -> str:
    """16 hex digits that change when a part does: a text by itself, a file or a folder by its content."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            total.update(part.encode() + b"\0")
            continue
        files = sorted(path for path in part.rglob("*") if path.is_file()) if part.is_dir() else [part]
        for file in files:
            total.update(f"{file.relative_to(part)}\0".encode() + file.read_bytes() + b"\0")
    return total.hexdigest()[:16]


@contextmanager
def alone(cache: Path) -> Iterator[None]:
    """Hold the cache's lock: of two set-ups at once the second waits, then finds everything made.

    The lock belongs to the process, so one that was killed leaves none behind.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("set-up: another one is at work on the same cache; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def provide(cache: Path, name: str, key: str, why: str, make: Callable[[Path], None]) -> Path:
    """The folder `<cache>/<name>`: what `make` writes into an empty folder, made once for each `key`.

    It appears whole or not at all, whenever set-up is killed. Call it with the lock held.
    """
    versions = cache / "versions"
    made = versions / f"{name}-{key}"
    if not made.is_dir():
        say(f"set-up: {why}")
        versions.mkdir(exist_ok=True)
        for abandoned in versions.glob(f".{name}-*"):
            shutil.rmtree(abandoned)
        scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=versions))
        make(scratch)
        scratch.rename(made)
    point(cache / name, made)
    return cache / name


def point(link: Path, target: Path) -> None:
    """Make `link` a symbolic link to its neighbour `target`, in one step that no reader can see half of."""
    relative = target.relative_to(link.parent)
    if link.is_symlink() and link.readlink() == relative:
        return
    fresh = link.with_name(f".{link.name}-link")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(relative)
    if link.is_dir() and not link.is_symlink():
        shutil.rmtree(link)
    fresh.replace(link)


def run(argv: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    """Run a command; show now and then that it is alive, and its last lines if it fails."""
    command = [str(word) for word in argv]
    tail: deque[str] = deque(maxlen=30)
    started = time.monotonic()
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        reader = threading.Thread(target=tail.extend, args=(process.stdout,))
        reader.start()
        try:
            _wait(process, tail, started)
        except BaseException:
            process.terminate()
            raise
        finally:
            reader.join()
    if process.returncode:
        raise SetupError(f"`{' '.join(command)}` failed ({process.returncode}):\n{''.join(tail)}".rstrip())


def _wait(process: subprocess.Popen[str], tail: deque[str], started: float) -> None:
    while True:
        try:
            process.wait(SIGN_OF_LIFE)
            return
        except subprocess.TimeoutExpired:
            minutes, seconds = divmod(int(time.monotonic() - started), 60)
            latest = tail[-1].strip() if tail else Path(str(process.args[0])).name  # type: ignore[index]
            say(f"  {minutes}:{seconds:02} {latest[:100]}")


def output(argv: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str | None:
    """What a command prints, or None where it is missing or fails."""
    try:
        done = subprocess.run(
            [str(word) for word in argv], cwd=cwd, env=env, capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def which(program: str, *, without: Sequence[Path]) -> Path | None:
    """The program on PATH, leaving out folders that set-up itself fills."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    left_out = {os.path.realpath(folder) for folder in without}
    found = shutil.which(program, path=os.pathsep.join(f for f in folders if os.path.realpath(f) not in left_out))
    return Path(found) if found else None
