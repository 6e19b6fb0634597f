"""Kubernetes clusters that are attached to the workspace, and what containers on them ask for."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from settings.base import SettingsModel

# The instance type that the extension brings along.
BUILT_IN = "defaultinstancetype"
# Of amounts: the powers of 1000, or of 1024 with an i.
PREFIXES = "kmgtpe"


def _as_text(value: object) -> object:
    # One writes `cpu: 1` or `cpu: 0.5`, and Kubernetes takes text.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    # Every digit of it: 1073741824 bytes.
    text = f"{value:f}" if isinstance(value, float) else f"{value}.0"
    return text.rstrip("0").removesuffix(".")


Amount = Annotated[
    str,
    BeforeValidator(_as_text, json_schema_input_type=str | float),
    Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|[kMGTPE]|[KMGTPE]i)?$"),
]


class Amounts(SettingsModel):
    """Processors (`1`, `500m`), memory (`2Gi`) and graphics cards, as Kubernetes writes amounts."""

    cpu: Amount | None = Field(default=None, description="Processors: 1, 0.5 or 500m.")
    memory: Amount | None = Field(default=None, description="Memory: 2Gi or 512Mi.")
    gpu: Amount | None = Field(default=None, description="Graphics cards: 1.")


def quantity(amount: str) -> Decimal:
    """What an amount is worth: in processors, bytes, or cards."""
    number = amount.rstrip("mkKMGTPEi")
    unit = amount.removeprefix(number)
    if unit == "m":
        return Decimal(number) / 1000
    power = PREFIXES.index(unit[0].lower()) + 1 if unit else 0
    return Decimal(number) * (1024 if unit.endswith("i") else 1000) ** power


class ContainerResources(SettingsModel):
    """What a container asks for, and what it may take at most."""

    requests: Amounts = Field(
        default=Amounts(), description="What a container asks for: it runs only where that is free."
    )
    limits: Amounts = Field(default=Amounts(), description="What a container may take at most.")


class InstanceTypeSettings(ContainerResources):
    """A kind of instance that a cluster offers: the nodes it runs on, and what it gets of them."""

    node_selector: dict[str, str] = Field(
        default_factory=dict, description="Labels of the nodes that it runs on; any node without it."
    )


class KubernetesClusterSettings(SettingsModel):
    """An AKS cluster, or one that Azure Arc connects, with the Azure ML extension installed; `cluster` is its ARM id.

    Without `instance_types` the cluster has the one that the extension brings, `defaultinstancetype`. `identity` is
    what the attached cluster works under: nothing, Azure's own for it, or the one of the stack's compute clusters.
    """

    cluster: str = Field(description="The ARM id of the AKS or Arc cluster, with the Azure ML extension installed.")
    namespace: str = Field(default="default", description="The namespace that deployments run in.")
    instance_types: dict[str, InstanceTypeSettings] = Field(
        default_factory=dict,
        description="What the cluster offers, by name; without it the extension's defaultinstancetype.",
    )
    default_instance_type: str | None = Field(
        default=None, description="The instance type of deployments that name none."
    )
    identity: Literal["none", "system", "user"] = Field(
        default="none",
        description="What the attached cluster works under: none, Azure's own, or that of compute clusters (user).",
    )

    def usual_type(self) -> str:
        """The instance type of deployments that name none."""
        only = next(iter(self.instance_types)) if len(self.instance_types) == 1 else BUILT_IN
        return self.default_instance_type or only
