"""Layer: what a preview is compared with, and the program's own part of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import preview
from bench.clone import Clone

ROOT = Path(__file__).resolve().parents[2]


def test_the_program_runs_to_its_end_and_imports_none_of_azures_clients() -> None:
    took, imported = preview.own_part(Clone(ROOT))
    assert took > 0
    assert imported == [], "azure.ai.ml alone takes as long as all else together"


COUNT = """\
import collections, json, sys
import pulumi
from pulumi.runtime import mocks

class Engine(mocks.Mocks):
    def new_resource(self, args):
        made[args.typ.partition(":")[0]] += 1
        return args.name, args.inputs
    def call(self, args):
        raise AssertionError(args.token)

made = collections.Counter()
mocks.set_mocks(Engine())
# As a host does: a provider is pickled with the module that it is in.
pulumi.runtime.test(lambda: exec(sys.argv[1], {"__name__": "__main__"}))()
print(json.dumps(made))
"""


@pytest.mark.parametrize("dynamic", [0, 3])
def test_a_reference_registers_as_much_as_it_is_told(dynamic: int) -> None:
    program = preview.NO_OP.format(name="alike", components=2, native=5, dynamic=dynamic)
    done = subprocess.run([sys.executable, "-c", COUNT, program], capture_output=True, text=True, check=True, cwd=ROOT)
    made = json.loads(done.stdout.splitlines()[-1])
    assert made == {"azure-native": 5, "no-op": 2, **({"pulumi-python": dynamic} if dynamic else {})}
