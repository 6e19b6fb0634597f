"""Whole jobs with real worker processes: what is counted, written, logged and left behind."""

import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from localazure.batch import BatchSpec
from localazure.home import Home
from localazure.processes import sweep
from localazure.runtime import Ports, Runtime
from tests.localazure.batch.support import JobRunner, Log, Rows, running, start_driver, wait_for, write_script

ECHO = """
import os
def init(): ...
def run(mini_batch):
    return [os.path.basename(path) for path in mini_batch]
"""

PICKY = """
import os, time
from pathlib import Path
def init(): ...
def run(mini_batch):
    for path in mini_batch:
        if "bad" in path:
            raise ValueError("cannot read this")
    return [Path(path).name for path in mini_batch]
"""


HANG = """
import time
def init(): ...
def run(mini_batch):
    open({busy!r}, "w").close()
    time.sleep(600)
"""


def names(count: int) -> list[str]:
    return [f"f{number:03d}.txt" for number in range(count)]


def test_every_files_row_is_written_exactly_once(job: JobRunner, rows: Rows, home: Home) -> None:
    result = job(ECHO, names(25), mini_batch_size=2)
    assert result.succeeded, result.message
    assert (result.total, result.failed) == (25, 0)
    assert rows() == names(25)
    assert running(home) == [], "no process outlives its job"


def test_what_a_script_prints_does_not_disturb_the_job(job: JobRunner, rows: Rows, log: Log) -> None:
    result = job(
        """
        import logging, os, subprocess, sys
        print("at import")
        def init():
            os.write(1, b"raw bytes\\n")
        def run(mini_batch):
            print('{"event": "scored"}', flush=True)
            subprocess.run(["echo", "from a child"])
            logging.getLogger("mine").info("an info line")
            print("to stderr", file=sys.stderr)
            return ["ok"]
        """,
        ["a.txt"],
    )
    assert result.succeeded, result.message
    assert rows() == ["ok"]
    printed = log("logs/user/stdout/10.0.0.4/process000.stdout.txt")
    for text in ("at import", "raw bytes", '{"event": "scored"}', "from a child", "INFO:mine:an info line"):
        assert text in printed
    assert "to stderr" in log("logs/user/stderr/10.0.0.4/process000.stderr.txt")


@pytest.mark.parametrize(
    ("answer", "lines"),
    [
        ("['x', 1, [2, 'y']]", ["1", "[2, 'y']", "x"]),
        ("('x', 'y')", ["x", "y"]),
        ("array.array('d', [0.5, 2])", ["0.5", "2.0"]),
        ("iter(['x'])", ["x"]),
    ],
)
def test_an_element_is_a_line_whatever_holds_it(job: JobRunner, rows: Rows, answer: str, lines: list[str]) -> None:
    result = job(f"import array\ndef init(): ...\ndef run(files):\n    return {answer}\n", ["a.txt"])
    assert result.succeeded, result.message
    assert rows() == lines


@pytest.mark.parametrize("answer", ["None", "'text'", "{'a': 1}", "7"])
def test_an_answer_of_another_type_is_a_failure_that_says_so(job: JobRunner, answer: str) -> None:
    result = job(f"def init(): ...\ndef run(files):\n    return {answer}\n", ["a.txt"])
    assert not result.succeeded
    assert "must return a pandas DataFrame, a list, a tuple or an array" in result.message


def test_elements_that_are_missing_count_as_failed_files(job: JobRunner, rows: Rows) -> None:
    result = job("def init(): ...\ndef run(files):\n    return files[1:]\n", names(6), mini_batch_size=3)
    assert result.succeeded
    assert (result.total, result.failed) == (6, 2)
    assert len(rows()) == 4
    assert "2 without an element" in result.message


def test_more_elements_than_files_are_no_failure(job: JobRunner, rows: Rows) -> None:
    result = job("def init(): ...\ndef run(files):\n    return files * 10\n", names(2))
    assert (result.succeeded, result.failed) == (True, 0)
    assert len(rows()) == 20


@pytest.mark.parametrize(("threshold", "succeeds"), [(-1, True), (0, False), (1, False), (2, True), (3, True)])
def test_the_job_is_aborted_when_more_files_fail_than_the_threshold(
    job: JobRunner, spec: BatchSpec, threshold: int, succeeds: bool
) -> None:
    result = job(PICKY, [*names(4), "bad1.txt", "bad2.txt"], error_threshold=threshold, workers=1)
    assert result.succeeded is succeeds
    assert (spec.output_dir / "predictions.csv").exists() is succeeds, "an aborted job has no output"
    if succeeds:
        assert result.failed == 2
    else:
        assert f"Exceeded error threshold {threshold}" in result.message


def test_the_summary_says_which_file_failed_and_why(job: JobRunner, log: Log) -> None:
    result = job(PICKY, ["a.txt", "bad.txt"])
    assert result.succeeded
    assert "bad.txt: ValueError: cannot read this" in result.message
    assert "ValueError: cannot read this" in log("logs/user/error.txt")
    assert 'raise ValueError("cannot read this")' in log("logs/user/error/*/*.txt"), "the trace is there too"
    assert "Processed 2 files: 1 succeeded, 1 failed." in log("logs/job_progress_overview.txt")


def test_a_job_in_which_nothing_succeeds_has_failed_whatever_the_threshold(job: JobRunner, spec: BatchSpec) -> None:
    result = job(PICKY, ["bad.txt"], error_threshold=-1)
    assert not result.succeeded
    assert "no succeeded mini batch item" in result.message
    assert list(spec.output_dir.iterdir()) == []


FLAKY = """
import os, signal, time
from pathlib import Path
def init(): ...
def run(mini_batch):
    for path in mini_batch:
        tries = Path(os.environ["TRIES"]) / Path(path).name
        with tries.open("a") as file:
            file.write("x")
        if tries.stat().st_size <= int(os.environ["BAD_TRIES"]):
            {fault}
    return [Path(path).name for path in mini_batch]
"""
FAULTS = ["raise OSError('later')", "os.kill(os.getpid(), signal.SIGKILL)", "time.sleep(600)"]


@pytest.mark.parametrize("fault", FAULTS, ids=["raise", "crash", "hang"])
@pytest.mark.parametrize(("bad", "failed"), [(2, 0), (3, 3)], ids=["third try succeeds", "third try fails"])
def test_a_mini_batch_is_tried_as_often_as_asked_and_written_once(
    job: JobRunner, rows: Rows, tmp_path: Path, fault: str, bad: int, failed: int
) -> None:
    tries = tmp_path / "tries"
    tries.mkdir()
    (tries / "good.txt").write_text("xxxxxxxx")
    result = job(
        FLAKY.format(fault=fault),
        [*names(3), "good.txt"],
        mini_batch_size=1,
        max_retries=3,
        timeout=5.0 if "sleep" in fault else 60.0,
        environment_variables={"TRIES": str(tries), "BAD_TRIES": str(bad)},
    )
    assert result.succeeded, result.message
    assert result.failed == failed
    assert {name: (tries / name).stat().st_size for name in names(3)} == dict.fromkeys(names(3), 3)
    assert rows() == (["good.txt"] if failed else [*names(3), "good.txt"])


def test_with_summary_only_the_script_keeps_its_own_output(job: JobRunner, spec: BatchSpec) -> None:
    result = job(
        """
        import os
        from pathlib import Path
        def init():
            global output
            output = Path(os.environ["AZUREML_BI_OUTPUT_PATH"])
        def run(mini_batch):
            for path in mini_batch:
                (output / Path(path).name).write_text("mine")
                yield True
        """,
        names(3),
        output_action="SummaryOnly",
    )
    assert (result.succeeded, result.failed) == (True, 0), result.message
    assert sorted(path.name for path in spec.output_dir.iterdir()) == names(3)


def test_a_failing_init_fails_the_job_with_its_last_lines(job: JobRunner, spec: BatchSpec, log: Log) -> None:
    result = job("def init():\n    open('/no/such/model')\ndef run(files):\n    return files\n", names(2))
    assert not result.succeeded
    assert "init() failed" in result.message
    assert "No such file or directory: '/no/such/model'" in result.message
    assert "/no/such/model" in log("logs/user/error.txt")
    assert list(spec.output_dir.iterdir()) == []


def test_cancelling_ends_the_job_and_its_processes(job: JobRunner, spec: BatchSpec, home: Home, tmp_path: Path) -> None:
    cancelled = threading.Event()

    def cancel_when_busy() -> None:
        wait_for((tmp_path / "busy").exists, "no worker got to run()")
        cancelled.set()

    threading.Thread(target=cancel_when_busy, daemon=True).start()
    result = job(HANG.format(busy=str(tmp_path / "busy")), names(3), cancelled=cancelled)
    assert not result.succeeded
    assert "canceled" in result.message
    assert running(home) == []
    assert list(spec.output_dir.iterdir()) == []


def test_a_script_sees_what_azures_driver_gives_it_and_none_of_the_callers_secrets(
    job: JobRunner, rows: Rows, spec: BatchSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "secret")
    result = job(
        """
        import argparse, os, sys
        import helper
        def init():
            parser = argparse.ArgumentParser()
            parser.add_argument("--logging_level")
            global level
            level = parser.parse_known_args()[0].logging_level
        def run(files):
            names = "AZUREML_MODEL_DIR", "AZUREML_BI_OUTPUT_PATH", "MINE", "IDENTITY_HEADER"
            return [level, helper.VALUE, os.path.basename(__file__), *(str(os.environ.get(name)) for name in names)]
        """,
        ["a.txt"],
        model_dir=tmp_path / "model",
        environment_variables={"MINE": "yes"},
        logging_level="debug",
    )
    assert not result.succeeded, "there is no module helper yet"
    assert "ModuleNotFoundError: No module named 'helper'" in result.message
    assert spec.code_dir is not None
    (spec.code_dir / "helper.py").write_text("VALUE = 'imported'\n")
    script = (spec.code_dir / "score.py").read_text()
    result = job(
        script,
        ["a.txt"],
        model_dir=tmp_path / "model",
        environment_variables={"MINE": "yes"},
        logging_level="debug",
    )
    assert result.succeeded, result.message
    expected = ["DEBUG", "imported", "score.py", str(tmp_path / "model"), str(spec.output_dir), "yes", "None"]
    assert rows() == sorted(expected)


def test_a_script_meets_local_azure_and_not_the_users_own_login(
    job: JobRunner, rows: Rows, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_CONFIG_DIR", "/my/own/.azure")
    script = """
        import os
        def init(): ...
        def run(files):
            names = "HOME", "HTTPS_PROXY", "IDENTITY_ENDPOINT", "AZURE_TOKEN_CREDENTIALS", "AZURE_CONFIG_DIR"
            return [f"{name}={os.environ.get(name)}" for name in names]
        """
    own = f"HOME={home.path / 'container-home'}"
    assert job(script, ["a.txt"], output_file_name="alone.csv").succeeded
    Runtime(0, Ports(proxy=41001, identity=41002, control=41003)).write(home)
    assert job(script, ["a.txt"]).succeeded
    assert rows() == [
        "AZURE_CONFIG_DIR=None",
        "AZURE_TOKEN_CREDENTIALS=ManagedIdentityCredential",
        own,
        "HTTPS_PROXY=http://127.0.0.1:41001",
        "IDENTITY_ENDPOINT=http://127.0.0.1:41002/msi/token",
    ]
    without_daemon = (job.spec.output_dir / "alone.csv").read_text().splitlines()
    assert own in without_daemon
    assert "HTTPS_PROXY=None" in without_daemon


def test_a_script_may_lie_in_a_folder_of_the_code(job: JobRunner, rows: Rows, spec: BatchSpec) -> None:
    assert spec.code_dir is not None
    (spec.code_dir / "src").mkdir(parents=True)
    (spec.code_dir / "src" / "main.py").write_text("import beside\ndef init(): ...\nrun = beside.run\n")
    (spec.code_dir / "src" / "beside.py").write_text("def run(files):\n    return ['beside']\n")
    result = job("", ["a.txt"], script="src/main.py")
    assert result.succeeded, result.message
    assert rows() == ["beside"]


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no such file names")
def test_a_file_name_that_is_not_utf_8_is_a_file_like_any_other(job: JobRunner, rows: Rows) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    result = job(ECHO, [name, "a.txt"])
    assert result.succeeded, result.message
    assert rows() == sorted([name, "a.txt"])


@pytest.mark.parametrize(("workers", "used"), [(1, 1), (3, 3), (8, 4)])
def test_workers_are_capped_by_the_setting_and_the_log_says_so(
    job: JobRunner, log: Log, workers: int, used: int
) -> None:
    result = job(ECHO, names(20), instance_count=2, max_concurrency_per_instance=2, workers=workers)
    assert result.succeeded, result.message
    assert f"20 files in 20 mini-batches, {used} workers" in log("logs/job_progress_overview.txt")
    assert ("max_batch_workers" in log("azureml-logs/70_driver_log.txt")) is (workers < 4)


def test_an_existing_output_file_is_never_overwritten(job: JobRunner, spec: BatchSpec) -> None:
    spec.output_dir.mkdir()
    (spec.output_dir / "predictions.csv").write_text("precious\n")
    result = job(ECHO, ["a.txt"])
    assert not result.succeeded
    assert "already holds predictions.csv" in result.message
    assert (spec.output_dir / "predictions.csv").read_text() == "precious\n"


def test_an_input_without_files_is_refused(job: JobRunner, spec: BatchSpec) -> None:
    spec.inputs[0].mkdir()
    result = job(ECHO, [])
    assert not result.succeeded
    assert "contains no files" in result.message


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"output_file_name": "a/b.csv"}, "outputFileName: 'a/b.csv'"),
        ({"mini_batch_size": 0}, "miniBatchSize: 0"),
        ({"instance_count": 0}, "instanceCount"),
        ({"script": "other.py"}, "other.py is not in the deployment's code folder"),
        ({"script": "../outside.py"}, "../outside.py lies outside the deployment's code"),
        ({"script": None}, "not an MLflow model"),
    ],
)
def test_what_cannot_run_is_refused_with_the_value(
    job: JobRunner, tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    (tmp_path / "outside.py").write_text(ECHO)
    result = job(ECHO, ["a.txt"], **changes)
    assert not result.succeeded
    assert says in result.message


NATIVE = """
import re, subprocess
def init(): ...
def run(mini_batch):
    subprocess.Popen(["sleep", "600"])
    open({busy!r}, "w").close()
    re.match("(a+)+b", "a" * 64)  # keeps the interpreter's lock for longer than anybody waits
"""


@pytest.mark.parametrize(
    ("script", "processes"),
    [
        (HANG, 1),
        pytest.param(
            NATIVE, 2, marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills by a closed pipe")
        ),
    ],
    ids=["waiting", "computing"],
)
def test_workers_end_when_the_process_that_runs_the_job_is_killed(
    spec: BatchSpec, home: Home, tmp_path: Path, script: str, processes: int
) -> None:
    busy = tmp_path / "busy"
    write_script(spec, script.format(busy=str(busy)))
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "a.txt").touch()
    driver = start_driver(replace(spec, max_concurrency_per_instance=1), home)
    try:
        wait_for(busy.exists, "the worker never got to run()")
        wait_for(lambda: len(running(home)) == processes, "not all that was started is there")
        driver.send_signal(signal.SIGKILL)
        wait_for(lambda: not running(home), "the worker outlived its job")
    finally:
        driver.kill()
        driver.communicate()
        sweep(home)
