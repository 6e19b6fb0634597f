"""The lock files: they follow what they were made from, and tell nothing of where they were made."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tools import locks

APART = [*locks.APART]
LOCKS = ["requirements.lock", "tools/go.lock", "tools/node.lock", "tools/azurite/package-lock.json", *APART]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(locks.ROOT / "tools" / "azurite", tmp_path / "tools" / "azurite")
    for name in ("pyproject.toml", "requirements.lock", *APART):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(locks.ROOT / name, tmp_path / name)
    return tmp_path


def test_the_locks_of_this_project_are_up_to_date() -> None:
    assert list(locks.stale(locks.ROOT)) == []


def test_a_requirement_that_the_lock_does_not_meet_is_named(copy: Path) -> None:
    project = copy / "pyproject.toml"
    project.write_text(project.read_text().replace('"pyyaml>=6"', '"pyyaml>=99", "not-there"'))
    said = "\n".join(locks.stale(copy))
    assert "pyyaml" in said
    assert "not-there (nothing)" in said


def test_an_environment_of_its_own_follows_what_the_program_has(copy: Path) -> None:
    project = copy / "pyproject.toml"
    project.write_text(project.read_text().replace('"pulumi==3.272.0"', '"pulumi==3.999.0"'))
    assert any(said.startswith("policies/requirements.txt has pulumi 3.272.0") for said in locks.stale(copy))


def test_another_azurite_than_the_locked_one_is_named(copy: Path) -> None:
    file = copy / "tools" / "azurite" / "package.json"
    package = json.loads(file.read_text())
    package["dependencies"]["azurite"] = "99.0.0"
    file.write_text(json.dumps(package))
    assert "package-lock.json" in "\n".join(locks.stale(copy))


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_registry_and_no_path_of_the_machine_it_was_made_on(name: str) -> None:
    text = (locks.ROOT / name).read_text()
    assert not re.search(r"registry\.|index-url|find-links|/home/|/root/|/Users/|/tmp/", text)
    assert not [url for url in re.findall(r'"resolved": "([^"]*)"', text) if not url.startswith("stubs/")]
