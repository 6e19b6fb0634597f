"""Pull requests by the real CLI: what it prints is as it was recorded, and nobody needs an account for it."""

from __future__ import annotations

import json

import pytest

from tests.end_to_end.conftest import Clone, still_there
from tests.pull_requests.record import previewed
from tests.pull_requests.stories import RECORDINGS, STORIES, recorded, serving, shape
from tools import previews
from tools.serving_summary import summary

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]


def test_the_recordings_are_what_the_cli_prints_for_these_pull_requests(
    clone: Clone, subtests: pytest.Subtests
) -> None:
    for name, preview in previewed(clone):
        with subtests.test(STORIES[name].title):
            kept = json.loads((RECORDINGS / f"{name}.json").read_text())
            assert serving(recorded(preview)) == serving(kept), "python -m tests.pull_requests.record makes them anew"
            text = (RECORDINGS / f"{name}.md").read_text()
            assert shape(summary(previews.read(preview))) == shape(text), "of the whole preview, as of its recording"


def git(clone: Clone, line: str) -> str:
    return clone.shell(f"git -c user.name=test -c user.email=test@example.org {line}").ok().out


def against_base(clone: Clone, options: str) -> tuple[int, str]:
    """Runs the command in a clone whose pull request is checked out; its code, and the report."""
    # Below the clone, so that nothing is left behind even where the test is killed.
    scratch = clone.path / ".localazure" / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    report = clone.path / ".localazure" / "report.md"
    command = f".venv/bin/python -m tools.preview_against_base --output {report}"
    report.unlink(missing_ok=True)
    done = clone.shell(f"TMPDIR={scratch} {command} {options}")
    assert report.exists(), done.out
    assert [*scratch.iterdir()] == [], "the base branch, its stack and its Local Azure are gone"
    assert not still_there(clone.processes)
    assert len(git(clone, "worktree list").splitlines()) == 1
    return done.code, report.read_text()


def test_a_fork_gets_a_preview_against_its_base_branch_on_local_azure(clone: Clone, subtests: pytest.Subtests) -> None:
    git(clone, "init --quiet --initial-branch=main .")
    # A clone of a test borrows its packages by a link, which the patterns of .gitignore do not name.
    (clone.path / ".git/info/exclude").write_text(".venv\n")
    git(clone, "add .")
    git(clone, "commit --quiet --message base")
    clone.make("setup").ok()
    git(clone, "checkout --quiet -b change")
    clone.traffic(blue=40, green=60)
    git(clone, "commit --quiet --all --message change")
    with subtests.test("what differs from the base branch is told, committed or not"):
        (clone.path / "scoring/models/mlflow/note.txt").write_text("another content\n")
        before = git(clone, "status --porcelain")
        code, report = against_base(clone, "--base main")
        assert code == 0, report
        assert "live traffic moves: blue 90 → 40 %, green 10 → 60 %" in report
        assert "`blue`, which serves 90 %, is replaced" in report
        assert ", content changed**" in report
        assert "### Changed elsewhere" not in report, "nobody has changed anything by hand"
        assert "<summary>The whole preview, as Pulumi shows it</summary>" in report
        assert git(clone, "status --porcelain") == before, "the clone is as it was"
    with subtests.test("a stack that the base branch does not have is new"):
        source = (clone.path / "Pulumi.local.yaml").read_text()
        (clone.path / "Pulumi.fresh.yaml").write_text(source)
        code, report = against_base(clone, "--base main --stack fresh")
        assert code == 0, report
        assert "### Online endpoint `tumor-online`, new" in report
    with subtests.test("a base branch that does not come up is the whole report"):
        git(clone, "stash --quiet --include-untracked")
        clone.traffic(blue=60, green=50)
        git(clone, "commit --quiet --all --message broken")
        code, report = against_base(clone, "--base HEAD")
        assert code == 1
        assert "of the base branch does not come up on Local Azure" in report
        assert "percentages add up to 110" in report
