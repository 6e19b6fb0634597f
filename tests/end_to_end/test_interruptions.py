"""An interrupted `up`: requests go by the old split or the new, the next `make up` goes on, and nothing is left over.

The points are seeded. `INTERRUPTIONS_SEED` sets another seed, and `INTERRUPTIONS_POINTS=7,12` takes these points alone;
what fails says which seed and point it was.
"""

from __future__ import annotations

import os
import time
from collections import Counter

import pytest

from tests.end_to_end import interruption
from tests.end_to_end.conftest import Clone, still_there
from tests.end_to_end.interruption import STRIKES, Observer, Point, Split, Struck, Watch

pytestmark = pytest.mark.end_to_end

SEED = int(os.environ.get("INTERRUPTIONS_SEED", "5"))
ONLY = {int(number) for number in os.environ.get("INTERRUPTIONS_POINTS", "").split(",") if number}
POINTS = 25  # for each strike, of which there are four

# Each edit where the strike can do most. (Of a Local Azure that is gone, azure-ai-ml asks for a minute before it gives
# up; the provider of the deployments notices at once.)
SHORT = (
    Point(1, "deployment added or removed", "SIGKILL of the engine", r"tumor-online-red-\w+ creating"),
    Point(2, "new revision", "SIGKILL of Local Azure", r"tumor-online-blue-\w+ creating"),
    Point(3, "traffic shift", "SIGKILL of the dynamic provider", r"tumor-online-traffic updating"),
)


@pytest.fixture
def small(clone: Clone) -> Clone:
    """A clone whose stack is up."""
    interruption.make_small(clone)
    clone.make("up").ok()
    return clone


def numbers() -> list[int]:
    """The points that are asked for, of each strike."""
    return sorted(ONLY or range(POINTS))


def usual_times(clone: Clone) -> dict[str, float]:
    """How long an `up` takes by kind of edit, when nobody interrupts it."""
    times = {}
    for name in {Point.seeded(SEED, "", number, POINTS).edit for number in numbers()}:
        interruption.edit(clone, name, 100)
        began = time.monotonic()
        clone.make("up").ok()
        times[name] = time.monotonic() - began
    return times


def interrupt(clone: Clone, observer: Observer, point: Point, usual: float) -> Struck:
    """Interrupts an `up` at a point, goes on with the next, and holds both against what must be."""
    before = observer.split()
    interruption.edit(clone, point.edit, point.number)
    with observer.watching() as watch:
        struck = interruption.interrupted(clone, point, usual)
        again = clone.make("up")
    assert again.code == 0, f"it does not go on:\n{again.out}\n--- after\n{struck.out}"
    revisions, after = interruption.wanted(clone)
    hold(watch, before, after, spared=point.strike != "SIGKILL of Local Azure")
    assert observer.split() == after, f"not what the configuration asks for: {after}"
    assert observer.deployments() == dict.fromkeys(revisions, "Succeeded"), "no revision too few, none too many"
    assert clone.planned() == [], "the next preview finds nothing to do"
    left = still_there(lambda: interruption.leftovers(clone))
    assert not left, f"left over: {left}"
    return struck


def hold(watch: Watch, before: Split, after: Split, *, spared: bool) -> None:
    """What clients saw was the old split or the new, once there was an answer; always, where Azure was `spared`."""
    strange = [split for split in watch.splits if split not in (before, after)]
    assert not strange, f"neither {before} nor {after}: {strange}"
    assert watch.splits, "somebody looked"
    assert watch.answered, "somebody was answered"
    assert watch.answered <= {*before, *after}, f"neither {before} nor {after}: {watch.answered}"
    if spared:
        assert watch.unanswered == [], f"of {watch.looks} looks: {watch.unanswered}"


def test_an_up_goes_on_after_a_strike_at_its_most_delicate_steps(small: Clone, subtests: pytest.Subtests) -> None:
    observer = Observer(small)
    for point in SHORT:
        with subtests.test(str(point)):
            struck = interrupt(small, observer, point, usual=0)
            assert struck.after is not None, f"it ended before:\n{struck.out}"
            assert struck.code != 0


@pytest.mark.slow
@pytest.mark.parametrize("strike", STRIKES)
def test_an_up_goes_on_wherever_it_was_struck(small: Clone, subtests: pytest.Subtests, strike: str) -> None:
    interruption.make_slow(small)
    observer, times = Observer(small), usual_times(small)
    seen: Counter[bool] = Counter()
    for number in numbers():
        point = Point.seeded(SEED, strike, number, POINTS)
        with subtests.test(f"seed {SEED}, {point}"):
            struck = interrupt(small, observer, point, times[point.edit])
            print(f"seed {SEED}, {point}: struck after {struck.after} s, ended with {struck.code}", flush=True)
            seen[struck.after is not None] += 1
    assert ONLY or seen[True] > POINTS / 2, f"strikes must find their aim: {seen}"
