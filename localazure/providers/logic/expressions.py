"""The few expressions of the workflow definition language that are understood; any other is refused when saved.

Source: https://learn.microsoft.com/azure/logic-apps/workflow-definition-language-functions-reference
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from localazure.arm.errors import not_emulated
from localazure.providers.logic.names import stamp

KNOWN = "parameters('name'), utcNow(), utcNow('yyyy-MM-dd'), guid() and workflow().run.name"

_WHOLE = re.compile(r"@(?![@{])(.*)", re.DOTALL)
_PART = re.compile(r"@@|@\{([^}]*)\}")
_PARAMETER = re.compile(r"parameters\('([^']+)'\)", re.IGNORECASE)
_NOW = re.compile(r"utcNow\((?:'([^']*)')?\)", re.IGNORECASE)
_GUID = re.compile(r"guid\(\)", re.IGNORECASE)
_RUN = re.compile(r"workflow\(\)\??(\.|\['?)run('?\])?\??(\.|\['?)name('?\])?", re.IGNORECASE)
# .NET's custom format: what a letter stands for; other letters mean something that is not understood.
_FORMATS = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S", "T": "T", "Z": "Z"}
_FORMAT = re.compile("|".join([*_FORMATS, "[-_/:. ]"]))


@dataclass(frozen=True)
class Scope:
    """What expressions can see of a run."""

    parameters: Mapping[str, Any]
    run: str
    now: datetime


def expressions(value: Any) -> Iterator[str]:
    """Every expression in a value, at any depth."""
    if isinstance(value, str):
        if whole := _WHOLE.fullmatch(value):
            yield whole[1].strip()
        else:
            yield from (found[1].strip() for found in _PART.finditer(value) if found[1] is not None)
    elif isinstance(value, dict):
        for each in value.values():
            yield from expressions(each)
    elif isinstance(value, list):
        for each in value:
            yield from expressions(each)


def parameter_of(expression: str) -> str | None:
    """The name of the parameter that an expression is; None for another one. Raises ArmError (501) for an unknown one.

    Checks the expression as it is going to be evaluated.
    """
    if found := _PARAMETER.fullmatch(expression):
        return found[1]
    found = _NOW.fullmatch(expression)
    if (found and _is_format(found[1])) or _GUID.fullmatch(expression) or _RUN.fullmatch(expression):
        return None
    raise not_emulated(f"the expression '@{expression[:80]}' of a workflow; of expressions it knows {KNOWN}")


def _is_format(text: str | None) -> bool:
    return text is None or (bool(text) and not _FORMAT.sub("", text))


def evaluated(value: Any, scope: Scope) -> Any:
    """A value with its expressions replaced by what they give; they were checked by `parameter_of`."""
    if isinstance(value, str):
        if whole := _WHOLE.fullmatch(value):
            return _value(whole[1].strip(), scope)
        return _PART.sub(lambda found: "@" if found[1] is None else _text(_value(found[1].strip(), scope)), value)
    if isinstance(value, dict):
        return {name: evaluated(each, scope) for name, each in value.items()}
    if isinstance(value, list):
        return [evaluated(each, scope) for each in value]
    return value


def _value(expression: str, scope: Scope) -> Any:
    makers: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Any]], ...] = (
        (_PARAMETER, lambda found: scope.parameters[found[1]]),
        (_NOW, lambda found: _moment(scope.now, found[1])),
        (_GUID, lambda _: str(uuid.uuid4())),
        (_RUN, lambda _: scope.run),
    )
    return next(make(found) for pattern, make in makers if (found := pattern.fullmatch(expression)))


def _moment(now: datetime, form: str | None) -> str:
    return (
        stamp(now) if form is None else now.strftime(_FORMAT.sub(lambda found: _FORMATS.get(found[0], found[0]), form))
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
