"""What stands in the way of `pulumi destroy` where a stack is protected."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi


class Protection(pulumi.ComponentResource):
    """Protected itself, and depends on all else: so it is the first to be deleted, and nothing else is before it.

    Without it, a destroy without a preview deletes whatever is not protected before it meets what is: and forgets what
    would have gone with the workspace, which then stays. One that is not `enabled` is let go: Pulumi wants to know that
    of a resource before it deletes it.

    ```python
    Protection("workspace-protection", keeps=[workspace, endpoint], enabled=True)
    ```
    """

    def __init__(self, name: str, *, keeps: Sequence[pulumi.Resource], enabled: bool) -> None:
        opts = pulumi.ResourceOptions(protect=enabled, depends_on=[*keeps])
        super().__init__("azureml-endpoints:index:Protection", name, None, opts)
        self.register_outputs({})
