"""The ASGI application: whatever a handler does, a client gets an answer in ARM's form."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from localazure.arm.app import create_app
from localazure.arm.routes import Answer, Call, Route, Table
from localazure.arm.store import Store, StoreError


class AnyToken:
    """Takes the token that is the name of an audience of the host's."""

    def verify(self, token: str, audiences: Collection[str]) -> Mapping[str, Any]:
        if token not in audiences:
            raise ValueError("another audience")
        return {}


def ask(
    folder: Path, handler: Callable[[Call], Answer], url: str = "http://one/x", token: str = "one"
) -> httpx.Response:
    """What an app with the hosts `one` and `two`, and this handler at both, answers."""
    tables = {name: Table([Route.of("GET", "/{name}", handler)], (name,)) for name in ("one", "two")}
    app = create_app(tables.get, store=Store(folder / "state.db"), tokens=AnyToken(), location="eastus")

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
            return await client.get(url, headers={"Authorization": f"Bearer {token}"})

    return asyncio.run(get())


def fail(_call: Call) -> Answer:
    raise StoreError("state.db was written by a newer Local Azure: update the checkout.")


def test_each_host_takes_tokens_of_its_own_audiences(tmp_path: Path) -> None:
    def own(call: Call) -> Answer:
        return Answer(200, {})

    assert ask(tmp_path, own, "http://one/x", "one").status_code == 200
    assert ask(tmp_path, own, "http://two/x", "one").status_code == 401
    assert ask(tmp_path, own, "http://two/x", "two").status_code == 200


def test_a_failure_with_a_way_out_is_told_as_it_is(tmp_path: Path) -> None:
    answer = ask(tmp_path, fail)
    assert answer.status_code == 500
    assert answer.json()["error"]["message"].endswith("update the checkout.")


@pytest.mark.parametrize("body", [{1, 2}, object()])
def test_an_answer_that_cannot_be_sent_is_an_error_in_arm_form(tmp_path: Path, body: object) -> None:
    answer = ask(tmp_path, lambda call: Answer(200, body))
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "InternalServerError"


def test_a_name_of_any_alphabet_is_percent_encoded_in_a_link(tmp_path: Path) -> None:
    headers = {"Location": "https://one/日本?a=%20b"}
    answer = ask(tmp_path, lambda call: Answer(201, {}, headers))
    assert answer.headers["location"] == "https://one/%E6%97%A5%E6%9C%AC?a=%20b"
