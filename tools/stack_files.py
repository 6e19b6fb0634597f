"""Stack files for Local Azure: copies, so that what encrypts a stack's state in Azure stays in the committed file.

Where the CLI makes a stack whose state is in a folder, it writes a salt into the stack's file and takes out what names
the key vault of the real one. So a stack of Azure's is made from a folder of its own, and configured by a copy.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

PLACEHOLDER = "not known without the stack's own secrets provider"
ENCRYPTION = ("encryptionsalt", "encryptedkey", "secretsprovider")

StackFile = Mapping[str, Any]


def project_copy(project: Path, folder: Path) -> Path:
    """A folder from which a stack of the project can be made; what the CLI writes for it stays there."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(project / "Pulumi.yaml", folder)
    return folder


def read(file: Path) -> dict[str, Any]:
    """A stack file; an empty one where there is none."""
    return yaml.safe_load(file.read_text()) or {} if file.is_file() else {}


def write(file: Path, content: StackFile) -> Path:
    file.write_text(yaml.safe_dump(dict(content), sort_keys=False))
    return file


def encrypted_as(stack: StackFile, made: StackFile) -> dict[str, Any]:
    """A stack file with what encrypts the stack that was `made` here, and placeholders for what only another opens."""
    rest = {key: value for key, value in stack.items() if key not in (*ENCRYPTION, "config")}
    config = {key: without_secrets(value) for key, value in (stack.get("config") or {}).items()}
    return {**rest, **{key: made[key] for key in ENCRYPTION if key in made}, "config": config}


def without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return PLACEHOLDER if [*value] == ["secure"] else {key: without_secrets(each) for key, each in value.items()}
    return [without_secrets(each) for each in value] if isinstance(value, list) else value
