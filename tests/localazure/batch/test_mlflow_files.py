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
