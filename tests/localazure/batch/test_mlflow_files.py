"""The kinds of files that an MLflow model without a script is given, with small models of their signatures."""

import csv
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from localazure.batch import BatchSpec
from tests.localazure.batch.support import JobRunner, Log, Rows

# What each model answers is computed from the type, the shape and the content of what it was given.
SAVE = """
import sys, numpy as np, pandas as pd, mlflow.pyfunc
from mlflow.models.signature import ModelSignature
from mlflow.types.schema import ColSpec, Schema, TensorSpec

class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return answer(model_input)

def answer(given):
    ANSWER

signature = SIGNATURE
inputs = Schema(signature) if signature else None
mlflow.pyfunc.save_model(
    sys.argv[1], python_model=Model(), signature=ModelSignature(inputs=inputs) if signature else None,
    pip_requirements=["numpy"])
"""
IMAGES = """
import sys, numpy as np
from PIL import Image
pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
for name in ("a.png", "b.bmp", "c.tiff"):
    Image.fromarray(pixels).save(sys.argv[1] + "/" + name)
Image.fromarray(pixels).save(sys.argv[1] + "/d.JPG", "JPEG")
Image.fromarray(pixels).save(sys.argv[1] + "/e.jpeg", quality=100)
Image.fromarray(pixels).save(sys.argv[1] + "/f.gif")
Image.fromarray(pixels[:, :, 0]).save(sys.argv[1] + "/grey.png")
"""
NAMES = ["a.png", "b.bmp", "c.tiff", "d.JPG", "e.jpeg", "f.gif"]
SHAPE = "return [str((given.dtype.name, *given.shape))]"

Model = Callable[[str, str], BatchSpec]


@pytest.fixture
def model(spec: BatchSpec, sample_interpreter: Path, tmp_path: Path) -> Model:
    """Saves a model of a signature that answers by some lines of Python; gives the job that scores with it."""
    folder = tmp_path / "models" / "model"
    (tmp_path / "input").mkdir()

    def save(signature: str, answer: str) -> BatchSpec:
        text = SAVE.replace("SIGNATURE", signature).replace("ANSWER", answer)
        subprocess.run([sample_interpreter, "-c", text, folder], check=True, timeout=120, capture_output=True)
        subprocess.run([sample_interpreter, "-c", IMAGES, tmp_path / "input"], check=True, timeout=120)
        own = {"model_dir": folder.parent, "mlflow_path": folder, "code_dir": None, "script": None}
        return replace(spec, python=sample_interpreter, mini_batch_size=2, **own)

    return save


@pytest.mark.parametrize(
    ("signature", "type_", "shape", "grey"),
    [
        ("[TensorSpec(np.dtype('float32'), (-1, -1, -1, 3))]", "float32", (1, 4, 6, 3), None),
        ("[TensorSpec(np.dtype('uint8'), (-1, 2, 12, 3))]", "uint8", (1, 2, 12, 3), None),
        ("None", "uint8", (4, 6, 3), (4, 6)),
    ],
)
def test_an_image_is_an_array_in_the_shape_and_type_of_the_signature(
    model: Model,
    job: JobRunner,
    rows: Rows,
    signature: str,
    type_: str,
    shape: tuple[int, ...],
    grey: tuple[int, ...] | None,
) -> None:
    result = JobRunner(model(signature, SHAPE), job.home).run()
    assert result.succeeded, result.message
    expected = [[str((type_, *shape)), name] for name in NAMES]
    if grey:
        expected.append([str((type_, *grey)), "grey.png"])
    else:
        assert "grey.png: " in result.message, "it has too few numbers for three channels"
    assert sorted(csv.reader(rows())) == sorted(expected), "one row for each file, without a row number"


def test_a_prediction_of_many_numbers_is_one_row(model: Model, job: JobRunner, rows: Rows) -> None:
    spec = model("[TensorSpec(np.dtype('uint8'), (-1, -1, -1, 3))]", "return given[:, 0, :2, 0] / 2")
    assert JobRunner(spec, job.home).run().succeeded
    found = {file: prediction for prediction, file in csv.reader(rows())}
    assert found["a.png"] == found["b.bmp"] == "[0.0, 1.5]"


def test_each_output_of_an_image_is_a_column(model: Model, job: JobRunner, rows: Rows) -> None:
    answer = "return {'width': np.array([given.shape[2]]), 'corner': given[:, 0, 0]}"
    spec = model("[TensorSpec(np.dtype('uint8'), (-1, -1, -1, 3))]", answer)
    assert JobRunner(spec, job.home).run().succeeded
    assert ["6", "[0, 1, 2]", "a.png"] in list(csv.reader(rows()))


def test_predictions_are_those_of_the_model_however_it_calls_them(
    model: Model, job: JobRunner, rows: Rows, tmp_path: Path
) -> None:
    doubled = "given['x'].to_numpy() * 2"
    answers = [
        f"{{'doubled': {doubled}}}",
        f"pd.DataFrame({{'row': {doubled}}})",
        f"pd.DataFrame({{'file': {doubled}}})",
    ]
    spec = model("[ColSpec('double', 'x')]", f"return [{', '.join(answers)}][int(given['x'][0])]")
    for number in range(3):
        (tmp_path / "input" / f"{number}.csv").write_text(f"x\n{number}\n7\n")
    assert JobRunner(spec, job.home).run().succeeded
    assert rows() == ["0,0.0,0.csv", "0,2.0,1.csv", "0,4.0,2.csv", "1,14.0,0.csv", "1,14.0,1.csv", "1,14.0,2.csv"]


def test_an_answer_that_is_not_one_prediction_a_row_fails_the_file(
    model: Model, job: JobRunner, tmp_path: Path
) -> None:
    wrong = {
        "'fine'": "the model answered one str",
        "{'a': {'b': [1, 2]}}": "the model answered one dict",
        "[1]": "the model answered 1 predictions for 2 rows",
        "{'a': [1, 2], 'b': [1]}": "All arrays must be of the same length",
    }
    spec = model("[ColSpec('double', 'x')]", f"return [{', '.join(wrong)}, [1, 2]][int(given['x'][0])]")
    for number in range(5):
        (tmp_path / "input" / f"{number}.csv").write_text(f"x\n{number}\n7\n")
    result = JobRunner(spec, job.home).run()
    assert (tmp_path / "output" / "predictions.csv").read_text() == "0,1,4.csv\n1,2,4.csv\n"
    for number, reason in enumerate(wrong.values()):
        assert f"{number}.csv: {reason}" in result.message


def test_tables_and_images_are_told_apart_by_the_signature(
    model: Model, job: JobRunner, log: Log, tmp_path: Path
) -> None:
    spec = model("[ColSpec('double', 'x')]", "return given['x'] * 2")
    for place, text in (("rows.csv", "x\n1\n2\n"), ("notes.txt", "?"), ("rows.avro", "?")):
        (tmp_path / "input" / place).write_text(text)
    result = JobRunner(spec, job.home).run()
    assert result.succeeded, result.message
    assert (result.total, result.failed) == (10, 9)
    assert (tmp_path / "output" / "predictions.csv").read_text() == "0,2.0,rows.csv\n1,4.0,rows.csv\n"
    assert "a.png: the model's signature is of columns" in result.message
    assert "notes.txt: File type 'txt' is not supported; supported are .csv, .parquet, .pqt, .png" in result.message
    assert "File type 'avro' is not supported" in log("logs/user/stdout/*/*.txt")
