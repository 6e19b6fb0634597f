"""What the workflows write on GitHub: one comment, one issue, and only their own; over real HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pull_requests.stories import RECORDINGS
from tests.tools.fake_github import BOT, PERSON, FakeGitHub, served
from tools import drift, github, preview_comment, previews
from tools.github import LONGEST, GitHub, GitHubError
from tools.preview_comment import MARKER
from tools.serving_summary import summary

COMMIT = "1" * 40
RUN: dict[str, Any] = {
    "head_sha": COMMIT,
    "head_branch": "more-traffic",
    "head_repository": {"owner": {"login": "stranger"}},
    "conclusion": "success",
    "html_url": "https://github.com/team/models/actions/runs/1",
}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGitHub]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with served() as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / "staging.md").write_text("## What `staging` serves\n")
    (folder / "prod.md").write_text("## What `prod` serves\n")
    return folder


def pull(number: int, commit: str = COMMIT) -> dict[str, Any]:
    return {"number": number, "label": "stranger:more-traffic", "head": {"sha": commit}}


# the comment


def test_a_pull_request_has_one_comment_whatever_is_pushed(fake: FakeGitHub, reports: Path) -> None:
    fake.pulls = [pull(7)]
    preview_comment.comment(GitHub(), RUN, reports)
    (reports / "prod.md").write_text("## What `prod` serves\n\nsomething else\n")
    preview_comment.comment(GitHub(), RUN, reports)
    (comment,) = fake.comments[7]
    assert comment["body"].startswith(f"{MARKER}\nPreview of {COMMIT}\n\n## What `prod` serves\n\nsomething else")
    assert "## What `staging` serves" in comment["body"]


def test_a_comment_of_somebody_else_stays_even_with_the_marker(fake: FakeGitHub, reports: Path) -> None:
    fake.pulls = [pull(7)]
    fake.comments[7] = [{"id": 1, "user": PERSON, "body": f"{MARKER}\nmine"}]
    preview_comment.comment(GitHub(), RUN, reports)
    assert [each["body"].splitlines()[1] for each in fake.comments[7]] == ["mine", f"Preview of {COMMIT}"]


def test_the_comment_is_found_behind_a_hundred_others(fake: FakeGitHub, reports: Path) -> None:
    fake.pulls = [pull(7)]
    fake.comments[7] = [{"id": number, "user": PERSON, "body": "hm"} for number in range(1, 206)]
    fake.comments[7].append({"id": 206, "user": BOT, "body": f"{MARKER}\nold"})
    preview_comment.comment(GitHub(), RUN, reports)
    assert len(fake.comments[7]) == 206
    assert "old" not in fake.comments[7][-1]["body"]


@pytest.mark.parametrize("pulls", [[], [pull(7, "2" * 40)]])
def test_a_pull_request_that_went_on_meanwhile_gets_no_stale_comment(
    fake: FakeGitHub, reports: Path, pulls: list[dict[str, Any]]
) -> None:
    fake.pulls = pulls
    assert preview_comment.comment(GitHub(), RUN, reports) == 0
    assert fake.writes == []


def test_two_pull_requests_of_one_branch_get_no_comment_that_may_be_the_others(
    fake: FakeGitHub, reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.pulls = [pull(7), pull(8)]
    assert preview_comment.comment(GitHub(), RUN, reports) == 0
    assert fake.writes == []
    assert "#7, #8" in capsys.readouterr().out
    fake.pulls = [pull(7), pull(8, "2" * 40)]
    preview_comment.comment(GitHub(), RUN, reports)
    assert [*fake.comments] == [7], "the other one is at another commit"


def test_a_preview_without_a_report_takes_the_place_of_the_last_one(
    fake: FakeGitHub, reports: Path, tmp_path: Path
) -> None:
    fake.pulls = [pull(7)]
    preview_comment.comment(GitHub(), RUN, reports)
    fake.pulls = [pull(7, "2" * 40)]
    failed = {**RUN, "head_sha": "2" * 40, "conclusion": "failure"}
    preview_comment.comment(GitHub(), failed, tmp_path / "none")
    (comment,) = fake.comments[7]
    assert f"**The preview of {'2' * 40} has failed**: [its log]({RUN['html_url']})" in comment["body"]
    assert "There is no preview of it." in comment["body"]
    assert "What `prod` serves" not in comment["body"], "which is that of another commit"


def test_the_command_goes_by_the_event_of_the_run(
    fake: FakeGitHub, reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"workflow_run": RUN}))
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(event))
    fake.pulls = [pull(3)]
    assert preview_comment.main([str(reports)]) == 0
    assert [*fake.comments] == [3]


def test_a_report_of_a_stranger_calls_nobody_and_reads_no_other_file(reports: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    (reports / "trick.md").symlink_to(tmp_path / "secret")
    (reports / "prod.md").write_text("hello @team/everybody\n")
    text = preview_comment.body(reports)
    assert "@team" not in text
    assert "hunter2" not in text


def test_reports_that_are_too_long_are_cut_to_what_github_takes(fake: FakeGitHub, reports: Path) -> None:
    fake.pulls = [pull(7)]
    for name in ("a", "b", "c"):
        (reports / f"{name}.md").write_text("x" * 100_000)
    preview_comment.comment(GitHub(), RUN, reports)
    assert len(fake.comments[7][0]["body"]) <= LONGEST


def test_a_report_that_is_cut_ends_what_is_open_in_it(fake: FakeGitHub, reports: Path) -> None:
    fake.pulls = [pull(7)]
    diff = "\n".join(["<details><summary>all</summary>", "", "````", "```", *["+ </details>"] * 5_000, "````", ""])
    (reports / "prod.md").write_text(f"## What `prod` serves\n\n{diff}\n</details>\n")
    preview_comment.comment(GitHub(), RUN, reports)
    whole = fake.comments[7][0]["body"]
    cut, _, rest = whole.partition("… cut here")
    assert re.search(r"\+ <[^\n]*\n````\n\n</details>\n\n$", cut)
    assert "## What `staging` serves" in rest


# the issue


def preview(story: str) -> previews.Preview:
    return previews.read((RECORDINGS / f"{story}.json").read_text())


def check(stack: str, story: str) -> int:
    found = preview(story)
    return drift.report(GitHub(), stack, found, summary(found))


def test_drift_is_one_issue_that_is_kept_up_to_date_and_closed_when_there_is_none(fake: FakeGitHub) -> None:
    check("prod", "nothing")
    assert fake.issues == {}
    check("prod", "by-hand")
    check("prod", "by-hand")
    (issue,) = fake.issues.values()
    assert issue["title"] == "Stack prod is not as it was deployed"
    assert "live traffic is blue 30 %, green 70 %" in issue["body"]
    assert fake.writes == [("POST", "issues")], "the second check found what is in it already"
    check("prod", "traffic")
    assert "live traffic moves: blue 90 → 50 %" in issue["body"]
    check("prod", "nothing")
    assert issue["state"] == "closed"
    assert fake.comments[issue["number"]][0]["body"] == "Stack prod is as it was deployed."
    check("prod", "by-hand")
    assert [each["state"] for each in fake.issues.values()] == ["closed", "open"]


def test_an_issue_calls_nobody(fake: FakeGitHub) -> None:
    number = GitHub().open_issue("<!-- m -->", "title", "hello @team/everybody")
    GitHub().open_issue("<!-- m -->", "title", "hello @team/everybody")
    assert "@team" not in fake.issues[number]["body"]
    assert len(fake.writes) == 1, "it is what is there already"


def test_each_stack_has_its_own_issue(fake: FakeGitHub) -> None:
    check("prod", "by-hand")
    check("staging", "by-hand")
    check("staging", "nothing")
    assert [each["state"] for each in fake.issues.values()] == ["open", "closed"]


def test_an_issue_of_somebody_else_is_left_alone(fake: FakeGitHub) -> None:
    fake.issues[1] = {"number": 1, "state": "open", "user": PERSON, "title": "t", "body": "<!-- drift: prod -->\nmine"}
    check("prod", "nothing")
    assert fake.issues[1]["state"] == "open"


def test_a_preview_that_fails_says_nothing_about_drift(
    fake: FakeGitHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check("prod", "by-hand")
    monkeypatch.setattr("tools.up.prepare", lambda stack: {})
    monkeypatch.setattr(drift, "preview_of", lambda stack, environment: preview("mistake"))
    assert drift.main(["prod"]) == 1
    assert "percentages add up to 110" in capsys.readouterr().out
    assert [each["state"] for each in fake.issues.values()] == ["open"]


# what was deployed


def test_what_was_deployed_last_is_what_came_to_a_good_end(
    fake: FakeGitHub, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.deployments = [{"id": number, "environment": "prod", "sha": str(number) * 40} for number in (3, 2, 1)]
    fake.statuses = {3: ["waiting"], 2: ["inactive", "success", "in_progress"], 1: ["success"]}
    assert github.main(["deployed", "prod"]) == 0
    assert capsys.readouterr().out == f"commit={'2' * 40}\n"
    assert github.main(["deployed", "staging"]) == 0
    assert capsys.readouterr().out == "commit=\n"


# refusals


def test_a_missing_right_is_said_with_the_way_out(fake: FakeGitHub) -> None:
    refused = GitHub({**fake.environment, "GITHUB_TOKEN": "another"})
    with pytest.raises(GitHubError, match=r"403 .*not accessible by integration.*`permissions:`"):
        refused.open_issue("<!-- m -->", "title", "text")


def test_outside_of_a_workflow_it_says_what_is_missing() -> None:
    with pytest.raises(GitHubError, match="GITHUB_REPOSITORY and GITHUB_TOKEN not set"):
        GitHub({})
