"""The scoring samples: pins, files, and the scripts run as a deployment runs them."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.scoring.sample_environment import SCORING, train_pins

SAMPLES = SCORING / "samples"

ONLINE = """
import importlib.util, json, os, sys
sys.dont_write_bytecode = True
spec = importlib.util.spec_from_file_location("score", os.path.join(sys.argv[1], "online", "score.py"))
score = importlib.util.module_from_spec(spec)
spec.loader.exec_module(score)
os.environ["AZUREML_MODEL_DIR"] = os.path.join(sys.argv[1], "models", "custom")
score.init()
print(json.dumps([score.run(open(path).read()) for path in sys.argv[2:]]))
"""

MLFLOW = """
import json, sys, mlflow.pyfunc, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
table = json.load(open(sys.argv[2]))["input_data"]
inputs = model.metadata.get_input_schema()
print(json.dumps([model.predict(pd.DataFrame(table["data"], columns=table["columns"])).tolist(), inputs.input_names()]))
"""

BATCH = """
import importlib.util, json, os, sys
sys.dont_write_bytecode = True
spec = importlib.util.spec_from_file_location("score", os.path.join(sys.argv[1], "batch", "score.py"))
score = importlib.util.module_from_spec(spec)
spec.loader.exec_module(score)
os.environ["AZUREML_MODEL_DIR"] = os.path.join(sys.argv[1], "models")
score.init()
print(json.dumps(score.run(sys.argv[2:]).values.tolist()))
"""


def probe(python: Path, code: str, *arguments: object) -> Any:
    answer = subprocess.run([python, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


def conda_pins(file: Path) -> tuple[dict[str, str], str]:
    """The pip pins of a conda file, and the Python it names."""
    dependencies = yaml.safe_load(file.read_text())["dependencies"]
    pip = next(item["pip"] for item in dependencies if isinstance(item, dict))
    python = next(item for item in dependencies if str(item).startswith("python="))
    return dict(line.split("==") for line in pip), python


@pytest.mark.parametrize("file", ["online/conda.yaml", "batch/conda.yaml", "models/mlflow/conda.yaml"])
def test_conda_files_pin_what_the_models_were_trained_with(file: str) -> None:
    pins, python = conda_pins(SCORING / file)
    shared = pins.keys() & train_pins().keys()
    assert {"numpy", "scikit-learn", "scipy"} <= shared, "a pickle needs the versions that wrote it"
    assert {name: pins[name] for name in shared} == {name: train_pins()[name] for name in shared}
    assert python == "python=3.11"


def test_the_mlflow_model_says_the_same_in_each_of_its_requirement_files() -> None:
    folder = SCORING / "models" / "mlflow"
    listed = dict(line.split("==") for line in (folder / "requirements.txt").read_text().split())
    assert listed == conda_pins(folder / "conda.yaml")[0]
    # YAML reads an unquoted 3.11 as a number, which MLflow cannot load.
    assert yaml.safe_load((folder / "python_env.yaml").read_text())["python"] == "3.11"
    assert yaml.safe_load((folder / "MLmodel").read_text())["flavors"]["python_function"]["python_version"] == "3.11"


def test_environments_bring_the_server_that_their_deployment_needs() -> None:
    assert "azureml-inference-server-http" in conda_pins(SCORING / "online/conda.yaml")[0]
    assert "azureml-core" in conda_pins(SCORING / "batch/conda.yaml")[0], "Azure's batch driver imports it"


def test_samples_are_small_and_name_no_machine() -> None:
    made_by_tools = {"__pycache__", ".ruff_cache"}
    files = [path for path in SCORING.rglob("*") if path.is_file() and not made_by_tools & set(path.parts)]
    assert sum(path.stat().st_size for path in files) < 1_000_000
    for path in files:
        assert not re.search(rb"(/home/|/Users/|/root/|/tmp/)", path.read_bytes()), f"{path} holds a machine's path"


@pytest.mark.parametrize("folder", ["models/mlflow", "models/custom", "online", "batch"])
def test_what_running_a_sample_leaves_behind_does_not_change_its_hash(folder: str) -> None:
    assert "__pycache__/" in (SCORING / folder / ".amlignore").read_text().splitlines()


def test_the_batch_folder_holds_nothing_but_csv_files() -> None:
    names = [path.name for path in (SAMPLES / "batch").iterdir()]
    assert len(names) == 6
    assert all(name.endswith(".csv") for name in names), "any other file would count as a failure of the job"


@pytest.fixture(scope="module")
def answers(python: Path) -> list[list[float]]:
    """The online script's answers to the three sample requests."""
    requests = [SAMPLES / f"{name}.json" for name in ("request", "request-mlflow", "request-custom")]
    return probe(python, ONLINE, SCORING, *requests)


def test_the_online_script_takes_each_sample_request_and_answers_probabilities(answers: list[list[float]]) -> None:
    assert answers[0] == answers[1] == answers[2], "the three files hold the same rows in different forms"
    assert len(answers[0]) == 3
    assert all(0 <= value <= 1 for value in answers[0])


def test_the_two_models_answer_visibly_differently_and_agree_on_the_matter(
    python: Path, answers: list[list[float]]
) -> None:
    classes, columns = probe(python, MLFLOW, SCORING / "models" / "mlflow", SAMPLES / "request.json")
    assert len(columns) == 30
    assert set(classes) == {"benign", "malignant"}, "a request that shows both answers"
    assert classes == ["malignant" if value > 0.5 else "benign" for value in answers[0]]


def test_the_batch_script_predicts_every_row_and_names_its_file(python: Path) -> None:
    files = sorted((SAMPLES / "batch").glob("*.csv"))
    rows = probe(python, BATCH, SCORING, *files)
    expected = [path.name for path in files for _ in path.read_text().splitlines()[1:]]
    assert [row[1] for row in rows] == expected
    assert {row[0] for row in rows} == {"benign", "malignant"}


@pytest.mark.slow
def test_training_again_writes_the_same_bytes(python: Path, tmp_path: Path) -> None:
    runs = []
    for name in ("first", "second"):
        copy = shutil.copytree(SCORING, tmp_path / name / "scoring")
        subprocess.run([python, copy / "train.py"], check=True, capture_output=True, timeout=300)
        runs.append({path.relative_to(copy): path.read_bytes() for path in copy.rglob("*") if path.is_file()})
    assert runs[0] == runs[1], "a model's version is a hash of its content"
