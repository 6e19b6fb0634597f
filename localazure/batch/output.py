"""Where the answers of `run` go."""

import re
from pathlib import Path

from localazure.batch.spec import BatchSpec, JobRefused

# What Azure's driver refuses in the name of the output file.
FORBIDDEN = re.compile(r'[~"#%&*:<>?/\\{|}]')


def free_target(spec: BatchSpec) -> None:
    """Make the output folder, and see that its file can come into being.

    Raises:
        JobRefused: the file's name is not allowed, or taken: Azure does not write into an existing file.
    """
    name = spec.output_file_name
    if spec.output_action == "AppendRow":
        if not name or FORBIDDEN.search(name):
            raise JobRefused(f'outputFileName: {name!r} is not a file name: leave out any of ~"#%&*:<>?/\\{{|}}.')
        if (spec.output_dir / name).exists():
            raise JobRefused(
                f"The output folder already holds {name}, and a batch job never overwrites it: "
                "empty the folder, or name another output path or outputFileName."
            )
    spec.output_dir.mkdir(parents=True, exist_ok=True)


def publish(spec: BatchSpec, rows: Path) -> None:
    """Let the rows appear as the output file, whole and at once; again, where a first time was cut short.

    In it each mini-batch's rows stand together, in no promised order. With `SummaryOnly` there is none: the script
    keeps its own output, and the answers were only counted.
    """
    if spec.output_action == "AppendRow" and rows.exists():
        rows.replace(spec.output_dir / spec.output_file_name)
