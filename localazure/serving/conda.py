"""Conda files as lists of pip requirements: what can be said of them without installing anything."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

# Where conda-forge and PyPI call the same thing differently.
PYPI_NAMES: Mapping[str, str] = {
    "dask-core": "dask",
    "faiss": "faiss-cpu",
    "importlib_metadata": "importlib-metadata",
    "keras-gpu": "keras",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "opencv": "opencv-python-headless",
    "py-lightgbm": "lightgbm",
    "py-opencv": "opencv-python-headless",
    "py-xgboost": "xgboost",
    "py-xgboost-cpu": "xgboost",
    "py-xgboost-gpu": "xgboost",
    "python-graphviz": "graphviz",
    "pytables": "tables",
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
    "ruamel_yaml": "ruamel.yaml",
    "tensorflow-base": "tensorflow",
    "tensorflow-cpu": "tensorflow",
    "tensorflow-gpu": "tensorflow",
    "xgboost-cpu": "xgboost",
}
# Compilers, libraries and tools that wheels bring with them or do not need.
# fmt: off
CONDA_ONLY = frozenset({
    "_libgcc_mutex", "_openmp_mutex", "anaconda", "binutils", "blas", "bzip2", "c-ares", "ca-certificates", "cmake",
    "compilers", "conda", "cpuonly", "cuda", "cudatoolkit", "cudnn", "expat", "freetype", "gcc", "gcc_linux-64",
    "git", "glib", "gxx", "gxx_linux-64", "icu", "intel-openmp", "jpeg", "krb5", "lcms2", "ld_impl_linux-64",
    "libblas", "libcblas", "libffi", "libgcc", "libgcc-ng", "libgfortran", "libgfortran-ng", "libgomp", "liblapack",
    "libopenblas", "libpng", "libstdcxx-ng", "libtiff", "libuv", "llvm-openmp", "make", "mkl", "mkl-service",
    "nccl", "ncurses", "nomkl", "openblas", "openmpi", "openssl", "pip", "python_abi", "pytorch-cuda",
    "pytorch-mutex", "readline", "sqlite", "tk", "xz", "yaml", "zlib", "zstd",
})
# fmt: on
# The index options of a requirements file that uv takes in one.
INDEX_OPTIONS = ("--index-url", "-i", "--extra-index-url", "--find-links", "-f", "--no-index")
NUMPY_2_SINCE = Version("1.4.2")


class CondaRefused(ValueError):
    """The conda file holds something that cannot be installed here; the text says what and what to write instead."""


@dataclass(frozen=True)
class Recipe:
    """What to install."""

    requirements: tuple[str, ...]
    """Requirements of PEP 508, one a line."""
    python: str | None = None
    """A version or a specifier, as uv takes it; None when the file names none."""
    options: tuple[str, ...] = ()
    """Lines that say where packages come from."""
    prereleases: bool = False
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What was done about the lines that are not simply requirements."""

    @property
    def names(self) -> frozenset[str]:
        """The packages named, in PyPI's normal form."""
        return frozenset(name for line in self.requirements if (name := name_of(line)))


def name_of(requirement: str) -> str | None:
    """The package that a requirement names, in PyPI's normal form; None for a bare URL."""
    try:
        return canonicalize_name(Requirement(requirement).name)
    except InvalidRequirement:
        return None


def recipe(conda: Mapping[str, Any]) -> Recipe:
    """Read a parsed conda file.

    Raises:
        CondaRefused: a line that has no meaning outside conda, or that needs a file beside the conda file.
    """
    dependencies = conda.get("dependencies") or []
    if not isinstance(dependencies, list):
        raise CondaRefused(f"dependencies must be a list, not {dependencies!r}.")
    packages, pip_lines, notes = _sorted_out(dependencies)
    python = next((spec for name, spec in packages if name == "python"), None)
    wanted = [_requirement(name, spec, notes.append) for name, spec in packages if name != "python"]
    read = from_lines(pip_lines)
    requirements = tuple(_with_numpy([line for line in wanted if line] + list(read.requirements), notes.append))
    return Recipe(requirements, _python(python), read.options, read.prereleases, (*notes, *read.notes))


def _sorted_out(dependencies: Iterable[Any]) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    packages: list[tuple[str, str]] = []
    pip_lines: list[str] = []
    for entry in dependencies:
        if isinstance(entry, str):
            packages.append(_match_spec(entry))
        elif isinstance(entry, Mapping) and set(entry) == {"pip"}:
            pip_lines += [str(line) for line in entry["pip"] or []]
        else:
            raise CondaRefused(f"dependencies: {entry!r} is neither a conda package nor a `pip:` list.")
    return packages, pip_lines, []


_MATCH_SPEC = re.compile(
    r"(?:[\w./:-]+::)?(?P<name>[\w][\w.-]*?)\s*(?:\[version=['\"]?(?P<bracket>[^'\"\]]+)['\"]?\]|(?P<rest>[\s=<>!~].*)?)"
)


def _match_spec(text: str) -> tuple[str, str]:
    """A package's name in lower case, and its version as pip would write it."""
    found = _MATCH_SPEC.fullmatch(text.strip())
    if not found:
        raise CondaRefused(f"dependencies: {text!r} is not of the form name, name=version or name>=version.")
    return found["name"].lower(), _specifier((found["bracket"] or found["rest"] or "").strip(), text)


def _specifier(version: str, whole: str) -> str:
    if "|" in version:
        raise CondaRefused(f"dependencies: {whole!r} offers alternatives, which pip cannot; name one range.")
    if version.lstrip("= ") in ("", "*"):
        return ""
    return ",".join(_part(part.strip()) for part in version.split(","))


def _part(version: str) -> str:
    if operator := re.match(r"[<>]=?", version):
        # Conda lets a bound end in `.*`, where it means nothing.
        return operator[0] + version[operator.end() :].strip().removesuffix(".*")
    if re.match(r"[!~]=", version):
        return version
    # After the version may come the build, which names files of conda's own.
    number = re.split(r"[=\s]+", version.lstrip("=").strip())[0]
    return f"=={number}" if version.startswith("==") or number.endswith("*") else f"=={number}.*"


def _requirement(name: str, specifier: str, note: Callable[[str], None]) -> str | None:
    if name in CONDA_ONLY:
        note(f"Left out: {name} is conda's own; wheels bring what they need.")
        return None
    pypi = PYPI_NAMES.get(name, name)
    if pypi != name:
        note(f"{name} is called {pypi} on PyPI.")
    return _checked(f"{pypi}{specifier}")


def _checked(line: str) -> str:
    try:
        return str(Requirement(line))
    except InvalidRequirement as error:
        raise CondaRefused(f"{line!r} is not a requirement: {str(error).splitlines()[0]}.") from None


def _python(specifier: str | None) -> str | None:
    # `=3.11` and `==3.11` ask for any 3.11, which is how uv reads the bare number.
    if not specifier:
        return None
    return re.sub(r"^==(\d+(?:\.\d+)*)(?:\.\*)?$", r"\1", specifier)


def from_lines(lines: Iterable[str]) -> Recipe:
    """Read the lines of a requirements file or of a `pip:` list.

    Raises:
        CondaRefused: a line that needs a file, a source build, or an option that does not belong there.
    """
    requirements: list[str] = []
    options: list[str] = []
    prereleases = False
    for line in (re.sub(r"(^|\s)#.*$", "", text).strip() for text in lines):
        if line == "--pre":
            prereleases = True
        elif re.split(r"[=\s]", line)[0] in INDEX_OPTIONS:
            options.append(line)
        elif line:
            requirements.append(_pip_line(line))
    notes = [f"Packages also come from: {without_secrets(option)}" for option in options]
    return Recipe(tuple(requirements), None, tuple(options), prereleases, tuple(notes))


def _pip_line(line: str) -> str:
    if line.startswith(("-r", "--requirement", "-c", "--constraint")):
        raise CondaRefused(f"pip: {line!r} names a file that is not part of the environment; write its lines here.")
    if line.startswith(("-e", "--editable", ".", "/", "file:")):
        raise CondaRefused(f"pip: {line!r} names a folder that is not part of the environment; publish a wheel.")
    if line.startswith("-"):
        raise CondaRefused(f"pip: the option {line!r} is not understood here; leave it out.")
    # Hashes pin files; the resolution here is for this platform and may use others.
    return _url_line(line) or _checked(line.split(" --hash=")[0].rstrip("\\ "))


def _url_line(line: str) -> str | None:
    return line if re.match(r"(https?|git\+\w+)://", line) else None


def without_secrets(text: str) -> str:
    """The text without the user and password of any URL in it."""
    return re.sub(r"(\w+://)[^/@\s]+@", r"\1***@", text)


def _with_numpy(requirements: list[str], note: Callable[[str], None]) -> list[str]:
    parsed: dict[str, Requirement] = {
        canonicalize_name(item.name): item for line in requirements if (item := _parsed(line))
    }
    learn, numpy = parsed.get("scikit-learn"), parsed.get("numpy")
    if learn is None or _may_be(learn, NUMPY_2_SINCE) or (numpy is not None and numpy.specifier):
        return requirements
    note(f"Added: numpy<2, for {learn} was built before numpy 2.")
    return [*requirements, "numpy<2"]


def _parsed(line: str) -> Requirement | None:
    try:
        return Requirement(line)
    except InvalidRequirement:
        return None


def _may_be(requirement: Requirement, least: Version) -> bool:
    """Whether some version from `least` on fits the requirement."""
    literals = [part.version.removesuffix(".*") for part in requirement.specifier]
    candidates = [least, Version("9999")] + [
        version for text in literals for form in (text, f"{text}.1") if (version := _version(form)) and version >= least
    ]
    return any(requirement.specifier.contains(candidate, prereleases=True) for candidate in candidates)


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None
