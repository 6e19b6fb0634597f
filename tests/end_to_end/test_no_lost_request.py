"""The promise: whatever is changed in the stack configuration and applied by `make up`, under load nothing is lost.

The load comes through the front door, half of its connections kept alive and half of them made for one request each.
What counts as lost is said in `bench/load.py`, what is changed in `bench/no_lost_request.py`, which also makes the
table of BENCHMARKS.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bench import no_lost_request
from bench.clone import Clone as BenchClone
from bench.no_lost_request import Change, Walk
from tests.end_to_end.conftest import Clone

pytestmark = pytest.mark.end_to_end


def walk_through(clone: Clone, changes: Sequence[Change], subtests: pytest.Subtests, least: int) -> Walk:
    """Makes the changes one after another, each under `least` requests; every one of them is a subtest."""
    walk = Walk(BenchClone(clone.path, clone.environment), clone.path / ".localazure/load")
    walk.bring_up(blue=90, green=10)
    with walk.under_load():
        for change in changes:
            with subtests.test(change.name):
                walk.make(change, least)
    rows = walk.rows()
    print(no_lost_request.table(rows))
    assert len(rows) == len(changes)
    for row in rows:
        with subtests.test(f"nothing is lost: {row.change}"):
            assert row.requests >= least
            assert not row.unexcused, row.unexcused[:10]
    with subtests.test("a PUT of new weights succeeds when they hold"):
        assert walk.flips
        assert max(walk.flips) < 0, "no request that was sent afterwards had an answer by the old weights"
    return walk


def test_no_request_is_lost_through_a_day_of_changes(clone: Clone, subtests: pytest.Subtests) -> None:
    walk_through(clone, no_lost_request.SHORT, subtests, no_lost_request.SEEN)


@pytest.mark.slow
def test_no_request_is_lost_through_each_change_by_itself(clone: Clone, subtests: pytest.Subtests) -> None:
    least = no_lost_request.REQUESTS // len(no_lost_request.ALL) + 1
    walk = walk_through(clone, no_lost_request.ALL, subtests, least)
    assert sum(row.requests for row in walk.rows()) >= no_lost_request.REQUESTS
