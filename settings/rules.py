"""The rules that take more than one value to check: Azure's, and those of files that must be there."""

import os
import re
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from pydantic.alias_generators import to_camel

from settings import files
from settings.arm_ids import is_id
from settings.asset_rules import asset_findings
from settings.file_rules import conda_findings, mlflow_findings, python_of
from settings.files import found
from settings.limit_rules import label_findings, limit_findings, tag_findings
from settings.models import (
    BatchEndpointSettings,
    DeploymentSettings,
    EnvironmentSettings,
    ModelSettings,
    OnlineEndpointSettings,
    Settings,
    SettingsModel,
)
from settings.network_rules import network_findings
from settings.platform_rules import WORKSPACE, compute_cluster_findings, elsewhere_findings, platform_findings
from settings.schedule_rules import schedule_findings, twin_findings
from settings.script_rules import Kind, script_findings
from settings.secret_rules import secret_findings
from settings.serving_rules import identity_findings, serving_findings
from settings.shapes import key_path as _path
from settings.shapes import nearest
from settings.target_rules import cluster_findings, kubernetes_target_findings, managed_target_findings

# Rules of Azure ML: reference-yaml-endpoint-online, how-to-manage-quotas, and azure-ai-ml's own validation.
ENDPOINT_NAME = re.compile(r"[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?")
DEPLOYMENT_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
CLUSTER_NAME = re.compile(r"[a-zA-Z](?![a-zA-Z0-9-]*-\d+$)[a-zA-Z0-9-]{2,23}")
NAME_SUFFIX = re.compile(r"[a-z0-9]{1,12}")
REFERENCE = re.compile(
    r"azureml:[^:@/]+(:[^:@/]+|@latest)|azureml://registries/[^/]+/\w+/[^/]+/(versions/[^/]+|labels/latest)"
)
CLUSTERS = ("computeClusters", "kubernetesClusters")
MAX_NAME = 32
MAX_DEPLOYMENTS = 20
# A deployment is called `<name>-<8 hex digits>` in Azure.
REVISION_LENGTH = 9

Findings = Iterator[str]


class Rules:
    """The rules that take more than one value to check; each yields its findings."""

    def __init__(self, settings: Settings, raw: Mapping[str, Any], root: Path, derived_suffix: bool) -> None:
        self.settings, self.raw, self.root, self.derived_suffix = settings, raw, root, derived_suffix

    def findings(self) -> list[str]:
        return [
            *self.stack(),
            *limit_findings(self.settings),
            *self.clusters(),
            *self.endpoint_names(),
            *self.online(),
            *self.batch(),
        ]

    def names(self, *path: str) -> list[str]:
        """The names below a key as the user wrote them, also of entries that are not sound themselves."""
        value: Any = self.raw
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return list(value) if isinstance(value, Mapping) else []

    def stack(self) -> Findings:
        yield from platform_findings(self.settings)
        if self.settings.workspace.existing is None:
            yield from network_findings(self.settings)
        if (build := self.settings.workspace.image_build_compute) is not None:
            yield from self.compute("workspace.imageBuildCompute", build)
        yield from self.suffix()
        yield from asset_findings(self.settings)

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
        # Of a suffix that is not sound itself more is not said.
        if suffix and not NAME_SUFFIX.fullmatch(suffix):
            return
        origin = f' Its end "-{suffix}" is derived; set nameSuffix to one of your own, or to "" for none.'
        for finding in _named(path, self.settings.azure_name(name), pattern, rule, shortest):
            yield finding + (origin if suffix and self.derived_suffix else "")

    def clusters(self) -> Findings:
        rule = "3 to 24 letters, digits and hyphens, a letter first, not -<digits> at the end"
        for name, cluster in self.settings.compute_clusters.items():
            path = _path("computeClusters", name)
            if cluster.existing is None:
                yield from self.in_azure(path, name, CLUSTER_NAME, rule)
            yield from compute_cluster_findings(path, cluster)
            yield from elsewhere_findings(f"{path}.existing", cluster.existing, self.settings)
        for name, cluster in self.settings.kubernetes_clusters.items():
            path = _path("kubernetesClusters", name)
            yield from self.in_azure(path, name, CLUSTER_NAME, rule)
            yield from cluster_findings(path, cluster)
        yield from self.cluster_twins()

    def cluster_twins(self) -> Findings:
        taken: dict[str, tuple[str, bool]] = {}
        for kind, name in [(each, name) for each in CLUSTERS for name in self.names(each)]:
            own = self.settings.compute_clusters.get(name) if kind == "computeClusters" else None
            there = own.existing if own else None
            in_azure = there.rpartition("/")[2] if there else self.settings.azure_name(name)
            path = _path(kind, name)
            other, is_new = taken.setdefault(in_azure.lower(), (path, not there))
            if other != path and (is_new or not there):
                yield (
                    f"{path}: is the name of {other} too; a workspace has each name once, and case is no difference: "
                    "rename one."
                )

    def endpoint_names(self) -> Findings:
        kinds = {"onlineEndpoints": self.names("onlineEndpoints"), "batchEndpoints": self.names("batchEndpoints")}
        rule = f"3 to {MAX_NAME} letters, digits and hyphens, a letter first"
        for kind, names in kinds.items():
            for name in names:
                yield from self.in_azure(_path(kind, name), name, ENDPOINT_NAME, rule, 3)
        taken: dict[str, str] = {}
        for kind, name in ((kind, name) for kind, names in kinds.items() for name in names):
            other = taken.setdefault(name.lower(), f"{kind}.{name}")
            if other != f"{kind}.{name}":
                whose = "an online endpoint" if other.startswith("online") else "a batch endpoint"
                yield (
                    f"{kind}.{name}: is the name of {whose} too ({other}); endpoint names are unique in a region, "
                    "online and batch together, and case is no difference: rename one."
                )

    def online(self) -> Findings:
        for name, endpoint in self.settings.online_endpoints.items():
            path = _path("onlineEndpoints", name)
            yield from tag_findings(path, endpoint.tags)
            yield from identity_findings(path, endpoint)
            yield from self.target(path, name, endpoint)
            yield from self.deployments(path, endpoint.deployments, "online")
            for deployment, settings in endpoint.deployments.items():
                yield from serving_findings(_path(path, "deployments", deployment), settings, self.root)
            known, shares = (self.names("onlineEndpoints", name, key) for key in ("deployments", "traffic"))
            yield from traffic_findings(path, endpoint, known, whole=len(shares) == len(endpoint.traffic))

    def target(self, path: str, name: str, endpoint: OnlineEndpointSettings) -> Findings:
        """Findings on where the deployments of an online endpoint run."""
        if endpoint.kubernetes is not None:
            yield from self.compute(_path(path, "kubernetes"), endpoint.kubernetes, "kubernetesClusters")
            clusters = self.settings.kubernetes_clusters
            yield from kubernetes_target_findings(path, endpoint, self.settings.azure_name(name), clusters)
        elif "kubernetes" not in self.names("onlineEndpoints", name):
            yield from managed_target_findings(path, endpoint)

    def batch(self) -> Findings:
        for name, endpoint in self.settings.batch_endpoints.items():
            path, known = _path("batchEndpoints", name), self.names("batchEndpoints", name, "deployments")
            if not known:
                yield (
                    f"{path}.deployments: is empty, and Azure does not delete a default deployment while its endpoint "
                    f"stays; give at least one deployment, or remove {path}."
                )
                continue
            yield from tag_findings(path, endpoint.tags)
            yield from self.deployments(path, endpoint.deployments, "batch")
            for deployment, settings in endpoint.deployments.items():
                own = _path(path, "deployments", deployment)
                yield from self.compute(_path(own, "compute"), settings.compute)
                yield from self.instances(own, settings.compute, settings.instance_count)
            if endpoint.default_deployment is None and len(known) > 1:
                yield f"{path}.defaultDeployment: is missing; name one of {', '.join(sorted(known))}."
            if endpoint.default_deployment is not None and endpoint.default_deployment not in known:
                yield f"{path}.defaultDeployment: " + _unknown("deployment", endpoint.default_deployment, known)
            yield from self.schedules(_path(path, "schedules"), name, endpoint, known)
        yield from twin_findings(self.settings.batch_endpoints)

    def schedules(self, path: str, name: str, endpoint: BatchEndpointSettings, known: list[str]) -> Findings:
        """Findings on the timetables of a batch endpoint, whose deployments are `known`."""
        for schedule, settings in endpoint.schedules.items():
            own, written = _path(path, schedule), self.names("batchEndpoints", name, "schedules", schedule)
            yield from schedule_findings(own, self.settings.azure_name(name), schedule, settings, written)
            if settings.deployment is not None and settings.deployment not in known:
                yield f"{own}.deployment: " + _unknown("deployment", settings.deployment, known)
            answering = settings.deployment or endpoint.default_deployment or next(iter(known), None)
            if settings.instance_count is not None and answering in endpoint.deployments:
                compute = endpoint.deployments[answering].compute
                yield from self.instances(own, compute, settings.instance_count)

    def instances(self, path: str, compute: str, count: int) -> Findings:
        """Findings on more instances than a cluster of the stack has; of another only Azure knows how many."""
        cluster = self.settings.compute_clusters.get(compute)
        # Of a number that is not sound itself more is not said.
        written = "maxInstances" in self.names("computeClusters", compute)
        if (
            cluster is None
            or cluster.existing is not None
            or (written and "max_instances" not in cluster.model_fields_set)
        ):
            return
        if count > cluster.max_instances:
            most = f"maxInstances of {compute} ({cluster.max_instances})"
            yield f"{path}.instanceCount: {count} is more than {most}; lower the one or raise the other."

    def compute(self, path: str, name: str, clusters: str = "computeClusters") -> Findings:
        # A cluster that is in an existing workspace already is named like every registered thing: azureml:<name>.
        known = self.names(clusters)
        if name in known or re.fullmatch(r"azureml:[a-zA-Z0-9-]+", name):
            return
        if clusters != "computeClusters" or not name.startswith("/"):
            yield f"{path}: " + _unknown(f"cluster of {clusters}", name, known)
        elif not is_id(name, f"{WORKSPACE}/computes"):
            yield (
                f'{path}: "{name}" is not the ARM id of a cluster; it has the form /subscriptions/<id>/resourceGroups/'
                "<group>/providers/Microsoft.MachineLearningServices/workspaces/<name>/computes/<name>."
            )
        else:
            yield from elsewhere_findings(path, name, self.settings)

    def deployments(self, path: str, deployments: Mapping[str, DeploymentSettings], kind: Kind) -> Findings:
        if len(deployments) > MAX_DEPLOYMENTS:
            count = len(deployments)
            yield f"{path}.deployments: {count} deployments; Azure allows {MAX_DEPLOYMENTS} an endpoint: remove some."
        for name, deployment in deployments.items():
            own, longest = _path(path, "deployments", name), MAX_NAME - REVISION_LENGTH
            rule = (
                f"3 to {longest} lower-case letters, digits and hyphens, a letter first (Azure's 32 less the revision)"
            )
            yield from _named(own, name, DEPLOYMENT_NAME, rule, 3, longest)
            yield from label_findings(own, deployment)
            yield from secret_findings(own, deployment.environment_variables)
            yield from self.model(own, deployment)
            yield from self.code(_path(own, "code"), deployment, kind)
            yield from self.environment(_path(own, "environment"), deployment.environment, kind)

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
        missing = list(self.exists(_path(path, "model", "path"), model.path))
        yield from missing
        # Of a type that is not sound itself nothing follows.
        if "type" in model.model_fields_set or "type" not in self.names(*path.split("."), "model"):
            yield from self.scoring(path, model, deployment, is_there=not missing)

    def scoring(self, path: str, model: ModelSettings, deployment: DeploymentSettings, *, is_there: bool) -> Findings:
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
        folder = self.root / str(model.path)
        if is_there and found(folder / "MLmodel", "file"):
            yield from mlflow_findings(f"{path}.model.path", str(model.path), folder)
        elif is_there:
            yield (
                f'{path}.model.path: "{model.path}" holds no file MLmodel; name the folder that mlflow saved, or set '
                "model.type to custom_model."
            )

    def code(self, path: str, deployment: DeploymentSettings, kind: Kind) -> Findings:
        code = deployment.code
        if code is None:
            return
        missing = list(self.exists(_path(path, "path"), code.path, "folder"))
        yield from missing
        if missing:
            return
        folder = self.root / code.path
        script = folder / code.script
        if not found(script, "file"):
            yield f'{path}.script: there is no file "{code.script}" in "{code.path}"; correct the name.'
        elif folder.resolve() not in script.resolve().parents:
            yield f'{path}.script: "{code.script}" is outside of "{code.path}", which alone is uploaded; move it there.'
        else:
            python = python_of(deployment.environment, self.root)
            yield from script_findings(f"{path}.script", code.script, script, kind, python)

    def environment(self, path: str, environment: EnvironmentSettings | None, kind: Kind) -> Findings:
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
            yield from conda_findings(path, environment, self.root, kind)

    def exists(self, path: str, value: str, kind: files.Kind = "file or folder") -> Findings:
        target = self.root / value
        if not value:
            yield f"{path}: is empty; name a {kind}, relative to the project."
        elif not found(target, kind):
            yield f'{path}: there is no {kind} "{value}"; correct the path (it is relative to the project).'
        elif not os.access(target, os.R_OK):
            yield f'{path}: the {kind} "{value}" cannot be read; correct its permissions.'
        elif target.resolve() in self.root.resolve().parents:
            yield f'{path}: "{value}" holds the whole project; name the {kind} itself.'
        elif target.is_dir() and not any(target.iterdir()):
            yield f'{path}: the folder "{value}" is empty; put the files there, or correct the path.'


def traffic_findings(path: str, endpoint: OnlineEndpointSettings, known: list[str], *, whole: bool = True) -> Findings:
    """Azure's rules for live and mirrored traffic: integers that add up to 0 or 100, one mirror of at most 50 %.

    Where not the `whole` traffic is sound, nothing is said of its sum.
    """
    for key, split in (("traffic", endpoint.traffic), ("mirrorTraffic", endpoint.mirror_traffic)):
        for name in (name for name in split if name not in known):
            yield f"{path}.{key}: " + _unknown("deployment", name, known)
    total = sum(endpoint.traffic.values())
    if whole and total not in (0, 100):
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


def _alone(path: str, key: str, settings: SettingsModel, allowed: Set[str] = frozenset()) -> Findings:
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
    close = nearest(name, known)
    return f'there is no {what} "{name}"' + (
        f'; did you mean "{close}"?' if close else f"; there is: {', '.join(known) or 'none'}."
    )
