"""Fixtures: the catalogue, a fake ARM, and the provider behind a real gRPC channel."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from localazure.pulumi_plugin.arm import Arm, Tokens, Waits, local_access
from localazure.pulumi_plugin.lifecycle import Lifecycle
from localazure.pulumi_plugin.provider import Connection, Provider
from localazure.pulumi_plugin.server import start
from localazure.pulumi_plugin.shapes import Catalogue
from localazure.pulumi_plugin.values import marshal
from tests.localazure.pulumi_plugin import fake_arm

WAITS = Waits(poll=0.005, retry=0.005)


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return Catalogue.load()


@pytest.fixture
def fake() -> Iterator[fake_arm.FakeArm]:
    with fake_arm.running() as arm:
        yield arm


@pytest.fixture
def arm(fake: fake_arm.FakeArm) -> Iterator[Arm]:
    access = local_access(fake.environment())
    tokens = Tokens(access)
    arm = Arm(access, tokens, threading.Event(), WAITS)
    yield arm
    arm.close()
    tokens.close()


class Engine:
    """What an engine does with a provider, in plain values."""

    def __init__(self, stub: provider_pb2_grpc.ResourceProviderStub) -> None:
        self.stub = stub

    def check(self, type: str, inputs: dict[str, Any], olds: dict[str, Any] | None = None, **fields: Any) -> Any:
        return self.stub.Check(
            provider_pb2.CheckRequest(
                urn=urn(type), news=marshal(inputs), olds=marshal(olds or {}), randomSeed=b"seed", **fields
            )
        )

    def create(self, type: str, inputs: dict[str, Any], *, preview: bool = False) -> Any:
        request = provider_pb2.CreateRequest(urn=urn(type), properties=marshal(inputs), preview=preview)
        return self.stub.Create(request)


def urn(type: str, name: str = "name") -> str:
    return f"urn:pulumi:dev::project::component$azure-native:{type}::{name}"


@pytest.fixture
def engine(fake: fake_arm.FakeArm, catalogue: Catalogue) -> Iterator[Engine]:
    opened: list[Lifecycle] = []

    def connect(connection: Connection) -> Lifecycle:
        access = local_access(fake.environment())
        tokens = Tokens(access)
        arm = Arm(access, tokens, connection.cancelled, WAITS)
        opened.append(Lifecycle(catalogue, arm, tokens, connection.subscription, location=connection.location))
        return opened[-1]

    server, port = start(Provider(catalogue, connect, fake.environment()))
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = provider_pb2_grpc.ResourceProviderStub(channel)
        stub.Configure(provider_pb2.ConfigureRequest(sends_old_inputs=True))
        yield Engine(stub)
    server.stop(None)
    for lifecycle in opened:
        lifecycle.close()
