"""`pulumi up` of the program in this process: Pulumi's mocks for the engine, Local Azure's control plane behind.

What an azure-native resource becomes is what Local Azure's plugin makes of it: its checks, its requests, its errors.
Dynamic resources, whose providers go through azure-ai-ml, send the requests that it would send. What takes processes
(inference servers, blobs) is recorded only.
"""

from __future__ import annotations

import json
import runpy
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime import config as runtime_config
from pulumi.runtime import mocks

import settings
from localazure.providers.ml import sizes
from localazure.pulumi_plugin import check
from localazure.pulumi_plugin.arm import Access, Arm, Tokens, Waits
from localazure.pulumi_plugin.convert import Converter
from localazure.pulumi_plugin.errors import PluginError
from localazure.pulumi_plugin.lifecycle import Lifecycle
from localazure.pulumi_plugin.shapes import Catalogue
from localazure.settings import Settings as LocalAzureSettings
from tests.localazure.providers.conftest import HEADERS, Cloud, FakeServing, booted, put_on_disk

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "azureml-endpoints"
API = "2024-04-01"
DYNAMIC = "pulumi-python:dynamic/azureml:"
# No quota that a configuration could exceed: how much there is only Azure knows.
ENDLESS = 10**9
TOTALS = (sizes.TOTAL_CLUSTERS, sizes.TOTAL_DEDICATED, sizes.TOTAL_LOW_PRIORITY)
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


@dataclass(frozen=True)
class Outcome:
    """How an update ended: what the settings refused, or what came out of everything else."""

    findings: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    created: tuple[str, ...] = ()


class Nobody(mocks.Mocks):
    """An engine that nothing may be asked of."""

    def call(self, args: mocks.MockCallArgs) -> Any:
        raise AssertionError(f"the settings asked for {args.token}")

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        raise AssertionError(f"the settings made {args.name}")


class LocalTokens(Tokens):
    """Tokens of whom the tests' Local Azure knows."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def get(self, resource: str = "https://management.azure.com/") -> str:
        return self._cloud.token

    def close(self) -> None:
        return


def connected(cloud: Cloud, catalogue: Catalogue) -> Lifecycle:
    """The plugin's lifecycle, with that Local Azure."""
    tokens = LocalTokens(cloud)
    arm = Arm(Access(str(cloud.client.base_url), "", "", None, None), tokens, waits=Waits(poll=0.002, retry=0.01))
    arm._http.headers.update(HEADERS)
    return Lifecycle(catalogue, arm, tokens, cloud.subscription)


class Update(mocks.Mocks):
    """Makes resources as the engine, the plugin and the dynamic providers do."""

    def __init__(self, catalogue: Catalogue, lifecycle: Lifecycle) -> None:
        self._catalogue, self._converter, self._lifecycle = catalogue, Converter(catalogue), lifecycle
        self.failures: list[str] = []
        self.created: list[str] = []

    def call(self, args: mocks.MockCallArgs) -> Any:
        return self._lifecycle.invoke(args.token, args.args)

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        try:
            made = self._make(args)
        except PluginError as error:
            self.failures.append(f"{args.typ} {args.name}: {error}")
            raise
        self.created.append(args.name)
        return made

    def _make(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        inputs = json.loads(json.dumps(args.inputs, default=str))
        if args.typ.startswith("azure-native:"):
            return self._native(args.typ, args.name, inputs)
        if args.typ.startswith(DYNAMIC):
            return f"{args.name}-id", self._dynamic(args.typ.removeprefix(DYNAMIC), inputs)
        return "", inputs

    def _native(self, token: str, name: str, inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        shape = self._catalogue.resource(token)
        assert shape, token
        whole = check.with_defaults(
            shape, inputs, {}, check.Naming(name), lambda: self._lifecycle.default_location(inputs)
        )
        if reasons := check.failures(shape, whole, self._converter):
            raise PluginError("; ".join(reasons))
        state = self._lifecycle.create(shape, whole)
        return state.id, state.outputs

    def _dynamic(self, kind: str, inputs: dict[str, Any]) -> dict[str, Any]:
        match kind:
            case "Model" | "Code" | "Environment":
                return {**inputs, "assetId": self._register(kind, inputs)}
            case "TrafficSplit":
                shares = {"traffic": inputs["traffic"], "mirrorTraffic": inputs["mirrorTraffic"]}
                self._rewrite(f"{_workspace(inputs)}/onlineEndpoints/{inputs['endpointName']}", shares)
            case "DefaultDeployment":
                named = {"defaults": {"deploymentName": inputs["deploymentName"]}}
                self._rewrite(f"{_workspace(inputs)}/batchEndpoints/{inputs['endpointName']}", named)
            case "StartingCapacity":
                return {**inputs, "startingCount": inputs["instanceCount"]}
        return inputs

    def _register(self, kind: str, inputs: dict[str, Any]) -> str:
        id_ = f"{_workspace(inputs)}/{kind.lower()}s/{inputs['name']}/versions/{inputs['version']}"
        uri = "azureml://datastores/workspaceblobstore/paths/LocalUpload/x/files"
        properties: dict[str, Any] = {
            "Model": lambda: {"modelUri": uri, "modelType": inputs["type"]},
            "Code": lambda: {"codeUri": uri, "properties": {"hash_sha256": inputs["contentHash"]}},
            "Environment": lambda: _environment(inputs),
        }[kind]()
        arm = self._lifecycle._arm
        arm.put(id_, {"properties": properties}, {"api-version": API}, long=False)
        return id_

    def _rewrite(self, id_: str, properties: Mapping[str, Any]) -> None:
        arm = self._lifecycle._arm
        found = arm.get(id_, API)
        body = {**found, "properties": {**found["properties"], **properties}}
        arm.put(id_, body, {"api-version": API}, long=True)


def _workspace(inputs: Mapping[str, Any]) -> str:
    group = f"/subscriptions/{inputs['subscriptionId']}/resourceGroups/{inputs['resourceGroupName']}"
    return f"{group}/providers/Microsoft.MachineLearningServices/workspaces/{inputs['workspaceName']}"


def _environment(inputs: Mapping[str, Any]) -> dict[str, Any]:
    if inputs.get("buildContext"):
        return {"build": {"contextUri": "https://example.invalid/c", "dockerfilePath": inputs["dockerfile"]}}
    conda = inputs.get("condaFile")
    return {"image": inputs["image"]} | ({"condaFile": Path(conda).read_text()} if conda else {})


class Ground:
    """One place for many updates, each on a Local Azure of its own, in the repository's folder.

    Args:
        prepare: makes what configurations name as being there already.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Cloud], None]) -> None:
        self._catalogue, self._monkeypatch, self._prepare = Catalogue.load(), monkeypatch, prepare
        monkeypatch.chdir(ROOT)
        monkeypatch.delenv("ARM_SUBSCRIPTION_ID", raising=False)
        runtime_config.set_all_config({})

    def up(self, config: Mapping[str, Any]) -> Outcome:
        """Runs the program with that configuration of a stack file."""
        told = {key if ":" in key else f"{PROJECT}:{key}": value for key, value in config.items()}
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in told.items()}
        self._monkeypatch.setenv("PULUMI_CONFIG", json.dumps(texts))
        return self._refused() or self._carried_out()

    def _refused(self) -> Outcome | None:
        """The program asks its settings before anything else, and so does this: most mutations end here."""
        mocks.set_mocks(Nobody(), project=PROJECT, stack="local", preview=False)
        try:
            settings.load()
        except settings.SettingsError as error:
            return Outcome(findings=tuple(error.findings))
        return None

    def _carried_out(self) -> Outcome:
        families = dict.fromkeys([*sizes.FAMILIES.values(), *TOTALS], ENDLESS)
        endless = LocalAzureSettings(default_quota=ENDLESS, quota=families)
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder, pytest.MonkeyPatch.context() as disk:
            put_on_disk(disk, Path(folder))
            with booted(Path(folder) / "home", FakeServing(), endless) as cloud:
                self._prepare(cloud)
                return self._run(connected(cloud, self._catalogue))

    def _run(self, lifecycle: Lifecycle) -> Outcome:
        update = Update(self._catalogue, lifecycle)
        mocks.set_mocks(update, project=PROJECT, stack="local", preview=False)
        failures: list[str] = []
        try:
            pulumi.runtime.test(lambda: runpy.run_path("__main__.py") and None)()
        except Exception as error:
            failures = [f"{type(error).__name__}: {error}"]
        return Outcome(failures=tuple(update.failures or failures), created=tuple(update.created))
