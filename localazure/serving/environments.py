"""Python environments of deployments: a venv for each distinct content, built by uv from wheels, kept in the cache."""

import fcntl
import hashlib
import json
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from localazure.serving.build import STAMP, Build, build_failure, left_out, run_uv
from localazure.serving.conda import CondaRefused, Recipe, from_lines, name_of, recipe
from localazure.serving.model import EnvironmentSpec, ServingError
from localazure.settings import Settings

Need = Literal["online", "batch"]

FIND_SECONDS = 60
INFERENCE_SERVER = "azureml-inference-server-http"
# The packages of which one must be named for a custom deployment to run on Azure, and what its container would say.
CARRIERS: Mapping[Need, tuple[frozenset[str], str]] = {
    "online": (
        frozenset({INFERENCE_SERVER, "azureml-defaults"}),
        "the container has no inference server; "
        "add azureml-inference-server-http (or azureml-defaults) to its conda file",
    ),
    "batch": (
        frozenset({"azureml-core", "azureml-defaults", "azureml-sdk"}),
        "a batch scoring script needs azureml-core; add it to the conda file",
    ),
}
# What full MLflow brings and its small sibling leaves to the model.
MLFLOW_EXTRAS: Mapping[str, tuple[str, ...]] = {
    "sklearn": ("scikit-learn", "skops"),
    "xgboost": ("xgboost", "scikit-learn"),
}
# Raised when the same requirements must be built anew.
_LAYOUT = "1"


@dataclass(frozen=True)
class _Python:
    path: str
    version: str


class Environments:
    """Builds what is not there yet. Safe to use from several threads and processes; a killed build is begun again."""

    def __init__(self, settings: Settings, cache: Path, log: Callable[[str], None]) -> None:
        self._settings = settings
        self._folder = cache / "environments"
        self._log = log

    def ensure(self, spec: EnvironmentSpec, *, extra: Sequence[str] = (), need: Need) -> Path:
        """The Python of a venv with what the environment's conda file names, and `extra` requirements.

        Raises:
            ServingError: ImageBuildFailure with uv's last lines; ResourceNotReady when it lacks what Azure's container
                would need to run at all.
        """
        title = f"Environment {spec.name}:{spec.version}"
        if spec.conda is None:
            raise build_failure(
                f"{title} has no conda file, and containers are not run here (image: {spec.image or 'none'}); "
                "give it a conda file that lists what the scoring script imports."
            )
        wanted = self._read(title, lambda: recipe(spec.conda or {}))
        carriers, lack = CARRIERS[need]
        if not wanted.names & carriers:
            raise ServingError("ResourceNotReady", f"User container has crashed or terminated: {title}: {lack}.")
        return self._python_of(replace(wanted, requirements=(*wanted.requirements, *extra)), title)

    def ensure_mlflow(self, model: Path, *, need: Need) -> Path:
        """The Python of a venv for an MLflow model without code, from the files that MLflow keeps with the model.

        Raises:
            ServingError: ImageBuildFailure, as `ensure`.
        """
        title = f"MLflow model {model.name}"
        wanted = self._read(title, lambda: _mlflow_recipe(model))
        slim = replace(wanted, requirements=tuple(_slim(line) for line in wanted.requirements))
        try:
            return self._python_of(_completed(slim, model, need), title)
        except ServingError:
            if slim == wanted:
                raise
            self._log("mlflow-skinny of this version cannot be had with the rest; trying the whole of mlflow.")
            return self._python_of(_completed(wanted, model, need), title)

    def _read(self, title: str, reader: Callable[[], Recipe]) -> Recipe:
        try:
            found = reader()
        except CondaRefused as error:
            raise build_failure(f"{title}: {error}") from None
        for note in found.notes:
            self._log(f"{title}: {note}")
        return found

    def _python_of(self, wanted: Recipe, title: str) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        python = self._find_python(wanted.python, title)
        relax = self._settings.relax_pins
        folder = self._folder / _key(wanted, python.version, relax)
        with self._locked(folder.with_suffix(".lock")) as lock:
            if (folder / STAMP).is_file():
                self._log(f"{title}: the environment {folder.name} is built already.")
            else:
                self._log(f"{title}: building the environment {folder.name} with Python {python.version}.")
                Build(folder, python.path, wanted, relax, self._log, lock).run()
        for note in left_out(folder):
            self._log(f"{title}: {note}")
        return folder / "bin" / "python"

    @contextmanager
    def _locked(self, file: Path) -> Iterator[int]:
        """Hold a file's lock, which the system gives back when whoever holds it dies."""
        with file.open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._log(f"Waiting for the build of {file.stem} that is under way.")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle.fileno()

    def _find_python(self, wanted: str | None, title: str) -> _Python:
        running = _Python(getattr(sys, "_base_executable", sys.executable), platform.python_version())
        if wanted is None:
            self._log(f"{title}: names no Python; using {running.version}.")
            return running
        if (found := self._found(wanted)) or (found := self._same_minor(wanted, title)):
            return found
        message = f"Python {wanted} is not on this machine"
        if not self._settings.python_fallback:
            raise build_failure(f"{title}: {message}; install it (`uv python install {wanted}`), or name another.")
        self._log(f"WARNING: {title}: {message}; using {running.version}, which may behave differently from Azure's.")
        return running

    def _same_minor(self, wanted: str, title: str) -> _Python | None:
        patch = re.fullmatch(r"(\d+\.\d+)\.\d+", wanted)
        found = self._found(patch[1]) if patch else None
        if found:
            self._log(f"WARNING: {title}: Python {wanted} is not on this machine; using {found.version}.")
        return found

    def _found(self, wanted: str) -> _Python | None:
        # The interpreter that runs this is surely there, and asking uv takes a moment.
        running = platform.python_version()
        if _fits(running, wanted):
            return _Python(getattr(sys, "_base_executable", sys.executable), running)
        try:
            asking = ["python", "find", "--system", "--no-project", wanted]
            path = run_uv(asking, cwd=self._folder, seconds=FIND_SECONDS).strip()
            return _Python(path, _version_of(path))
        except (ServingError, OSError, subprocess.SubprocessError):
            return None


def _fits(version: str, wanted: str) -> bool:
    if re.fullmatch(r"\d+(\.\d+)*", wanted):
        return f"{version}.".startswith(f"{wanted}.")
    try:
        return SpecifierSet(wanted).contains(version)
    except InvalidSpecifier:
        return False


def _version_of(python: str) -> str:
    question = [python, "-c", "import platform; print(platform.python_version())"]
    return subprocess.run(question, capture_output=True, text=True, timeout=FIND_SECONDS, check=True).stdout.strip()


def _key(wanted: Recipe, python: str, relax: bool) -> str:
    content = {
        "requirements": sorted(wanted.requirements),
        "options": wanted.options,
        "prereleases": wanted.prereleases,
        "python": python,
        "platform": f"{sys.platform}-{platform.machine()}",
        "relax": relax,
        "layout": _LAYOUT,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _mlflow_recipe(model: Path) -> Recipe:
    """What the model's own files ask for; MLflow writes all three, older versions only the first."""
    if (model / "conda.yaml").is_file():
        return recipe(_yaml(model / "conda.yaml"))
    lines = _lines(model / "requirements.txt")
    python = None
    if (model / "python_env.yaml").is_file():
        declared = _yaml(model / "python_env.yaml")
        python = str(declared["python"]) if declared.get("python") else None
        lines = lines or [str(line) for line in declared.get("dependencies") or [] if not str(line).startswith("-r")]
    if not lines:
        raise CondaRefused("there is no conda.yaml, python_env.yaml or requirements.txt beside its MLmodel file.")
    return replace(from_lines(lines), python=python)


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.is_file() else []


def _yaml(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise CondaRefused(f"{file.name} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise CondaRefused(f"{file.name} holds no mapping.")
    return content


def _slim(line: str) -> str:
    """Serving needs MLflow's small sibling only; the whole brings a tracking server with its database."""
    if name_of(line) != "mlflow":
        return line
    requirement = Requirement(line)
    return f"mlflow-skinny{requirement.specifier}"


def _takes_images(description: Mapping[str, Any]) -> bool:
    """Whether Azure gives images to a model in batch: where its signature is of tensors, or it has none."""
    signature = description.get("signature")
    return not isinstance(signature, dict) or '"tensor"' in str(signature.get("inputs"))


def _completed(wanted: Recipe, model: Path, need: Need) -> Recipe:
    """With what a container of Azure's MLflow image has besides the model's own requirements."""
    description = _yaml(model / "MLmodel")
    brought = [package for flavor in description.get("flavors") or {} for package in MLFLOW_EXTRAS.get(flavor, ())]
    # Batch reads parquet with the one, which the whole of MLflow brings, and images with the other.
    readers = ("pyarrow", "pillow") if _takes_images(description) else ("pyarrow",)
    basics = ["mlflow-skinny", "pandas", "numpy", *brought, *((INFERENCE_SERVER,) if need == "online" else readers)]
    given = wanted.names | ({"mlflow-skinny"} if "mlflow" in wanted.names else set())
    missing = [name for name in dict.fromkeys(basics) if name not in given]
    return replace(wanted, requirements=(*wanted.requirements, *missing))
