"""The URL table: one line an operation. Paths match in any case; the api-version takes no part in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from localazure.arm import body
from localazure.arm.ids import Template


class NoBody:
    """Marks an answer without a body, as opposed to one whose body is the literal `null`."""


NO_BODY = NoBody()


@dataclass(frozen=True)
class Answer:
    """What a handler answers.

    Attributes:
        status: HTTP status.
        body: JSON value (`None` is the literal `null`), text, or `NO_BODY`.
        headers: further headers.
    """

    status: int
    body: Any = NO_BODY
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """A request that matched a route.

    Attributes:
        host: the host name the client asked, without port.
        params: the holes of the route's template.
        query: query parameters; names folded to lower case.
        headers: request headers; names folded to lower case.
        raw: the request's body.
        caller: claims of the caller's token; empty on the routes that take none.
        template: the path of the resource that the route is about.
    """

    method: str
    host: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    raw: bytes
    caller: Mapping[str, Any]
    template: Template

    def json(self) -> dict[str, Any]:
        """The request's JSON object. Raises ArmError (400, 413, 415) for anything else."""
        return body.parse(self.raw, self.headers.get("content-type", ""))

    @property
    def api_version(self) -> str:
        """The api-version as sent; answers repeat it in the URLs they hand out."""
        return self.query.get("api-version", "")

    @property
    def path(self) -> str:
        """The resource's path in canonical case, with names as the caller wrote them."""
        return self.template.fill(dict(self.params))


Handler = Callable[[Call], Answer]


@dataclass(frozen=True)
class Route:
    """One operation.

    Attributes:
        template: the path that it answers at.
        resource: the path of the resource that it is about: without the name of the action, where it is one.
        open: whether it is answered without a token.
        slow: whether the handler waits for something; such a handler runs outside the transaction that others get.
        simplified: how it falls short of Azure's, in a phrase for its coverage page; empty where it does not.
    """

    method: str
    template: Template
    resource: Template
    handler: Handler
    open: bool = False
    slow: bool = False
    simplified: str = ""

    @classmethod
    def of(
        cls,
        method: str,
        path: str,
        handler: Handler,
        *,
        open: bool = False,
        slow: bool = False,
        simplified: str = "",
    ) -> Route:
        """A line of the table; a POST whose last segment is no hole is an action on what comes before it."""
        above, _, last = path.rpartition("/")
        action = method == "POST" and not last.startswith("{")
        return cls(method, Template(path), Template(above if action else path), handler, open, slow, simplified)


class Table:
    """The routes of one host, and the audiences that a caller's token may be for there.

    Where it is `versioned`, a request has to say an api-version.
    """

    def __init__(self, routes: Iterable[Route], audiences: Iterable[str] = (), *, versioned: bool = False) -> None:
        self.routes = tuple(routes)
        self.audiences = tuple(audiences)
        self.versioned = versioned

    def find(self, method: str, path: str) -> tuple[Route | None, dict[str, str], bool]:
        """The route for a request, its holes' values, and whether the path is known under another method."""
        known = False
        for route in self.routes:
            if (holes := route.template.match(path)) is not None:
                if route.method == method:
                    return route, holes, True
                known = True
        return None, {}, known
