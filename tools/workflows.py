"""The workflows of GitHub Actions, checked by actionlint: `python -m tools.workflows [FILE…]`.

actionlint is built from its Go module, as the Pulumi CLI is where it cannot be downloaded, once for each version.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.cache import SetupError, alone, cache_dir, digest, provide
from tools.pulumi_cli import compile_go, find_go, go_environment
from tools.setup import ROOT, TOOLS, ensure_uv

PACKAGE = "github.com/rhysd/actionlint/cmd/actionlint"
FOLDER = ROOT / ".github" / "workflows"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="*", type=Path, help="workflows to check; without any, those of this repository")
    files = parser.parse_args(arguments).file or sorted(FOLDER.glob("*.yml"))
    try:
        program = ensure(cache_dir(os.environ))
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    # Whether shellcheck is there must not decide about a workflow: the shell in them is next to none.
    return subprocess.call([program, "-no-color", "-oneline", "-shellcheck=", "-pyflakes=", *files], cwd=ROOT)


def ensure(cache: Path) -> Path:
    """The program, built where this version was not built before."""
    module = TOOLS / "actionlint"
    why = "building actionlint, which checks workflows"
    key = digest(module, sys.platform, os.uname().machine)
    with alone(cache):
        return provide(cache, "actionlint", key, why, lambda folder: build(cache, module, folder)) / "actionlint"


def build(cache: Path, module: Path, folder: Path) -> None:
    scratch = cache / "build-actionlint"
    go = find_go(scratch, TOOLS, ensure_uv(cache))
    compile_go(go, go_environment(scratch), module, PACKAGE, folder)
    shutil.rmtree(scratch)


if __name__ == "__main__":
    sys.exit(main())
