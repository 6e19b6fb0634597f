"""Makes the previews of the stories by the real CLI on Local Azure; as a command, records them with their summaries."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.end_to_end.conftest import Clone, copy_of_the_tree
from tests.pull_requests.stories import RECORDINGS, STORIES, base, recorded
from tools import previews
from tools.serving_summary import summary

PREVIEW = "pulumi preview --json --show-sames --stack local 2>/dev/null"


def previewed(clone: Clone) -> Iterator[tuple[str, str]]:
    """Brings the stack up, then yields each story with what the CLI prints for it."""
    clone.edit(base)
    clone.make("up").ok()
    # The first refresh after a deployment finds what the service has added to it; that is in every later one, too.
    # As a workflow deploys: nobody is asked, and nobody is there to be asked.
    clone.with_local_azure("PULUMI_SKIP_CONFIRMATIONS=true pulumi up --suppress-outputs --stack local").ok()
    file = clone.path / "Pulumi.local.yaml"
    as_it_is_up = file.read_text()
    before = set(clone.path.rglob("scoring/models/**/*"))
    for name, story in STORIES.items():
        clone.edit(story.edit)
        story.change(clone)
        yield name, clone.with_local_azure(PREVIEW).out
        file.write_text(as_it_is_up)
        for new in set(clone.path.rglob("scoring/models/**/*")) - before:
            new.unlink()
    clone.make("down").ok()


def text_of(document: dict[str, Any]) -> str:
    """A line for each step, so that a change of one shows as one."""
    *rest, steps = [json.dumps({key: document[key]}, ensure_ascii=False)[1:-1] for key in sorted(document)]
    lines = ",\n".join(json.dumps(step, ensure_ascii=False, separators=(",", ":")) for step in document["steps"])
    assert steps.startswith('"steps"')
    return "{" + ",\n".join([*rest, '"steps": [\n' + lines]) + "\n]}\n"


def write(name: str, preview: str) -> None:
    """Keeps a preview and its summary."""
    kept = text_of(recorded(preview))
    (RECORDINGS / f"{name}.json").write_text(kept)
    (RECORDINGS / f"{name}.md").write_text(summary(previews.read(kept)))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, preview in previewed(copy_of_the_tree(Path(folder))):
            write(name, preview)
            print(f"recorded {STORIES[name].title}: {RECORDINGS / name}.md")


if __name__ == "__main__":
    main()
