"""Whoever deploys, where there are no keys: models and code are uploaded with a role of their own."""

from collections.abc import Sequence

import pulumi

from components.roles import STORAGE_BLOB_DATA_CONTRIBUTOR, Roles


class Uploader(pulumi.ComponentResource):
    """The right of those who deploy (`principals`, object ids) to write blobs, and the wait until they have it.

    azure-ai-ml uploads with a key of the storage account where there is one; else as who runs it, which Microsoft gives
    Storage Blob Data Contributor for (https://learn.microsoft.com/azure/machine-learning/how-to-disable-local-auth-storage).
    What is uploaded waits for `effective`.

    ```python
    uploader = Uploader("workspace-uploader", principals=[client.object_id], storage_id=account.id, roles=roles)
    ```
    """

    def __init__(
        self,
        name: str,
        *,
        principals: Sequence[str],
        storage_id: pulumi.Input[str],
        roles: Roles,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("azureml-endpoints:index:Uploader", name, None, opts)
        assignments = [
            roles.assign(
                f"{name}-{suffix}",
                storage_id,
                STORAGE_BLOB_DATA_CONTRIBUTOR,
                principal,
                parent=self,
                is_new=False,
            )
            for suffix, principal in _by_name(principals).items()
        ]
        self.effective = roles.effective(f"{name}-effective", assignments, parent=self)
        self.register_outputs({})


def _by_name(principals: Sequence[str]) -> dict[str, str]:
    """Each under the beginning of its id; in full where another one has that beginning already."""
    named: dict[str, str] = {}
    for principal in principals:
        short = principal.partition("-")[0]
        named[principal if short.lower() in {each.lower() for each in named} else short] = principal
    return named
