"""A lean service of azure-native has what the service has, and imports only what is asked for."""

import subprocess
import sys

PROGRAM = """
import sys
from components import lean
lean.use("machinelearningservices", "keyvault")
from pulumi_azure_native import keyvault, machinelearningservices as ml
{body}
"""


def answer(body: str) -> str:
    """What a fresh interpreter prints: in this one the services may have been imported already."""
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(body=body)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_resource_is_found_without_its_neighbours() -> None:
    body = "print(ml.OnlineEndpoint.__name__, 'pulumi_azure_native.machinelearningservices.datastore' in sys.modules)"
    assert answer(body) == "OnlineEndpoint False"


def test_inputs_functions_results_and_outputs_are_found() -> None:
    names = ("ml.OnlineEndpointPropertiesArgs", "ml.get_online_endpoint", "ml.GetOnlineEndpointResult", "ml.outputs")
    assert answer(f"print(all(({', '.join(names)}, keyvault.Vault)))") == "True"


def test_a_function_is_no_module_whatever_was_asked_for_before() -> None:
    assert answer("ml.GetOnlineEndpointResult; print(callable(ml.get_online_endpoint))") == "True"
    assert answer("ml.get_online_endpoint; print(callable(ml.get_online_endpoint))") == "True"


def test_a_name_of_another_kind_is_found_in_the_whole_service() -> None:
    assert (
        answer("print(ml.EndpointAuthMode.KEY.value, ml.OnlineEndpoint is ml.online_endpoint.OnlineEndpoint)")
        == "Key True"
    )


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert answer("print(getattr(ml, 'NoSuchThing', 'missing'))") == "missing"


def test_a_public_stack_does_not_pay_for_the_network() -> None:
    body = "import components.online_endpoint; print('pulumi_azure_native.network.outputs' in sys.modules)"
    assert answer(body) == "False", "importing it takes a second of each preview"
