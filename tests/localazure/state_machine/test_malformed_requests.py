"""Requests that are wrong in any way, at every route: a 4xx or 501 in ARM's form, and nothing changes.

They are generated from the route table and from a valid body of each resource type.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.localazure.state_machine.kinds import KINDS, Json, Kind
from tests.localazure.state_machine.standing import Reply, Standing, standing

JSON = "application/json"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """One for all tests: none of them changes anything, or it puts it back."""
    with standing(tmp_path_factory.mktemp("standing")) as found:
        yield found


def refused(world: Standing, before: Any, answer: Reply, context: str) -> None:
    """What holds of a refusal."""
    assert 400 <= answer.status < 500 or answer.status == 501, f"{context}: {answer.text}"
    answer.error()
    assert world.life.rows() == before, f"refused, and applied: {context}"


# Bodies that are none -------------------------------------------------------------------------------------------------

NONE = {
    "cut off": b'{"location": "eastus"',
    "a list": b"[]",
    "a number": b"1",
    "text": b'"eastus"',
    "null": b"null",
    "NaN": b'{"location": "eastus", "tags": {"x": NaN}}',
    "beyond a float": b'{"location": "eastus", "tags": {"x": 1e999}}',
    "half a surrogate pair": b'{"location": "eastus", "tags": {"x": "\\ud800"}}',
    "half a surrogate pair as a name": b'{"location": "eastus", "tags": {"\\udfff": "x"}}',
    "nested too deeply": b'{"location": "eastus", "x": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "UTF-16": '{"location": "eastus"}'.encode("utf-16"),
    "not UTF-8": b'{"location": "\xff\xfe"}',
    "a byte order mark": b'\xef\xbb\xbf{"location": "eastus"}',
    "compressed": gzip.compress(b'{"location": "eastus"}'),
    "a NUL before it": b'\x00{"location": "eastus"}',
    "two objects": b'{"location": "eastus"}{}',
}


@pytest.mark.parametrize("what", NONE)
def test_a_body_that_is_no_json_object_is_refused_at_every_write(world: Standing, what: str) -> None:
    before = world.life.rows()
    for route in world.routes:
        if route.method in ("PUT", "PATCH"):
            path, kind = world.target(route)
            query = f"?{kind.put_query}" if kind else "?"
            answer = world.raw(route.method, path + query, NONE[what], JSON)
            refused(world, before, answer, f"{route.method} {path} with {what}")


@pytest.mark.parametrize("what", ["a list", "cut off", "NaN", "UTF-16"])
def test_a_body_that_is_no_json_object_changes_nothing_at_an_action(world: Standing, what: str) -> None:
    before = world.life.rows()
    for route in world.routes:
        if route.method == "POST":
            path, _ = world.target(route)
            answer = world.raw("POST", path, NONE[what], JSON)
            assert answer.status < 500 or answer.status == 501, f"{path}: {answer.text}"
            if answer.status >= 400:
                refused(world, before, answer, f"{path} with {what}")
            else:  # an action that takes no body does not look at it
                world.settle()
                before = world.life.rows()


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", f"{JSON}; charset=utf-16"]
)
def test_a_body_of_another_media_type_is_refused(world: Standing, kind: str) -> None:
    before = world.life.rows()
    for name, path in world.ids.items():
        body = json.dumps(world.bodies[name]).encode()
        answer = world.raw("PUT", f"{path}?{KINDS[name].put_query}", body, kind)
        assert answer.status == 415, f"{path}: {answer.text}"
        refused(world, before, answer, path)


@pytest.mark.parametrize("kind", [f"{JSON}; charset=utf-8", "text/json", "application/merge-patch+json"])
def test_json_by_another_name_is_taken(world: Standing, kind: str) -> None:
    body = json.dumps(world.bodies["group"]).encode()
    assert world.raw("PUT", world.ids["group"], body, kind).status == 200


@pytest.mark.parametrize("size", [5 * 1024 * 1024, 9 * 1024 * 1024])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_huge_body_is_a_413(world: Standing, size: int, chunked: bool) -> None:
    before = world.life.rows()
    body = json.dumps({"location": "eastus", "tags": {"x": "y" * size}}).encode()
    content = iter([body[:1000], body[1000:]]) if chunked else body
    answer = world.raw("PUT", world.ids["group"], content, JSON)
    assert answer.status == 413, answer.text
    refused(world, before, answer, "a huge body")


# Properties of the wrong type -----------------------------------------------------------------------------------------

DEEP: Any = "deep"
for _ in range(90):
    DEEP = [DEEP]
WRONG: list[Any] = [None, 7, -0.5, "", "x", True, [], ["x"], {}, {"x": {"y": []}}, "z" * 200_000, DEEP]


def paths(value: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all properties of a body."""
    for name, inner in value.items() if isinstance(value, dict) else ():
        yield (*above, name)
        yield from paths(inner, (*above, name))


def replaced(body: Json, path: tuple[str, ...], value: Any) -> Json:
    """The body with another value at a path."""
    head, *rest = path
    return {**body, head: replaced(body[head], tuple(rest), value) if rest else value}


def value_at(body: Json, path: tuple[str, ...]) -> Any:
    for name in path:
        body = body[name]
    return body


# What the specification leaves open: the steps of a pipeline, and what a component is made of.
ANYTHING = ("properties.action.jobDefinition.jobs.", "properties.componentSpec.")


def is_plainly_wrong(path: tuple[str, ...], right: Any, wrong: Any) -> bool:
    """Whether no service takes this value where that one belongs."""
    if wrong is None or ".".join(path).startswith(ANYTHING):
        return False
    if isinstance(right, dict | list) or isinstance(wrong, dict | list):
        return type(right) is not type(wrong)
    # Scalars stand in for each other in places: tags take numbers, and clients send 2.0 for 2.
    return isinstance(right, bool | int) and isinstance(wrong, str)


def try_wrong(world: Standing, kind: Kind, share: int) -> None:
    """Every property of a kind's body in turn with every wrong value; one in `share` of the pairs."""
    body, target = world.bodies[kind.name], f"{world.ids[kind.name]}?{kind.put_query}"
    before, count = world.life.rows(), 0
    for path in paths(body):
        for wrong in WRONG:
            count += 1
            if count % share:
                continue
            context = f"{kind.name}: {'.'.join(path)} = {json.dumps(wrong)[:60]}"
            answer = world.raw("PUT", target, json.dumps(replaced(body, path, wrong)), JSON)
            assert answer.status < 500 or answer.status == 501, f"{context}: {answer.text}"
            assert answer.status >= 400 or not is_plainly_wrong(path, value_at(body, path), wrong), f"{context}: taken"
            if answer.status >= 400:
                refused(world, before, answer, context)
            else:
                world.settle()
                assert world.raw("GET", target).status == 200, context
                world.restore(kind)
                before = world.life.rows()


@pytest.mark.parametrize("name", KINDS)
def test_a_property_of_the_wrong_type_is_refused(world: Standing, name: str) -> None:
    try_wrong(world, KINDS[name], 5)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_every_property_of_every_wrong_type_is_refused(world: Standing, name: str) -> None:
    try_wrong(world, KINDS[name], 1)


# Paths and queries ----------------------------------------------------------------------------------------------------

NAMES = (
    "..",
    ".",
    "%2e%2e",
    "%2E%2E%2f%2E%2E",
    "a%2fb",
    "a%5cb",
    "a%00b",
    "a%0d%0ab",
    "a%3fb",
    "a%23b",
    "a%25b",
    "n" * 300,
    "%c3%28",
    "%f0%9f%98%80",
    "%ef%bc%a1%ef%bc%a2%ef%bc%a3",
    "%d0%b0bc",
    "trailing.",
    "trailing%20",
    "%20",
    "%7f",
    "a;b",
    "<script>",
)
# Versions of assets may be any text, as in Azure.
FREE = ("{version}",)
# Some look odd and are names all the same: of letters of any script, or of an asset with a full stop at the end.
OF_LETTERS = ("%ef%bc%a1%ef%bc%a2%ef%bc%a3", "%d0%b0bc")
TAKEN = {"{group}": OF_LETTERS, "{component}": OF_LETTERS, "{name}": ("trailing.",), "{workflow}": ("trailing.",)}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_none_reaches_nothing(world: Standing, name: str) -> None:
    before = world.life.rows()
    for route in world.routes:
        template = route.template.text
        if route.method not in ("PUT", "DELETE", "POST") or any(free in template for free in FREE):
            continue
        path, kind = world.target(route)
        at = max(index for index, part in enumerate(template.split("/")) if part.startswith("{"))
        if name in TAKEN.get(template.split("/")[at], ()):
            continue
        at += len(path.split("/")) - len(template.split("/"))  # a scope has several parts
        parts = path.split("/")
        body = json.dumps(world.bodies[kind.name]) if kind and route.method == "PUT" else "{}"
        wrong = "/".join([*parts[:at], name, *parts[at + 1 :]])
        query = f"?{kind.query or kind.put_query}" if kind else "?"
        answer = world.raw(route.method, wrong + query, body, JSON)
        context = f"{route.method} {wrong}"
        # A DELETE of what cannot be there may say that nothing was.
        assert answer.status in (204, 501) or 400 <= answer.status < 500, f"{context}: {answer.text}"
        assert world.life.rows() == before, context


@pytest.mark.parametrize("version", ["", "?api-version=", "?api-version=%20"])
def test_a_request_says_an_api_version(world: Standing, version: str) -> None:
    before = world.life.rows()
    for route in world.routes:
        path, _ = world.target(route)
        answer = world.raw(route.method, path + version, version=False)
        code = "MissingApiVersionParameter" if version != "?api-version=%20" else "InvalidApiVersionParameter"
        if route.method == "HEAD":
            assert answer.status == 400
        else:
            assert answer.error()["code"] == code, f"{route.method} {path}: {answer.text}"
    assert world.life.rows() == before


@pytest.mark.parametrize(
    "version", ["1", "v1.0", "2025-13-01", "2025-12-1", "latest", "2025-12-01-", "..%2f..", "x" * 9000]
)
def test_an_api_version_that_looks_like_none_is_refused(world: Standing, version: str) -> None:
    answer = world.raw("GET", f"{world.ids['group']}?api-version={version}", version=False)
    assert answer.error()["code"] == "InvalidApiVersionParameter", answer.text


@pytest.mark.parametrize("version", ["2020-09-01-dataplanepreview", "2099-01-01", "2022-10-01-PREVIEW"])
def test_any_api_version_of_azures_form_is_answered(world: Standing, version: str) -> None:
    assert world.raw("GET", f"{world.ids['workspace']}?api-version={version}", version=False).status == 200


def test_a_path_with_empty_parts_is_none(world: Standing) -> None:
    before = world.life.rows()
    for name, path in world.ids.items():
        for wrong in (f"/{path}", "//".join(path.rsplit("/", 1)), f"{path}//"):
            for method in ("GET", "PUT", "DELETE"):
                answer = world.raw(method, wrong, json.dumps(world.bodies[name]), JSON)
                refused(world, before, answer, f"{method} {wrong}")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PURGE", "get"])
def test_a_method_that_a_route_does_not_know_is_refused(world: Standing, method: str) -> None:
    before = world.life.rows()
    known = {route.template.text for route in world.routes if route.method == method}
    for route in world.routes:
        if route.template.text not in known:
            path, _ = world.target(route)
            answer = world.raw(method, path)
            assert 400 <= answer.status < 500 or answer.status == 501, f"{method} {path}: {answer.text}"
    assert world.life.rows() == before


ODD = (
    "$top=abc",
    "$skip=-1",
    "$skip=1e3",
    "count=0",
    "$top=1&$top=x",
    "$skip=%00",
    "listViewType=7",
    "$filter='",
    "x=%ff",
)


@pytest.mark.parametrize("query", ODD)
def test_an_odd_query_changes_nothing(world: Standing, query: str) -> None:
    before = world.life.rows()
    for route in world.routes:
        if route.method == "GET":
            path, _ = world.target(route)
            answer = world.raw("GET", f"{path}?{query}")
            assert answer.status < 500 or answer.status == 501, f"{path}: {answer.text}"
            if answer.status >= 400:
                answer.error()
    assert world.life.rows() == before


def test_every_kind_of_resource_that_can_be_put_is_among_the_kinds(world: Standing) -> None:
    """Else the tests of this module, and the state machine, pass a type by."""
    others = (
        "Microsoft.Resources/deployments/{deployment}",
        "blobServices/default",
        "accessPolicies/{change}",
        # Only what is there can be written.
        "privateEndpointConnections/{connection}",
        # Others could not be written or deleted beside one.
        "locks/{lock}",
    )
    missing = [
        route.template.text
        for route in world.routes
        if route.method == "PUT" and world.target(route)[1] is None and not route.template.text.endswith(others)
    ]
    assert missing == []
