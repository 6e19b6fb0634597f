"""Runs mini-batches in one of four ways, and prints what it took: `batch_runner.py WAY FOLDER OUTPUT WORK`.

`WORK` is how many rounds of arithmetic each mini-batch costs; each file of the folder is a mini-batch, and its row the
file's name. `loop`, `multiprocessing` and `joblib` are what a person writes in a quarter of an hour: two processes, or
none, and the rows in a file. They keep nothing that would survive a kill. `job` is Local Azure's batch job.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

WORKERS = 2
SCRIPT = Path(__file__).with_name("batch_script.py")


def main(way: str, folder: str, output: str, work: str) -> None:
    """One run, from the folder to the file of rows; what is imported once is imported before."""
    os.environ["WORK"] = work
    ways = {"job": job, "loop": loop, "multiprocessing": pool, "joblib": with_joblib}
    go = ways[way](folder, output)
    began = time.perf_counter()
    go()
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def files(folder: str) -> list[str]:
    """What is to be scored."""
    return sorted(entry.path for entry in os.scandir(folder))


def score(path: str) -> list[str]:
    """The answer of the scoring script for one file; it must be importable by a worker process."""
    from batch_script import run

    return run([path])


def write(answers: Iterable[list[str]], output: str) -> None:
    """Keep the rows as they come."""
    with open(output, "w", buffering=1) as rows:  # noqa: PTH123 - as a person writes it
        for answer in answers:
            rows.write("".join(f"{row}\n" for row in answer))


def loop(folder: str, output: str) -> Callable[[], None]:
    return lambda: write(map(score, files(folder)), output)


def pool(folder: str, output: str) -> Callable[[], None]:
    def go() -> None:
        with multiprocessing.Pool(WORKERS) as workers:
            write(workers.imap_unordered(score, files(folder)), output)

    return go


def with_joblib(folder: str, output: str) -> Callable[[], None]:
    from joblib import Parallel, delayed  # pyright: ignore[reportMissingImports] - not in the project's environment

    return lambda: write(
        Parallel(WORKERS, return_as="generator_unordered")(delayed(score)(path) for path in files(folder)), output
    )


def job(folder: str, output: str) -> Callable[[], None]:
    """As the daemon runs one: everything it needs is on this machine."""
    import threading

    from localazure.batch import BatchSpec, run
    from localazure.batch.instances import Instances
    from localazure.home import Home
    from localazure.settings import Settings

    place = Path(output)
    home = Home.at(place / "home")
    place.mkdir()
    home.create()
    spec = BatchSpec(
        job="batchjob-bench",
        python=Path(sys.executable),
        model_dir=None,
        mlflow_path=None,
        code_dir=SCRIPT.parent,
        script=SCRIPT.name,
        environment_variables={"WORK": os.environ["WORK"]},
        inputs=(Path(folder),),
        output_dir=place / "output",
        log_dir=place / "log",
        journal=place / "journal",
        instance_count=1,
        max_concurrency_per_instance=WORKERS,
        mini_batch_size=1,
        error_threshold=0,
        max_retries=3,
        timeout=30.0,
        output_action="AppendRow",
        output_file_name="predictions.csv",
        logging_level="info",
    )
    settings = Settings(max_batch_workers=WORKERS)

    def go() -> None:
        instances = Instances.of(lambda: {0: 1})
        result = run(spec, home=home, cancelled=threading.Event(), settings=settings, executor=instances)
        if not result.succeeded:
            raise SystemExit(result.message)

    return go


if __name__ == "__main__":
    main(*sys.argv[1:])
