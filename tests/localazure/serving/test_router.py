"""The router: a real Envoy in front of stand-in containers. Every status code that an endpoint answers with."""

import json
import re
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import httpx
import psutil
import pytest

from localazure.gateway.tokens import TokenIssuer
from localazure.home import Home
from localazure.serving import EndpointRoute
from localazure.serving.envoy import Router
from localazure.serving.envoy_config import NO_DEPLOYMENT, NO_PERMISSION, NOT_READY, Backend

from .conftest import HOST, Container, client, until

ROUTE = EndpointRoute("tumor", (HOST,), "key", ("k1", "k2"), {"blue": 100}, {}, ("blue", "green"))


@pytest.fixture
def blue(container: Callable[[str], Container]) -> Container:
    return container("blue")


@pytest.fixture
def green(container: Callable[[str], Container]) -> Container:
    return container("green")


def backend(container: Container, timeout_ms: int = 5000, limit: int = 100) -> Backend:
    return Backend("tumor", container.name, timeout_ms, limit, (container.port,))


@pytest.fixture
def caller(router: Router, blue: Container, green: Container) -> Iterator[httpx.Client]:
    """A caller of an endpoint whose traffic goes to blue; green is there but gets none."""
    router.push([ROUTE], [backend(blue), backend(green)])
    with client(router.port) as made:
        yield made


def test_a_request_reaches_the_deployment_that_has_the_traffic(caller: httpx.Client) -> None:
    answer = caller.post("/score", content=b"{}")
    assert (answer.status_code, answer.json()["by"]) == (200, "blue")
    assert answer.headers["azureml-model-deployment"] == "blue"
    assert answer.headers["server"] == "azureml-frontdoor"


def test_what_each_deployment_answered_is_counted(
    router: Router, caller: httpx.Client, blue: Container, green: Container
) -> None:
    for headers in ({}, {"azureml-model-deployment": "green"}, {"x-status": "500"}):
        caller.post("/score", content=b"{}", headers=headers)

    # The counters of Envoy's worker reach its statistics a moment later.
    def answered() -> list[int]:
        found = router.statistics()
        return [found.answered("tumor", name) for name in ("blue", "green")]

    until(lambda: answered() == [2, 1])
    router.push([ROUTE], [backend(blue, limit=200), backend(green)])
    assert answered() == [2, 1], "a change of the limit forgets nothing"


def test_the_header_picks_a_deployment_that_has_no_traffic(caller: httpx.Client) -> None:
    answer = caller.post("/score", headers={"azureml-model-deployment": "green"})
    assert (answer.json()["by"], answer.headers["azureml-model-deployment"]) == ("green", "green")


def test_a_deployment_nobody_knows_is_404_in_azures_words(caller: httpx.Client, blue: Container) -> None:
    answer = caller.post("/score", headers={"azureml-model-deployment": "purple"})
    assert (answer.status_code, answer.text) == (404, NO_DEPLOYMENT)
    assert not blue.seen, "a caller who asks for one deployment must not get another"


@pytest.mark.parametrize("traffic", [{}, {"blue": 0}, {"gone": 0}])
def test_an_endpoint_without_positive_weight_is_404(
    router: Router, caller: httpx.Client, blue: Container, traffic: dict[str, int]
) -> None:
    router.push([replace(ROUTE, traffic=traffic)], [backend(blue)])
    answer = caller.post("/score")
    assert (answer.status_code, answer.text) == (404, NO_DEPLOYMENT)


def test_a_deployment_that_is_not_ready_keeps_its_share_as_503(
    router: Router, caller: httpx.Client, green: Container
) -> None:
    traffic = {"blue": 90, "green": 10}
    router.push([replace(ROUTE, traffic=traffic, deployments=("green",))], [backend(green)])
    answers = [caller.post("/score") for _ in range(400)]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert abs(len(refused) - 360) <= 4 * 6, "green must not get what is blue's"
    assert {(answer.status_code, answer.text) for answer in refused} == {(503, NOT_READY)}
    assert {answer.json()["by"] for answer in answers if answer.status_code == 200} == {"green"}


def test_with_no_deployment_ready_it_is_503(router: Router, caller: httpx.Client) -> None:
    router.push([replace(ROUTE, traffic={"blue": 90, "green": 10}, deployments=())], [])
    assert {caller.post("/score").status_code for _ in range(20)} == {503}


@pytest.mark.parametrize(("name", "status"), [("blue", 503), ("red", 503), ("green", 200), ("purple", 404)])
def test_the_header_tells_one_that_is_not_ready_from_one_that_is_unknown(
    router: Router, caller: httpx.Client, green: Container, name: str, status: int
) -> None:
    traffic = {"blue": 90, "green": 10, "purple": 0}
    router.push([replace(ROUTE, traffic=traffic, deployments=("green",), known=("green", "red"))], [backend(green)])
    assert caller.post("/score", headers={"azureml-model-deployment": name}).status_code == status


def test_a_stranger_does_not_learn_what_is_not_ready(router: Router, caller: httpx.Client) -> None:
    router.push([replace(ROUTE, deployments=())], [])
    answer = caller.post("/score", headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 401
    assert "azureml-model-deployment" not in answer.headers


def test_an_unknown_host_is_404(caller: httpx.Client) -> None:
    assert caller.post("/score", headers={"Host": "other.eastus.inference.ml.azure.com"}).status_code == 404


@pytest.mark.parametrize("host", [HOST, f"{HOST}:443", HOST.upper()])
def test_the_host_is_known_with_its_port_and_in_any_case(caller: httpx.Client, host: str) -> None:
    assert caller.post("/score", headers={"Host": host}).status_code == 200


def test_a_path_that_no_endpoint_has_is_404(caller: httpx.Client, blue: Container) -> None:
    assert caller.get("/admin").status_code == 404
    assert not blue.seen


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_a_deployment_answers_for_its_own_methods(caller: httpx.Client, blue: Container, method: str) -> None:
    """The inference server takes GET, POST and OPTIONS; this stand-in takes GET and POST."""
    answer = caller.request(method, "/score")
    assert answer.status_code == (200 if method in ("GET", "POST") else 424)
    assert answer.headers.get("ms-azureml-model-error-statuscode") == (None if answer.status_code == 200 else "501")


@pytest.mark.parametrize("path", ["/", "/score/", "/scores", "/Score", "/score/../admin", "/token"])
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS"])
def test_other_paths_are_404_with_any_method(caller: httpx.Client, blue: Container, method: str, path: str) -> None:
    assert caller.request(method, path).status_code == 404
    assert not blue.seen


@pytest.mark.parametrize("path", ["/score", "/swagger.json", "/", "/nothing"])
def test_every_path_needs_the_key(caller: httpx.Client, blue: Container, path: str) -> None:
    assert caller.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert not blue.seen


def test_swagger_without_a_name_is_of_whoever_has_the_traffic(caller: httpx.Client) -> None:
    answer = caller.get("/swagger.json")
    assert (answer.json()["by"], answer.headers["azureml-model-deployment"]) == ("blue", "blue")


def test_an_answer_says_nothing_of_the_router(caller: httpx.Client, blue: Container) -> None:
    answers = [caller.post("/score"), caller.post("/nothing"), caller.post("/score", headers={"Authorization": ""})]
    names = {name for answer in answers for name in answer.headers}
    assert not [name for name in names if name.startswith(("x-envoy", "x-localazure"))]
    assert not [name for name in blue.seen[0] if name.startswith(("x-envoy", "x-localazure"))]


def test_swagger_is_answered_by_the_deployment_named(caller: httpx.Client) -> None:
    answer = caller.get("/swagger.json?version=3", headers={"azureml-model-deployment": "green"})
    assert answer.json() == {"by": "green", "path": "/swagger.json?version=3", "size": 0}


@pytest.mark.parametrize("value", ["Bearer wrong", "Bearer", "Bearer k1k1", "Basic k1", "k1", "Bearerk1", None])
def test_a_wrong_key_or_none_is_401(caller: httpx.Client, blue: Container, value: str | None) -> None:
    del caller.headers["Authorization"]
    answer = caller.post("/score", headers={"Authorization": value} if value else {})
    assert answer.status_code == 401
    assert "azureml-model-deployment" not in answer.headers, "a stranger must not learn what is deployed"
    assert not blue.seen


def test_both_keys_let_in_and_neither_reaches_the_container(caller: httpx.Client, blue: Container) -> None:
    answers = [caller.post("/score", headers={"Authorization": f"Bearer {key}"}) for key in ("k1", "k2")]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert not any("authorization" in headers for headers in blue.seen)


def test_a_regenerated_key_holds_at_once(router: Router, caller: httpx.Client, blue: Container) -> None:
    router.push([replace(ROUTE, keys=("new", "k2"))], [backend(blue)])
    assert caller.post("/score").status_code == 401
    assert caller.post("/score", headers={"Authorization": "Bearer new"}).status_code == 200


def test_without_any_key_nobody_gets_in(router: Router, caller: httpx.Client, blue: Container) -> None:
    router.push([replace(ROUTE, keys=())], [backend(blue)])
    assert caller.post("/score").status_code == 401


def aml_token(tokens: TokenIssuer, endpoint: str, **claims: object) -> str:
    own = {"iss": "azureml", "endpointName": endpoint} | claims
    return tokens.issue("azureml", object_id="someone", claims=own)


def test_an_aml_token_opens_its_own_endpoint_only(
    router: Router, caller: httpx.Client, blue: Container, tokens: TokenIssuer
) -> None:
    router.push([replace(ROUTE, auth="aml_token")], [backend(blue)])
    cases = {
        aml_token(tokens, "tumor"): 200,
        aml_token(tokens, "another"): 401,
        aml_token(tokens, "tumor", aud="https://ml.azure.com"): 401,
        aml_token(tokens, "tumor", iss="somebody"): 401,
        tokens.issue("https://ml.azure.com", object_id="someone"): 401,
        "k1": 401,
    }
    got = [caller.post("/score", headers={"Authorization": f"Bearer {token}"}).status_code for token in cases]
    assert got == list(cases.values())


def test_an_entra_token_must_be_for_azure_ml_and_alive(
    router: Router, caller: httpx.Client, blue: Container, tokens: TokenIssuer
) -> None:
    router.push([replace(ROUTE, auth="aad_token")], [backend(blue)])
    cases = {
        tokens.issue("https://ml.azure.com", object_id="someone"): 200,
        tokens.issue("https://ml.azure.com/", object_id="someone"): 200,
        tokens.issue("https://management.azure.com", object_id="someone"): 401,
        tokens.issue("https://ml.azure.com", object_id="someone", lifetime=timedelta(hours=-1)): 401,
        aml_token(tokens, "tumor"): 401,
    }
    got = [caller.post("/score", headers={"Authorization": f"Bearer {token}"}).status_code for token in cases]
    assert got == list(cases.values())
    assert caller.post("/score", headers={"Authorization": ""}).status_code == 401


def entra_token(tokens: TokenIssuer, identity: str) -> str:
    return tokens.issue("https://ml.azure.com", object_id=identity)


@pytest.mark.parametrize("callers", [{"ada", "bob"}, set()])
def test_an_entra_token_of_an_identity_that_may_not_score_is_403(
    router: Router, caller: httpx.Client, blue: Container, tokens: TokenIssuer, callers: set[str]
) -> None:
    router.push([replace(ROUTE, auth="aad_token", callers=frozenset(callers))], [backend(blue)])
    for identity in ("ada", "bob", "eve"):
        answer = caller.post("/score", headers={"Authorization": f"Bearer {entra_token(tokens, identity)}"})
        assert answer.status_code == (200 if identity in callers else 403)
        if identity not in callers:
            assert answer.text == NO_PERMISSION
            assert "azureml-model-deployment" not in answer.headers
    other = tokens.issue("https://management.azure.com", object_id="ada")
    for value in (f"Bearer {other}", "Bearer nonsense", "Bearer k1", ""):
        assert caller.post("/score", headers={"Authorization": value}).status_code == 401, "it is not known who asks"


def test_a_role_that_is_given_or_taken_holds_at_once(
    router: Router, caller: httpx.Client, blue: Container, tokens: TokenIssuer
) -> None:
    headers = {"Authorization": f"Bearer {entra_token(tokens, 'ada')}"}
    for callers, status in ((set(), 403), ({"ada"}, 200), ({"bob"}, 403)):
        router.push([replace(ROUTE, auth="aad_token", callers=frozenset(callers))], [backend(blue)])
        assert caller.post("/score", headers=headers).status_code == status


@pytest.mark.parametrize("status", [201, 204, 400, 401, 403, 404, 408, 413, 418, 429, 500, 502, 503])
def test_any_answer_but_200_is_424_with_the_containers_own_status(caller: httpx.Client, status: int) -> None:
    answer = caller.post("/score", headers={"x-status": str(status)})
    assert answer.status_code == 424
    assert answer.headers["ms-azureml-model-error-statuscode"] == str(status)
    assert answer.headers["ms-azureml-model-error-reason"] == "model_error"
    assert not [name for name in answer.headers if name.startswith(("x-envoy", "x-localazure"))]
    assert answer.headers["azureml-model-deployment"] == "blue"
    if status != 204:
        assert answer.json()["by"] == "blue", "the container's body says what went wrong"


def test_each_deployment_has_its_own_time_and_then_it_is_408(
    router: Router, caller: httpx.Client, blue: Container, green: Container
) -> None:
    router.push([ROUTE], [backend(blue, timeout_ms=200), backend(green, timeout_ms=20_000)])
    slow = {"x-sleep": "0.8", "x-envoy-upstream-rq-timeout-ms": "1"}
    assert caller.post("/score", headers=slow).status_code == 408
    assert caller.post("/score", headers=slow | {"azureml-model-deployment": "green"}).status_code == 200


def test_a_container_that_hangs_up_is_502(caller: httpx.Client) -> None:
    assert caller.post("/score", headers={"x-crash": "1"}).status_code == 502


def test_a_deployment_without_a_living_instance_is_503(router: Router, caller: httpx.Client, blue: Container) -> None:
    router.push([ROUTE], [replace(backend(blue), ports=())])
    assert caller.post("/score").status_code == 503
    blue.server.shutdown()
    blue.server.server_close()
    router.push([ROUTE], [backend(blue)])
    assert caller.post("/score").status_code == 503


def test_more_requests_in_flight_than_allowed_are_429(router: Router, caller: httpx.Client, blue: Container) -> None:
    router.push([ROUTE], [backend(blue, limit=3)])
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(caller.post, "/score", headers={"x-sleep": "3"}) for _ in range(3)]
        until(lambda: blue.busy == 3)
        refused = [caller.post("/score") for _ in range(4)]
        assert [answer.status_code for answer in refused] == [429] * 4
        assert {answer.headers["ms-azureml-model-error-reason"] for answer in refused} == {"too_many_pending_request"}
        assert {answer.text for answer in refused} == {""}
        assert [item.result().status_code for item in waiting] == [200] * 3, "those that were let in are answered"
    assert caller.post("/score").status_code == 200, "the limit counts what is in flight, not what has been"


def test_a_burst_of_as_many_as_allowed_is_let_in(router: Router, caller: httpx.Client, blue: Container) -> None:
    router.push([ROUTE], [backend(blue, limit=8)])
    with ThreadPoolExecutor(8) as pool:
        burst = list(pool.map(lambda _: caller.post("/score", headers={"x-sleep": "0.2"}).status_code, range(8)))
    assert burst == [200] * 8


def test_the_request_id_is_a_fresh_guid_and_the_clients_own_id_comes_back(
    caller: httpx.Client, blue: Container
) -> None:
    own = "a1_-" * 20
    answers = [
        caller.post("/score", headers={"x-request-id": "mine", "x-ms-client-request-id": own, **more})
        for more in ({}, {"azureml-model-deployment": "nobody"}, {"x-status": "500"})
    ]
    ids = [str(uuid.UUID(answer.headers["x-request-id"])) for answer in answers]
    assert len(set(ids)) == 3
    assert {answer.headers["x-ms-client-request-id"] for answer in answers} == {own[:40]}
    assert [headers["x-request-id"] for headers in blue.seen] == [ids[0], ids[2]]


def test_no_client_id_is_made_up(caller: httpx.Client, blue: Container) -> None:
    assert "x-ms-client-request-id" not in caller.post("/score").headers
    assert "x-ms-client-request-id" not in blue.seen[-1]


def test_two_thousand_requests_split_as_configured(
    router: Router, caller: httpx.Client, blue: Container, green: Container
) -> None:
    count, share = 2000, 0.1
    router.push([replace(ROUTE, traffic={"blue": 90, "green": 10})], [backend(blue), backend(green)])
    answers = Counter(caller.post("/score").headers["azureml-model-deployment"] for _ in range(count))
    deviation = (count * share * (1 - share)) ** 0.5
    assert abs(answers["green"] - count * share) <= 4 * deviation
    assert answers["blue"] == len(blue.seen) == count - answers["green"], "the header tells who really scored"


def test_three_deployments_share_in_one_draw(
    router: Router, caller: httpx.Client, container: Callable[[str], Container]
) -> None:
    names = {"blue": 20, "green": 30, "red": 50}
    backends = [backend(container(name)) for name in names]
    router.push([replace(ROUTE, traffic=names, deployments=tuple(names))], backends)
    answers = Counter(caller.post("/score").json()["by"] for _ in range(1000))
    for name, weight in names.items():
        deviation = (1000 * weight / 100 * (1 - weight / 100)) ** 0.5
        assert abs(answers[name] - 10 * weight) <= 4 * deviation, answers


def test_mirrored_requests_reach_the_other_deployment_and_nobody_hears_of_it(
    router: Router, caller: httpx.Client, blue: Container, green: Container
) -> None:
    router.push([replace(ROUTE, mirror={"green": 50})], [backend(blue), backend(green)])
    answers = [caller.post("/score") for _ in range(200)]
    assert {answer.json()["by"] for answer in answers} == {"blue"}
    # Nobody waits for a mirrored request: some may still be on their way when the last answer is there.
    until(lambda: len(green.seen) >= 100 - 4 * 7.1, 30)
    assert len(green.seen) <= 100 + 4 * 7.1
    for _ in range(20):
        caller.post("/score", headers={"azureml-model-deployment": "blue", "x-named": "yes"})
    caller.post("/score", headers={"azureml-model-deployment": "green", "x-last": "yes"})
    until(lambda: any("x-last" in headers for headers in green.seen), 30)
    assert not any("x-named" in headers for headers in green.seen), (
        "a request that names its deployment is not mirrored"
    )


def test_a_large_body_goes_through_whole(caller: httpx.Client) -> None:
    size = 20 * 1024 * 1024
    assert caller.post("/score", content=b"x" * size).json()["size"] == size


def test_no_request_is_lost_while_weights_flip_and_endpoints_come_and_go(
    router: Router, caller: httpx.Client, blue: Container, green: Container
) -> None:
    backends = [backend(blue), backend(green)]
    other = replace(ROUTE, name="other", hosts=("other.eastus.inference.ml.azure.com",))
    ended = threading.Event()

    def load() -> Counter[int]:
        statuses: Counter[int] = Counter()
        with client(router.port) as own:
            while not ended.is_set():
                statuses[own.post("/score", content=b"{}").status_code] += 1
        return statuses

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(load) for _ in range(4)]
        for turn in range(20):
            route = replace(ROUTE, traffic={"blue": 100 - 5 * turn, "green": 5 * turn})
            extra = replace(backend(blue), endpoint="other")
            router.push([route, other] if turn % 2 else [route], [*backends, extra] if turn % 2 else backends)
        ended.set()
        total = sum((item.result() for item in running), Counter())
    assert set(total) == {200}
    assert total[200] > 20


def test_a_push_holds_from_its_return_on(router: Router, blue: Container, green: Container) -> None:
    for turn in range(30):
        name = ("blue", "green")[turn % 2]
        router.push([replace(ROUTE, traffic={name: 100})], [backend(blue), backend(green)])
        with client(router.port) as own:
            assert own.post("/score").json()["by"] == name


def test_requests_in_flight_survive_that_their_deployment_goes(
    router: Router, caller: httpx.Client, blue: Container, green: Container
) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(caller.post, "/score", headers={"x-sleep": "1.5"})
        until(lambda: blue.busy == 1)
        assert router.requests_in_flight(backend(blue), [blue.port]) == 1
        router.push([replace(ROUTE, traffic={"green": 100})], [backend(blue, limit=7), backend(green)])
        router.push([replace(ROUTE, traffic={"green": 100})], [backend(green)])
        assert waiting.result().json()["by"] == "blue"


def test_a_draining_instance_gets_nothing_new(
    router: Router, caller: httpx.Client, blue: Container, green: Container
) -> None:
    both = replace(backend(blue), ports=(green.port,), draining=(blue.port,))
    router.push([ROUTE], [both])
    assert {caller.post("/score").json()["by"] for _ in range(30)} == {"green"}
    router.push([ROUTE], [replace(both, ports=())])
    assert caller.post("/score").status_code == 503, "not even when no other is left"


def test_a_request_goes_to_the_instance_with_the_shortest_queue(
    router: Router, caller: httpx.Client, blue: Container, green: Container
) -> None:
    router.push([ROUTE], [replace(backend(blue), ports=(blue.port, green.port))])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(caller.post, "/score", headers={"x-sleep": "4"})
        until(lambda: blue.busy + green.busy == 1)
        idle = "green" if blue.busy else "blue"
        assert {caller.post("/score").json()["by"] for _ in range(20)} == {idle}
        assert waiting.result().json()["by"] != idle


def test_another_instance_answers_for_one_that_has_just_died(
    router: Router, caller: httpx.Client, blue: Container, green: Container
) -> None:
    router.push([ROUTE], [replace(backend(blue), ports=(blue.port, green.port))])
    green.server.shutdown()
    green.server.server_close()
    assert {caller.post("/score").status_code for _ in range(40)} == {200}


def test_keys_are_in_no_log_and_no_dump_and_files_are_the_owners_alone(
    router: Router, home: Home, blue: Container
) -> None:
    secret = f"key-{uuid.uuid4()}"
    router.push([replace(ROUTE, keys=(secret,))], [backend(blue)])
    with client(router.port, key=secret) as own:
        assert own.post("/score").status_code == 200
    admin = json.loads((home.envoy / "bootstrap.json").read_text())["admin"]["address"]["socket_address"]
    with httpx.Client(trust_env=False) as plain:
        dump = plain.get(f"http://127.0.0.1:{admin['port_value']}/config_dump").text
    assert "tumor.eastus" in dump
    assert secret not in dump
    assert secret not in router.log.read_text()
    assert secret not in repr(replace(ROUTE, keys=(secret,)))
    assert home.envoy.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in home.envoy.iterdir()} == {0o600}


def test_nothing_listens_beyond_loopback(router: Router, blue: Container) -> None:
    envoys = [item for item in psutil.Process().children() if "envoy" in item.name()]
    addresses = [s.laddr.ip for item in envoys for s in item.net_connections() if s.status == psutil.CONN_LISTEN]
    assert addresses, "the test must look at the right process"
    assert set(addresses) == {"127.0.0.1"}


def test_the_port_is_the_same_after_a_restart(router: Router, home: Home, tokens: TokenIssuer) -> None:
    before = router.port
    router.stop()
    again = Router(home, tokens.jwks(), tokens.issuer)
    try:
        assert again.start() == before
    finally:
        again.stop()


def test_a_port_that_somebody_has_taken_is_given_up(router: Router, tmp_path, tokens: TokenIssuer) -> None:
    second = Home.at(tmp_path / "second")
    second.create()
    second.envoy.mkdir(mode=0o700)
    (second.envoy / "port").write_text(str(router.port))
    made = Router(second, tokens.jwks(), tokens.issuer)
    try:
        assert made.start() != router.port
    finally:
        made.stop()


def test_a_router_that_dies_comes_back_with_what_it_knew(router: Router, caller: httpx.Client) -> None:
    [envoy] = [item for item in psutil.Process().children() if "envoy" in item.name()]
    envoy.kill()
    until(lambda: not router.alive)
    assert router.revive()
    assert caller.post("/score").json()["by"] == "blue"
    assert not router.revive(), "one that lives is left alone"


def test_a_change_is_taken_although_the_router_dies_over_it(
    router: Router, caller: httpx.Client, blue: Container, green: Container
) -> None:
    [envoy] = [item for item in psutil.Process().children() if "envoy" in item.name()]
    envoy.kill()
    router.push([replace(ROUTE, traffic={"green": 100})], [backend(blue), backend(green)])
    assert caller.post("/score").json()["by"] == "green"


def test_the_log_holds_no_complaint_about_the_configuration(router: Router, caller: httpx.Client) -> None:
    assert caller.post("/score").status_code == 200
    assert not re.findall(r"\[(?:error|critical)\].*|.*rejected.*|.*[Dd]eprecated.*", router.log.read_text())
