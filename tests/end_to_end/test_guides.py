"""The guides: every edit and every command in them, done in a clone, prints what the guide says it prints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.end_to_end.conftest import ROOT, Clone

# Slow: the story has the same steps, and each guide takes minutes.
pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

GUIDES = ROOT / "docs" / "guides"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """A fenced block: `diff` edits the stack configuration, `sh` is typed, `text` is what that printed, among more."""

    section: str
    kind: str
    text: str


def steps(guide: str) -> Iterator[Step]:
    """The blocks of a guide, in their order."""
    for section in re.split(r"^## ", guide, flags=re.MULTILINE):
        title = section.partition("\n")[0]
        for kind, text in BLOCK.findall(section):
            yield Step(title, kind, text)


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


def follow(clone: Clone, guide: list[Step]) -> None:
    """Does what a section of a guide says."""
    configuration, output = clone.path / "Pulumi.local.yaml", ""
    for step in guide:
        if step.kind == "diff":
            configuration.write_text(edited(configuration.read_text(), step.text))
        elif step.kind == "sh":
            output = clone.shell(step.text).ok().out
        else:
            assert step.kind == "text", f"what is a reader to do with {step.kind}?"
            missing = [line for line in step.text.splitlines() if not printed(output, line)]
            assert not missing, f"{missing} was not printed:\n{output}"


def live(clone: Clone) -> dict[str, int]:
    """Who gets how much, by colour."""
    (endpoint,) = clone.status["onlineEndpoints"]
    return {name.rpartition("-")[0]: share for name, share in endpoint["traffic"].items() if share}


def test_blue_and_green_change_places_as_the_guide_says(clone: Clone, subtests: pytest.Subtests) -> None:
    guide = list(steps((GUIDES / "blue-green.md").read_text()))
    shares = {
        "Blue alone": {"blue": 100},
        "Green beside it, with a tenth": {"blue": 90, "green": 10},
        "Three quarters": {"blue": 25, "green": 75},
        "All of it": {"green": 100},
        "Blue goes": {"green": 100},
    }
    assert list(dict.fromkeys(step.section for step in guide)) == list(shares)
    for section, expected in shares.items():
        with subtests.test(section):
            follow(clone, [step for step in guide if step.section == section])
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
    guide = list(steps((GUIDES / "batch.md").read_text()))
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
    assert list(dict.fromkeys(step.section for step in guide)) == list(schedules)
    for section, expected in schedules.items():
        with subtests.test(section):
            follow(clone, [step for step in guide if step.section == section])
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
