"""Where the answers of `run` go."""

import re
from pathlib import Path
from typing import Protocol

from localazure.batch.spec import BatchSpec, JobRefused

# What Azure's driver refuses in the name of the output file.
FORBIDDEN = re.compile(r'[~"#%&*:<>?/\\{|}]')


class Output(Protocol):
    """Takes each mini-batch's rows once; nothing is visible under the output file's name before `commit`."""

    def append(self, rows: str) -> None: ...
    def commit(self) -> None: ...
    def discard(self) -> None: ...


class RowFile:
    """`AppendRow`: one file, in which each mini-batch's rows stand together, in no promised order."""

    def __init__(self, folder: Path, name: str) -> None:
        """Raises JobRefused when the name is not allowed, or taken: Azure does not write into an existing file."""
        if not name or FORBIDDEN.search(name):
            raise JobRefused(f'outputFileName: {name!r} is not a file name: leave out any of ~"#%&*:<>?/\\{{|}}.')
        if (folder / name).exists():
            raise JobRefused(
                f"The output folder already holds {name}, and a batch job never overwrites it: "
                "empty the folder, or name another output path or outputFileName."
            )
        folder.mkdir(parents=True, exist_ok=True)
        self._target = folder / name
        self._draft = folder / f".{name}.incomplete"
        # surrogateescape: a file name that is not UTF-8 is written as the bytes it is.
        self._file = self._draft.open("w", encoding="utf-8", errors="surrogateescape", newline="")

    def append(self, rows: str) -> None:
        self._file.write(rows)

    def commit(self) -> None:
        self._file.close()
        self._draft.replace(self._target)

    def discard(self) -> None:
        self._file.close()
        self._draft.unlink(missing_ok=True)


class NoFile:
    """`SummaryOnly`: the script keeps its own output; the answers are only counted."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)

    def append(self, rows: str) -> None:
        pass

    def commit(self) -> None:
        pass

    def discard(self) -> None:
        pass


def open_output(spec: BatchSpec) -> Output:
    """The output that the deployment asks for."""
    if spec.output_action == "SummaryOnly":
        return NoFile(spec.output_dir)
    return RowFile(spec.output_dir, spec.output_file_name)
