"""Findings on one value: of the wrong type, missing, or under a key that nobody knows."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from settings.models import Settings

HIDDEN = "a value that is not shown"
_VARIABLES = "environmentVariables"


def key_path(*parts: object) -> str:
    return ".".join(str(part) for part in parts)


def shape_finding(problem: Mapping[str, Any]) -> str:
    *parents, key = location = problem["loc"]
    path = key_path(*location)
    if problem["type"] == "missing":
        return f"{path}: is missing; add it."
    if problem["type"] == "extra_forbidden":
        return f"{path}: is not a known key{_near(str(key), _allowed(parents))}"
    message = problem["msg"][:1].lower() + problem["msg"][1:]
    shown = HIDDEN if _VARIABLES in location else _shown(problem["input"])
    return f"{path}: {message}, but received {shown}; {_way_out(problem)}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that somebody may have meant: the same but for case, hyphens and underscores, or much like it."""
    by_form = {_form(each): each for each in known}
    close = difflib.get_close_matches(_form(name), by_form, n=1)
    return by_form[close[0]] if close else None


def _form(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).lower()


def _way_out(problem: Mapping[str, Any]) -> str:
    value = problem["input"]
    if problem["type"] == "string_type" and isinstance(value, int | float):
        return "put it in quotes."
    expected = re.findall(r"'([^']+)'", problem["msg"])
    close = nearest(value, expected) if isinstance(value, str) else None
    return f'did you mean "{close}"?' if close else "correct the value."


def _shown(value: object) -> str:
    text = json.dumps(_without_variables(value), default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _without_variables(value: Any) -> Any:
    """A value without those of environment variables, which may be secrets."""
    if isinstance(value, Mapping):
        return {key: HIDDEN if key == _VARIABLES else _without_variables(each) for key, each in value.items()}
    return [_without_variables(each) for each in value] if isinstance(value, list) else value


def _near(key: str, allowed: list[str]) -> str:
    close = nearest(key, allowed)
    return f'; did you mean "{close}"?' if close else f"; remove it, or use one of {', '.join(allowed)}."


def _allowed(parents: list[object]) -> list[str]:
    """The keys that the settings at a path know: follows the path through the models."""
    model: Any = Settings
    for part in parents:
        field = (
            next((f for n, f in model.model_fields.items() if (f.alias or to_camel(n)) == part), None)
            if model
            else None
        )
        # The name of an endpoint, deployment or cluster leads to no other model.
        model = _model_of(field.annotation) if field else model
    return [field.alias or to_camel(name) for name, field in model.model_fields.items()]


def _model_of(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = [_model_of(argument) for argument in getattr(annotation, "__args__", ())]
    return next((model for model in inner if model), None)


def prune(rest: Any, problems: list[Any]) -> bool:
    """Takes out what is not sound, so that the rules can be checked on the rest. Says whether that is possible."""
    for problem in problems:
        path = list(problem["loc"])
        if problem["type"] == "missing":
            path.pop()
        # What is left of a list would say something else: it goes with the object that it is in.
        if (at := next((at for at, key in enumerate(path) if isinstance(key, int)), None)) is not None:
            path = path[: at - 1]
        if not path:
            return False
        _remove(rest, path)
    return True


def _remove(rest: Any, path: list[Any]) -> None:
    for key in path[:-1]:
        rest = rest.get(key) if isinstance(rest, dict) else None
    if isinstance(rest, dict):
        rest.pop(path[-1], None)
