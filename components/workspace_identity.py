"""The identity of a workspace, where the stack makes it instead of Azure."""

from hashlib import sha256

import pulumi
from pulumi_azure_native import managedidentity

from components.existing import segments
from components.ground import Ground
from components.roles import (
    CONTRIBUTOR,
    KEY_VAULT_ADMINISTRATOR,
    NETWORK_CONNECTION_APPROVER,
    STORAGE_BLOB_DATA_CONTRIBUTOR,
    STORAGE_FILE_DATA_PRIVILEGED_CONTRIBUTOR,
)
from components.workspace_parts import Parts


class WorkspaceIdentity(pulumi.ComponentResource):
    """A user-assigned identity with the roles that Azure ML asks of a workspace's, and the wait until they count.

    Azure gives these to an identity of its own, but not to this one. The workspace is made when `effective` is there:
    it works with its parts at once. `id` and `principal_id` are the identity's.

    ```python
    identity = WorkspaceIdentity("workspace-own", ground=ground, parts=parts)
    ```
    """

    def __init__(self, name: str, *, ground: Ground, parts: Parts, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("azureml-endpoints:index:WorkspaceIdentity", name, None, opts)
        identity = managedidentity.UserAssignedIdentity(
            f"{name}-user",
            resource_name_=ground.settings.azure_name(f"id-{ground.workspace_name}"),
            resource_group_name=ground.group,
            location=ground.location,
            opts=pulumi.ResourceOptions(parent=self),
        )
        assignments = [
            ground.roles.assign(f"{name}-{suffix}", scope, role, identity.principal_id, parent=self)
            for suffix, (scope, role) in _needs(ground, parts).items()
        ]
        self.effective = ground.roles.effective(f"{name}-effective", assignments, parent=self)
        self.id, self.principal_id = identity.id, identity.principal_id
        self.register_outputs({"id": self.id})


def _needs(ground: Ground, parts: Parts) -> dict[str, tuple[pulumi.Input[str], str]]:
    """The scopes and roles, by what they are for.

    Source: https://learn.microsoft.com/azure/machine-learning/how-to-identity-based-service-authentication (user-
    assigned managed identity); for managed networks, how-to-managed-network; without keys, how-to-disable-local-auth-
    storage. Contributor is on each part alone, not on their group.
    """
    needs: dict[str, tuple[pulumi.Input[str], str]] = {
        # To set up its containers and shares, and to keep what it logs there.
        "storage": (parts.storage, CONTRIBUTOR),
        "blobs": (parts.storage, STORAGE_BLOB_DATA_CONTRIBUTOR),
        # To keep the secrets of datastores and connections.
        "vault": (parts.vault, CONTRIBUTOR),
        "secrets": (parts.vault, KEY_VAULT_ADMINISTRATOR),
        # To have images built and to store them.
        "registry": (parts.registry, CONTRIBUTOR),
        # To send what requests and scripts log, and to link to it in studio.
        "insights": (parts.insights, CONTRIBUTOR),
    }
    if ground.settings.security.keyless:
        # With keys, whoever has them may write to shares.
        needs["shares"] = (parts.storage, STORAGE_FILE_DATA_PRIVILEGED_CONTRIBUTOR)
    if ground.settings.network.mode == "managed":
        needs |= _approvals(ground, parts)
    return needs


def _approvals(ground: Ground, parts: Parts) -> dict[str, tuple[pulumi.Input[str], str]]:
    """To approve the private endpoints that the managed network makes: to each part, and to the workspace itself.

    That is not there yet when its network is made, so that the role is on the group; and on what is in another one, be
    it a part or what an outbound rule leads to.
    """
    group = f"/subscriptions/{ground.subscription_id}/resourceGroups/"
    inside = pulumi.Output.from_input(ground.group).apply(lambda name: group + name)
    used = {"storage": parts.storage, "vault": parts.vault, "registry": parts.registry}
    elsewhere = {part: str(id_) for part, id_ in used.items() if part not in parts.own}
    for rule in ground.settings.network.outbound_rules.values():
        target = rule.private_endpoint
        # Azure gives a role on one thing once, however many rules lead to its subresources.
        if target and not _is_inside(target, ground) and target.lower() not in map(str.lower, elsewhere.values()):
            elsewhere[f"{target.rpartition('/')[2]}-{sha256(target.lower().encode()).hexdigest()[:8]}"] = target
    approver = {f"approves-{what}": (id_, NETWORK_CONNECTION_APPROVER) for what, id_ in elsewhere.items()}
    return {"approves": (inside, NETWORK_CONNECTION_APPROVER), **approver}


def _is_inside(id_: str, ground: Ground) -> bool:
    """Whether something is in the workspace's own group."""
    found = segments(id_)
    own = (ground.subscription_id.lower(), ground.group_name.lower())
    return (found["subscriptions"].lower(), found["resourcegroups"].lower()) == own
