"""The CONNECT proxy over real sockets: what it serves, forwards, passes and refuses, and that nothing is left."""

import contextlib
import hashlib
import select
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest

from localazure.gateway import proxy as module
from localazure.gateway.ca import CertificateAuthority
from localazure.gateway.outer import OuterProxy
from localazure.gateway.proxy import Forward, Pass, Refuse, Serve, Upstream
from tests.localazure.gateway.loops import RunningProxy, echo, read_all, running_proxy, server
from tests.localazure.running import until

HOST = "management.azure.com"
MEGABYTE = b"x" * (1 << 20)


@pytest.fixture
def choices() -> dict[str, Upstream]:
    """What the proxy under test does with each host; others are passed."""
    return {}


@pytest.fixture
def running(authority: CertificateAuthority, choices: dict[str, Upstream]) -> Iterator[RunningProxy]:
    with running_proxy(authority, lambda host, _: choices.get(host, Pass())) as proxy:
        yield proxy


def test_a_served_host_is_answered_from_loopback(running: RunningProxy, choices: dict[str, Upstream]) -> None:
    with server(echo) as port:
        choices[HOST] = Serve(port)
        with running.secure_tunnel(HOST) as client:
            client.sendall(b"hello")
            assert client.recv(100) == b"hello"


def test_host_names_are_folded_before_the_choice(running: RunningProxy, choices: dict[str, Upstream]) -> None:
    with server(echo) as port:
        choices[HOST] = Serve(port)
        with running.secure_tunnel("Management.Azure.COM") as client:
            client.sendall(b"hello")
            assert client.recv(100) == b"hello"


def test_the_choice_is_made_anew_for_each_connection(running: RunningProxy, choices: dict[str, Upstream]) -> None:
    choices[HOST] = Refuse("not yet")
    assert "403" in running.ask(f"CONNECT {HOST}:443 HTTP/1.1\r\n\r\n".encode())
    with server(echo) as port:
        choices[HOST] = Serve(port)
        running.secure_tunnel(HOST).close()


def test_a_choice_that_takes_long_holds_up_no_other_host(authority: CertificateAuthority) -> None:
    go = threading.Event()

    def choose(host: str, _: int) -> Upstream:
        if host == "slow.invalid":
            go.wait(20)
        return Refuse(f"this is {host}")

    with running_proxy(authority, choose) as proxy:
        waiting = [proxy.connect() for _ in range(10)]
        for client in waiting:
            client.sendall(b"CONNECT slow.invalid:443 HTTP/1.1\r\n\r\n")
        assert "this is quick.invalid" in proxy.ask(b"CONNECT quick.invalid:443 HTTP/1.1\r\n\r\n")
        go.set()
        for client in waiting:
            assert b"this is slow.invalid" in read_all(client)
            client.close()


def test_large_bodies_pass_whole_in_both_directions(running: RunningProxy, choices: dict[str, Upstream]) -> None:
    with server(echo) as port:
        choices[HOST] = Serve(port)
        with running.secure_tunnel(HOST) as client:
            received = echoed(client, MEGABYTE * 50)
    assert hashlib.sha256(received).hexdigest() == hashlib.sha256(MEGABYTE * 50).hexdigest()


def echoed(client: ssl.SSLSocket, content: bytes) -> bytes:
    """What comes back while the content is sent. By one thread: OpenSSL's connections are not for two at a time."""
    client.setblocking(False)
    unsent, received = memoryview(content), bytearray()
    while len(received) < len(content):
        select.select([client], [client] if unsent else [], [], 20)
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            unsent = unsent[client.send(unsent[: 1 << 16]) :] if unsent else unsent
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            part = client.recv(1 << 20)
            assert part, f"the answer ended after {len(received)} bytes"
            received += part
    return bytes(received)


def test_a_slow_reader_holds_up_the_sender_instead_of_filling_memory(
    running: RunningProxy, choices: dict[str, Upstream]
) -> None:
    sent, go = [0], threading.Event()

    def pour(connection: socket.socket) -> None:
        connection.settimeout(1)
        try:
            while sent[0] < 200:
                connection.sendall(MEGABYTE)
                sent[0] += 1
        except TimeoutError:
            go.set()

    with server(pour) as port:
        choices[HOST] = Forward(port)
        with running.tunnel(HOST):
            assert go.wait(20), "nobody reads, so the server cannot go on sending"
    assert sent[0] < 60, "what is on the way fits into the sockets' buffers and a little more"


def test_forwarded_bytes_are_not_touched(running: RunningProxy, choices: dict[str, Upstream]) -> None:
    with server(echo) as port:
        choices[HOST] = Forward(port)
        with running.tunnel(HOST) as client:
            client.sendall(b"\x16\x03\x01 whatever")
            assert client.recv(100) == b"\x16\x03\x01 whatever"


def test_a_half_closed_tunnel_still_answers(running: RunningProxy, choices: dict[str, Upstream]) -> None:
    def count(connection: socket.socket) -> None:
        connection.sendall(str(len(read_all(connection))).encode())

    with server(count) as port:
        choices[HOST] = Forward(port)
        with running.tunnel(HOST) as client:
            client.sendall(MEGABYTE)
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"1048576", "the server answers when it has seen the end"


def test_an_answer_that_ends_with_the_connection_arrives_whole(
    running: RunningProxy, choices: dict[str, Upstream]
) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(10)
        connection.sendall(MEGABYTE * 3)

    with server(answer) as port:
        choices[HOST] = Serve(port)
        with running.secure_tunnel(HOST) as client:
            client.sendall(b"go")
            assert len(read_all(client)) == 3 << 20, "the inference server ends each answer by closing"


def test_a_server_may_speak_first(running: RunningProxy, choices: dict[str, Upstream]) -> None:
    with server(lambda connection: connection.sendall(b"220 ready")) as port:
        choices[HOST] = Forward(port)
        with running.tunnel(HOST) as client:
            assert read_all(client) == b"220 ready"


def test_bytes_sent_with_the_request_reach_the_server(running: RunningProxy, choices: dict[str, Upstream]) -> None:
    with server(echo) as port:
        choices[HOST] = Forward(port)
        with running.connect() as client:
            client.sendall(f"CONNECT {HOST}:443 HTTP/1.1\r\n\r\nearly".encode())
            until(lambda: client.recv(1000, socket.MSG_PEEK).endswith(b"early"), "the early bytes come back")


def test_nothing_is_left_of_closed_tunnels(running: RunningProxy, choices: dict[str, Upstream]) -> None:
    with server(echo) as port:
        choices[HOST] = Serve(port)
        choices["raw"] = Forward(port)
        clients = [running.secure_tunnel(HOST) for _ in range(10)] + [running.tunnel("raw") for _ in range(10)]
        until(lambda: running.proxy.connections == 40, "each tunnel has two sides")
        for client in clients:
            client.close()
        until(lambda: running.proxy.connections == 0, "all tunnels are closed")


def test_nothing_is_left_of_a_failed_handshake(running: RunningProxy, choices: dict[str, Upstream]) -> None:
    with server(echo) as port:
        choices[HOST] = Serve(port)
        with running.tunnel(HOST) as raw, pytest.raises(ssl.SSLError):
            ssl.create_default_context(cadata=None).wrap_socket(raw, server_hostname=HOST)
        with running.tunnel(HOST) as client:
            client.sendall(b"this is no TLS at all\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                read_all(client)
        until(lambda: running.proxy.connections == 0, "the servers' connections are closed too")


def test_a_client_that_says_nothing_is_dropped(running: RunningProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEAD_SECONDS", 0.1)
    with running.connect() as client:
        assert client.recv(10) == b""


def test_a_refusal_says_why_where_clients_show_it(running: RunningProxy, choices: dict[str, Upstream]) -> None:
    choices["forbidden.azure.com"] = Refuse("Local Azure does not serve it\r\nX: y")
    answer = running.ask(b"CONNECT forbidden.azure.com:443 HTTP/1.1\r\n\r\n")
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 403 Local Azure does not serve it"), "Python shows the reason phrase"
    assert body.startswith("Local Azure does not serve it"), "curl shows the body"
    assert "\r\nX: y" not in head


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET http://169.254.169.254/metadata/identity HTTP/1.1", 403),
        ("GET http://169.254.169.254:80/metadata HTTP/1.1", 403),
        ("PUT http://account.blob.core.windows.net/container HTTP/1.1", 403),
        ("GET http://example.org/ HTTP/1.1", 501),
        ("GET / HTTP/1.1", 501),
        ("CONNECT example.org HTTP/1.1", 400),
        ("CONNECT example.org:0 HTTP/1.1", 400),
        ("CONNECT example.org:https HTTP/1.1", 400),
        ("CONNECT exa mple:443 HTTP/1.1", 400),
        ("nonsense", 501),
    ],
)
def test_what_is_no_tunnel_is_answered_clearly(running: RunningProxy, request_line: str, status: int) -> None:
    assert running.ask(f"{request_line}\r\n\r\n".encode()).startswith(f"HTTP/1.1 {status} ")


def test_an_endless_head_is_refused(running: RunningProxy) -> None:
    # Not a byte too many: what is sent after the answer would reset the connection.
    assert running.ask(b"x" * (module.HEAD_BYTES + 1)).startswith("HTTP/1.1 431 ")


def test_a_server_that_is_down_is_named(running: RunningProxy, choices: dict[str, Upstream]) -> None:
    with socket.socket() as taken:
        # Bound, so that nobody else gets the port, but not listening.
        taken.bind(("127.0.0.1", 0))
        choices[HOST] = Serve(taken.getsockname()[1])
        answer = running.ask(f"CONNECT {HOST}:443 HTTP/1.1\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 502 Local Azure's server for {HOST} does not answer")


def test_other_hosts_are_reached_untouched(authority: CertificateAuthority, running: RunningProxy) -> None:
    with (
        server(echo, authority.server_context("localhost")) as port,
        running.secure_tunnel("localhost", port) as client,
    ):
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"


def test_other_hosts_are_reached_through_the_outer_proxy(
    authority: CertificateAuthority, choices: dict[str, Upstream]
) -> None:
    with server(echo) as port, running_proxy(authority, lambda *_: Forward(port)) as company:
        outer = OuterProxy(f"http://127.0.0.1:{company.port}", no_proxy="direct.invalid")
        with running_proxy(authority, lambda host, _: choices.get(host, Pass()), outer) as proxy:
            with proxy.tunnel("pypi.invalid") as client:
                client.sendall(b"hello")
                assert client.recv(100) == b"hello", "the name is one that only the outer proxy can reach"
            answer = proxy.ask(b"CONNECT direct.invalid:443 HTTP/1.1\r\n\r\n")
            assert answer.startswith("HTTP/1.1 502 direct.invalid:443 cannot be reached")


def test_a_refusal_of_the_outer_proxy_is_passed_on(authority: CertificateAuthority) -> None:
    with running_proxy(authority, lambda *_: Refuse("blocked by the company")) as company:
        outer = OuterProxy(f"http://127.0.0.1:{company.port}")
        with running_proxy(authority, lambda *_: Pass(), outer) as proxy:
            answer = proxy.ask(b"CONNECT pypi.invalid:443 HTTP/1.1\r\n\r\n")
    assert answer.startswith("HTTP/1.1 502 ")
    assert "blocked by the company" in answer


def test_this_machine_is_never_reached_through_the_outer_proxy(authority: CertificateAuthority) -> None:
    outer = OuterProxy("http://127.0.0.1:9")
    with server(echo) as port, running_proxy(authority, lambda *_: Pass(), outer) as proxy:
        proxy.tunnel("127.0.0.1", port).close()


@pytest.mark.parametrize("url", ["socks5://127.0.0.1:9", "http://127.0.0.1:9"])
def test_an_outer_proxy_that_cannot_be_used_is_named(authority: CertificateAuthority, url: str) -> None:
    with running_proxy(authority, lambda *_: Pass(), OuterProxy(url)) as proxy:
        answer = proxy.ask(b"CONNECT pypi.invalid:443 HTTP/1.1\r\n\r\n")
    assert answer.startswith("HTTP/1.1 502 ")
    assert "127.0.0.1:9" in answer
