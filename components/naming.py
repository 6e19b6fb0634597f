"""Names: how children find their parents in Azure, and how a deployment gets its revision."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any

import pulumi


def name_in_azure(resource: pulumi.CustomResource) -> pulumi.Output[str]:
    """The Azure name of a resource, for its children.

    Taken from its id: an update leaves an id known, so that no child seems to move in a preview, while a replacement
    makes it unknown, so that the children are replaced too.
    """
    return resource.id.apply(lambda id_: id_.rpartition("/")[2])


def provisioning_state(resource: pulumi.CustomResource) -> pulumi.Output[str | None]:
    """The `provisioningState` in a resource's properties; none in the preview of its creation."""
    properties: pulumi.Output[Any] = getattr(resource, "properties")  # noqa: B009

    # Where a resource has several forms of properties, as a deployment has, they arrive as the service spells them.
    def state(found: Any) -> str | None:
        return found.get("provisioningState") if type(found) is dict else found.provisioning_state

    return properties.apply(state)


def revision(deployment: str, runs: Mapping[str, Any]) -> str:
    """`blue` becomes `blue-<8 hex digits>`, by what it runs.

    A deployment is immutable: other content is another deployment beside the live one, so that Azure never rolls one in
    place and what failed once is never met again.
    """
    canonical = json.dumps(runs, sort_keys=True, separators=(",", ":"))
    return f"{deployment}-{hashlib.sha256(canonical.encode()).hexdigest()[:8]}"


def role_assignment_name(scope: str, role: str, principal: str) -> str:
    """The GUID of a role assignment, the same at every run, so that it is made once."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{scope}|{role}|{principal}".lower()))


def role_definition_name(scope: str, stem: str) -> str:
    """The GUID of a role of our own, the same at every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{scope}|role|{stem}".lower()))


def global_name(stem: str, unique: str, longest: int) -> str:
    """A name for what is unique in all of Azure and takes lower-case letters and digits only."""
    digest = hashlib.sha256(unique.lower().encode()).hexdigest()[:8]
    letters = "".join(character for character in stem.lower() if character.isascii() and character.isalnum())
    return letters[: longest - len(digest)] + digest
