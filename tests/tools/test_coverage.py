"""Layer: the coverage page agrees with the route table, with Azure's operations and with the tests there are."""

import ast
import json
import re
from collections.abc import Mapping
from pathlib import Path

import azure.ai.ml._restclient.arm_ml_service as client
import pytest

from localazure.arm.routes import Answer, Route
from localazure.azure import ARM_HOST
from tools import coverage
from tools.coverage import NO, SIMPLIFIED, YES, Operation, address, emulated, evidence_in, known, merged, page, untested

GROUP = "/subscriptions/{subscription}/resourceGroups/{group}"
AGAIN = "run `make coverage-page`"


@pytest.fixture(scope="module")
def committed() -> str:
    return coverage.PAGE.read_text()


@pytest.fixture(scope="module")
def tables() -> Mapping[str, tuple[Route, ...]]:
    return coverage.routes()


def route(method: str, path: str, simplified: str = "") -> Route:
    return Route.of(method, path, lambda call: Answer(200), simplified=simplified)


# The committed page ---------------------------------------------------------------------------------------------------


def test_the_page_is_of_this_route_table(committed: str, tables: Mapping[str, tuple[Route, ...]]) -> None:
    again = page(merged(known(), emulated(tables, evidence_in(committed))))
    theirs, ours = set(committed.splitlines()), set(again.splitlines())
    assert theirs == ours, f"{AGAIN}: gone {sorted(theirs - ours)[:5]}, new {sorted(ours - theirs)[:5]}"
    assert committed == again, AGAIN


def test_every_operation_on_the_page_has_a_test(committed: str, tables: Mapping[str, tuple[Route, ...]]) -> None:
    operations = merged(known(), emulated(tables, evidence_in(committed)))
    assert not list(untested(operations)), "an operation without a test is a promise that nobody has tried"


def test_the_tests_that_the_page_names_exist(committed: str) -> None:
    named = set(evidence_in(committed).values())
    assert len(named) > 20
    assert not [test for test in sorted(named) if not exists(test)], AGAIN


def exists(test: str) -> bool:
    file, _, name = test.partition("::")
    path = coverage.ROOT / file
    nodes = ast.walk(ast.parse(path.read_text())) if path.is_file() else ()
    return name.rpartition("::")[2] in {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


def test_a_test_that_is_gone_is_seen() -> None:
    own = "tests/tools/test_coverage.py::"
    assert exists(own + "test_a_test_that_is_gone_is_seen")
    assert not exists(own + "test_that_nobody_wrote")
    assert not exists("tests/tools/test_gone.py::test_x")


# Azure's operations ---------------------------------------------------------------------------------------------------


def test_azure_mls_operations_are_those_of_its_own_client() -> None:
    source = (Path(client.__file__).parent / "operations" / "_operations.py").read_text()
    requests = re.findall(r"^def build_\w+_request\(.*?(?=^def |^class )", source, re.DOTALL | re.MULTILINE)
    assert len(requests) > 200
    ours = {each.key for each in known()}
    missing = {each.key for each in map(asked, requests)} - ours
    assert not missing, f"coverage_operations.json lacks {sorted(missing)[:3]}"


def asked(source: str) -> Operation:
    url = re.search(r'_url = \(?\s*((?:"[^"]*"\s*)+)', source)
    method = re.search(r'method="(\w+)"', source)
    assert url
    assert method
    (operation,) = emulated({ARM_HOST: [route(method[1], "".join(re.findall(r'"([^"]*)"', url[1])))]}, {})
    return operation


def test_no_operation_is_listed_twice() -> None:
    keys = [each.key for each in known()]
    assert len(keys) == len(set(keys))


# How it is made -------------------------------------------------------------------------------------------------------


def test_an_operation_is_yes_simplified_or_no() -> None:
    azure = [Operation("Microsoft.Things", method, "group:/things/{name}") for method in ("GET", "PUT", "DELETE")]
    path = GROUP + "/providers/microsoft.things/Things/{thing}"
    routes = [
        route("GET", path),
        route("PUT", path, "keeps no colour"),
        route("POST", path + "/paint", "answers 501: no"),
    ]
    found = merged(azure, emulated({ARM_HOST: routes}, {}))
    assert [(each.method, each.status, each.note) for each in found] == [
        ("GET", YES, ""),
        ("PUT", SIMPLIFIED, "keeps no colour"),
        ("DELETE", NO, ""),
        ("POST", NO, "answers 501: no"),
    ], "in the order of paths and methods, whatever a hole is called and however a path is spelled"
    assert {each.section for each in found} == {"Microsoft.Things"}


@pytest.mark.parametrize(
    ("path", "section", "short"),
    [
        (GROUP, "Microsoft.Resources", GROUP),
        (GROUP + "/providers/A.B/c/{c}", "A.B", "group:/c/{c}"),
        ("/subscriptions/{s}/providers/A.B/c", "A.B", "subscription:/c"),
        ("/{scope*}/providers/A.B/c/{c}", "A.B", "/{scope*}/providers/A.B/c/{c}"),
        ("/subscriptions/{s}/providers/{namespace}", "Microsoft.Resources", "/subscriptions/{s}/providers/{namespace}"),
    ],
)
def test_a_path_is_shortened_in_its_namespaces_section(path: str, section: str, short: str) -> None:
    (operation,) = emulated({ARM_HOST: [route("GET", path)]}, {})
    assert (operation.section, operation.path) == (section, short)


def test_what_other_hosts_answer_has_a_section_of_its_own() -> None:
    (operation,) = emulated({"scoring": [route("POST", "/jobs")]}, {})
    assert (operation.section, operation.path, operation.status) == ("scoring", "/jobs", YES)


def test_a_page_is_read_back_as_it_was_written() -> None:
    path = GROUP + "/providers/A.B/c/{c}"
    tables = {ARM_HOST: [route("GET", path, "a | in it"), route("PUT", path)], "scoring": [route("POST", "/jobs")]}
    named = {"a.b GET group:/c/{}": "tests/a.py::test_a", "scoring POST /jobs": "tests/b.py::test_b"}
    operations = merged([Operation("A.B", "DELETE", "group:/c/{c}")], emulated(tables, named))
    text = page(operations)
    assert evidence_in(text) == named
    assert [address(each) for each in untested(operations)] == ["a.b PUT group:/c/{}"]
    assert "| A.B | 1 | 1 | 1 |" in text
    assert "| PUT | `group:/c/{c}` | yes | **no test** |" in text


def test_a_route_without_a_test_makes_the_command_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = {ARM_HOST: (route("GET", GROUP), route("PUT", GROUP))}
    monkeypatch.setattr(coverage, "routes", lambda: tables)
    monkeypatch.setattr(coverage, "ROOT", tmp_path)
    monkeypatch.setattr(coverage, "PAGE", tmp_path / "page.md")
    record = tmp_path / "record.json"
    record.write_text(json.dumps({f"GET {GROUP}": ["tests/a.py::test_a[x]", "tests/b.py::test_b"]}))
    assert coverage.main(["--record", str(record)]) == 1
    assert "PUT Microsoft.Resources" in capsys.readouterr().err
    assert f"| GET | `{GROUP}` | yes | `tests/a.py::test_a` |" in (tmp_path / "page.md").read_text()
    record.write_text(json.dumps({f"{method} {GROUP}": ["tests/a.py::test_a"] for method in ("GET", "PUT")}))
    assert coverage.main(["--record", str(record)]) == 0
