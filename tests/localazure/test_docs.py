"""The page about Local Azure says what there is: every command, every setting with its default, every key of a rule."""

import json
import re
from pathlib import Path

import pytest

from localazure import cli
from localazure.arm.weather import Rule
from localazure.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "localazure.md").read_text()
BY_MACHINE = "CPUs, at least 2"


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    lines = PAGE.partition(f"\n## {heading}\n")[2].splitlines()
    table = [line for line in lines[: end_of_table(lines)] if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def end_of_table(lines: list[str]) -> int:
    begin = next(at for at, line in enumerate(lines) if line.startswith("|"))
    return next((at for at in range(begin, len(lines)) if not lines[at].startswith("|")), len(lines))


def words(cell: str) -> list[str]:
    return re.findall(r"`([\w-]+)", cell)


def test_every_command_is_there() -> None:
    assert sorted(word for row in rows("Commands") for word in words(row[0])) == sorted(cli.COMMANDS)


def test_every_setting_is_there() -> None:
    assert [name for row in rows("Settings") for name in words(row[0])] == list(Settings.model_fields)


@pytest.mark.parametrize("row", rows("Settings"), ids=lambda row: row[0])
def test_a_setting_has_the_default_that_it_says(row: list[str]) -> None:
    (name,) = words(row[0])
    default = Settings().model_dump(mode="json", exclude_defaults=name == "weather").get(name, {})
    if Settings.model_fields[name].default_factory:
        assert row[1] == BY_MACHINE
        assert default >= 2
    else:
        assert row[1].strip("`") == (default if isinstance(default, str) else json.dumps(default))


def test_every_key_of_a_rule_of_the_weather_is_there() -> None:
    assert sorted(name for row in rows("Weather") for name in words(row[0])) == sorted(Rule.model_fields)


def test_the_weather_that_it_shows_can_be_set() -> None:
    (example,) = re.findall(r"weather '(\{.*?\})'", PAGE, re.DOTALL)
    assert Settings.model_validate({"weather": json.loads(example)}).weather.rules[0].status == 429


def test_the_options_that_it_names_exist() -> None:
    named = set(re.findall(r"`(-{1,2}[a-z]+)", PAGE)) | set(re.findall(r"localazure \w+ (--[a-z]+)", PAGE))
    known = {flag for options in cli.OPTIONS.values() for flags in options for flag in flags.split()}
    assert {"--json", "--azure", "--reset", "-f"} <= named
    assert named <= known | {"--home"}
