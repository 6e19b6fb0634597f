"""What a preview's stack needs in cores, by family of sizes: before an update, while it is made, and after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from settings.quota import deployment_cores
from settings.sizes import find
from tools.previews import Resource
from tools.serving import Cluster, Deployment, Endpoint, Served

ONLINE = "online deployments"
CLUSTERS = "clusters, at most"
LOW_PRIORITY = "clusters of low priority, at most"

Clusters = list[tuple[Resource, Cluster | None, Cluster | None]]
Cores = Counter[tuple[str, str]]


def cores(served: Iterable[Served], clusters: Clusters) -> Iterator[tuple[str, str, int, int, int]]:
    """Each family with what it is for, and its cores before, meanwhile and after."""
    online = [each for each in served if each.kind == "online"]
    before = _deployed(_revisions(each.before) for each in online) + _clustered(old for _, old, _ in clusters)
    after = _deployed(_revisions(each.after) for each in online) + _clustered(new for _, _, new in clusters)
    # A new revision comes up beside the old one; a cluster is the same one, unless it goes before another one comes.
    meanwhile = _deployed(_both(each) for each in online)
    for _, old, new in clusters:
        meanwhile += _clustered([old]) | _clustered([new])
    for key in sorted({*before, *after}):
        yield (*key, before[key], meanwhile[key], after[key])


def unknown(served: Iterable[Served], clusters: Clusters) -> list[str]:
    """The sizes that the list lacks, so that their cores do not count."""
    sizes = {
        deployment.size
        for each in served
        for side in (each.before, each.after)
        for deployment in _revisions(side).values()
    }
    sizes |= {cluster.size for _, *sides in clusters for cluster in sides if cluster}
    return sorted(size for size in sizes if size and find(size) is None)


def _revisions(side: Endpoint | None) -> dict[str, Deployment]:
    """What takes machines of its own: nothing on Kubernetes, whose cluster has them already."""
    return {} if side is None or side.kubernetes else dict(side.deployments)


def _both(served: Served) -> dict[str, Deployment]:
    before, after = _revisions(served.before), _revisions(served.after)
    larger = {name: max(before[name], after[name], key=lambda each: each.most) for name in before.keys() & after.keys()}
    return before | after | larger


def _deployed(sides: Iterable[dict[str, Deployment]]) -> Cores:
    total: Cores = Counter()
    for side in sides:
        for deployment in side.values():
            if size := find(deployment.size):
                total[size.family, ONLINE] += deployment_cores(size, deployment.most)
    return total


def _clustered(clusters: Iterable[Cluster | None]) -> Cores:
    total: Cores = Counter()
    for cluster in clusters:
        if cluster and (size := find(cluster.size)):
            total[size.family, LOW_PRIORITY if cluster.low_priority else CLUSTERS] += size.cores * cluster.most
    return total
