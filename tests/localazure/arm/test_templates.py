"""ARM templates: parameters, variables and expressions, and what of them is refused."""

from __future__ import annotations

from typing import Any

import pytest

from localazure.arm.errors import ArmError
from localazure.arm.templates import Place, Scope

GROUP = "/subscriptions/sub/resourceGroups/rg"
PLACE = Place(
    "sub",
    "tenant",
    {"id": GROUP, "name": "rg", "location": "eastus"},
    "deployment",
    lambda resource_id: {"id": resource_id, "properties": {"state": "there"}},
)


def value(expression: str, **variables: Any) -> Any:
    template = {"parameters": {"p": {"type": "string", "defaultValue": "given"}}, "variables": variables}
    return Scope(template, {}, PLACE).value(expression)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("plain", "plain"),
        ("[[not an expression]", "[not an expression]"),
        ("[parameters('P')]", "given"),
        ("[concat('a', '-', parameters('p'))]", "a-given"),
        ("['it''s']", "it's"),
        ("[if(equals(parameters('p'), 'given'), 'yes', json('{'))]", "yes"),
        ("[and(true(), not(equals(1, 2)))]", True),
        ("[or(false(), empty(''))]", True),
        ("[json('null')]", None),
        ("[resourceId('Microsoft.KeyVault/vaults', 'v')]", f"{GROUP}/providers/Microsoft.KeyVault/vaults/v"),
        ("[resourceId('other', 'A.B/c/d', 'x', 'y')]", "/subscriptions/sub/resourceGroups/other/providers/A.B/c/x/d/y"),
        ("[resourceId('s2', 'g2', 'A.B/c', 'x')]", "/subscriptions/s2/resourceGroups/g2/providers/A.B/c/x"),
        ("[resourceGroup().location]", "eastus"),
        ("[subscription().tenantId]", "tenant"),
        ("[reference('/id').state]", "there"),
        ("[split('a,b', ',')[1]]", "b"),
        ("[toLower(format('{0}-{1}', 'A', 2))]", "a-2"),
        ("[length(union(createArray('a'), createArray('a', 'b')))]", 2),
    ],
)
def test_an_expression_has_azures_value(expression: str, expected: Any) -> None:
    assert value(expression) == expected


def test_a_guid_is_the_same_for_the_same_parts() -> None:
    assert value("[guid('a', 'b')]") == value("[guid('a', 'b')]") != value("[guid('b', 'a')]")
    assert value("[guid('a')]")[14] == "5", "a GUID made of a name"


def test_unique_strings_are_the_same_for_the_same_parts() -> None:
    first = value("[uniqueString('a', 'b')]")
    assert len(first) == 13
    assert first == value("[uniqueString('a', 'b')]") != value("[uniqueString('a', 'c')]")


def test_variables_are_made_of_each_other_but_not_of_themselves() -> None:
    assert value("[variables('one')]", one="[concat(variables('two'), '1')]", two="2") == "21"
    with pytest.raises(ArmError, match="made of itself"):
        value("[variables('one')]", one="[variables('two')]", two="[variables('one')]")


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("[parameters('none')]", "is not found"),
        ("[variables('none')]", "is not found"),
        ("[concat('a'", "cannot be|lacks|has more"),
        ("[concat('a'))]", "has more after its end"),
        ("['a' 'b']", "has more after its end"),
        ("[§]", "cannot be read"),
        ("[resourceId('nothing')]", "names no resource type"),
        ("[resourceId('A.B/c', 'x', 'y')]", "takes 1 names"),
        ("[resourceGroup().colour]", "doesn't exist"),
        ("[if(true(), 1)]", "takes 3 arguments"),
        ("[toLower(1)]", "does not take"),
        ("[json('{')]", "does not take"),
        ("[" + "concat(" * 60 + "'a'" + ")" * 60 + "]", "nested deeper"),
        ("[replace('aaaaaaaaaa', 'a', variables('long'))]", "larger than"),
    ],
)
def test_an_expression_that_makes_no_sense_is_a_400(expression: str, said: str) -> None:
    if not expression.endswith("]"):
        expression += "]"
    with pytest.raises(ArmError, match=said) as refused:
        value(expression, long="x" * 200_000)
    assert (refused.value.status, refused.value.code) == (400, "InvalidTemplate")


def test_a_function_that_is_not_there_is_named() -> None:
    with pytest.raises(ArmError, match="pickZones") as refused:
        value("[pickZones()]")
    assert refused.value.status == 501


@pytest.mark.parametrize(
    ("declared", "given", "said"),
    [
        ({"p": {"type": "string"}}, {}, "'p' is not provided"),
        ({"p": {"type": "string"}}, {"p": {}}, "'p' is not provided"),
        ({"p": {"type": "string"}}, {"p": {"value": 1}}, "'string' was expected"),
        ({"p": {"type": "int"}}, {"p": {"value": True}}, "'int' was expected"),
        ({"p": {"type": "text"}}, {"p": {"value": ""}}, "no type"),
        ({"p": {"type": "string", "allowedValues": ["a", "b"]}}, {"p": {"value": "c"}}, "a,b"),
        ({}, {"q": {"value": 1}}, "do not correspond"),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused(declared: Any, given: Any, said: str) -> None:
    with pytest.raises(ArmError, match=said):
        Scope({"parameters": declared}, given, PLACE)


def test_secure_parameters_are_not_shown() -> None:
    declared = {"p": {"type": "secureString"}, "q": {"type": "int", "defaultValue": 2}}
    shown = Scope({"parameters": declared}, {"p": {"value": "hush"}}, PLACE).parameters()
    assert shown == {"p": {"type": "secureString"}, "q": {"type": "int", "value": 2}}
