"""The families of assets: what their versions hold, what of it is fixed, and how a change of it is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from localazure.arm import body as read
from localazure.arm.errors import invalid, not_emulated, user_error
from localazure.providers.ml.names import WORKSPACE_TYPE

Json = dict[str, Any]

MODEL_TYPES = ("custom_model", "mlflow_model", "triton_model")
_DEEPEST = 100
DATA_TYPES = ("uri_file", "uri_folder", "mltable")


# What a version that exists answers to a change; `{what}` is the property, `{old}` and `{new}` its values.
PATHS = "Asset paths cannot be updated."
ENVIRONMENT = "Environment {name} with version {version} is already registered and cannot be changed."
FIXED = "{asset} {name}:{version} is registered with '{what}' {old}, which cannot become {new}: register a new version."


@dataclass(frozen=True)
class Asset:
    """A family of versioned assets.

    Attributes:
        collection: `models`, `environments`, `codes`, `data` or `components`.
        word: the singular that error codes use.
        compose: the type's own properties of a version, from what was sent; raises ArmError.
        frozen: properties that a version keeps for ever, and how a change of each is refused.
        common: properties beside description, tags and the like that versions of this type have.
        put: statuses of a PUT for a new version and for one that exists.
        labelled: whether a version's own properties say which labels it has.
        hashed: whether versions are looked up by the hash of their content.
        uploads: whether the service hands out a place to upload to.
        filters: the filters that its list of versions takes in the query.
        simplified: how its versions fall short of Azure's; empty where they do not.
    """

    collection: str
    word: str
    compose: Callable[[Json], Json]
    frozen: Mapping[str, str]
    common: tuple[str, ...] = ()
    put: tuple[int, int] = (201, 200)
    labelled: bool = False
    hashed: bool = False
    uploads: bool = False
    filters: tuple[str, ...] = ()
    simplified: str = ""

    @property
    def type(self) -> str:
        return f"{WORKSPACE_TYPE}/{self.collection}"

    @property
    def version_type(self) -> str:
        return f"{self.type}/versions"

    def refuse_change(self, name: str, version: str, before: Json, after: Json) -> None:
        """Raises ArmError (409) where a version that exists would no longer be what it was registered as."""
        for what, message in self.frozen.items():
            old, new = before.get(what) or None, after.get(what) or None
            if old != new:
                told = {"what": f"properties.{what}", "old": json.dumps(old)[:80], "new": json.dumps(new)[:80]}
                raise user_error(409, message.format(asset=self.word, name=name, version=version, **told))


# Versions of the API show more with time: recorded for 2022-05-01, 2023-04-01(-preview) and 2023-08-01-preview.
_API = re.compile(r"(\d{4})-\d{2}-\d{2}(-preview)?")
_SINCE_2023 = ("provisioningState", "stage", "autoRebuild")
_PREVIEW = ("autoDeleteSetting", "intellectualProperty")
LABELS = "azureml.labels"


def shown(document: Json, api_version: str) -> Json:
    """A document without what the asked version of the API does not know; unknown ones are taken for the latest."""
    found = _API.fullmatch(api_version)
    old, preview = found is not None and found[1] < "2023", found is not None and bool(found[2])
    hidden = (_SINCE_2023 if old else ()) + (() if preview and not old else _PREVIEW)
    properties = {name: value for name, value in document["properties"].items() if name not in hidden}
    if old and LABELS in properties["properties"]:
        properties["properties"] = {name: each for name, each in properties["properties"].items() if name != LABELS}
    return {**document, "properties": properties}


# What each family's versions hold -------------------------------------------------------------------------------------


def _model(sent: Json) -> Json:
    uri = _uri(sent, "modelUri")
    return {
        "modelUri": uri.replace("/resourcegroups/", "/resourceGroups/"),
        "modelType": read.choice(sent, "modelType", MODEL_TYPES, "custom_model", "properties"),
        "flavors": _flavors(sent),
        "jobName": read.text(sent, "jobName", "properties"),
        "autoDeleteSetting": read.mapping(sent, "autoDeleteSetting", "properties") or None,
        "intellectualProperty": None,
        "datasets": read.sequence(sent, "datasets", "properties"),
    }


def _uri(sent: Json, name: str) -> str:
    uri = read.text(sent, name, "properties", required=True) or ""
    if not uri:
        raise invalid(f"'properties.{name}' is empty; it must say where the content lies.", "ValidationError")
    if uri.lower().startswith("azureml://registries/"):
        raise not_emulated(f"registries, which 'properties.{name}' ('{uri}') points into")
    return uri


def _flavors(sent: Json) -> Json:
    found = read.mapping(sent, "flavors", "properties")
    where = "properties.flavors"
    flavors = {name: read.mapping(found, name, where) for name in found}
    return {name: {"data": read.strings(each, "data", f"{where}.{name}")} for name, each in flavors.items()}


def flavors_of(mlmodel: str) -> Json:
    """The flavors that an MLflow model's `MLmodel` file names, in the form of the service: strings throughout.

    Raises:
        ValueError: it is no such file.
    """
    parsed = _parsed(mlmodel)
    flavors = parsed.get("flavors") if isinstance(parsed, dict) else None
    if not isinstance(flavors, dict):
        raise ValueError("it names no flavors")
    return {str(name): {"data": _texts(each) if isinstance(each, dict) else {}} for name, each in flavors.items()}


def _parsed(text: str) -> Any:
    """What a YAML text says. Raises ValueError where it is none."""
    depth = 0
    for letter in text:
        # Thousands of brackets take the parser seconds, and it gives up all the same.
        depth = max(depth + (letter in "[{") - (letter in "]}"), 0)
        if depth > _DEEPEST:
            raise ValueError(f"it is nested deeper than {_DEEPEST} levels")
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"it is not YAML: {error}") from None


def _texts(values: Mapping[Any, Any]) -> dict[str, str]:
    return {
        str(name): value if isinstance(value, str) else json.dumps(value, default=str)
        for name, value in values.items()
        if value is not None
    }


def _environment(sent: Json) -> Json:
    image = read.text(sent, "image", "properties")
    build = _build(sent)
    conda = read.text(sent, "condaFile", "properties")
    if not image and not build:
        raise invalid(
            "'properties.image' or 'properties.build' is required: an environment stands on one of them.",
            "ValidationError",
        )
    if build and (image or conda):
        other = "image" if image else "condaFile"
        raise invalid(
            f"'properties.build' and 'properties.{other}' exclude each other: the image is what the Dockerfile makes.",
            "ValidationError",
        )
    inference = read.mapping(sent, "inferenceConfig", "properties")
    own = {
        "condaFile": _as_json(conda) if conda else "",
        "osType": read.choice(sent, "osType", ("Linux", "Windows"), "Linux", "properties"),
        "autoRebuild": read.choice(sent, "autoRebuild", ("Disabled", "OnBaseImageUpdate"), "Disabled", "properties"),
        "environmentType": "UserCreated",
        "autoDeleteSetting": read.mapping(sent, "autoDeleteSetting", "properties") or None,
        "intellectualProperty": None,
    }
    # Recorded: what an environment does not have is absent, not null.
    present = {"image": image, "build": build, "inferenceConfig": inference}
    return own | {name: value for name, value in present.items() if value}


def _build(sent: Json) -> Json:
    build = read.mapping(sent, "build", "properties")
    if not build:
        return {}
    where = "properties.build"
    context = read.text(build, "contextUri", where, required=True)
    return {"contextUri": context, "dockerfilePath": read.text(build, "dockerfilePath", where) or "Dockerfile"}


def _as_json(conda: str) -> str:
    """A conda file comes back as JSON text, indented by two, as the live service answers it."""
    try:
        parsed = _parsed(conda)
    except ValueError as error:
        raise user_error(400, f"'properties.condaFile' cannot be read: {error}.") from None
    try:
        text = json.dumps(parsed, indent=2, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise user_error(400, f"'properties.condaFile' holds what JSON cannot say: {error}.") from None
    if not isinstance(parsed, dict):
        raise user_error(400, "'properties.condaFile' must be a conda environment: a mapping with 'dependencies'.")
    return text


def _code(sent: Json) -> Json:
    # Recorded: what was sent as anonymous comes back as not.
    return {"codeUri": _uri(sent, "codeUri"), "isAnonymous": False}


def _data(sent: Json) -> Json:
    kind = data_type(sent)
    own: Json = {"dataUri": _uri(sent, "dataUri"), "dataType": kind, "intellectualProperty": None}
    own["autoDeleteSetting"] = read.mapping(sent, "autoDeleteSetting", "properties") or None
    if kind == "mltable":
        own["referencedUris"] = read.sequence(sent, "referencedUris", "properties")
    return own


def data_type(sent: Json) -> str:
    """What kind of data it is. Raises ArmError (400)."""
    kind = read.choice(sent, "dataType", DATA_TYPES, None, "properties")
    if kind is None:
        raise invalid(f"'properties.dataType' is required: one of {', '.join(DATA_TYPES)}.", "ValidationError")
    return kind


def _component(sent: Json) -> Json:
    return {"componentSpec": read.mapping(sent, "componentSpec", "properties", required=True)}


MODELS = Asset(
    "models",
    "Model",
    _model,
    {"modelUri": PATHS, "modelType": FIXED, "isAnonymous": FIXED},
    common=("provisioningState", "stage"),
    filters=("version", "description", "tags", "properties", "stage", "feed"),
)
ENVIRONMENTS = Asset(
    "environments",
    "Environment",
    _environment,
    dict.fromkeys(
        ("image", "condaFile", "build", "osType", "autoRebuild", "inferenceConfig", "isAnonymous"), ENVIRONMENT
    ),
    common=("provisioningState", "stage"),
    put=(201, 201),
    labelled=True,
)
CODES = Asset("codes", "Code", _code, {"codeUri": PATHS}, common=("provisioningState",), hashed=True, uploads=True)
DATA = Asset(
    "data", "Data", _data, {"dataUri": PATHS, "dataType": FIXED, "isAnonymous": FIXED}, filters=("$tags", "tags")
)
COMPONENTS = Asset(
    "components",
    "Component",
    _component,
    {"componentSpec": FIXED, "isAnonymous": FIXED},
    common=("provisioningState", "stage"),
    simplified="the specification is kept as it is sent",
)
