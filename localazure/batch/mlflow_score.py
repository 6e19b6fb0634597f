"""The scoring script of MLflow models that come without one; runs in a worker process, in the model's environment.

Follows "Deploy MLflow models in batch deployments" of Azure Machine Learning's documentation: files are read by their
extension, columns take the types of the model's signature, images the shape of its tensor, and `predict` is called
once per file. The output has no header: each row of a table is `row,prediction,file`, each image `prediction,file`.
A file that cannot be scored is logged and counts as one failure.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd

logger = logging.getLogger("azureml")

TABLES = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".pqt": pd.read_parquet}
IMAGES = (".png", ".jpg", ".jpeg", ".tiff", ".bmp", ".gif")
SUPPORTED = ", ".join((*TABLES, *IMAGES))


class Rows(list):
    """Lines for the output file, and the files that gave none with the reason."""

    def __init__(self, lines: list[str], failures: dict[str, str]) -> None:
        super().__init__(lines)
        self.failures = failures


def init() -> None:
    """Load the model that the job names."""
    global model, types, tensors
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--mlflow_model", required=True)
    arguments, _ = parser.parse_known_args()
    model = mlflow.pyfunc.load_model(arguments.mlflow_model)
    schema = model.metadata.get_input_schema()
    types, tensors = column_types(schema), tensor_types(schema)
    if types is None:
        logger.warning("The model has no column signature: the types of the columns are not enforced.")


def column_types(schema: Any) -> dict[str, Any] | None:
    """Column name to pandas type, or None when the signature says nothing about columns."""
    if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
        return None
    return dict(zip(schema.input_names(), schema.pandas_types(), strict=True))


def tensor_types(schema: Any) -> list[tuple[Any, tuple[int, ...], str | None]] | None:
    """Type, shape and name of each tensor, or None when the signature is not of tensors."""
    if schema is None or not schema.is_tensor_spec():
        return None
    return [(np.dtype(each.type), tuple(each.shape), each.name) for each in schema.inputs]


def run(mini_batch: list[str]) -> Rows:
    """Score one file after the other."""
    lines: list[str] = []
    failures: dict[str, str] = {}
    for path in mini_batch:
        try:
            lines += score_file(path)
        except Exception as error:
            logger.error("Error processing input file: '%s'. %s", path, error)
            failures[path] = str(error)
    return Rows(lines, failures)


def score_file(path: str) -> list[str]:
    """The output lines of one file."""
    extension = Path(path).suffix.lower()
    if extension in IMAGES:
        answer = image_prediction(model.predict(image(path)))
    elif extension in TABLES:
        data = enforce(TABLES[extension](path))
        answer = table_predictions(data) if len(data) else pd.DataFrame()
        # The model's own columns may be called so, too: the output has no header.
        answer.insert(0, "row", range(len(answer)), allow_duplicates=True)
    else:
        raise ValueError(f"File type '{extension.lstrip('.')}' is not supported; supported are {SUPPORTED}")
    answer.insert(len(answer.columns), "file", Path(path).name, allow_duplicates=True)
    return answer.to_csv(header=False, index=False, lineterminator="\n").splitlines()


def enforce(data: pd.DataFrame) -> pd.DataFrame:
    """Give the columns the types of the signature, which is what makes a bad file fail here and not in the model."""
    known = {name: kind for name, kind in (types or {}).items() if name in data.columns}
    return data.astype(known)


def table_predictions(data: pd.DataFrame) -> pd.DataFrame:
    """What the model answers for a table; a ValueError unless it is one prediction for each row."""
    answer = predictions(model.predict(data))
    if len(answer) != len(data):
        raise ValueError(f"the model answered {len(answer)} predictions for {len(data)} rows; it must be one for each")
    return answer


def predictions(answer: Any) -> pd.DataFrame:
    """One row per prediction: a column `prediction`, or the model's own columns when it answers several."""
    if isinstance(answer, pd.DataFrame):
        return answer.reset_index(drop=True)
    columns = answer if isinstance(answer, Mapping) else {"prediction": answer}
    return pd.DataFrame({name: elements(each) for name, each in columns.items()}, dtype=object)


def elements(answer: Any) -> list[Any]:
    """The predictions of one output. A text has only letters, and a mapping only names, which no model means."""
    if isinstance(answer, (str, bytes, Mapping)):
        kind = type(answer).__name__
        raise ValueError(f"the model answered one {kind}; it must be a list, an array or a table, with all rows")
    return [plain(each) for each in answer]


def plain(value: Any) -> Any:
    """An array as a list, which takes one line and is whole; anything else as the model said it."""
    return value.tolist() if isinstance(value, np.ndarray) and value.ndim else value


# Images ---------------------------------------------------------------------------------------------------------------


def image(path: str) -> Any:
    """An image as the model takes it: height × width × channels, or what its signature says."""
    if types is not None:
        raise ValueError("the model's signature is of columns; to score images it must be of a tensor (TensorSpec)")
    pixels = np.asarray(picture(path), dtype=np.uint8)
    if tensors is None:
        return pixels
    if len(tensors) != 1:
        raise ValueError(f"the model's signature has {len(tensors)} tensors; an image is one")
    kind, shape, name = tensors[0]
    fitted = fit(pixels, shape).astype(kind)
    return {name: fitted} if name else fitted


def picture(path: str) -> Any:
    """The first frame of an image, with colours where it has a palette."""
    try:
        from PIL import Image
    except ImportError:
        raise ValueError("images are read with Pillow; add it to the model's requirements") from None
    with Image.open(path) as found:
        frame = found.convert("RGB") if found.mode in ("P", "CMYK", "YCbCr", "1") else found
        frame.load()
        return frame


def fit(pixels: Any, shape: tuple[int, ...]) -> Any:
    """An image in the shape of the signature, whose first dimension counts images."""
    if sum(size < 0 for size in shape) <= 1:
        return pixels.reshape(shape)
    # Several open dimensions leave height and width to the image.
    whole = pixels if pixels.ndim == len(shape) - 1 else pixels[..., np.newaxis]
    fitted = whole[np.newaxis]
    if len(shape) != fitted.ndim or any(0 <= want != have for want, have in zip(shape, fitted.shape, strict=False)):
        raise ValueError(f"an image of shape {pixels.shape} does not fit into the signature's {shape}")
    return fitted


def image_prediction(answer: Any) -> pd.DataFrame:
    """One row for the file: what the model answers for its one image."""
    if isinstance(answer, pd.DataFrame) and len(answer) == 1:
        return answer.reset_index(drop=True)
    if isinstance(answer, pd.DataFrame):
        answer = answer.to_dict("records")
    columns = answer if isinstance(answer, Mapping) and answer else {"prediction": answer}
    return pd.DataFrame({name: pd.Series([plain(only(each))], dtype=object) for name, each in columns.items()})


def only(answer: Any) -> Any:
    """The element of an answer that has one; any other as it is."""
    if isinstance(answer, (list, tuple, pd.Series)) or (isinstance(answer, np.ndarray) and answer.ndim):
        return next(iter(answer)) if len(answer) == 1 else answer
    return answer
