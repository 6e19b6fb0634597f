"""A clone as a new user has it, and the commands that a user types into it."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from localazure.gateway import outer
from localazure.home import Home
from tests.end_to_end.janitor import processes_of

ROOT = Path(__file__).resolve().parents[2]
# What a shell must not hand down: an account of its user.
FOREIGN_PREFIXES = ("ARM_", "AZURE_", "IDENTITY_", "PULUMI_", "LOCALAZURE_", "MAKE", "MFLAGS")
PROJECT = "azureml-endpoints:"
PATIENCE = 900
LEAVES = 30.0  # seconds that what has lost its use may take to end
ML = """import os
from azure.ai.ml import MLClient
from azure.identity import DefaultAzureCredential
ml = MLClient(DefaultAzureCredential(), os.environ["ARM_SUBSCRIPTION_ID"], "rg-aml-local", "aml-local")
"""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str

    def ok(self) -> Done:
        """Itself, where it succeeded."""
        assert self.code == 0, self.out
        return self


@dataclass
class Clone:
    """A copy of the working tree with a state folder of its own, driven by `make`, `pulumi` and `localazure`."""

    path: Path

    @cached_property
    def environment(self) -> dict[str, str]:
        """What a plain shell has."""
        # A Local Azure that its user has evaluated is not handed down either, but the way to the package registries is.
        plain = outer.restored(os.environ)
        return {name: value for name, value in plain.items() if not name.startswith(FOREIGN_PREFIXES)}

    def run(self, *command: str, environment: Mapping[str, str] | None = None) -> Done:
        """Runs a command to its end, both of its streams in one text."""
        done = subprocess.run(
            command,
            cwd=self.path,
            env=dict(environment or self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
        )
        return Done(done.returncode, done.stdout)

    def begin(self, *command: str) -> subprocess.Popen[str]:
        """Starts a command in a process group of its own, as a terminal does."""
        return subprocess.Popen(
            command,
            cwd=self.path,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def make(self, target: str, *arguments: str) -> Done:
        """`make TARGET`."""
        return self.run("make", target, *arguments)

    def shell(self, line: str) -> Done:
        """A line pasted into a plain shell."""
        return self.run("bash", "-c", line)

    def with_local_azure(self, line: str) -> Done:
        """A line pasted after `eval "$(python -m localazure env)"`."""
        return self.shell(f'eval "$(.venv/bin/python -m localazure env)" && {line}')

    def python(self, script: str) -> Done:
        """A Python script of a user who works with Azure's own clients."""
        file = self.path / ".localazure" / "script.py"
        file.write_text(script)
        return self.with_local_azure(f".venv/bin/python {file}")

    def ml(self, script: str) -> Done:
        """A script of a user of azure-ai-ml; `ml` is their client of the stack's workspace."""
        return self.python(ML + script)

    # The stack ------------------------------------------------------------------------------------------------------

    def edit(self, change: Any, stack: str = "local") -> None:
        """Edits the stack configuration; `change` gets it, by its keys without the project's name, and changes it."""
        file = self.path / f"Pulumi.{stack}.yaml"
        content = yaml.safe_load(file.read_text())
        foreign = {name: value for name, value in content["config"].items() if not name.startswith(PROJECT)}
        own = {name.removeprefix(PROJECT): value for name, value in content["config"].items() if name not in foreign}
        change(own)
        content["config"] = foreign | {f"{PROJECT}{name}": value for name, value in own.items()}
        file.write_text(yaml.safe_dump(content, sort_keys=False))

    def traffic(self, **shares: int) -> None:
        """Edits the traffic of tumor-online."""

        def change(config: dict[str, Any]) -> None:
            config["onlineEndpoints"]["tumor-online"]["traffic"] = shares

        self.edit(change)

    def planned(self, stack: str = "local") -> list[tuple[str, str]]:
        """What a preview would do: the operation and the name of each resource that is not left as it is."""
        done = self.with_local_azure(f"pulumi preview --json --stack {stack} 2>/dev/null").ok()
        steps = json.loads(done.out[done.out.index("{") :])["steps"]
        changes = [(step["op"], step["urn"].rpartition("::")[2]) for step in steps]
        return [change for change in changes if change[0] not in ("same", "read", "refresh")]

    def outputs(self, stack: str = "local") -> dict[str, Any]:
        """The stack's outputs."""
        return json.loads(self.with_local_azure(f"pulumi stack output --json --stack {stack} 2>/dev/null").ok().out)

    # Local Azure ------------------------------------------------------------------------------------------------------

    @property
    def status(self) -> dict[str, Any]:
        """What Local Azure holds, by `python -m localazure status --json`."""
        return json.loads(self.shell(".venv/bin/python -m localazure status --json").ok().out)["azure"]

    def key(self, endpoint: str = "tumor-online") -> str:
        return self.shell(f".venv/bin/python -m localazure keys {endpoint}").ok().out.strip()

    def scorer(self, key: str | None = None) -> httpx.Client:
        """A client that goes where `localazure env` sends one, and brings a key."""
        lines = self.shell(".venv/bin/python -m localazure env").ok().out
        proxy, bundle = (re.search(rf"export {name}='?([^'\n]+)", lines) for name in ("HTTPS_PROXY", "SSL_CERT_FILE"))
        assert proxy is not None
        assert bundle is not None
        context = ssl.create_default_context(cafile=bundle.group(1))
        headers = {"Authorization": f"Bearer {key or self.key()}"}
        return httpx.Client(proxy=proxy.group(1), verify=context, headers=headers, trust_env=False, timeout=60)

    def mark(self) -> str:
        """What marks the processes of this clone's Local Azure; the folder is made where it is not there yet."""
        home = Home.at(self.path / ".localazure")
        home.create()
        return home.id

    def processes(self) -> list[psutil.Process]:
        """Every process that belongs to this clone, but the janitor."""
        return processes_of(self.path, self.mark())


def still_there(find: Callable[[], Collection[Any]]) -> Collection[Any]:
    """What is still found when it has had its time to go."""
    deadline = time.monotonic() + LEAVES
    while (found := find()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def copy_of_the_tree(target: Path) -> Clone:
    """What `git clone` would bring if the working tree were committed; the venv is shared."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    # With what Python has compiled in it: else each clone compiles Azure's clients anew.
    (target / ".venv").symlink_to(ROOT / ".venv")
    return Clone(target)


@pytest.fixture
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    made = copy_of_the_tree(tmp_path_factory.mktemp("clone"))
    janitor = [sys.executable, str(Path(__file__).with_name("janitor.py")), str(made.path), made.mark()]
    with subprocess.Popen(janitor, stdin=subprocess.PIPE, start_new_session=True):
        yield made
