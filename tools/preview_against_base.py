"""A pull request's preview without an account of Azure: `python -m tools.preview_against_base --base origin/main`.

The stack as the base branch has it is brought up on a Local Azure of its own, and then previewed with the program and
the configuration of this clone, as they are. Nothing of it stays: neither processes nor state, nor in the clone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from localazure.pulumi_plugin.install import install as install_plugin
from tools import recovery, stack_files, up
from tools.preview_report import Report, no_preview, report, write

Environment = Mapping[str, str]

# Local Azure's own, as in Pulumi.local.yaml: whose the resources are in Azure counts for nothing here.
ACCOUNT = {
    "azure-native:subscriptionId": recovery.LOCAL_SUBSCRIPTION,
    "azure-native:tenantId": "10ca1a2e-0000-4000-8000-0000000000aa",
    "azure-native:metadataHost": "localazure.invalid",
}
LOCATION = "azure-native:location"
REMARK = "*Previewed on Local Azure, where the base branch was brought up first: Azure itself has not been asked.*"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="origin/main", help="the branch or commit that the pull request goes into")
    parser.add_argument("--stack", default=up.LOCAL)
    parser.add_argument("--output", type=Path, help="the file to write; without it, standard output")
    options = parser.parse_args(arguments)
    try:
        made = against_base(options.base, options.stack)
    except (up.UpError, recovery.RecoveryError) as error:
        made = no_preview(options.stack, error)
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        return up.INTERRUPTED
    write(made, options.output)
    return 0 if made.ok else 1


def against_base(base: str, stack: str) -> Report:
    """Previews the stack of this clone against what `base` has brought up. Raises `UpError`."""
    with _scratch() as folder, _local_azure(folder / "azure") as environment:
        stage = Stage(folder, stack, environment)
        with _worktree(merge_base(base), folder / "base") as tree:
            stage.bring_up(tree)
        made = report(stack, environment, configuration=stage.configuration(up.ROOT))
        return replace(made, text=f"{made.text}\n{REMARK}\n")


@dataclass(frozen=True)
class Stage:
    """A stack on a Local Azure of its own; `folder` is where its configurations are written."""

    folder: Path
    stack: str
    environment: Environment

    def bring_up(self, tree: Path) -> None:
        """Brings up the stack as a tree has it; none, where the tree has no such stack yet. Raises `UpError`."""
        up.create(self.stack, self.environment, self.folder / "stack")
        if not (tree / f"Pulumi.{self.stack}.yaml").exists():
            return
        _say(f"bringing up {self.stack} as the base branch has it, on Local Azure")
        provide_venv(tree)
        # What the service adds to what was just made is no part of the pull request: the refresh takes it in.
        for action in ("up", "refresh"):
            self._run(action, tree)

    def _run(self, action: str, tree: Path) -> None:
        path = f"{tree / '.venv' / 'bin'}{os.pathsep}{self.environment['PATH']}"
        command = ["pulumi", action, "--yes", "--skip-preview", "--suppress-outputs", "--stack", self.stack]
        configuration = ["--config-file", str(self.configuration(tree))]
        done = subprocess.run(
            [*command, *configuration], cwd=tree, env={**self.environment, "PATH": path}, capture_output=True, text=True
        )
        if done.returncode:
            raise up.UpError(
                f"stack {self.stack} of the base branch does not come up on Local Azure, so that there is nothing to "
                f"compare with.\n\n{_tail(done.stdout + done.stderr)}"
            )

    def configuration(self, tree: Path) -> Path:
        """A tree's configuration of the stack, for Local Azure. Raises `UpError`."""
        source = tree / f"Pulumi.{self.stack}.yaml"
        if not source.is_file():
            raise up.UpError(f"there is no {source.name}: name a stack that has one, with --stack.")
        made = stack_files.read(self.folder / "stack" / source.name)
        written = self.folder / f"{tree.name}.{source.name}"
        return stack_files.write(written, for_local_azure(stack_files.read(source), made))


def for_local_azure(stack: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """A stack file with Local Azure's account. `made` is the file that the CLI wrote for the stack here."""
    ours = stack_files.encrypted_as(stack, made)
    config = ours["config"]
    kept = {key: value for key, value in config.items() if not key.startswith("azure-native:") or key == LOCATION}
    # Nobody has to wait for roles here.
    return {**ours, "config": kept | ACCOUNT | {"azureml-endpoints:roleAssignmentSeconds": 0}}


# the base branch


def merge_base(base: str) -> str:
    """The commit from which the clone and the base branch went apart. Raises `UpError`."""
    found = subprocess.run(["git", "merge-base", base, "HEAD"], cwd=up.ROOT, capture_output=True, text=True)
    if found.returncode:
        raise up.UpError(
            f"--base {base}: {found.stderr.strip() or 'it has nothing in common with HEAD'}; fetch it with its history "
            "(git fetch --unshallow), or name another."
        )
    return found.stdout.strip()


@contextmanager
def _worktree(commit: str, folder: Path) -> Iterator[Path]:
    up.answer(["git", "worktree", "add", "--detach", "--quiet", str(folder), commit], os.environ)
    try:
        yield folder
    finally:
        up.answer(["git", "worktree", "remove", "--force", str(folder)], os.environ)


def provide_venv(tree: Path) -> None:
    """The packages of a tree: this clone's own where both ask for the same ones. Raises `UpError`."""
    if (tree / "requirements.lock").read_bytes() == (up.ROOT / "requirements.lock").read_bytes():
        (tree / ".venv").symlink_to(up.ROOT / ".venv")
    else:
        _say("installing the packages of the base branch, which are others")
        up.answer([sys.executable, "-m", "tools.setup"], os.environ, folder=tree)


# Local Azure


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="against-base-") as folder:
        yield Path(folder).resolve()


@contextmanager
def _local_azure(home: Path) -> Iterator[Environment]:
    try:
        # Standard output is the report's.
        with redirect_stdout(sys.stderr):
            environment = up.local_azure(up.tools_environment(os.environ), home)
        install_plugin(Path(environment["PULUMI_HOME"]))
        yield environment
        recovery.end_orphans(environment)
    finally:
        command = [sys.executable, "-m", "localazure", "stop", "--home", str(home)]
        subprocess.run(command, cwd=up.ROOT, stdout=subprocess.DEVNULL, check=False)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-30:])


if __name__ == "__main__":
    sys.exit(main())
