"""Container registries: the control plane. Environments are built without images, so nothing is pushed to them."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid
from localazure.arm.ids import GROUP, SUBSCRIPTION
from localazure.arm.routes import Answer, Call, Route
from localazure.arm.store import Resource, now
from localazure.providers.cloud import Cloud
from localazure.providers.common import (
    Composed,
    Plain,
    asked_name,
    defaults,
    envelope,
    identity,
    keep_hidden,
    require,
    system_data,
    unavailable,
)
from localazure.providers.private_links import connections, disconnect

TYPE = "Microsoft.ContainerRegistry/registries"
REGISTRY = GROUP + "/providers/Microsoft.ContainerRegistry/registries/{registry}"
_PASSWORDS = ("password", "password2")


class ContainerRegistries:
    """`Microsoft.ContainerRegistry/registries`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        removed = lambda _call, registry: disconnect(cloud, registry.id)  # noqa: E731
        self._registries = Plain(cloud, TYPE, REGISTRY, self._compose, removed)

    def routes(self) -> list[Route]:
        provider = SUBSCRIPTION + "/providers/Microsoft.ContainerRegistry"
        return [
            *self._registries.routes(),
            Route.of("POST", REGISTRY + "/listCredentials", self.credentials),
            Route.of("POST", REGISTRY + "/regenerateCredential", self.regenerate),
            Route.of("POST", provider + "/checkNameAvailability", self.check_availability),
        ]

    def _compose(self, call: Call, body: dict[str, Any], existing: Resource | None, resource_id: str) -> Composed:
        name = ids.name(resource_id)
        if not _NAME.fullmatch(name):
            raise invalid(_invalid_name(name), "InvalidResourceName")
        self._refuse_taken(name, resource_id)
        held = read.mapping(body, "sku", required=True)
        read.text(held, "name", "sku", required=True)
        sku = read.choice(held, "name", _SKUS, None, "sku") or ""
        sent = read.mapping(body, "properties")
        linked = connections(self._cloud, resource_id)
        if linked and sku != "Premium":
            raise invalid(
                f"The registry {name} has private endpoint connections, which need the Premium SKU: delete them before "
                f"it becomes {sku}.",
                "CannotDowngradeSkuWithPrivateEndpointConnections",
            )
        properties = defaults(sent, **_DEFAULTS) | {
            **_checked(sent, sku, existing),
            **{part: _merged(part, sent) for part in _PARTS},
            "privateEndpointConnections": linked,
            "loginServer": f"{name.lower()}.azurecr.io",
            "creationDate": existing.properties["creationDate"] if existing else now(),
            "provisioningState": "Succeeded",
        }
        data = system_data(self._cloud, call, existing)
        tier = {"name": sku, "tier": sku}
        document = envelope(resource_id, TYPE, body, sku=tier, systemData=data, properties=properties)
        if (block := identity(self._cloud, body, existing)) is not None:
            document["identity"] = block
        return Composed(document, keep_hidden(existing, passwords=[_password(), _password()]))

    def _refuse_taken(self, name: str, resource_id: str) -> None:
        for other in self._cloud.store.of_type(TYPE):
            if other.name.lower() == name.lower() and not ids.same(other.id, resource_id):
                raise ArmError(
                    409,
                    "AlreadyInUse",
                    f"The registry DNS name {name.lower()}.azurecr.io is already in use. You can check if the name is "
                    "already claimed using following API: "
                    "https://docs.microsoft.com/en-us/rest/api/containerregistry/registries/checknameavailability",
                )

    def credentials(self, call: Call) -> Answer:
        """POST listCredentials: refused while the admin user is off."""
        registry = self._with_admin(call)
        named = zip(_PASSWORDS, registry.hidden["passwords"], strict=True)
        return Answer(
            200, {"username": registry.name, "passwords": [{"name": name, "value": value} for name, value in named]}
        )

    def regenerate(self, call: Call) -> Answer:
        """POST regenerateCredential: one of the two passwords is new."""
        registry = self._with_admin(call)
        name = read.choice(call.json(), "name", _PASSWORDS, None)
        if name is None:
            raise invalid("'name' is required: password or password2.", "ValidationError")
        passwords = list(registry.hidden["passwords"])
        passwords[_PASSWORDS.index(name)] = _password()
        self._cloud.store.put(replace(registry, hidden={**registry.hidden, "passwords": passwords}))
        return self.credentials(call)

    def _with_admin(self, call: Call) -> Resource:
        registry = require(self._cloud, call)
        if not registry.properties.get("adminUserEnabled"):
            raise ArmError(
                400,
                "UnAuthorizedForCredentialOperations",
                f"Cannot perform credential operations for {registry.id} as admin user is disabled.",
            )
        return registry

    def check_availability(self, call: Call) -> Answer:
        """POST checkNameAvailability."""
        name = asked_name(self._cloud, call, TYPE)
        if not _NAME.fullmatch(name):
            return Answer(200, unavailable("Invalid", _invalid_name(name)))
        if any(other.name.lower() == name.lower() for other in self._cloud.store.of_type(TYPE)):
            return Answer(200, unavailable("AlreadyExists", f"The registry {name.lower()} is already in use."))
        return Answer(200, {"nameAvailable": True})


_NAME = re.compile(r"[a-zA-Z0-9]{5,50}")
_SKUS = ("Basic", "Standard", "Premium")
_FLAGS = ("adminUserEnabled", "anonymousPullEnabled", "dataEndpointEnabled")
_CHOICES = {
    "networkRuleBypassOptions": ("AzureServices", "None"),
    "publicNetworkAccess": ("Enabled", "Disabled"),
    "zoneRedundancy": ("Enabled", "Disabled"),
}
# What a value needs; an absent pair may be had in any tier (documented limits of the service tiers).
_NEEDS: Mapping[tuple[str, Any], tuple[str, ...]] = {
    ("anonymousPullEnabled", True): ("Standard", "Premium"),
    ("dataEndpointEnabled", True): ("Premium",),
    ("publicNetworkAccess", "Disabled"): ("Premium",),
    ("zoneRedundancy", "Enabled"): ("Premium",),
}
_DEFAULTS: dict[str, Any] = {
    "adminUserEnabled": False,
    "anonymousPullEnabled": False,
    "dataEndpointEnabled": False,
    "dataEndpointHostNames": [],
    "networkRuleBypassOptions": "AzureServices",
    "publicNetworkAccess": "Enabled",
    "zoneRedundancy": "Disabled",
}
_PARTS: dict[str, dict[str, Any]] = {
    "encryption": {"status": "disabled"},
    "policies": {
        "quarantinePolicy": {"status": "disabled"},
        "trustPolicy": {"type": "Notary", "status": "disabled"},
        "retentionPolicy": {"days": 7, "status": "disabled"},
        "exportPolicy": {"status": "enabled"},
        "azureADAuthenticationAsArmPolicy": {"status": "enabled"},
    },
}


def _invalid_name(name: str) -> str:
    return (
        f"The registry name '{name}' is invalid: resource names may contain alpha numeric characters only and must be "
        "between 5 and 50 characters."
    )


def _checked(sent: dict[str, Any], sku: str, existing: Resource | None) -> dict[str, Any]:
    """The values that have rules, in canonical case."""
    values: dict[str, Any] = {name: read.flag(sent, name, False, "properties") for name in _FLAGS}
    values |= {name: read.choice(sent, name, known, _DEFAULTS[name], "properties") for name, known in _CHOICES.items()}
    for name, value in values.items():
        needed = _NEEDS.get((name, value), _SKUS)
        if sku not in needed:
            raise invalid(
                f"'properties.{name}' is {value}, which a registry of SKU {sku} cannot have; it needs "
                f"{' or '.join(needed)}.",
                "InvalidParameter",
            )
    _refuse_tier(sent, sku)
    if existing is not None and values["zoneRedundancy"] != existing.properties["zoneRedundancy"]:
        raise invalid("'properties.zoneRedundancy' cannot be changed: create the registry again.", "InvalidParameter")
    return values


def _refuse_tier(sent: dict[str, Any], sku: str) -> None:
    """Firewalls, retention, trust, quarantine and a ban on export are for the Premium tier. Raises ArmError (400).

    Source: https://learn.microsoft.com/azure/container-registry/container-registry-skus.
    """
    policies = read.mapping(sent, "policies", "properties")
    found = {name: read.mapping(policies, name, "properties.policies") for name in _PREMIUM_POLICIES}
    changed = [name for name, usual in _PREMIUM_POLICIES.items() if found[name].get("status", usual) != usual]
    asked = [f"policies.{name}" for name in changed]
    rules = read.mapping(sent, "networkRuleSet", "properties")
    if read.choice(rules, "defaultAction", ("Allow", "Deny"), "Allow", "properties.networkRuleSet") == "Deny":
        asked.append("networkRuleSet")
    if asked and sku != "Premium":
        raise invalid(
            f"'properties.{asked[0]}' is not supported by a registry of SKU {sku}; it needs Premium.",
            "FeatureNotSupported",
        )
    public = read.text(sent, "publicNetworkAccess", "properties") or "Enabled"
    if found["exportPolicy"].get("status") == "disabled" and public != "Disabled":
        raise invalid(
            "'properties.policies.exportPolicy.status' is disabled, which needs properties.publicNetworkAccess "
            "Disabled.",
            "ExportPolicyNotSupported",
        )


_PREMIUM_POLICIES = {
    "quarantinePolicy": "disabled",
    "trustPolicy": "disabled",
    "retentionPolicy": "disabled",
    "exportPolicy": "enabled",
}


def _merged(part: str, sent: dict[str, Any]) -> dict[str, Any]:
    """A part whose own parts have defaults, each over what Azure fills in."""
    held = read.mapping(sent, part, "properties")
    filled = dict(_PARTS[part])
    for name, value in held.items():
        default = filled.get(name)
        filled[name] = {**default, **read.mapping(held, name, part)} if isinstance(default, dict) else value
    return filled


def _password() -> str:
    return secrets.token_urlsafe(32)
