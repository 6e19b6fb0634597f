"""The ARM protocol's ids: what is equal, what contains what, what no name may hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localazure.arm import ids
from localazure.arm.errors import ArmError
from localazure.arm.ids import Template

NAMES = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", min_size=1, max_size=30).filter(
    lambda name: name not in (".", "..")
)
DEPLOYMENT = Template(
    "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.MachineLearningServices"
    "/workspaces/{workspace}/onlineEndpoints/{endpoint}/deployments/{deployment}"
)


@given(st.fixed_dictionaries(dict.fromkeys(("subscription", "group", "workspace", "endpoint", "deployment"), NAMES)))
def test_a_template_matches_what_it_filled_in_any_case_of_its_own_words(names: dict[str, str]) -> None:
    path = DEPLOYMENT.fill(names)
    folded = path
    for word in ("subscriptions", "resourceGroups", "workspaces", "onlineEndpoints", "deployments"):
        folded = folded.replace(f"/{word}/", f"/{word.upper()}/", 1)
    assert DEPLOYMENT.match(path) == names
    assert DEPLOYMENT.match(folded) == names, "ARM paths are compared without regard to case"


@given(NAMES, NAMES)
def test_two_spellings_of_one_id_have_one_key(group: str, endpoint: str) -> None:
    resource = f"/subscriptions/s/resourceGroups/{group}/providers/N/workspaces/w/onlineEndpoints/{endpoint}"
    assert ids.key(resource) == ids.key(resource.upper() + "/")
    assert ids.same(resource, resource.swapcase())


@pytest.mark.parametrize(
    ("child", "parent"),
    [
        ("/subscriptions/s/resourceGroups/g/providers/N/workspaces/w", "/subscriptions/s/resourceGroups/g"),
        (
            "/subscriptions/s/resourceGroups/g/providers/N/workspaces/w/onlineEndpoints/e",
            "/subscriptions/s/resourceGroups/g/providers/N/workspaces/w",
        ),
        ("/subscriptions/s/resourceGroups/g", "/subscriptions/s"),
    ],
)
def test_a_resource_lies_in_its_parent(child: str, parent: str) -> None:
    assert ids.parent(child) == parent


@pytest.mark.parametrize("name", ["..", ".", "%2e%2e", "a%2fb", "a%00b", "a%5cb", "a%3fb", "x" * 261])
def test_a_name_that_could_lead_elsewhere_is_refused(name: str) -> None:
    path = DEPLOYMENT.text.replace("{deployment}", name)
    for hole in ("subscription", "group", "workspace", "endpoint"):
        path = path.replace(f"{{{hole}}}", "ok")
    with pytest.raises(ArmError) as refusal:
        DEPLOYMENT.match(path)
    assert refusal.value.status == 400, "a bad name is the caller's mistake"


def test_a_scope_hole_takes_any_depth() -> None:
    found = Template("/{scope*}/providers/Microsoft.Authorization/roleAssignments/{assignment}").match(
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Authorization/roleAssignments/guid"
    )
    assert found == {"scope": "subscriptions/s/resourceGroups/g", "assignment": "guid"}
