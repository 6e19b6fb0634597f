"""Custom roles over ARM, and what they allow on a batch endpoint."""

from __future__ import annotations

import time
import uuid
from contextlib import nullcontext
from typing import Any

import pytest

from components.batch_invoker import ACTIONS
from localazure.arm.errors import ArmError
from localazure.arm.store import Resource
from localazure.providers.ml.permissions import START, require_starter
from localazure.providers.role_definitions import allows, custom_role
from tests.localazure.providers.conftest import API, Cloud

ROLE = "30000000-0000-4000-8000-000000000001"
OTHER = "30000000-0000-4000-8000-000000000002"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
SOMEBODY = "20000000-0000-4000-8000-000000000001"
WORKSPACES = "Microsoft.MachineLearningServices/workspaces"


def definition(cloud: Cloud, guid: str = ROLE) -> str:
    return f"{cloud.group}/providers/Microsoft.Authorization/roleDefinitions/{guid}"


def body(cloud: Cloud, **changes: Any) -> dict[str, Any]:
    permission = {"actions": [f"{WORKSPACES}/batchEndpoints/*"], "notActions": [f"{WORKSPACES}/*/delete"]}
    own = {
        "roleName": "Invoker",
        "type": "CustomRole",
        "description": "starts jobs",
        "assignableScopes": [cloud.group],
        "permissions": [permission],
    }
    return {"properties": {**own, **changes}}


def assign(cloud: Cloud, name: str | None = None) -> tuple[str, dict[str, Any]]:
    role = f"/subscriptions/{cloud.subscription}/providers/Microsoft.Authorization/roleDefinitions/{ROLE}"
    sent = {"roleDefinitionId": role, "principalId": SOMEBODY, "principalType": "ServicePrincipal"}
    path = f"{cloud.workspace}/providers/Microsoft.Authorization/roleAssignments/{name or uuid.uuid4()}"
    return path, {"properties": sent}


def error(cloud: Cloud, method: str, path: str, sent: Any, status: int) -> dict[str, str]:
    answer = cloud.send(method, path, sent)
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


def test_a_custom_role_is_found_by_its_name_and_at_the_subscription(cloud: Cloud) -> None:
    made = cloud.send("PUT", definition(cloud), body(cloud))
    assert made.status_code == 201, made.text
    role = made.json()
    assert role["id"] == f"/subscriptions/{cloud.subscription}/providers/Microsoft.Authorization/roleDefinitions/{ROLE}"
    (permission,) = role["properties"]["permissions"]
    assert permission["dataActions"] == permission["notDataActions"] == []
    assert cloud.get(definition(cloud)) == cloud.get(role["id"]) == role
    definitions = f"/subscriptions/{cloud.subscription}/providers/Microsoft.Authorization/roleDefinitions"
    assert cloud.get(f"{definitions}{API}&$filter=type eq 'CustomRole'")["value"] == [role]
    assert cloud.get(f"{definitions}{API}&$filter=roleName eq 'Invoker'")["value"] == [role]


def test_a_change_keeps_who_made_a_role_and_when(cloud: Cloud) -> None:
    before = cloud.send("PUT", definition(cloud), body(cloud)).json()["properties"]
    after = cloud.send("PUT", definition(cloud), body(cloud, description="more")).json()["properties"]
    assert after["description"] == "more"
    assert (after["createdOn"], after["createdBy"]) == (before["createdOn"], before["createdBy"])


def test_a_role_that_somebody_has_is_not_deleted(cloud: Cloud) -> None:
    cloud.send("PUT", definition(cloud), body(cloud))
    path, sent = assign(cloud)
    assert cloud.send("PUT", path, sent).status_code == 201
    assert error(cloud, "DELETE", definition(cloud), None, 409)["code"] == "RoleDefinitionHasAssignments"
    assert cloud.send("DELETE", path).status_code == 200
    assert cloud.send("DELETE", definition(cloud)).status_code == 200
    assert cloud.send("DELETE", definition(cloud)).status_code == 204
    assert error(cloud, "PUT", path, sent, 404)["code"] == "RoleDefinitionDoesNotExist"


def test_a_name_is_one_roles_only(cloud: Cloud) -> None:
    cloud.send("PUT", definition(cloud), body(cloud))
    taken = error(cloud, "PUT", definition(cloud, OTHER), body(cloud, roleName="INVOKER"), 409)
    assert taken["code"] == "RoleDefinitionWithSameNameExists"
    assert error(cloud, "PUT", definition(cloud, OTHER), body(cloud, roleName="Reader"), 409)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_built_in_role_is_nobodys_to_change(shared: Cloud, method: str) -> None:
    assert "built-in" in error(shared, method, definition(shared, READER), body(shared), 403)["message"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"roleName": None}, "roleName"),
        ({"type": "BuiltInRole"}, "CustomRole"),
        ({"assignableScopes": []}, "at least one scope"),
        ({"assignableScopes": ["/"]}, "not a valid assignable scope"),
        ({"assignableScopes": [7]}, "assignableScopes"),
        ({"permissions": []}, "allows nothing"),
        ({"permissions": ["all"]}, "permissions"),
        ({"permissions": [None]}, "permissions"),
        ({"permissions": [{"actions": ["everything"]}]}, "does not match any"),
        ({"permissions": [{"actions": "*"}]}, "actions"),
        ({"permissions": [{"actions": [f"{WORKSPACES}/**/read"]}]}, "does not match any"),
        ({"permissions": [{"notDataActions": ["*a*/read"]}]}, "does not match any"),
    ],
)
def test_a_role_that_azure_would_not_take_is_refused(shared: Cloud, changes: dict[str, Any], expected: str) -> None:
    assert expected in error(shared, "PUT", definition(shared), body(shared, **changes), 400)["message"]


def test_the_name_of_a_role_is_a_guid(shared: Cloud) -> None:
    assert "GUID" in error(shared, "PUT", definition(shared, "invoker"), body(shared), 400)["message"]


def test_a_role_allows_what_its_actions_say_less_its_not_actions(cloud: Cloud) -> None:
    cloud.send("PUT", definition(cloud), body(cloud))
    role = custom_role(cloud.azure._cloud, ROLE)
    assert role
    assert allows(role, f"{WORKSPACES}/batchEndpoints/jobs/write")
    assert allows(role, f"{WORKSPACES}/BATCHENDPOINTS/read"), "in any case"
    assert not allows(role, f"{WORKSPACES}/batchEndpoints/delete")
    assert not allows(role, f"{WORKSPACES}/onlineEndpoints/read")


def role_of(*actions: str) -> Resource:
    return Resource("/role", "role", {"properties": {"permissions": [{"actions": actions, "notActions": []}]}})


@pytest.mark.parametrize(
    ("pattern", "action", "allowed"),
    [
        ("*", "A/b/read", True),
        ("*/read", "A/b/READ", True),
        ("*/read", "A/read/b", False),
        ("A/*", "A/b/c/read", True),
        ("A/*", "A/", True),
        ("A/*/jobs/*", "A/b/jobs/write", True),
        ("A/*/jobs/*", "A/jobs/write", False),
        ("A/*/jobs/*/read", "A/b/c/jobs/d/jobs/e/read", True),
        ("A/b*b/read", "A/b/read", False),
        ("A/b*/read", "A/b/read", True),
        ("A/b/read", "A/b/read", True),
        ("A/b/read", "A/b/read/c", False),
        ("A.*/read", "Ab.c/read", False),
    ],
)
def test_a_star_stands_for_any_text_with_slashes_too(pattern: str, action: str, allowed: bool) -> None:
    assert allows(role_of(pattern), action) is allowed


@pytest.mark.parametrize("pattern", ["*" * 40 + "/never", "/*" * 40 + "x"])
def test_however_many_stars_a_role_has_it_is_asked_at_once(pattern: str) -> None:
    since = time.monotonic()
    assert not allows(role_of(pattern), "a/" * 60)
    assert time.monotonic() - since < 1, "one that an earlier Local Azure has taken holds up nobody"


@pytest.mark.parametrize(
    ("actions", "enough"),
    [
        (list(START), True),
        (["Microsoft.MachineLearningServices/workspaces/*"], True),
        (list(START[1:]), False),
        (["*/read"], False),
    ],
)
def test_a_custom_role_starts_jobs_when_it_allows_all_that_this_takes(
    cloud: Cloud, actions: list[str], enough: bool
) -> None:
    own = {"location": "eastus", "properties": {"authMode": "AADToken"}}
    path = cloud.put(f"{cloud.workspace}/batchEndpoints/batch", own)["id"]
    inside = cloud.azure._cloud
    endpoint = inside.store.get(path)
    assert endpoint
    caller = {"oid": SOMEBODY}
    with pytest.raises(ArmError, match="does not have authorization"):
        require_starter(inside, endpoint, caller)
    cloud.send("PUT", definition(cloud), body(cloud, permissions=[{"actions": actions}]))
    path, sent = assign(cloud)
    assert cloud.send("PUT", path, sent).status_code == 201
    with nullcontext() if enough else pytest.raises(ArmError, match="does not have authorization"):
        require_starter(inside, endpoint, caller)


def test_what_the_program_gives_its_schedules_is_enough_to_start_a_job() -> None:
    assert {action.removeprefix(f"{WORKSPACES}/") for action in START} <= set(ACTIONS)
