"""Parts of a stack configuration that tests of several layers share."""

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
