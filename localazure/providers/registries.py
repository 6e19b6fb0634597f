"""Container registries: the control plane. Environments are built without images, so nothing is pushed to them."""

from __future__ import annotations

import secrets
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError
from localazure.arm.ids import GROUP
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource, now
from localazure.providers.cloud import Cloud
from localazure.providers.common import Composed, Plain, check_name, defaults, envelope, identity, keep_hidden, require

TYPE = "Microsoft.ContainerRegistry/registries"
REGISTRY = GROUP + "/providers/Microsoft.ContainerRegistry/registries/{registry}"


class ContainerRegistries:
    """`Microsoft.ContainerRegistry/registries`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._registries = Plain(cloud, TYPE, REGISTRY, self._compose)

    def routes(self) -> list[Route]:
        return [*self._registries.routes(), Route.of("POST", REGISTRY + "/listCredentials", self.credentials)]

    def _compose(self, _call: Call, body: dict[str, Any], existing: Resource | None, resource_id: str) -> Composed:
        name = ids.name(resource_id)
        check_name(name, r"[a-zA-Z0-9]{5,50}", "registry", "5 to 50 letters and digits")
        for other in self._cloud.store.of_type(TYPE):
            if other.name.lower() == name.lower() and not ids.same(other.id, resource_id):
                raise ArmError(
                    409, "AlreadyInUse", f"The registry DNS name {name.lower()}.azurecr.io is already in use."
                )
        sku = read.text(read.mapping(body, "sku", required=True), "name", "sku", required=True)
        properties = defaults(read.mapping(body, "properties"), **_DEFAULTS) | {
            "loginServer": f"{name.lower()}.azurecr.io",
            "creationDate": existing.properties["creationDate"] if existing else now(),
            "provisioningState": "Succeeded",
        }
        document = envelope(resource_id, TYPE, body, sku={"name": sku, "tier": sku}, properties=properties)
        if (block := identity(self._cloud, body, existing)) is not None:
            document["identity"] = block
        return Composed(document, keep_hidden(existing, passwords=[secrets.token_urlsafe(32) for _ in range(2)]))

    def credentials(self, call: Call) -> Answer:
        """POST listCredentials: refused while the admin user is off."""
        registry = require(self._cloud, call)
        if not registry.properties.get("adminUserEnabled"):
            raise ArmError(
                400,
                "UnAuthorizedForCredentialOperations",
                f"Cannot perform credential operations for {registry.id} as admin user is disabled.",
            )
        named = zip(("password", "password2"), registry.hidden["passwords"], strict=True)
        return Answer(
            200, {"username": registry.name, "passwords": [{"name": name, "value": value} for name, value in named]}
        )


_DEFAULTS: dict[str, Any] = {
    "adminUserEnabled": False,
    "anonymousPullEnabled": False,
    "dataEndpointEnabled": False,
    "dataEndpointHostNames": [],
    "networkRuleBypassOptions": "AzureServices",
    "privateEndpointConnections": [],
    "publicNetworkAccess": "Enabled",
    "zoneRedundancy": "Disabled",
}
