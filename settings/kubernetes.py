"""Kubernetes clusters that are attached to the workspace, and what containers on them ask for."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from settings.base import SettingsModel

# The instance type that the extension brings along.
BUILT_IN = "defaultinstancetype"


def _as_text(value: object) -> object:
    # One writes `cpu: 1` or `cpu: 0.5`, and Kubernetes takes text.
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}" if number else value


Amount = Annotated[str, BeforeValidator(_as_text), Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|[kMGTPE]i?)?$")]


class Amounts(SettingsModel):
    """Processors (`1`, `500m`), memory (`2Gi`) and graphics cards, as Kubernetes writes amounts."""

    cpu: Amount | None = None
    memory: Amount | None = None
    gpu: Amount | None = None


class ContainerResources(SettingsModel):
    """What a container asks for, and what it may take at most."""

    requests: Amounts = Amounts()
    limits: Amounts = Amounts()


class InstanceTypeSettings(ContainerResources):
    """A kind of instance that a cluster offers: the nodes it runs on, and what it gets of them."""

    node_selector: dict[str, str] = Field(default_factory=dict)


class KubernetesClusterSettings(SettingsModel):
    """An AKS cluster, or one that Azure Arc connects, with the Azure ML extension installed; `cluster` is its ARM id.

    Without `instance_types` the cluster has the one that the extension brings, `defaultinstancetype`. `identity` is
    what the attached cluster works under: nothing, Azure's own for it, or the one of the stack's compute clusters.
    """

    cluster: str
    namespace: str = "default"
    instance_types: dict[str, InstanceTypeSettings] = Field(default_factory=dict)
    default_instance_type: str | None = None
    identity: Literal["none", "system", "user"] = "none"

    def usual_type(self) -> str:
        """The instance type of deployments that name none."""
        only = next(iter(self.instance_types)) if len(self.instance_types) == 1 else BUILT_IN
        return self.default_instance_type or only
