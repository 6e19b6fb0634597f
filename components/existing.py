"""What is there already, looked up: a stack that names what does not exist ends before it makes anything."""

from collections.abc import Callable
from typing import Any

import pulumi


def segments(id_: str) -> dict[str, str]:
    """The names in an ARM id by what stands before them, in lower case: `resourcegroups` is the group's."""
    parts = id_.strip("/").split("/")
    return {key.lower(): value for key, value in zip(parts[::2], parts[1::2], strict=False)}


def look_up(path: str, id_: str, subscription_id: str, get: Callable[..., Any], **names: str) -> Any | None:
    """What Azure says of something that the configuration names at `path`. Raises `pulumi.RunError`.

    None where it is in another subscription than the stack: azure-native asks in its own only.
    """
    found = segments(id_)
    if found["subscriptions"].lower() != subscription_id.lower():
        return None
    own = {argument: found[segment.lower()] for argument, segment in names.items()}
    try:
        return get(resource_group_name=found["resourcegroups"], **own)
    except Exception as error:
        # Pulumi raises plain exceptions here.
        raise pulumi.RunError(
            f'{path}: "{id_}" cannot be looked up: {error}; correct the id, or let whoever deploys read it.'
        ) from None


def only_in(path: str, id_: str, subscription_id: str, way_out: str | None = None) -> None:
    """Refuses what is in another subscription than the stack; the usual way out is to deploy there.

    Raises `pulumi.RunError`.
    """
    found = segments(id_)["subscriptions"]
    if found.lower() != subscription_id.lower():
        otherwise = way_out or f"pulumi config set azure-native:subscriptionId {found}"
        raise pulumi.RunError(
            f"{path}: it is in subscription {found}, but the stack deploys to {subscription_id}; {otherwise}."
        )
