"""Whether a stack is still as it was deployed: `python -m tools.drift STACK`, with one issue that says what is not.

The issue is opened at the first difference, kept up to date, and closed when there is none any more. A preview that
fails says nothing about drift: it fails the job and leaves the issue alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tools import previews, recovery, up
from tools.github import GitHub, GitHubError
from tools.preview_report import preview_of
from tools.previews import Preview
from tools.serving_summary import summary

ADVICE = """
Either put it right, in Azure or by deploying again, or take it over into the configuration with a pull request. \
This issue is closed when the next check finds no difference.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stack")
    stack = parser.parse_args(arguments).stack
    try:
        return check(stack)
    except (GitHubError, up.UpError, recovery.RecoveryError) as error:
        print(error, file=sys.stderr)
        return 1


def check(stack: str) -> int:
    github = GitHub()
    preview = preview_of(stack, up.prepare(stack))
    text = summary(preview)
    print(text)
    return 1 if preview.errors else report(github, stack, preview, text)


def report(github: GitHub, stack: str, preview: Preview, text: str) -> int:
    """Opens the issue or closes it."""
    marker = f"<!-- drift: {stack} -->"
    if drifted(preview):
        number = github.open_issue(marker, f"Stack {stack} is not as it was deployed", text + ADVICE)
        print(f"#{number} says what differs.")
    elif number := github.close_issue(marker, f"Stack {stack} is as it was deployed."):
        print(f"#{number} is closed.")
    return 0


def drifted(preview: Preview) -> list[previews.Resource]:
    """What an update would change, although nothing was asked for."""
    return [each for each in preview.resources.values() if each.action != "same"]


if __name__ == "__main__":
    sys.exit(main())
