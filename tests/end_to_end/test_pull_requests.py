"""The recordings of pull requests are what the real CLI prints for them today."""

from __future__ import annotations

import json

import pytest

from tests.end_to_end.conftest import Clone
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
