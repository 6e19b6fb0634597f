"""One or a few mistakes, or edits, in a configuration: a value, a name, a key, an entry more or less."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from settings.models import Settings

Path = tuple[str | int, ...]
Config = dict[str, Any]

# Where Azure's rules begin and end: lengths, characters, and what YAML and shells make of things.
TEXTS = (
    *("", " ", "x", "ab", "a" * 24, "a" * 25, "a" * 33, "a" * 64, "a" * 65, "a" * 257, "a" * 513),
    *("Blue", "UPPER", "a-", "-a", "a--b", "a_b", "a.b", "a/b", "a b", "a:b", "a@b", "a,b", "a'b", 'a"b', "a\\b"),
    *("1", "1a", "a-1", "ü", "日本", "😀", "<b>", "a%20b", "a&b", "a?b", "a#b", "${a}"),
    *("../x", "/", "/x", "a\nb", "a\x07"),
    *("true", "null", "0", "2.5", "02:00", ":15", "24:00", "UTC", "2026-02-30", "1Gi", "10.40.0.0/27", "10.0.0.0/8"),
    *(
        "Standard_DS3_v2",
        "Standard_NC24ads_A100_v4",
        "azureml:",
        "azureml://",
        "https://a.example/",
        "eastus2",
        "East US",
    ),
    *("scoring", "README.md", "scoring/online", "Predictions.CSV", "a/predictions.csv", "nowhere"),
)
NUMBERS = (-1, 0, 0.5, 1, 2, 3, 20, 50, 51, 60, 61, 100, 101, 300, 301, 600, 1000, 3600, 43_200, 100_000, 180_001)
NUMBERS = (*NUMBERS, 2**31 - 1, 2**31, 2**53, 10**19)
OTHERS = (None, True, False, [], {}, "5", ["a"], {"a": "b"})


def _choices(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from (each for each in schema.get("enum", ()) if isinstance(each, str))
        schema = list(schema.values())
    for each in schema if isinstance(schema, list) else ():
        yield from _choices(each)


# What any key takes that takes one of some words.
WORDS = tuple(sorted({*_choices(Settings.model_json_schema())}))


def places(config: Any, path: Path = ()) -> list[Path]:
    """The paths of all values, the whole excepted."""
    items = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    return [found for key, value in items for found in ((*path, key), *places(value, (*path, key)))]


def at(config: Any, path: Path) -> Any:
    """The value at a path."""
    for key in path:
        config = config[key]
    return config


def mutations(config: Config) -> st.SearchStrategy[Config]:
    """The configuration with one or two changes."""
    return st.sampled_from((1, 1, 1, 2)).flatmap(lambda count: _mutated(config, count))


@st.composite
def _mutated(draw: st.DrawFn, config: Config, count: int) -> Config:
    found = copy.deepcopy(config)
    for _ in range(count):
        path = draw(st.sampled_from(places(found) or [("azure-native:location",)]))
        draw(st.sampled_from(CHANGES))(draw, found, path)
    return found


def _put(draw: st.DrawFn, config: Config, path: Path) -> None:
    """Another value: most often of the same kind."""
    old = at(config, path)
    at(config, path[:-1])[path[-1]] = draw(_values(old))


def _values(old: Any) -> st.SearchStrategy[Any]:
    others = st.sampled_from(OTHERS)
    match old:
        case bool():
            return st.just(not old) | others
        case int() | float():
            return st.sampled_from(NUMBERS) | st.integers(max(0, int(old) - 3), int(old) + 3) | others
        case str():
            own = (old.upper(), old.title(), f"{old} ", f"{old}-", f"{old}1", old[:-1], f"a{old}", old * 2, old * 9)
            return st.sampled_from(own) | st.sampled_from(TEXTS) | st.sampled_from(WORDS) | others
        case list():
            return st.sampled_from((old[::-1], old + old, old[:1], old[1:])) | others
        case dict():
            return st.sampled_from(tuple({key: old[key]} for key in old) or ({},)) | others
    return others


def _drop(draw: st.DrawFn, config: Config, path: Path) -> None:
    del at(config, path[:-1])[path[-1]]


def _rename(draw: st.DrawFn, config: Config, path: Path) -> None:
    holder, key = at(config, path[:-1]), path[-1]
    if isinstance(holder, dict) and isinstance(key, str):
        names = (key.upper(), key.capitalize(), key[:-1], f"{key}s", key + "x" * 30, *TEXTS)
        value = holder.pop(key)
        holder[draw(st.sampled_from(names)) or "empty"] = value


def _copy(draw: st.DrawFn, config: Config, path: Path) -> None:
    """Entries more: one under another name, or sixty."""
    holder, key = at(config, path[:-1]), path[-1]
    if isinstance(holder, list):
        holder.extend(copy.deepcopy(holder[int(key)]) for _ in range(draw(st.sampled_from((1, 20)))))
    elif draw(st.booleans()):
        holder[draw(st.sampled_from(TEXTS)) or "empty"] = copy.deepcopy(holder[key])
    else:
        many = draw(st.sampled_from((3, 21, 60)))
        holder |= {f"{key}{number}": copy.deepcopy(holder[key]) for number in range(many)}


def _move(draw: st.DrawFn, config: Config, path: Path) -> None:
    """What stands at another place, of the same key where there is one."""
    same = [place for place in places(config) if place[-1] == path[-1] and place != path]
    other = draw(st.sampled_from(same or places(config)))
    at(config, path[:-1])[path[-1]] = copy.deepcopy(at(config, other))


CHANGES = (_put, _put, _put, _put, _drop, _drop, _rename, _copy, _move)
