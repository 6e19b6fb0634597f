"""The real Checkov over ARM templates, in an environment of its own, since its pins and the project's conflict."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.cache import cache_dir
from tools.policy import environment_of
from tools.setup import TOOLS

# Taken when the tests are collected: those that run a program give it a cache of its own.
CACHE = cache_dir(os.environ)
# Without a download of its vendor's texts, and so without network.
OPTIONS = ("--framework", "arm", "--skip-download", "--compact", "--output", "json")
# It ends with 1 where it found something.
ENDS = (0, 1)


@dataclass(frozen=True)
class Results:
    """Checkov's answers on one template: pairs of a check's id and a resource's `type.name`."""

    failed: frozenset[tuple[str, str]]
    passed: frozenset[tuple[str, str]]

    @property
    def checks(self) -> set[str]:
        """The checks that were made."""
        return {check for check, _ in self.failed | self.passed}


def scan(templates: Mapping[str, Any], folder: Path) -> dict[str, Results]:
    """Checks every template, all in one run: to start Checkov takes longer than to check.

    Raises:
        AssertionError: if Checkov did not run, or could not read one of them.
    """
    python = environment_of(CACHE, "checkov", TOOLS / "checkov.lock", "installing Checkov, for the tests alone")
    for name, template in templates.items():
        (folder / f"{name}.json").write_text(json.dumps(template, indent=2))
    command = [python.with_name("checkov"), "--directory", folder, *OPTIONS]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=folder)
    assert done.returncode in ENDS, done.stderr
    assert done.stdout.strip(), done.stderr
    report = json.loads(done.stdout)
    assert report["check_type"] == "arm"
    assert report["summary"]["parsing_errors"] == 0, report["results"].get("parsing_errors")
    return {name: _of(report["results"], f"/{name}.json") for name in templates}


def _of(results: Mapping[str, Any], file: str) -> Results:
    def pairs(kind: str) -> frozenset[tuple[str, str]]:
        return frozenset((each["check_id"], each["resource"]) for each in results[kind] if each["file_path"] == file)

    return Results(pairs("failed_checks"), pairs("passed_checks"))
