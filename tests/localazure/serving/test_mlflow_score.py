"""The scoring script of MLflow deployments, in the environment it runs in: which bodies each signature takes."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from localazure.serving import EnvironmentSpec, service
from localazure.serving.environments import Environments
from localazure.settings import Settings

from .conftest import REQUIREMENTS

MISSING = "A value is not provided for the 'input_data' parameter."

# Scores every case with a model that answers what it was given, and prints (status, answer) of each.
DRIVER = """
import json, sys, types
import mlflow.pyfunc, numpy as np, pandas as pd
from mlflow.models import Model
from mlflow.types.schema import Schema
sys.path.insert(0, ".")
import mlflow_score

class Echo:
    def predict(self, data, params=None):
        if isinstance(data, dict):
            return {name: [str(value.dtype), *value.shape, value] for name, value in data.items()}
        if isinstance(data, np.ndarray):
            return [str(data.dtype), *data.shape]
        frame = data.assign(**(params or {}))
        return frame if not params else [len(frame), *params.items()]

signatures, cases = json.load(sys.stdin)
mlflow_score.model = Echo()
answers = []
for signature, body in cases:
    mlflow_score.schema = Schema.from_json(json.dumps(signatures[signature])) if signatures[signature] else None
    try:
        answer = mlflow_score.run(body if isinstance(body, str) else json.dumps(body))
    except Exception as error:
        answer = type(error).__name__
    refused = getattr(answer, "status_code", 200)
    answers.append([refused, answer.get_json()["message"] if refused != 200 else json.loads(json.dumps(answer))])
print(json.dumps(answers))
"""

SIGNATURES = {
    "columns": [
        {"type": "double", "name": "a", "required": True},
        {"type": "long", "name": "n", "required": True},
        {"type": "string", "name": "s", "required": False},
    ],
    "tensor": [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}],
    "named": [
        {"type": "tensor", "name": "x", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}},
        {"type": "tensor", "name": "y", "tensor-spec": {"dtype": "int64", "shape": [-1]}},
    ],
    "none": None,
}

TABLE = {"columns": ["a", "n", "s"], "data": [[1, 2, "u"], [3.5, 4, "v"]]}
RECORDS = [{"a": 1.0, "n": 2, "s": "u"}, {"a": 3.5, "n": 4, "s": "v"}]

# (signature, body, status, answer or how the refusal begins)
CASES: list[tuple[str, object, int, object]] = [
    ("columns", {"input_data": TABLE}, 200, RECORDS),
    ("columns", {"input_data": {**TABLE, "index": [7, 8]}}, 200, RECORDS),
    ("columns", {"input_data": TABLE, "params": {"p": 1}}, 200, [2, ["p", 1]]),
    ("columns", {"input_data": TABLE, "params": {}}, 200, RECORDS),
    ("columns", {"input_data": {"columns": ["n"], "data": [[7]]}}, 200, [{"n": 7}]),
    ("columns", {"input_data": {"columns": ["n", "extra"], "data": [[None, 1]]}}, 200, [{"n": None, "extra": 1}]),
    ("columns", {"input_data": [[1, 2, "u"]]}, 400, MISSING + " This model takes"),
    ("columns", {"input_data": {"a": [1]}}, 400, MISSING + " This model takes"),
    ("columns", {"input_data": {**TABLE, "more": 1}}, 400, MISSING + " This model takes"),
    ("columns", {"input_data": {"columns": ["a"], "data": [[1, 2]]}}, 400, MISSING + " Its columns"),
    ("columns", {"input_data": {**TABLE, "index": [7]}}, 400, MISSING + " Its columns"),
    ("columns", {"input_data": {"columns": ["a"], "data": [["many"]]}}, 400, MISSING + " Its columns"),
    ("columns", {"data": TABLE}, 400, MISSING),
    ("columns", {"input_data": None}, 400, MISSING),
    ("columns", {}, 400, MISSING),
    ("columns", [1], 400, "POST body should be a JSON dictionary."),
    ("columns", "{", 400, "POST body could not be decoded as JSON"),
    ("columns", "", 400, "POST body is empty. Expecting a JSON dictionary."),
    ("tensor", {"input_data": [[1, 2], [3, 4]]}, 200, ["float32", 2, 2]),
    ("tensor", {"input_data": [["one", "two"]]}, 400, MISSING + " The list is not an array"),
    ("tensor", {"input_data": [[1], [2, 3]]}, 400, MISSING + " The list is not an array"),
    ("tensor", {"input_data": 7}, 400, MISSING + " This model takes a list"),
    (
        "named",
        {"input_data": {"x": [[1, 2]], "y": [3]}},
        200,
        {"x": ["float64", 1, 2, [[1.0, 2.0]]], "y": ["int64", 1, [3]]},
    ),
    ("named", {"input_data": {}}, 400, MISSING + " This model takes a list"),
    ("none", {"input_data": [[1, 2]]}, 200, ["int64", 1, 2]),
    ("none", {"input_data": {"columns": ["a"], "data": [[1]]}}, 200, [{"a": 1}]),
    ("none", {"input_data": {"x": [1.5]}}, 200, {"x": ["float64", 1, [1.5]]}),
    ("none", {"input_data": "text"}, 400, MISSING + " This model takes a list"),
]


@pytest.fixture(scope="module")
def answers(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[object]]:
    """What the script answers to every case, from one process."""
    spec = EnvironmentSpec("shared", "1", None, {"dependencies": ["python=3.11", "pip", {"pip": REQUIREMENTS}]})
    python = Environments(Settings(), cache, lambda _: None).ensure(spec, need="online")
    folder = tmp_path_factory.mktemp("script")
    shutil.copy(Path(service.__file__).with_name("mlflow_score.py"), folder / "mlflow_score.py")
    question = json.dumps([SIGNATURES, [[signature, body] for signature, body, _, _ in CASES]])
    done = subprocess.run([python, "-c", DRIVER], input=question, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{case[0]}-{json.dumps(case[1])[:50]}" for case in CASES])
def test_a_body_is_scored_or_refused_by_the_models_signature(answers: list[list[object]], number: int) -> None:
    _, _, status, expected = CASES[number]
    got_status, got = answers[number]
    if status == 200:
        assert (got_status, got) == (200, expected)
    else:
        assert got_status == 400
        assert str(got).startswith(str(expected))


def test_a_body_without_input_data_is_refused_in_azures_exact_words(answers: list[list[object]]) -> None:
    exact = [got for (_, body, _, expected), (_, got) in zip(CASES, answers, strict=True) if expected == MISSING]
    assert exact == [MISSING] * 3
