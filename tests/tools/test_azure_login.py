"""The Azure CLI is kept logged in: by a GitHub that a test plays, and a CLI that writes down its calls."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tools import azure_login

LOGIN = ["login", "--service-principal", "--username", "me", "--tenant", "here", "--federated-token"]


class Issuer:
    """GitHub's issuer of assertions: what it answers to each request, and then that the job is over."""

    def __init__(self, answers: list[int]) -> None:
        self.answers, self.asked = answers, 0

    def serve(self) -> ThreadingHTTPServer:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = parse_qs(urlsplit(self.path).query)
                right = self.headers["Authorization"] == "Bearer a-token" and asked["audience"] == [
                    azure_login.AUDIENCE
                ]
                status = issuer.answers.pop(0) if issuer.answers and right else 401
                issuer.asked += 1
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps({"value": f"assertion-{issuer.asked}"}).encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server


@pytest.fixture
def issuer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    issuer = Issuer([])
    server = issuer.serve()
    (tmp_path / "az").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\n[ ! -e {tmp_path}/broken ] || exit 1\n')
    (tmp_path / "az").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"http://127.0.0.1:{server.server_port}/token?api-version=2.0")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "a-token")
    yield issuer
    server.shutdown()
    server.server_close()


def run() -> int:
    return azure_login.main(["--client-id", "me", "--tenant-id", "here", "--every", "0.01"])


def calls(tmp_path: Path) -> list[list[str]]:
    return [line.split() for line in (tmp_path / "calls").read_text().splitlines()]


def test_the_cli_is_logged_in_anew_until_the_job_is_over(issuer: Issuer, tmp_path: Path) -> None:
    issuer.answers = [200, 200, 200]
    assert run() == 0
    found = calls(tmp_path)
    assert [call[: len(LOGIN)] for call in found] == [LOGIN] * 3
    assert [call[len(LOGIN)] for call in found] == ["assertion-1", "assertion-2", "assertion-3"], "each by a new one"


def test_what_goes_wrong_once_is_tried_again(issuer: Issuer, tmp_path: Path) -> None:
    issuer.answers = [200, 500, 200]
    assert run() == 0
    assert [call[len(LOGIN)] for call in calls(tmp_path)] == ["assertion-1", "assertion-3"]


def test_no_assertion_is_printed(issuer: Issuer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken").touch()
    issuer.answers = [200]
    assert run() == 0
    printed = "".join(capsys.readouterr())
    assert "was not renewed" in printed
    assert "assertion-1" not in printed


def test_a_job_without_the_right_to_an_identity_is_told_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_URL", raising=False)
    assert run() == 1
    assert "`permissions: id-token: write`" in capsys.readouterr().err


def test_the_time_between_two_logins_is_less_than_an_assertion_lives() -> None:
    assert azure_login.EVERY + azure_login.SOON + 2 * azure_login.TIMEOUT < 600
