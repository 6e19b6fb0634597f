"""A GitHub of a test's own: the part of its REST API that the workflows use, over HTTP, with everything in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Item = dict[str, Any]
BOT: Item = {"login": "github-actions[bot]", "type": "Bot"}
PERSON: Item = {"login": "somebody", "type": "User"}
TOKEN = "a-token"


class FakeGitHub:
    """`issues` and `comments` by number, `pulls` and `deployments` as GitHub lists them, `writes` as they came."""

    def __init__(self) -> None:
        self.issues: dict[int, Item] = {}
        self.comments: dict[int, list[Item]] = {}
        self.pulls: list[Item] = []
        self.deployments: list[Item] = []
        self.statuses: dict[int, list[str]] = {}
        self.writes: list[tuple[str, str]] = []
        self.url = ""

    @property
    def environment(self) -> dict[str, str]:
        """What a step of a workflow has."""
        return {"GITHUB_API_URL": self.url, "GITHUB_REPOSITORY": "team/models", "GITHUB_TOKEN": TOKEN}

    def answer(self, method: str, path: list[str], query: dict[str, list[str]], body: Item | None) -> Any:
        """What GitHub would answer; None where it has nothing there."""
        if body is not None:
            self.writes.append((method, "/".join(path)))
        match method, *path:
            case "GET", "pulls":
                return self._page([each for each in self.pulls if each["label"] == query["head"][0]], query)
            case "GET", "issues":
                return self._page([each for each in self.issues.values() if each["state"] == "open"], query)
            case "POST", "issues":
                number = len(self.issues) + 100
                self.issues[number] = {"number": number, "state": "open", "user": BOT, **(body or {})}
                return self.issues[number]
            case "PATCH", "issues", "comments", number:
                found = next(each for all_ in self.comments.values() for each in all_ if each["id"] == int(number))
                found |= body or {}
                return found
            case "PATCH", "issues", number:
                self.issues[int(number)] |= body or {}
                return self.issues[int(number)]
            case "GET", "issues", number, "comments":
                return self._page(self.comments.get(int(number), []), query)
            case "POST", "issues", number, "comments":
                ids = [each["id"] for all_ in self.comments.values() for each in all_]
                made = {"id": max(ids, default=0) + 1, "user": BOT, **(body or {})}
                self.comments.setdefault(int(number), []).append(made)
                return made
            case "GET", "deployments":
                found = [each for each in self.deployments if each["environment"] == query["environment"][0]]
                return self._page(found, query)
            case "GET", "deployments", number, "statuses":
                return self._page([{"state": each} for each in self.statuses.get(int(number), [])], query)
        return None

    @staticmethod
    def _page(items: list[Item], query: dict[str, list[str]]) -> list[Item]:
        size, number = int(query["per_page"][0]), int(query["page"][0])
        return items[size * (number - 1) : size * number]


@contextmanager
def served() -> Iterator[FakeGitHub]:
    """A GitHub on a free port."""
    github = FakeGitHub()

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            url = urlsplit(self.path)
            path = url.path.removeprefix("/repos/team/models/").split("/")
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                self._send(403, {"message": "Resource not accessible by integration"})
            elif (answer := github.answer(self.command, path, parse_qs(url.query), body)) is None:
                self._send(404, {"message": "Not Found"})
            else:
                self._send(200, answer)

        do_GET = do_POST = do_PATCH = _handle

        def _send(self, status: int, answer: Any) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    github.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield github
    finally:
        server.shutdown()
        server.server_close()
