"""A Local Azure that can be stopped, killed and started again under a client that stays: one server, many lives."""

from __future__ import annotations

import shutil
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from localazure.azure import LocalAzure
from localazure.batch import BatchResult, BatchSpec
from localazure.gateway.azurite import AzuriteFleet
from localazure.gateway.identity import developer_id
from localazure.gateway.tokens import TokenIssuer
from localazure.home import Home
from localazure.providers.ml import content
from localazure.serving import Serving
from localazure.settings import Settings
from tests.localazure.providers.conftest import FakeFleet, FakeServing, served

ARM = "management.azure.com"
API = "api-version=2025-12-01"
RUNNER = "localazure.providers.ml.job_runner"


class Switchboard:
    """An ASGI application that is whatever lives at the moment."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class LoggedServing(FakeServing):
    """Serves nothing, and has logs."""

    def logs(self, *_asked: object) -> str:
        return "nothing happened"


class FakeScoring:
    """Scores nothing: a batch job ends when `gate` is open, or when it is canceled."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()

    def run(self, spec: BatchSpec, *, cancelled: threading.Event, **_rest: object) -> BatchResult:
        while not self.gate.wait(0.01) and not cancelled.is_set():
            pass
        return BatchResult(not cancelled.is_set(), 1, 0, "canceled" if cancelled.is_set() else "")


@contextmanager
def exchange() -> Iterator[tuple[Switchboard, httpx.Client]]:
    """A server on a free port whose application can be exchanged, and a client of it."""
    board = Switchboard()
    with served(board, "critical") as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        yield board, client


@contextmanager
def unreal(folder: Path) -> Iterator[FakeScoring]:
    """While it lasts, models and code are on disk already, and batch jobs score nothing."""
    found, scoring = content.ModelFiles(folder, folder / "model"), FakeScoring()
    loaded = [
        module for name, module in sys.modules.items() if name.startswith("localazure.") and module is not content
    ]
    with pytest.MonkeyPatch.context() as patch:
        for module in loaded:
            if hasattr(module, "model_files"):
                patch.setattr(module, "model_files", lambda *args: found)
            if hasattr(module, "code_folder"):
                patch.setattr(module, "code_folder", lambda *args: folder)
        patch.setattr(f"{RUNNER}.batch.run", scoring.run)
        patch.setattr(f"{RUNNER}.fetch", lambda cloud, place, folder: folder.mkdir(parents=True, exist_ok=True))
        patch.setattr(f"{RUNNER}.JobRunner._python", lambda *args: folder / "python")
        yield scoring


def signing(folder: Path) -> TokenIssuer:
    """A signing key, made once: it takes longer than all else of a start."""
    home = Home.at(folder)
    home.create()
    return TokenIssuer.at(home, Settings().tenant_id)


class Life:
    """One Local Azure after another on the same state, as a machine has them."""

    def __init__(
        self, board: Switchboard, client: httpx.Client, folder: Path, tokens: TokenIssuer, scoring: FakeScoring
    ):
        """`folder` is for the state; `tokens` outlive each life, as the key that signs them does."""
        self._board = board
        self._client = client
        self._folder = folder
        self._count = 0
        self._scoring = scoring
        self._home = folder / "home0"
        self.tokens = tokens
        self._boot()

    # Life and death -----------------------------------------------------------------------------------------------

    def _boot(self) -> None:
        home = Home.at(self._home)
        home.create()
        self.settings = Settings(operation_retry_after_ms=1)
        self.serving = LoggedServing()
        fleet = cast("AzuriteFleet", FakeFleet())
        self.azure = LocalAzure(self.settings, home, self.tokens, fleet, cast("Serving", self.serving))
        self.azure.start(0)
        self._token = self.tokens.issue(f"https://{ARM}", object_id="someone")
        self._board.app = self.azure.app

    def release(self) -> None:
        """Lets deployments and jobs go on."""
        self.serving.gate.set()
        self._scoring.gate.set()

    def hold(self) -> None:
        """Deployments and jobs that begin from now on do not come to an end."""
        self.serving.gate.clear()
        self._scoring.gate.clear()

    def stop(self) -> None:
        """An end in good order."""
        self.azure.stop()
        self.release()

    def restart(self) -> None:
        """A stop in good order, and a start."""
        self.stop()
        self._boot()

    def kill(self) -> None:
        """An end without a word: from one moment to the next nothing is written any more. Then a start."""
        store = self.azure._cloud.store
        with store._lock:
            store._db.close()
        self._end_of_the_dead()
        self._boot()

    def _end_of_the_dead(self) -> None:
        # Its threads write nowhere that anybody looks; they only have to end.
        self.azure._online.stop()
        self.azure._cloud.operations.stop()
        self.azure._runner.stop()
        self.release()

    def photograph(self, statement: int) -> Photograph:
        """Keeps what lies on disk at the moment of the n-th SQL statement from now on: what `kill -9` there leaves."""
        self._count += 1
        found = Photograph(self._home, self._folder / f"home{self._count}", statement)
        self.azure._cloud.store._db.set_trace_callback(found)
        return found

    def wake_from(self, photograph: Photograph) -> None:
        """Starts from what a photograph kept; what happened after it never did."""
        self.azure._cloud.store._db.set_trace_callback(None)
        photograph.take()
        self.stop()
        self._home = photograph.to
        self._boot()

    # What can be seen ---------------------------------------------------------------------------------------------

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """One request with a valid token; the api-version is added."""
        where = path.removeprefix(f"https://{ARM}")
        if "api-version=" not in where:
            where += ("&" if "?" in where else "?") + API
        sent = {"Host": ARM, "Authorization": f"Bearer {self._token}", **headers}
        return self._client.request(method, where, json=body, headers=sent)

    def token_for(self, audience: str) -> str:
        return self.tokens.issue(audience, object_id=developer_id(Settings().tenant_id))

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that is on disk: every row of every table."""
        with closing(sqlite3.connect(f"file:{self._home / 'state.db'}?mode=ro", uri=True)) as reader:
            tables = [name for (name,) in reader.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {table: reader.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables}


class Photograph:
    """A copy of a state folder, taken when the database is about to run its n-th statement."""

    def __init__(self, home: Path, to: Path, statement: int) -> None:
        self._home = home
        self.to = to
        self._left = statement
        self._taken = threading.Lock()
        self.answered = False
        self.was_answered = False

    def __call__(self, _statement: str) -> None:
        self._left -= 1
        if self._left == 0:
            self.take()

    def take(self) -> None:
        """Takes it now, where it has not been taken."""
        with self._taken:
            if self.to.exists():
                return
            # What was answered before the copy begins has to be in it.
            self.was_answered = self.answered
            shutil.copytree(self._home, self.to, ignore=shutil.ignore_patterns("*-shm"))
