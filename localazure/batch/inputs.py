"""From the job's inputs to its mini-batches."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from localazure.batch.spec import JobRefused, MiniBatch


def list_files(source: Path, *, nested: bool) -> list[str]:
    """The files of one input, sorted by path: itself when it is a file, else what lies in the folder.

    `nested` says whether folders inside it are searched too: Azure does not for models without a script.

    Raises:
        JobRefused: there is no such file or folder, or a folder in it cannot be read.
    """
    if source.is_file():
        return [str(source)]
    if not source.is_dir():
        raise JobRefused(f"The input {source} does not exist: name a file or a folder.")
    return sorted(_walk(source, nested))


def _walk(folder: Path, nested: bool) -> Iterator[str]:
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        if not nested:
            folders.clear()
        yield from (os.path.join(parent, name) for name in names)  # noqa: PTH118 - half a million files


def _refuse(error: OSError) -> None:
    # Left to itself the walk would leave out what it cannot read, and nobody would miss the rows.
    raise JobRefused(f"The input folder {error.filename} cannot be read: {error.strerror}.")


def has_folders(source: Path) -> bool:
    """Whether a folder lies inside this input."""
    return source.is_dir() and any(entry.is_dir() for entry in source.iterdir())


def mini_batches(inputs: Sequence[Sequence[str]], size: int) -> list[MiniBatch]:
    """Cut each input's files into mini-batches of `size`. No mini-batch mixes two inputs, as in Azure's driver."""
    parts = [tuple(files[start : start + size]) for files in inputs for start in range(0, len(files), size)]
    return [MiniBatch(number, files) for number, files in enumerate(parts)]
