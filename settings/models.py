"""What the stack configuration may say, as frozen models that refuse unknown keys; camelCase in the configuration."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from settings.base import SettingsModel, Whole
from settings.kubernetes import ContainerResources, KubernetesClusterSettings
from settings.platform import NetworkSettings, SecuritySettings, WorkspaceSettings
from settings.scale import AutoscaleSettings
from settings.schedules import ScheduleSettings
from settings.serving import DataCollectorSettings, SmokeTestSettings

# Pulumi.yaml gives this default to what is derived, since a key without a default would be required.
AUTO = "auto"


class ComputeClusterSettings(SettingsModel):
    """A cluster of virtual machines for batch jobs; `idle_time_before_scale_down` in seconds.

    With `existing` it is one of the workspace that is there, which the stack neither changes nor deletes.
    """

    existing: str | None = Field(default=None, description="The ARM id of a cluster that is there, used as it is.")
    vm_size: str | None = None
    tier: Literal["dedicated", "low_priority"] = "dedicated"
    min_instances: Whole = Field(default=0, ge=0)
    max_instances: Whole = Field(default=1, ge=1)
    idle_time_before_scale_down: Whole = Field(default=120, ge=0)
    subnet: str | None = Field(
        default=None, description="The ARM id of a subnet that is there; else the network's, where that has one."
    )


def _reference(value: object) -> object:
    return {"reference": value} if isinstance(value, str) else value


class ModelSettings(SettingsModel):
    """A model: a `path` that is registered by its content, or a `reference` to one that is registered already.

    In the configuration a reference is written as a plain string: `model: azureml:tumor:3`.
    """

    path: str | None = None
    type: Literal["custom_model", "mlflow_model"] = "custom_model"
    name: str | None = None
    reference: str | None = None


class CodeSettings(SettingsModel):
    """The scoring script and the folder that holds it."""

    path: str
    script: str


class EnvironmentSettings(SettingsModel):
    """What the script runs in: an `image` with a conda file, a Docker build context, or a `reference`."""

    image: str | None = None
    conda_file: str | None = None
    build_context: str | None = None
    dockerfile: str = "Dockerfile"
    name: str | None = None
    reference: str | None = None


class ProbeSettings(SettingsModel):
    """A liveness, readiness or startup probe; times in seconds. Defaults and least values are Azure's."""

    initial_delay: Whole = Field(default=10, ge=1, description="Seconds from the container's start to the first probe.")
    period: Whole = Field(default=10, ge=1, description="Seconds between two probes.")
    timeout: Whole = Field(default=2, ge=1, description="Seconds after which a probe has failed.")
    success_threshold: Whole = Field(default=1, ge=1, description="Successes in a row that end a failure.")
    failure_threshold: Whole = Field(default=30, ge=1, description="Failures in a row before Azure gives up.")


class RequestSettings(SettingsModel):
    """How a deployment takes requests. Azure allows a timeout of 180,000 ms at most, and 300,000 on Kubernetes."""

    request_timeout_ms: Whole = Field(default=5_000, ge=1, le=300_000)
    max_concurrent_requests_per_instance: Whole = Field(default=1, ge=1)
    max_queue_wait_ms: Whole = Field(default=500, ge=0)


class RetrySettings(SettingsModel):
    """How often a mini-batch is tried again, and how long one may take (seconds). The defaults are Azure's."""

    max_retries: Whole = Field(default=3, ge=0)
    timeout: Whole = Field(default=30, ge=1)


class DeploymentSettings(SettingsModel):
    """What online and batch deployments share. `attempt` makes a new revision of unchanged content."""

    model: Annotated[ModelSettings, BeforeValidator(_reference)]
    code: CodeSettings | None = None
    environment: Annotated[EnvironmentSettings | None, BeforeValidator(_reference)] = None
    environment_variables: dict[str, str] = Field(default_factory=dict)
    description: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    properties: dict[str, str] = Field(default_factory=dict, description="Azure's own dictionary beside the tags.")
    attempt: Whole = Field(default=0, ge=0, description="Raise it to deploy unchanged content anew.")
    # Azure allows 50 instances a deployment.
    instance_count: Whole = Field(default=1, ge=1, le=50)


class OnlineDeploymentSettings(DeploymentSettings):
    """A deployment of an online endpoint. With `autoscale` the number of instances is nobody else's affair."""

    instance_type: str | None = Field(
        default=None, description="A size of a virtual machine; on Kubernetes an instance type of the cluster, or none."
    )
    autoscale: AutoscaleSettings | None = None
    resources: ContainerResources | None = Field(default=None, description="What a container on Kubernetes asks for.")
    app_insights_enabled: bool = False
    request_settings: RequestSettings = RequestSettings()
    liveness_probe: ProbeSettings = ProbeSettings()
    readiness_probe: ProbeSettings = ProbeSettings()
    startup_probe: ProbeSettings | None = Field(
        default=None, description="Holds the other probes back until the container has started."
    )
    data_collector: DataCollectorSettings | None = None
    egress_public_network_access: Literal["enabled", "disabled"] = Field(
        default="enabled",
        description="Whether the deployment reaches registry, storage and workspace over the public network. It does "
        "not apply where the workspace has a managed network.",
    )
    model_mount_path: str | None = Field(
        default=None, description="Where the model is mounted in the container; else at Azure's own place."
    )
    smoke_test: SmokeTestSettings | None = None


class BatchDeploymentSettings(DeploymentSettings):
    """A deployment of a batch endpoint; `mini_batch_size` in files. The defaults are Azure's."""

    compute: str
    max_concurrency_per_instance: Whole = Field(default=1, ge=1)
    mini_batch_size: Whole = Field(default=10, ge=1)
    output_action: Literal["append_row", "summary_only"] = "append_row"
    output_file_name: str = "predictions.csv"
    retry_settings: RetrySettings = RetrySettings()
    error_threshold: Whole = Field(default=-1, ge=-1)
    logging_level: Literal["debug", "info", "warning"] = "info"


def _auto(value: object) -> object:
    return None if value == AUTO else value


Percentages = dict[str, Annotated[Whole, Field(ge=0, le=100)]]


class EndpointSettings(SettingsModel):
    """What online and batch endpoints share.

    `parallel_deployments` lifts the rule that the deployments of an endpoint are written one after another.
    """

    description: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    parallel_deployments: bool = False


def _identity(value: object) -> object:
    # One finding instead of one for each member of the union.
    ids = isinstance(value, list) and value and all(isinstance(each, str) for each in value)
    if value in ("system", "user") or ids:
        return value
    raise PydanticCustomError(
        "identity", "Input should be 'system', 'user', or a list of ARM ids of user-assigned identities"
    )


class OnlineEndpointSettings(EndpointSettings):
    """An online endpoint; `traffic` and `mirror_traffic` in per cent by deployment.

    Azure cannot change the `identity` or the `auth_mode` of an endpoint that is there.
    """

    auth_mode: Literal["key", "aml_token", "aad_token"] = "key"
    public_network_access: Literal["enabled", "disabled"] = "enabled"
    identity: Annotated[Literal["system", "user"] | tuple[str, ...], BeforeValidator(_identity)] = Field(
        default="system",
        description="system: Azure's own for this endpoint, with the roles it needs; user: one that the stack makes "
        "and gives these roles; a list of ARM ids: identities that are there and have their roles already.",
    )
    kubernetes: str | None = Field(
        default=None, description="One of kubernetesClusters, or azureml:<name>; Azure's own machines without it."
    )
    deployments: dict[str, OnlineDeploymentSettings] = Field(default_factory=dict)
    traffic: Percentages = Field(default_factory=dict)
    mirror_traffic: Percentages = Field(default_factory=dict)


class BatchEndpointSettings(EndpointSettings):
    """A batch endpoint; `default_deployment` answers where a caller names none."""

    deployments: dict[str, BatchDeploymentSettings] = Field(default_factory=dict)
    default_deployment: str | None = None
    schedules: dict[str, ScheduleSettings] = Field(default_factory=dict)


class Settings(SettingsModel):
    """The whole stack.

    `resource_group` is the name of a new one, or the ARM id of one that is there. With `protect` Pulumi deletes nothing
    that holds data. `drain_seconds` is how long old revisions live on after they lost their traffic,
    `role_assignment_seconds` how long a role assignment takes to be effective.
    """

    location: str | None = Field(default=None, alias="azure-native:location")
    workspace: WorkspaceSettings = WorkspaceSettings()
    resource_group: str | None = None
    network: NetworkSettings = NetworkSettings()
    security: SecuritySettings = SecuritySettings()
    protect: bool = False
    compute_clusters: dict[str, ComputeClusterSettings] = Field(default_factory=dict)
    kubernetes_clusters: dict[str, KubernetesClusterSettings] = Field(default_factory=dict)
    online_endpoints: dict[str, OnlineEndpointSettings] = Field(default_factory=dict)
    batch_endpoints: dict[str, BatchEndpointSettings] = Field(default_factory=dict)
    name_suffix: str = ""
    purge_on_destroy: bool = False
    drain_seconds: Annotated[Annotated[Whole, Field(ge=0)] | None, BeforeValidator(_auto)] = None
    role_assignment_seconds: Whole = Field(default=120, ge=0)

    def azure_name(self, name: str) -> str:
        """The name of an endpoint or a cluster in Azure, where such names are unique in a whole region."""
        return f"{name}-{self.name_suffix}" if self.name_suffix else name
