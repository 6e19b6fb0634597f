"""Keys and tokens from the control plane at the router that requests meet: a real Envoy, with nothing deployed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import httpx
import pytest

from localazure.gateway.tokens import TokenIssuer
from localazure.home import Home
from localazure.serving import Serving
from localazure.settings import Settings
from tests.localazure.providers.conftest import Cloud, FakeServing, booted

# Who is let in is told that nothing is deployed.
LET_IN, KEPT_OUT = 404, 401


@pytest.fixture
def routed(tmp_path: Path, files: None) -> Iterator[Cloud]:
    home = Home.at(tmp_path / "home")
    home.create()
    settings = Settings()
    tokens = TokenIssuer.at(home, settings.tenant_id)
    serving = Serving(settings, home, jwks=tokens.jwks(), issuer=tokens.issuer)
    with booted(tmp_path / "home", cast("FakeServing", serving)) as made:
        made.prepare()
        yield made


def score(cloud: Cloud, credential: str, endpoint: str = "online") -> int:
    headers = {"Host": f"{endpoint}.eastus.inference.ml.azure.com", "Authorization": f"Bearer {credential}"}
    port = cast("Serving", cloud.serving).port
    return httpx.post(f"http://127.0.0.1:{port}/score", headers=headers, json={}, trust_env=False).status_code


def test_a_regenerated_key_is_let_in_the_old_one_is_not_and_the_other_always_is(routed: Cloud) -> None:
    routed.put(routed.endpoint(), routed.endpoint_body())
    before = routed.send("POST", f"{routed.endpoint()}/listKeys").json()
    seen: list[int] = []
    done = threading.Event()

    def caller() -> None:
        while not done.is_set():
            seen.append(score(routed, before["secondaryKey"]))

    thread = threading.Thread(target=caller)
    thread.start()
    try:
        for _ in range(3):
            old = routed.send("POST", f"{routed.endpoint()}/listKeys").json()["primaryKey"]
            assert score(routed, old) == LET_IN
            routed.wait(routed.send("POST", f"{routed.endpoint()}/regenerateKeys", {"keyType": "Primary"}))
            new = routed.send("POST", f"{routed.endpoint()}/listKeys").json()["primaryKey"]
            assert (score(routed, new), score(routed, old)) == (LET_IN, KEPT_OUT)
    finally:
        done.set()
        thread.join()
    assert set(seen) == {LET_IN}, "who holds the other key notices nothing"


def test_a_token_is_let_in_at_the_endpoint_that_handed_it_out_and_nowhere_else(routed: Cloud) -> None:
    for name in ("online", "other"):
        routed.put(routed.endpoint(name), routed.endpoint_body(authMode="AMLToken"))
    token = routed.send("POST", f"{routed.endpoint()}/token").json()["accessToken"]
    assert (score(routed, token), score(routed, token, "other")) == (LET_IN, KEPT_OUT)
    assert score(routed, routed.token) == KEPT_OUT, "a token for Resource Manager is none for scoring"
