"""The scoring script of MLflow models that come without one; runs in a worker process, in the model's environment.

Follows "Deploy MLflow models in batch deployments" of Azure Machine Learning's documentation: files are read by their
extension, columns take the types of the model's signature, `predict` is called once per file, and each row of the
output is `row,prediction,file` without a header. A file that cannot be scored is logged and counts as one failure.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd

logger = logging.getLogger("azureml")

READERS = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".pqt": pd.read_parquet}


class Rows(list):
    """Lines for the output file, and the files that gave none with the reason."""

    def __init__(self, lines: list[str], failures: dict[str, str]) -> None:
        super().__init__(lines)
        self.failures = failures


def init() -> None:
    """Load the model that the job names."""
    global model, types
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--mlflow_model", required=True)
    arguments, _ = parser.parse_known_args()
    model = mlflow.pyfunc.load_model(arguments.mlflow_model)
    types = column_types(model.metadata.get_input_schema())
    if types is None:
        logger.warning("The model has no column signature: the types of the columns are not enforced.")


def column_types(schema: Any) -> dict[str, Any] | None:
    """Column name to pandas type, or None when the signature says nothing about columns."""
    if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
        return None
    return dict(zip(schema.input_names(), schema.pandas_types(), strict=True))


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
    data = enforce(read(path))
    answer = predictions(model.predict(data)) if len(data) else pd.DataFrame()
    answer.insert(0, "row", range(len(answer)))
    answer["file"] = Path(path).name
    return answer.to_csv(header=False, index=False, lineterminator="\n").splitlines()


def read(path: str) -> pd.DataFrame:
    extension = Path(path).suffix.lower()
    if extension not in READERS:
        raise ValueError(f"File type '{extension.lstrip('.')}' is not supported")
    return READERS[extension](path)


def enforce(data: pd.DataFrame) -> pd.DataFrame:
    """Give the columns the types of the signature, which is what makes a bad file fail here and not in the model."""
    known = {name: kind for name, kind in (types or {}).items() if name in data.columns}
    return data.astype(known)


def predictions(answer: Any) -> pd.DataFrame:
    """One row per prediction: a column `prediction`, or the model's own columns when it answers several."""
    if isinstance(answer, pd.DataFrame):
        return answer.reset_index(drop=True)
    return pd.DataFrame({"prediction": pd.Series(list(answer), dtype=object)})
