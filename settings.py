"""The stack configuration, typed: the only reader of `pulumi.Config`.

`load()` reads the configuration of the selected stack once, checks everything that can be known without Azure, and
raises one `SettingsError` that lists all that is wrong, each with its key path, the value received and the way out.
When it appears nothing has been created.
"""

import difflib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Annotated, Any, Literal

import pulumi
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

# Rules of Azure ML: reference-yaml-endpoint-online, how-to-manage-quotas, and azure-ai-ml's own validation.
ENDPOINT_NAME = re.compile(r"[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?")
DEPLOYMENT_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
CLUSTER_NAME = re.compile(r"[a-zA-Z](?![a-zA-Z0-9-]*-\d+$)[a-zA-Z0-9-]{2,23}")
WORKSPACE_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}")
WORKSPACE_ID = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.MachineLearningServices/workspaces/[^/]+",
    re.IGNORECASE,
)
RESOURCE_GROUP_NAME = re.compile(r"[-\w.()]{0,89}[-\w()]")
NAME_SUFFIX = re.compile(r"[a-z0-9]{1,12}")
REFERENCE = re.compile(
    r"azureml:[^:@/]+(:[^:@/]+|@latest)|azureml://registries/[^/]+/\w+/[^/]+/(versions/[^/]+|labels/latest)"
)
MAX_NAME = 32
MAX_DEPLOYMENTS = 20
# A deployment is called `<name>-<8 hex digits>` in Azure.
REVISION_LENGTH = 9
# Pulumi.yaml gives this default to what is derived, since a key without a default would be required.
AUTO = "auto"

Findings = Iterator[str]


class SettingsError(pulumi.RunError):
    """What is wrong with the stack configuration; Pulumi prints it without a traceback."""

    def __init__(self, findings: list[str]) -> None:
        self.findings = findings
        count = "1 problem" if len(findings) == 1 else f"{len(findings)} problems"
        lines = "\n".join(f"  {finding}" for finding in findings)
        super().__init__(f"The stack configuration has {count}; nothing has been changed.\n{lines}")


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, protected_namespaces=())


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


# Python takes true for 1, and pydantic follows it.
Whole = Annotated[int, BeforeValidator(_no_boolean)]


class WorkspaceSettings(_Settings):
    """The workspace: `name` makes a new one with all that it needs, `existing` (an ARM id) uses one that is there."""

    name: str | None = None
    existing: str | None = None


class ComputeClusterSettings(_Settings):
    """A cluster of virtual machines for batch jobs; `idle_time_before_scale_down` in seconds."""

    vm_size: str
    tier: Literal["dedicated", "low_priority"] = "dedicated"
    min_instances: Whole = Field(default=0, ge=0)
    max_instances: Whole = Field(default=1, ge=1)
    idle_time_before_scale_down: Whole = Field(default=120, ge=0)


def _reference(value: object) -> object:
    return {"reference": value} if isinstance(value, str) else value


class ModelSettings(_Settings):
    """A model: a `path` that is registered by its content, or a `reference` to one that is registered already.

    In the configuration a reference is written as a plain string: `model: azureml:tumor:3`.
    """

    path: str | None = None
    type: Literal["custom_model", "mlflow_model"] = "custom_model"
    name: str | None = None
    reference: str | None = None


class CodeSettings(_Settings):
    """The scoring script and the folder that holds it."""

    path: str
    script: str


class EnvironmentSettings(_Settings):
    """What the script runs in: an `image` with a conda file, a Docker build context, or a `reference`."""

    image: str | None = None
    conda_file: str | None = None
    build_context: str | None = None
    dockerfile: str = "Dockerfile"
    name: str | None = None
    reference: str | None = None


class ProbeSettings(_Settings):
    """A liveness or readiness probe; times in seconds. The defaults are Azure's."""

    initial_delay: Whole = Field(default=10, ge=0)
    period: Whole = Field(default=10, ge=1)
    timeout: Whole = Field(default=2, ge=1)
    success_threshold: Whole = Field(default=1, ge=1)
    failure_threshold: Whole = Field(default=30, ge=1)


class RequestSettings(_Settings):
    """How a deployment takes requests. Azure allows a timeout of 180,000 ms at most."""

    request_timeout_ms: Whole = Field(default=5_000, ge=1, le=180_000)
    max_concurrent_requests_per_instance: Whole = Field(default=1, ge=1)
    max_queue_wait_ms: Whole = Field(default=500, ge=0)


class RetrySettings(_Settings):
    """How often a mini-batch is tried again, and how long one may take (seconds). The defaults are Azure's."""

    max_retries: Whole = Field(default=3, ge=0)
    timeout: Whole = Field(default=30, ge=1)


class DeploymentSettings(_Settings):
    """What online and batch deployments share. `attempt` makes a new revision of unchanged content."""

    model: Annotated[ModelSettings, BeforeValidator(_reference)]
    code: CodeSettings | None = None
    environment: Annotated[EnvironmentSettings | None, BeforeValidator(_reference)] = None
    environment_variables: dict[str, str] = {}
    description: str | None = None
    tags: dict[str, str] = {}
    attempt: Whole = Field(default=0, ge=0)
    # Azure allows 50 instances a deployment.
    instance_count: Whole = Field(default=1, ge=1, le=50)


class OnlineDeploymentSettings(DeploymentSettings):
    """A deployment of an online endpoint."""

    instance_type: str
    app_insights_enabled: bool = False
    request_settings: RequestSettings = RequestSettings()
    liveness_probe: ProbeSettings = ProbeSettings()
    readiness_probe: ProbeSettings = ProbeSettings()


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


class EndpointSettings(_Settings):
    """What online and batch endpoints share.

    `parallel_deployments` lifts the rule that the deployments of an endpoint are written one after another.
    """

    description: str | None = None
    tags: dict[str, str] = {}
    parallel_deployments: bool = False


class OnlineEndpointSettings(EndpointSettings):
    """An online endpoint; `traffic` and `mirror_traffic` in per cent by deployment."""

    auth_mode: Literal["key", "aml_token", "aad_token"] = "key"
    public_network_access: Literal["enabled", "disabled"] = "enabled"
    deployments: dict[str, OnlineDeploymentSettings] = {}
    traffic: Percentages = {}
    mirror_traffic: Percentages = {}


class BatchEndpointSettings(EndpointSettings):
    """A batch endpoint; `default_deployment` answers where a caller names none."""

    deployments: dict[str, BatchDeploymentSettings] = {}
    default_deployment: str | None = None


class Settings(_Settings):
    """The whole stack. `drain_seconds` is how long old revisions live on after they lost their traffic."""

    location: str | None = Field(default=None, alias="azure-native:location")
    workspace: WorkspaceSettings = WorkspaceSettings()
    resource_group: str | None = None
    compute_clusters: dict[str, ComputeClusterSettings] = {}
    online_endpoints: dict[str, OnlineEndpointSettings] = {}
    batch_endpoints: dict[str, BatchEndpointSettings] = {}
    name_suffix: str = ""
    purge_on_destroy: bool = False
    drain_seconds: Annotated[Annotated[Whole, Field(ge=0)] | None, BeforeValidator(_auto)] = None

    def azure_name(self, name: str) -> str:
        """The name of an endpoint or a cluster in Azure, where such names are unique in a whole region."""
        return f"{name}-{self.name_suffix}" if self.name_suffix else name


def load() -> Settings:
    """Reads and checks the configuration of the selected stack. Raises `SettingsError`."""
    config = pulumi.Config()
    prefix = f"{config.name}:"
    keys = [key.removeprefix(prefix) for key in _configured_keys() if key.startswith(prefix)]
    # Before anything is read: no finding may show what is secret.
    if secrets := [_secret_finding(key) for key in keys if _is_secret(f"{prefix}{key}")]:
        raise SettingsError(secrets)
    raw = {key: _value(config.get(key)) for key in keys}
    azure = pulumi.Config("azure-native")
    raw["azure-native:location"] = azure.get("location")
    subscription = azure.get("subscriptionId") or os.environ.get("ARM_SUBSCRIPTION_ID")
    derived = raw.get("nameSuffix", AUTO) == AUTO
    if derived:
        raw.pop("nameSuffix", None)
        if subscription:
            raw["nameSuffix"] = name_suffix(subscription, pulumi.get_project(), pulumi.get_stack())
    return parse(raw, derived_suffix=derived)


def parse(raw: Mapping[str, Any], root: Path | None = None, *, derived_suffix: bool = False) -> Settings:
    """Turns raw configuration values into `Settings`; paths are relative to `root`. Raises `SettingsError`.

    With `derived_suffix` a finding on a name says where its end comes from, since the user did not write it.
    """
    findings: list[str] = []
    rest: Any = json.loads(json.dumps(raw))
    while True:
        try:
            settings = Settings.model_validate(rest)
            break
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=True)
            # Only the first round speaks of what the user wrote; later rounds are about holes that pruning left.
            findings = findings or [_shape_finding(problem) for problem in problems]
            if not _prune(rest, problems):
                raise SettingsError(findings) from None
    findings += _Rules(settings, raw, root or Path(), derived_suffix).findings()
    if findings:
        raise SettingsError(findings)
    return settings


def name_suffix(subscription_id: str, project: str, stack: str) -> str:
    """Six characters that keep two stacks of one region apart; a letter first, since no cluster ends in -<digits>."""
    return "s" + hashlib.sha256(f"{subscription_id}/{project}/{stack}".lower().encode()).hexdigest()[:5]


def _configured_keys() -> list[str]:
    # pulumi.Config cannot list its keys, and a key that nobody reads would be a typing error that nobody sees.
    runtime = pulumi.runtime.config
    return sorted({*runtime.CONFIG.get(), *runtime.get_config_env()})


def _is_secret(key: str) -> bool:
    runtime = pulumi.runtime.config
    return runtime.is_config_secret(key) or key in runtime.get_config_secret_keys_env()


def _secret_finding(key: str) -> str:
    return (
        f"{key}: holds a secret, which would be stored and shown in plain text, in the stack's state and in Azure; "
        "take it out of the stack configuration, keep it in a key vault, and let the scoring script read it there with "
        "the endpoint's identity."
    )


def _value(text: str | None) -> Any:
    """Objects arrive as JSON; everything else stays the text that pydantic converts by the field's type."""
    try:
        value = json.loads(text or "")
    except ValueError:
        return text
    return value if isinstance(value, dict | list) else text


def _path(*parts: object) -> str:
    return ".".join(str(part) for part in parts)


def _shape_finding(problem: Mapping[str, Any]) -> str:
    *parents, key = location = problem["loc"]
    path = _path(*location)
    if problem["type"] == "missing":
        return f"{path}: is missing; add it."
    if problem["type"] == "extra_forbidden":
        return f"{path}: is not a known key{_near(str(key), _allowed(parents))}"
    return f"{path}: {problem['msg'].lower()}, but received {_shown(problem['input'])}; correct the value."


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _near(key: str, allowed: list[str]) -> str:
    close = difflib.get_close_matches(key, allowed, n=1)
    return f'; did you mean "{close[0]}"?' if close else f"; remove it, or use one of {', '.join(allowed)}."


def _allowed(parents: list[object]) -> list[str]:
    """The keys that the settings at a path know: follows the path through the models."""
    model: Any = Settings
    for part in parents:
        field = (
            next((f for n, f in model.model_fields.items() if (f.alias or to_camel(n)) == part), None)
            if model
            else None
        )
        # The name of an endpoint, deployment or cluster leads to no other model.
        model = _model_of(field.annotation) if field else model
    return [field.alias or to_camel(name) for name, field in model.model_fields.items()]


def _model_of(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = [_model_of(argument) for argument in getattr(annotation, "__args__", ())]
    return next((model for model in inner if model), None)


def _prune(rest: Any, problems: list[Any]) -> bool:
    """Takes out what is not sound, so that the rules can be checked on the rest. Says whether that is possible."""
    for problem in problems:
        path = list(problem["loc"])
        if problem["type"] == "missing":
            path.pop()
        if not path:
            return False
        _remove(rest, path)
    return True


def _remove(rest: Any, path: list[Any]) -> None:
    for key in path[:-1]:
        rest = rest.get(key) if isinstance(rest, dict) else None
    if isinstance(rest, dict):
        rest.pop(path[-1], None)


class _Rules:
    """The rules that take more than one value to check; each yields its findings."""

    def __init__(self, settings: Settings, raw: Mapping[str, Any], root: Path, derived_suffix: bool) -> None:
        self.settings, self.raw, self.root, self.derived_suffix = settings, raw, root, derived_suffix

    def findings(self) -> list[str]:
        return [*self.stack(), *self.clusters(), *self.endpoint_names(), *self.online(), *self.batch()]

    def names(self, *path: str) -> list[str]:
        """The names below a key as the user wrote them, also of entries that are not sound themselves."""
        value: Any = self.raw
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return list(value) if isinstance(value, Mapping) else []

    def stack(self) -> Findings:
        settings, workspace = self.settings, self.settings.workspace
        if (workspace.name is None) == (workspace.existing is None):
            yield 'workspace: give either "name" (a new workspace) or "existing" (the ARM id of one that is there).'
        if workspace.name is not None:
            yield from _named("workspace.name", workspace.name, WORKSPACE_NAME, "3 to 33 letters, digits, - and _")
        if workspace.existing is not None and not WORKSPACE_ID.fullmatch(workspace.existing):
            yield (
                f'workspace.existing: "{workspace.existing}" is not the ARM id of a workspace; it has the form '
                "/subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.MachineLearningServices/workspaces/<name>."
            )
        if workspace.existing is not None and settings.resource_group:
            yield "resourceGroup: an existing workspace brings its resource group; remove one of the two."
        if workspace.existing is None and not settings.location:
            yield "azure-native:location: is missing; set it: pulumi config set azure-native:location eastus."
        if settings.resource_group:
            rule = "up to 90 letters, digits, . - _ ( ) and no dot at the end"
            yield from _named("resourceGroup", settings.resource_group, RESOURCE_GROUP_NAME, rule)
        yield from self.suffix()

    def suffix(self) -> Findings:
        if "nameSuffix" not in self.raw:
            yield (
                "nameSuffix: cannot be derived, because no subscription is configured; set the subscription (pulumi "
                "config set azure-native:subscriptionId <id>, or ARM_SUBSCRIPTION_ID) or a nameSuffix."
            )
        elif self.settings.name_suffix:
            rule = "up to 12 lower-case letters and digits"
            yield from _named("nameSuffix", self.settings.name_suffix, NAME_SUFFIX, rule)

    def in_azure(self, path: str, name: str, pattern: re.Pattern[str], rule: str, shortest: int = 1) -> Findings:
        """Findings on the name that an endpoint or a cluster gets in Azure."""
        suffix = self.settings.name_suffix
        origin = f' Its end "-{suffix}" is derived; set nameSuffix to one of your own, or to "" for none.'
        for finding in _named(path, self.settings.azure_name(name), pattern, rule, shortest):
            yield finding + (origin if suffix and self.derived_suffix else "")

    def clusters(self) -> Findings:
        for name, cluster in self.settings.compute_clusters.items():
            path, rule = _path("computeClusters", name), "3 to 24 letters, digits and hyphens, not -<digits> at the end"
            yield from self.in_azure(path, name, CLUSTER_NAME, rule)
            if cluster.min_instances > cluster.max_instances:
                yield (
                    f"{path}.minInstances: {cluster.min_instances} is more than maxInstances "
                    f"({cluster.max_instances}); lower the one or raise the other."
                )

    def endpoint_names(self) -> Findings:
        kinds = {"onlineEndpoints": self.names("onlineEndpoints"), "batchEndpoints": self.names("batchEndpoints")}
        rule = f"3 to {MAX_NAME} letters, digits and hyphens, a letter first"
        for kind, names in kinds.items():
            for name in names:
                yield from self.in_azure(_path(kind, name), name, ENDPOINT_NAME, rule, 3)
        for name in sorted({*kinds["onlineEndpoints"]} & {*kinds["batchEndpoints"]}):
            yield (
                f"batchEndpoints.{name}: is the name of an online endpoint too; endpoint names are unique in a region, "
                "online and batch together: rename one."
            )

    def online(self) -> Findings:
        for name, endpoint in self.settings.online_endpoints.items():
            path = _path("onlineEndpoints", name)
            yield from self.deployments(path, endpoint.deployments)
            yield from traffic_findings(path, endpoint, self.names("onlineEndpoints", name, "deployments"))

    def batch(self) -> Findings:
        for name, endpoint in self.settings.batch_endpoints.items():
            path, known = _path("batchEndpoints", name), self.names("batchEndpoints", name, "deployments")
            if not known:
                yield (
                    f"{path}.deployments: is empty, and Azure does not delete a default deployment while its endpoint "
                    f"stays; give at least one deployment, or remove {path}."
                )
                continue
            yield from self.deployments(path, endpoint.deployments)
            for deployment, settings in endpoint.deployments.items():
                yield from self.compute(_path(path, "deployments", deployment, "compute"), settings.compute)
            if endpoint.default_deployment is None and len(known) > 1:
                yield f"{path}.defaultDeployment: is missing; name one of {', '.join(known)}."
            if endpoint.default_deployment is not None and endpoint.default_deployment not in known:
                yield f"{path}.defaultDeployment: " + _unknown("deployment", endpoint.default_deployment, known)

    def compute(self, path: str, name: str) -> Findings:
        # A cluster that is in an existing workspace already is named like every registered thing: azureml:<name>.
        known = self.names("computeClusters")
        if name not in known and not re.fullmatch(r"azureml:[a-zA-Z0-9-]+", name):
            yield f"{path}: " + _unknown("cluster of computeClusters", name, known)

    def deployments(self, path: str, deployments: Mapping[str, DeploymentSettings]) -> Findings:
        if len(deployments) > MAX_DEPLOYMENTS:
            yield f"{path}.deployments: {len(deployments)} deployments; Azure allows {MAX_DEPLOYMENTS} an endpoint."
        for name, deployment in deployments.items():
            own, longest = _path(path, "deployments", name), MAX_NAME - REVISION_LENGTH
            rule = (
                f"3 to {longest} lower-case letters, digits and hyphens, a letter first (Azure's 32 less the revision)"
            )
            yield from _named(own, name, DEPLOYMENT_NAME, rule, 3, longest)
            yield from self.model(own, deployment)
            yield from self.code(_path(own, "code"), deployment.code)
            yield from self.environment(_path(own, "environment"), deployment.environment)

    def model(self, path: str, deployment: DeploymentSettings) -> Findings:
        model = deployment.model
        if model.reference is not None:
            yield from _alone(_path(path, "model"), "reference", model)
            yield from _referenced(_path(path, "model"), model.reference)
            if (deployment.code is None) != (deployment.environment is None):
                yield f'{path}: a registered model takes "code" and "environment", or neither: add or drop one.'
            return
        if model.path is None:
            yield f'{path}.model.path: is missing; give it, or write a registered model as "azureml:<name>:<version>".'
            return
        yield from self.exists(_path(path, "model", "path"), model.path)
        yield from self.scoring(path, model, deployment)

    def scoring(self, path: str, model: ModelSettings, deployment: DeploymentSettings) -> Findings:
        given = {"code": deployment.code is not None, "environment": deployment.environment is not None}
        if model.type == "custom_model":
            for key in (key for key, there in given.items() if not there):
                yield f"{path}.{key}: is missing; a custom_model needs code and environment, an mlflow_model neither."
            return
        for key in (key for key, there in given.items() if there):
            yield (
                f"{path}.{key}: an mlflow_model is served without {key}; remove it, or set model.type to custom_model "
                "to score with a script of your own."
            )
        if (self.root / str(model.path)).exists() and not (self.root / str(model.path) / "MLmodel").is_file():
            yield (
                f'{path}.model.path: "{model.path}" holds no file MLmodel; name the folder that mlflow saved, or set '
                "model.type to custom_model."
            )

    def code(self, path: str, code: CodeSettings | None) -> Findings:
        if code is None:
            return
        missing = list(self.exists(_path(path, "path"), code.path, "folder"))
        yield from missing
        if not missing and not (self.root / code.path / code.script).is_file():
            yield f'{path}.script: there is no file "{code.script}" in "{code.path}"; correct the name.'

    def environment(self, path: str, environment: EnvironmentSettings | None) -> Findings:
        if environment is None:
            return
        if environment.reference is not None:
            yield from _alone(path, "reference", environment)
            yield from _referenced(path, environment.reference)
        elif environment.image is None and environment.build_context is None:
            yield f'{path}: give "image" (with "condaFile") or "buildContext", or write a registered one as a string.'
        elif environment.build_context is not None:
            yield from _alone(path, "buildContext", environment, allowed={"dockerfile", "name"})
            dockerfile = str(Path(environment.build_context) / environment.dockerfile)
            yield from self.exists(_path(path, "dockerfile"), dockerfile, "file")
        else:
            yield from _alone(path, "image", environment, allowed={"condaFile", "name"})
            if environment.conda_file is not None:
                yield from self.exists(_path(path, "condaFile"), environment.conda_file, "file")

    def exists(
        self, path: str, value: str, kind: Literal["file", "folder", "file or folder"] = "file or folder"
    ) -> Findings:
        target = self.root / value
        found = {"file": target.is_file(), "folder": target.is_dir(), "file or folder": target.exists()}[kind]
        if not found:
            yield f'{path}: there is no {kind} "{value}"; correct the path (it is relative to the project).'


def traffic_findings(path: str, endpoint: OnlineEndpointSettings, known: list[str]) -> Findings:
    """Azure's rules for live and mirrored traffic: integers that add up to 0 or 100, one mirror of at most 50 %."""
    for key, split in (("traffic", endpoint.traffic), ("mirrorTraffic", endpoint.mirror_traffic)):
        for name in (name for name in split if name not in known):
            yield f"{path}.{key}: " + _unknown("deployment", name, known)
    total = sum(endpoint.traffic.values())
    if total not in (0, 100):
        shares = ", ".join(f"{name} {share}" for name, share in endpoint.traffic.items())
        yield f"{path}.traffic: percentages add up to {total} ({shares}); they must add up to 100, or 0 for no traffic."
    mirrored = {name: share for name, share in endpoint.mirror_traffic.items() if share}
    if len(mirrored) > 1:
        yield f"{path}.mirrorTraffic: names {', '.join(mirrored)}; Azure mirrors to one deployment: keep one."
    for name, share in mirrored.items():
        if share > 50:
            yield f"{path}.mirrorTraffic: {name} gets {share} %; Azure mirrors at most 50 %: lower it."
        if endpoint.traffic.get(name):
            yield (
                f"{path}.mirrorTraffic: {name} gets live traffic too ({endpoint.traffic[name]} %); a deployment gets "
                "the one or the other: set its share in traffic to 0."
            )


def _named(
    path: str, name: str, pattern: re.Pattern[str], rule: str, shortest: int = 1, longest: int = MAX_NAME
) -> Findings:
    bounded = pattern in (ENDPOINT_NAME, DEPLOYMENT_NAME)
    if not pattern.fullmatch(name) or (bounded and not shortest <= len(name) <= longest):
        yield f'{path}: "{name}" ({len(name)} characters) is not a name that Azure takes; use {rule}.'


def _alone(path: str, key: str, settings: _Settings, allowed: Set[str] = frozenset()) -> Findings:
    """Findings on what was written beside a key that says it all."""
    given = [to_camel(name) for name in type(settings).model_fields if getattr(settings, name) is not None]
    written = {to_camel(name) for name in settings.model_fields_set}
    for other in (other for other in given if other in written - {key, *allowed}):
        yield f"{path}.{other}: {key} says already what it is; remove one of the two."


def _referenced(path: str, reference: str) -> Findings:
    if not REFERENCE.fullmatch(reference):
        yield (
            f'{path}: "{reference}" is no reference; write azureml:<name>:<version>, azureml:<name>@latest, or '
            "azureml://registries/<registry>/<models or environments>/<name>/versions/<version>."
        )


def _unknown(what: str, name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f'there is no {what} "{name}"' + (
        f'; did you mean "{close[0]}"?' if close else f"; there is: {', '.join(known) or 'none'}."
    )
