"""What becomes of a resource in Azure: create, read, update, delete; and the functions. Knows no gRPC."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from localazure.pulumi_plugin.check import API_VERSION
from localazure.pulumi_plugin.convert import Converter, plain, without_empty
from localazure.pulumi_plugin.diff import with_drift
from localazure.pulumi_plugin.errors import (
    AlreadyExists,
    ArmError,
    Interrupted,
    InvalidId,
    PartlyDone,
    UnknownToken,
)
from localazure.pulumi_plugin.shapes import SCOPES, Catalogue, ResourceShape, path_parameters
from localazure.pulumi_plugin.values import UNKNOWN, Properties

if TYPE_CHECKING:  # its HTTP client takes a quarter of a second to import
    from localazure.pulumi_plugin.arm import Arm, Tokens

_GROUPS_API_VERSION = "2020-10-01"
_STABLE_OUTPUTS = ("name", "location")


@dataclass(frozen=True)
class State:
    """A resource as Azure has it.

    Attributes:
        id: its ARM id.
        outputs: its outputs.
        inputs: on a read, the inputs with what has changed in Azure.
    """

    id: str
    outputs: Properties
    inputs: Properties


class Lifecycle:
    """Operations on resources in one subscription.

    Args:
        warn: told what went wrong without failing an operation.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        arm: Arm,
        tokens: Tokens,
        subscription: str,
        *,
        location: str | None = None,
        warn: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._catalogue = catalogue
        self._converter = Converter(catalogue)
        self._arm = arm
        self._tokens = tokens
        self._subscription = subscription
        self._location = location
        self._warn = warn
        self._group_locations: dict[str, str] = {}
        self._lock = threading.Lock()

    def default_location(self, inputs: Mapping[str, Any]) -> Any:
        """Location for a resource that names none: the configured one, else its resource group's, else None."""
        if self._location:
            return self._location
        group = inputs.get("resourceGroupName")
        if group is UNKNOWN:
            return UNKNOWN
        return self._group_location(group) if isinstance(group, str) else None

    def preview(self, shape: ResourceShape, inputs: Properties, old_outputs: Mapping[str, Any]) -> Properties:
        """Outputs that a create or update of these inputs will have, as far as they are known before."""
        outputs = self._converter.preview(shape.outputs, inputs)
        return outputs | {name: old_outputs[name] for name in _STABLE_OUTPUTS if name in old_outputs}

    def create(self, shape: ResourceShape, inputs: Properties, timeout: float | None = None) -> State:
        """Creates what must not exist yet.

        Raises:
            AlreadyExists, ArmError, Interrupted: nothing has been created.
            PartlyDone: something has.
        """
        id = self._id(shape.row.path, inputs)
        if self._arm.exists(id, shape.api_version) and shape.row.default is None:
            raise AlreadyExists(f"cannot create already existing resource '{id}'")
        body = self._body(shape, inputs)
        _set_default(body, shape.maintained, [])
        return self._put(shape, id, inputs, body, timeout, "Create")

    def update(self, shape: ResourceShape, inputs: Properties, timeout: float | None = None) -> State:
        """Writes all inputs over what is there. Raises as `create` does."""
        id = self._id(shape.row.path, inputs)
        body = self._body(shape, inputs)
        if shape.maintained and not _has(body, shape.maintained):
            _set_default(body, shape.maintained, _get(self._arm.get(id, shape.api_version), shape.maintained))
        return self._put(shape, id, inputs, body, timeout, "Update")

    def read(self, shape: ResourceShape, id: str, inputs: Properties, old_outputs: Properties) -> State | None:
        """The resource as it is now; None if it is gone. Without inputs (an import), inputs are made from it.

        Raises:
            InvalidId: at an import, if the id is not one of this resource type.
            ArmError: if ARM refuses for another reason than that there is none.
        """
        try:
            answer = self._arm.get(id, shape.api_version)
        except ArmError as error:
            if error.status == 404:
                return None
            raise
        outputs = self._outputs(shape, answer)
        if not inputs:
            return State(id, outputs, self._imported(shape, id, answer))
        # Of a write whose outcome could not be read there is nothing that could have drifted.
        return State(id, outputs, self._drifted(shape, inputs, old_outputs, outputs) if old_outputs else inputs)

    def delete(self, shape: ResourceShape, id: str, timeout: float | None = None) -> None:
        """Deletes the resource; that it is gone is a success."""
        if shape.row.default is not None:
            self._reset(shape, id)
            return
        self._arm.delete(id, shape.api_version, long=shape.row.long_delete, timeout=timeout)

    def invoke(self, token: str, arguments: Mapping[str, Any]) -> Properties:
        """The result of a function.

        Raises:
            UnknownToken: if there is none of that name here.
        """
        match token:
            case "azure-native:authorization:getClientConfig":
                return self._client_config()
            case "azure-native:authorization:getClientToken":
                return {"token": self._tokens.get(str(arguments.get("endpoint") or "https://management.azure.com/"))}
        if shape := self._catalogue.function(token):
            names = {*path_parameters(shape.row.path), *shape.row.query}
            body = {name: value for name, value in arguments.items() if name not in names}
            query = {name: arguments[name] for name in shape.row.query if name in arguments}
            path = self._id(shape.row.path, arguments)
            answer = self._arm.post(path, plain(body), {"api-version": shape.api_version, **query})
            return self._converter.to_outputs(shape.result, answer)
        return self._get(token, arguments)

    def close(self) -> None:
        """Closes the connections."""
        self._arm.close()
        self._tokens.close()

    def _reset(self, shape: ResourceShape, id: str) -> None:
        try:
            self._arm.put(id, dict(shape.row.default or {}), {"api-version": shape.api_version}, long=False)
        except ArmError as error:
            if error.status != 404:  # it has gone with its parent
                raise

    def _get(self, token: str, arguments: Mapping[str, Any]) -> Properties:
        """A function `getX`: the outputs of a resource of type X."""
        package, module, name = token.split(":")
        kind = f"{package}:{module}:{name.removeprefix('get')}"
        shape = self._catalogue.resource(kind) if name.startswith("get") else None
        if shape is None:
            raise UnknownToken(f"Invoke type {token} not found: Local Azure's provider does not know it")
        answer = self._arm.get(self._id(shape.row.path, arguments), shape.api_version)
        return {"id": answer.get("id"), **self._outputs(shape, answer)}

    def _client_config(self) -> Properties:
        claims = self._tokens.claims()
        return {
            "clientId": claims.get("appid", ""),
            "objectId": claims.get("oid", ""),
            "subscriptionId": self._subscription,
            "tenantId": claims.get("tid", ""),
        }

    def _put(
        self,
        shape: ResourceShape,
        id: str,
        inputs: Properties,
        body: Properties,
        timeout: float | None,
        operation: str,
    ) -> State:
        query = {"api-version": shape.api_version}
        query |= {name: _query_value(inputs[name]) for name in shape.row.query if name in inputs}
        try:
            answer = self._arm.put(id, body, query, long=shape.row.long_put, timeout=timeout)
        except (ArmError, Interrupted) as error:
            if error.accepted:
                raise self._partly(shape, id, error) from error
            raise
        id = answer.get("id") or id
        return State(id, self._read_back(shape, id, answer, operation), inputs)

    def _read_back(self, shape: ResourceShape, id: str, answer: Properties, operation: str) -> Properties:
        """Outputs as a later refresh will see them, which the answer to a PUT need not be."""
        try:
            answer = self._arm.get(id, shape.api_version)
        except (ArmError, Interrupted) as error:
            self._warn(f"Failed to read resource after {operation}: {error}")
        return self._outputs(shape, answer)

    def _partly(self, shape: ResourceShape, id: str, error: Exception) -> PartlyDone:
        try:
            answer = self._arm.get(id, shape.api_version)
        except (ArmError, Interrupted) as unreadable:
            return PartlyDone(f"resource created but read failed {unreadable}: {error}", id, {})
        return PartlyDone(str(error), answer.get("id") or id, self._outputs(shape, answer))

    def _outputs(self, shape: ResourceShape, answer: Mapping[str, Any]) -> Properties:
        return self._converter.to_outputs(shape.outputs, answer) | {API_VERSION: shape.api_version}

    def _body(self, shape: ResourceShape, inputs: Mapping[str, Any]) -> Properties:
        body = self._converter.to_body(shape.body, inputs)
        # ARM wants the object even if nothing is in it.
        nested = any(shape.body.place(name)[0] for name in shape.body.properties)
        return {"properties": {}, **body} if nested else body

    def _imported(self, shape: ResourceShape, id: str, answer: Mapping[str, Any]) -> Properties:
        body = self._converter.to_outputs(shape.body, answer)
        body.pop("id", None)
        kept = {name: without_empty(value) for name, value in body.items()}
        return {**_parse_id(shape.row.path, id), **{name: value for name, value in kept.items() if value is not None}}

    def _drifted(
        self, shape: ResourceShape, inputs: Properties, old_outputs: Properties, outputs: Properties
    ) -> Properties:
        new = outputs
        if shape.row.maintain and not _has(inputs, shape.row.maintain):
            new = copy.deepcopy(outputs)
            _remove(new, shape.row.maintain)
        old_projection = self._converter.to_inputs(shape.body, old_outputs)
        new_projection = self._converter.to_inputs(shape.body, new)
        return with_drift(inputs, old_projection, new_projection)

    def _id(self, path: str, inputs: Mapping[str, Any]) -> str:
        values = {"subscriptionId": self._subscription}
        for name in path_parameters(path):
            value = inputs.get(name)
            if not isinstance(value, str):
                raise InvalidId(f"expected string value for path parameter '{name}', got {value!r}")
            # A scope is a resource's id, not a part of a path.
            values[name] = value.strip("/") if name in SCOPES else quote(value, safe="")
        return path.format_map(values)

    def _group_location(self, group: str) -> str | None:
        with self._lock:
            if group not in self._group_locations:
                path = f"/subscriptions/{self._subscription}/resourceGroups/{quote(group, safe='')}"
                try:
                    self._group_locations[group] = str(self._arm.get(path, _GROUPS_API_VERSION)["location"])
                except (ArmError, KeyError):
                    return None  # Check says then that the location is missing
            return self._group_locations[group]


def _parse_id(path: str, id: str) -> Properties:
    """The inputs that make up an id. Segments of the path compare without case."""
    pattern, parts = path.strip("/").split("/"), id.strip("/").split("/")
    scope = pattern[0][1:-1]
    if scope in SCOPES:  # any number of segments
        taken = len(parts) - len(pattern) + 1
        parts = ["/".join(parts[:taken]), *parts[taken:]]
    matches = len(parts) == len(pattern) and all(
        wanted.startswith("{") or wanted.lower() == part.lower() for wanted, part in zip(pattern, parts, strict=True)
    )
    if not matches:
        raise InvalidId(f"'{id}' does not match expected pattern '{path}'")
    found = {wanted[1:-1]: unquote(part) for wanted, part in zip(pattern, parts, strict=True) if wanted.startswith("{")}
    found.pop("subscriptionId", None)
    return found | ({scope: "/" + found[scope]} if scope in found else {})


def _query_value(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _has(values: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    return _get(values, path) is not None


def _get(values: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def _set_default(values: Properties, path: tuple[str, ...], default: Any) -> None:
    if path and default is not None and not _has(values, path):
        for name in path[:-1]:
            values = values.setdefault(name, {})
        values[path[-1]] = default


def _remove(values: Properties, path: tuple[str, ...]) -> None:
    holder = _get(values, path[:-1])
    if isinstance(holder, dict):
        holder.pop(path[-1], None)
