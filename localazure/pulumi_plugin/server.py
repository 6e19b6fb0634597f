"""Runs the provider for one engine: starts the service on loopback, prints its port, ends with the engine."""

from __future__ import annotations

import importlib
import os
import signal
import stat
import sys
import threading
from concurrent import futures

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2_grpc

from localazure.pulumi_plugin.lifecycle import Lifecycle
from localazure.pulumi_plugin.provider import Connection, Provider
from localazure.pulumi_plugin.shapes import Catalogue

_MESSAGE_LIMIT = 400 * 1024 * 1024  # the engine's own
_WORKERS = 512  # an operation holds one for as long as it takes, and a cancellation must still get through
_PARENT_CHECK_SECONDS = 0.5
_STANDARD_INPUT = 0
_CLIENT = "localazure.pulumi_plugin.arm"


def serve(engine: str | None, parent: int) -> None:
    """Serves until the engine is gone. Prints the port, by which the engine finds the service.

    Args:
        engine: address of the engine's own service, for messages to the user; None: messages go to standard error.
        parent: number of the engine's process, which started this one.
    """
    ended = threading.Event()
    # The engine asks a plugin to end by SIGINT, and waits five seconds for it. (A terminal's Ctrl-C does not come here:
    # the engine starts plugins in a process group of their own, and cancels operations by a call.)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    catalogue = Catalogue.load()
    server, port = start(Provider(catalogue, lambda connection: _connect(connection, catalogue, EngineLog(engine))))
    _end_with_engine(parent, ended)
    print(port, flush=True)
    importlib.import_module(_CLIENT)  # while the engine shakes hands
    ended.wait()
    server.stop(grace=None)
    # Operations under way may wait for Azure for minutes: nobody is left to be told of their end.
    os._exit(0)


def start(provider: Provider) -> tuple[grpc.Server, int]:
    """Starts the service on a free port of 127.0.0.1; the server and the port."""
    server = grpc.server(
        futures.ThreadPoolExecutor(_WORKERS),
        options=[
            ("grpc.max_receive_message_length", _MESSAGE_LIMIT),
            ("grpc.max_send_message_length", _MESSAGE_LIMIT),
        ],
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


class EngineLog:
    """The engine's log: a warning there is shown among the resources' lines."""

    def __init__(self, address: str | None) -> None:
        self._address = address

    def warn(self, text: str) -> None:
        """Shows a warning. Never raises: a warning must not fail what it warns of."""
        if self._address is None:
            print(text, file=sys.stderr)
            return
        request = engine_pb2.LogRequest(severity=engine_pb2.WARNING, message=text)
        try:
            with grpc.insecure_channel(self._address) as channel:
                engine_pb2_grpc.EngineStub(channel).Log(request, timeout=5)
        except grpc.RpcError:
            print(text, file=sys.stderr)


def _connect(connection: Connection, catalogue: Catalogue, log: EngineLog) -> Lifecycle:
    # Not imported above: the engine waits for the port, and the HTTP client takes a quarter of a second.
    from localazure.pulumi_plugin.arm import Arm, Tokens, local_access

    access = local_access(os.environ)
    tokens = Tokens(access)
    return Lifecycle(
        catalogue,
        Arm(access, tokens, connection.cancelled),
        tokens,
        connection.subscription,
        location=connection.location,
        warn=log.warn,
    )


def _end_with_engine(parent: int, ended: threading.Event) -> None:
    """Sets `ended` when the engine is gone: it is the parent, and holds the other end of standard input."""
    threading.Thread(target=_watch_parent, args=(parent, ended), daemon=True).start()
    if _is_pipe(_STANDARD_INPUT):
        threading.Thread(target=_watch_input, args=(ended,), daemon=True).start()


def _watch_parent(parent: int, ended: threading.Event) -> None:
    while os.getppid() == parent and not ended.wait(_PARENT_CHECK_SECONDS):
        pass
    ended.set()


def _watch_input(ended: threading.Event) -> None:
    while os.read(_STANDARD_INPUT, 4096):
        pass
    ended.set()


def _is_pipe(descriptor: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    except OSError:  # closed
        return False
