"""Layer: whether an answer's JSON is what was described."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamic.matching import differences

TINY = 1e-9
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
KEYS = st.text(max_size=3)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


def part_of(value: Any, keep: Callable[[], bool]) -> Any:
    """The value with some keys of its objects left out."""
    if isinstance(value, dict):
        return {key: part_of(inner, keep) for key, inner in value.items() if keep()}
    return [part_of(inner, keep) for inner in value] if isinstance(value, list) else value


@given(value=JSON, data=st.data())
def test_a_value_matches_itself_and_every_part_of_it(value: Any, data: st.DataObject) -> None:
    assert not list(differences(value, value))
    assert not list(differences(part_of(value, lambda: data.draw(st.booleans())), value))


@given(value=st.dictionaries(KEYS, JSON, max_size=4), key=KEYS, extra=JSON)
def test_what_nobody_expects_is_ignored_and_what_is_missing_is_named(
    value: dict[str, Any], key: str, extra: Any
) -> None:
    less = {name: inner for name, inner in value.items() if name != key}
    assert not list(differences(less, {**less, key: extra}))
    (missing,) = differences({**less, key: extra}, less)
    assert missing.startswith(f"$.{key}: expected ")


@given(value=st.lists(JSON, max_size=4), extra=JSON)
def test_a_list_of_another_length_does_not_match(value: list[Any], extra: Any) -> None:
    assert len(list(differences(value, [*value, extra]))) == 1
    assert len(list(differences([*value, extra], value))) == 1


@given(one=SCALARS, other=SCALARS)
def test_scalars_match_when_json_says_that_they_are_the_same(one: Any, other: Any) -> None:
    both = [isinstance(each, int | float) and not isinstance(each, bool) for each in (one, other)]
    same = (one == other) if all(both) else (type(one) is type(other) and one == other)
    matches = not list(differences(one, other))
    assert matches >= same
    assert not matches or same or (all(both) and abs(one - other) <= 1e-6 * max(abs(one), abs(other)))


@pytest.mark.parametrize(
    ("expected", "found", "matches"),
    [
        (0.25, 0.25 + TINY, True),
        (0.25, 0.2501, False),
        (1, 1.0 + TINY, True),
        (10_000_000, 10_000_001, False),
        (3, 3.0, True),
        (1, True, False),
        (False, 0, False),
        (None, {}, False),
        ("1", 1, False),
        (0.5, 10**400, False),
        (0.5, float("nan"), False),
        ([], {}, False),
    ],
)
def test_whole_numbers_are_the_same_or_not_and_others_may_differ_a_little(
    expected: Any, found: Any, matches: bool
) -> None:
    assert (not list(differences(expected, found))) == matches


def test_a_difference_is_named_by_its_place() -> None:
    expected = {"predictions": [{"label": 1}, {"label": 0}]}
    found = {"predictions": [{"label": 1}, {"label": 1}], "time": 3}
    assert list(differences(expected, found)) == ["$.predictions[1].label: expected 0, received 1"]
