"""Puts the provider where the Pulumi CLI looks for plugins."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from pathlib import Path

from localazure.pulumi_plugin.table import VERSION

_SCRIPT = "pulumi-resource-azure-native"
_LOCATION = "location"


def install(pulumi_home: Path) -> bool:
    """Installs the provider into a Pulumi home; whether anything had to be changed.

    It is what `pulumi plugin install resource azure-native 3.29.0 --file …` leaves behind, without the second that the
    CLI takes: a folder with the plugin's executable. If the project or its interpreter moves, run it again.
    """
    plugins = pulumi_home / "plugins"
    folder = plugins / f"resource-azure-native-v{VERSION}"
    wanted = {
        _SCRIPT: Path(__file__).with_name(_SCRIPT).read_text(encoding="utf-8"),
        _LOCATION: _location(),
    }
    if _content(folder) == wanted and not _partial(folder).exists():
        return False
    plugins.mkdir(parents=True, exist_ok=True)
    _replace(folder, wanted)
    return True


def _location() -> str:
    """Shell assignments. The interpreter is not resolved: the link in a virtual environment is what makes it one."""
    root = Path(__file__).resolve().parents[2]
    return f"python={shlex.quote(sys.executable)}\nroot={shlex.quote(str(root))}\n"


def _content(folder: Path) -> dict[str, str]:
    if not folder.is_dir() or not os.access(folder / _SCRIPT, os.X_OK):
        return {}
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir() if file.is_file()}


def _replace(folder: Path, content: dict[str, str]) -> None:
    """Writes the folder beside its place and swaps it in, so that no engine meets half of it."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".azure-native-") as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        for name, text in content.items():
            (new / name).write_text(text, encoding="utf-8")
        (new / _SCRIPT).chmod(0o755)
        if folder.exists():
            folder.rename(Path(temporary) / "old")
        new.rename(folder)
    # The CLI leaves this beside a plugin whose download broke off, and then takes it to be absent.
    _partial(folder).unlink(missing_ok=True)


def _partial(folder: Path) -> Path:
    return folder.with_name(folder.name + ".partial")
