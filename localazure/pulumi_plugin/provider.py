"""The gRPC service that the Pulumi engine calls: messages to plain values and back, errors to statuses."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import grpc
from google.protobuf import empty_pb2, message
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from localazure.pulumi_plugin import check
from localazure.pulumi_plugin.convert import Converter
from localazure.pulumi_plugin.diff import Change, Plan, plan
from localazure.pulumi_plugin.errors import NotLocalError, PartlyDone, PluginError, UnknownToken
from localazure.pulumi_plugin.lifecycle import Lifecycle
from localazure.pulumi_plugin.schema import schema
from localazure.pulumi_plugin.shapes import Catalogue, ResourceShape
from localazure.pulumi_plugin.table import VERSION
from localazure.pulumi_plugin.values import marshal, unmarshal

_CONFIG_PREFIX = "azure-native:config:"
_KINDS = {
    (Change.ADD, False): provider_pb2.PropertyDiff.ADD,
    (Change.ADD, True): provider_pb2.PropertyDiff.ADD_REPLACE,
    (Change.DELETE, False): provider_pb2.PropertyDiff.DELETE,
    (Change.DELETE, True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    (Change.UPDATE, False): provider_pb2.PropertyDiff.UPDATE,
    (Change.UPDATE, True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}
_Answer = TypeVar("_Answer", bound=message.Message)


@dataclass(frozen=True)
class Connection:
    """What `Configure` has found out.

    Attributes:
        subscription: id of the subscription that resources are in.
        location: the configured default location, if any.
        cancelled: set when the engine wants everything to stop.
    """

    subscription: str
    location: str | None
    cancelled: threading.Event


def _answering(method: Callable[..., _Answer]) -> Callable[..., _Answer]:
    """Turns errors meant for the user into gRPC statuses; with a resource's state, where there is one to keep."""

    @wraps(method)
    def answer(self: Provider, request: Any, context: grpc.ServicerContext) -> _Answer:
        try:
            return method(self, request)
        except PartlyDone as error:
            context.set_trailing_metadata((("grpc-status-details-bin", _init_failed(error, request)),))
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
        except PluginError as error:
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
        raise AssertionError("abort has raised")

    return answer


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """azure-native for Local Azure.

    As azure-native, it takes no secrets, resources or outputs in messages: the engine unwraps secrets, and marks what
    comes back under the same names as secret.

    Args:
        connect: opens Local Azure; called by `Configure`. May raise NotLocalError.
        environment: where the subscription is read from if the configuration names none.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        connect: Callable[[Connection], Lifecycle],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._catalogue = catalogue
        self._converter = Converter(catalogue)
        self._connect = connect
        self._environment = environment
        self._cancelled = threading.Event()
        self._lifecycle: Lifecycle | None = None

    @_answering
    def Handshake(self, request: Any) -> provider_pb2.ProviderHandshakeResponse:
        return provider_pb2.ProviderHandshakeResponse(supports_autonaming_configuration=True)

    @_answering
    def GetPluginInfo(self, request: Any) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=VERSION)

    @_answering
    def GetSchema(self, request: Any) -> provider_pb2.GetSchemaResponse:
        return provider_pb2.GetSchemaResponse(schema=json.dumps(schema(self._catalogue)))

    @_answering
    def GetMapping(self, request: Any) -> provider_pb2.GetMappingResponse:
        return provider_pb2.GetMappingResponse()

    @_answering
    def Attach(self, request: Any) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    @_answering
    def CheckConfig(self, request: Any) -> provider_pb2.CheckResponse:
        return provider_pb2.CheckResponse(inputs=request.news)

    @_answering
    def DiffConfig(self, request: Any) -> provider_pb2.DiffResponse:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_UNKNOWN)

    @_answering
    def Configure(self, request: Any) -> provider_pb2.ConfigureResponse:
        config = {key.removeprefix(_CONFIG_PREFIX): value for key, value in request.variables.items()}
        subscription = config.get("subscriptionId") or self._environment.get("ARM_SUBSCRIPTION_ID")
        if not subscription:
            raise NotLocalError(
                "no subscription: neither azure-native:subscriptionId nor ARM_SUBSCRIPTION_ID is set; "
                'run: eval "$(python -m localazure env)"'
            )
        self._lifecycle = self._connect(Connection(subscription, config.get("location"), self._cancelled))
        return provider_pb2.ConfigureResponse(supportsPreview=True, supports_autonaming_configuration=True)

    @_answering
    def Check(self, request: Any) -> provider_pb2.CheckResponse:
        shape = self._shape(request.urn)
        given = unmarshal(request.news)
        inputs = check.with_defaults(
            shape,
            given,
            unmarshal(request.olds),
            _naming(request),
            lambda: self._live.default_location(given),
        )
        reasons = check.failures(shape, inputs, self._converter)
        return provider_pb2.CheckResponse(
            inputs=marshal(inputs), failures=[provider_pb2.CheckFailure(reason=reason) for reason in reasons]
        )

    @_answering
    def Diff(self, request: Any) -> provider_pb2.DiffResponse:
        shape = self._shape(request.urn)
        return _diff_response(
            plan(shape, unmarshal(request.old_inputs), unmarshal(request.news), unmarshal(request.olds))
        )

    @_answering
    def Create(self, request: Any) -> provider_pb2.CreateResponse:
        shape, inputs = self._shape(request.urn), unmarshal(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=marshal(self._live.preview(shape, inputs, {})))
        state = self._live.create(shape, inputs, request.timeout or None)
        return provider_pb2.CreateResponse(id=state.id, properties=marshal(state.outputs))

    @_answering
    def Read(self, request: Any) -> provider_pb2.ReadResponse:
        state = self._live.read(
            self._shape(request.urn), request.id, unmarshal(request.inputs), unmarshal(request.properties)
        )
        if state is None:
            return provider_pb2.ReadResponse(id="")
        return provider_pb2.ReadResponse(id=state.id, properties=marshal(state.outputs), inputs=marshal(state.inputs))

    @_answering
    def Update(self, request: Any) -> provider_pb2.UpdateResponse:
        shape, inputs = self._shape(request.urn), unmarshal(request.news)
        if request.preview:
            outputs = self._live.preview(shape, inputs, unmarshal(request.olds))
        else:
            outputs = self._live.update(shape, inputs, request.timeout or None).outputs
        return provider_pb2.UpdateResponse(properties=marshal(outputs))

    @_answering
    def Delete(self, request: Any) -> empty_pb2.Empty:
        self._live.delete(self._shape(request.urn), request.id, request.timeout or None)
        return empty_pb2.Empty()

    @_answering
    def Invoke(self, request: Any) -> provider_pb2.InvokeResponse:
        response = provider_pb2.InvokeResponse()
        # "return" is a word of Python's, so the field cannot be named in a call.
        getattr(response, "return").CopyFrom(marshal(self._live.invoke(request.tok, unmarshal(request.args))))
        return response

    @_answering
    def Cancel(self, request: Any) -> empty_pb2.Empty:
        self._cancelled.set()
        return empty_pb2.Empty()

    @property
    def _live(self) -> Lifecycle:
        if self._lifecycle is None:
            raise NotLocalError("the provider has not been configured; the engine calls Configure first")
        return self._lifecycle

    def _shape(self, urn: str) -> ResourceShape:
        token = urn.split("::")[2].split("$")[-1]
        shape = self._catalogue.resource(token)
        if shape is None:
            raise UnknownToken(f"Resource type {token} not found: Local Azure's provider does not know it")
        return shape


def _naming(request: Any) -> check.Naming:
    rules = None
    if request.HasField("autonaming"):
        mode = request.autonaming.Mode.Name(request.autonaming.mode).lower()
        rules = check.Autonaming(mode, request.autonaming.proposed_name)
    return check.Naming(request.urn.split("::", 3)[3], bytes(request.randomSeed), rules)


def _diff_response(found: Plan) -> provider_pb2.DiffResponse:
    some = provider_pb2.DiffResponse.DIFF_SOME if found.changes else provider_pb2.DiffResponse.DIFF_NONE
    return provider_pb2.DiffResponse(
        changes=some,
        replaces=found.replaces,
        deleteBeforeReplace=found.delete_first,
        diffs=found.properties,
        detailedDiff={
            path: provider_pb2.PropertyDiff(kind=_KINDS[change.change, change.replaces], inputDiff=True)
            for path, change in found.changes.items()
        },
        hasDetailedDiff=True,
    )


def _init_failed(error: PartlyDone, request: Any) -> bytes:
    """The state to keep of a resource whose operation failed, as the detail of a gRPC status."""
    inputs = request.properties if isinstance(request, provider_pb2.CreateRequest) else request.news
    detail = provider_pb2.ErrorResourceInitFailed(
        id=error.id, properties=marshal(error.outputs), reasons=[str(error)], inputs=inputs
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(error))
    status.details.add().Pack(detail)
    return status.SerializeToString()
