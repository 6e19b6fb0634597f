"""The cores that a stack needs, by family of sizes: what to ask Azure for before it says no.

Source: https://learn.microsoft.com/azure/machine-learning/how-to-manage-quotas.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from settings.models import OnlineDeploymentSettings, Settings
from settings.shapes import key_path
from settings.sizes import Size, find


@dataclass(frozen=True)
class Need:
    """Cores of one family, each sum by what adds up to it.

    Online deployments hold theirs at once, with Azure's reserve for upgrades; clusters hold those of the machines that
    they have at the time, so that theirs is the most.
    """

    online: dict[str, int] = field(default_factory=dict)
    dedicated: dict[str, int] = field(default_factory=dict)
    low_priority: dict[str, int] = field(default_factory=dict)

    def text(self) -> str:
        """The need in a few words."""
        kinds = {
            "for online deployments": self.online,
            "at most for clusters": self.dedicated,
            "of low priority at most for clusters": self.low_priority,
        }
        return "; ".join(f"{sum(parts.values())} {what} ({_sum(parts)})" for what, parts in kinds.items() if parts)


def needs(settings: Settings) -> Mapping[str, Need]:
    """What a stack needs, by family. Sizes that the list lacks do not count, nor does what runs on Kubernetes.

    While a changed deployment comes up beside the one that is live, Azure counts both.
    """
    found: dict[str, Need] = {}
    for path, size, deployment in _deployments(settings):
        found.setdefault(size.family, Need()).online[path] = deployment_cores(size, _most(deployment))
    for name, cluster in settings.compute_clusters.items():
        size = find(cluster.vm_size or "")
        if size is not None and cluster.existing is None:
            need = found.setdefault(size.family, Need())
            parts = need.low_priority if cluster.tier == "low_priority" else need.dedicated
            parts[name] = cluster.max_instances * size.cores
    return found


def deployment_cores(size: Size, instances: int) -> int:
    """The cores of a managed online deployment: those of a fifth more instances, where Azure keeps a reserve."""
    return size.cores * (-(-instances * 6 // 5) if size.reserve else instances)


def need_lines(settings: Settings) -> list[str]:
    """One line for each family."""
    return [f"Cores of {family}: {need.text()}." for family, need in sorted(needs(settings).items())]


def _deployments(settings: Settings) -> Iterator[tuple[str, Size, OnlineDeploymentSettings]]:
    for name, endpoint in settings.online_endpoints.items():
        for deployment, own in endpoint.deployments.items():
            size = find(own.instance_type or "")
            if endpoint.kubernetes is None and size is not None:
                yield key_path(name, deployment), size, own


def _most(deployment: OnlineDeploymentSettings) -> int:
    return deployment.autoscale.most() if deployment.autoscale else deployment.instance_count


def _sum(parts: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {cores}" for what, cores in parts.items())
