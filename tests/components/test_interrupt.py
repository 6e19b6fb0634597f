"""An interrupted program, in a process as Pulumi starts it."""

import subprocess
import sys
from pathlib import Path

import pytest

from components.interrupt import ALREADY_TOLD, HOST

ROOT = Path(__file__).resolve().parents[2]
# It takes its own name from its arguments as Pulumi's host does, waits as the program does while resources are made,
# and is interrupted meanwhile.
PROGRAM = """
import asyncio, os, signal, sys, threading
sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[1:]
import components.interrupt
threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
asyncio.new_event_loop().run_until_complete(asyncio.sleep(60))
"""


@pytest.mark.parametrize(("name", "quiet"), [(HOST, True), ("pytest", False)])
def test_only_the_program_that_pulumi_starts_ends_without_a_word(tmp_path: Path, name: str, quiet: bool) -> None:
    script = tmp_path / name
    script.write_text(PROGRAM)
    done = subprocess.run([sys.executable, str(script), str(ROOT)], capture_output=True, text=True, timeout=120)
    assert (done.returncode == ALREADY_TOLD, "Traceback" not in done.stderr) == (quiet, quiet)
