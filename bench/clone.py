"""A clone to measure in: a copy of the working tree with a state folder of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx


@dataclass(frozen=True)
class Clone:
    """Driven by `make` and `python -m localazure`, as its user does it."""

    path: Path
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    """What its commands find set."""

    def make(self, target: str, variables: Mapping[str, str] | None = None) -> None:
        """`make TARGET`. Raises RuntimeError with what it printed."""
        self.run("make", target, variables=variables)

    def run(self, *command: str, cwd: Path | None = None, variables: Mapping[str, str] | None = None) -> str:
        """A command's standard output. Raises RuntimeError with all that it printed."""
        cache = self.environment.get("AZUREML_ENDPOINTS_CACHE") or str(Path.home() / ".cache/azureml-endpoints")
        path = os.pathsep.join([str(self.path / ".venv/bin"), f"{cache}/bin", self.environment["PATH"]])
        environment = {**self.environment, "PATH": path, **(variables or {})}
        done = subprocess.run(
            command, cwd=cwd or self.path, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
        return done.stdout

    def localazure(self, *arguments: str) -> str:
        """`python -m localazure …`."""
        return self.run(str(self.path / ".venv/bin/python"), "-m", "localazure", *arguments)

    def status(self) -> dict[str, Any]:
        """What Local Azure holds, by `status --json`."""
        return json.loads(self.localazure("status", "--json"))["azure"]

    def replace(self, old: str, new: str) -> None:
        """Edits the stack configuration."""
        file = self.path / "Pulumi.local.yaml"
        file.write_text(file.read_text().replace(old, new))

    def post(
        self, url: str, body: bytes, count: int, *, headers: Mapping[str, str] | None = None, proxied: bool = False
    ) -> list[float]:
        """The seconds that each of `count` requests takes, one after another on a kept connection."""
        seconds = []
        with self._client(proxied) as client:
            sent = {"Content-Type": "application/json", **(headers or {})}
            for _ in range(count):
                began = time.perf_counter()
                client.post(url, content=body, headers=sent).raise_for_status()
                seconds.append(time.perf_counter() - began)
        return seconds

    def _client(self, proxied: bool) -> httpx.Client:
        if not proxied:
            return httpx.Client(trust_env=False, timeout=60)
        lines = self.localazure("env")
        proxy, bundle = (
            re.findall(rf"export {name}='?([^'\n]+)", lines)[0] for name in ("HTTPS_PROXY", "SSL_CERT_FILE")
        )
        key = self.localazure("keys", "tumor-online").strip()
        verified = ssl.create_default_context(cafile=bundle)
        return httpx.Client(
            proxy=proxy, verify=verified, trust_env=False, timeout=60, headers={"Authorization": f"Bearer {key}"}
        )

    def end(self) -> None:
        """Stops what runs in it."""
        if (self.path / ".venv").exists():
            self.localazure("stop")


def copy_of_the_tree(root: Path, target: Path) -> Clone:
    """What `git clone` would bring if the working tree were committed."""
    listing = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(listing, cwd=root, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target / name)
    return Clone(target)
