"""The timetable: calls come when they are due, one failure ends none of the others, and a key is called once."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator

import pytest

from localazure.arm.later import Later


@pytest.fixture
def later() -> Iterator[Later]:
    made = Later()
    yield made
    made.stop()


def test_what_is_due_first_is_called_first(later: Later) -> None:
    called: queue.Queue[str] = queue.Queue()
    now = time.time()
    for name, seconds in (("second", 0.1), ("first", 0.05)):
        later.at(now + seconds, lambda name=name: called.put(name))
    assert [called.get(timeout=10) for _ in range(2)] == ["first", "second"]


def test_a_call_that_fails_is_logged_and_the_next_one_comes(later: Later, caplog: pytest.LogCaptureFixture) -> None:
    called: queue.Queue[str] = queue.Queue()

    def fail() -> None:
        raise OSError("The disk is full.")

    later.at(0, fail)
    later.at(0, lambda: called.put("next"))
    assert called.get(timeout=10) == "next"
    later.at(0, lambda: called.put("new"))
    assert called.get(timeout=10) == "new", "what comes after it, too"
    assert "The disk is full." in caplog.text


def test_of_what_waits_under_a_key_only_the_first_is_called(later: Later) -> None:
    called: queue.Queue[str] = queue.Queue()
    now = time.time()
    for name, seconds in (("second", 0.2), ("first", 0.1), ("third", 0.3)):
        later.once("key", now + seconds, lambda name=name: called.put(name))
    later.at(now + 0.4, lambda: called.put("end"))
    assert [called.get(timeout=10) for _ in range(2)] == ["first", "end"]


def test_a_key_can_be_used_again_from_its_own_call(later: Later) -> None:
    called: queue.Queue[str] = queue.Queue()
    now = time.time()

    def again() -> None:
        called.put("one")
        later.once("key", now + 0.5, lambda: called.put("two"))

    later.once("key", now + 0.3, lambda: called.put("overtaken"))
    later.once("key", now + 0.1, again)
    later.once("other", now + 0.4, lambda: called.put("other"))
    assert [called.get(timeout=10) for _ in range(3)] == ["one", "other", "two"], "what was overtaken stays so"
