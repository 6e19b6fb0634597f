"""Azure's limits, as far as one stack can be counted against them, and what it takes as tags and variables.

Source: https://learn.microsoft.com/azure/machine-learning/how-to-manage-quotas and
https://learn.microsoft.com/azure/azure-resource-manager/management/tag-resources.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from settings.models import DeploymentSettings, Settings
from settings.shapes import key_path

MAX_ENDPOINTS, MAX_DEPLOYMENTS = 100, 500
MAX_CLUSTER_ENDPOINTS, MAX_CLUSTER_DEPLOYMENTS = 60, 100
MAX_MACHINES = 100
MAX_TAGS, MAX_TAG_NAME, MAX_TAG_VALUE = 50, 512, 256
NOT_IN_TAGS = re.compile(r"[<>%&\\?/\x00-\x1f\x7f]")
VARIABLE = re.compile(r"[ -<>-~]+")

Findings = Iterator[str]


def limit_findings(settings: Settings) -> Findings:
    """What there is more of than Azure allows in a region, in a Kubernetes cluster, or in a compute cluster."""
    endpoints = [*settings.online_endpoints.values(), *settings.batch_endpoints.values()]
    deployments = sum(len(endpoint.deployments) for endpoint in endpoints)
    for what, count, most in (
        ("endpoints", len(endpoints), MAX_ENDPOINTS),
        ("deployments", deployments, MAX_DEPLOYMENTS),
    ):
        if count > most:
            yield (
                f"onlineEndpoints: {count} {what}, those of batchEndpoints counted; Azure allows {most} in a region: "
                "spread them over stacks in other regions or subscriptions."
            )
    yield from _on_kubernetes(settings)
    for name, cluster in settings.compute_clusters.items():
        if cluster.max_instances > MAX_MACHINES:
            path = key_path("computeClusters", name, "maxInstances")
            yield f"{path}: {cluster.max_instances} is more than Azure's {MAX_MACHINES} for a cluster; lower it."


def _on_kubernetes(settings: Settings) -> Findings:
    endpoints, deployments = Counter[str](), Counter[str]()
    for endpoint in settings.online_endpoints.values():
        if endpoint.kubernetes is not None:
            endpoints[endpoint.kubernetes] += 1
            deployments[endpoint.kubernetes] += len(endpoint.deployments)
    for what, counts, most in (
        ("endpoints", endpoints, MAX_CLUSTER_ENDPOINTS),
        ("deployments", deployments, MAX_CLUSTER_DEPLOYMENTS),
    ):
        for cluster, count in counts.items():
            if count > most:
                path = key_path("kubernetesClusters", cluster)
                yield f"{path}: {count} {what} run on it; Azure allows {most} on a cluster: use another one too."


def label_findings(path: str, labelled: DeploymentSettings) -> Findings:
    """What is wrong with the tags and the environment variables of a deployment."""
    yield from tag_findings(path, labelled.tags)
    for name, value in labelled.environment_variables.items():
        if not VARIABLE.fullmatch(name) or "\0" in value:
            own = key_path(path, "environmentVariables", name)
            yield f'{own}: "{name}" is no environment variable; its name is plain text without "=": correct it.'


def tag_findings(path: str, tags: Mapping[str, str]) -> Findings:
    """What is wrong with tags, of which Azure compares the names without case."""
    if len(tags) > MAX_TAGS:
        yield f"{path}.tags: {len(tags)} tags; Azure takes {MAX_TAGS}: remove {len(tags) - MAX_TAGS}."
    for name, value in tags.items():
        own = key_path(path, "tags", name)
        if not name or len(name) > MAX_TAG_NAME:
            yield f"{own}: the name has {len(name)} characters; Azure takes 1 to {MAX_TAG_NAME}: change it."
        elif NOT_IN_TAGS.search(name):
            yield f'{own}: "{name}" has one of <>%&\\?/ or a control character, which Azure refuses; leave it out.'
        if len(value) > MAX_TAG_VALUE:
            yield f"{own}: the value has {len(value)} characters; Azure takes {MAX_TAG_VALUE}: shorten it."
    for name, count in Counter(name.lower() for name in tags).items():
        if count > 1:
            yield f"{key_path(path, 'tags', name)}: is given {count} times, which Azure takes for one tag; keep one."
