"""What a batch job costs beside the work in it: against a loop, `multiprocessing` and joblib, all in the same run.

Each is measured in turns and in an order that chance makes, each time in a process of its own. The ways that a person
writes in a quarter of an hour keep no journal, no logs, no time-outs and no retries; a job keeps them all.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localazure.tools import uv

ROOT = Path(__file__).resolve().parent.parent
RUNNER = ROOT / "bench" / "batch_runner.py"
TITLE = "What a batch job adds to its mini-batches"
JOBLIB = "joblib==1.5.2"
ROUNDS = 5
FEW, SOME, MANY = 2, 100, 10_000
LONG_ONES = 200
LONG_SECONDS = 0.05
WORKERS = 2
PATIENCE = 600
JOB, LOOP, POOL, WITH_JOBLIB = "job", "loop", "multiprocessing", "joblib"
HEADS = {JOB: "batch job", LOOP: "loop in one process", POOL: "`multiprocessing`", WITH_JOBLIB: "joblib"}
AIMS = "a start within 1 s, 1 ms per mini-batch at most, 0.9 of the ideal at least"


@dataclass(frozen=True)
class Run:
    """One run: its seconds, and the most memory that its process, without the workers, has held (MB)."""

    seconds: float
    memory: float


Results = Mapping[tuple[str, str], Sequence[Run]]
"""By way and by what was run."""


def main() -> int:
    """Measures, and prints the section."""
    print(measure())
    return 0


def measure(rounds: int = ROUNDS) -> str:
    """The section of BENCHMARKS.md. Five minutes."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        pythons = dict(_pythons(folder))
        sizes = {str(count): (_files(folder, count), 0) for count in (FEW, SOME, MANY)}
        sizes["long"] = (_files(folder, LONG_ONES), _rounds_of_arithmetic())
        results: dict[tuple[str, str], list[Run]] = {}
        for turn in range(rounds):
            todo = [(way, what) for way in pythons for what in sizes]
            for way, what in random.sample(todo, len(todo)):
                results.setdefault((way, what), []).append(_run(pythons[way], way, *sizes[what], folder))
            print(f"round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
        return section(results)


def _pythons(folder: Path) -> Iterator[tuple[str, Path]]:
    """The interpreter of each way; joblib is no part of the project, and left out where it cannot be had."""
    for way in (JOB, LOOP, POOL):
        yield way, Path(sys.executable)
    python = folder / "joblib" / "bin" / "python"
    subprocess.run([uv(), "venv", "--quiet", "--python", sys.executable, folder / "joblib"], check=True)
    if not subprocess.run([uv(), "pip", "install", "--quiet", "--python", python, JOBLIB]).returncode:
        yield WITH_JOBLIB, python


def _files(folder: Path, count: int) -> Path:
    found = folder / f"files-{count}"
    found.mkdir(exist_ok=True)
    for number in range(count):
        (found / f"{number:06d}.csv").touch()
    return found


def _rounds_of_arithmetic() -> int:
    """How many of the script's make a long mini-batch, by the fastest of a few tries."""
    probe = 200_000
    seconds = min(_arithmetic(probe) for _ in range(10))
    return int(probe * LONG_SECONDS / seconds)


def _arithmetic(rounds: int) -> float:
    began = time.perf_counter()
    total = 0
    for number in range(rounds):
        total += number * number
    return time.perf_counter() - began


def _run(python: Path, way: str, files: Path, work: int, folder: Path) -> Run:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        output = Path(place) / "out"
        argv = [python, RUNNER, way, files, output, str(work)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(argv, env=environment, check=True, capture_output=True, text=True, timeout=PATIENCE)
        rows = output / "output" / "predictions.csv" if way == JOB else output
        wanted = sorted(path.name for path in files.iterdir())
        if sorted(rows.read_text().splitlines()) != wanted:
            raise RuntimeError(f"{way} lost or doubled rows")
        return Run(**json.loads(done.stdout))


# What it comes to -----------------------------------------------------------------------------------------------------


def section(results: Results) -> str:
    """The table, with a column for each way."""
    ways = [way for way in HEADS if (way, str(FEW)) in results]
    missing = "" if WITH_JOBLIB in ways else " joblib could not be installed: its column is missing."
    note = (
        f"{WORKERS} workers, one file a mini-batch, medians of {len(results[JOB, str(FEW)])} runs in turns. A job has "
        "its journal, its logs, time-outs and retries, the others have none. Ideal is half of the loop's time in the "
        f"same run. The aims: {AIMS}.{missing}"
    )
    head = [f"| what | {' | '.join(HEADS[way] for way in ways)} |", "|---|" + "---:|" * len(ways)]
    return "\n".join([note, "", *head, *_rows(results, ways)])


def _rows(results: Results, ways: Sequence[str]) -> Iterator[str]:
    def row(what: str, figure: Any) -> str:
        return f"| {what} | {' | '.join(figure(way) for way in ways)} |"

    yield row(f"from start to end of {FEW} mini-batches", lambda way: _ms(_seconds(results, way, FEW)))
    for count in (SOME, MANY):
        yield row(
            f"each of {count:,} mini-batches of no work, after the start",
            lambda way, count=count: _ms(per_mini_batch(results, way, count)),
        )
    yield row(
        f"{LONG_ONES} mini-batches of {LONG_SECONDS * 1000:.0f} ms, share of ideal",
        lambda way: f"{share_of_ideal(results, way):.2f}",
    )
    for count in (SOME, MANY):
        yield row(
            f"memory of its process, {count:,} mini-batches",
            lambda way, count=count: f"{statistics.median(run.memory for run in results[way, str(count)]):.0f} MB",
        )


def per_mini_batch(results: Results, way: str, count: int) -> float:
    """Seconds for each mini-batch beyond what the shortest job takes."""
    return max(0.0, _seconds(results, way, count) - _seconds(results, way, FEW)) / (count - FEW)


def share_of_ideal(results: Results, way: str) -> float:
    """How near a run comes to the loop's time shared by all workers; the loop itself has one."""
    ideal = _seconds(results, LOOP, "long") / (1 if way == LOOP else WORKERS)
    return ideal / _seconds(results, way, "long")


def _seconds(results: Results, way: str, what: object) -> float:
    return statistics.median(run.seconds for run in results[way, str(what)])


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


if __name__ == "__main__":
    sys.exit(main())
