"""Measures a laptop's run and writes BENCHMARKS.md.

Machines differ and are noisy, so every figure stands beside a reference that was measured in the same go, and the ratio
is what counts. `python -m bench --from-nothing` also empties a cache of its own and sets up from there, which takes
minutes; `--control-plane` measures Local Azure's alone, and prints what it finds; `--suite` times `make test` of the
last commit, and adds that row; `--durations` brings stacks up with Azure's times, scaled down, and adds those rows;
`--load` changes a stack under load, `--router` compares the router with others, `--batch` a batch job with a loop,
`--preview` a preview with one of a program that does nothing: each writes a section of its own.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

from bench import batch, control_plane, durations, no_lost_request, page, preview, router
from bench.clone import Clone, copy_of_the_tree
from bench.figures import Figure, median, timed

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "BENCHMARKS.md"
EMPTY_PROGRAM = {
    "Pulumi.yaml": "name: empty\nruntime: {name: python, options: {virtualenv: .venv}}\n",
    "__main__.py": "import pulumi\n",
}
REQUESTS = 500
SUITE = "`make test`"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from-nothing", action="store_true", help="also set up from an empty cache")
    parser.add_argument("--control-plane", action="store_true", help="only Local Azure's; BENCHMARKS.md is kept")
    parser.add_argument("--suite", action="store_true", help="only `make test`; the rest of BENCHMARKS.md is kept")
    parser.add_argument(
        "--durations",
        metavar="SCALE",
        type=float,
        nargs="?",
        const=durations.SCALE,
        help=f"only with Azure's durations, multiplied by SCALE ({durations.SCALE:g}: a quarter of an hour)",
    )
    parser.add_argument(
        "--load",
        metavar="REQUESTS",
        type=int,
        nargs="?",
        const=no_lost_request.REQUESTS,
        help=f"only what is lost under load, of at least so many requests ({no_lost_request.REQUESTS:,})",
    )
    parser.add_argument("--router", action="store_true", help="only what the router adds to a request")
    parser.add_argument("--batch", action="store_true", help="only what a batch job adds to its mini-batches")
    parser.add_argument("--preview", action="store_true", help="only what a preview of an unchanged stack costs")
    options = parser.parse_args()
    if options.durations:
        return _only_the_durations(options.durations)
    if options.load:
        return _only_the_load(options.load)
    if options.router:
        return _only_the_router()
    if options.batch:
        return _only_the_batch()
    if options.preview:
        return _only_the_preview()
    if options.suite:
        return _only_the_suite()
    if options.control_plane:
        return _only_the_control_plane()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        figures = list(_measure(Path(folder), options.from_nothing))
    PAGE.write_text(page.with_head(PAGE.read_text(), _page(figures, options.from_nothing)))
    print("\n".join(figure.row for figure in figures))
    return 0


def _only_the_control_plane() -> int:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for figure in control_plane.measure(ROOT, Path(sys.executable), Path(folder)):
            print(figure.row, flush=True)
    return 0


def _only_the_suite() -> int:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        # The tests copy what git knows, so they need a clone and not a copy.
        clone = Clone(Path(folder) / "clone")
        subprocess.run(["git", "clone", "--quiet", ROOT, clone.path], check=True)
        clone.make("setup")
        try:
            reference = timed(lambda: clone.make("up"))
            clone.make("down")
            figure = Figure(SUITE, timed(lambda: clone.make("test")), "first `make up`, tools set up", reference)
        finally:
            clone.end()
    _replace(f"| {SUITE} |", [figure])
    return 0


def _only_the_durations(scale: float) -> int:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        _replace(durations.ROW, list(durations.measure(ROOT, Path(folder), scale)))
    return 0


def _only_the_load(requests: int) -> int:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        clone = copy_of_the_tree(ROOT, Path(folder) / "clone")
        try:
            text = no_lost_request.measure(clone, Path(folder), requests)
        finally:
            clone.end()
    PAGE.write_text(page.with_section(PAGE.read_text(), no_lost_request.TITLE, text))
    print(text)
    return 0


def _only_the_router() -> int:
    text = router.measure()
    PAGE.write_text(page.with_section(PAGE.read_text(), router.TITLE, text))
    print(text)
    return 0


def _only_the_batch() -> int:
    text = batch.measure()
    PAGE.write_text(page.with_section(PAGE.read_text(), batch.TITLE, text))
    print(text)
    return 0


def _only_the_preview() -> int:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        text = preview.measure(ROOT, Path(folder))
    PAGE.write_text(page.with_section(PAGE.read_text(), preview.TITLE, text))
    print(text)
    return 0


def _replace(mark: str, figures: list[Figure]) -> None:
    """Puts rows into BENCHMARKS.md in place of those that bear a mark, and prints them."""
    text = PAGE.read_text()
    kept = [line for line in page.parts(text)[0].strip().splitlines() if mark not in line]
    rows = [figure.row for figure in figures]
    PAGE.write_text(page.with_head(text, "\n".join([*kept, *rows])))
    print("\n".join(rows))


def _measure(folder: Path, from_nothing: bool) -> Iterable[Figure]:
    clone = copy_of_the_tree(ROOT, folder / "clone")
    try:
        if from_nothing:
            yield _set_up_from_nothing(clone, folder)
        clone.make("setup")
        empty = _empty_program(clone, folder / "empty")
        reference = timed(empty)
        name = "`pulumi preview` of an empty program"
        for what, change in _walk(clone):
            change()
            yield Figure(what, timed(lambda: clone.make("up")), name, reference)
        yield Figure("`make preview`, nothing changed", timed(lambda: clone.make("preview")), name, reference)
        yield from _scoring(clone)
        yield from control_plane.measure(clone.path, clone.path / ".venv/bin/python", folder)
    finally:
        clone.end()


def _set_up_from_nothing(clone: Clone, folder: Path) -> Figure:
    """The set-up with an empty cache and none of the tools on PATH, beside the download of one wheel set by pip."""
    bare = folder / "bin"
    bare.mkdir()
    # Not what PATH calls python3: that may be a script of a version manager, which needs more than is there.
    (bare / "python3").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    for tool in ("git", "make", "sh", "bash", "env", "uname", "dirname", "cat", "tar", "rm", "mkdir"):
        if found := shutil.which(tool):
            (bare / tool).symlink_to(found)
    variables = {"AZUREML_ENDPOINTS_CACHE": str(folder / "cache"), "PATH": str(bare)}
    seconds = timed(lambda: clone.make("setup", variables))
    venv = folder / "reference"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    fetch = [venv / "bin/pip", "install", "--quiet", "--no-cache-dir", "azure-ai-ml==1.35.2"]
    return Figure(
        "set-up from an empty cache, without `pulumi`, `go`, `node`",
        seconds,
        "`pip install azure-ai-ml`, no cache",
        timed(lambda: subprocess.run(fetch, check=True)),
    )


def _empty_program(clone: Clone, folder: Path) -> Callable[[], object]:
    """A stack without a resource; what previews it."""
    folder.mkdir()
    for name, text in EMPTY_PROGRAM.items():
        (folder / name).write_text(text)
    (folder / ".venv").symlink_to(clone.path / ".venv")
    state = folder / "state"
    state.mkdir()
    variables = {
        "PULUMI_BACKEND_URL": state.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_HOME": str(folder / "home"),
    }
    clone.run("pulumi", "stack", "init", "empty", cwd=folder, variables=variables)
    command = ("pulumi", "preview", "--non-interactive", "--stack", "empty")
    return lambda: clone.run(*command, cwd=folder, variables=variables)


def _walk(clone: Clone) -> Iterable[tuple[str, Callable[[], object]]]:
    """The daily work: each step and the edit that goes before it."""
    yield "first `make up`, tools set up", lambda: None
    yield "second `make up`, nothing changed", lambda: None
    yield "`make up`, traffic edited", lambda: clone.replace("{blue: 90, green: 10}", "{blue: 25, green: 75}")
    note = clone.path / "scoring/models/mlflow/note.txt"
    yield "`make up`, one model changed", lambda: note.write_text("changed\n")


def _scoring(clone: Clone) -> Iterable[Figure]:
    """A request through the router, beside the same request to the instance behind it."""
    endpoint = clone.status()["onlineEndpoints"][0]
    deployment = next(each for each in endpoint["deployments"] if each["name"].startswith("green"))
    port = deployment["instances"][0]["port"]
    body = (clone.path / "scoring/samples/request.json").read_bytes()
    direct = median(clone.post(f"http://127.0.0.1:{port}/score", body, REQUESTS))
    headers = {"azureml-model-deployment": deployment["name"]}
    through = median(clone.post(endpoint["scoringUri"], body, REQUESTS, headers=headers, proxied=True))
    yield Figure(
        "one scored request, through proxy, TLS and router (median)", through, "the same, to the instance", direct
    )


def _page(figures: list[Figure], from_nothing: bool) -> str:
    command = "python -m bench --from-nothing" if from_nothing else "make bench"
    head = [
        "# Benchmarks",
        "",
        "Made by `make bench`. What counts is the ratio to the reference that was measured in the same run.",
        "",
        f"{date.today()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, by `{command}`.",
        "",
        "| what | measured | reference | measured | ratio |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*head, *(figure.row for figure in figures)]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
