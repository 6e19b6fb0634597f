"""The cheapest deployment there is: it costs a process of the inference server, and no model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FOLDER = "scoring/trivial"
FILES = {
    "score.py": (
        "import os\n\n\ndef init():\n    pass\n\n\ndef run(raw_data):\n    return os.environ.get('ANSWER', 'nothing')\n"
    ),
    "conda.yaml": (
        "name: trivial\nchannels: [conda-forge]\n"
        "dependencies: [python=3.11, pip, {pip: [azureml-inference-server-http==1.5.1]}]\n"
    ),
    "model.txt": "There is nothing to predict.\n",
}
IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04"


def write(clone: Path) -> None:
    """Puts its files into a clone."""
    folder = clone / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in FILES.items():
        (folder / name).write_text(text)


def deployment(answer: str) -> dict[str, Any]:
    """Its part of the stack configuration; it answers every request with `answer`."""
    return {
        # One model for all: each deployment's own name would be registered once more.
        "model": {"path": f"{FOLDER}/model.txt", "type": "custom_model", "name": "trivial"},
        "code": {"path": FOLDER, "script": "score.py"},
        "environment": {"image": IMAGE, "condaFile": f"{FOLDER}/conda.yaml"},
        "instanceType": "Standard_DS2_v2",
        "instanceCount": 1,
        "environmentVariables": {"ANSWER": answer},
    }
