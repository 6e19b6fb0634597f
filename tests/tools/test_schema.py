"""Layer: the schema of stack files, as an editor applies it."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from tools import schema

ROOT = Path(__file__).resolve().parents[2]
STACKS = sorted(ROOT.glob("Pulumi.*.yaml"))
VALID = Draft7Validator(schema.schema())
ONLINE = "azureml-endpoints:onlineEndpoints"
BATCH = "azureml-endpoints:batchEndpoints"


def stack_file() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "Pulumi.local.yaml").read_text())


def test_the_file_and_the_project_say_what_the_models_say() -> None:
    assert list(schema.stale()) == []
    Draft7Validator.check_schema(schema.schema())


def test_a_key_that_only_one_of_them_has_is_found(tmp_path: Path) -> None:
    shutil.copy(ROOT / "stack.schema.json", tmp_path)
    declared = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
    declared["config"]["trafic"] = declared["config"].pop("protect")
    declared["config"]["security"]["description"] = "Something else."
    declared["config"]["roleAssignmentSeconds"]["default"] = 5
    (tmp_path / "Pulumi.yaml").write_text(yaml.safe_dump(declared))
    problems = list(schema.stale(tmp_path))
    for key in ("trafic is in Pulumi.yaml alone", "protect is in settings", "security.description", "Seconds.default"):
        assert any(key in problem for problem in problems), problems
    (tmp_path / "stack.schema.json").write_text("{}")
    assert any("stack.schema.json differs" in problem for problem in schema.stale(tmp_path))


@pytest.mark.parametrize("file", STACKS, ids=lambda file: file.name)
def test_every_stack_file_is_sound_and_tells_an_editor_of_the_schema(file: Path) -> None:
    found = [f"{error.json_path}: {error.message}" for error in VALID.iter_errors(yaml.safe_load(file.read_text()))]
    assert found == []
    assert file.read_text().startswith("# yaml-language-server: $schema=./stack.schema.json\n")


def test_every_key_is_described() -> None:
    known = schema.schema()
    objects = {**known["definitions"], "config": known["properties"]["config"]}
    keys = {f"{name}.{key}": value for name, each in objects.items() for key, value in each["properties"].items()}
    assert len(keys) > 100
    assert [path for path, value in keys.items() if not value.get("description")] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("config", "azureml-endpoints:trafic"), {}),
        (("config", ONLINE, "tumor-online", "trafic"), {"blue": 100}),
        (("config", ONLINE, "tumor-online", "traffic"), {"blue": 101}),
        (("config", ONLINE, "tumor-online", "authMode"), "Key"),
        (("config", ONLINE, "tumor-online", "deployments", "blue", "instanceCount"), 51),
        (("config", ONLINE, "tumor-online", "deployments", "green", "code", "skript"), "score.py"),
        (("config", BATCH, "tumor-batch", "deployments", "mlflow", "outputAction"), "Append_Row"),
        (("config", BATCH, "tumor-batch", "schedules", "nightly", "at"), 120),
        (("config", "azureml-endpoints:drainSeconds"), "soon"),
        (("encryption",), "none"),
    ],
)
def test_an_editor_marks_what_is_wrong(path: tuple[str, ...], value: Any) -> None:
    content = stack_file()
    at = content
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    assert list(VALID.iter_errors(content)), f"{'.'.join(path)}: {value}"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("azureml-endpoints:drainSeconds", "30"),
        ("azureml-endpoints:drainSeconds", "auto"),
        ("azureml-endpoints:drainSeconds", 30),
        ("azureml-endpoints:purgeOnDestroy", "true"),
        ("azure-native:subscriptionId", "10ca1a2e-0000-4000-8000-000000000001"),
        ("aws:token", {"secure": "AAABAK"}),
    ],
)
def test_what_pulumi_config_set_writes_is_sound(key: str, value: Any) -> None:
    content = copy.deepcopy(stack_file())
    content["config"][key] = value
    assert not list(VALID.iter_errors(content))
