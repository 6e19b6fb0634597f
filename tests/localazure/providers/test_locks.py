"""Management locks over ARM: what they forbid, and whom they leave alone."""

from __future__ import annotations

import pytest

from tests.localazure.providers.conftest import Cloud
from tests.localazure.providers.networking import endpoint, endpoint_body, gone, storage, with_network


def lock(scope: str, name: str = "keep") -> str:
    return f"{scope}/providers/Microsoft.Authorization/locks/{name}"


def body(level: str = "CanNotDelete", **properties: str) -> dict[str, dict[str, str]]:
    return {"properties": {"level": level, **properties}}


def test_a_lock_is_made_changed_listed_and_deleted(cloud: Cloud) -> None:
    assert cloud.send("PUT", lock(storage(cloud)), body("canNotDelete", notes="data")).status_code == 201
    assert cloud.send("PUT", lock(storage(cloud)), body(notes="blobs")).status_code == 200
    found = cloud.get(lock(storage(cloud)))
    assert found["properties"] == {"level": "CanNotDelete", "notes": "blobs"}
    for scope in (storage(cloud), cloud.group):
        assert cloud.get(f"{scope}/providers/Microsoft.Authorization/locks")["value"] == [found]
    assert cloud.send("DELETE", lock(storage(cloud))).status_code == 200
    assert cloud.send("DELETE", lock(storage(cloud))).status_code == 204
    assert "LockNotFound" in cloud.refusal(cloud.send("GET", lock(storage(cloud))), 404)


def test_what_lies_at_or_below_a_lock_is_not_deleted_but_may_be_written(cloud: Cloud) -> None:
    cloud.put(lock(cloud.group), body())
    for path in (storage(cloud), cloud.workspace, f"{cloud.workspace}/models/custom/versions/1", cloud.group):
        refused = cloud.refusal(cloud.send("DELETE", path), 409)
        assert "ScopeLocked" in refused
        assert f"'{cloud.group}'. Please remove the lock" in refused
    assert cloud.send("PATCH", storage(cloud), {"tags": {"a": "b"}}).status_code == 200


def test_what_holds_a_lock_is_not_deleted_either(cloud: Cloud) -> None:
    cloud.put(lock(storage(cloud)), body())
    refused = cloud.refusal(cloud.send("DELETE", cloud.group), 409)
    assert f"'{storage(cloud)}'" in refused
    cloud.wait(cloud.send("DELETE", cloud.workspace))
    assert cloud.send("GET", cloud.workspace).status_code == 404, "what is beside it goes"


def test_nothing_is_written_below_a_lock_for_reading_only(cloud: Cloud) -> None:
    cloud.put(lock(cloud.workspace, "frozen"), body("ReadOnly"))
    refused = cloud.refusal(cloud.send("PATCH", cloud.workspace, {"tags": {}}), 409)
    assert "cannot perform write operation" in refused
    cloud.send("DELETE", lock(cloud.workspace, "frozen"))
    assert cloud.send("PATCH", cloud.workspace, {"tags": {}}).status_code == 202


def test_no_action_is_taken_below_a_lock_for_reading_only(cloud: Cloud) -> None:
    cloud.put(lock(cloud.group, "frozen"), body("ReadOnly"))
    for path in (
        f"{storage(cloud)}/listKeys",
        f"{cloud.workspace}/listKeys",
        f"{cloud.workspace}/datastores/workspaceblobstore/listSecrets",
        f"{cloud.workspace}/provisionManagedNetwork",
    ):
        assert "ScopeLocked" in cloud.refusal(cloud.send("POST", path, {}), 409)
    cloud.send("DELETE", lock(cloud.group, "frozen"))
    cloud.put(lock(cloud.group), body())
    assert cloud.send("POST", f"{storage(cloud)}/listKeys").status_code == 200, "what may not be deleted may be used"


def test_a_name_is_checked_below_any_lock(cloud: Cloud) -> None:
    subscription = f"/subscriptions/{cloud.subscription}"
    cloud.put(lock(subscription), body("ReadOnly"))
    sent = {"name": "free1", "type": "Microsoft.Storage/storageAccounts"}
    checked = cloud.send("POST", f"{subscription}/providers/Microsoft.Storage/checkNameAvailability", sent)
    assert checked.json() == {"nameAvailable": True}


def test_a_lock_of_the_target_keeps_its_private_endpoints(cloud: Cloud) -> None:
    with_network(cloud)
    cloud.put(endpoint(cloud), endpoint_body(cloud, storage(cloud), "blob"))
    cloud.put(lock(storage(cloud)), body())
    refused = cloud.refusal(cloud.send("DELETE", endpoint(cloud)), 409)
    assert "ScopeLocked" in refused
    assert "/privateEndpointConnections/" in refused
    cloud.send("DELETE", lock(storage(cloud)))
    gone(cloud, endpoint(cloud))


@pytest.mark.parametrize(
    ("sent", "said"), [({}, "properties"), (body("Never"), "Never"), ({"properties": {}}, "level")]
)
def test_a_lock_that_says_something_wrong_is_not_made(cloud: Cloud, sent: object, said: str) -> None:
    assert said in cloud.refusal(cloud.send("PUT", lock(cloud.group), sent), 400)
    assert cloud.refusal(cloud.send("PUT", lock(f"{cloud.group}/providers/a.b/c/d"), body()), 404)
