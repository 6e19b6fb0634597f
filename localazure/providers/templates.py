"""Template deployments: each resource of an ARM template is made as if the caller had sent its PUT.

The unmodified azure-ai-ml makes a workspace with one (`_arm_deployments/arm_templates/workspace_base.json`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid, not_emulated
from localazure.arm.ids import GROUP
from localazure.arm.routes import Answer, Call, Route, Table
from localazure.arm.store import Resource, now
from localazure.arm.templates import Place, Scope
from localazure.providers.cloud import Cloud
from localazure.providers.common import Json, canonical, check_name, page, require_group

TYPE = "Microsoft.Resources/deployments"
DEPLOYMENT = GROUP + "/providers/" + TYPE + "/{deployment}"
OPERATIONS = GROUP + "/deployments/{deployment}/operations"
_LONGEST_SECONDS = 120.0
_UNSETTLED = ("Creating", "Updating", "ResolvingDNS")
_AT_ONCE = "done when it is answered; no copy loops, linked or nested templates, and no complete mode"
# What a template says of a resource beside the body of its PUT.
_NO_BODY = ("type", "apiVersion", "name", "dependsOn", "condition", "comments", "resources", "scope", "metadata")


class _NotYet(ArmError):
    """An expression refers to a resource that is not there, or that the template has still to make."""

    def __init__(self, resource_id: str) -> None:
        super().__init__(400, "InvalidTemplate", f"The resource '{resource_id}' that is referenced does not exist.")


@dataclass(frozen=True)
class _Part:
    """A resource of a template: its id, what it waits for, and what the template says of it, not yet evaluated."""

    id: str
    after: tuple[str, ...]
    raw: Json


class Templates:
    """`Microsoft.Resources/deployments`: done when it is answered, for a client sleeps 5 s on one that is not."""

    def __init__(self, cloud: Cloud, table: Callable[[], Table]) -> None:
        """`table` has the routes at which the template's resources are made."""
        self._cloud = cloud
        self._table = table

    def routes(self) -> list[Route]:
        return [
            Route.of("PUT", DEPLOYMENT, self.create, slow=True, simplified=_AT_ONCE),
            Route.of("GET", DEPLOYMENT, lambda call: Answer(200, self._find(call).document)),
            Route.of("HEAD", DEPLOYMENT, lambda call: Answer(204 if self._cloud.store.get(call.path) else 404)),
            Route.of("DELETE", DEPLOYMENT, self.delete),
            Route.of("GET", DEPLOYMENT.rpartition("/")[0], self.list),
            Route.of("POST", DEPLOYMENT + "/validate", self.validate, simplified="the template, not what it deploys"),
            Route.of("POST", DEPLOYMENT + "/exportTemplate", self.export),
            Route.of("GET", OPERATIONS, self.operations),
        ]

    def _find(self, call: Call) -> Resource:
        require_group(self._cloud, call)
        found = self._cloud.store.get(ids.Template(DEPLOYMENT).fill(dict(call.params)))
        if found is None:
            name = call.params["deployment"]
            raise ArmError(404, "DeploymentNotFound", f"Deployment '{name}' could not be found.")
        return found

    def list(self, call: Call) -> Answer:
        """The deployments of a group."""
        found = self._cloud.store.below(require_group(self._cloud, call).id, TYPE)
        return page(call, call.path, found, read.size(call.query, "$top", 100))

    def operations(self, call: Call) -> Answer:
        """What a deployment did, a resource each."""
        found = self._find(call)
        made = [each["id"] for each in found.properties["outputResources"]]
        return Answer(200, {"value": [_operation(found, each, at) for at, each in enumerate(made)]})

    def export(self, call: Call) -> Answer:
        """POST exportTemplate: the template as it was sent."""
        return Answer(200, {"template": self._find(call).hidden["template"]})

    def delete(self, call: Call) -> Answer:
        """DELETE: forgets the deployment; what it made stays."""
        require_group(self._cloud, call)
        if found := self._cloud.store.get(call.path):
            self._cloud.store.delete(found.id)
        return Answer(204)

    # Evaluate ------------------------------------------------------------------------------------------------

    def validate(self, call: Call) -> Answer:
        """POST validate: whether the template can be evaluated, and what it would make."""
        group = require_group(self._cloud, call)
        scope, template = self._scope(call, group)
        parts = list(_parts(template, scope, group.id))
        resource_id = f"{group.id}/providers/{TYPE}/{call.params['deployment']}"
        document = _document(resource_id, scope, "Succeeded", [], 0.0)
        document["properties"]["validatedResources"] = [{"id": part.id} for part in parts]
        return Answer(200, document)

    def _scope(self, call: Call, group: Resource) -> tuple[Scope, Json]:
        """The template of a request and its scope. Raises ArmError (400, 501)."""
        check_name(call.params["deployment"], r"[-\w._()]{1,64}", "deployment", "1 to 64 letters, digits and -_.()")
        sent = read.mapping(call.json(), "properties", required=True)
        mode = read.choice(sent, "mode", ("Incremental", "Complete"), None, "properties")
        if mode is None:
            raise invalid("'properties.mode' is required: Incremental or Complete.", "InvalidRequestContent")
        linked = [name for name in ("templateLink", "parametersLink") if sent.get(name)]
        if mode == "Complete" or linked:
            raise not_emulated(f"template deployments with {linked[0] if linked else 'mode Complete'}")
        template = read.mapping(sent, "template", "properties", required=True)
        place = Place(
            self._cloud.settings.subscription_id,
            self._cloud.settings.tenant_id,
            {"id": group.id, "name": group.name, "location": group.document["location"]},
            call.params["deployment"],
            self._reference,
        )
        return Scope(template, read.mapping(sent, "parameters", "properties"), place), template

    def _reference(self, resource_id: str) -> Json:
        found = self._cloud.store.get(resource_id)
        if found is None:
            raise _NotYet(resource_id)
        return found.document

    # Make ----------------------------------------------------------------------------------------------------

    def create(self, call: Call) -> Answer:
        """PUT: makes what the template says, in the order that it asks for. Raises ArmError (400, 501)."""
        group = require_group(self._cloud, call)
        scope, template = self._scope(call, group)
        begun, made = time.monotonic(), list[str]()
        resource_id = canonical(self._cloud, call)
        left = list(_parts(template, scope, group.id))
        while left:
            part, body = self._next(left, made, scope)
            try:
                self._make(call, part, body)
            except ArmError as error:
                document = _document(resource_id, scope, "Failed", made, time.monotonic() - begun)
                document["properties"]["error"] = error.body()["error"]
                self._keep(document, template)
                raise
            made.append(part.id)
            left.remove(part)
        document = _document(resource_id, scope, "Succeeded", made, time.monotonic() - begun)
        document["properties"]["outputs"] = _outputs(template, scope)
        self._keep(document, template)
        return Answer(201, document)

    def _keep(self, document: Json, template: Json) -> None:
        with self._cloud.store.transaction():
            self._cloud.store.put(Resource(document["id"], TYPE, document, {"template": template}))

    def _next(self, left: list[_Part], made: list[str], scope: Scope) -> tuple[_Part, Json]:
        """A part that nothing left stands before, and the body of its PUT. Raises ArmError (400) for a circle."""
        waiting = {ids.key(part.id) for part in left}
        for part in left:
            if waiting.isdisjoint(part.after):
                try:
                    return part, scope.value({name: each for name, each in part.raw.items() if name not in _NO_BODY})
                except _NotYet:
                    continue
        names = ", ".join(ids.name(part.id) for part in left)
        raise invalid(f"The resources {names} wait for each other, or for one that does not exist.", "InvalidTemplate")

    def _make(self, call: Call, part: _Part, body: Json) -> None:
        try:
            self._put(call, part.id, body)
        except ArmError as error:
            if error.status == 501:
                raise
            raise _failed(part, error.code, error.message) from None
        deadline = time.monotonic() + _LONGEST_SECONDS
        while (found := self._cloud.store.get(part.id)) is not None and found.state in _UNSETTLED:
            if time.monotonic() > deadline:
                raise _failed(part, "DeploymentTimedOut", f"'{ids.name(part.id)}' is still in state {found.state}.")
            time.sleep(0.02)
        if found is None or found.state == "Failed":
            raise _failed(part, "ResourceDeploymentFailure", f"'{ids.name(part.id)}' was not made.")

    def _put(self, call: Call, resource_id: str, body: Json) -> None:
        """Answers a PUT as if the caller had sent it. Raises ArmError."""
        route, holes, _ = self._table().find("PUT", resource_id)
        if route is None or resource_id.partition("/providers/")[2].lower().startswith(TYPE.lower()):
            raise not_emulated(f"{resource_id} (PUT)")
        inner = replace(call, params=holes, raw=json.dumps(body).encode(), template=route.resource)
        if route.slow:
            route.handler(inner)
            return
        with self._cloud.store.transaction():
            route.handler(inner)


def _parts(template: Json, scope: Scope, group: str) -> Iterator[_Part]:
    """What a template makes here: the resources whose condition holds. Raises ArmError (400, 501)."""
    resources = template.get("resources") or []
    # Templates with symbolic names have an object here; dependsOn then speaks of these names.
    named = resources if isinstance(resources, dict) else {}
    listed = list(named.values()) if named else resources
    if not isinstance(listed, list):
        raise invalid("'properties.template.resources' must be a list or an object.", "InvalidTemplate")
    found = list(_flattened(listed, scope, group, "", ""))
    by_name = {name.lower(): each for name, raw in named.items() for each, _, made in found if made is raw}
    for resource_id, after, raw in found:
        wanted = {_waited_for(each, by_name, found) for each in after}
        yield _Part(resource_id, tuple(sorted(wanted)), raw)


def _flattened(
    resources: list[Any], scope: Scope, group: str, kind: str, name: str
) -> Iterator[tuple[str, list[str], Json]]:
    where = "template.resources"
    for raw in resources:
        if not isinstance(raw, dict):
            raise invalid("A resource of the template must be an object.", "InvalidTemplate")
        if raw.get("existing") is True or scope.value(raw.get("condition", True)) not in (True, "true", "True"):
            continue
        if "copy" in raw:
            raise not_emulated("copy loops of templates")
        own_kind = "/".join(filter(None, (kind, read.text(raw, "type", where, required=True))))
        own_name = "/".join(filter(None, (name, _text(scope.value(raw.get("name")), "name"))))
        above = _text(scope.value(raw["scope"]), "scope") if raw.get("scope") else group
        after = [
            _text(scope.value(each), "dependsOn") for each in read.sequence(raw, "dependsOn", "template.resources")
        ]
        yield _resource_id(above, own_kind, own_name), after, raw
        yield from _flattened(read.sequence(raw, "resources", "template.resources"), scope, group, own_kind, own_name)


def _waited_for(named: str, by_name: dict[str, str], found: list[tuple[str, list[str], Json]]) -> str:
    """The key of the id that a dependsOn entry means: a symbolic name, an id, or the name of a resource."""
    if named.lower() in by_name:
        return ids.key(by_name[named.lower()])
    short = [each for each, _, _ in found if ids.name(each).lower() == named.lower()]
    return ids.key(short[0] if short else named)


def _resource_id(above: str, kind: str, name: str) -> str:
    namespace, *kinds = kind.split("/")
    names = name.split("/")
    if not kinds or len(kinds) != len(names):
        raise invalid(
            f"The resource '{name}' of type '{kind}' has as many names as its type has parts.", "InvalidTemplate"
        )
    path = "/".join(f"{part}/{each}" for part, each in zip(kinds, names, strict=True))
    return f"{above}/providers/{namespace}/{path}"


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise invalid(f"'{what}' of a resource of the template must be a text, not {value!r}.", "InvalidTemplate")
    return value


def _outputs(template: Json, scope: Scope) -> Json:
    outputs = read.mapping(template, "outputs", "template")
    wanted = {name: read.mapping(outputs, name, "template.outputs") for name in outputs}
    return {
        name: {"type": each.get("type"), "value": scope.value(each.get("value"))}
        for name, each in wanted.items()
        if scope.value(each.get("condition", True)) is True
    }


def _document(resource_id: str, scope: Scope, state: str, made: list[str], seconds: float) -> Json:
    properties = {
        "mode": "Incremental",
        "provisioningState": state,
        "timestamp": now(),
        "duration": f"PT{seconds:.7f}S",
        "parameters": scope.parameters(),
        "outputs": {},
        "outputResources": [{"id": each} for each in made],
    }
    return {"id": resource_id, "name": ids.name(resource_id), "type": TYPE, "properties": properties}


def _operation(deployment: Resource, made: str, at: int) -> Json:
    kind = made.rpartition("/providers/")[2].rpartition("/")[0]
    properties = {
        "provisioningOperation": "Create",
        "provisioningState": "Succeeded",
        "timestamp": deployment.properties["timestamp"],
        "duration": deployment.properties["duration"],
        "statusCode": "OK",
        "targetResource": {"id": made, "resourceType": kind, "resourceName": ids.name(made)},
    }
    return {"id": f"{deployment.id}/operations/{at}", "operationId": str(at), "properties": properties}


def _failed(part: _Part, code: str, message: str) -> ArmError:
    detail = {"code": code, "message": message, "target": part.id}
    # The reason is in the text as well: clients print that much at least.
    text = f"At least one resource deployment operation failed: {message}"
    return ArmError(400, "DeploymentFailed", text, [detail])
