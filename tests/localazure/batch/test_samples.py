"""The sample batch deployments, MLflow and custom, against a direct loop over the same files."""

import csv
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from localazure.batch import BatchSpec
from tests.localazure.batch.support import JobRunner, Log, Rows
from tests.scoring.sample_environment import SCORING

DIRECT = """
import json, os, sys, mlflow.pyfunc, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = []
for path in sys.argv[2:]:
    for row, value in enumerate(model.predict(pd.read_csv(path))):
        rows.append([str(row), str(value), os.path.basename(path)])
print(json.dumps(rows))
"""

PARQUET = """
import os, sys, pandas as pd
for path in sys.argv[1:]:
    pd.read_csv(path).to_parquet(os.path.splitext(path)[0] + ".parquet")
    os.remove(path)
"""


@pytest.fixture
def spec(spec: BatchSpec, sample_interpreter: Path, tmp_path: Path) -> BatchSpec:
    """The settings of the sample configuration, on copies of the samples."""
    shutil.copytree(SCORING / "samples" / "batch", tmp_path / "input")
    shutil.copytree(SCORING / "models", tmp_path / "models")
    return replace(
        spec,
        python=sample_interpreter,
        model_dir=tmp_path / "models",
        mlflow_path=tmp_path / "models" / "mlflow",
        code_dir=None,
        script=None,
        instance_count=2,
        max_concurrency_per_instance=2,
        mini_batch_size=2,
        max_retries=3,
        timeout=300.0,
    )


@pytest.fixture(scope="module")
def direct(sample_interpreter: Path) -> list[list[str]]:
    """Row, prediction and file name as a plain loop finds them."""
    files = sorted((SCORING / "samples" / "batch").glob("*.csv"))
    argv = [sample_interpreter, "-c", DIRECT, SCORING / "models" / "mlflow", *files]
    return json.loads(subprocess.run(argv, check=True, capture_output=True, text=True, timeout=120).stdout)


def test_an_mlflow_model_without_code_writes_row_prediction_and_file(
    job: JobRunner, rows: Rows, direct: list[list[str]]
) -> None:
    result = job.run()
    assert result.succeeded, result.message
    assert (result.total, result.failed) == (6, 0)
    assert sorted(csv.reader(rows())) == sorted(direct)


def test_the_custom_script_writes_its_data_frame_separated_by_spaces(
    job: JobRunner, rows: Rows, direct: list[list[str]], tmp_path: Path
) -> None:
    code = shutil.copytree(SCORING / "batch", tmp_path / "code")
    result = job.run(code_dir=code, script="score.py")
    assert result.succeeded, result.message
    assert rows() == sorted(f"{prediction} {file}" for _, prediction, file in direct)


def test_files_that_an_mlflow_model_cannot_score_are_counted_and_the_others_scored(
    job: JobRunner, rows: Rows, log: Log, tmp_path: Path, direct: list[list[str]]
) -> None:
    (tmp_path / "input" / "empty.csv").touch()
    (tmp_path / "input" / "words.csv").write_text("mean radius\nlarge\n")
    (tmp_path / "input" / "columns.csv").write_text("a,b\n1,2\n")
    (tmp_path / "input" / "notes.avro").write_text("?")
    (tmp_path / "input" / "inner").mkdir()
    (tmp_path / "input" / "inner" / "unseen.csv").write_text("not even a table")
    result = job.run()
    assert result.succeeded, result.message
    assert (result.total, result.failed) == (10, 4)
    assert sorted(csv.reader(rows())) == sorted(direct), "a bad file costs nothing but itself"
    for text in ("File type 'avro' is not supported", "empty.csv: ", "words.csv: ", "columns.csv: "):
        assert text in result.message
    assert "ERROR:azureml:Error processing input file" in log("logs/user/stdout/*/*.txt")
    assert "Azure does not search" in log("azureml-logs/70_driver_log.txt")


def test_parquet_files_are_scored_like_csv_files(
    job: JobRunner, rows: Rows, tmp_path: Path, sample_interpreter: Path, direct: list[list[str]]
) -> None:
    files = (tmp_path / "input").glob("*.csv")
    subprocess.run([sample_interpreter, "-c", PARQUET, *files], check=True, timeout=120)
    result = job.run()
    assert result.succeeded, result.message
    expected = [[row, value, file.replace(".csv", ".parquet")] for row, value, file in direct]
    assert sorted(csv.reader(rows())) == sorted(expected)
