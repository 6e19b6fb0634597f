"""Sizes of virtual machines: what Azure ML lists, with families and cores, and what to say of any other.

The list is `vm_sizes.json`, with its date and sources. A size that it lacks may be a new one, so that it is a warning.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from settings.models import Settings
from settings.shapes import key_path

# Standard_E4-2s_v3: family, cores, fewer cores of them, features; then accelerator and version.
SHAPE = re.compile(r"standard_[a-z]{1,4}[0-9]+(-[0-9]+)?[a-z]*(_[a-z0-9]+)*", re.IGNORECASE)
_FILE = Path(__file__).with_name("vm_sizes.json")

Findings = Iterator[str]


@dataclass(frozen=True)
class Size:
    """A size. `online` says whether managed deployments run on it, `reserve` whether they keep a fifth more free."""

    name: str
    family: str
    cores: int
    online: bool
    reserve: bool


@cache
def known() -> Mapping[str, Size]:
    """The sizes of the list, by name in lower case."""
    return {
        name.lower(): Size(name, family, cores, kind == "online", entry.get("reserve", True))
        for family, entry in _list()["families"].items()
        for kind in ("online", "cluster")
        for name, cores in entry.get(kind, {}).items()
    }


def find(name: str) -> Size | None:
    """The size of that name, in any case as Azure takes it; None where the list lacks it."""
    return known().get(name.lower())


def size_findings(path: str, name: str, otherwise: str = "") -> Findings:
    """The finding on what is no size of a virtual machine; `otherwise` is another way out."""
    if not SHAPE.fullmatch(name):
        yield f'{path}: "{name}" is no size of a virtual machine; {_near(name) or "write one as Standard_F4s_v2"}' + (
            f", or {otherwise}." if otherwise else "."
        )


def size_warnings(settings: Settings) -> list[str]:
    """A line for each size that the list lacks for what it is used for; none where that is allowed."""
    if settings.allow_unknown_sizes:
        return []
    first: dict[tuple[str, bool], str] = {}
    for path, name, online in _used(settings):
        size = find(name)
        if SHAPE.fullmatch(name) and (size is None or (online and not size.online)):
            first.setdefault((name.lower(), online), _unknown(path, name, online))
    return list(first.values())


def _used(settings: Settings) -> Iterator[tuple[str, str, bool]]:
    for name, cluster in settings.compute_clusters.items():
        if cluster.vm_size is not None:
            yield key_path("computeClusters", name, "vmSize"), cluster.vm_size, False
    for name, endpoint in settings.online_endpoints.items():
        for deployment, own in endpoint.deployments.items():
            if endpoint.kubernetes is None and own.instance_type is not None:
                yield (
                    key_path("onlineEndpoints", name, "deployments", deployment, "instanceType"),
                    own.instance_type,
                    True,
                )


def _unknown(path: str, name: str, online: bool) -> str:
    whose = "for managed endpoints" if online else "for clusters"
    near = "" if find(name) else _near(name)
    hint = f"; {near} If" if near else "; if"
    return (
        f'{path}: "{name}" is not in the list of Azure ML\'s sizes {whose} of {_list()["date"]}{hint} Azure has it '
        "nevertheless, set allowUnknownSizes to true."
    )


def _near(name: str) -> str:
    by_form = {_form(size.name): size.name for size in known().values()}
    close = difflib.get_close_matches(_form(name), by_form, n=1, cutoff=0.8)
    return f'did you mean "{by_form[close[0]]}"?' if close else ""


def _form(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower()).removeprefix("standard")


def _list() -> dict[str, Any]:
    return json.loads(_FILE.read_text(encoding="utf-8"))
