"""The rules for what the files say that the configuration names: conda files and MLflow models.

Source: https://learn.microsoft.com/azure/machine-learning/how-to-deploy-online-endpoints,
how-to-batch-scoring-script and how-to-deploy-mlflow-models.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from settings.files import found
from settings.models import EnvironmentSettings
from settings.script_rules import Kind, Python

# Microsoft's bare images: those for inference and the curated ones have packages of their own.
BARE_IMAGE = re.compile(r"mcr\.microsoft\.com/azureml/(openmpi|intelmpi|base)[^/]*", re.IGNORECASE)
# The packages of which Azure's container needs one.
CARRIERS = {
    "online": {"azureml-inference-server-http", "azureml-defaults"},
    "batch": {"azureml-core", "azureml-defaults", "azureml-sdk"},
}
NEEDS = {
    "online": "has no inference server; add azureml-inference-server-http",
    "batch": "lacks what a batch job runs by; add azureml-core",
}
# Those of azureml-* that do not bring azureml-core along; the others may.
LEAN = {"azureml-dataset-runtime", "azureml-fsspec", "azureml-ai-monitoring", "azureml-inference-server-http"}

Findings = Iterator[str]


def conda_findings(path: str, environment: EnvironmentSettings, root: Path, kind: Kind) -> Findings:
    """What is wrong with the conda file of an environment, or with its having none."""
    bare = BARE_IMAGE.fullmatch(environment.image or "")
    if environment.conda_file is None:
        if bare:
            yield f'{path}.condaFile: is missing; "{environment.image}" alone {NEEDS[kind]} in a conda file.'
        return
    file = root / environment.conda_file
    if not found(file, "file"):
        return
    conda, problem = _yaml(file)
    name, own = environment.conda_file, f"{path}.condaFile"
    if problem or not isinstance(conda, Mapping):
        yield f'{own}: "{name}" {problem or "is not a mapping with dependencies"}; correct the file.'
    elif not isinstance(conda.get("dependencies"), list):
        yield f'{own}: "{name}" has no list of dependencies; add it.'
    elif bare and not _carries(packages(conda), kind):
        yield f'{own}: "{name}" {NEEDS[kind]} (or azureml-defaults) to it.'


def python_of(environment: EnvironmentSettings | None, root: Path) -> Python | None:
    """The least version of Python that an environment asks for; None where its conda file leaves it open.

    What is made elsewhere may have any, so that it counts as newer than all.
    """
    if environment is None or environment.conda_file is None:
        return (99, 0)
    file = root / environment.conda_file
    conda = _yaml(file)[0] if found(file, "file") else None
    for line in _lines(conda) if isinstance(conda, Mapping) else ():
        if version := re.match(r"\s*(?:\S+::)?python\s*[=<>!~ ]*\s*(\d+)\.(\d+)", line):
            return int(version[1]), int(version[2])
    return None


def mlflow_findings(path: str, name: str, folder: Path) -> Findings:
    """What is wrong with the file MLmodel of a folder that mlflow saved."""
    model, problem = _yaml(folder / "MLmodel")
    flavors = model.get("flavors") if isinstance(model, Mapping) else None
    if problem:
        yield f'{path}: MLmodel in "{name}" {problem}; save the model again.'
    elif not isinstance(flavors, Mapping) or not flavors:
        yield f'{path}: MLmodel in "{name}" names no flavors; name the folder that mlflow saved.'
    elif "python_function" not in flavors:
        yield (
            f'{path}: MLmodel in "{name}" has no flavor python_function (there is: {", ".join(map(str, flavors))}), by '
            "which Azure serves it; save it by one that has, or set model.type to custom_model."
        )


def packages(conda: Mapping[str, Any]) -> set[str] | None:
    """The names of the packages that a conda file lists; None where it takes some from elsewhere."""
    names: set[str] = set()
    for line in _lines(conda):
        if re.match(r"\s*(-[^-\s]|--(requirement|constraint|editable)|\.|/|\w+\+?\w*://)", line):
            return None
        if name := re.match(r"\s*(?:\S+::)?([A-Za-z0-9][\w.-]*)", line):
            names.add(re.sub(r"[-_.]+", "-", name[1]).lower())
    return names


def _carries(names: set[str] | None, kind: Kind) -> bool:
    if names is None or names & CARRIERS[kind]:
        return True
    return kind == "batch" and any(name.startswith("azureml-") and name not in LEAN for name in names)


def _lines(conda: Mapping[str, Any]) -> Iterator[str]:
    listed = conda.get("dependencies")
    for entry in listed if isinstance(listed, list) else ():
        pip = entry.get("pip") if isinstance(entry, Mapping) else None
        yield from (str(line) for line in (pip if isinstance(pip, list) else [] if pip is None else [pip]))
        if isinstance(entry, str):
            yield entry


def _yaml(file: Path) -> tuple[Any, str | None]:
    """What a YAML file holds, or what is wrong with it."""
    # Here, since a stack of registered models reads none.
    import yaml

    try:
        return yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)), None
    except OSError as error:
        return None, f"cannot be read: {error.strerror}"
    except RecursionError:
        return None, "is nested too deeply to be read"
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        return None, f"is not YAML: {getattr(error, 'problem', None) or error}{where}"
