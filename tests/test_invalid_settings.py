"""Layer: the stack configuration; what cannot be meant is one finding, with its key, its value and the way out."""

import shutil
from pathlib import Path

import pytest

from settings import SettingsError, parse
from tests.invalid_configurations import FILES, INVALID, ROOT, SECRET, Invalid, base
from tests.samples import write_files


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the local stack names, and the files that nothing can be done with."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "scoring", folder / "scoring")
    write_files(folder, FILES)
    return folder


def test_there_are_many_and_each_is_another() -> None:
    assert len(INVALID) >= 80
    assert len({row.name for row in INVALID}) == len(INVALID)


def test_what_they_are_edits_of_is_sound(project: Path) -> None:
    assert parse(base(), project).online_endpoints


@pytest.mark.parametrize("row", INVALID, ids=lambda row: row.name)
def test_what_cannot_be_meant_is_one_finding(row: Invalid, project: Path) -> None:
    with pytest.raises(SettingsError) as error:
        parse(row.apply(base()), project)
    (finding,) = error.value.findings
    assert finding.startswith(f"{row.key}: ")
    assert row.value in finding
    assert row.way_out in finding
    assert SECRET not in str(error.value)
    assert SECRET.removeprefix("hunter2-") not in str(error.value)
