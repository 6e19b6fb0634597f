"""Environments: real venvs built by uv from the registry, and what happens when they cannot be."""

import fcntl
import json
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from localazure.serving import EnvironmentSpec, ServingError
from localazure.serving import environments as module
from localazure.serving.environments import Environments
from localazure.settings import Settings

from .conftest import until

SERVER = "azureml-inference-server-http"


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def build(tmp_path: Path, log: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Environments]:
    """Environments in a cache of their own, with these settings.

    To see how a venv is built, none of these tests has to install a whole inference server.
    """
    monkeypatch.setattr(module, "CARRIERS", {need: (frozenset({"six"}), "") for need in ("online", "batch")})

    def make(**settings: object) -> Environments:
        return Environments(Settings.model_validate(settings), tmp_path, log.append)

    return make


def spec(*dependencies: object) -> EnvironmentSpec:
    return EnvironmentSpec("sample", "7", "an/image", {"dependencies": list(dependencies)})


def imports(python: Path, statement: str) -> str:
    return subprocess.run([python, "-c", statement], capture_output=True, text=True, check=True).stdout.strip()


def test_a_conda_file_becomes_a_venv_with_what_it_names(build: Callable[..., Environments], log: list[str]) -> None:
    python = build().ensure(spec("python=3.11", "pip", "six=1.16", {"pip": ["idna==3.7"]}), need="online")
    found = imports(python, "import six, idna, sys; print(six.__version__, idna.__version__, sys.prefix)")
    assert found == f"1.16.0 3.7 {python.parent.parent}"
    assert any("Built in" in line for line in log)


def test_the_same_content_is_built_once_whatever_it_is_called(
    build: Callable[..., Environments], log: list[str]
) -> None:
    first = build().ensure(spec("python=3.11", "six=1.16", "idna"), need="online")
    again = EnvironmentSpec("other", "1", None, {"dependencies": ["python=3.11", {"pip": ["idna", "six==1.16.*"]}]})
    assert build().ensure(again, need="batch") == first
    assert [line for line in log if "built already" in line] == [
        f"Environment other:1: the environment {first.parent.parent.name} is built already."
    ]
    assert build().ensure(spec("python=3.11", "six=1.15", "idna"), need="online") != first


def test_extra_requirements_are_part_of_the_content(build: Callable[..., Environments]) -> None:
    plain = build().ensure(spec("six"), need="online")
    assert build().ensure(spec("six"), need="online", extra=["idna"]) != plain


def test_what_a_killed_build_left_is_built_again(build: Callable[..., Environments]) -> None:
    python = build().ensure(spec("six"), need="online")
    stamp = python.parent.parent / "complete.json"
    stamp.unlink()
    (python.parent.parent / "lib" / "left-over").touch()
    assert build().ensure(spec("six"), need="online") == python
    assert stamp.is_file()
    assert not (python.parent.parent / "lib" / "left-over").exists()


def test_builders_of_the_same_wait_for_each_other(build: Callable[..., Environments], log: list[str]) -> None:
    with ThreadPoolExecutor(3) as pool:
        paths = {item.result() for item in [pool.submit(build().ensure, spec("six"), need="online") for _ in range(3)]}
    assert len(paths) == 1
    assert sum("building" in line for line in log) == 1


def test_a_killed_process_leaves_no_lock_behind(build: Callable[..., Environments], tmp_path: Path) -> None:
    key = build().ensure(spec("six"), need="online").parent.parent.name
    lock = tmp_path / "environments" / f"{key}.lock"
    holder = f"import fcntl, time; f = open({str(lock)!r}, 'a'); fcntl.flock(f, 2); print(flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        waiting = threading.Thread(target=build().ensure, args=(spec("six"),), kwargs={"need": "online"})
        waiting.start()
        time.sleep(0.3)
        assert waiting.is_alive(), "while another process builds, this one waits"
        process.kill()
        waiting.join(60)
    assert not waiting.is_alive()


def test_the_lock_of_a_killed_process_holds_until_its_uv_has_ended_too(tmp_path: Path) -> None:
    fake, lock, pid = tmp_path / "uv", tmp_path / "lock", tmp_path / "pid"
    fake.write_text(f"#!/bin/sh\necho $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 600\n")
    fake.chmod(0o755)
    builder = (
        "import fcntl, pathlib; from localazure import tools; from localazure.serving.build import run_uv;"
        f"tools.uv = lambda: pathlib.Path({str(fake)!r}); f = open({str(lock)!r}, 'a'); fcntl.flock(f, fcntl.LOCK_EX);"
        "run_uv(['pip', 'install'], cwd=pathlib.Path('/'), keep=[f.fileno()])"
    )
    with subprocess.Popen([sys.executable, "-c", builder]) as process:
        until(pid.is_file)
        process.kill()
    uv = psutil.Process(int(pid.read_text()))
    with lock.open("a") as handle:
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        uv.kill()
        fcntl.flock(handle, fcntl.LOCK_EX)


def test_a_failed_build_says_what_uv_says_and_leaves_nothing(
    build: Callable[..., Environments], tmp_path: Path
) -> None:
    with pytest.raises(ServingError) as caught:
        build().ensure(spec("six==0.0.1"), need="online")
    assert caught.value.code == "ImageBuildFailure"
    assert "six==0.0.1" in caught.value.message
    assert not [path for path in (tmp_path / "environments").iterdir() if path.is_dir()]


def test_source_distributions_are_not_built(build: Callable[..., Environments]) -> None:
    with pytest.raises(ServingError, match="no usable wheels"):
        build().ensure(spec("six", {"pip": ["fusepy==3.0.1", "docopt==0.6.2"]}), need="online")


def test_an_environment_without_a_conda_file_names_its_image(build: Callable[..., Environments]) -> None:
    with pytest.raises(ServingError, match=r"sample:7 has no conda file.*an/image"):
        build().ensure(EnvironmentSpec("sample", "7", "an/image", None), need="online")


def test_a_conda_file_that_cannot_be_read_is_a_build_failure(build: Callable[..., Environments]) -> None:
    with pytest.raises(ServingError, match=r"sample:7: pip: '-r more.txt' names a file") as caught:
        build().ensure(spec("six", {"pip": ["-r more.txt"]}), need="online")
    assert caught.value.code == "ImageBuildFailure"


@pytest.mark.parametrize(
    ("need", "word"), [("online", "no inference server; add azureml-inference-server-http"), ("batch", "azureml-core")]
)
def test_what_azures_container_would_lack_fails_before_anything_is_built(
    tmp_path: Path, log: list[str], need: module.Need, word: str
) -> None:
    with pytest.raises(ServingError, match=word) as caught:
        Environments(Settings(), tmp_path, log.append).ensure(spec("python=3.11", "numpy"), need=need)
    assert caught.value.code == "ResourceNotReady"
    assert caught.value.message.startswith("User container has crashed or terminated")
    assert not list(tmp_path.iterdir())


def test_another_python_stands_in_with_a_warning(build: Callable[..., Environments], log: list[str]) -> None:
    python = build().ensure(spec("python=3.2", "six"), need="online")
    assert imports(python, "import platform; print(platform.python_version())") == platform.python_version()
    assert any(line.startswith("WARNING") and "Python 3.2" in line for line in log)


def test_a_range_of_pythons_is_met_by_the_one_that_runs(build: Callable[..., Environments], log: list[str]) -> None:
    python = build(python_fallback=False).ensure(spec("python>=3.8,<4", "six"), need="online")
    assert imports(python, "import platform; print(platform.python_version())") == platform.python_version()
    assert not any("WARNING" in line for line in log)


def test_without_the_setting_a_missing_python_fails_and_is_named(build: Callable[..., Environments]) -> None:
    with pytest.raises(ServingError, match=r"Python 3\.2 is not on this machine") as caught:
        build(python_fallback=False).ensure(spec("python=3.2", "six"), need="online")
    assert caught.value.code == "ImageBuildFailure"


def test_a_missing_patch_release_takes_the_same_minor_one(build: Callable[..., Environments], log: list[str]) -> None:
    minor = ".".join(platform.python_version_tuple()[:2])
    python = build(python_fallback=False).ensure(spec(f"python={minor}.99", "six"), need="online")
    assert imports(python, "import platform; print(platform.python_version())").startswith(f"{minor}.")
    assert any("WARNING" in line and f"{minor}.99" in line for line in log)


def test_a_pin_without_a_wheel_is_relaxed_only_where_allowed(
    build: Callable[..., Environments], log: list[str]
) -> None:
    # Its first wheel is of a later version than this pin, for any Python that this project runs on.
    pinned = spec("six", "idna=3.7", {"pip": ["markupsafe==1.0"]})
    with pytest.raises(ServingError, match=r"markupsafe==1\.0"):
        build().ensure(pinned, need="online")
    python = build(relax_pins=True).ensure(pinned, need="online")
    found = imports(python, "import importlib.metadata as m; print(m.version('markupsafe'), m.version('idna'))").split()
    assert found[1] == "3.7", "a pin that has a wheel stays"
    assert tuple(map(int, found[0].split("."))) > (1, 0)
    assert any("WARNING" in line and f"markupsafe=={found[0]}" in line for line in log)


def test_nothing_of_the_callers_own_venv_decides_what_is_built(
    build: Callable[..., Environments], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", "/nowhere")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    assert build().ensure(spec("six"), need="online").is_file()


def mlflow_model(folder: Path, **files: str) -> Path:
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors:\n  python_function: {loader_module: mlflow.sklearn}\n  sklearn: {}\n")
    for name, text in files.items():
        (folder / name.replace("_yaml", ".yaml").replace("_txt", ".txt")).write_text(text)
    return folder


@pytest.mark.parametrize(
    "files",
    [
        {"conda_yaml": "dependencies: [python=3.11, pip, {pip: [mlflow==3.1.0, scikit-learn==1.7.2]}]"},
        {
            "python_env_yaml": "python: '3.11'\ndependencies: ['-r requirements.txt']",
            "requirements_txt": "mlflow==3.1.0\nscikit-learn==1.7.2\n",
        },
        {"python_env_yaml": "python: '3.11'\ndependencies: [mlflow==3.1.0, scikit-learn==1.7.2]"},
    ],
)
def test_an_mlflow_model_says_what_it_needs_in_any_of_its_files(tmp_path: Path, files: dict[str, str]) -> None:
    model = mlflow_model(tmp_path / "model", **files)
    wanted = module._mlflow_recipe(model)
    assert (wanted.python, wanted.requirements) == ("3.11", ("mlflow==3.1.0", "scikit-learn==1.7.2"))
    slim = module.replace(wanted, requirements=tuple(map(module._slim, wanted.requirements)))
    online = module._completed(slim, model, "online")
    assert "pyarrow" in module._completed(slim, model, "batch").names, "batch reads parquet files"
    assert online.requirements == ("mlflow-skinny==3.1.0", "scikit-learn==1.7.2", "pandas", "numpy", "skops", SERVER)
    assert SERVER not in module._completed(slim, model, "batch").names


@pytest.mark.parametrize(
    ("signature", "wanted"),
    [
        ({}, True),
        ({"signature": {"inputs": '[{"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1]}}]'}}, True),
        ({"signature": {"inputs": '[{"type": "double", "name": "x", "required": true}]'}}, False),
    ],
)
def test_a_batch_of_images_brings_what_reads_them(tmp_path: Path, signature: dict[str, Any], wanted: bool) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "MLmodel").write_text(json.dumps({"flavors": {"python_function": {}}, **signature}))
    recipe = module.Recipe(("numpy",))
    assert ("pillow" in module._completed(recipe, model, "batch").names) == wanted
    assert "pillow" not in module._completed(recipe, model, "online").names


def test_an_mlflow_model_without_requirements_is_a_build_failure(
    build: Callable[..., Environments], tmp_path: Path
) -> None:
    with pytest.raises(ServingError, match=r"no conda\.yaml, python_env\.yaml or requirements\.txt") as caught:
        build().ensure_mlflow(mlflow_model(tmp_path / "model"), need="online")
    assert caught.value.code == "ImageBuildFailure"


def test_azureml_defaults_brings_the_inference_server_and_the_log_says_what_is_left_out(
    tmp_path: Path, log: list[str]
) -> None:
    python = Environments(Settings(), tmp_path, log.append).ensure(
        spec("python=3.11", {"pip": ["azureml-defaults"]}), need="online"
    )
    assert imports(python, "import azureml_inference_server_http; print('there')") == "there"
    [said] = [line for line in log if "fusepy" in line]
    assert said.startswith("Environment sample:7: Left out: fusepy (wanted by azureml_")
