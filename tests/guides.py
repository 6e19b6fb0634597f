"""The guides as data: their fenced blocks, what is done with each, and which of the guides a test walks.

The first word after a fence says what a block is, and those after it how it is meant:

- `sh` is typed into a plain shell in the clone, and succeeds; `sh fails`: and fails.
- `text` is what that printed, among more; `…` is anything.
- `diff` edits the configuration of the stack `local`; `diff Pulumi.team.yaml` edits that file.
- `yaml` shows entries of a stack's configuration: nothing is done with them, but they are sound. `yaml FILE` shows
  a part of that file, and `python` code to write like.
- `sh needs-azure` cannot be run without Azure: no test runs it. `sh tests/….py` is run by that test, another way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GUIDES = ROOT / "docs" / "guides"
# Walked one after another in one clone, each from the configuration as it is in the repository.
IN_A_ROW = (
    "first-steps.md",
    "add-a-model.md",
    "roll-back.md",
    "policy.md",
    "pull-requests.md",
    "azure.md",
    "existing-workspace.md",
)
# Walked by a test of their own.
ALONE = ("batch.md", "blue-green.md")
# What the page on troubleshooting quotes of the Pulumi CLI.
PULUMI_SAYS = (
    "the stack is currently locked by … lock(s)",
    "pending operations from previous deployment",
    "passphrase must be set with PULUMI_CONFIG_PASSPHRASE",
    "because it is protected",
)
KINDS = {"sh": {"", "fails", "needs-azure"}, "text": {""}, "yaml": {"", "policies/exemptions.yaml"}, "python": {""}}
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEREDOC = re.compile(r"<<'(\w+)'\n.*?^\1$", re.MULTILINE | re.DOTALL)
MAKES_FILES = re.compile(r"(mkdir|cp|echo|cat >) ")


@dataclass(frozen=True)
class Step:
    """A fenced block of a guide."""

    section: str
    kind: str
    how: str
    text: str

    @property
    def is_done(self) -> bool:
        """Whether a reader on a laptop does something with it, or sees what that did."""
        return self.kind in ("sh", "diff", "text") and self.how != "needs-azure" and not self.test

    @property
    def test(self) -> str:
        """The test that runs a command another way than by following the guide."""
        return self.how if self.kind == "sh" and self.how.startswith("tests/") else ""

    @property
    def programs(self) -> list[str]:
        """The targets of make and the modules that a command runs."""
        return re.findall(r"(?:make|-m) ([\w.]+)", self.text)

    @property
    def makes_files_only(self) -> bool:
        """Whether it is a command that writes files and starts nothing."""
        lines = HEREDOC.sub("", self.text).splitlines()
        return self.kind == "sh" and all(MAKES_FILES.match(line) for line in lines if line)

    @property
    def file(self) -> str:
        """The file that a `diff` edits."""
        return self.how or "Pulumi.local.yaml"


def steps(guide: str) -> list[Step]:
    """The blocks of a guide, in their order."""
    return list(_steps((GUIDES / guide).read_text()))


def _steps(text: str) -> Iterator[Step]:
    for section in re.split(r"^## ", text, flags=re.MULTILINE):
        title = section.partition("\n")[0]
        for information, content in BLOCK.findall(section):
            kind, _, how = information.partition(" ")
            yield Step(title, kind, how, content)


def edited(configuration: str, diff: str) -> str:
    """The configuration after an edit, each of whose hunks fits one place."""
    for hunk in re.split(r"^@@\n", diff, flags=re.MULTILINE):
        lines = hunk.splitlines(keepends=True)
        old, new = ("".join(line[1:] for line in lines if line[0] in marks) for marks in ("- ", "+ "))
        assert configuration.count(old) == 1, f"the guide edits what is not there:\n{old}"
        configuration = configuration.replace(old, new)
    return configuration


def printed(output: str, line: str) -> bool:
    """Whether a line that the guide shows was printed; how it is indented is left to the reader, `…` is anything."""
    pieces = [r"\s+".join(map(re.escape, piece.split())) for piece in line.split("…")]
    return re.search(r"\S*\s*".join(pieces), output) is not None
