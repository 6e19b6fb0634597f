"""What an update does, in plain words: what touches live traffic, what was changed by hand, and all the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from tools.previews import UNKNOWN, Preview, Props, Resource, at
from tools.serving import (
    AUTOSCALE,
    DYNAMIC,
    ML,
    OURS,
    ROLE,
    SETTINGS,
    USER,
    WORKFLOW,
    Cluster,
    Deployment,
    Endpoint,
    Served,
    colour,
    share,
    text_of,
)
from tools.words import LATER, UNSET, code, plain

KINDS = {
    ML + "OnlineEndpoint": "online endpoint",
    ML + "BatchEndpoint": "batch endpoint",
    ML + "OnlineDeployment": "deployment",
    ML + "BatchDeployment": "deployment",
    ML + "Compute": "cluster",
    ML + "Workspace": "workspace",
    DYNAMIC + "Model": "model",
    DYNAMIC + "Code": "code",
    DYNAMIC + "Environment": "environment",
    WORKFLOW: "schedule",
    AUTOSCALE: "autoscale setting",
}
# What is called as the component that holds it, and that is as the configuration calls it.
HELD = (ML + "OnlineEndpoint", ML + "BatchEndpoint", ML + "Compute", WORKFLOW)
DEPLOYED = (ML + "OnlineDeployment", ML + "BatchDeployment")
ASSETS = (DYNAMIC + "Model", DYNAMIC + "Code", DYNAMIC + "Environment")
# Named one by one also where they are new; of anything else, a new one is counted.
NAMED = {*KINDS} - {AUTOSCALE}
# Of what was changed by hand, where values may be shown: what settings name, and what serves. All else may hold
# anything (tags, descriptions, variables, the properties of other resources).
SHOWN = (
    *(f"properties.{setting}" for setting in SETTINGS),
    "sku",
    "properties.traffic",
    "properties.mirrorTraffic",
    "properties.instanceType",
    "properties.authMode",
    "properties.publicNetworkAccess",
    "properties.resources.instanceCount",
    "properties.defaults.deploymentName",
    "properties.properties.vmSize",
    "properties.properties.vmPriority",
    "properties.properties.scaleSettings",
    "publicNetworkAccess",
    "enabled",
    "state",
)
# Azure never changes these of an endpoint that is there.
FIXED = {"log-in": "authMode", "identity": "identity", "Kubernetes cluster": "kubernetes"}


# what touches live traffic


Clusters = Iterable[tuple[Resource, Cluster | None, Cluster | None]]


def warnings(served: Iterable[Served], clusters: Clusters = ()) -> list[str]:
    """What callers of an endpoint may notice, one sentence each."""
    found = [(resource, before) for resource, before, _ in clusters if before]
    going = {before.name: resource for resource, before in found if resource.action in ("replace", "delete")}
    return [f"`{each.key}`: {text}" for each in served for text in _warnings(each, going)]


def _warnings(served: Served, going: Mapping[str, Resource]) -> Iterator[str]:
    before, after = served.before, served.after
    if before is None:
        return
    if after is None:
        yield f"the endpoint is **deleted**: {_callers(served, before)}"
        return
    if served.resource.action == "replace":
        callers, why = _callers(served, before), _why(served.resource)
        yield f"the endpoint is **replaced**{why}, deleted first and then made anew: {callers} until it is back"
        return
    yield from _access(before, after)
    yield from _online(served, before, after) if served.kind == "online" else _batch(served, before, after, going)
    lost = [each for each in served.members if each.type in (ROLE, USER) and each.action not in ("same", "create")]
    if served.kind == "online" and lost:
        yield f"what it works under changes: {', '.join(f'{title(each)} ({each.action})' for each in lost)}"


def _why(resource: Resource) -> str:
    reasons = ", ".join(f"`{reason}`" for reason in dict.fromkeys(resource.reasons))
    return f", because {reasons} changes" if reasons else " with what it depends on"


def _callers(served: Served, endpoint: Endpoint) -> str:
    if served.kind == "batch":
        return "no job can be started"
    return "every request fails" if endpoint.traffic != {} else "it has no traffic; calls by deployment name fail"


def _access(before: Endpoint, after: Endpoint) -> Iterator[str]:
    for key in sorted({*before.access, *after.access}):
        old, new = before.access.get(key, "none"), after.access.get(key, "none")
        if old == new:
            continue
        yield f"{key} changes from {old} to {new}"
        if key in FIXED and LATER not in new:
            cannot = f"Azure cannot change `{FIXED[key]}` of an endpoint that is there, so `up` will fail"
            yield f"{cannot}: make an endpoint of another name beside it"


def _online(served: Served, before: Endpoint, after: Endpoint) -> Iterator[str]:
    yield from _moved("live traffic", before.traffic, after.traffic, "")
    yield from _moved("mirrored traffic", before.mirror, after.mirror, "; no caller sees its answers")
    for revision, deployment in before.deployments.items():
        percent = share(before.traffic, revision)
        if percent == 0:
            continue
        serves = f"`{deployment.name}`, which serves {_percent(percent)}"
        if revision not in after.deployments:
            yield f"{serves}, {_goes(deployment, after)}"
        elif revision in served.made_anew:
            yield f"{serves}, is deleted and then made anew"
        elif changes := in_place(deployment, after.deployments[revision], served.kind):
            yield f"{serves}, is changed in place: " + ", ".join(f"{key} {old} → {new}" for key, old, new in changes)


def _goes(deployment: Deployment, after: Endpoint) -> str:
    successor = next((each.revision for each in after.deployments.values() if each.name == deployment.name), None)
    if successor is None:
        return f"is removed when its traffic is gone (`{deployment.revision}`)"
    test = "passes its smoke test" if successor in after.tested else "takes over without a smoke test"
    if successor in after.tested:
        test += " and takes over"
    return f"is replaced: `{successor}` is started beside it, {test}, then `{deployment.revision}` is removed"


def _moved(
    what: str, before: Mapping[str, float] | None, after: Mapping[str, float] | None, remark: str
) -> Iterator[str]:
    if before is None or after is None:
        yield f"what {what} there is, is {LATER}"
        return
    old, new = by_colour(before), by_colour(after)
    names = sorted({*old, *new})
    moves = [
        f"{name} {old.get(name, 0):g} → {new.get(name, 0):g} %" for name in names if old.get(name) != new.get(name)
    ]
    if moves:
        yield f"{what} moves: {', '.join(moves)}{remark}"


def _batch(served: Served, before: Endpoint, after: Endpoint, going: Mapping[str, Resource]) -> Iterator[str]:
    old, new = before.default, after.default
    if not old:
        return
    if old == new:
        yield from _default_kept(served, before, going)
    elif colour(old) == colour(new):
        yield f"jobs that name no deployment run on another revision of `{colour(new)}`, `{new}`"
    else:
        yield f"jobs that name no deployment run on {name_of(new)} instead of {name_of(old)}"


def _default_kept(served: Served, before: Endpoint, going: Mapping[str, Resource]) -> Iterator[str]:
    """What happens to the default deployment, and to what it runs on, under the names that they have."""
    default = before.deployments.get(before.default)
    what = f"`{colour(before.default)}`, on which jobs run that name no deployment,"
    if before.default in served.made_anew:
        yield f"{what} is deleted and then made anew: no such job can be started until it is back"
    if default and (cluster := going.get(default.cluster)):
        becomes = "deleted and then made anew" if cluster.action == "replace" else "deleted"
        yield f"{what} has its nodes in `{default.cluster}`, which is {becomes}: jobs that run there end"


def in_place(before: Deployment, after: Deployment, kind: str) -> list[tuple[str, str, str]]:
    """What of a revision is changed while it is there: the setting, before and after."""
    count = ("instances", instances(before, kind), instances(after, kind))
    found = [count] if count[1] != count[2] else []
    settings = (
        (key, before.settings.get(key, UNSET), after.settings.get(key, UNSET))
        for key in sorted({*before.settings, *after.settings})
    )
    return found + [(key, code(old), code(new)) for key, old, new in settings if old != new]


def instances(deployment: Deployment, kind: str) -> str:
    """How many instances, and of what: `2 × Standard_DS2_v2`, `2 to 5 × …` where autoscale decides."""
    count = "?" if deployment.count is None else str(deployment.count)
    if kind == "batch":
        return f"{count} nodes" + (f" of {deployment.cluster}" if deployment.cluster else "")
    if deployment.bounds:
        count = "{} to {}".format(*deployment.bounds)
    return f"{count} × {deployment.size or 'the usual type of the cluster'}"


def by_colour(traffic: Mapping[str, float]) -> dict[str, float]:
    """Shares by deployment, whichever of its revisions has them."""
    total: Counter[str] = Counter()
    for revision, percent in traffic.items():
        total[colour(revision)] += percent  # type: ignore[assignment] - shares may be fractions
    return dict(total)


def name_of(revision: str) -> str:
    return f"`{colour(revision)}` (`{revision}`)" if revision else "no deployment"


def _percent(number: float) -> str:
    return f"{number:g} %"


# what was changed by hand


def drift(preview: Preview, served: Iterable[Served]) -> list[str]:
    """What was changed elsewhere since the last update, and what becomes of it."""
    return [*(line for each in served for line in _moved_by_hand(each)), *_changed_by_hand(preview)]


def _moved_by_hand(served: Served) -> Iterator[str]:
    before, last = served.before, served.set_traffic
    if before is None or last is None or served.kind != "online":
        return
    for what, live, recorded, wanted in (
        ("live traffic", before.traffic, last[0], served.after and served.after.traffic),
        ("mirrored traffic", before.mirror, last[1], served.after and served.after.mirror),
    ):
        if live is not None and live != recorded:
            becomes = "left as it is" if live == wanted else f"`up` makes it {split(wanted)}"
            yield f"`{served.key}`: {what} is {split(live)}, and was last set to {split(recorded)}; {becomes}"


def split(traffic: Mapping[str, float] | None) -> str:
    if traffic is None:
        return LATER
    return ", ".join(f"{name} {percent:g} %" for name, percent in by_colour(traffic).items()) or "none"


def _changed_by_hand(preview: Preview) -> Iterator[str]:
    for each in preview.resources.values():
        if each.recorded is None or each.type.startswith((OURS, DYNAMIC)):
            continue
        if each.action == "create":
            yield f"{title(each)} is gone, and is made anew"
            continue
        for path, was, found in differences(each.recorded, each.before or {}):
            if not _foreign(path, each.ignored):
                wanted = at(each.after, path) if each.after else None
                yield f"{title(each)}: {_visible(path, was, found)}{_becomes(each, path, found, wanted)}"


def _becomes(resource: Resource, path: str, found: object, wanted: object) -> str:
    if resource.action == "delete":
        return ""
    if wanted == UNKNOWN:
        return f"; what it will be is {LATER}"
    return "; left as it is" if wanted == found else "; `up` changes it back" + _value(path, wanted)


def differences(old: object, new: object, path: str = "") -> Iterator[tuple[str, object, object]]:
    """Where two values differ: the dotted path, what was and what is."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif old != new and not (_empty(old) and _empty(new)):
        yield path, old, new


def _empty(value: object) -> bool:
    return value is None or value in ({}, [], "")


def _foreign(path: str, ignored: Iterable[str]) -> bool:
    """Whether a difference is nobody's fault: the service itself writes there, and the program lets it."""
    return any(path == each or path.startswith(f"{each}.") for each in (*ignored, "properties.provisioningState"))


def _visible(path: str, was: object, found: object) -> str:
    if not (_shown(path) and _simple(was) and _simple(found)):
        return f"{code(path)} is another"
    return f"{code(path)} was {_word(was)} and is {_word(found)}"


def _value(path: str, wanted: object) -> str:
    return f" to {_word(wanted)}" if _shown(path) and _simple(wanted) else ""


def _shown(path: str) -> bool:
    return any(path == each or path.startswith(f"{each}.") for each in SHOWN)


def _simple(value: object) -> bool:
    return _empty(value) or isinstance(value, str | int | float)


def _word(value: object) -> str:
    return UNSET if _empty(value) else code(text_of(value))


# the rest


def done(preview: Preview) -> list[tuple[str, list[str]]]:
    """What is created, replaced, changed and removed, each with its resources in words; without what is ours alone."""
    seen = [each for each in preview.resources.values() if each.action != "same" and _told(each)]
    groups = {
        "created": [each for each in seen if each.action == "create"],
        "registered in another version": [each for each in seen if each.action == "update" and each.type in ASSETS],
        "replaced": [each for each in seen if each.action == "replace"],
        "changed in place": [each for each in seen if each.action == "update" and each.type not in ASSETS],
        "removed": [each for each in seen if each.action == "delete" and each.type not in ASSETS],
        "no longer used, but kept in the workspace": [
            each for each in seen if each.action == "delete" and each.type in ASSETS
        ],
    }
    return [(group, _words(group, found)) for group, found in groups.items() if found]


def _told(resource: Resource) -> bool:
    """Whether anybody but the program has an interest in it: no component, and no helper that only waits."""
    return not resource.type.startswith((OURS, DYNAMIC, "pulumi:")) or resource.type in ASSETS


def _words(group: str, found: list[Resource]) -> list[str]:
    named = [each for each in found if group != "created" or each.type in NAMED]
    counted = Counter(_kind(each) for each in found if each not in named)
    rest = [kind if number == 1 else f"{number} × {kind}" for kind, number in sorted(counted.items())]
    order = [*KINDS]
    named.sort(key=lambda each: (order.index(each.type) if each.type in order else len(order), title(each)))
    return [*(title(each) for each in named), *rest]


def title(resource: Resource) -> str:
    """`deployment blue-3fb2a9c1 of tumor-online`, and for a type that is nobody's here `Vault workspace-vault`."""
    props = resource.now
    if resource.type in ASSETS:
        return f"{_kind(resource)} `{_known(props, 'name')}:{_known(props, 'version')}`"
    holder = plain(resource.parent.rpartition("::")[2])
    if resource.type in DEPLOYED:
        return f"{_kind(resource)} `{_known(props, 'deploymentName')}` of `{holder}`"
    return f"{_kind(resource)} {code(holder if resource.type in HELD else resource.name)}"


def _known(props: Props, key: str) -> str:
    value = at(props, key)
    return text_of(value)


def _kind(resource: Resource) -> str:
    return KINDS.get(resource.type) or resource.type.rpartition(":")[2]
