"""Conda files as pip requirements: examples of every form, and properties over made-up ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from localazure.serving.conda import (
    CONDA_ONLY,
    PYPI_NAMES,
    CondaRefused,
    Recipe,
    from_lines,
    recipe,
    without_secrets,
)


def read(*dependencies: object) -> Recipe:
    return recipe({"name": "x", "channels": ["conda-forge"], "dependencies": list(dependencies)})


@pytest.mark.parametrize(
    ("conda", "pip"),
    [
        ("numpy", "numpy"),
        ("numpy=1.2.3", "numpy==1.2.3.*"),
        ("numpy=1.2.*", "numpy==1.2.*"),
        ("numpy==1.2.3", "numpy==1.2.3"),
        ("numpy=1.2.3=py311h_0", "numpy==1.2.3.*"),
        ("numpy 1.2.3", "numpy==1.2.3.*"),
        ("numpy >=1.2,<2.0a0", "numpy<2.0a0,>=1.2"),
        ("numpy>=1.2.*", "numpy>=1.2"),
        ("numpy=1.2,>=1.2.1", "numpy==1.2.*,>=1.2.1"),
        ("numpy!=1.2.3", "numpy!=1.2.3"),
        ("numpy~=1.2", "numpy~=1.2"),
        ("numpy=*", "numpy"),
        ("numpy[version='>=1.2']", "numpy>=1.2"),
        ("conda-forge::numpy=1.2", "numpy==1.2.*"),
        ("pytorch=2.1", "torch==2.1.*"),
        ("NumPy=1.2", "numpy==1.2.*"),
    ],
)
def test_a_conda_package_is_a_requirement(conda: str, pip: str) -> None:
    assert read(conda).requirements == (pip,)


@pytest.mark.parametrize(
    ("conda", "python"),
    [
        ("python=3.11", "3.11"),
        ("python=3.11.7", "3.11.7"),
        ("python==3.11.7", "3.11.7"),
        ("python 3.8", "3.8"),
        ("python>=3.8,<3.12", ">=3.8,<3.12"),
        ("python", None),
    ],
)
def test_python_is_a_version_for_uv_and_no_requirement(conda: str, python: str | None) -> None:
    assert read(conda, "numpy") == Recipe(("numpy",), python)


def test_pips_own_section_comes_along_with_its_index_options() -> None:
    found = read(
        "pip", {"pip": ["pandas[excel]==2.0  # why", "", "--extra-index-url https://me:pw@index.example/x", "--pre"]}
    )
    assert found.requirements == ("pandas[excel]==2.0",)
    assert found.options == ("--extra-index-url https://me:pw@index.example/x",)
    assert found.prereleases
    assert not any("pw" in note for note in found.notes), "a password has no place in a log"


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        ({"pip": ["-r requirements.txt"]}, "names a file"),
        ({"pip": ["-c constraints.txt"]}, "names a file"),
        ({"pip": ["-e ."]}, "names a folder"),
        ({"pip": ["./wheels/x.whl"]}, "names a folder"),
        ({"pip": ["--no-deps"]}, "is not understood"),
        ({"pip": ["numpy=1.2"]}, "is not a requirement"),
        ("numpy=1.2|1.3", "alternatives"),
        ("=1.2", "not of the form"),
        ({"npm": ["left-pad"]}, "neither"),
        (17, "neither"),
    ],
)
def test_what_cannot_be_installed_is_refused_with_the_line_in_the_text(entry: object, word: str) -> None:
    with pytest.raises(CondaRefused, match=word):
        read("python=3.11", entry)


def test_dependencies_that_are_no_list_are_refused() -> None:
    with pytest.raises(CondaRefused, match="must be a list"):
        recipe({"dependencies": {"numpy": 1}})


@pytest.mark.parametrize("package", ["pip", "cudatoolkit=11.8", "libgcc-ng>=12", "openssl"])
def test_what_only_conda_has_is_left_out_and_said(package: str) -> None:
    found = read(package, "numpy")
    assert found.requirements == ("numpy",)
    assert any(package.split("=")[0].split(">")[0] in note for note in found.notes)


@pytest.mark.parametrize(
    ("learn", "numpy", "held"),
    [
        ("scikit-learn=1.3", None, True),
        ("scikit-learn==1.4.1", None, True),
        ("scikit-learn<1.4", "numpy", True),
        ("scikit-learn=1.0.2", "numpy=1.26", False),
        ("scikit-learn=1.4", None, False),
        ("scikit-learn==1.4.2", None, False),
        ("scikit-learn>=1.0", None, False),
        ("scikit-learn=1.7", None, False),
        ("scikit-learn>1.5,<1.6", None, False),
        ("scikit-learn", None, False),
    ],
)
def test_numpy_is_held_below_2_for_a_scikit_learn_built_before_it(learn: str, numpy: str | None, held: bool) -> None:
    found = read(learn, *([numpy] if numpy else []))
    assert ("numpy<2" in found.requirements) is held
    assert any("numpy<2" in note for note in found.notes) is held, "nothing is added in silence"


def test_the_rule_for_numpy_looks_into_pips_section_too() -> None:
    assert "numpy<2" in read({"pip": ["scikit_learn==1.1.3"]}).requirements


def test_hashes_are_dropped_and_urls_kept() -> None:
    found = from_lines(["numpy==2.0 --hash=sha256:abc", "https://files.example/x-1-py3-none-any.whl"])
    assert found.requirements == ("numpy==2.0", "https://files.example/x-1-py3-none-any.whl")


def test_secrets_of_urls_are_masked() -> None:
    assert (
        without_secrets("see https://user:pw@host/x and git+https://t@h/y")
        == "see https://***@host/x and git+https://***@h/y"
    )


names = st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,5})?", fullmatch=True).filter(
    lambda name: name not in CONDA_ONLY and name not in PYPI_NAMES and name not in ("python", "scikit-learn")
)
versions = st.lists(st.integers(0, 99), min_size=1, max_size=3).map(lambda parts: ".".join(map(str, parts)))


@given(names, versions)
def test_one_equals_sign_takes_every_version_that_begins_so(name: str, version: str) -> None:
    requirement = Requirement(read(f"{name}={version}").requirements[0])
    assert canonicalize_name(requirement.name) == canonicalize_name(name)
    assert requirement.specifier.contains(version)
    assert requirement.specifier.contains(f"{version}.1")
    assert not requirement.specifier.contains(Version(f"{int(version.split('.')[0]) + 1}"))


@given(names, versions)
def test_two_equals_signs_take_that_version_only(name: str, version: str) -> None:
    requirement = Requirement(read(f"{name}=={version}").requirements[0])
    assert requirement.specifier.contains(version)
    assert not requirement.specifier.contains(f"{version}.1")


@given(names, versions, st.sampled_from([">=", "<=", ">", "<", "!="]), st.sampled_from(["", " "]))
def test_comparisons_mean_the_same_in_both_worlds(name: str, version: str, operator: str, space: str) -> None:
    requirement = Requirement(read(f"{name}{space}{operator}{version}").requirements[0])
    assert str(requirement.specifier) == f"{operator}{version}"


@given(st.lists(st.tuples(names, versions), min_size=1, max_size=8, unique_by=lambda item: item[0]))
def test_no_package_is_lost_and_none_is_made_up(packages: list[tuple[str, str]]) -> None:
    found = read("python=3.11", "pip", *(f"{name}={version}" for name, version in packages))
    assert found.names == {canonicalize_name(name) for name, _ in packages}
    assert len(found.requirements) == len(packages)


@given(st.lists(names, min_size=2, max_size=6, unique=True))
def test_conda_and_pip_sections_say_the_same_thing(packages: list[str]) -> None:
    assert read(*packages).requirements == read({"pip": packages}).requirements


@given(st.text(max_size=30))
def test_any_line_is_read_or_refused_but_never_crashes(text: str) -> None:
    for entry in (text, {"pip": [text]}):
        try:
            found = read(entry)
        except CondaRefused:
            continue
        assert isinstance(found, Recipe)
