"""The guides: every edit and every command in them, done in a clone, prints what the guide says it prints."""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Clone, still_there
from tests.guides import ALONE, IN_A_ROW, PULUMI_SAYS, ROOT, Step, edited, printed, steps

# Slow: the story has the same steps, and each guide takes minutes.
pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]


def follow(clone: Clone, guide: list[Step]) -> None:
    """Does what a section of a guide says."""
    output = ""
    for step in guide:
        if step.kind == "diff":
            configuration = clone.path / step.file
            configuration.write_text(edited(configuration.read_text(), step.text))
        elif step.kind == "sh":
            done = clone.shell(f"set -e\n{step.text}")
            assert (done.code != 0) == (step.how == "fails"), done.out
            output = done.out
        else:
            assert step.kind == "text", f"what is a reader to do with {step.kind}?"
            missing = [line for line in step.text.splitlines() if not printed(output, line)]
            assert not missing, f"{missing} was not printed:\n{output}"


def done_in(guide: str) -> dict[str, list[Step]]:
    """What a reader on a laptop does, by section."""
    assert guide in (*ALONE, *IN_A_ROW), "the quick test of the guides takes this list to be what is walked"
    found: dict[str, list[Step]] = {}
    for step in (step for step in steps(guide) if step.is_done):
        found.setdefault(step.section, []).append(step)
    return found


def live(clone: Clone) -> dict[str, int]:
    """Who gets how much, by colour."""
    (endpoint,) = clone.status["onlineEndpoints"]
    return {name.rpartition("-")[0]: share for name, share in endpoint["traffic"].items() if share}


def test_blue_and_green_change_places_as_the_guide_says(clone: Clone, subtests: pytest.Subtests) -> None:
    guide = done_in("blue-green.md")
    shares = {
        "Blue alone": {"blue": 100},
        "Green beside it, with a tenth": {"blue": 90, "green": 10},
        "Three quarters": {"blue": 25, "green": 75},
        "All of it": {"green": 100},
        "Blue goes": {"green": 100},
    }
    assert list(guide) == list(shares)
    for section, expected in shares.items():
        with subtests.test(section):
            follow(clone, guide[section])
            assert live(clone) == expected
    deployments = clone.status["onlineEndpoints"][0]["deployments"]
    assert [each["name"].rpartition("-")[0] for each in deployments] == ["green"], "blue has gone"
    assert clone.planned() == []


def timetable(clone: Clone) -> dict[str, tuple[str, str | None]]:
    """The schedules by their Logic Apps: the state, and how the last run ended."""
    found = clone.status["workflows"]
    return {each["name"].removeprefix("tumor-batch-"): (each["state"], _ended(each["lastRun"])) for each in found}


def _ended(run: dict[str, str] | None) -> str | None:
    return run["status"] if run else None


def test_files_are_scored_by_hand_and_on_a_timetable_as_the_guide_says(clone: Clone, subtests: pytest.Subtests) -> None:
    clone.make("up").ok()
    guide = done_in("batch.md")
    # What is enabled and never fires begins in 2040: how long all this takes, and when, changes nothing.
    off, enabled, ran = ("Disabled", None), ("Enabled", None), ("Enabled", "Succeeded")
    schedules = {
        "By hand, with the client": {"nightly": off},
        "Files that Azure can read": {"nightly": off},
        "By hand, with curl": {"nightly": off},
        "Every day, twice": {"nightly": ran},
        "Every hour, and every week": {"nightly": ran, "hourly": enabled, "weekly": enabled},
        "Not for now": {"nightly": ran, "hourly": off, "weekly": enabled},
    }
    assert list(guide) == list(schedules)
    for section, expected in schedules.items():
        with subtests.test(section):
            follow(clone, guide[section])
            assert timetable(clone) == expected
    # By the client, by curl, and by the Logic App under its own identity; by that more, if it fired meanwhile.
    assert set(ended(clone, least=3)) == {"Completed"}
    assert clone.planned() == []


def ended(clone: Clone, least: int) -> list[str]:
    """The states of the endpoint's jobs, when there are so many and each has one that it keeps."""
    done = clone.ml(
        "import time\n"
        f"found = []\nwhile len(found) < {least} or not {{*found}} <= {{'Completed', 'Failed', 'Canceled'}}:\n"
        "    time.sleep(1)\n"
        "    found = [ml.jobs.get(job.name).status.value for job in ml.batch_endpoints.list_jobs('tumor-batch')]\n"
        "print('ended', *found)\n"
    ).ok()
    return re.findall(r"^ended (.*)$", done.out, re.MULTILINE)[-1].split()


# the guides that share a clone


def walk(clone: Clone, guide: str, subtests: pytest.Subtests, **seen: Callable[[], None]) -> None:
    """Walks a guide from the configuration as it is in the repository; `seen` are looks at what a section has done."""
    (clone.path / "Pulumi.local.yaml").write_text((ROOT / "Pulumi.local.yaml").read_text())
    sections = done_in(guide)
    assert {*seen} <= {_identifier(section) for section in sections}
    for section, its_steps in sections.items():
        with subtests.test(f"{guide}: {section}"):
            follow(clone, its_steps)
            seen.get(_identifier(section), lambda: None)()


def _identifier(section: str) -> str:
    return re.sub(r"\W+", "_", section).lower().strip("_")


def revisions(clone: Clone, endpoint: str = "tumor-online") -> dict[str, str]:
    """The deployments of an endpoint by colour."""
    found = next(each for each in clone.status["onlineEndpoints"] if each["name"] == endpoint)
    names = [each["name"] for each in found["deployments"]]
    return {name.rpartition("-")[0]: name for name in names}


def begin_a_repository(clone: Clone) -> None:
    """The clone as git has it; its own copy is without history."""
    clone.shell(
        "set -e; git init --quiet; echo .venv >> .git/info/exclude; git config user.name Reader; "
        "git config user.email reader@example.com; git add --all; git commit --quiet --message begun"
    ).ok()


def first_steps(clone: Clone, subtests: pytest.Subtests) -> None:
    def nothing_is_left() -> None:
        assert not still_there(clone.processes)

    walk(clone, "first-steps.md", subtests, down=nothing_is_left)


def add_a_model(clone: Clone, subtests: pytest.Subtests) -> None:
    clone.make("up").ok()
    walk(clone, "add-a-model.md", subtests)
    assert {*revisions(clone, "triage")} == {"linear", "rule"}
    assert clone.planned() == []


def roll_back(clone: Clone, subtests: pytest.Subtests) -> None:
    clone.make("up").ok()
    begin_a_repository(clone)
    before = revisions(clone)

    def another_blue() -> None:
        assert revisions(clone)["blue"] != before["blue"]

    def as_it_was() -> None:
        assert revisions(clone) == before

    walk(clone, "roll-back.md", subtests, something_to_regret=another_blue, by_git=as_it_was, by_traffic=as_it_was)
    assert clone.planned() == []


def policy(clone: Clone, subtests: pytest.Subtests) -> None:
    walk(clone, "policy.md", subtests)


def pull_requests(clone: Clone, subtests: pytest.Subtests) -> None:
    walk(clone, "pull-requests.md", subtests)


def azure(clone: Clone, subtests: pytest.Subtests) -> None:
    """What can be done of it without Azure: its rehearsal."""
    walk(clone, "azure.md", subtests)


def existing_workspace(clone: Clone, subtests: pytest.Subtests) -> None:
    def kept() -> tuple[str, str]:
        """What callers know of the endpoint, which an import must not change."""
        (found,) = (each for each in clone.status["onlineEndpoints"] if each["name"] == "team-scores")
        return found["scoringUri"], clone.key("team-scores")

    before: list[tuple[str, str]] = []

    def adopted() -> None:
        assert kept() == before[0]
        assert {*revisions(clone, "team-scores")} == {"blue"}
        assert revisions(clone, "team-scores")["blue"] != "blue", "the other team's has gone"

    walk(
        clone,
        "existing-workspace.md",
        subtests,
        something_to_try_it_on=lambda: before.append(kept()),
        adopt_an_endpoint=adopted,
        adopt_the_workspace=adopted,
    )
    assert (
        "tags {'owner': 'risk'}"
        in clone.ml(
            "team = MLClient(DefaultAzureCredential(), os.environ['ARM_SUBSCRIPTION_ID'], 'rg-team')\n"
            "print('tags', team.workspaces.get('team').tags)\n"
        )
        .ok()
        .out
    )
    assert clone.planned("team") == []
    clone.with_local_azure("make down STACK=team").ok()


def test_the_other_guides_are_walked_one_after_another_in_one_clone(clone: Clone, subtests: pytest.Subtests) -> None:
    walks = (first_steps, add_a_model, roll_back, policy, pull_requests, azure, existing_workspace)
    assert tuple(f"{each.__name__.replace('_', '-')}.md" for each in walks) == IN_A_ROW
    for each in walks:
        each(clone, subtests)


def test_pulumi_still_says_what_troubleshooting_quotes_of_it(clone: Clone) -> None:
    clone.make("setup").ok()
    clone.shell(".venv/bin/python -m localazure start").ok()
    pulumi = clone.with_local_azure("type -P pulumi").ok().out.strip()
    with Path(pulumi).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as program:
        for text in PULUMI_SAYS:
            assert all(program.find(piece.strip().encode()) >= 0 for piece in text.split("…")), text
