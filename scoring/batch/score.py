"""Batch scoring script: predicts every row of every CSV file and says which file each prediction belongs to."""

import os

import mlflow
import pandas as pd


def init():
    """Load the model once in each worker process."""
    global model
    # A model that is a folder keeps its name below AZUREML_MODEL_DIR: scoring/models/mlflow was registered as `mlflow`.
    model_path = os.path.join(os.environ["AZUREML_MODEL_DIR"], "mlflow")
    model = mlflow.pyfunc.load_model(model_path)


def run(mini_batch):
    """Score one mini-batch, a list of file paths. The columns' names are not written to the output file."""
    results = []
    for file_path in mini_batch:
        data = pd.read_csv(file_path)
        results.append(pd.DataFrame({"prediction": model.predict(data), "file": os.path.basename(file_path)}))
    return pd.concat(results)
