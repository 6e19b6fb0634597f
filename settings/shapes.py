"""Findings on one value: of the wrong type, missing, or under a key that nobody knows."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

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
    kind: Any = Settings
    for part in parents:
        kind = _below(kind, part)
    model = next(each for each in _members(kind) if _is_model(each))
    return list(_fields(model))


def _below(kind: Any, part: object) -> Any:
    """What is at a key: a field of a model; or, whatever its name, an entry of a mapping or of a list."""
    inner = next(each for each in _members(kind) if _is_model(each) or get_origin(each) in (dict, list, tuple))
    if _is_model(inner):
        return _fields(inner)[part]
    return get_args(inner)[1 if get_origin(inner) is dict else 0]


def _members(kind: Any) -> Iterator[Any]:
    """The members of a union, or the kind itself."""
    if get_origin(kind) is Annotated:
        yield from _members(get_args(kind)[0])
    elif get_origin(kind) in (Union, UnionType):
        for each in get_args(kind):
            yield from _members(each)
    else:
        yield kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _fields(model: type[BaseModel]) -> dict[Any, Any]:
    """What each key of a model may hold."""
    return {field.alias or to_camel(name): field.annotation for name, field in model.model_fields.items()}


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
