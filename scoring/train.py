# /// script
# requires-python = "==3.11.*"
# dependencies = [
#     "cloudpickle==3.1.2",
#     "joblib==1.5.2",
#     "mlflow-skinny==3.17.2",
#     "numpy==2.3.5",
#     "pandas==2.3.3",
#     "scikit-learn==1.7.2",
#     "scipy==1.16.3",
# ]
# ///
"""Train the sample models and write the sample requests. Run it with `uv run scoring/train.py`.

The data are the 569 tumours of scikit-learn's breast-cancer set, 30 measurements each. A fifth is held out; the sample
requests and the batch CSV files are made from it, so no sample was seen in training. Two models that cannot be mistaken
for each other are written below `models/`: `mlflow/` answers the name of the class, `custom/model.pkl` answers numbers.

Running it again with the versions above writes the same bytes: an asset's version is a hash of its content, and a
deployment whose model changed is a new deployment.
"""

import json
import re
import shutil
import warnings
from pathlib import Path

import joblib
import mlflow.sklearn
import pandas as pd
from mlflow.models import Model, infer_signature
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).parent
SEED = 20
BATCH_FILES = 6

# The environment that Azure builds for a model without code comes from the model itself.
MODEL_REQUIREMENTS = [
    "cloudpickle==3.1.2",
    "mlflow-skinny==3.17.2",
    "numpy==2.3.5",
    "pandas==2.3.3",
    "scikit-learn==1.7.2",
    "scipy==1.16.3",
]
MODEL_ENVIRONMENT = {
    "name": "tumor-mlflow",
    "channels": ["conda-forge"],
    "dependencies": ["python=3.11", "pip", {"pip": MODEL_REQUIREMENTS}],
}


def load_rows() -> tuple[pd.DataFrame, pd.DataFrame, pd.Series, pd.Series]:
    """Return training rows, held-out rows and the classes of each ("benign" or "malignant")."""
    data = load_breast_cancer(as_frame=True)
    classes = data.target.map(dict(enumerate(data.target_names)))
    return train_test_split(data.data, classes, test_size=0.2, random_state=SEED, stratify=classes)


def train_linear(rows: pd.DataFrame, classes: pd.Series) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(rows, classes.to_numpy())


def train_forest(rows: pd.DataFrame, classes: pd.Series) -> RandomForestClassifier:
    # A bare array: the script that loads this model gets lists of numbers, without names.
    forest = RandomForestClassifier(n_estimators=40, max_depth=5, random_state=SEED)
    return forest.fit(rows.to_numpy(), (classes == "malignant").astype(int).to_numpy())


def write_mlflow_model(pipeline: Pipeline, rows: pd.DataFrame, folder: Path) -> None:
    """Save the model with signature and input example, its changing ids replaced by constants."""
    ignore = (folder / ".amlignore").read_bytes()
    shutil.rmtree(folder)
    mlflow.sklearn.save_model(
        pipeline,
        folder,
        conda_env=MODEL_ENVIRONMENT,
        serialization_format="cloudpickle",  # MLflow's default, skops, writes memory addresses into the file
        signature=infer_signature(rows, pd.Series(pipeline.predict(rows), name="class")),
        input_example=rows.head(2),
        mlflow_model=Model(utc_time_created="2026-01-01 00:00:00.000000", model_uuid="7a3f" + "0" * 28),
    )
    (folder / ".amlignore").write_bytes(ignore)


def forget_patch_version(folder: Path) -> None:
    """Replace the full version of the Python that trained by its minor version, which is all that the model needs."""
    for name, key in (("python_env.yaml", "python"), ("MLmodel", "python_version")):
        path = folder / name
        text = re.sub(rf"(?m)^( *{key}): (\d+\.\d+)\.\d+$", r"\1: '\2'", path.read_text(encoding="utf-8"))
        path.write_text(text, encoding="utf-8")


def write_json(path: Path, body: object) -> None:
    path.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")


def write_requests(rows: pd.DataFrame, folder: Path) -> None:
    """Write one request for both models, one in MLflow's full form and one in the custom script's own form."""
    table = rows.to_dict(orient="split")
    table["index"] = list(range(len(rows)))
    write_json(folder / "request-mlflow.json", {"input_data": table})
    write_json(folder / "request-custom.json", {"data": table["data"]})
    write_json(folder / "request.json", {"input_data": {"columns": table["columns"], "data": table["data"]}})


def write_batch(rows: pd.DataFrame, folder: Path) -> None:
    """Write the rows as `BATCH_FILES` CSV files."""
    folder.mkdir(parents=True, exist_ok=True)
    size = -(-len(rows) // BATCH_FILES)
    for number in range(BATCH_FILES):
        part = rows.iloc[number * size : (number + 1) * size]
        part.to_csv(folder / f"tumors-{number + 1}.csv", index=False, lineterminator="\n")


def main() -> None:
    warnings.filterwarnings("ignore", message="Inferred schema contains integer")
    train, held_out, classes, expected = load_rows()
    linear, forest = train_linear(train, classes), train_forest(train, classes)

    write_mlflow_model(linear, train, HERE / "models" / "mlflow")
    forget_patch_version(HERE / "models" / "mlflow")
    joblib.dump(forest, HERE / "models" / "custom" / "model.pkl", compress=3)
    write_requests(held_out.head(3), HERE / "samples")
    write_batch(held_out, HERE / "samples" / "batch")

    print(f"linear model, held-out accuracy: {linear.score(held_out, expected):.3f}")
    print(f"forest, held-out accuracy: {forest.score(held_out.to_numpy(), expected == 'malignant'):.3f}")


if __name__ == "__main__":
    main()
