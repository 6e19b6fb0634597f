"""The batch benchmark: that every way scores every file, and what is made of the figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import batch
from bench.batch import JOB, LOOP, MANY, POOL, SOME, WITH_JOBLIB, Run

WAYS = (JOB, LOOP, POOL)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_writes_a_row_for_each_file(way: str, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    names = [f"{number:02d}.csv" for number in range(20)]
    for name in names:
        (folder / name).touch()
    output = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, batch.RUNNER, way, folder, output, "1"],
        env={"PYTHONPATH": str(batch.ROOT), "PATH": ""},
        check=True,
        capture_output=True,
        text=True,
    )
    assert Run(**json.loads(done.stdout)).seconds > 0
    rows = output / "output" / "predictions.csv" if way == JOB else output
    assert sorted(rows.read_text().splitlines()) == names


@pytest.fixture
def results() -> dict[tuple[str, str], list[Run]]:
    """Figures that are easy to reckon with: seconds of the start, of each mini-batch, and of the long ones."""
    figures = {JOB: (0.25, 0.0005, 2.75), LOOP: (0.0, 0.0001, 5.0), POOL: (0.1, 0.0002, 2.5)}
    found: dict[tuple[str, str], list[Run]] = {}
    for way, (start, each, long) in figures.items():
        for count in (batch.FEW, SOME, MANY):
            seconds = start + each * (count - batch.FEW)
            found[way, str(count)] = [Run(seconds, 50.0), Run(seconds, 52.0), Run(9.0, 54.0)]
        found[way, "long"] = [Run(long, 50.0)]
    return found


def test_a_mini_batch_costs_what_is_beyond_the_start(results: dict[tuple[str, str], list[Run]]) -> None:
    assert batch.per_mini_batch(results, JOB, SOME) == pytest.approx(0.0005)
    assert batch.per_mini_batch(results, JOB, MANY) == pytest.approx(0.0005)


def test_ideal_is_the_loop_shared_by_the_workers(results: dict[tuple[str, str], list[Run]]) -> None:
    assert batch.share_of_ideal(results, POOL) == pytest.approx(1.0)
    assert batch.share_of_ideal(results, JOB) == pytest.approx(2.5 / 2.75)
    assert batch.share_of_ideal(results, LOOP) == 1.0, "it has one processor, and makes the most of it"


def test_the_section_has_a_column_for_each_way_and_says_which_is_missing(
    results: dict[tuple[str, str], list[Run]],
) -> None:
    text = batch.section(results)
    assert "| from start to end of 2 mini-batches | 250.00 ms | 0.00 ms | 100.00 ms |" in text
    assert "| each of 10,000 mini-batches of no work, after the start | 0.50 ms | 0.10 ms | 0.20 ms |" in text
    assert "| 200 mini-batches of 50 ms, share of ideal | 0.91 | 1.00 | 1.00 |" in text
    assert "| memory of its process, 100 mini-batches | 52 MB | 52 MB | 52 MB |" in text
    assert "joblib could not be installed" in text
    assert "joblib could not" not in batch.section(
        {**results, **{(WITH_JOBLIB, what): runs for (way, what), runs in results.items() if way == POOL}}
    )
