"""A Local Azure with one resource of each kind, and raw requests to it: what a library would not send."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localazure.arm.routes import Route
from tests.localazure.state_machine.front import API, ARM, Life, exchange, signing, unreal
from tests.localazure.state_machine.kinds import KINDS, Json, Kind


@dataclass
class Reply:
    """An answer as it came."""

    status: int
    headers: dict[str, str]
    content: bytes

    def error(self) -> Json:
        """The error of a refusal; AssertionError where it has not ARM's shape."""
        assert self.headers.get("x-ms-response-type") == "error", self.text
        error = json.loads(self.content)["error"]
        assert isinstance(error["code"], str), self.text
        assert isinstance(error["message"], str), self.text
        assert error["code"], self.text
        assert error["message"], self.text
        return error

    @property
    def text(self) -> str:
        return f"{self.status} {self.content[:600].decode('utf-8', 'replace')}"


@dataclass
class Standing:
    """One resource of each kind.

    Attributes:
        life: the Local Azure.
        port: where it answers.
        ids: the id of the resource of each kind.
        bodies: what made it.
    """

    life: Life
    port: int
    ids: dict[str, str] = field(default_factory=dict)
    bodies: dict[str, Json] = field(default_factory=dict)

    def some(self, kind: str, below: str = "") -> str | None:
        found = self.ids.get(kind)
        return found if found and found.startswith(below) else None

    def fill(self) -> None:
        """Makes one of each kind, in the order of the kinds."""
        subscription = f"/subscriptions/{self.life.settings.subscription_id}"
        for kind in KINDS.values():
            parent = self.ids[kind.above[0]] if kind.above else subscription
            body = kind.body(self, parent, 1)
            if body is not None and kind.names:
                self.ids[kind.name], self.bodies[kind.name] = kind.id(parent, kind.names[0]), body
                self.restore(kind)

    def restore(self, kind: Kind) -> None:
        """Puts the resource of a kind back as it was."""
        self.settle()
        answer = self.life.send("PUT", f"{self.ids[kind.name]}?{kind.put_query}", self.bodies[kind.name])
        assert answer.status_code < 300, f"{kind.name}: {answer.text}"
        self.settle()

    def settle(self) -> None:
        """Waits until no operation runs."""
        for _ in range(4000):
            if not self.life.azure._cloud.store.running():
                return
            time.sleep(0.002)
        raise AssertionError("operations did not end")

    def raw(self, method: str, target: str, content: Any = None, kind: str = "", *, version: bool = True) -> Reply:
        """One request with a valid token, its target and its content, which is of that kind, sent as they are."""
        if version and "api-version=" not in target:
            target += ("&" if "?" in target else "?") + API
        sent = {"Host": ARM, "Authorization": f"Bearer {self.life._token}"} | ({"Content-Type": kind} if kind else {})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, target, content, sent)
            answer = connection.getresponse()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    # The route table ----------------------------------------------------------------------------------------------

    @property
    def routes(self) -> tuple[Route, ...]:
        """All that the ARM host answers."""
        return self.life.azure._arm.routes

    def target(self, route: Route) -> tuple[str, Kind | None]:
        """A path that a route answers at, and the kind of the resource that it is about, where there is one."""
        for name, resource_id in self.ids.items():
            if route.resource.match(resource_id) and "*" not in route.resource.text:
                action = route.template.text.removeprefix(route.resource.text)
                return resource_id + action, KINDS[name]
        scoped = {"roleAssignments/{": "assignment", "roleDefinitions/{": "role", "Settings/{": "diagnostic setting"}
        for part, named in scoped.items():
            if named in self.ids and part in route.template.text:
                return self.ids[named], KINDS[named]
        return self.beside(route), None

    def beside(self, route: Route) -> str:
        """A path that matches a route's, below what there is as far as it goes."""
        best = max(self.ids.values(), key=lambda each: _common(route.template.text, each))
        parts = []
        for at, part in enumerate(route.template.text.split("/")):
            known = best.split("/")
            hole = part.startswith("{")
            if part == "{scope*}":
                parts.append(self.ids["group"].strip("/"))
            elif hole:
                follows = _fits(route.template.text.split("/")[:at], known) and at < len(known)
                parts.append(known[at] if follows else "nothing")
            else:
                parts.append(part)
        return "/".join(parts)


def _fits(template: list[str], path: list[str]) -> bool:
    pairs = zip(template, path, strict=False)
    return all(one.startswith("{") or one.lower() == other.lower() for one, other in pairs)


def _common(template: str, path: str) -> int:
    count = 0
    for one, other in zip(template.split("/"), path.split("/"), strict=False):
        if not one.startswith("{") and one.lower() != other.lower():
            break
        count += 1
    return count


@contextmanager
def standing(folder: Path) -> Iterator[Standing]:
    """A Local Azure with one resource of each kind."""
    tokens = signing(folder / "keys")
    with unreal(folder) as scoring, exchange() as (board, client):
        life = Life(board, client, folder, tokens, scoring)
        made = Standing(life, client.base_url.port or 0)
        try:
            made.fill()
            yield made
        finally:
            life.stop()
