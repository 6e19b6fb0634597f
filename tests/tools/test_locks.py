"""The lock files: they follow what they were made from, and tell nothing of where they were made."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tools import locks

LOCKS = ["requirements.lock", "tools/go.lock", "tools/node.lock", "tools/azurite/package-lock.json"]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(locks.ROOT / name, tmp_path)
    shutil.copytree(locks.ROOT / "tools" / "azurite", tmp_path / "tools" / "azurite")
    return tmp_path


def test_the_locks_of_this_project_are_up_to_date() -> None:
    assert list(locks.stale(locks.ROOT)) == []


def test_a_requirement_that_the_lock_does_not_meet_is_named(copy: Path) -> None:
    project = copy / "pyproject.toml"
    project.write_text(project.read_text().replace('"pyyaml>=6"', '"pyyaml>=99", "not-there"'))
    said = "\n".join(locks.stale(copy))
    assert "pyyaml" in said
    assert "not-there (nothing)" in said


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
