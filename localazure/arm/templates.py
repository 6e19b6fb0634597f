"""ARM templates: parameters, variables and `[expressions]`, evaluated to the resources that a template deploys.

The functions that Azure's own clients and Bicep use most are here; another one is refused by its name
(learn.microsoft.com/azure/azure-resource-manager/templates/template-functions).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from localazure.arm.errors import ArmError, invalid, not_emulated

_TOKEN = re.compile(r"\s*(?:'((?:[^']|'')*)'|(-?\d+)|([A-Za-z_][\w-]*)|([()\[\],.]))")
# ARM's own limits are 24,576 characters an expression and 4 MB a template; these keep evaluation from running away.
_LARGEST = 1_000_000
_DEEPEST = 50
_GUIDS = uuid.UUID("11fb06fb-712d-4ddd-98c7-e71bbd588830")
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "securestring": (str,),
    "int": (int,),
    "bool": (bool,),
    "object": (dict,),
    "secureobject": (dict,),
    "array": (list,),
}


@dataclass(frozen=True)
class Place:
    """Where a template is deployed.

    Attributes:
        subscription: its id.
        tenant: the subscription's tenant.
        group: id, name and location of the resource group.
        deployment: the deployment's name.
        reference: the document of a resource, by id.
    """

    subscription: str
    tenant: str
    group: Mapping[str, Any]
    deployment: str
    reference: Callable[[str], dict[str, Any]]


class Scope:
    """Evaluates what a template says, at the place where it is deployed."""

    def __init__(self, template: Mapping[str, Any], given: Mapping[str, Any], place: Place) -> None:
        """Raises ArmError (400 `InvalidTemplate`) for a parameter that is missing, unknown or of another type."""
        self._template = template
        self._place = place
        self._variables: dict[str, Any] = {}
        self._under_way: list[str] = []
        self._parameters = self._read_parameters(given)

    def value(self, raw: Any) -> Any:
        """A part of the template with its expressions evaluated."""
        if isinstance(raw, dict):
            return {self.value(name): self.value(each) for name, each in raw.items()}
        if isinstance(raw, list):
            return [self.value(each) for each in raw]
        if not isinstance(raw, str) or not (raw.startswith("[") and raw.endswith("]")):
            return raw
        return raw[1:] if raw.startswith("[[") else _Reader(raw[1:-1], self.call).whole()

    def parameters(self) -> dict[str, dict[str, Any]]:
        """The parameters in force, as a deployment shows them: secure ones without their value."""
        declared = _object(self._template, "parameters")
        shown: dict[str, dict[str, Any]] = {}
        for name, value in self._parameters.items():
            kind = str(declared[name].get("type"))
            shown[name] = {"type": kind} if kind.lower().startswith("secure") else {"type": kind, "value": value}
        return shown

    def _read_parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        declared = _object(self._template, "parameters")
        by_name = {name.lower(): name for name in declared}
        unknown = [name for name in given if name.lower() not in by_name]
        if unknown:
            raise _wrong(
                f"The following parameters were supplied, but do not correspond to any parameters defined in the "
                f"template: '{', '.join(unknown)}'. The parameters defined in the template are: "
                f"'{', '.join(declared)}'."
            )
        self._parameters: dict[str, Any] = {}
        sent = {by_name[name.lower()]: value for name, value in given.items()}
        for name, definition in declared.items():
            self._parameters[name] = self._read_parameter(name, definition, sent)
        return self._parameters

    def _read_parameter(self, name: str, definition: Any, sent: Mapping[str, Any]) -> Any:
        kind = str(definition.get("type", "")).lower() if isinstance(definition, dict) else ""
        if kind not in _TYPES:
            raise _wrong(f"The template parameter '{name}' has no type that there is: '{kind}'.")
        if name in sent:
            if not isinstance(sent[name], dict) or "value" not in sent[name]:
                raise _wrong(f"The value for the template parameter '{name}' is not provided.")
            value = sent[name]["value"]
        elif "defaultValue" in definition:
            value = self.value(definition["defaultValue"])
        else:
            raise _wrong(f"The value for the template parameter '{name}' is not provided.")
        if value is not None and not (isinstance(value, _TYPES[kind]) and (kind == "bool") == isinstance(value, bool)):
            raise _wrong(f"Template parameter '{name}' is of type {type(value).__name__}; '{kind}' was expected.")
        allowed = definition.get("allowedValues")
        if value is not None and isinstance(allowed, list) and value not in allowed:
            raise _wrong(
                f"The provided value '{value}' for the template parameter '{name}' is not valid. The value is not part "
                f"of the allowed value(s): '{','.join(map(str, allowed))}'."
            )
        return value

    # Functions -----------------------------------------------------------------------------------------------

    def call(self, name: str, arguments: list[Callable[[], Any]]) -> Any:
        """A function; its arguments are evaluated when it asks for them."""
        folded = name.lower()
        if folded == "if":
            _count(name, arguments, 3)
            return arguments[1]() if arguments[0]() is True else arguments[2]()
        if folded in ("and", "or"):
            test = all if folded == "and" else any
            return test(each() is True for each in arguments)
        values = [each() for each in arguments]
        own: dict[str, Callable[..., Any]] = {
            "parameters": self._parameter,
            "variables": self._variable,
            "subscription": self._subscription,
            "resourcegroup": lambda: dict(self._place.group),
            "deployment": lambda: {"name": self._place.deployment},
            "resourceid": self._resource_id,
            "subscriptionresourceid": lambda kind, *names: _compose_id(
                f"/subscriptions/{self._place.subscription}", kind, names
            ),
            "reference": self._reference,
        }
        function = own.get(folded) or _FUNCTIONS.get(folded)
        if function is None:
            raise not_emulated(f"the template function '{name}'")
        try:
            value = function(*values)
            if isinstance(value, str | list | dict) and len(value) > _LARGEST:
                raise ValueError(f"its value is larger than {_LARGEST}")
            return value
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, RecursionError) as error:
            raise _wrong(f"The template function '{name}' does not take what it is given: {error}.") from None

    def _parameter(self, name: str) -> Any:
        by_name = {each.lower(): each for each in self._parameters}
        if name.lower() not in by_name:
            raise _wrong(f"The template parameter '{name}' is not found.")
        return self._parameters[by_name[name.lower()]]

    def _variable(self, name: str) -> Any:
        found = {each.lower(): value for each, value in _object(self._template, "variables").items()}
        if name.lower() in self._variables:
            return self._variables[name.lower()]
        if name.lower() not in found or name.lower() in self._under_way:
            raise _wrong(f"The template variable '{name}' is not found, or is made of itself.")
        self._under_way.append(name.lower())
        try:
            value = self._variables[name.lower()] = self.value(found[name.lower()])
            return value
        finally:
            self._under_way.pop()

    def _subscription(self) -> dict[str, Any]:
        place = self._place
        return {
            "id": f"/subscriptions/{place.subscription}",
            "subscriptionId": place.subscription,
            "tenantId": place.tenant,
        }

    def _resource_id(self, *parts: str) -> str:
        at = next((at for at, part in enumerate(parts) if "/" in part), None)
        if at is None or at > 2:
            raise ValueError("it names no resource type")
        subscription = parts[0] if at == 2 else self._place.subscription
        group = parts[at - 1] if at else self._place.group["name"]
        return _compose_id(f"/subscriptions/{subscription}/resourceGroups/{group}", parts[at], parts[at + 1 :])

    def _reference(self, target: str, version: str = "", full: str = "") -> Any:
        document = self._place.reference(target)
        return document if full.lower() == "full" else document.get("properties") or {}


class _Reader:
    """Reads one expression and evaluates it on the way."""

    def __init__(self, text: str, call: Callable[[str, list[Callable[[], Any]]], Any]) -> None:
        self._text = text
        self._call = call
        self._tokens = self._split(text)
        self._at = 0
        self._depth = 0

    def _split(self, text: str) -> list[tuple[str, str]]:
        tokens, position = [], 0
        while text[position:].strip():
            found = _TOKEN.match(text, position)
            if found is None:
                raise _wrong(f"The expression '[{text}]' cannot be read at '{text[position : position + 20]}'.")
            kind = found.lastindex or 0
            tokens.append((("", "text", "number", "name", "mark")[kind], found.group(kind)))
            position = found.end()
        return [*tokens, ("end", "")]

    def whole(self) -> Any:
        """The value of the whole expression."""
        value = self._expression()()
        if self._tokens[self._at][0] != "end":
            raise _wrong(f"The expression '[{self._text}]' has more after its end.")
        return value

    def _take(self, wanted: str = "") -> tuple[str, str]:
        token = self._tokens[self._at]
        if wanted and token != ("mark", wanted):
            raise _wrong(f"The expression '[{self._text}]' lacks a '{wanted}'.")
        self._at += 1
        return token

    def _expression(self) -> Callable[[], Any]:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _wrong(f"The expression '[{self._text[:80]}…]' is nested deeper than {_DEEPEST} levels.")
        value = self._operand()
        self._depth -= 1
        return value

    def _operand(self) -> Callable[[], Any]:
        kind, text = self._take()
        if kind == "text":
            return lambda: text.replace("''", "'")
        if kind == "number":
            return lambda: int(text)
        if kind != "name":
            raise _wrong(f"The expression '[{self._text}]' cannot be read.")
        arguments = self._arguments()
        value: Callable[[], Any] = lambda: self._call(text, arguments)  # noqa: E731
        while self._tokens[self._at] in (("mark", "."), ("mark", "[")):
            value = self._step(value)
        return value

    def _arguments(self) -> list[Callable[[], Any]]:
        self._take("(")
        found: list[Callable[[], Any]] = []
        while self._tokens[self._at] != ("mark", ")"):
            if found:
                self._take(",")
            found.append(self._expression())
        self._take(")")
        return found

    def _step(self, value: Callable[[], Any]) -> Callable[[], Any]:
        if self._take()[1] == ".":
            name = self._take()[1]
            return lambda: _member(value(), name)
        index = self._expression()
        self._take("]")
        return lambda: _member(value(), index())


def _member(value: Any, name: Any) -> Any:
    if isinstance(value, list) and isinstance(name, int) and -1 < name < len(value):
        return value[name]
    if isinstance(value, dict) and isinstance(name, str):
        found = {each.lower(): each for each in value}
        if name.lower() in found:
            return value[found[name.lower()]]
    raise _wrong(f"The language expression property '{name}' doesn't exist.")


def _compose_id(scope: str, kind: str, names: tuple[str, ...] | list[str]) -> str:
    namespace, *types = kind.split("/")
    if len(types) != len(names):
        raise ValueError(f"'{kind}' takes {len(types)} names, not {len(names)}")
    path = "/".join(f"{part}/{name}" for part, name in zip(types, names, strict=True))
    return f"{scope}/providers/{namespace}/{path}"


def _unique(*parts: str) -> str:
    """13 characters that the same parts always give; not those that Azure would give."""
    digest = hashlib.sha256("-".join(parts).encode()).digest()
    return base64.b32encode(digest).decode().lower()[:13]


def _format(text: str, *values: Any) -> str:
    return re.sub(r"\{(\d+)[^}]*\}", lambda hole: _text(values[int(hole.group(1))]), text)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _concat(*values: Any) -> Any:
    if values and all(isinstance(value, list) for value in values):
        return [each for value in values for each in value]
    return "".join(map(_text, values))


def _union(first: Any, *rest: Any) -> Any:
    if isinstance(first, dict):
        return {**first, **{name: value for each in rest for name, value in each.items()}}
    return first + [value for each in rest for value in each if value not in first]


def _same(one: Any, two: Any) -> bool:
    return type(one) is type(two) and one == two


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "array": lambda value: value if isinstance(value, list) else [value],
    "bool": lambda value: str(value).lower() in ("true", "1"),
    "coalesce": lambda *values: next((value for value in values if value is not None), None),
    "concat": _concat,
    "contains": lambda holder, value: value in holder,
    "createarray": lambda *values: list(values),
    "createobject": lambda *parts: dict(zip(parts[::2], parts[1::2], strict=True)),
    "empty": lambda value: not value,
    "endswith": lambda text, end: text.lower().endswith(end.lower()),
    "equals": _same,
    "false": lambda: False,
    "first": lambda value: value[0] if value else None,
    "format": _format,
    "guid": lambda *parts: str(uuid.uuid5(_GUIDS, "-".join(parts))),
    "int": int,
    "join": lambda values, mark: mark.join(map(_text, values)),
    "json": json.loads,
    "last": lambda value: value[-1] if value else None,
    "length": len,
    "not": lambda value: value is not True,
    "null": lambda: None,
    "replace": lambda text, old, new: text.replace(old, new),
    "split": lambda text, mark: text.split(mark),
    "startswith": lambda text, begin: text.lower().startswith(begin.lower()),
    "string": _text,
    "substring": lambda text, at, count=None: text[at:] if count is None else text[at : at + count],
    "take": lambda value, count: value[:count],
    "tolower": lambda text: text.lower(),
    "toupper": lambda text: text.upper(),
    "trim": lambda text: text.strip(),
    "true": lambda: True,
    "union": _union,
    "uniquestring": _unique,
}


def _count(name: str, arguments: list[Any], wanted: int) -> None:
    if len(arguments) != wanted:
        raise _wrong(f"The template function '{name}' takes {wanted} arguments, not {len(arguments)}.")


def _object(holder: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = holder.get(name) or {}
    if not isinstance(found, dict):
        raise _wrong(f"'{name}' of the template must be an object.")
    return found


def _wrong(message: str) -> ArmError:
    return invalid(f"Deployment template validation failed: '{message}'.", "InvalidTemplate")
