"""Parts of a stack configuration that tests of several layers share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

DATA_COLLECTOR: dict[str, Any] = {
    "samplingRate": 0.5,
    "rollingRate": "day",
    "requestLogging": {"captureHeaders": ["x-trace"]},
    "collections": {
        "model_inputs": {"data": "azureml:inputs:2", "clientId": "10ca1a2e-0000-4000-8000-0000000000cc"},
        "model_outputs": {"enabled": False, "samplingRate": 1},
    },
}

PROJECT_FILES = {
    "models/mlflow/MLmodel": "flavors: {python_function: {loader_module: mlflow.sklearn}, sklearn: {}}\n",
    "models/model.pkl": "a model\n",
    # A script that both kinds of deployments can be served by, and the packages that both need.
    "code/score.py": "def init(): ...\ndef run(data): return data\n",
    "code/conda.yaml": "dependencies: [python=3.11, {pip: [azureml-inference-server-http, azureml-core]}]\n",
}


def write_files(folder: Path, files: Mapping[str, str] = PROJECT_FILES) -> None:
    """Writes files into a folder, by default those that a configuration of these tests names."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
