"""User-assigned identities, role definitions and role assignments over ARM."""

from __future__ import annotations

from typing import Any

import pytest

from tests.localazure.providers.conftest import API, Cloud

READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
FIRST = "10000000-0000-4000-8000-000000000001"
SECOND = "10000000-0000-4000-8000-000000000002"
SOMEBODY = "20000000-0000-4000-8000-000000000001"
OTHER = "20000000-0000-4000-8000-000000000002"


def role(cloud: Cloud, guid: str = READER) -> str:
    return f"/subscriptions/{cloud.subscription}/providers/Microsoft.Authorization/roleDefinitions/{guid}"


def assignment(scope: str, name: str = FIRST) -> str:
    return f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}"


def body(cloud: Cloud, principal: str = SOMEBODY, guid: str = READER, **rest: Any) -> dict[str, Any]:
    own = {"roleDefinitionId": role(cloud, guid), "principalId": principal, "principalType": "Group", **rest}
    return {"properties": own}


def identity(cloud: Cloud, name: str = "identity1") -> str:
    return f"{cloud.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"


def error(cloud: Cloud, method: str, path: str, sent: Any, status: int) -> dict[str, str]:
    answer = cloud.send(method, path, sent)
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


def listed(cloud: Cloud, scope: str, query: str = "") -> list[str]:
    path = f"{scope}/providers/Microsoft.Authorization/roleAssignments{API}&$filter={query}"
    return [each["name"] for each in cloud.get(path)["value"]]


def test_an_identity_keeps_its_principal_through_updates(cloud: Cloud) -> None:
    created = cloud.send("PUT", identity(cloud), {"location": "eastus"})
    assert created.status_code == 201
    own = created.json()["properties"]
    assert len({own["principalId"], own["clientId"], own["tenantId"]}) == 3
    assert cloud.send("PUT", identity(cloud), {"location": "eastus", "tags": {"a": "b"}}).status_code == 200
    patched = cloud.send("PATCH", identity(cloud), {"tags": {"c": "d"}}).json()
    assert (patched["tags"], patched["properties"]) == ({"c": "d"}, own)
    assert cloud.send("DELETE", identity(cloud)).status_code == 200
    assert cloud.put(identity(cloud), {"location": "eastus"})["properties"]["principalId"] != own["principalId"]


@pytest.mark.parametrize("name", ["ab", "-abc", "a.b.c", "x" * 129])
def test_an_identity_has_a_name_that_azure_takes(shared: Cloud, name: str) -> None:
    assert "3 to 128" in error(shared, "PUT", identity(shared, name), {"location": "eastus"}, 400)["message"]


def test_the_built_in_roles_are_found_by_name_and_by_id(shared: Cloud) -> None:
    definitions = f"/subscriptions/{shared.subscription}/providers/Microsoft.Authorization/roleDefinitions"
    (found,) = shared.get(f"{definitions}{API}&$filter=roleName eq 'AcrPull'")["value"]
    assert (found["id"], found["name"]) == (role(shared, ACR_PULL), ACR_PULL)
    assert found["properties"]["type"] == "BuiltInRole"
    assert shared.get(role(shared, ACR_PULL)) == found
    assert shared.get(f"{shared.group}/providers/Microsoft.Authorization/roleDefinitions/{ACR_PULL}") == found
    tenant = shared.get(f"/providers/Microsoft.Authorization/roleDefinitions/{ACR_PULL}")
    assert tenant["id"] == f"/providers/Microsoft.Authorization/roleDefinitions/{ACR_PULL}"
    everything = shared.get(f"{definitions}{API}&$filter=type eq 'BuiltInRole'")["value"]
    assert len(everything) == len(shared.get("/providers/Microsoft.Authorization/roleDefinitions")["value"]) > 20
    assert shared.get(f"{definitions}{API}&$filter=type eq 'CustomRole'")["value"] == []
    assert error(shared, "GET", role(shared, FIRST), None, 404)["code"] == "RoleDefinitionDoesNotExist"
    absent = f"{shared.workspace}x/providers/Microsoft.Authorization/roleDefinitions"
    assert error(shared, "GET", absent, None, 404)["code"] == "ResourceNotFound"
    filtered = f"{definitions}{API}&$filter=colour eq 'red'"
    assert error(shared, "GET", filtered, None, 400)["code"] == "InvalidFilterInQueryString"


def test_an_assignment_says_what_it_is_and_can_be_repeated(cloud: Cloud) -> None:
    path = assignment(cloud.workspace.upper(), FIRST.upper())
    created = cloud.send("PUT", path, body(cloud, description="why"))
    assert created.status_code == 201
    assert created.json()["id"] == assignment(cloud.workspace), "a scope is spelled as it was created"
    own = created.json()["properties"]
    assert (own["scope"], own["principalType"], own["description"]) == (cloud.workspace, "Group", "why")
    assert cloud.send("PUT", path, body(cloud, description="why")).status_code == 200
    changed = cloud.send("PUT", path, body(cloud, description="because"))
    assert changed.json()["properties"]["description"] == "because", "the description may change"
    assert changed.json()["properties"]["createdOn"] == own["createdOn"]
    assert cloud.get(path) == changed.json()
    short = body(cloud, roleDefinitionId=f"/providers/Microsoft.Authorization/roleDefinitions/{READER}")
    assert cloud.send("PUT", path, short).json()["properties"]["roleDefinitionId"] == role(cloud)


def test_who_and_what_an_assignment_is_about_cannot_be_changed(cloud: Cloud) -> None:
    path = assignment(cloud.workspace)
    cloud.put(path, body(cloud))
    for changed in (body(cloud, OTHER), body(cloud, guid=ACR_PULL)):
        assert error(cloud, "PUT", path, changed, 400)["code"] == "RoleAssignmentUpdateNotPermitted"


def test_the_same_assignment_cannot_have_two_names_but_may_be_on_two_scopes(cloud: Cloud) -> None:
    cloud.put(assignment(cloud.workspace), body(cloud))
    twin = error(cloud, "PUT", assignment(cloud.workspace, SECOND), body(cloud), 409)
    assert twin["code"] == "RoleAssignmentExists"
    assert FIRST.replace("-", "") in twin["message"]
    assert cloud.send("PUT", assignment(cloud.group, SECOND), body(cloud)).status_code == 201


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"roleDefinitionId": None}, 400, "ValidationError"),
        ({"principalId": None}, 400, "ValidationError"),
        ({"principalId": "me"}, 400, "InvalidRequestContent"),
        ({"roleDefinitionId": READER}, 400, "InvalidRoleDefinitionId"),
        ({"roleDefinitionId": f"/x/{READER}"}, 400, "InvalidRoleDefinitionId"),
        (
            {"roleDefinitionId": f"/providers/Microsoft.Authorization/roleDefinitions/{FIRST}"},
            404,
            "RoleDefinitionDoesNotExist",
        ),
        ({"roleDefinitionId": "/providers/Microsoft.Authorization/roleDefinitions/x"}, 400, "InvalidRequestContent"),
        ({"principalType": "Robot"}, 400, "ValidationError"),
        ({"principalType": None}, 400, "PrincipalNotFound"),
        ({"condition": "@Resource[x] StringEquals 'y'"}, 400, "ValidationError"),
        ({"conditionVersion": "3.0"}, 400, "ValidationError"),
    ],
)
def test_an_assignment_that_azure_refuses_is_refused(
    shared: Cloud, change: dict[str, Any], status: int, code: str
) -> None:
    path = assignment(shared.workspace)
    assert error(shared, "PUT", path, body(shared, **change), status)["code"] == code
    assert error(shared, "GET", path, None, 404)["code"] == "RoleAssignmentNotFound"


def test_an_assignment_has_a_guid_for_a_name(shared: Cloud) -> None:
    refusal = error(shared, "PUT", assignment(shared.workspace, "mine"), body(shared), 400)
    assert "must be a GUID" in refusal["message"]


def test_a_managed_identity_is_a_service_principal_and_nothing_else(cloud: Cloud) -> None:
    own = cloud.put(identity(cloud), {"location": "eastus"})["properties"]["principalId"]
    system = cloud.get(cloud.workspace)["identity"]["principalId"]
    for principal in (own, system):
        refusal = error(cloud, "PUT", assignment(cloud.group), body(cloud, principal, principalType="User"), 400)
        assert refusal["code"] == "UnmatchedPrincipalType"
        unsaid = body(cloud, principal, principalType=None)
        created = cloud.send("PUT", assignment(cloud.group), unsaid)
        assert created.json()["properties"]["principalType"] == "ServicePrincipal"
        cloud.send("DELETE", assignment(cloud.group))


@pytest.mark.parametrize(
    ("scope", "status", "code"),
    [
        ("/subscriptions/00000000-0000-0000-0000-000000000000", 404, "SubscriptionNotFound"),
        ("/somewhere/else", 400, "InvalidScope"),
        ("/providers/Microsoft.Management/managementGroups/all", 501, "NotImplemented"),
    ],
)
def test_a_scope_that_is_none_here_is_refused(shared: Cloud, scope: str, status: int, code: str) -> None:
    assert error(shared, "PUT", assignment(scope), body(shared), status)["code"] == code
    nowhere = assignment(f"{shared.workspace}x")
    assert error(shared, "PUT", nowhere, body(shared), 404)["code"] == "ResourceNotFound"
    assert error(shared, "GET", nowhere, None, 404)["code"] == "ResourceNotFound"


def test_assignments_are_listed_at_above_and_below_a_scope_and_by_principal(cloud: Cloud) -> None:
    subscription = f"/subscriptions/{cloud.subscription}"
    cloud.put(assignment(subscription, FIRST), body(cloud))
    cloud.put(assignment(cloud.group, SECOND), body(cloud, OTHER))
    third = FIRST.replace("1", "3")
    cloud.put(assignment(cloud.workspace, third), body(cloud, OTHER))
    assert listed(cloud, cloud.group) == [FIRST, SECOND, third]
    assert listed(cloud, cloud.group, "atScope()") == [FIRST, SECOND]
    assert listed(cloud, subscription, f"principalId eq '{OTHER}'") == [SECOND, third]
    assert listed(cloud, cloud.group, f"atScope() and assignedTo('{OTHER.upper()}')") == [SECOND]
    assert listed(cloud, f"{cloud.group}/providers/Microsoft.KeyVault/vaults/vault1") == [FIRST, SECOND]
    path = f"{cloud.group}/providers/Microsoft.Authorization/roleAssignments{API}&$filter=colour eq 'red'"
    assert error(cloud, "GET", path, None, 400)["code"] == "InvalidFilterInQueryString"


def test_an_assignment_goes_with_what_it_is_on(cloud: Cloud) -> None:
    vault = f"{cloud.group}/providers/Microsoft.KeyVault/vaults/vault1"
    cloud.put(assignment(vault), body(cloud))
    cloud.put(assignment(f"/subscriptions/{cloud.subscription}", SECOND), body(cloud))
    cloud.send("DELETE", vault)
    assert listed(cloud, f"/subscriptions/{cloud.subscription}") == [SECOND]
    gone = cloud.send("DELETE", assignment(f"/subscriptions/{cloud.subscription}", SECOND))
    assert (gone.status_code, gone.json()["name"]) == (200, SECOND)
    assert cloud.send("DELETE", assignment(f"/subscriptions/{cloud.subscription}", SECOND)).status_code == 204
