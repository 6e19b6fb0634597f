"""Layer: the stack configuration; what the files must say that it names."""

from pathlib import Path
from typing import Any

import pytest

from localazure.serving.environments import CARRIERS as LOCAL_CARRIERS
from settings import SettingsError, parse
from settings.file_rules import CARRIERS
from tests.samples import write_files

IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04"
CURATED = "mcr.microsoft.com/azureml/curated/sklearn-1.5:latest"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_files(tmp_path)
    return tmp_path


def custom(kind: str, **environment: Any) -> dict[str, Any]:
    deployment = {
        "model": {"path": "models/model.pkl"},
        "code": {"path": "code", "script": "score.py"},
        "environment": environment or {"image": IMAGE, "condaFile": "code/conda.yaml"},
    }
    if kind == "online":
        return stack(
            onlineEndpoints={"tumor": {"deployments": {"blue": deployment | {"instanceType": "Standard_DS3_v2"}}}}
        )
    return stack(
        batchEndpoints={"tumor": {"deployments": {"blue": deployment | {"compute": "azureml:cluster"}}}},
    )


def stack(**endpoints: Any) -> dict[str, Any]:
    return {"azure-native:location": "eastus", "nameSuffix": "", "workspace": {"name": "aml-test"}, **endpoints}


def findings(raw: dict[str, Any], root: Path) -> list[str]:
    try:
        parse(raw, root)
    except SettingsError as error:
        return error.findings
    return []


def told(kind: str, script: str, root: Path) -> list[str]:
    (root / "code/score.py").write_text(script)
    return findings(custom(kind), root)


@pytest.mark.parametrize(
    ("kind", "script", "expected"),
    [
        ("online", "def init(: ...", "is not Python: "),
        ("online", "def init(): ...\ndef run(d): return (", "(line 2); correct the script."),
        ("online", "def init(): ...\n\0", "is not Python"),
        ("online", "def run(d): ...", "defines no init(), which Azure calls; define it"),
        ("online", "def init(): ...", "defines no run(raw_data), which Azure calls"),
        (
            "batch",
            "def init(): ...\ndef Run(d): ...",
            'no run(mini_batch), which Azure calls; did you mean it by "Run"?',
        ),
        ("batch", "def init(): ...\nclass Model:\n    def run(self, d): ...", "defines no run(mini_batch)"),
        ("online", "def init(path): ...\ndef run(d): ...", 'init() of "score.py" (line 1) asks for path'),
        ("batch", "def init(*, path): ...\ndef run(d): ...", "asks for path, but Azure calls it with nothing"),
        ("online", "def init(): ...\ndef run(): ...", "(line 2) takes no argument"),
        ("batch", "def init(): ...\ndef run(*, files): ...", "takes no argument, but Azure gives it one"),
        ("online", "def init(): ...\ndef run(request_headers): ...", "takes no argument"),
        (
            "online",
            "def init(): ...\ndef run(a, b): ...",
            "asks for b too, which Azure does not give: write def run(raw_data)",
        ),
        ("batch", "def init(): ...\ndef run(a, *, b): ...", "asks for b too"),
        ("online", "def init(): ...\ndef run(*args): ...", "*args or **kwargs, which Azure's server refuses"),
        ("online", "def init(): ...\ndef run(d, **more): ...", "*args or **kwargs"),
        ("online", "def init(): ...\ndef run(d, /): ...", "positional-only"),
        ("online", "def init(): ...\nasync def run(d): ...", "is async, but Azure does not wait"),
        ("batch", "def init(): ...\nasync def run(d): ...", "write def run(mini_batch)"),
    ],
)
def test_a_script_that_azure_could_not_call_is_refused(kind: str, script: str, expected: str, root: Path) -> None:
    (finding,) = told(kind, script, root)
    assert "deployments.blue.code.script: " in finding
    assert expected in finding
    assert "score.py" in finding


@pytest.mark.parametrize(
    "script",
    [
        "from shared import init, run",
        "import shared as init\nfrom shared import score as run",
        "from shared import *",
        "init = run = lambda *data: data",
        "init: object = print\n(run := print)",
        "class init: ...\nclass run: ...",
        "try:\n    from fast import init, run\nexcept ImportError:\n    def init(): ...\n    def run(a, b): ...",
        "import sys\nif sys.platform == 'linux':\n    def init(): ...\n    def run(d): ...",
        "def init():\n    global run\n    run = print",
        "globals().update(init=print, run=print)",
        "def __getattr__(name): return print",
        "import sys, shared\nsys.modules[__name__] = shared",
        "with open('x') as init:\n    run = init",
        "for init, run in [(print, print)]: ...",
        "@decorated\ndef init(a, b): ...\n@input_schema('a', 1)\n@input_schema('b', 2)\ndef run(a, b): ...",
        "def init(a=1, *b, c=2, **d): ...\ndef run(d, more=1, *, other=2): ...",
        "async def init(): ...\ndef run(raw_data, request_headers): ...",
        "def init(): ...\ndef run(*, raw_data): ...",
        "def init(): ...\ndef run(request_headers, data): ...",
        "# -*- coding: latin-1 -*-\ndef init(): ...\ndef run(d): return '\xe9'",
        "\ufeffdef init(): ...\ndef run(d): return '\\d'",
    ],
)
def test_a_script_that_azure_may_be_able_to_call_is_taken(script: str, root: Path) -> None:
    encoding = "latin-1" if "latin-1" in script else "utf-8"
    (root / "code/score.py").write_bytes(script.encode(encoding))
    assert findings(custom("online"), root) == []


@pytest.mark.parametrize("run", ["*args", "files, **more", "files, /", "files=None", "*files"])
def test_a_batch_script_gets_its_files_by_position(run: str, root: Path) -> None:
    assert told("batch", f"def init(): ...\ndef run({run}): ...", root) == []


def test_syntax_that_only_a_newer_python_knows_is_its_own_affair(root: Path) -> None:
    (root / "code/conda.yaml").write_text("dependencies: [python=3.99, azureml-defaults]\n")
    assert told("online", "def init(): ???", root) == []
    (root / "code/score.py").write_text("def init(): ???")
    assert findings(custom("online", reference="azureml:mine:1"), root) == [], "nobody here knows its Python"
    (root / "code/conda.yaml").write_text("dependencies: [python>=3.8, azureml-defaults]\n")
    assert len(findings(custom("online"), root)) == 1


@pytest.mark.parametrize(
    ("kind", "conda", "expected"),
    [
        ("online", "a: [", "is not YAML: "),
        ("online", "[a]", "is not a mapping with dependencies; correct the file."),
        ("online", "", "is not a mapping"),
        ("online", "name: a", "has no list of dependencies; add it."),
        ("online", "dependencies: scikit-learn", "has no list of dependencies"),
        ("online", "dependencies: [{pip: [numpy]}]", "has no inference server; add azureml-inference-server-http (or"),
        ("online", "dependencies: [azureml-core]", "has no inference server"),
        (
            "batch",
            "dependencies: [pandas]",
            "lacks what a batch job runs by; add azureml-core (or azureml-defaults) to",
        ),
        ("batch", "dependencies: [{pip: ['azureml-dataset-runtime[fuse]']}]", "lacks what a batch job runs by"),
    ],
)
def test_a_conda_file_that_azure_could_not_serve_by_is_refused(
    kind: str, conda: str, expected: str, root: Path
) -> None:
    (root / "code/conda.yaml").write_text(conda)
    (finding,) = findings(custom(kind), root)
    assert 'deployments.blue.environment.condaFile: "code/conda.yaml" ' in finding
    assert expected in finding


@pytest.mark.parametrize(
    ("kind", "conda"),
    [
        ("online", "dependencies: [{pip: ['azureml-inference-server-http==1.5.1']}]"),
        ("online", "dependencies: [conda-forge::azureml_defaults>=1.50]"),
        ("online", "dependencies: [{pip: ['-r requirements.txt']}]"),
        ("online", "dependencies: [{pip: ['git+https://example.com/ours.git']}]"),
        ("batch", "dependencies: [{pip: ['azureml-core~=1.60', 'azureml-dataset-runtime[fuse]']}]"),
        ("batch", "dependencies: [{pip: [azureml-train-automl-runtime]}]"),
    ],
)
def test_a_conda_file_that_may_bring_what_azure_needs_is_taken(kind: str, conda: str, root: Path) -> None:
    (root / "code/conda.yaml").write_text(conda)
    assert findings(custom(kind), root) == []


def test_an_image_of_ones_own_or_a_curated_one_may_bring_it_itself(root: Path) -> None:
    (root / "code/conda.yaml").write_text("dependencies: [numpy]")
    for image in (CURATED, "registry.example.com/ours:3", "mcr.microsoft.com/azureml/minimal-ubuntu22.04-inference"):
        assert findings(custom("online", image=image, condaFile="code/conda.yaml"), root) == []
        assert findings(custom("online", image=image), root) == []
    (finding,) = findings(custom("batch", image=IMAGE), root)
    assert "environment.condaFile: is missing" in finding
    assert "azureml-core" in finding


def test_what_is_asked_of_a_conda_file_is_what_local_azure_asks() -> None:
    assert {kind: set(names) for kind, (names, _) in LOCAL_CARRIERS.items()} == CARRIERS


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", 'MLmodel in "models/mlflow" is not YAML: '),
        ("x", 'MLmodel in "models/mlflow" names no flavors; name the folder that mlflow saved.'),
        ("flavors: {}", "names no flavors"),
        ("flavors: {crate: {}}", "has no flavor python_function (there is: crate), by which Azure serves it"),
    ],
)
def test_an_mlflow_model_that_azure_could_not_serve_is_refused(content: str, expected: str, root: Path) -> None:
    (root / "models/mlflow/MLmodel").write_text(content)
    model = {"path": "models/mlflow", "type": "mlflow_model"}
    deployment = {"model": model, "compute": "azureml:cluster"}
    (finding,) = findings(stack(batchEndpoints={"tumor": {"deployments": {"blue": deployment}}}), root)
    assert "deployments.blue.model.path: " in finding
    assert expected in finding


def test_a_script_outside_of_the_folder_that_is_uploaded_is_refused(root: Path) -> None:
    raw = custom("online")
    raw["onlineEndpoints"]["tumor"]["deployments"]["blue"]["code"]["script"] = "../score.py"
    (root / "score.py").write_text("def init(): ...\ndef run(d): ...")
    (finding,) = findings(raw, root)
    assert 'code.script: "../score.py" is outside of "code"' in finding


def test_what_cannot_be_read_or_is_empty_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = custom("batch")
    raw["batchEndpoints"]["tumor"]["deployments"]["blue"]["model"]["path"] = "empty"
    (root / "empty").mkdir()
    (finding,) = findings(raw, root)
    assert 'model.path: the folder "empty" is empty' in finding
    # Whoever runs the tests may be root, who reads everything.
    monkeypatch.setattr("os.access", lambda path, _mode: Path(path).name != "model.pkl")
    (finding,) = findings(custom("batch"), root)
    assert 'model.path: the file or folder "models/model.pkl" cannot be read; correct its permissions.' in finding
