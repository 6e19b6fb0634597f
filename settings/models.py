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
# Seconds; longer nobody waits for a probe.
DAY = 86_400


class ComputeClusterSettings(SettingsModel):
    """A cluster of virtual machines for batch jobs; `idle_time_before_scale_down` in seconds.

    With `existing` it is one of the workspace that is there, which the stack neither changes nor deletes.
    """

    existing: str | None = Field(default=None, description="The ARM id of a cluster that is there, used as it is.")
    vm_size: str | None = Field(default=None, description="The size of its machines, as Standard_DS3_v2.")
    tier: Literal["dedicated", "low_priority"] = Field(
        default="dedicated", description="low_priority is cheaper, and Azure may take the machines away at any time."
    )
    min_instances: Whole = Field(default=0, ge=0, description="Machines that are always there, and paid for.")
    max_instances: Whole = Field(default=1, ge=1, description="The most machines.")
    idle_time_before_scale_down: Whole = Field(
        default=120, ge=0, description="Seconds without a job after which a machine goes."
    )
    subnet: str | None = Field(
        default=None, description="The ARM id of a subnet that is there; else the network's, where that has one."
    )


def _reference(value: object) -> object:
    return {"reference": value} if isinstance(value, str) else value


class ModelSettings(SettingsModel):
    """A model: a `path` that is registered by its content, or a `reference` to one that is registered already.

    In the configuration a reference is written as a plain string: `model: azureml:tumor:3`.
    """

    path: str | None = Field(
        default=None, description="A file or folder, relative to the project; registered by its content."
    )
    type: Literal["custom_model", "mlflow_model"] = Field(
        default="custom_model", description="mlflow_model needs no code and no environment, custom_model needs both."
    )
    name: str | None = Field(
        default=None, description="The name it is registered under; <endpoint>-<deployment> without it."
    )
    reference: str | None = Field(
        default=None, description="A registered model; shorter: the string itself, azureml:<name>:<version>."
    )


class CodeSettings(SettingsModel):
    """The scoring script and the folder that holds it."""

    path: str = Field(description="The folder that is uploaded, relative to the project.")
    script: str = Field(description="The scoring script in it, with init() and run().")


class EnvironmentSettings(SettingsModel):
    """What the script runs in: an `image` with a conda file, a Docker build context, or a `reference`."""

    image: str | None = Field(default=None, description="The Docker image that it is based on.")
    conda_file: str | None = Field(
        default=None, description="The conda file whose packages are added to the image, relative to the project."
    )
    build_context: str | None = Field(default=None, description="A folder with a Dockerfile, in place of an image.")
    dockerfile: str = Field(default="Dockerfile", description="The Dockerfile in the build context.")
    name: str | None = Field(
        default=None, description="The name it is registered under; <endpoint>-<deployment> without it."
    )
    reference: str | None = Field(
        default=None, description="A registered environment; shorter: the string itself, azureml:<name>:<version>."
    )


class ProbeSettings(SettingsModel):
    """A liveness, readiness or startup probe; times in seconds. Defaults and least values are Azure's."""

    initial_delay: Whole = Field(
        default=10, ge=1, le=DAY, description="Seconds from the container's start to the first probe."
    )
    period: Whole = Field(default=10, ge=1, le=DAY, description="Seconds between two probes.")
    timeout: Whole = Field(default=2, ge=1, le=DAY, description="Seconds after which a probe has failed.")
    success_threshold: Whole = Field(default=1, ge=1, le=10_000, description="Successes in a row that end a failure.")
    failure_threshold: Whole = Field(
        default=30, ge=1, le=10_000, description="Failures in a row before Azure gives up."
    )


class RequestSettings(SettingsModel):
    """How a deployment takes requests. Azure allows a timeout of 180,000 ms at most, and 300,000 on Kubernetes."""

    request_timeout_ms: Whole = Field(
        default=5_000,
        ge=1,
        le=300_000,
        description="Milliseconds for an answer (408 after them): 180,000 at most, 300,000 on Kubernetes.",
    )
    max_concurrent_requests_per_instance: Whole = Field(
        default=1, ge=1, le=10_000, description="Requests an instance works on; beyond twice as many a caller gets 429."
    )
    max_queue_wait_ms: Whole = Field(
        default=500, ge=0, description="Milliseconds that a request may wait for its turn."
    )


class RetrySettings(SettingsModel):
    """How often a mini-batch is tried again, and how long one may take (seconds). The defaults are Azure's."""

    max_retries: Whole = Field(default=3, ge=0, description="How often a mini-batch is tried.")
    timeout: Whole = Field(default=30, ge=1, description="Seconds that a mini-batch may take.")


class DeploymentSettings(SettingsModel):
    """What online and batch deployments share. `attempt` makes a new revision of unchanged content."""

    model: Annotated[ModelSettings, BeforeValidator(_reference, json_schema_input_type=ModelSettings | str)] = Field(
        description="What scores: a path with its type, or a registered model."
    )
    code: CodeSettings | None = Field(default=None, description="The scoring script; none for an mlflow_model.")
    environment: Annotated[
        EnvironmentSettings | None,
        BeforeValidator(_reference, json_schema_input_type=EnvironmentSettings | str | None),
    ] = Field(default=None, description="What the script runs in; none for an mlflow_model.")
    environment_variables: dict[str, str] = Field(
        default_factory=dict, description="Variables of the scoring process. Azure stores and shows them: no secrets."
    )
    description: str | None = Field(default=None, description="A sentence for people.")
    tags: dict[str, str] = Field(default_factory=dict, description="Tags of the deployment.")
    properties: dict[str, str] = Field(default_factory=dict, description="Azure's own dictionary beside the tags.")
    attempt: Whole = Field(default=0, ge=0, description="Raise it to deploy unchanged content anew.")
    # Azure allows 50 instances a deployment.
    instance_count: Whole = Field(
        default=1, ge=1, le=50, description="Machines: 1 to 50. With autoscale only the first revision's start."
    )


class OnlineDeploymentSettings(DeploymentSettings):
    """A deployment of an online endpoint. With `autoscale` the number of instances is nobody else's affair."""

    instance_type: str | None = Field(
        default=None, description="A size of a virtual machine; on Kubernetes an instance type of the cluster, or none."
    )
    autoscale: AutoscaleSettings | None = Field(
        default=None, description="Bounds and rules by which Azure changes the number of instances."
    )
    resources: ContainerResources | None = Field(default=None, description="What a container on Kubernetes asks for.")
    app_insights_enabled: bool = Field(
        default=False, description="Whether requests and the script's output go to Application Insights."
    )
    request_settings: RequestSettings = Field(
        default=RequestSettings(), description="How long and how many requests a deployment takes."
    )
    liveness_probe: ProbeSettings = Field(default=ProbeSettings(), description="When an instance is restarted.")
    readiness_probe: ProbeSettings = Field(default=ProbeSettings(), description="When an instance gets requests.")
    startup_probe: ProbeSettings | None = Field(
        default=None, description="Holds the other probes back until the container has started."
    )
    data_collector: DataCollectorSettings | None = Field(
        default=None, description="What is kept of requests and answers."
    )
    egress_public_network_access: Literal["enabled", "disabled"] = Field(
        default="enabled",
        description="Whether the deployment reaches registry, storage and workspace over the public network. It does "
        "not apply where the workspace has a managed network.",
    )
    model_mount_path: str | None = Field(
        default=None, description="Where the model is mounted in the container; else at Azure's own place."
    )
    smoke_test: SmokeTestSettings | None = Field(
        default=None, description="A request it must answer well before it gains traffic."
    )


class BatchDeploymentSettings(DeploymentSettings):
    """A deployment of a batch endpoint; `mini_batch_size` in files. The defaults are Azure's."""

    compute: str = Field(
        description="One of computeClusters, azureml:<name>, or the ARM id of a cluster of the workspace."
    )
    max_concurrency_per_instance: Whole = Field(
        default=1, ge=1, description="Mini-batches that a machine scores at once."
    )
    mini_batch_size: Whole = Field(default=10, ge=1, description="Files that run() is given at once.")
    output_action: Literal["append_row", "summary_only"] = Field(
        default="append_row", description="append_row: all answers in one file; summary_only: only how many there were."
    )
    output_file_name: str = Field(default="predictions.csv", description="The file that the answers are appended to.")
    retry_settings: RetrySettings = Field(
        default=RetrySettings(), description="How often a mini-batch is tried, and how long it may take."
    )
    error_threshold: Whole = Field(
        default=-1, ge=-1, description="Failed files after which a job is given up; -1 ignores all."
    )
    logging_level: Literal["debug", "info", "warning"] = Field(default="info", description="How much a job logs.")


def _auto(value: object) -> object:
    return None if value == AUTO else value


Percentages = dict[str, Annotated[Whole, Field(ge=0, le=100)]]


class EndpointSettings(SettingsModel):
    """What online and batch endpoints share.

    `parallel_deployments` lifts the rule that the deployments of an endpoint are written one after another.
    """

    description: str | None = Field(default=None, description="A sentence for people.")
    tags: dict[str, str] = Field(default_factory=dict, description="Tags of the endpoint.")
    parallel_deployments: bool = Field(
        default=False, description="Whether deployments are written at the same time instead of one after another."
    )


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

    auth_mode: Literal["key", "aml_token", "aad_token"] = Field(
        default="key",
        description="How callers log in: key, aml_token, or aad_token (Microsoft Entra); cannot be changed later.",
    )
    public_network_access: Literal["enabled", "disabled"] = Field(
        default="enabled", description="Whether it is reached from everywhere, or by private endpoints alone."
    )
    identity: Annotated[Literal["system", "user"] | tuple[str, ...], BeforeValidator(_identity)] = Field(
        default="system",
        description="system: Azure's own for this endpoint, with the roles it needs; user: one that the stack makes "
        "and gives these roles; a list of ARM ids: identities that are there and have their roles already.",
    )
    kubernetes: str | None = Field(
        default=None, description="One of kubernetesClusters, or azureml:<name>; Azure's own machines without it."
    )
    deployments: dict[str, OnlineDeploymentSettings] = Field(
        default_factory=dict,
        description="Deployments by name (3 to 23 characters): blue becomes blue-<revision> in Azure.",
    )
    traffic: Percentages = Field(
        default_factory=dict, description="Whole percentages by deployment, which add up to 100, or 0 for no traffic."
    )
    mirror_traffic: Percentages = Field(
        default_factory=dict,
        description="A share of the requests, 50 % at most, that one more deployment gets a copy of.",
    )


class BatchEndpointSettings(EndpointSettings):
    """A batch endpoint; `default_deployment` answers where a caller names none."""

    deployments: dict[str, BatchDeploymentSettings] = Field(
        default_factory=dict, description="Deployments by name (3 to 23 characters)."
    )
    default_deployment: str | None = Field(
        default=None, description="The deployment that answers where a caller names none."
    )
    schedules: dict[str, ScheduleSettings] = Field(
        default_factory=dict, description="Timetables on which it scores by itself, by name."
    )


class Settings(SettingsModel):
    """The whole stack.

    `resource_group` is the name of a new one, or the ARM id of one that is there. With `protect` Pulumi deletes nothing
    that holds data. `drain_seconds` is how long old revisions live on after they lost their traffic,
    `role_assignment_seconds` how long a role assignment takes to be effective.
    """

    location: str | None = Field(default=None, alias="azure-native:location", description="Azure's region, as eastus.")
    workspace: WorkspaceSettings = Field(
        default=WorkspaceSettings(),
        description="The workspace: {name: ...} makes a new one, {existing: <ARM id>} uses one that is there.",
    )
    resource_group: str | None = Field(
        default=None,
        description="The resource group made for a new workspace, or the ARM id of one; rg-<workspace> when empty.",
    )
    network: NetworkSettings = Field(
        default=NetworkSettings(),
        description="The network: {mode: managed} is Azure ML's own, {mode: byo} one of yours; public without it.",
    )
    security: SecuritySettings = Field(
        default=SecuritySettings(),
        description="Identities instead of keys, roles, recovery of what is deleted, and resource logs.",
    )
    protect: Annotated[bool | None, BeforeValidator(_auto, json_schema_input_type=bool | Literal["auto"])] = Field(
        default=None,
        description="true: Pulumi deletes nothing that holds data, and no destroy begins; false lifts that; without it "
        "nothing is kept.",
    )
    compute_clusters: dict[str, ComputeClusterSettings] = Field(
        default_factory=dict, description="Clusters for batch jobs, by name."
    )
    kubernetes_clusters: dict[str, KubernetesClusterSettings] = Field(
        default_factory=dict,
        description="Kubernetes clusters (AKS or Arc) that are attached for online endpoints, by name.",
    )
    online_endpoints: dict[str, OnlineEndpointSettings] = Field(
        default_factory=dict, description="Online endpoints with their deployments and traffic, by name."
    )
    batch_endpoints: dict[str, BatchEndpointSettings] = Field(
        default_factory=dict, description="Batch endpoints with their deployments and schedules, by name."
    )
    allow_unknown_sizes: bool = Field(
        default=False,
        description="Whether sizes of machines are taken without a warning that the program's list lacks.",
    )
    name_suffix: str = Field(
        default="",
        description="Added to the names of endpoints and clusters, which are unique in a region; auto derives it.",
    )
    purge_on_destroy: bool = Field(
        default=False,
        description="Whether pulumi destroy frees the names of workspace (else 14 days) and vault (else 90), too.",
    )
    drain_seconds: Annotated[
        Annotated[Whole, Field(ge=0)] | None, BeforeValidator(_auto, json_schema_input_type=int | Literal["auto"])
    ] = Field(
        default=None,
        description="Seconds that an old revision lives on without traffic; auto is its request timeout and 30.",
    )
    role_assignment_seconds: Whole = Field(
        default=120,
        ge=0,
        description="Seconds until a role assignment is effective; deployments wait for those of the stack.",
    )

    def azure_name(self, name: str) -> str:
        """The name of an endpoint or a cluster in Azure, where such names are unique in a whole region."""
        return f"{name}-{self.name_suffix}" if self.name_suffix else name
