"""The provider as a process: started by its script as the engine does, and gone when the engine is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from localazure.pulumi_plugin.install import install


@pytest.fixture
def script(tmp_path: Path) -> Path:
    install(tmp_path)
    return tmp_path / "plugins" / "resource-azure-native-v3.29.0" / "pulumi-resource-azure-native"


@pytest.fixture
def process(script: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    # A folder of a stranger's program, with a module that must not get in the way.
    (tmp_path / "grpc.py").write_text("raise SystemExit('the wrong grpc')")
    environment = {key: value for key, value in os.environ.items() if key not in ("IDENTITY_ENDPOINT", "HTTPS_PROXY")}
    process = subprocess.Popen(
        [script, "127.0.0.1:1"],
        cwd=tmp_path,
        env={**environment, "ARM_SUBSCRIPTION_ID": "s"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def port_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_it_prints_its_port_answers_there_and_listens_on_loopback_only(process: subprocess.Popen[str]) -> None:
    port = port_of(process)

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        info = provider_pb2_grpc.ResourceProviderStub(channel).GetPluginInfo(empty_pb2.Empty(), timeout=20)

    assert info.version == "3.29.0"
    listening = [c.laddr for c in psutil.Process(process.pid).net_connections("inet") if c.status == "LISTEN"]
    # gRPC opens one socket for both protocols, which shows 127.0.0.1 as an IPv6 address.
    assert [(address.ip.removeprefix("::ffff:"), address.port) for address in listening] == [("127.0.0.1", port)]


def test_it_refuses_to_be_configured_where_nothing_leads_to_local_azure(process: subprocess.Popen[str]) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port_of(process)}") as channel:
        stub = provider_pb2_grpc.ResourceProviderStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            stub.Configure(provider_pb2.ConfigureRequest(), timeout=20)

    assert "IDENTITY_ENDPOINT is not set: this provider only talks to Local Azure" in (refused.value.details() or "")


def test_it_ends_when_the_engine_closes_its_input(process: subprocess.Popen[str]) -> None:
    port_of(process)
    assert process.stdin is not None

    process.stdin.close()

    assert process.wait(20) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_the_engine_asks_it_to(process: subprocess.Popen[str], number: signal.Signals) -> None:
    port_of(process)

    process.send_signal(number)

    assert process.wait(20) == 0, "the engine waits five seconds for it at the end of every command, and then kills it"


def test_it_ends_when_the_engine_is_killed(script: Path) -> None:
    engine = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent("""
                import subprocess, sys, time
                pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
                plugin = subprocess.Popen([sys.argv[1], "127.0.0.1:1"], **pipes)
                plugin.stdout.readline()
                print(plugin.pid, flush=True)
                time.sleep(600)
            """),
            str(script),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert engine.stdout is not None
    plugin = psutil.Process(int(engine.stdout.readline()))

    engine.kill()
    engine.communicate()

    _, alive = psutil.wait_procs([plugin], timeout=20)
    for left in alive:
        left.kill()
    assert not alive, "a plugin without an engine must not stay"


def test_the_sdk_is_not_imported_for_its_messages() -> None:
    code = (
        "import sys; from localazure.pulumi_plugin.__main__ import _skip_sdk_import; _skip_sdk_import();"
        "import localazure.pulumi_plugin.server;"
        "print(sorted(n for n in sys.modules if n in ('pulumi.resource', 'httpx', 'opentelemetry')))"
    )

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert loaded == "[]\n", "each would make every pulumi command slower"
