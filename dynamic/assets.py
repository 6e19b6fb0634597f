"""Models, code and environments, registered by their content.

ARM takes URIs, not files, and azure-native refuses to create a version that exists, which going back to an older commit
asks for. So these are registered through azure-ai-ml, which uploads what is not there; a version that exists with the
same content is adopted. Nothing is deleted: a version may serve elsewhere, and going back to it must stay possible.
"""

import contextlib
import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pulumi
from pulumi.dynamic import CreateResult, Resource, UpdateResult

from dynamic.base import AzureProvider, NotYet, Pace, Props, Refusal
from dynamic.content import content_hash, environment_hash, model_hash

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

HASH_TAG = "contentHash"


# What a storage account answers (403) to whom it does not let in, and what can be done about it.
NO_ENTRY = {
    "AuthorizationFailure": "It takes no requests from here: deploy from a machine in the network of the workspace.",
    "AuthorizationPermissionMismatch": (
        "Whoever deploys needs Storage Blob Data Contributor there: name them in security.deployers; if they have it "
        "since a moment ago, run pulumi up again."
    ),
    "KeyBasedAuthenticationNotPermitted": (
        "It takes no keys, and the workspace's datastores use them: set security.keyless, or let the account take keys."
    ),
}


def _way_in(error: BaseException | None) -> str | None:
    """What can be done about a 403 of the storage account, which azure-ai-ml raises as it is or wraps."""
    while error:
        if way_out := NO_ENTRY.get(getattr(error, "error_code", None) or ""):
            return way_out
        error = error.__cause__
    return None


def register_model(client: "MLClient", props: Props) -> str:
    """Registers a model version, or adopts it, and returns its ARM id. Raises `Refusal`."""
    from azure.ai.ml.entities import Model

    found = _existing(client.models, props)
    if found is None:
        _check_content(props, model_hash(Path(props["path"]), props["type"]), props["path"])
        model = Model(
            name=props["name"],
            version=props["version"],
            type=props["type"],
            path=Path(props["path"]).resolve(),
            tags={HASH_TAG: props["contentHash"]},
        )
        found = client.models.create_or_update(model)
    return str(found.id)


def register_environment(client: "MLClient", props: Props) -> str:
    """Registers an environment version, or adopts it, and returns its ARM id. Raises `Refusal`."""
    from azure.ai.ml.entities import BuildContext, Environment

    found = _existing(client.environments, props)
    if found is None:
        context, conda_file = props.get("buildContext"), props.get("condaFile")
        now = environment_hash(props.get("image"), conda_file, context, props.get("dockerfile"))
        _check_content(props, now, conda_file or context or "")
        build = (
            BuildContext(path=str(Path(context).resolve()), dockerfile_path=props["dockerfile"]) if context else None
        )
        environment = Environment(
            name=props["name"],
            version=props["version"],
            image=props.get("image"),
            conda_file=str(Path(conda_file).resolve()) if conda_file else None,
            build=build,
            tags={HASH_TAG: props["contentHash"]},
        )
        found = client.environments.create_or_update(environment)
    return str(found.id)


def register_code(client: "MLClient", props: Props) -> str:
    """Registers a code version and returns its ARM id; azure-ai-ml itself adopts the same content, under any name."""
    from azure.ai.ml.entities._assets import Code

    _check_content(props, content_hash(Path(props["path"])), props["path"])
    code = Code(name=props["name"], version=props["version"], path=str(Path(props["path"]).resolve()))
    # azure-ai-ml has no public client for code; deployments that are made with it take this way too.
    return str(client._code.create_or_update(code).id)


def _existing(operations: Any, props: Props) -> Any:
    from azure.core.exceptions import ResourceNotFoundError

    try:
        found = operations.get(name=props["name"], version=props["version"])
    except ResourceNotFoundError:
        return None
    tag = (found.tags or {}).get(HASH_TAG)
    if tag != props["contentHash"]:
        # The version is 31 bits of the hash, so another content can meet it, and so can a version made by hand.
        raise Refusal(
            f"{props['name']}:{props['version']} is registered with other content ({HASH_TAG}: {tag or 'none'}, "
            f"wanted {props['contentHash']}); give this one another name in the stack configuration."
        )
    return found


def _check_content(props: Props, now: str, path: str) -> None:
    """What is uploaded must be what the preview showed and the version says."""
    if now != props["contentHash"]:
        raise Refusal(f'"{path}" has changed since the program read it; run pulumi up again.')


def undisturbed(register: Callable[[], str], pace: Pace) -> str:
    """Registers, again and again while another `pulumi up` is uploading the same content to the same place.

    Raises `Refusal` where the storage account lets nobody in from here, or not whoever deploys.
    """
    from azure.core.exceptions import ResourceExistsError

    made: list[str] = []

    def done() -> bool:
        try:
            made.append(register())
        except ResourceExistsError as error:
            raise NotYet(error.message) from error
        except Exception as error:
            if way_out := _way_in(error):
                raise Refusal(f"the workspace's storage account refuses the upload. {way_out}") from None
            raise
        return True

    pace.until(done, "the same content is being uploaded by somebody else, and is not there")
    return made[0]


class AssetProvider(AzureProvider):
    """Registers on creation and whenever name, version or content change, or the workspace is another.

    `workspaceId` is the GUID that a workspace gets when it is made: one that was deleted and made again under its old
    name has lost its assets.
    """

    compared = ("subscriptionId", "resourceGroupName", "workspaceName", "workspaceId", "name", "version", "contentHash")
    # Two deployments often run the same content, which azure-ai-ml uploads to one place and not twice at a time.
    uploading: ClassVar[threading.Lock] = threading.Lock()

    def register(self, props: Props) -> str:
        """Returns the ARM id of the version."""
        raise NotImplementedError

    def uploader(self, props: Props) -> "MLClient":
        """A client whose uploads fail when they fail: without progress, azure-ai-ml would wait for them for ever."""
        return self.ml_client(props, show_progress=True)

    def create(self, props: Props) -> CreateResult:
        return CreateResult(props["name"], {**props, "assetId": self.register_alone(props)})

    def update(self, _id: str, _olds: Props, _news: Props) -> UpdateResult:
        return UpdateResult({**_news, "assetId": self.register_alone(_news)})

    def register_alone(self, props: Props) -> str:
        """Registers while nobody else in this process does, and without a word on standard error."""
        with self.uploading, contextlib.redirect_stderr(io.StringIO()):
            return undisturbed(lambda: self.register(props), Pace())


class ModelProvider(AssetProvider):
    """Registers model versions."""

    def register(self, props: Props) -> str:
        return register_model(self.uploader(props), props)


class CodeProvider(AssetProvider):
    """Registers code versions."""

    def register(self, props: Props) -> str:
        return register_code(self.uploader(props), props)


class EnvironmentProvider(AssetProvider):
    """Registers environment versions."""

    def register(self, props: Props) -> str:
        return register_environment(self.uploader(props), props)


class _Asset(Resource):
    # A dynamic resource's outputs are attributes under their own names.
    assetId: pulumi.Output[str]

    def __init__(self, provider: AssetProvider, name: str, inputs: Props, opts: pulumi.ResourceOptions | None) -> None:
        super().__init__(provider, name, {**inputs, "assetId": None}, opts)

    @property
    def asset_id(self) -> pulumi.Output[str]:
        """The ARM id of the version."""
        return self.assetId


class Model(_Asset, module="azureml", name="Model"):
    """A model at the version of its content."""

    def __init__(self, name: str, *, inputs: Props, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(ModelProvider(), name, inputs, opts)


class Code(_Asset, module="azureml", name="Code"):
    """A folder with a scoring script at the version of its content."""

    def __init__(self, name: str, *, inputs: Props, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(CodeProvider(), name, inputs, opts)


class Environment(_Asset, module="azureml", name="Environment"):
    """An environment at the version of its content."""

    def __init__(self, name: str, *, inputs: Props, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(EnvironmentProvider(), name, inputs, opts)
