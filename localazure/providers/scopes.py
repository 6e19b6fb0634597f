"""What hangs below any resource: how the id that stands before it is read."""

from __future__ import annotations

import re

from localazure.arm.errors import ArmError, invalid
from localazure.arm.routes import Answer, Call
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.common import require_subscription

# Services of a storage account: they come and go with it, and nobody creates them.
_SERVICES = re.compile(r"(.+/storageAccounts/[^/]+)/(blob|file|queue|table)Services/default", re.IGNORECASE)


def scope_of(cloud: Cloud, call: Call, what: str) -> tuple[str, str]:
    """The canonical id and the ARM type of a call's `{scope*}`.

    Args:
        what: what the scope is for, in the plural, for the refusal.

    Raises:
        ArmError: 400 for no scope of Azure's, 404 where nothing is there.
    """
    scope = "/" + call.params["scope"].strip("/")
    parts = scope.strip("/").split("/")
    if parts[0].lower() != "subscriptions" or len(parts) < 2:
        raise invalid(f"The scope '{scope}' cannot have {what}: it begins with /subscriptions/…", "InvalidScope")
    require_subscription(cloud, parts[1])
    if len(parts) == 2:
        return f"/subscriptions/{cloud.settings.subscription_id}", "Microsoft.Resources/subscriptions"
    found = cloud.store.get(scope)
    if found is None:
        return _service(cloud, scope, what)
    return found.id, _kind(found)


def _service(cloud: Cloud, scope: str, what: str) -> tuple[str, str]:
    matched = _SERVICES.fullmatch(scope)
    account = cloud.store.get(matched.group(1)) if matched else None
    if matched is None or account is None:
        raise ArmError(404, "ResourceNotFound", f"The resource '{scope}' was not found, so it can have no {what}.")
    service = f"{matched.group(2).lower()}Services"
    return f"{account.id}/{service}/default", f"{_kind(account)}/{service}"


def _kind(resource: Resource) -> str:
    return str(resource.document.get("type") or resource.type)


def delete_below(cloud: Cloud, call: Call) -> Answer:
    """Deletes what lies below a resource or a scope as an extension of it: 204 where there was nothing."""
    found = cloud.store.get(call.path)
    if found is None:
        return Answer(204)
    cloud.store.delete(found.id)
    return Answer(200)
