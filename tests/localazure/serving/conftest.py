"""What the serving tests share: a home of their own, tokens, a stand-in for containers, and one environment."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import psutil
import pytest

from localazure.gateway.tokens import TokenIssuer
from localazure.home import Home
from localazure.processes import HOME_MARK
from localazure.serving import EnvironmentSpec, Serving
from localazure.serving.envoy import Router
from localazure.settings import Settings

HOST = "tumor.eastus.inference.ml.azure.com"
# The same list as an MLflow model's environment is completed to: one build serves every test.
REQUIREMENTS = ["mlflow-skinny==3.17.2", "azureml-inference-server-http", "pandas", "numpy"]


@pytest.fixture
def tokens(home: Home) -> TokenIssuer:
    """Signs tokens for that home."""
    return TokenIssuer.at(home, "10ca1a2e-0000-4000-8000-0000000000aa")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of environments, one for all workers of a run."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if own.name.startswith("popen-") else own
    return shared / "cache"


@pytest.fixture
def environment(cache: Path, monkeypatch: pytest.MonkeyPatch) -> EnvironmentSpec:
    """An environment with the inference server and the small MLflow."""
    monkeypatch.setenv("AZUREML_ENDPOINTS_CACHE", str(cache))
    return EnvironmentSpec("shared", "1", None, {"dependencies": ["python=3.11", "pip", {"pip": REQUIREMENTS}]})


@pytest.fixture
def router(home: Home, tokens: TokenIssuer) -> Iterator[Router]:
    """An Envoy of the test's own, with the routes of nobody."""
    made = Router(home, tokens.jwks(), tokens.issuer)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def serving(home: Home, tokens: TokenIssuer, environment: EnvironmentSpec) -> Iterator[Serving]:
    """Serving with its Envoy, two instances a deployment at most; nothing of it may be left."""
    made = Serving(Settings(max_instances_per_deployment=2), home, jwks=tokens.jwks(), issuer=tokens.issuer)
    made.start()
    yield made
    made.stop()
    assert not processes(home), "nothing may be left"


def processes(home: Home) -> list[psutil.Process]:
    """Every process that carries this home's mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(HOME_MARK) == home.id and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@dataclass
class Container:
    """Answers like an inference server does, as the request's own headers tell it."""

    name: str
    seen: list[dict[str, str]] = field(default_factory=list)
    busy: int = 0
    server: ThreadingHTTPServer = field(init=False)

    @property
    def port(self) -> int:
        return self.server.server_address[1]


def _handler(container: Container) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(0)

        def do_POST(self) -> None:
            self.answer(int(self.headers.get("content-length", 0)))

        def answer(self, size: int) -> None:
            body = self.rfile.read(size)
            container.seen.append({key.lower(): value for key, value in self.headers.items()})
            container.busy += 1
            time.sleep(float(self.headers.get("x-sleep", 0)))
            container.busy -= 1
            if "x-crash" in self.headers:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            status = int(self.headers.get("x-status", 200))
            text = json.dumps({"by": container.name, "path": self.path, "size": len(body)}).encode()
            # A 204 has no body, and no length either.
            text = b"" if status == 204 else text
            self.send_response(status)
            if text:
                self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


class QuietServer(ThreadingHTTPServer):
    """A router that gave up waiting has closed the connection: nothing to report."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@pytest.fixture
def container() -> Iterator[Callable[[str], Container]]:
    """Starts stand-in containers, and ends them."""
    started: list[Container] = []

    def start(name: str) -> Container:
        made = Container(name)
        made.server = QuietServer(("127.0.0.1", 0), _handler(made))
        threading.Thread(target=made.server.serve_forever, args=(0.02,), daemon=True).start()
        started.append(made)
        return made

    yield start
    for made in started:
        made.server.shutdown()
        made.server.server_close()


def client(port: int, key: str = "k1", **headers: str) -> httpx.Client:
    """A caller of the endpoint `tumor`; the proxy of this machine has no part in it."""
    own = {"Host": HOST, "Authorization": f"Bearer {key}", "Content-Type": "application/json"} | headers
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=own, trust_env=False, timeout=30)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something that happens by itself; the bound is only there so that a failing test ends."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
