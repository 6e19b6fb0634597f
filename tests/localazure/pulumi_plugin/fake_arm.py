"""An ARM that keeps what it is given: resources by id, operations that take some polls, faults on request."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

SUBSCRIPTION = "10ca1a2e-0000-4000-8000-000000000001"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
WORKSPACE = f"{GROUP}/providers/Microsoft.MachineLearningServices/workspaces/ws"
SECRET = "identity-secret"


@dataclass(frozen=True)
class Request:
    """One request that was made."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """One answer to give; with status 0 the connection is closed without one."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class FakeArm:
    """The state of the server, which tests read and set.

    Attributes:
        url: address of ARM; the identity endpoint is below it, at `/msi`.
        resources: bodies by lower-cased id.
        requests: every request to ARM, in order.
        operation: how writes answer: `none` at once, `async` by Azure-AsyncOperation, `location`, or `state` (only
            `provisioningState` tells).
        polls: how often an operation is `InProgress` before it ends.
        failure: error with which operations end; None: they succeed.
        faults: answers to give instead, each once, by method.
        actions: answers to POSTs, by last segment.
        computed: properties that ARM adds to a resource.
    """

    url: str = ""
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    operation: str = "none"
    polls: int = 1
    failure: dict[str, str] | None = None
    faults: dict[str, list[Answer]] = field(default_factory=dict)
    actions: dict[str, Any] = field(default_factory=dict)
    computed: Callable[[dict[str, Any]], None] = lambda resource: None
    _remaining: dict[str, int] = field(default_factory=dict)
    _deleting: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def handle(self, request: Request) -> Answer:
        """The answer to a request."""
        with self._lock:
            if request.path == "/msi":
                return self._token(request)
            self.requests.append(request)
            if self.faults.get(request.method):
                return self.faults[request.method].pop(0)
            return getattr(self, f"_{request.method.lower()}")(request)

    def sent(self, method: str) -> list[Request]:
        """The requests of one method."""
        return [request for request in self.requests if request.method == method]

    def environment(self) -> dict[str, str]:
        """Variables that lead the provider here."""
        return {
            "AZURE_NATIVE_LOCAL_ENDPOINT": self.url,
            "IDENTITY_ENDPOINT": f"{self.url}/msi",
            "IDENTITY_HEADER": SECRET,
            "ARM_SUBSCRIPTION_ID": SUBSCRIPTION,
        }

    def _token(self, request: Request) -> Answer:
        if request.headers.get("x-identity-header") != SECRET:
            return Answer(401, {"error": {"code": "Unauthorized", "message": "wrong X-IDENTITY-HEADER"}})
        claims = {"aud": request.query["resource"], "oid": "object", "appid": "client", "tid": "tenant"}
        payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        return Answer(200, {"access_token": f"e30.{payload}.sig", "expires_on": "4102444800", "token_type": "Bearer"})

    def _get(self, request: Request) -> Answer:
        if request.path.startswith("/operations/"):
            return self._operation_state(request.path)
        resource = self.resources.get(request.path.lower())
        if resource is None:
            return Answer(404, {"error": {"code": "ResourceNotFound", "message": f"{request.path} was not found."}})
        if self.operation == "state":
            self._advance(request.path.lower(), resource)
        return Answer(200, resource)

    def _put(self, request: Request) -> Answer:
        key = request.path.lower()
        new = key not in self.resources
        resource = json.loads(json.dumps(request.body)) | {"id": request.path, "name": request.path.split("/")[-1]}
        resource["type"] = "Microsoft.Fake/things"
        self.computed(resource)
        self.resources[key] = resource
        return self._begun(201 if new else 200, key, resource)

    def _delete(self, request: Request) -> Answer:
        key = request.path.lower()
        if key not in self.resources:
            return Answer(204)
        if self.operation in ("async", "location"):
            self._deleting[f"/operations{key}"] = key
            return self._begun(202, key, None)
        del self.resources[key]
        return Answer(200)

    def _post(self, request: Request) -> Answer:
        action = request.path.split("/")[-1]
        if action not in self.actions:
            return Answer(404, {"error": {"code": "NotFound", "message": f"no action {action}"}})
        return Answer(200, self.actions[action])

    def _begun(self, status: int, key: str, body: Any) -> Answer:
        self._remaining[f"/operations{key}"] = self.polls
        headers = {
            # Another host's name: the provider must not follow it there.
            "async": {"Azure-AsyncOperation": f"https://management.azure.com/operations{key}?api-version=x"},
            "location": {"Location": f"/operations{key}"},
        }.get(self.operation, {})
        if self.operation == "state" and body:
            body.setdefault("properties", {})["provisioningState"] = "Creating"
        return Answer(202 if self.operation == "location" else status, body, {**headers, "retry-after-ms": "5"})

    def _operation_state(self, path: str) -> Answer:
        self._remaining[path] -= 1
        running = self._remaining[path] >= 0
        if running:
            status = 202 if self.operation == "location" else 200
            return Answer(status, {"status": "InProgress"}, {"retry-after-ms": "5"})
        if path in self._deleting:
            self.resources.pop(self._deleting.pop(path), None)
        if self.failure:
            return Answer(200, {"status": "Failed", "error": self.failure})
        ended = {"status": "Succeeded"}
        return Answer(200, ended if self.operation == "async" else self.resources.get(path.removeprefix("/operations")))

    def _advance(self, key: str, resource: dict[str, Any]) -> None:
        operation = f"/operations{key}"
        self._remaining[operation] = self._remaining.get(operation, 0) - 1
        if self._remaining[operation] < 0:
            resource["properties"]["provisioningState"] = "Failed" if self.failure else "Succeeded"


@contextmanager
def running() -> Iterator[FakeArm]:
    """A server on a free port of loopback."""
    arm = FakeArm()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            content = self.rfile.read(length)
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = json.loads(content) if content else None
            answer = arm.handle(Request(self.command, parts.path, query, body, headers))
            sent = b"" if answer.body is None else json.dumps(answer.body).encode()
            if answer.status == 0:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_PUT = do_DELETE = do_POST = _answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    arm.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield arm
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
