"""The guides and the README: what they name is there, what they show is sound, and a test runs what they have one type.

`tests/end_to_end/test_guides.py` walks them; this is what can be known of them in a second.
"""

from __future__ import annotations

import ast
import math
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from localazure.providers.ml.sizes import SIZES
from localazure.pulumi_plugin.table import RESOURCES
from settings import Settings, SettingsError, parse
from tests.guides import ALONE, GUIDES, IN_A_ROW, KINDS, PULUMI_SAYS, ROOT, Step, edited, printed, steps

NAMES = sorted(file.name for file in GUIDES.glob("*.md"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAM = ("__main__.py", "components", "dynamic", "localazure", "scoring", "settings", "tools", "policies")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
WORD = re.compile(r"\b[a-z][a-z0-9]*(?:[A-Z][a-z0-9]*)+\b")
PATH = re.compile(r"(?<![\w./~<>@:-])(?:[\w.-]+/)+[\w.-]*\w|\bPulumi\.\w+\.yaml\b")


def known(step: Step) -> bool:
    return step.kind == "diff" or bool(step.test) or step.how in KINDS.get(step.kind, ())


def test_there_are_guides() -> None:
    assert {*IN_A_ROW, *ALONE} <= {*NAMES}


@pytest.mark.parametrize("guide", NAMES)
def test_every_command_of_a_guide_is_run_by_a_test_or_says_that_it_needs_azure(guide: str) -> None:
    foreign = [step for step in steps(guide) if not known(step)]
    assert not foreign, f"tests/guides.py says what a fence may say; what is a reader to do with {foreign[0]}?"
    for step in (step for step in steps(guide) if step.test):
        assert step.programs, f"{step.text} runs nothing that can be looked for in a test"
        assert all(program in (ROOT / step.test).read_text() for program in step.programs), (
            f"{step.test} runs no {step}"
        )
    if guide not in (*IN_A_ROW, *ALONE):
        done = [step for step in steps(guide) if step.is_done]
        assert not done, f"no test walks {guide}, whose reader does {done[0]}; say `sh needs-azure`, or walk it"


@pytest.mark.parametrize("guide", NAMES)
def test_edits_fit_and_what_they_make_is_sound_or_is_said_to_fail(guide: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "scoring", tmp_path / "scoring")
    shutil.copy(ROOT / "Pulumi.local.yaml", tmp_path)
    found: SettingsError | None = None
    todo = steps(guide)
    for number, step in enumerate(todo):
        if step.kind == "diff":
            file = tmp_path / step.file
            file.write_text(edited(file.read_text(), step.text))
            found = problem(file)
            fails = any(each.how == "fails" for each in todo[number + 1 : number + 2])
            assert (found is not None) == fails, found
        elif step.kind == "text" and todo[number - 1].how == "fails":
            assert found is None or all(printed(str(found), line) for line in step.text.splitlines()), found
        elif step.makes_files_only:
            subprocess.run(["bash", "-c", step.text], cwd=tmp_path, check=True)
        elif step.kind == "python":
            ast.parse(step.text)
        elif step.kind == "yaml" and step.how:
            # The keys of an entry, which may say something else.
            known_keys = {key for entry in yaml.safe_load((ROOT / step.how).read_text()) for key in entry}
            assert {key for entry in yaml.safe_load(step.text) for key in entry} <= known_keys
        elif step.kind == "yaml":
            assert problem(tmp_path / "Pulumi.local.yaml", entries(step.text)) is None


def problem(file: Path, more: Mapping[str, Any] | None = None) -> SettingsError | None:
    """What the settings find in a stack's configuration, with `more` entries than those in the file."""
    configuration = entries(file.read_text()) | dict(more or {})
    own = {key.removeprefix("azureml-endpoints:"): value for key, value in configuration.items()}
    raw = {key: value for key, value in own.items() if ":" not in key or key == "azure-native:location"}
    try:
        parse(raw, file.parent)
    except SettingsError as error:
        return error
    return None


class Yaml(yaml.SafeLoader):
    """As Pulumi reads it: in YAML 1.2 `on`, the days of a schedule, is no boolean."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, known) for tag, known in found if tag != "tag:yaml.org,2002:bool" or first in "tTfF"]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def entries(text: str) -> dict[str, Any]:
    content = yaml.load(text, Loader=Yaml)
    return content.get("config", content)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(FENCED.sub("", page.read_text())):
        if "://" in link or link.startswith("mailto:"):
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.relative_to(ROOT)} links to {link}"
        assert file.is_relative_to(ROOT), f"{link} leads out of the repository"
        assert not anchor or anchor in anchors(file), f"{link}: there is no such heading"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives headings."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(GUIDES.glob("*.md"))], ids=lambda page: page.name)
def test_files_and_keys_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text()
    own = "\n".join(step.text for step in steps(page.name) if step.kind == "sh") if page.parent == GUIDES else ""
    for code in CODE.findall(FENCED.sub("", text)):
        for path in paths(code):
            assert (ROOT / path).exists() or path in own, f"{page.name} names {path}"
        for word in WORD.findall(code):
            assert word in keys() or word in words(), f"{page.name} names {word}, which is no key and no word of ours"


def paths(code: str) -> Iterator[str]:
    """What in a piece of code is a path of the repository: it begins with a folder that is at the top."""
    for path in PATH.findall(code):
        if "/" not in path or path.partition("/")[0] in top():
            yield path


@cache
def top() -> frozenset[str]:
    return frozenset(folder.name for folder in ROOT.iterdir() if folder.is_dir())


@cache
def keys() -> frozenset[str]:
    """The keys that a stack's configuration may have, at any depth."""

    def found(schema: Any) -> Iterator[str]:
        for value in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
            yield from found(value)
        if isinstance(schema, dict):
            yield from schema.get("properties") or ()

    return frozenset(found(Settings.model_json_schema(by_alias=True)))


@cache
def words() -> frozenset[str]:
    """Every word of the program's own that has humps, such as Azure's property names."""
    return frozenset(word for file in sources() for word in WORD.findall(file.read_text(encoding="utf-8")))


@cache
def sources() -> tuple[Path, ...]:
    parts = [ROOT / part for part in PROGRAM]
    return tuple(file for part in parts for file in ([part] if part.is_file() else sorted(part.rglob("*.py"))))


def test_the_checks_see_what_is_wrong(tmp_path: Path) -> None:
    assert not known(Step("", "bash", "", "make up\n"))
    assert not known(Step("", "sh", "needs azure", "make up\n"))
    assert [*paths("settings/nobody.py, ~/.cache/x/y and Pulumi.nobody.yaml")] == [
        "settings/nobody.py",
        "Pulumi.nobody.yaml",
    ]
    assert "trafic" not in keys()
    (tmp_path / "Pulumi.local.yaml").write_text((ROOT / "Pulumi.local.yaml").read_text())
    found = problem(tmp_path / "Pulumi.local.yaml", {"azureml-endpoints:drainSecond": 3})
    assert "drainSecond" in str(found)


# troubleshooting: by the text of the error

SOURCES = {
    "Before anything is touched": ("settings", "components"),
    "Uploads, deployments and traffic": ("dynamic",),
    "Deployments that do not start": ("localazure",),
    "Requests": ("localazure",),
    "Batch jobs": ("localazure",),
    "Local Azure": ("localazure",),
    "Pulumi, and `make`": ("tools", "localazure/pulumi_plugin"),
}
# Not of ours: the end-to-end test looks for Pulumi's in Pulumi, and Azure's are documented by Microsoft.
ELSEWHERE = {"Pulumi, and `make`": PULUMI_SAYS, "Azure only": None}


def quoted() -> Iterator[tuple[str, str]]:
    """The section and the text of each error on the page."""
    for section in re.split(r"^## ", (GUIDES / "troubleshooting.md").read_text(), flags=re.MULTILINE)[1:]:
        title = section.partition("\n")[0]
        for heading in re.findall(r"^### (.*)$", section, re.MULTILINE):
            yield from ((title, text) for text in CODE.findall(heading))


QUOTED = list(quoted())


@pytest.mark.parametrize(("section", "text"), QUOTED, ids=[text for _, text in QUOTED])
def test_an_error_that_troubleshooting_quotes_can_still_occur(section: str, text: str) -> None:
    if section in ELSEWHERE and (ELSEWHERE[section] is None or text in ELSEWHERE[section]):
        return
    assert is_said(text, SOURCES[section]), f"nobody in {SOURCES[section]} says: {text}"


def is_said(text: str, parts: tuple[str, ...]) -> bool:
    """Whether a text of the program reads like this; `…` on the page and what a text fills in are anything."""
    assert max(map(len, text.split("…"))) >= 8, f"too little of {text} is there to be looked for"
    pattern = re.compile(".*?".join(re.escape(piece.strip()) for piece in text.split("…")), re.DOTALL)
    return any(pattern.search(each) for part in parts for each in texts(part))


@cache
def texts(part: str) -> frozenset[str]:
    """Every text in a part of the program, f-strings whole with `…` for what they fill in."""
    files = [file for file in sources() if file.is_relative_to(ROOT / part)]
    return frozenset(
        " ".join(text.replace("`", "").split())
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if (text := as_text(node))
    )


def as_text(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(as_text(part) or "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_a_text_that_nobody_says_is_found_out() -> None:
    assert len(QUOTED) > 60
    assert {section for section, _ in QUOTED} == {*SOURCES, *ELSEWHERE}
    assert is_said("percentages add up to … (…)", ("settings",))
    assert not is_said("percentages add up to … per cent", ("settings",))
    assert not is_said("percentages add up to … (…)", ("dynamic",))


# the numbers that the guide to Azure works out


def test_the_guide_to_azure_has_the_quota_that_dev_takes() -> None:
    config = entries((ROOT / "Pulumi.dev.yaml").read_text())
    page = (GUIDES / "azure.md").read_text()
    needed: dict[str, int] = {}
    for name, deployment in config["azureml-endpoints:onlineEndpoints"]["tumor-online"]["deployments"].items():
        size, count = SIZES[deployment["instanceType"].lower()], deployment["instanceCount"]
        needed[name] = math.ceil(1.2 * count) * size.cores
        row = rf"\| {name} \| {size.name}, {size.cores} cores \| {count} \| {needed[name]} \| {size.family} \|"
        assert re.search(row, page), f"no row is {row}"
    assert f"{sum(needed.values())} more, for its time" in page
    assert f"So {2 * sum(needed.values())} cores of" in page
    (cluster,) = config["azureml-endpoints:computeClusters"].values()
    cores = SIZES[cluster["vmSize"].lower()].cores
    most = cluster["maxInstances"]
    assert f"{cluster['vmSize']}, {cores} cores | {most} at most | {cores * most}, low priority |" in page


def test_the_guide_to_azure_registers_the_providers_that_the_program_uses() -> None:
    used = {name for row in RESOURCES.values() for name in re.findall(r"/providers/Microsoft\.(\w+)/", row.path)}
    (loop,) = re.findall(r"for provider in ([\w\s\\]+);", (GUIDES / "azure.md").read_text())
    # Of every subscription from the start.
    assert {*loop.replace("\\", "").split()} == used - {"Authorization"}
