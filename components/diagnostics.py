"""The resource logs of what a workspace is made of, in Log Analytics."""

from collections.abc import Mapping, Sequence

import pulumi
from pulumi_azure_native import monitor


class Diagnostics(pulumi.ComponentResource):
    """Sends all resource logs of each of `resources` (ids, by what they are) to the Log Analytics workspace `logs`.

    Each is gone before those of `after` are.

    ```python
    diagnostics = Diagnostics("workspace-diagnostics", resources={"vault": vault.id}, logs=logs.id)
    ```
    """

    def __init__(
        self,
        name: str,
        *,
        resources: Mapping[str, pulumi.Input[str]],
        logs: pulumi.Input[str],
        after: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("azureml-endpoints:index:Diagnostics", name, None, opts)
        for role, id_ in resources.items():
            monitor.DiagnosticSetting(
                f"{name}-{role}",
                name="log-analytics",
                resource_uri=id_,
                workspace_id=logs,
                logs=[monitor.DiagnosticsLogSettingsArgs(category_group="allLogs", enabled=True)],
                opts=pulumi.ResourceOptions(parent=self, depends_on=[*after]),
            )
        self.register_outputs({})
