"""Online scoring script: answers each row's probability of being malignant.

It takes `{"data": [[...]]}`, and the body of MLflow deployments, `{"input_data": {"columns": [...], "data": [[...]]}}`,
because an endpoint that splits its traffic between the two sends both the same requests.
"""

import json
import logging
import os

import joblib


def init():
    """Load the model once, when the container starts."""
    global model
    # AZUREML_MODEL_DIR is the folder of the registered model; a model that is a single file lies directly in it.
    model_path = os.path.join(os.getenv("AZUREML_MODEL_DIR"), "model.pkl")
    model = joblib.load(model_path)
    logging.info("Init complete")


def rows(body):
    """Return the measurements, one list of 30 numbers for each tumour."""
    if "data" in body:
        return body["data"]
    return body["input_data"]["data"]


def run(raw_data):
    """Score one request."""
    probabilities = model.predict_proba(rows(json.loads(raw_data)))
    return probabilities[:, 1].round(4).tolist()
