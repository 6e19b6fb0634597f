"""Layer: registration of assets and removals, against a fake of azure-ai-ml."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import StorageErrorCode
from pulumi.output import Unknown

from dynamic.assets import (
    AssetProvider,
    ModelProvider,
    register_code,
    register_environment,
    register_model,
    undisturbed,
)
from dynamic.base import Pace, Refusal
from dynamic.content import content_hash, environment_hash, model_hash, version_of
from dynamic.purge import (
    ClusterRemovalProvider,
    OutboundRuleRemovalProvider,
    VaultPurgeProvider,
    WorkspacePurgeProvider,
    purge_vault,
    remove_cluster,
    remove_deployment,
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZUREML_ENDPOINTS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "model.pkl"
    path.write_text("weights")
    digest = model_hash(path, "custom_model")
    return {
        "name": "tumor",
        "version": version_of(digest),
        "contentHash": digest,
        "path": str(path),
        "type": "custom_model",
    }


def test_a_model_is_registered_with_its_whole_hash(client: Any, model: dict[str, Any]) -> None:
    assert register_model(client, model) == f"/assets/tumor/versions/{model['version']}"
    (registered,) = client.models.registered
    assert registered.tags == {"contentHash": model["contentHash"]}
    assert Path(registered.path).is_absolute()


def test_an_identical_version_is_adopted_without_an_upload(client: Any, model: dict[str, Any]) -> None:
    register_model(client, model)
    Path(model["path"]).unlink()
    assert register_model(client, model).endswith(model["version"]), "going back to an older commit needs no file twice"
    assert len(client.models.registered) == 1


def test_a_version_with_other_content_is_refused(client: Any, model: dict[str, Any]) -> None:
    client.models.versions["tumor", model["version"]] = SimpleNamespace(id="x", tags={"contentHash": "other"})
    with pytest.raises(Refusal, match=r"is registered with other content \(contentHash: other.*another name"):
        register_model(client, model)


def test_a_model_of_another_type_or_file_name_than_the_version_says_is_refused(
    client: Any, model: dict[str, Any]
) -> None:
    with pytest.raises(Refusal, match="has changed since the program read it"):
        register_model(client, {**model, "type": "mlflow_model"})
    renamed = Path(model["path"]).rename(Path(model["path"]).with_name("tumor.pkl"))
    with pytest.raises(Refusal, match="has changed since the program read it"):
        register_model(client, {**model, "path": str(renamed)})


def test_a_file_that_changed_since_the_preview_is_refused(client: Any, model: dict[str, Any]) -> None:
    Path(model["path"]).write_text("other weights")
    with pytest.raises(Refusal, match="has changed since the program read it"):
        register_model(client, model)
    assert not client.models.registered


def test_an_environment_is_an_image_with_a_conda_file_or_a_build_context(client: Any, tmp_path: Path) -> None:
    conda, context = tmp_path / "conda.yaml", tmp_path / "context"
    conda.write_text("dependencies: [python=3.11]")
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch")
    for sources in (
        {"image": "image", "condaFile": str(conda)},
        {"buildContext": str(context), "dockerfile": "Dockerfile"},
    ):
        parts = (sources.get(key) for key in ("image", "condaFile", "buildContext", "dockerfile"))
        digest = environment_hash(*parts)
        props = {"name": "env", "version": version_of(digest), "contentHash": digest, **sources}
        assert register_environment(client, props).endswith(version_of(digest))
    first, second = client.environments.registered
    assert (first.image, second.build.dockerfile_path) == ("image", "Dockerfile")


def test_code_is_registered_under_its_version(client: Any, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/score.py").write_text("x")
    digest = content_hash(tmp_path / "code")
    props = {"name": "c", "version": version_of(digest), "contentHash": digest, "path": str(tmp_path / "code")}
    assert register_code(client, props).endswith(props["version"])


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        ({}, False),
        ({"path": "elsewhere"}, False),
        ({"__provider": "another pickle"}, False),
        ({"version": "8", "contentHash": "b"}, True),
        ({"workspaceId": "another guid"}, True),
        ({"workspaceId": Unknown()}, False),
    ],
)
def test_an_asset_changes_with_its_content_or_its_workspace(change: dict[str, Any], changes: bool) -> None:
    olds = {"name": "m", "version": "7", "contentHash": "a", "workspaceId": "guid", "path": "here", "assetId": "x"}
    result = ModelProvider().diff("id", olds, {**olds, **change})
    assert (result.changes, result.replaces) == (changes, [])


def test_a_deployment_is_removed_when_its_endpoint_is_no_longer_busy(client: Any, pace: Pace, refusal: Any) -> None:
    busy = "Cannot delete a deployment in endpoint e because it is in Updating provisioning state."
    client.online_deployments.refusals = [refusal(409, busy), refusal(400, busy)]
    remove_deployment(client, "online", "e", "blue-1", pace)
    assert client.online_deployments.deleted == ["blue-1"]


def test_a_removal_that_is_refused_for_another_reason_fails(client: Any, pace: Pace, refusal: Any) -> None:
    client.batch_deployments.refusals = [refusal(400, "deployment has traffic")]
    with pytest.raises(Exception, match="has traffic"):
        remove_deployment(client, "batch", "b", "mlflow-1", pace)


@pytest.mark.parametrize(
    ("change", "replaced"),
    [
        ({"name": "cpu-b"}, ["name"]),
        ({"workspaceName": "another"}, ["workspaceName"]),
        ({"workspaceName": Unknown()}, []),
        ({"action": "Detach", "__provider": "another pickle"}, []),
    ],
)
def test_the_removal_of_a_cluster_that_is_renamed_is_replaced_and_so_removes_the_old_one(
    change: dict[str, Any], replaced: list[str], client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {"subscriptionId": "s", "resourceGroupName": "rg", "workspaceName": "w", "name": "cpu-a"}
    provider, removed = ClusterRemovalProvider(), []
    monkeypatch.setattr(provider, "ml_client", lambda props: client)
    monkeypatch.setattr("dynamic.purge.remove_cluster", lambda _client, name, action: removed.append((name, action)))
    result = provider.diff("id", old, {**old, **change})
    assert (result.changes, result.replaces) == (bool(replaced), replaced)
    assert not result.delete_before_replace, "what runs on the old cluster goes first"
    provider.delete("id", old)
    assert removed == [("cpu-a", "Delete")]


def test_what_is_gone_already_is_removed(client: Any, pace: Pace) -> None:
    client.online_deployments.refusals = [ResourceNotFoundError("gone")]
    remove_deployment(client, "online", "e", "blue-1", pace)

    def gone(name: str, action: str) -> Any:
        assert action == "Delete", "else Azure would only detach the cluster, or refuse"
        raise ResourceNotFoundError("gone")

    remove_cluster(SimpleNamespace(compute=SimpleNamespace(begin_delete=gone)), "aml-cluster")  # type: ignore[arg-type]


@pytest.mark.parametrize(("props", "action"), [({}, "Delete"), ({"action": "Detach"}, "Detach")])
def test_a_cluster_is_deleted_and_an_attached_one_is_detached(
    props: dict[str, Any], action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def begin_delete(name: str, action: str) -> Any:
        asked.append((name, action))
        return SimpleNamespace(result=lambda: None)

    client = SimpleNamespace(compute=SimpleNamespace(begin_delete=begin_delete))
    monkeypatch.setattr(ClusterRemovalProvider, "ml_client", lambda self, props: client)
    ClusterRemovalProvider().delete("id", {"name": "aks", **props})
    assert asked == [("aks", action)]


@pytest.mark.parametrize("gone", [False, True])
def test_an_outbound_rule_is_removed_and_one_that_is_gone_is_fine(gone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def begin_remove(workspace: str, name: str) -> Any:
        asked.append((workspace, name))
        if gone:
            raise ResourceNotFoundError("gone")
        return SimpleNamespace(result=lambda: None)

    client = SimpleNamespace(workspace_outbound_rules=SimpleNamespace(begin_remove=begin_remove))
    monkeypatch.setattr(OutboundRuleRemovalProvider, "ml_client", lambda self, props: client)
    OutboundRuleRemovalProvider().delete("id", {"workspaceName": "aml", "name": "pypi"})
    assert asked == [("aml", "pypi")]


def test_a_vault_is_purged_until_it_is_gone(pace: Pace) -> None:
    answers, asked = [202, 200, 200, 404], []

    def send_request(request: Any) -> Any:
        asked.append((request.method, request.url))
        return SimpleNamespace(status_code=answers.pop(0), raise_for_status=lambda: None)

    props = {"subscriptionId": "s", "location": "eastus", "name": "kv"}
    purge_vault(SimpleNamespace(send_request=send_request), "https://management.azure.com", props, pace)
    vault = (
        "https://management.azure.com/subscriptions/s/providers/Microsoft.KeyVault/locations/eastus/deletedVaults/kv"
    )
    assert asked[0][0] == "POST"
    assert asked[0][1].startswith(f"{vault}/purge?api-version=")
    assert not answers


@pytest.mark.parametrize("provider", [WorkspacePurgeProvider(), VaultPurgeProvider()])
def test_nothing_is_purged_that_is_not_to_be(provider: Any) -> None:
    provider.delete("id", {"enabled": False})


def test_a_purge_never_asks_for_its_own_replacement() -> None:
    olds = {"name": "a", "enabled": False}
    result = WorkspacePurgeProvider().diff("id", olds, {"name": "b", "enabled": True})
    assert (result.changes, result.replaces) == (True, [])


def test_content_that_somebody_else_is_uploading_is_registered_when_they_are_done(pace: Pace) -> None:
    answers: list[Any] = [ResourceExistsError("BlobAlreadyExists"), ResourceExistsError("BlobAlreadyExists"), "id"]

    def register() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert undisturbed(register, pace) == "id"


def test_an_upload_that_never_comes_to_an_end_is_said_in_azures_own_words(pace: Pace) -> None:
    def register() -> str:
        raise ResourceExistsError("The blob is there and is not finished.")

    with pytest.raises(Refusal, match=r"after 600 s; .* Azure's last answer: The blob is there and is not finished\."):
        undisturbed(register, pace)


@pytest.mark.parametrize(
    ("code", "way_out"),
    [
        (StorageErrorCode.AUTHORIZATION_FAILURE, "deploy from a machine in the network"),
        ("AuthorizationPermissionMismatch", "needs Storage Blob Data Contributor"),
        ("KeyBasedAuthenticationNotPermitted", "set security.keyless"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_storage_account_that_lets_nobody_in_is_said_with_the_way_out(
    pace: Pace, code: str, way_out: str, wrapped: bool
) -> None:
    def register() -> str:
        error = HttpResponseError("Operation returned an invalid status 'Forbidden'")
        error.error_code = code  # pyright: ignore[reportAttributeAccessIssue] - as the client sets it
        if not wrapped:
            raise error
        raise ValueError("azure-ai-ml's own words") from error

    with pytest.raises(Refusal, match=f"the workspace's storage account refuses the upload. .*{way_out}"):
        undisturbed(register, pace)


def test_another_answer_of_azures_stays_what_it_is(pace: Pace) -> None:
    def register() -> str:
        raise HttpResponseError("no")

    with pytest.raises(HttpResponseError, match="no"):
        undisturbed(register, pace)


def test_one_process_uploads_one_asset_at_a_time_and_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    inside: list[str] = []

    class Uploader(AssetProvider):
        def register(self, props: dict[str, Any]) -> str:
            inside.append("in")
            print("\x1b[39m", file=sys.stderr)
            assert inside.count("in") - inside.count("out") == 1, (
                "azure-ai-ml cannot upload the same content twice at a time"
            )
            time.sleep(0.01)
            inside.append("out")
            return "id"

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(Uploader().create, [{"name": str(number)} for number in range(8)]))
    assert [result.outs["assetId"] for result in made if result.outs] == ["id"] * 8
    assert capsys.readouterr().err == "", "Pulumi would show it as a message"


def test_uploads_are_made_with_progress_since_without_it_a_failed_one_never_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(ModelProvider, "ml_client", lambda self, props, show_progress: asked.append(show_progress))
    ModelProvider().uploader({})
    assert asked == [True]
