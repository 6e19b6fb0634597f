"""`make policy`: a preview of a stack in which the policy pack has its say.

The pack runs in an environment of its own, since CrossGuard's library and the program's want different versions of
protobuf; and as a plugin of our own name, since not every Pulumi CLI can start a pack that is written in Python.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from policies import exemptions
from tools import setup, up
from tools.cache import alone, cache_dir, digest, provide, run
from tools.recovery import RecoveryError

PACK = up.ROOT / "policies"
LOCK = PACK / "requirements.txt"
# What Pulumi looks for on PATH to start a pack whose PulumiPolicy.yaml says `runtime: pack`.
PLUGIN = "pulumi-analyzer-policy-pack"
SCRIPT = '#!/bin/sh\nexec "{python}" -u -m pulumi.policy "$1" "$2"\n'


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stack")
    stack = parser.parse_args(arguments).stack
    try:
        # Here too: what is wrong in that file would be a traceback in the engine's output.
        exemptions.load()
        environment = up.prepare(stack)
        with pack(environment) as (folder, with_plugin):
            options = [*up.preview_options(stack, environment), "--policy-pack", str(folder)]
            return up.pulumi(["preview", *options], with_plugin)
    except (up.UpError, setup.SetupError, RecoveryError, exemptions.ExemptionError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return up.INTERRUPTED


@contextmanager
def pack(environment: Mapping[str, str]) -> Iterator[tuple[Path, dict[str, str]]]:
    """A copy of the pack that every Pulumi CLI can start, and the environment in which it does."""
    python = interpreter(cache_dir(environment))
    with tempfile.TemporaryDirectory(prefix="policy-pack-") as scratch:
        folder, plugins = Path(scratch) / PACK.name, Path(scratch) / "bin"
        shutil.copytree(PACK, folder, ignore=shutil.ignore_patterns("__pycache__"))
        description = folder / "PulumiPolicy.yaml"
        description.write_text(description.read_text().replace("runtime: python", "runtime: pack"))
        plugins.mkdir()
        script = plugins / PLUGIN
        script.write_text(SCRIPT.format(python=python))
        script.chmod(0o755)
        yield folder, {**environment, "PATH": os.pathsep.join([str(plugins), environment["PATH"]])}


def interpreter(cache: Path) -> Path:
    """Python with what the pack needs, and nothing else; made where it is missing."""
    return environment_of(cache, "policy", LOCK, "installing what the policy pack runs on")


def environment_of(cache: Path, name: str, lock: Path, why: str) -> Path:
    """The Python of an environment of its own in the cache, with exactly what a lock says."""
    with alone(cache):
        uv = setup.ensure_uv(cache)

        def make(folder: Path) -> None:
            base = getattr(sys, "_base_executable", sys.executable)
            # Relocatable, since it is made under another name than it is used by.
            run([uv, "venv", "--relocatable", "--python", base, folder / "venv"])
            python = folder / "venv" / "bin" / "python"
            run([uv, "pip", "sync", "--python", python, "--require-hashes", lock])

        made = provide(cache, name, digest(lock, setup.PLATFORM), why, make)
    return made / "venv" / "bin" / "python"


if __name__ == "__main__":
    sys.exit(main())
