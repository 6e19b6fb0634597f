"""What every test relies on, however the run was started."""

import signal

import pytest

# A shell that starts a run in the background has it ignore Ctrl-C, and so would all that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the end-to-end stories, minutes each, at the head of what each of two workers gets: one half of the list."""
    long = [item for item in items if "end_to_end" in item.nodeid]
    rest = [item for item in items if "end_to_end" not in item.nodeid]
    half = (len(items) + 1) // 2 - len(long[::2])
    items[:] = [*long[::2], *rest[:half], *long[1::2], *rest[half:]]
