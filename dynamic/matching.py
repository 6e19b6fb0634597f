"""Whether an answer's JSON is what was described: by a part of it, or by a JSON schema.

A part of the answer matches by these rules. An object matches when it has every expected key, with a value that
matches; keys that nobody expects are ignored. A list matches element by element and has the same length. Whole numbers
are the same or not; other numbers may differ by a millionth, which is what another machine's arithmetic makes of the
same model. Text, true, false and null are the same or not.

A scoring script that returns `json.dumps(…)` makes the service answer with a JSON text that holds JSON; it is looked at
as it is and as what it holds, and one of the two must match.
"""

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

Json = Any
# Relative, between numbers of which at least one is not whole.
TOLERANCE = 1e-6
# How many characters of a text are shown.
SHOWN = 500


def differences(expected: Json, found: Json, at: str = "$") -> Iterator[str]:
    """Where an answer is not as expected, by the rules above; each with its JSONPath."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key, value in expected.items():
            if key in found:
                yield from differences(value, found[key], f"{at}.{key}")
            else:
                yield f"{at}.{key}: expected {_as_json(value)}, and it is not there"
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from differences(one, other, f"{at}[{index}]")
    elif not _same(expected, found):
        yield f"{at}: expected {_as_json(expected)}, received {_as_json(found)}"


def _same(expected: Json, found: Json) -> bool:
    if isinstance(expected, bool) or isinstance(found, bool):
        # True is 1 for Python, and for nobody else.
        return expected is found
    if isinstance(expected, int | float) and isinstance(found, int | float) and not _whole(expected, found):
        with suppress(OverflowError):
            return math.isclose(expected, found, rel_tol=TOLERANCE)
    return expected == found


def _whole(*numbers: float) -> bool:
    return all(isinstance(number, int) or number.is_integer() for number in numbers)


def violations(schema: Json, found: Json) -> Iterator[str]:
    """Where an answer does not keep to a JSON schema; each with its JSONPath."""
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        # An empty registry: no schema is fetched from anywhere.
        for error in validator_for(schema)(schema, registry=Registry()).iter_errors(found):
            yield f"{error.json_path}: {shown(error.message)}"
    except Unresolvable as error:
        yield f"refers to {error.ref}, which is not in the file; a schema is whole in its own file"


def readings(body: str) -> Iterator[Json]:
    """The JSON that an answer is, and the JSON that is held by it if it is a text. Nothing if it is no JSON."""
    text: Json = body
    for _ in range(2):
        try:
            text = json.loads(text)
        except (ValueError, RecursionError):
            return
        yield text
        if not isinstance(text, str):
            return


def shown(text: str) -> str:
    """A text in one line, and not more of it than a person reads."""
    flat = " ".join(text.split())
    return flat if len(flat) <= SHOWN else f"{flat[:SHOWN]}…"


def _as_json(value: Json) -> str:
    return shown(json.dumps(value, ensure_ascii=False))
