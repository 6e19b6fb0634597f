"""The scoring script of MLflow deployments without code: answers as the one in Azure's MLflow image does.

It runs in the deployment's environment, under azureml-inference-server-http. The body is
`{"input_data": …, "params": …}`: `columns` and `data` (`index` is optional) for a model with a column signature; lists
and named tensors for one with a tensor signature or none.
See https://learn.microsoft.com/azure/machine-learning/how-to-deploy-mlflow-models-online-endpoints.
"""

# pyright: reportMissingImports=false

import datetime
import json
import os
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
from azureml_inference_server_http.api.aml_response import AMLResponse

MISSING = "A value is not provided for the 'input_data' parameter."


class InputRefused(ValueError):
    """The body is not one that this model takes."""


def init():
    """Load the model that the deployment names."""
    global model, schema
    folder = Path(os.environ["AZUREML_MODEL_DIR"], os.environ["MLFLOW_MODEL_FOLDER"])
    model = mlflow.pyfunc.load_model(str(folder))
    schema = model.metadata.get_input_schema()


def run(raw_data):
    """Score one request; a body that does not fit is the caller's mistake, 400."""
    try:
        body = parse(raw_data)
        frame = model_input(body["input_data"])
    except InputRefused as refusal:
        return AMLResponse({"message": str(refusal)}, 400, json_str=True)
    # Before MLflow 2.6 `predict` knew no params.
    options = {"params": body["params"]} if body.get("params") else {}
    return jsonable(model.predict(frame, **options))


def parse(raw_data):
    """The body as a dictionary that has `input_data`."""
    try:
        body = json.loads(raw_data)
    except ValueError as error:
        if not raw_data:
            raise InputRefused("POST body is empty. Expecting a JSON dictionary.") from None
        raise InputRefused(f"POST body could not be decoded as JSON: {error}") from None
    if not isinstance(body, dict):
        raise InputRefused("POST body should be a JSON dictionary.")
    if body.get("input_data") is None:
        raise InputRefused(MISSING)
    return body


def model_input(data):
    """What the model's predict takes: a data frame, an array, or arrays by name."""
    if schema is not None and not schema.is_tensor_spec():
        return frame_of(data)
    if isinstance(data, list):
        return tensor_of(data, None)
    if isinstance(data, dict) and {"columns", "data"} <= data.keys():
        return frame_of(data)
    if isinstance(data, dict) and data:
        return {name: tensor_of(values, name) for name, values in data.items()}
    raise InputRefused(f"{MISSING} This model takes a list, or lists by input name.")


def frame_of(data):
    """A data frame from `columns`, `data` and perhaps `index`, with the signature's types."""
    if not isinstance(data, dict) or not {"columns", "data"} <= data.keys() <= {"columns", "data", "index"}:
        raise InputRefused(f'{MISSING} This model takes {{"columns": [...], "index": [...], "data": [...]}}.')
    try:
        frame = pd.DataFrame(data["data"], index=data.get("index"), columns=data["columns"])
        return typed(frame)
    except (ValueError, TypeError) as error:
        raise InputRefused(f"{MISSING} Its columns, index and data do not fit together: {error}") from None


def typed(frame):
    """JSON has one kind of number; the signature says which the model was trained with."""
    if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
        return frame
    wanted = dict(zip(schema.input_names(), schema.pandas_types(), strict=True))
    for name in frame.columns:
        # Only numbers and truth values: MLflow sees to the others, and a missing value has no whole number.
        if name in wanted and np.dtype(wanted[name]).kind in "biuf" and not frame[name].isna().any():
            frame[name] = frame[name].astype(wanted[name])
    return frame


def tensor_of(values, name):
    """An array with the type that the signature gives it."""
    try:
        return np.asarray(values, dtype=tensor_type(name))
    except (ValueError, TypeError) as error:
        raise InputRefused(f"{MISSING} {name or 'The list'} is not an array of its type: {error}") from None


def tensor_type(name):
    """The type of one input; None lets numpy choose."""
    if schema is None:
        return None
    inputs = schema.inputs
    return next((item.type for item in inputs if name is None or item.name == name), None)


def jsonable(result):
    """Plain lists, numbers and strings. NaN stays NaN, as in Azure's answers."""
    if isinstance(result, pd.DataFrame):
        return [jsonable(record) for record in result.to_dict(orient="records")]
    if isinstance(result, pd.Series | np.ndarray):
        return jsonable(result.tolist())
    if isinstance(result, dict):
        return {str(key): jsonable(value) for key, value in result.items()}
    if isinstance(result, list | tuple):
        return [jsonable(value) for value in result]
    if isinstance(result, np.generic):
        return jsonable(result.item())
    return result.isoformat() if isinstance(result, datetime.date | datetime.time) else result
