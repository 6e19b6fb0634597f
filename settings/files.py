"""Whether files are there that the configuration names."""

from pathlib import Path
from typing import Literal

Kind = Literal["file", "folder", "file or folder"]


def found(path: Path, kind: Kind = "file or folder") -> bool:
    """Whether there is such a thing; nothing has a name that is too long, or that has a NUL in it."""
    look = {"file": path.is_file, "folder": path.is_dir, "file or folder": path.exists}[kind]
    try:
        return look()
    except (OSError, ValueError):
        return False
