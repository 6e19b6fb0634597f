"""One venv, made by uv from wheels."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from localazure import tools
from localazure.serving.conda import Recipe, without_secrets
from localazure.serving.model import ServingError

BUILD_SECONDS = 1800.0
TAIL_LINES = 15
# azureml-defaults asks for it to mount data sets, which nothing here does, and it has never been a wheel.
UNBUILDABLE = ("fusepy",)
STAMP = "complete.json"


def build_failure(text: str) -> ServingError:
    """What Azure calls an environment that cannot be made."""
    return ServingError("ImageBuildFailure", f"The environment could not be built: {text}")


def run_uv(argv: Sequence[str], *, cwd: Path, seconds: float = BUILD_SECONDS, keep: Collection[int] = ()) -> str:
    """Run uv and return what it prints; it inherits the descriptors to `keep`.

    Raises:
        ServingError: ImageBuildFailure with uv's last lines.
    """
    # The venv that runs this, a project's settings or a dot file nearby must not decide what is built.
    foreign = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    own = {key: value for key, value in os.environ.items() if key not in foreign}
    environment = {"UV_PYTHON_DOWNLOADS": "never", **own, "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}
    try:
        done = subprocess.run(
            [str(tools.uv()), *argv],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            pass_fds=tuple(keep),
        )
    except subprocess.TimeoutExpired:
        raise build_failure(f"uv {argv[0]} {argv[1]} took longer than {seconds:.0f} s.") from None
    if done.returncode:
        lines = without_secrets(done.stderr).strip().splitlines()
        raise build_failure("\n".join(lines[-TAIL_LINES:]))
    return done.stdout


def left_out(folder: Path) -> list[str]:
    """What the packages of a venv ask for that is never installed, a sentence each."""
    asked: dict[str, list[str]] = {}
    for file in sorted(folder.glob("lib/python*/site-packages/*.dist-info/METADATA")):
        for name in UNBUILDABLE:
            if re.search(rf"^Requires-Dist: {name}\b", file.read_text(errors="replace"), re.MULTILINE):
                asked.setdefault(name, []).append(file.parent.name.split("-")[0])
    return [
        f"Left out: {name} (wanted by {', '.join(users)}), which mounts data sets: it has no wheel, and nothing is "
        "mounted here."
        for name, users in asked.items()
    ]


@dataclass(frozen=True)
class Build:
    """Makes the venv in `folder`, under a lock that the caller holds."""

    folder: Path
    python: str
    wanted: Recipe
    relax_pins: bool
    log: Callable[[str], None]
    lock: int
    """The lock's descriptor. uv inherits it: if this process is killed, the lock holds until uv has ended too."""

    def run(self) -> None:
        """Make it, and the stamp that says that it is whole.

        Raises:
            ServingError: ImageBuildFailure; nothing is left.
        """
        begun = time.monotonic()
        # Without its stamp it is what a killed build has left.
        shutil.rmtree(self.folder, ignore_errors=True)
        try:
            self._uv(["venv", "--python", self.python, str(self.folder)])
            installed = self._installed()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        (self.folder / STAMP).write_text(json.dumps({"requirements": installed}))
        self.log(f"Built in {time.monotonic() - begun:.1f} s.")

    def _installed(self) -> Sequence[str]:
        try:
            self._install(self.wanted.requirements)
        except ServingError:
            relaxed = [self._relaxed(line) for line in self.wanted.requirements] if self.relax_pins else []
            if not relaxed or relaxed == list(self.wanted.requirements):
                raise
            self._install(relaxed)
            return relaxed
        return self.wanted.requirements

    def _install(self, requirements: Sequence[str]) -> None:
        for line in requirements:
            self.log(f"  {without_secrets(line)}")
        self._resolve(["pip", "install", "--requirements"], requirements)

    def _relaxed(self, line: str) -> str:
        """The line itself, or the lowest newer version that has a wheel if its pin has none."""
        pin = _pin(line)
        if pin is None or self._version_for(line) is not None:
            return line
        least = next(iter(pin.specifier)).version.removesuffix(".*")
        found = self._version_for(f"{pin.name}>={least}", "--resolution", "lowest-direct")
        if found is None:
            return line
        self.log(f"WARNING: {line} has no wheel for this Python and platform; {pin.name}=={found} is used instead.")
        return f"{pin.name}=={found}"

    def _version_for(self, line: str, *options: str) -> str | None:
        compiling = ["pip", "compile", "--no-deps", "--no-header", "--no-annotate", *options]
        try:
            text = self._resolve(compiling, [line])
        except ServingError:
            return None
        found = re.search(r"^\S+==(\S+)", text, re.MULTILINE)
        return found[1] if found else None

    def _resolve(self, argv: Sequence[str], requirements: Sequence[str]) -> str:
        options = ["--python", str(self.folder / "bin" / "python"), "--only-binary", ":all:"]
        options += ["--prerelease", "allow"] if self.wanted.prereleases else []
        with tempfile.TemporaryDirectory() as scratch:
            asked, overrides = Path(scratch, "requirements.txt"), Path(scratch, "overrides.txt")
            asked.write_text("\n".join([*self.wanted.options, *requirements, ""]))
            overrides.write_text("".join(f"{name}; sys_platform == 'never'\n" for name in UNBUILDABLE))
            return self._uv([*argv, str(asked), "--overrides", str(overrides), *options])

    def _uv(self, argv: Sequence[str]) -> str:
        return run_uv(argv, cwd=self.folder.parent, keep=[self.lock])


def _pin(line: str) -> Requirement | None:
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return None
    return requirement if _is_pin(requirement.specifier) else None


def _is_pin(specifier: SpecifierSet) -> bool:
    return len(specifier) == 1 and next(iter(specifier)).operator == "=="
