"""What happens at once: deletions above a creation, slow parts behind a lock, writes below what is not settled."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from localazure.providers.ml import content
from tests.localazure.providers import conftest
from tests.localazure.providers.conftest import API, Cloud, until


def background(work: Any) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def at_once(cloud: Cloud, path: str) -> int:
    """The status of a GET; httpx.TimeoutException where it waits for somebody."""
    return cloud.client.get(path + API, headers={"Authorization": f"Bearer {cloud.token}"}, timeout=2).status_code


@pytest.fixture
def second(cloud: Cloud) -> tuple[str, dict[str, Any]]:
    """Another workspace's path and body."""
    before = cloud.get(cloud.workspace)["properties"]
    own = {name: before[name] for name in ("storageAccount", "keyVault")}
    body = {"location": "eastus", "identity": {"type": "SystemAssigned"}, "properties": own}
    return f"{cloud.workspace}2", body


def test_an_endpoint_that_is_deleted_while_routes_are_pushed_blocks_nobody(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.put(cloud.endpoint(), cloud.endpoint_body())
    cloud.put(f"{cloud.endpoint()}/deployments/blue", cloud.deployment_body())
    pushing, release = threading.Event(), threading.Event()

    def slow_push(routes: object) -> None:
        pushing.set()
        assert release.wait(30)

    def remove(endpoint: str, name: str) -> None:
        monkeypatch.setattr(cloud.serving, "route", slow_push)
        background(cloud.azure._router.push)
        assert pushing.wait(10)

    monkeypatch.setattr(cloud.serving, "remove", remove)
    try:
        answer = cloud.send("DELETE", cloud.endpoint())
        assert pushing.wait(10)
        # Whoever waits for the router holds no lock of the store, so these are answered, and in the end with 404.
        until(lambda: at_once(cloud, cloud.endpoint()) == 404, "the endpoint is gone")
    finally:
        release.set()
    cloud.wait(answer)


@pytest.mark.parametrize("above", ["workspace", "group"])
def test_a_deployment_whose_workspace_goes_while_it_starts_leaves_no_process(cloud: Cloud, above: str) -> None:
    cloud.put(cloud.endpoint(), cloud.endpoint_body())
    cloud.serving.gate.clear()
    cloud.send("PUT", f"{cloud.endpoint()}/deployments/blue", cloud.deployment_body())
    until(lambda: cloud.serving.asked, "blue begins to start")
    gone = cloud.send("DELETE", getattr(cloud, above))
    cloud.wait(gone)
    cloud.serving.gate.set()
    until(lambda: cloud.serving.history, "blue starts")
    until(lambda: not cloud.serving.deployed, "its process ends, for no row of the store owns it")


@pytest.mark.parametrize("above", ["workspace", "group"])
def test_an_endpoint_whose_workspace_goes_is_routed_to_no_more(cloud: Cloud, above: str) -> None:
    cloud.put(cloud.endpoint(), cloud.endpoint_body())
    assert [each.name for each in cloud.serving.routed] == ["online"]
    cloud.wait(cloud.send("DELETE", getattr(cloud, above)))
    assert cloud.serving.routed == [], "it had no deployment, whose end would have been noticed"


def test_deleting_a_workspace_ends_its_deployments_and_removes_its_files(cloud: Cloud) -> None:
    cloud.put(cloud.endpoint(), cloud.endpoint_body())
    cloud.put(f"{cloud.endpoint()}/deployments/blue", cloud.deployment_body())
    own = cloud.get(cloud.workspace)["properties"]["workspaceId"]
    folder = cloud.azure._cloud.assets("azureml-models", own)
    folder.mkdir(parents=True)
    cloud.wait(cloud.send("DELETE", cloud.workspace))
    assert cloud.serving.deployed == {}
    until(lambda: not folder.exists(), "what it downloaded is gone too")


def test_a_version_that_is_registered_again_has_its_new_content(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(self: object, container: str, prefix: str, to: Path, wanted: object = None) -> list[Path]:
        (to / "file").write_text(prefix)
        return [to / "file"]

    monkeypatch.setattr(conftest.FakeBlobs, "download_prefix", download, raising=False)
    path = f"{cloud.workspace}/models/again/versions/1"
    inner = cloud.azure._cloud
    for place in ("one", "two"):
        uri = f"azureml://datastores/workspaceblobstore/paths/{place}/model"
        cloud.put(path, {"properties": {"modelUri": uri}})
        workspace, model = inner.store.get(cloud.workspace), inner.store.get(path)
        assert workspace is not None
        assert model is not None
        found = content.model_files(inner, workspace, model)
        assert (found.content / "file").read_text() == f"{place}/model"
        assert found.root.parts[-2:] == ("again", "1"), "the folder's last parts are the model's name and version"
        assert cloud.send("DELETE", path).status_code == 200


@pytest.mark.parametrize("slow", ["listSecrets", "delete"])
def test_a_storage_account_that_takes_long_blocks_nobody_else(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    container = (
        f"{cloud.group}/providers/Microsoft.Storage/storageAccounts/storage1/blobServices/default/containers/inbox"
    )
    cloud.put(container, {})
    entered, release = threading.Event(), threading.Event()

    def ensure(self: object, account: str, *keys: str, keyless: bool = False) -> int:
        entered.set()
        assert release.wait(30)
        return 1

    monkeypatch.setattr(conftest.FakeFleet, "ensure", ensure)
    store = f"{cloud.workspace}/datastores/workspaceblobstore/listSecrets"
    method, path = ("POST", store) if slow == "listSecrets" else ("DELETE", container)
    thread = background(lambda: cloud.send(method, path, {"expirableSecret": True}))
    try:
        assert entered.wait(10)
        assert at_once(cloud, cloud.workspace) == 200
    finally:
        release.set()
        thread.join()


def test_nothing_is_written_below_a_workspace_that_is_being_created(
    cloud: Cloud, second: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(conftest.FakeBlobs, "create_container", lambda self, name: release.wait(30))
    path, body = second
    answer = cloud.send("PUT", path, body)
    try:
        early = cloud.send("PUT", f"{path}/onlineEndpoints/early", cloud.endpoint_body())
        assert "Creating" in cloud.refusal(early, 409)
    finally:
        release.set()
    cloud.wait(answer)
    assert cloud.send("PUT", f"{path}/onlineEndpoints/early", cloud.endpoint_body()).status_code == 201


@pytest.mark.parametrize("above", ["workspace", "group"])
def test_nothing_is_written_below_what_is_being_deleted(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, above: str
) -> None:
    release = threading.Event()
    cloud.put(cloud.endpoint(), cloud.endpoint_body())
    cloud.put(f"{cloud.endpoint()}/deployments/blue", cloud.deployment_body())
    monkeypatch.setattr(cloud.serving, "remove", lambda *names: release.wait(30))
    answer = cloud.send("DELETE", getattr(cloud, above))
    try:
        late = cloud.send("PUT", cloud.endpoint("late"), cloud.endpoint_body())
        assert "Deleting" in cloud.refusal(late, 409)
        again = cloud.send("PUT", cloud.group, {"location": "eastus"})
        assert again.status_code == (409 if above == "group" else 200)
    finally:
        release.set()
    cloud.wait(answer)


def test_an_endpoint_is_where_its_workspace_is(cloud: Cloud) -> None:
    elsewhere = {**cloud.endpoint_body(), "location": "westus"}
    assert "'eastus'" in cloud.refusal(cloud.send("PUT", cloud.endpoint(), elsewhere), 400)


def test_an_endpoints_name_is_taken_in_every_region(cloud: Cloud, second: tuple[str, dict[str, Any]]) -> None:
    path, body = second
    cloud.put(path, {**body, "location": "westus"})
    cloud.put(cloud.endpoint(), cloud.endpoint_body())
    again = cloud.send("PUT", f"{path}/onlineEndpoints/online", {**cloud.endpoint_body(), "location": "westus"})
    assert "taken in region 'eastus'" in cloud.refusal(again, 409), "processes and files go by the endpoint's name"


def test_each_host_takes_only_the_tokens_that_azures_does(cloud: Cloud) -> None:
    ml = {"Authorization": f"Bearer {cloud.token_for('https://ml.azure.com')}"}
    assert cloud.send("GET", cloud.group, **ml).status_code == 401
    regional = {"Host": "eastus.api.azureml.ms"}
    run = f"/history/v1.0{cloud.workspace}/runs/none"
    assert cloud.send("GET", run, **regional).status_code == 404, "azure-ai-ml reads runs with ARM's token"
    assert cloud.send("GET", run, **regional, **ml).status_code == 404, "and lists an endpoint's jobs with Azure ML's"
    scoring = {"Host": "none.eastus.inference.ml.azure.com"}
    assert cloud.send("POST", "/jobs", {}, **scoring).status_code == 401
    assert cloud.send("POST", "/jobs", {}, **scoring, **ml).status_code == 404
