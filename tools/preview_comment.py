"""The comment on a pull request with the reports of its previews: `python -m tools.preview_comment FOLDER`.

Runs after the preview, from the default branch and with the right to comment, which the code of a pull request never
has. What a preview reports is text of somebody else's: it is shown, and decides nothing. Which pull request it belongs
to is GitHub's word (the event, and then the API), not the report's.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.github import GitHub, GitHubError
from tools.words import cut, quiet

MARKER = "<!-- serving-summary -->"
# Of each report, so that one that is too long leaves room for the others.
LONGEST = 30_000


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder of the reports, a file for each stack")
    folder = parser.parse_args(arguments).folder
    try:
        event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text())
        return comment(GitHub(), event["workflow_run"], folder)
    except GitHubError as error:
        print(error, file=sys.stderr)
        return 1


def comment(github: GitHub, run: Mapping[str, Any], folder: Path) -> int:
    """Writes the comment that belongs to a run of the preview workflow."""
    owner, branch, commit = run["head_repository"]["owner"]["login"], run["head_branch"], run["head_sha"]
    numbers = github.pull_requests(owner, branch, commit)
    if not numbers:
        print(f"{owner}:{branch} has no open pull request at {commit}: it went on, or was closed.")
    elif len(numbers) > 1:
        which = ", ".join(f"#{number}" for number in numbers)
        print(
            f"{owner}:{branch} has several open pull requests at {commit} ({which}): GitHub does not tell whose it is."
        )
    else:
        github.comment(numbers[0], MARKER, f"{head(run)}\n\n{body(folder)}")
        print(f"Commented on #{numbers[0]}.")
    return 0


def head(run: Mapping[str, Any]) -> str:
    """Of which commit the reports are; a run that has failed may have left none, or not all."""
    if run.get("conclusion") == "success":
        return f"Preview of {run['head_sha']}"
    failed = f"**The preview of {run['head_sha']} has failed**"
    return f"{failed}: [its log]({run['html_url']}) says why, also where a stack has no report"


def body(folder: Path) -> str:
    """All reports, one below the other."""
    files = sorted(each for each in folder.rglob("*.md") if each.is_file() and not each.is_symlink())
    texts = (each.read_text(encoding="utf-8", errors="replace") for each in files)
    return "\n".join(cut(quiet(text), LONGEST, "… cut here") for text in texts) or "There is no preview of it.\n"


if __name__ == "__main__":
    sys.exit(main())
