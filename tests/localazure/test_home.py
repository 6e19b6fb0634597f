"""The state folder: private, recognised, never mistaken for somebody else's."""

import shutil
import stat
from pathlib import Path

import pytest

from localazure.errors import LocalAzureError
from localazure.home import Home, last_lines, write_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_default_is_a_folder_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Home.at(None).path == tmp_path / ".localazure"
    assert Home.at("elsewhere").path == tmp_path / "elsewhere", "relative names are settled once, for the daemon"


def test_naming_a_home_makes_nothing(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    assert not home.exists
    assert list(tmp_path.iterdir()) == []


def test_a_home_is_private_from_the_start(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    home.create()
    assert mode(home.path) == 0o700
    assert mode(home.ca) == 0o700


def test_creating_twice_keeps_the_mark(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    home.create()
    mark = home.id
    home.create()
    assert home.id == mark, "with another mark, running processes would be orphans"


def test_a_copy_has_another_mark(tmp_path: Path) -> None:
    first = Home.at(tmp_path / "first")
    first.create()
    shutil.copytree(first.path, tmp_path / "second")
    assert Home.at(tmp_path / "second").id != first.id, "stopping the copy must not end the original's processes"


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(LocalAzureError, match="not a Local Azure home"):
        Home.at(tmp_path).create()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_settings_may_be_there_before_the_first_start(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    home.settings_file.write_text("{}")
    home.create()
    assert home.exists
    assert home.settings_file.read_text() == "{}"


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    with pytest.raises(LocalAzureError, match="is a file"):
        Home.at(tmp_path / "home").create()


def test_a_private_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, "new")
    assert file.read_text() == "new"
    assert mode(file) == 0o600
    assert list(tmp_path.iterdir()) == [file], "no draft is left"


def test_the_last_lines_of_a_missing_file_are_none(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "none") == ""
    (tmp_path / "some").write_text("a\nb\nc\n")
    assert last_lines(tmp_path / "some", 2) == "b\nc"
    assert last_lines(tmp_path / "some", 0) == ""
