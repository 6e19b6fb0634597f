"""Layer: what a preview is compared with, and the program's own part of it."""

from __future__ import annotations

import ast
from pathlib import Path

from bench import preview
from bench.clone import Clone

ROOT = Path(__file__).resolve().parents[2]


def test_the_program_runs_to_its_end_and_imports_none_of_azures_clients() -> None:
    took, imported = preview.own_part(Clone(ROOT))
    assert took > 0
    assert imported == [], "azure.ai.ml alone takes as long as all else together"


def test_the_reference_registers_as_much_as_it_is_told() -> None:
    program = ast.parse(preview.NO_OP.format(resources=45, components=7))
    counts = [loop.iter.args[0].value for loop in program.body if isinstance(loop, ast.For)]  # type: ignore[attr-defined]
    assert counts == [7, 45]
