"""What a stack would serve, and Pulumi's own diff folded below it: `python -m tools.preview_report STACK`.

`make summary STACK=…` prints the first part alone. Returns 1 where the preview fails; the report is written then, too.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tools import previews, recovery, up
from tools.previews import NotAPreview, Preview
from tools.serving_summary import fenced, summary

# GitHub takes 65,536 characters in a comment, in which there may be several stacks.
LONGEST_DIFF = 20_000
# A line of a diff begins with spaces and, where something happens to it, an operation.
BEFORE_NAME = re.compile(r" *(?:[-+~=<>]{1,2} )?")
VARIABLES = re.compile(r"(?P<name>[^:]*\benvironmentVariables\b[^:]*): (?P<value>.*)")
NO_VALUE = ("{}", "[unknown]", "[secret]")
MASKED = "(not shown here)"

ALERT = ("> [!CAUTION]", "> **No preview**, so that nothing can be said about what would be served.")

Environment = Mapping[str, str]


@dataclass(frozen=True)
class Report:
    """A report in Markdown, and whether the preview came to an end."""

    text: str
    ok: bool


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stack")
    parser.add_argument("--output", type=Path, help="the file to write; without it, standard output")
    parser.add_argument("--summary-only", action="store_true", help="without Pulumi's own diff")
    options = parser.parse_args(arguments)
    try:
        environment = up.prepare(options.stack)
        made = report(options.stack, environment, diff=not options.summary_only)
    except (up.UpError, recovery.RecoveryError) as error:
        made = no_preview(options.stack, error)
        print(error, file=sys.stderr)
    write(made, options.output)
    return 0 if made.ok else 1


def no_preview(stack: str, error: Exception) -> Report:
    """The report where it did not come to a preview: without one, that of an earlier commit would stand."""
    # The error of a command may hold anything, so that it is shown as code.
    return Report("\n".join([f"## What `{stack}` serves", "", *ALERT, "", *fenced(str(error)), ""]), ok=False)


def write(report: Report, output: Path | None) -> None:
    if output is None:
        print(report.text, end="")
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(report.text, encoding="utf-8")


def report(stack: str, environment: Environment, *, diff: bool = True, configuration: Path | None = None) -> Report:
    """Previews the stack with the program in this clone, where `environment` leads, by its own file or another."""
    preview = preview_of(stack, environment, configuration)
    text = summary(preview)
    if diff and not preview.errors and any(each.action != "same" for each in preview.resources.values()):
        plain = ["--diff", "--color", "never", "--non-interactive", "--suppress-progress"]
        own = up.preview_options(stack, environment, configuration)
        text += _folded(_pulumi(["preview", *plain, *own], environment).stdout)
    return Report(text, ok=not preview.errors)


def preview_of(stack: str, environment: Environment, configuration: Path | None = None) -> Preview:
    """The preview of a stack; one that failed has errors."""
    own = up.preview_options(stack, environment, configuration)
    return _read(stack, _pulumi(["preview", "--json", "--show-sames", *own], environment))


def _read(stack: str, done: subprocess.CompletedProcess[str]) -> Preview:
    """The preview, with an error wherever the CLI ended with one."""
    said = done.stderr.strip() or f"`pulumi preview` ended with {done.returncode} and said nothing."
    try:
        preview = previews.read(done.stdout)
    except NotAPreview:
        return Preview(stack, {}, (said,))
    # Of a policy that is violated, the document says nothing.
    return replace(preview, errors=(said,)) if done.returncode and not preview.errors else preview


def _pulumi(arguments: Sequence[str], environment: Environment) -> subprocess.CompletedProcess[str]:
    command = ["pulumi", *arguments]
    return subprocess.run(command, cwd=up.ROOT, env=dict(environment), capture_output=True, text=True, check=False)


def without_variables(diff: str) -> str:
    """The diff without the values of environment variables, which are nobody's business whatever they are."""
    kept: list[str] = []
    block: int | None = None
    for line in diff.splitlines():
        column = len(BEFORE_NAME.match(line)[0])  # type: ignore[index] - it matches anything
        if block is not None:
            # Whatever a value looks like, it is further to the right than the name of the block.
            if not line.strip() or column > block:
                continue
            ends, block = column == block and line.strip() == "}", None
            if ends:
                continue
        if (found := VARIABLES.match(line)) and found["value"] not in NO_VALUE:
            kept.append(f"{found['name']}: {MASKED}")
            block = column
        else:
            kept.append(line)
    return "\n".join(kept)


def _folded(diff: str) -> str:
    text = without_variables(diff).strip()
    if len(text) > LONGEST_DIFF:
        text = f"{text[:LONGEST_DIFF]}\n… cut here: {len(diff) - LONGEST_DIFF} characters more"
    lines = [
        "",
        "<details><summary>The whole preview, as Pulumi shows it</summary>",
        "",
        *fenced(text),
        "",
        "</details>",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
