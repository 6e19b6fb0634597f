"""`stack.schema.json`: what a stack file may say, for editors that complete and check it.

`python -m tools.schema write` makes it from the models of `settings/`, `check` says whether it is out of date, and
whether `Pulumi.yaml` declares the same keys.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from settings.models import AUTO, Settings

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "stack.schema.json"
COMMAND = "python -m tools.schema write"
PROJECT = "azureml-endpoints"
# As pydantic names a bound that it cannot place, for it checks after a function of ours.
BOUNDS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
TYPES = {"string": "string", "integer": "integer", "boolean": "boolean"}

Json = dict[str, Any]


def schema() -> Json:
    """The JSON schema of a whole `Pulumi.<stack>.yaml`, of draft 7, which editors know best."""
    settings = _tidy(Settings.model_json_schema(by_alias=True, ref_template="#/definitions/{model}"))
    location = settings["properties"].pop("azure-native:location")
    ours = {f"{PROJECT}:{key}": _at_the_top(value) for key, value in settings["properties"].items()}
    config = {
        "type": "object",
        "description": "The configuration of the stack. Keys of other namespaces belong to Pulumi's providers.",
        "properties": {"azure-native:location": location, **ours},
        "patternProperties": {rf"^(?!{PROJECT}:)[^:]+:.+$": {}},
        "additionalProperties": False,
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Stack configuration of azureml-endpoints",
        "type": "object",
        "properties": {"config": config, **_of_pulumi()},
        "additionalProperties": False,
        "definitions": settings["$defs"],
    }


def _of_pulumi() -> Json:
    """What Pulumi itself keeps in a stack file: https://www.pulumi.com/docs/iac/concepts/projects/stack-settings-file/."""
    texts = {
        "encryptionsalt": "Of the passphrase that the stack's secrets are encrypted with.",
        "encryptedkey": "The key that the stack's secrets are encrypted with, encrypted by the secrets provider.",
        "secretsprovider": "What encrypts the stack's secrets.",
    }
    environment = {"description": "Environments of Pulumi ESC.", "type": ["array", "object"]}
    return {key: {"type": "string", "description": text} for key, text in texts.items()} | {"environment": environment}


def _at_the_top(value: Json) -> Json:
    """`pulumi config set` writes every value as text, unless it is told a path."""
    kinds = {value.get("type"), *(each.get("type") for each in value.get("anyOf", ()))}
    texts = {"boolean": {"enum": ["true", "false"]}, "integer": {"type": "string", "pattern": "^[0-9]+$"}}
    more = [text for kind, text in texts.items() if kind in kinds]
    if not more:
        return value
    about = {key: value[key] for key in ("description", "default") if key in value}
    bare = {key: each for key, each in value.items() if key not in about}
    return about | {"anyOf": [*bare.pop("anyOf", [bare]), *more]}


def _tidy(node: Any, *, names: bool = False) -> Any:
    """Without pydantic's titles, with bounds and texts as a reader of the stack file knows them."""
    if isinstance(node, list):
        return [_tidy(each) for each in node]
    if not isinstance(node, dict):
        return node
    if names:
        return {key: _tidy(value) for key, value in node.items()}
    tidy = {
        BOUNDS.get(key, key): value if key == "default" else _tidy(value, names=key in ("properties", "$defs"))
        for key, value in node.items()
        if key != "title" and (key, value) != ("default", None)
    }
    if isinstance(text := tidy.get("description"), str):
        tidy["description"] = _spelt(text)
    # In draft 7 nothing beside a reference counts.
    return {"allOf": [{"$ref": tidy.pop("$ref")}], **tidy} if "$ref" in tidy and len(tidy) > 1 else tidy


def _spelt(text: str) -> str:
    """Paragraphs on one line each, and the models' fields as the configuration spells them."""
    flowing = re.sub(r"(?<!\n)\n(?!\n)", " ", cleandoc(text))
    fields = _fields(Settings)
    return re.sub(r"`([a-z]+(?:_[a-z]+)+)`", lambda found: f"`{fields.get(found[1], found[1])}`", flowing)


def _fields(model: type[BaseModel]) -> dict[str, str]:
    """The names of all fields below a model, with their names in the configuration."""
    found = {name: field.alias or to_camel(name) for name, field in model.model_fields.items()}
    for field in model.model_fields.values():
        for inner in _models(field.annotation):
            found |= _fields(inner)
    return found


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models(argument)


def text() -> str:
    """The file's content."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def stale(root: Path = ROOT) -> Iterator[str]:
    """What is out of date: the schema, or what `Pulumi.yaml` says of a key."""
    file = root / FILE.name
    if not file.is_file() or file.read_text(encoding="utf-8") != text():
        yield f"{FILE.name} differs from the models of settings/: run `{COMMAND}`"
    declared = yaml.safe_load((root / "Pulumi.yaml").read_text(encoding="utf-8"))["config"]
    fields = {field.alias or to_camel(name): field for name, field in Settings.model_fields.items()}
    fields = {key: field for key, field in fields.items() if ":" not in key}
    for key in sorted(declared.keys() ^ fields.keys()):
        yield f"Pulumi.yaml: {key} is in {'Pulumi.yaml' if key in declared else 'settings/models.py'} alone"
    for key in declared.keys() & fields.keys():
        yield from _differences(key, declared[key], fields[key])


def _differences(key: str, declared: Json, field: Any) -> Iterator[str]:
    if declared.get("description") != field.description:
        yield f"Pulumi.yaml: config.{key}.description is not that of settings/models.py: {field.description}"
    if "default" not in declared:
        return
    default = declared["default"]
    if default != AUTO and Settings.model_validate({key: default}) != Settings.model_validate(
        {} if default != "" else {key: ""}
    ):
        yield f"Pulumi.yaml: config.{key}.default is {default!r}, and without the key settings/models.py has another"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("write", "check"))
    if parser.parse_args(arguments).action == "write":
        FILE.write_text(text(), encoding="utf-8")
        return 0
    problems = list(stale())
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
