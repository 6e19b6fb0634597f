"""What a row of the table counts as lost without excuse, by requests that a test makes up."""

from __future__ import annotations

import pytest

from bench.load import Request
from bench.no_lost_request import Death, _Done, _row


def request(sent: float, ended: float, status: int = 200) -> Request:
    return Request(sent, sent, ended, True, status, "blue-1", 0, "")


# Four are in flight from 10.0 to 10.1, while an instance dies; one is before it and one after.
DURING = [(9.9, 10.05), (9.99, 10.2), (10.05, 10.3), (10.0, 11.0)]
BEFORE, AFTER = (9.0, 9.9), (10.2, 10.4)


@pytest.mark.parametrize(
    ("lost", "elsewhere", "allowed", "unexcused"),
    [
        ([], 0, 4, 0),
        (DURING, 0, 4, 0),
        (DURING[:3], 1, 3, 0),
        (DURING, 1, 3, 1),
        (DURING[:1], 4, 0, 1),
        ([], 9, 0, 0),
        ([BEFORE], 0, 4, 1),
        ([AFTER, *DURING], 2, 2, 3),
    ],
)
def test_at_most_what_was_in_flight_on_the_killed_instance_may_be_lost(
    lost: list[tuple[float, float]], elsewhere: int, allowed: int, unexcused: int
) -> None:
    requests = [request(*each, status=0 if each in lost else 200) for each in (BEFORE, *DURING, AFTER)]
    death = Death(10.0, 10.1, elsewhere)
    row = _row(_Done("kill", 8.0, 12.0, death), requests, death.met)
    assert (len(row.lost), row.allowed, len(row.unexcused)) == (len(lost), allowed, unexcused)


def test_a_change_that_kills_nothing_may_lose_nothing() -> None:
    row = _row(_Done("tag", 8.0, 12.0), [request(9, 9.1, 503), request(9, 9.1)], lambda _: False)
    assert (row.allowed, len(row.unexcused)) == (0, 1)
