"""Where a new workspace and its parts are made, and what they are called."""

from dataclasses import dataclass
from typing import Any

import pulumi

from components.naming import global_name
from components.roles import Roles
from settings import Settings

WORKSPACE_ID = "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.MachineLearningServices/workspaces/{}"


@dataclass(frozen=True)
class Ground:
    """The place of a workspace that the stack makes, known before anything is made.

    `prefix` begins the names of the resources in Pulumi, whose parent is `parent`. `group` is the resource group's
    name, and waits for that where the stack makes it.
    """

    prefix: str
    parent: pulumi.Resource
    settings: Settings
    subscription_id: str
    tenant_id: str
    group_name: str
    workspace_name: str
    group: pulumi.Input[str]
    location: str
    roles: Roles

    def opts(self, *, holds_data: bool = False, **options: Any) -> pulumi.ResourceOptions:
        """Options of a child; what `holds_data` is protected where the stack is."""
        protect = True if holds_data and self.settings.protect else None
        return pulumi.ResourceOptions(parent=self.parent, protect=protect, **options)

    def place(self, *, holds_data: bool = False, **options: Any) -> dict[str, Any]:
        """Resource group, location and options of a child."""
        opts = self.opts(holds_data=holds_data, **options)
        return {"resource_group_name": self.group, "location": self.location, "opts": opts}

    def global_name(self, longest: int) -> str:
        """The workspace's name where names are unique in all of Azure."""
        unique = WORKSPACE_ID.format(self.subscription_id, self.group_name, self.workspace_name)
        return global_name(self.workspace_name, unique, longest)
