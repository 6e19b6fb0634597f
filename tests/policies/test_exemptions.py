"""Layer: the policy pack's written exemptions, over findings made by hand."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from policies.exemptions import Exempting, Exemption, ExemptionError, load
from policies.pack import findings
from policies.resource import Resource

TODAY = date(2026, 12, 1)
ENTRY: dict[str, Any] = {
    "rule": "registry-admin-user",
    "resources": "workspace-*",
    "stacks": ["prod"],
    "reason": "An old tool logs in with it.",
    "review": date(2027, 1, 31),
}
REGISTRY = Resource("containerregistry:Registry", "workspace-registry", {"adminUserEnabled": True})


def exemption(**own: Any) -> Exemption:
    entry = {**ENTRY, **own}
    return Exemption(**{**entry, "stacks": tuple(entry["stacks"])})


def left(exempting: Exempting, stack: str = "prod") -> set[str]:
    return {each.rule.id for each in exempting.left_over(findings(stack, [REGISTRY]))}


def test_what_is_exempted_is_no_finding() -> None:
    without, with_one = Exempting("prod", [], TODAY), Exempting("prod", [exemption()], TODAY)
    assert left(without) - left(with_one) == {"registry-admin-user"}
    assert with_one.needless() == []
    assert with_one.expired() == []


def test_an_exemption_may_name_a_public_rule_by_its_own_id() -> None:
    assert "registry-admin-user" not in left(Exempting("prod", [exemption(rule="CKV_AZURE_137")], TODAY))


@pytest.mark.parametrize("own", [{"resources": "other-*"}, {"stacks": ["staging"]}, {"rule": "registry-zones"}])
def test_an_exemption_covers_what_it_names_and_nothing_else(own: dict[str, Any]) -> None:
    assert "registry-admin-user" in left(Exempting("prod", [exemption(**own)], TODAY))


def test_an_exemption_that_covers_nothing_is_an_error() -> None:
    exempting = Exempting("prod", [exemption(resources="gone-*")], TODAY)
    left(exempting)
    (said,) = exempting.needless()
    assert "registry-admin-user on gone-*" in said
    assert said.endswith("remove it.")


def test_an_exemption_of_another_stack_is_not_needless_here() -> None:
    exempting = Exempting("dev", [exemption()], TODAY)
    left(exempting, "dev")
    assert exempting.needless() == []


def test_an_exemption_whose_day_of_review_is_past_still_holds_and_is_a_warning() -> None:
    exempting = Exempting("prod", [exemption(review=date(2026, 11, 30))], TODAY)
    assert "registry-admin-user" not in left(exempting)
    (said,) = exempting.expired()
    assert "2026-11-30" in said
    assert ENTRY["reason"] in said


def test_the_day_of_review_itself_is_not_past() -> None:
    assert Exempting("prod", [exemption(review=TODAY)], TODAY).expired() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rule": "registry-admin"}, "rule registry-admin is none of the pack's"),
        ({"stacks": "prod"}, "stacks is 'prod'; list the names"),
        ({"stacks": []}, "stacks is []"),
        ({"reason": "  "}, "reason is empty"),
        ({"stacks": ["prod", 3]}, "stacks is ['prod', 3]"),
        ({"stacks": [["prod"]]}, "stacks is [['prod']]"),
        ({"resources": "*"}, "resources is '*'; name what is exempted"),
        ({"resources": "?*"}, "resources is '?*'"),
        ({"resources": 3}, "resources is 3"),
        ({"reason": 3}, "reason is empty"),
        ({"rule": 3}, "rule 3 is none of the pack's"),
        ({"rule": ["registry-admin-user"]}, "rule ['registry-admin-user'] is none"),
        ({"review": "soon"}, "review is 'soon'"),
        ({"review": datetime(2027, 1, 31, 10)}, "review is datetime.datetime(2027, 1, 31"),
        ({"review": 2027}, "review is 2027"),
        ({"review": date(2029, 1, 1)}, "review is 2029-01-01; nobody knows so far ahead: 2028-11-30 at the latest"),
        (
            {"expires": date(2027, 1, 1)},
            "has expires, reason, resources, review, rule, stacks; each exemption has exactly",
        ),
    ],
)
def test_an_exemption_that_is_not_whole_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    file = tmp_path / "exemptions.yaml"
    file.write_text(yaml.safe_dump([ENTRY, {**ENTRY, **change}]))
    with pytest.raises(ExemptionError) as error:
        load(file, TODAY)
    assert f"exemptions.yaml[1]: {said}" in str(error.value)


@pytest.mark.parametrize("text", ["rule: x", "3", "- rule: [", "prod"])
def test_a_file_that_is_no_list_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "exemptions.yaml"
    file.write_text(text)
    with pytest.raises(ExemptionError, match=r"^exemptions\.yaml is no (list|YAML)"):
        load(file)


def test_the_last_day_of_two_years_may_be_the_day_of_review(tmp_path: Path) -> None:
    file = tmp_path / "exemptions.yaml"
    file.write_text(yaml.safe_dump([{**ENTRY, "review": date(2028, 11, 30)}]))
    assert len(load(file, TODAY)) == 1


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    file = tmp_path / "exemptions.yaml"
    file.write_text(yaml.safe_dump([{**ENTRY, "reason": "", "review": None}, "prod"]))
    with pytest.raises(ExemptionError) as error:
        load(file)
    assert len(str(error.value).splitlines()) == 3


def test_a_rule_that_only_checkov_has_may_be_exempted_and_is_not_the_packs() -> None:
    exempting = Exempting("prod", [exemption(rule="CKV2_AZURE_31")], TODAY)
    left(exempting)
    assert exempting.needless() == []


def test_the_committed_exemptions_can_be_read() -> None:
    assert len(load()) > 10
