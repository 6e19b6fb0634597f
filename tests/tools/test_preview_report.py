"""The report of a preview, made by a CLI that a test plays: what it shows, and how the preview may end."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.pull_requests.stories import RECORDINGS
from tools import preview_report, up
from tools.preview_report import LONGEST_DIFF, report, without_variables
from tools.recovery import RecoveryError

DIFF = "~ azureml:TrafficSplit: (update)\n  ```\n  blue: 90 => 50\n"


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A `pulumi` that prints what is in the dictionary: `json` and `diff`, and for the former `error` and `code`."""
    script = tmp_path / "bin" / "pulumi"
    script.parent.mkdir()
    said = tmp_path / "said.json"
    script.write_text(
        "#!/usr/bin/env python3\nimport json, sys\n"
        f"said = json.load(open({str(said)!r}))\n"
        "asked = 'json' if '--json' in sys.argv else 'diff'\n"
        "said['asked'] = [*said.get('asked', []), sys.argv[1:]]\n"
        f"json.dump(said, open({str(said)!r}, 'w'))\n"
        "print(said[asked])\n"
        "sys.stderr.write(said.get('error', ''))\n"
        "sys.exit(said.get('code', 0) if asked == 'json' else 0)\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(up, "resources", lambda stack, environment: [])
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")

    class Said(dict[str, Any]):
        def made(self, **options: Any) -> preview_report.Report:
            said.write_text(json.dumps(self))
            made = report("local", os.environ, **options)
            self["asked"] = json.loads(said.read_text())["asked"]
            return made

    return Said(diff=DIFF)


def recording(name: str) -> str:
    return (RECORDINGS / f"{name}.json").read_text()


def test_the_summary_comes_first_and_the_diff_is_folded_below(cli: Any) -> None:
    cli["json"] = recording("traffic")
    made = cli.made()
    assert made.ok
    summary, folded = made.text.split("<details>")
    assert summary == (RECORDINGS / "traffic.md").read_text() + "\n"
    assert folded.endswith(f"\n````\n{DIFF.strip()}\n````\n\n</details>\n"), "in a fence that the diff cannot end"


def test_a_diff_of_nothing_is_not_asked_for(cli: Any) -> None:
    cli["json"] = recording("nothing")
    assert cli.made().text == (RECORDINGS / "nothing.md").read_text()
    assert len(cli["asked"]) == 1


def test_a_summary_alone_takes_one_preview(cli: Any) -> None:
    cli["json"] = recording("traffic")
    assert "<details>" not in cli.made(diff=False).text
    assert len(cli["asked"]) == 1


def test_a_long_diff_is_cut(cli: Any) -> None:
    cli |= {"json": recording("traffic"), "diff": "x" * 100_000}
    made = cli.made()
    assert len(made.text) < LONGEST_DIFF + 5_000
    assert "… cut here: 80001 characters more" in made.text


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"json": "", "error": "error: no stack named 'prod' found", "code": 255}, "no stack named 'prod' found"),
        ({"json": "", "code": 255}, "`pulumi preview` ended with 255 and said nothing"),
        ({"json": recording("traffic"), "error": "error: policy violated", "code": 1}, "policy violated"),
        ({"json": recording("mistake"), "code": 255}, "percentages add up to 110"),
    ],
)
def test_a_preview_that_fails_is_reported_as_one(cli: Any, said: dict[str, Any], shown: str) -> None:
    cli |= said
    made = cli.made()
    assert not made.ok
    assert "> **The preview failed**" in made.text
    assert shown in made.text
    assert "### Online endpoint" not in made.text


def test_the_command_writes_the_report_also_of_a_failure(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "prepare", lambda stack: os.environ)
    output = tmp_path / "reports" / "local.md"
    for name, code in (("traffic", 0), ("mistake", 1)):
        cli["json"] = recording(name)
        (tmp_path / "said.json").write_text(json.dumps(cli))
        assert preview_report.main(["local", "--output", str(output), "--summary-only"]) == code
        assert output.read_text() == (RECORDINGS / f"{name}.md").read_text()


@pytest.mark.parametrize("error", [up.UpError("`pulumi login` first\n```"), RecoveryError("held on another machine")])
def test_what_does_not_come_to_a_preview_is_a_report_too(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(stack: str) -> None:
        raise error

    monkeypatch.setattr(up, "prepare", refuse)
    output = tmp_path / "reports" / "prod.md"
    assert preview_report.main(["prod", "--output", str(output)]) == 1
    text = output.read_text()
    assert text.startswith("## What `prod` serves\n\n> [!CAUTION]\n> **No preview**")
    assert str(error) in text


# What the real CLI printed for variables of many forms: new deployments, and one that goes.
VARIABLES = (Path(__file__).parent / "preview_of_variables.txt").read_text()


def test_no_value_of_a_variable_is_in_the_diff(cli: Any) -> None:
    assert VARIABLES.count("value-") > 8, "texts, text of several lines, JSON and YAML"
    cli |= {"json": recording("traffic"), "diff": VARIABLES}
    text = cli.made().text
    assert "value-" not in text
    assert text.count("environmentVariables     : (not shown here)") == 2
    assert "environmentVariables     : {}" in text, "that there are none is no secret"


def test_all_but_the_variables_stays_in_the_diff() -> None:
    kept = without_variables(VARIABLES).splitlines()
    lines = VARIABLES.splitlines()
    first = lines.index("            environmentVariables     : {")
    assert kept[:first] == lines[:first]
    second = lines.index("            environmentVariables     : {", first + 1)
    assert lines[first + 10 : second] == kept[first + 1 : second - 9], "what is between the two is there"
    assert lines[second + 13 :] == kept[second - 9 + 1 :], "and what comes after"


@pytest.mark.parametrize(
    "block",
    [
        '      ~ environmentVariables: {\n          ~ A: "value-1" => "value-2"\n        }\n',
        '      - environmentVariables: {\n          - A: "value-1"\n            - value-2\n        }\n',
        '      ~ environmentVariables: "value-1" => "value-2"\n',
    ],
)
def test_a_change_of_variables_is_not_shown_either(block: str) -> None:
    diff = f'      ~ properties: {{\n{block}        instanceType: "F4"\n    }}\n}}'
    shown = without_variables(diff)
    assert "value-" not in shown
    assert shown.splitlines()[0] == "      ~ properties: {"
    assert shown.splitlines()[-3:] == ['        instanceType: "F4"', "    }", "}"]
