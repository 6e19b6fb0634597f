"""Layer: the shape of the repository; which way imports go, and how long the pages are that people read."""

import ast
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OWN = {"settings", "components", "dynamic", "localazure", "scoring", "policies"}
# What each part may import of the others. Local Azure is reached by HTTPS only.
ALLOWED = {
    "__main__": {"settings", "components"},
    "settings": {"settings", "policies"},
    "components": {"settings", "components", "dynamic"},
    "dynamic": {"dynamic"},
    "localazure": {"localazure"},
    "policies": {"policies"},
    "scoring": set(),
}
# Whose import takes seconds, and which a preview must not pay for.
HEAVY = ("azure.ai.ml", "azure.identity", "azure.core", "azure.storage")


def files(part: str) -> list[Path]:
    alone = ROOT / f"{part}.py"
    return [alone] if alone.exists() else sorted((ROOT / part).rglob("*.py"))


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def parsed(file: Path) -> ast.Module:
    for _ in range(20):
        # Python 3.11 counts the depth of a tree for all threads in one: another one of a test before, whose traceback
        # is being formatted, parses too (https://github.com/python/cpython/issues/106905).
        with contextlib.suppress(SystemError):
            return ast.parse(file.read_text(encoding="utf-8"))
    return ast.parse(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("part", ALLOWED)
def test_imports_go_one_way(part: str) -> None:
    assert files(part), f"{part} has no Python file"
    for file in files(part):
        used = {name.partition(".")[0] for name in imports(parsed(file))} & OWN
        assert used <= ALLOWED[part], f"{file.relative_to(ROOT)} imports {sorted(used - ALLOWED[part])}"


def test_the_settings_share_one_module_with_the_pack_which_runs_anywhere() -> None:
    used = {name for file in files("settings") for name in imports(parsed(file)) if name.startswith("policies")}
    (shared,) = used
    names = set(imports(parsed(ROOT / f"{shared.replace('.', '/')}.py")))
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names, "the pack has other packages"


@pytest.mark.parametrize("part", ["__main__", "settings", "components", "dynamic"])
def test_what_a_preview_imports_is_light(part: str) -> None:
    for file in files(part):
        top = [node for node in parsed(file).body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = [name for node in top for name in imports(node)]
        heavy = [name for name in names if name.startswith(HEAVY)]
        assert not heavy, f"{file.relative_to(ROOT)} imports {heavy} at its top; do it inside the function"


def test_the_program_fits_on_a_page() -> None:
    assert len((ROOT / "__main__.py").read_text().splitlines()) <= 40


def test_component_constructors_fit_on_a_page() -> None:
    constructors = [
        (file.name, node.name, (item.end_lineno or 0) - item.lineno + 1)
        for file in files("components")
        for node in parsed(file).body
        if isinstance(node, ast.ClassDef)
        for item in node.body
        if isinstance(item, ast.FunctionDef) and item.name == "__init__"
    ]
    assert len(constructors) >= 5
    assert not [entry for entry in constructors if entry[2] > 40]


def test_every_component_says_what_it_made_and_shows_how_to_use_it() -> None:
    bases = {"pulumi.ComponentResource", "Endpoint", "Cluster"}
    components = [
        node
        for file in files("components")
        for node in parsed(file).body
        if isinstance(node, ast.ClassDef)
        if bases & (names := {ast.unparse(base) for base in node.bases}) and "ABC" not in names
    ]
    assert {component.name for component in components} >= {"MLWorkspace", "OnlineEndpoint", "BatchEndpoint"}
    for component in components:
        constructor = next(i for i in component.body if isinstance(i, ast.FunctionDef) and i.name == "__init__")
        assert "register_outputs" in ast.unparse(constructor.body[-1]), f"{component.name} registers outputs last"
        assert "```python" in (ast.get_docstring(component) or ""), f"{component.name} has no example"
