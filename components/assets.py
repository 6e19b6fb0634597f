"""What a deployment runs: its model, code and environment, versioned by content."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
from pulumi_azure_native import machinelearningservices as ml

from components.workspace import MLWorkspace
from dynamic.assets import Code, Environment, Model
from dynamic.content import content_hash, environment_hash, model_hash, version_of
from settings import DeploymentSettings, EnvironmentSettings


@dataclass(frozen=True)
class Asset:
    """The identity of an asset, known before it is registered: what a preview shows and a revision is made of."""

    name: str
    version: str
    content: str

    @classmethod
    def of(cls, name: str, content: str) -> "Asset":
        """An asset at the version that its content gives it."""
        return cls(name, version_of(content), content)

    def inputs(self) -> dict[str, str]:
        """The identity as a dynamic resource takes it."""
        return {"name": self.name, "version": self.version, "contentHash": self.content}


class DeploymentAssets(pulumi.ComponentResource):
    """Registers what a deployment runs, or finds it where it is registered already.

    `identity` is plain data: names, versions and content hashes; `model_id`, `code_id`, `environment_id` are ARM ids.

    ```python
    assets = DeploymentAssets("tumor-online-blue", settings=settings.deployments["blue"], workspace=workspace)
    ```
    """

    model_id: pulumi.Output[str]
    code_id: pulumi.Output[str] | None = None
    environment_id: pulumi.Output[str] | None = None

    def __init__(
        self,
        name: str,
        *,
        settings: DeploymentSettings,
        workspace: MLWorkspace,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("azureml-endpoints:index:DeploymentAssets", name, None, opts)
        self._prefix, self._workspace = name, workspace
        self.identity: dict[str, Any] = {"model": self._model(settings)}
        if settings.code:
            self.identity["code"] = self._code(settings)
        if settings.environment:
            self.identity["environment"] = self._environment(settings.environment)
        self.register_outputs({"modelId": self.model_id})

    def _model(self, settings: DeploymentSettings) -> Any:
        model = settings.model
        if model.reference:
            reference = resolve(model.reference, "models", self._workspace)
            self.model_id = self._workspace.asset_id(reference)
            return reference
        asset = Asset.of(model.name or self._prefix, model_hash(Path(str(model.path)), model.type))
        inputs = self._inputs(asset, path=model.path, type=model.type)
        self.model_id = Model(f"{self._prefix}-model", inputs=inputs, opts=self._kept()).asset_id
        return asset.inputs()

    def _code(self, settings: DeploymentSettings) -> Any:
        assert settings.code
        asset = Asset.of(self._prefix, content_hash(Path(settings.code.path)))
        inputs = self._inputs(asset, path=settings.code.path)
        self.code_id = Code(f"{self._prefix}-code", inputs=inputs, opts=self._kept()).asset_id
        return [asset.inputs(), settings.code.script]

    def _environment(self, settings: EnvironmentSettings) -> Any:
        if settings.reference:
            reference = resolve(settings.reference, "environments", self._workspace)
            self.environment_id = self._workspace.asset_id(reference)
            return reference
        image, conda_file, build_context = settings.image, settings.conda_file, settings.build_context
        dockerfile = settings.dockerfile if build_context else None
        content = environment_hash(image, conda_file, build_context, dockerfile)
        asset = Asset.of(settings.name or self._prefix, content)
        sources = {"image": image, "condaFile": conda_file, "buildContext": build_context, "dockerfile": dockerfile}
        inputs = self._inputs(asset, **sources)
        self.environment_id = Environment(f"{self._prefix}-environment", inputs=inputs, opts=self._kept()).asset_id
        return asset.inputs()

    def _inputs(self, asset: Asset, **sources: str | None) -> dict[str, Any]:
        return {**self._workspace.address, "workspaceId": self._workspace.guid, **asset.inputs(), **sources}

    def _kept(self) -> pulumi.ResourceOptions:
        # A version may serve elsewhere, and going back to it must stay possible.
        return pulumi.ResourceOptions(parent=self, retain_on_delete=True, depends_on=self._workspace.ready)


def resolve(reference: str, kind: str, workspace: MLWorkspace) -> str:
    """Turns a reference of the configuration into `<kind>/<name>/versions/<version>`, or one into a registry.

    `@latest` is looked up now: a revision must say which version it runs.
    """
    if reference.startswith("azureml://registries/"):
        return reference
    name, version = re.split("[:@]", reference.removeprefix("azureml:"))
    if version == "latest":
        version = _latest(kind, name, workspace)
    return f"{kind}/{name}/versions/{version}"


def _latest(kind: str, name: str, workspace: MLWorkspace) -> str:
    look_up = {"models": ml.get_model_container, "environments": ml.get_environment_container}[kind]
    reference = f"azureml:{name}@latest"
    try:
        found = look_up(name=name, resource_group_name=workspace.group_name, workspace_name=workspace.workspace_name)
    except Exception as error:
        # Pulumi raises plain exceptions here.
        raise pulumi.RunError(f"{reference}: cannot be looked up: {error}; register it, or name a version.") from None
    latest = found.properties.latest_version
    if not latest:
        raise pulumi.RunError(f"{reference}: {kind} {name} has no version; register it, or name a version.")
    return str(latest)
