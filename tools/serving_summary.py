"""What a pull request serves differently: `pulumi preview --json --show-sames | python -m tools.serving_summary`.

Prints Markdown for a comment on the pull request that can also be read in a terminal. Without `--show-sames`, endpoints
that nothing happens to are left out. Returns 1 where the preview has failed, and 2 where there is none.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tools import previews, serving
from tools.previews import NotAPreview, Preview
from tools.serving import Asset, Deployment, Endpoint, Schedule, Served, colour, share
from tools.serving_changes import done, drift, in_place, instances, name_of, warnings
from tools.serving_quota import Clusters, cores, unknown
from tools.words import LATER, code

NONE = "–"
Row = tuple[str, str, str]


def summary(preview: Preview) -> str:
    """The whole summary, in Markdown."""
    if preview.errors:
        return "\n".join(_failed(preview))
    served, clusters = serving.endpoints(preview), serving.clusters(preview)
    changed = [each for each in served if rows(each)]
    parts = [
        [f"## What `{preview.stack}` serves"],
        _verdict(preview, changed),
        _alert(warnings(served, clusters)),
        _section("Changed elsewhere since the last `up`", drift(preview, served)),
        *(_endpoint(each) for each in changed),
        _unchanged([each for each in served if each not in changed]),
        _quota(served, clusters),
        _section("What happens", [f"{group}: {', '.join(words)}" for group, words in done(preview)]),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _failed(preview: Preview) -> Iterator[str]:
    yield f"## What `{preview.stack}` serves"
    yield ""
    yield "> [!CAUTION]"
    yield "> **The preview failed**, so that nothing can be said about what would be served. Nothing has been changed."
    yield ""
    for error in preview.errors:
        yield from fenced(error)


def fenced(text: str) -> list[str]:
    """Text as it is, whatever fences it holds itself."""
    fence = "```"
    while fence in text:
        fence += "`"
    return [fence, text, fence]


def _verdict(preview: Preview, changed: list[Served]) -> list[str]:
    if changed:
        return []
    if any(each.action != "same" for each in preview.resources.values()):
        return ["**Nothing that is served changes.**"]
    return ["**Nothing changes.**"]


def _alert(lines: list[str]) -> list[str]:
    if not lines:
        return []
    return ["> [!WARNING]", "> **This touches what is live:**", *(f"> - {line}" for line in lines)]


def _section(title: str, lines: Iterable[str]) -> list[str]:
    found = [f"- {line}" for line in lines]
    return [f"### {title}", "", *found] if found else []


def _unchanged(served: list[Served]) -> list[str]:
    names = ", ".join(f"`{each.key}`" for each in served)
    return [f"Unchanged: {names}"] if names else []


def _quota(served: list[Served], clusters: Clusters) -> list[str]:
    """The cores of the whole stack, since that is what its subscription must have; nothing where none changes."""
    lines = [*cores(served, clusters)]
    if all(before == meanwhile == after for *_, before, meanwhile, after in lines):
        return []
    shown = [
        (family, what, str(before), _new(before, meanwhile), _new(before, after))
        for family, what, before, meanwhile, after in lines
    ]
    missing = ", ".join(f"`{size}`" for size in unknown(served, clusters))
    return [
        "### Quota",
        "",
        "Cores of the whole stack. For online deployments Azure counts a fifth more instances than there are; "
        "while a new revision comes up, the old one counts, too.",
        "",
        *table(("family", "for", "before", "during `up`", "after"), shown),
        *(["", f"Not counted, for the list of sizes lacks them: {missing}."] if missing else []),
    ]


def _new(before: int, number: int) -> str:
    return str(number) if number == before else f"**{number}**"


# one endpoint


def _endpoint(served: Served) -> list[str]:
    words = {"create": ", new", "delete": ", deleted", "replace": ", replaced"}.get(served.resource.action, "")
    in_azure = "" if served.name in (served.key, LATER) else f" (in Azure `{served.name}`)"
    title = f"### {served.kind.capitalize()} endpoint `{served.key}`{in_azure}{words}"
    return [title, "", *table(("", "", "before", "after"), rows(served))]


def rows(served: Served) -> list[tuple[str, str, str, str]]:
    """An endpoint before and after, a line for each thing that counts; none where nothing happens to any of it."""
    sides = served.before, served.after
    found = [("", *row) for row in _of_endpoint(*sides)]
    names = sorted({each.name for side in sides if side for each in side.deployments.values()})
    for name in names:
        found += [(f"**{name}**", *row) for row in _of_deployment(served, name)]
    if served.resource.action in ("same", "update") and all(before == after for _, _, before, after in found):
        return []
    return [
        (first if first != previous else "", what, before, after if before == after else f"**{after}**")
        for (first, what, before, after), previous in zip(found, ["", *(row[0] for row in found)], strict=False)
    ]


def _of_endpoint(before: Endpoint | None, after: Endpoint | None) -> Iterator[Row]:
    both = before is not None and after is not None
    # Of what an endpoint is to its callers, and of its timetables' inputs, only what is new or changes.
    news = [*_both(before, after, _access), *_both(before, after, _inputs)]
    yield from (row for row in news if not both or row[1] != row[2])
    yield from _both(before, after, lambda side: {"default deployment": name_of(side.default)} if side.default else {})
    yield from _both(before, after, _schedules)


def _both(
    before: Endpoint | None, after: Endpoint | None, told: Callable[[Endpoint], Mapping[str, str]]
) -> Iterator[Row]:
    """A line for each thing that either side tells of."""
    old, new = (told(side) if side else {} for side in (before, after))
    for key in sorted({*old, *new}):
        yield key, old.get(key, NONE), new.get(key, NONE)


def _access(side: Endpoint) -> Mapping[str, str]:
    return side.access


def _inputs(side: Endpoint) -> dict[str, str]:
    return {f"{name} scores": code(schedule.input) for name, schedule in side.schedules.items()}


def _schedules(side: Endpoint) -> dict[str, str]:
    return {f"schedule {name}": _schedule(schedule) for name, schedule in side.schedules.items()}


def _schedule(schedule: Schedule) -> str:
    runs = f", on {name_of(schedule.deployment)}" if schedule.deployment else ""
    return schedule.times + runs + (", paused" if schedule.paused else "")


def _of_deployment(served: Served, name: str) -> Iterator[Row]:
    kind, before, after = served.kind, served.before, served.after
    old, new = _main(name, before), _main(name, after)
    if kind == "online":
        yield "traffic", _share(before, old, "traffic"), _share(after, new, "traffic")
    mirrored = _share(before, old, "mirror"), _share(after, new, "mirror")
    if {*mirrored} - {NONE, "0 %"}:
        yield "mirrored", *mirrored
    made_anew = ", replaced" if new and new.revision in served.made_anew else ""
    yield "revision", _revision(old), _revision(new) + made_anew
    yield from _left_over(name, old, before, after)
    for asset in ("model", "code", "environment"):
        yield from _asset_row(asset, old and getattr(old, asset), new and getattr(new, asset))
    yield "instances", instances(old, kind) if old else NONE, instances(new, kind) if new else NONE
    if old and new:
        yield from (row for row in in_place(old, new, kind) if row[0] != "instances")
        yield from _variables(old, new)


def _left_over(name: str, main: Deployment | None, before: Endpoint | None, after: Endpoint | None) -> Iterator[Row]:
    """Revisions that an interrupted update has left beside the one that serves, and that go now."""
    gone = (before.deployments.keys() if before else set()) - (after.deployments.keys() if after else set())
    for revision in sorted(gone - {main and main.revision}):
        if colour(revision) == name:
            yield "left over", f"`{revision}`", NONE


def _revision(deployment: Deployment | None) -> str:
    return f"`{deployment.revision}`" if deployment else NONE


def _main(name: str, endpoint: Endpoint | None) -> Deployment | None:
    """The revision of a deployment; of several, which an interrupted update leaves, the one that serves most."""
    found = [each for each in endpoint.deployments.values() if each.name == name] if endpoint else []
    return max(found, key=lambda each: share(endpoint and endpoint.traffic, each.revision), default=None)


def _share(endpoint: Endpoint | None, deployment: Deployment | None, shares: str) -> str:
    if endpoint is None or deployment is None:
        return NONE
    traffic = getattr(endpoint, shares)
    return LATER if traffic is None else f"{share(traffic, deployment.revision):g} %"


def _asset_row(kind: str, old: Asset | None, new: Asset | None) -> Iterator[Row]:
    if old or new:
        content = old and new and old.content and new.content and old.content != new.content
        yield kind, _asset(old), _asset(new) + (", content changed" if content else "")


def _asset(asset: Asset | None) -> str:
    return f"`{asset.name}:{asset.version}`" + (f" {code(asset.detail)}" if asset.detail else "") if asset else NONE


def _variables(old: Deployment, new: Deployment) -> Iterator[Row]:
    """Which variables another revision has otherwise. The service adds its own, so what is gone cannot be told."""
    changed = [key for key, value in new.variables.items() if old.variables.get(key) != value]
    if changed and old.revision != new.revision:
        yield "variables", NONE, f"changed: {', '.join(map(code, changed))}"


# tables


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table whose columns are aligned, for whoever reads it in a terminal."""
    cells = [[_cell(each) for each in line] for line in (head, *lines)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    rule = ["-" * max(width, 3) for width in widths]
    padded = [[cell.ljust(max(width, 3)) for cell, width in zip(line, widths, strict=True)] for line in cells]
    return [f"| {' | '.join(line)} |" for line in (padded[0], rule, *padded[1:])]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, help="the preview; without it, standard input is read")
    options = parser.parse_args(arguments)
    try:
        preview = previews.read(options.file.read_text() if options.file else sys.stdin.read())
    except (NotAPreview, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(summary(preview), end="")
    return 1 if preview.errors else 0


if __name__ == "__main__":
    sys.exit(main())
