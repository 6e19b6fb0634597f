"""Reading requests: every value of the wrong type is a 400 that names its path, never a crash further in."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from localazure.arm.errors import ArmError, invalid

LARGEST_BODY = 4 * 1024 * 1024
DEEPEST_BODY = 100


_JSON_TYPE = re.compile(
    r"(application|text)/([\w.-]+\+)?json\s*(;\s*(charset=\"?utf-8\"?|(?!charset)[\w-]+=[\w.-]+)\s*)*", re.IGNORECASE
)


def parse(raw: bytes, content_type: str = "") -> dict[str, Any]:
    """The JSON object of a request.

    Args:
        content_type: what the caller says that the body is; empty where it says nothing.

    Raises:
        ArmError: 400 for anything but a JSON object that can be stored and answered again, 413 above ARM's 4 MiB,
            415 for a body that is said to be something else.
    """
    if raw and content_type and not _JSON_TYPE.fullmatch(content_type.strip()):
        raise ArmError(
            415,
            "UnsupportedMediaType",
            f"The content media type '{content_type[:80]}' is not supported. Only 'application/json' in UTF-8 is.",
        )
    if len(raw) > LARGEST_BODY:
        raise ArmError(
            413, "RequestEntityTooLarge", f"The request body has {len(raw)} bytes; the limit is {LARGEST_BODY}."
        )
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_no_number, parse_float=_finite) if raw.strip() else {}
        _check(value, 0)
    except (ValueError, RecursionError) as error:
        raise invalid(f"The request content was invalid and could not be deserialized: '{error}'.") from None
    if not isinstance(value, dict):
        raise invalid(f"The request content must be a JSON object, not {_kind(value)}.")
    return value


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text[:40])


def _check(value: Any, depth: int) -> None:
    """Raises ValueError for what JSON can say and no store or answer can hold."""
    if depth > DEEPEST_BODY:
        raise ValueError(f"it is nested deeper than {DEEPEST_BODY} levels")
    if isinstance(value, str):
        value.encode()  # half of a surrogate pair is no text
    elif isinstance(value, dict):
        for name, each in value.items():
            name.encode()
            _check(each, depth + 1)
    elif isinstance(value, list):
        for each in value:
            _check(each, depth + 1)


def natural(text: str, default: int) -> int:
    """A whole number of up to nine digits in a query or a name; `default` for any other text."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else default


def size(query: Mapping[str, str], name: str, default: int, *, least: int = 1) -> int:
    """A number in a query, such as `$top`; names are in lower case. Raises ArmError (400) for any other text."""
    sent = query.get(name)
    if sent is None:
        return default
    value = natural(sent, -1)
    if value < least:
        raise invalid(
            f"The query parameter '{name}' is {sent[:40]!r}; it must be a whole number of at least {least}.",
            "InvalidQueryParameterValue",
        )
    return value


_API_VERSION = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(-[a-z]+)?", re.IGNORECASE)


def require_api_version(query: Mapping[str, str]) -> None:
    """Any api-version that looks like one is answered alike; but, as in Azure, there must be one.

    Raises:
        ArmError: 400 without one, and for what is none.
    """
    sent = query.get("api-version")
    if not sent:
        raise invalid(
            "The api-version query parameter (?api-version=) is required for all requests.",
            "MissingApiVersionParameter",
        )
    found = _API_VERSION.fullmatch(sent)
    try:
        date.fromisoformat(found.group(1) if found else "")
    except ValueError:
        raise invalid(
            f"The api-version '{sent[:40]}' is invalid. It must be a date, with or without -preview: 2025-12-01.",
            "InvalidApiVersionParameter",
        ) from None


def mapping(holder: Mapping[str, Any], name: str, where: str = "", *, required: bool = False) -> dict[str, Any]:
    """An object; `{}` where it is absent or null."""
    value = _take(holder, name, where, dict, required)
    return {} if value is None else value


def text(holder: Mapping[str, Any], name: str, where: str = "", *, required: bool = False) -> str | None:
    """A string, or None."""
    return _take(holder, name, where, str, required)


def sequence(holder: Mapping[str, Any], name: str, where: str = "") -> list[Any]:
    """A list; `[]` where it is absent or null."""
    value = _take(holder, name, where, list, False)
    return [] if value is None else value


def texts(holder: Mapping[str, Any], name: str, where: str = "") -> list[str]:
    """A list of strings; `[]` where it is absent or null."""
    found = sequence(holder, name, where)
    for at, value in enumerate(found):
        if not isinstance(value, str):
            raise _wrong(f"{name}[{at}]", where, "a string", value)
    return found


def objects(holder: Mapping[str, Any], name: str, where: str = "") -> list[tuple[dict[str, Any], str]]:
    """A list of objects, each with the path of where it stands; `[]` where it is absent or null."""
    found = []
    for at, value in enumerate(sequence(holder, name, where)):
        if not isinstance(value, dict):
            raise _wrong(f"{name}[{at}]", where, "an object", value)
        found.append((value, f"{_path(name, where)}[{at}]"))
    return found


def flag(holder: Mapping[str, Any], name: str, default: bool, where: str = "") -> bool:
    """A boolean."""
    value = _take(holder, name, where, bool, False)
    return default if value is None else value


def integer(
    holder: Mapping[str, Any],
    name: str,
    default: int,
    where: str = "",
    *,
    least: int | None = None,
    most: int | None = None,
) -> int:
    """A whole number within bounds. `2.0` is taken: clients with one number type send it."""
    value = holder.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1:
        raise _wrong(name, where, "a whole number", value)
    if (least is not None and value < least) or (most is not None and value > most):
        raise invalid(f"'{_path(name, where)}' is {value}; it must lie between {least} and {most}.", "ValidationError")
    return int(value)


def number(
    holder: Mapping[str, Any], name: str, default: float | None, where: str = "", *, least: float, most: float
) -> float:
    """A number within bounds; required where there is no `default`."""
    value = holder.get(name)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(name, where, "a number", value)
    if not least <= value <= most:
        raise invalid(f"'{_path(name, where)}' is {value}; it must lie between {least} and {most}.", "ValidationError")
    return value


def strings(holder: Mapping[str, Any], name: str, where: str = "") -> dict[str, str]:
    """An object of strings: tags, environment variables. Scalars become strings, as the service does with them."""
    found = mapping(holder, name, where)
    for key, value in found.items():
        if isinstance(value, dict | list):
            raise _wrong(key, _path(name, where), "a string", value)
    return {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in found.items() if value is not None
    }


def choice(
    holder: Mapping[str, Any], name: str, values: Sequence[str], default: str | None, where: str = ""
) -> str | None:
    """An enum's value in canonical case, whatever the case it was sent in."""
    sent = text(holder, name, where)
    if sent is None:
        return default
    for value in values:
        if value.lower() == sent.lower():
            return value
    raise invalid(f"'{_path(name, where)}' is {sent!r}; it must be one of {', '.join(values)}.", "ValidationError")


# Ten digits hold any number of 32 bits, and are far below what a float overflows at.
_COUNT = "([0-9]{1,10})"
_DURATION = re.compile(
    rf"P(?:{_COUNT}D)?(?:T(?:{_COUNT}H)?(?:{_COUNT}M)?(?:([0-9]{{1,10}}(?:\.[0-9]{{1,9}})?)S)?)?", re.ASCII
)


def seconds(duration: str, where: str) -> float:
    """An ISO-8601 duration in seconds.

    Raises:
        ArmError: 400, where it is none.
    """
    found = _DURATION.fullmatch(duration)
    if found is None or duration in ("P", "PT"):
        raise invalid(
            f"'{where}' is {duration[:80]!r}; it must be an ISO-8601 duration such as PT5S.", "ValidationError"
        )
    days, hours, minutes, rest = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def _take(holder: Mapping[str, Any], name: str, where: str, kind: type, required: bool) -> Any:
    value = holder.get(name)
    if value is None:
        if required:
            raise invalid(f"'{_path(name, where)}' is required.", "ValidationError")
        return None
    if not isinstance(value, kind):
        raise _wrong(
            name, where, {dict: "an object", str: "a string", list: "a list", bool: "true or false"}[kind], value
        )
    return value


def _wrong(name: str, where: str, wanted: str, value: Any) -> ArmError:
    return invalid(f"'{_path(name, where)}' must be {wanted}, not {_kind(value)} ({json.dumps(value)[:80]}).")


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def _path(name: str, where: str) -> str:
    return f"{where}.{name}" if where else name
