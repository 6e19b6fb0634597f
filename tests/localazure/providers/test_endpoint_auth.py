"""Keys and tokens from the control plane at the router that requests meet: a real Envoy, with nothing deployed."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import httpx
import pytest

from localazure.gateway.identity import developer_id
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


DATA_SCIENTIST = "f6c7c914-8db3-469d-8ca1-694a8f32e121"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
SOMEBODY = "20000000-0000-4000-8000-000000000001"
FORBIDDEN = 403


def assignment(cloud: Cloud, scope: str, role: str) -> tuple[str, dict[str, object]]:
    """The path and body of a role assignment for somebody."""
    definitions = f"/subscriptions/{cloud.subscription}/providers/Microsoft.Authorization/roleDefinitions"
    properties = {"roleDefinitionId": f"{definitions}/{role}", "principalId": SOMEBODY, "principalType": "User"}
    return f"{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}", {"properties": properties}


def entra_token(cloud: Cloud, identity: str) -> str:
    return cloud.tokens.issue("https://ml.azure.com", object_id=identity)


@pytest.mark.parametrize("scope", ["endpoint", "workspace", "group"])
def test_an_identity_scores_while_it_has_a_role_that_allows_it(routed: Cloud, scope: str) -> None:
    routed.put(routed.endpoint(), routed.endpoint_body(authMode="AADToken"))
    where = {"endpoint": routed.endpoint(), "workspace": routed.workspace, "group": routed.group}[scope]
    token = entra_token(routed, SOMEBODY)
    assert score(routed, token) == FORBIDDEN
    for role, status in ((READER, FORBIDDEN), (DATA_SCIENTIST, LET_IN)):
        path, body = assignment(routed, where, role)
        assert routed.send("PUT", path, body).status_code == 201
        assert score(routed, token) == status
        assert routed.send("DELETE", path).status_code == 200
        assert score(routed, token) == FORBIDDEN


def test_a_role_on_another_endpoint_lets_nobody_in(routed: Cloud) -> None:
    for name in ("online", "other"):
        routed.put(routed.endpoint(name), routed.endpoint_body(authMode="AADToken"))
    path, body = assignment(routed, routed.endpoint("other"), DATA_SCIENTIST)
    assert routed.send("PUT", path, body).status_code == 201
    token = entra_token(routed, SOMEBODY)
    assert (score(routed, token), score(routed, token, "other")) == (FORBIDDEN, LET_IN)


def test_whoever_localazure_env_names_scores_without_a_role(routed: Cloud) -> None:
    routed.put(routed.endpoint(), routed.endpoint_body(authMode="AADToken"))
    owner = developer_id(Settings().tenant_id)
    assert score(routed, entra_token(routed, owner)) == LET_IN


def test_a_role_lets_in_once_it_is_effective(tmp_path: Path, files: None) -> None:
    home = Home.at(tmp_path / "home")
    home.create()
    settings = Settings(role_assignment_delay=3)
    tokens = TokenIssuer.at(home, settings.tenant_id)
    serving = Serving(settings, home, jwks=tokens.jwks(), issuer=tokens.issuer)
    with booted(tmp_path / "home", cast("FakeServing", serving), settings) as cloud:
        cloud.prepare()
        cloud.put(cloud.endpoint(), cloud.endpoint_body(authMode="AADToken"))
        path, body = assignment(cloud, cloud.endpoint(), DATA_SCIENTIST)
        given = datetime.now(UTC)
        assert cloud.send("PUT", path, body).status_code == 201
        deadline = given + timedelta(seconds=60)
        token = entra_token(cloud, SOMEBODY)
        while (status := score(cloud, token)) == FORBIDDEN and datetime.now(UTC) < deadline:
            time.sleep(0.1)
        assert status == LET_IN
        assert datetime.now(UTC) - given >= timedelta(seconds=2), "not before its time"
