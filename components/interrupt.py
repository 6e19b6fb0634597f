"""How the program ends when the engine gives an update up, or its user presses Ctrl-C."""

import os
import signal
import sys
from pathlib import Path

HOST = "pulumi-language-python-exec"
# Tells Pulumi's language host that whatever is to be said has been said.
ALREADY_TOLD = 32


def end_quietly() -> None:
    """Lets an interruption end the program without a word.

    The engine interrupts the program when a resource has failed. Python would print where it was just then, above the
    error that the user is to read. Only in the process that Pulumi starts: a test that is interrupted shall say where.
    """
    # `sys.argv` is the program's own by now: Pulumi's host has put it there before it ran the program.
    if HOST in (Path(word).name for word in sys.orig_argv):
        signal.signal(signal.SIGINT, lambda *_: os._exit(ALREADY_TOLD))
