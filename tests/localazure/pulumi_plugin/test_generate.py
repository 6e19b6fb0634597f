"""The types the provider checks against are those of the installed SDK."""

from localazure.pulumi_plugin import generate
from localazure.pulumi_plugin.shapes import Catalogue
from localazure.pulumi_plugin.table import FUNCTIONS, RESOURCES


def test_types_json_is_what_the_installed_sdk_yields() -> None:
    generated = generate.text(generate.generate())

    assert generate.TYPES_FILE.read_text(encoding="utf-8") == generated, (
        "the SDK has changed: run python -m localazure.pulumi_plugin generate, and look at the difference"
    )


def test_every_row_of_the_table_names_properties_that_the_sdk_has(catalogue: Catalogue) -> None:
    for token, row in RESOURCES.items():
        shape = catalogue.resource(token)
        assert shape is not None
        known = shape.inputs.properties.keys() | shape.outputs.properties.keys()
        # An `etag` is not an output everywhere, and `kind` and others are shared by all tracked types.
        shared = {"location", "tags", "identity", "sku", "kind", "properties", "etag"}
        assert row.root - shared <= known, token
        assert row.wire.keys() <= known, token
        assert {path.split(".")[0] for path in row.replace} <= shape.inputs.properties.keys(), token
        assert set(row.query) <= shape.inputs.properties.keys(), token


def test_every_path_parameter_is_an_input(catalogue: Catalogue) -> None:
    from localazure.pulumi_plugin.shapes import path_parameters

    for token in RESOURCES:
        shape = catalogue.resource(token)
        assert shape is not None
        assert set(path_parameters(shape.row.path)) <= shape.inputs.properties.keys(), token
    for token in FUNCTIONS:
        function = catalogue.function(token)
        assert function is not None
        assert set(path_parameters(function.row.path)) <= set(function.arguments), token


def test_an_output_of_type_any_is_the_union_that_its_input_is(catalogue: Catalogue) -> None:
    shape = catalogue.resource("azure-native:machinelearningservices:OnlineDeployment")
    assert shape is not None

    assert shape.outputs.properties["properties"].names == (
        "machinelearningservices:KubernetesOnlineDeploymentResponse",
        "machinelearningservices:ManagedOnlineDeploymentResponse",
    )


def test_identities_are_a_set_wherever_a_resource_takes_them(catalogue: Catalogue) -> None:
    for module, name in (("machinelearningservices", "ManagedServiceIdentity"), ("storage", "Identity")):
        assert catalogue.type(f"{module}:{name}Args").properties["userAssignedIdentities"].kind == "set"
