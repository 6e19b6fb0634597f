"""Settings: from a file and the environment, with nothing misspelt passing unseen."""

import json

import pytest

from localazure.errors import SettingsInvalid
from localazure.home import Home
from localazure.settings import Settings


def test_defaults_suit_a_laptop(home: Home) -> None:
    settings = Settings.load(home, {})
    assert settings.subscription_id == "10ca1a2e-0000-4000-8000-000000000001"
    assert settings.location == "eastus"
    assert settings.max_instances_per_deployment >= 2, "balancing shows with two instances at least"
    assert settings.python_fallback
    assert not settings.relax_pins


def test_the_environment_wins_over_the_file(home: Home) -> None:
    home.settings_file.write_text(json.dumps({"location": "westeurope", "relax_pins": True}))
    settings = Settings.load(home, {"LOCALAZURE_LOCATION": "uksouth", "PATH": "/bin"})
    assert (settings.location, settings.relax_pins) == ("uksouth", True)


def test_everything_wrong_is_said_at_once(home: Home) -> None:
    home.settings_file.write_text(json.dumps({"lokation": "x"}))
    with pytest.raises(SettingsInvalid) as failure:
        Settings.load(home, {"LOCALAZURE_MAX_INSTANCES_PER_DEPLOYMENT": "0"})
    assert "lokation" in str(failure.value)
    assert "max_instances_per_deployment" in str(failure.value)
    assert "Known: " in str(failure.value), "the way out is the list of what there is"


def test_marks_of_processes_and_shells_are_not_settings(home: Home) -> None:
    marks = {
        "LOCALAZURE_HOME_ID": "a",
        "LOCALAZURE_RUN_ID": "b",
        "LOCALAZURE_WORKER_ID": "d",
        "LOCALAZURE_PROXY": "c",
        "LOCALAZURE_OUTER_BUNDLE": "",
    }
    assert Settings.load(home, marks) == Settings.load(home, {})


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_file_that_holds_no_settings_is_named(home: Home, content: str) -> None:
    home.settings_file.write_text(content)
    with pytest.raises(SettingsInvalid, match=r"settings\.json"):
        Settings.load(home, {})


def test_settings_do_not_change(home: Home) -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings.load(home, {}).location = "elsewhere"  # pyright: ignore[reportAttributeAccessIssue]
