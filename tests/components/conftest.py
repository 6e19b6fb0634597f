"""Layer: components under Pulumi's mocks; what is registered, in which order, with which options."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime import mocks

from tests.samples import PROJECT_FILES, write_files

SUBSCRIPTION = "10ca1a2e-0000-4000-8000-000000000001"
TENANT = "10ca1a2e-0000-4000-8000-0000000000aa"


# What is there already.
LOOKED_UP = {"getResourceGroup", "getStorageAccount", "getVault", "getRegistry", "getComponent", "getCompute"}
LOOKED_UP |= {"getWorkspace", "getVirtualNetwork", "getSubnet", "getPrivateZone"}


@dataclass
class Registered:
    """One resource as the program asked for it."""

    type: str
    name: str
    inputs: dict[str, Any]
    request: Any

    @property
    def dependencies(self) -> set[str]:
        return {urn.rpartition("::")[2] for urn in self.request.dependencies}

    @property
    def deleted_with(self) -> str:
        return self.request.deletedWith.rpartition("::")[2]

    @property
    def parent(self) -> str:
        return self.request.parent.rpartition("::")[2]

    @property
    def ignored(self) -> list[str]:
        return list(self.request.ignoreChanges)


class Azure(mocks.Mocks):
    """Answers as azure-native does: names become ids, lists of identities come back as a map."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        outputs = dict(args.inputs)
        if args.typ.startswith("azure-native:"):
            return self._azure(args, outputs)
        if "contentHash" in outputs:
            outputs["assetId"] = f"/assets/{outputs['name']}/versions/{outputs['version']}"
        if args.typ.endswith(":StartingCapacity"):
            outputs["startingCount"] = outputs["instanceCount"]
        return f"{args.name}-id", outputs

    def _azure(self, args: mocks.MockResourceArgs, outputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        own = ("deploymentName", "endpointName", "computeName", "resourceName", "accountName", "registryName")
        network = ("subnetName", "privateZoneName", "privateEndpointName", "virtualNetworkName")
        names = (*own, *network, "workflowName", "workspaceName", "resourceGroupName")
        name = next((outputs[key] for key in names if key in outputs), args.name)
        outputs["name"] = name
        if isinstance(outputs.get("identity"), dict) and "userAssignedIdentities" in outputs["identity"]:
            ids = outputs["identity"]["userAssignedIdentities"]
            outputs["identity"] = {**outputs["identity"], "userAssignedIdentities": {id_: {} for id_ in ids}}
        if "properties" in outputs:
            state = "Succeeded"
            extra = {"provisioningState": state, "scoringUri": f"https://{name}/score", "swaggerUri": None}
            outputs["properties"] = {**outputs["properties"], **extra}
        outputs["principalId"], outputs["workspaceId"] = f"{args.name}-principal", f"{args.name}-guid"
        provider = args.typ.split(":")[1]
        if args.typ.endswith(":ResourceGroup"):
            return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{name}", outputs
        return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-aml-test/providers/{provider}/x/{name}", outputs

    def call(self, args: mocks.MockCallArgs) -> Any:
        if args.token.endswith(":getClientConfig"):
            return {"clientId": "c", "objectId": "o", "subscriptionId": SUBSCRIPTION, "tenantId": TENANT}
        if args.token == "azure-native:machinelearningservices:getWorkspace":
            group, name = args.args["resourceGroupName"], args.args["workspaceName"]
            base = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers"
            return {
                "id": f"{base}/Microsoft.MachineLearningServices/workspaces/{name}",
                "name": name,
                "location": "westeurope",
                "workspaceId": "guid",
                "storageAccount": f"{base}/Microsoft.Storage/storageAccounts/old",
                "containerRegistry": None,
            }
        if args.token.rpartition(":")[2] in LOOKED_UP:
            return {"location": "westeurope", "name": "old", "id": "old"}
        if args.token.endswith(":getModelContainer"):
            return {"id": "m", "properties": {"latestVersion": "7", "isArchived": False}}
        raise AssertionError(f"the program called {args.token}, which these tests do not know")


class RecordingMonitor(mocks.MockMonitor):
    """Keeps every registration, in order, with its options."""

    def __init__(self, azure: mocks.Mocks) -> None:
        super().__init__(azure)
        self.registered: list[Registered] = []

    def RegisterResource(self, request: Any) -> Any:
        answer = super().RegisterResource(request)
        inputs = pulumi.runtime.rpc.deserialize_properties(request.object)
        self.registered.append(Registered(request.type, request.name, inputs, request))
        return answer


@dataclass(frozen=True)
class World:
    """What a program registered."""

    registered: list[Registered]

    def names(self) -> list[str]:
        return [resource.name for resource in self.registered]

    def __getitem__(self, name: str) -> Registered:
        return next(resource for resource in self.registered if resource.name == name)

    def of_type(self, type_: str) -> list[Registered]:
        return [resource for resource in self.registered if resource.type.endswith(type_)]


Run = Callable[..., World]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs a program under mocks, to its end, as an update (not a preview), and returns what it registered."""

    def run_program(program: Callable[[], None]) -> World:
        monitor = RecordingMonitor(Azure())
        mocks.set_mocks(monitor.mocks, project="azureml-endpoints", stack="test", preview=False, monitor=monitor)
        pulumi.runtime.test(program)()
        return World(monitor.registered)

    # Pulumi takes the thread's loop as it finds it, and `asyncio.run` in an earlier test has left the thread none.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("AZUREML_ENDPOINTS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield run_program
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder of the test's own; its working directory."""
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def shared_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder for tests that only look."""
    folder = tmp_path_factory.mktemp("project")
    write_project(folder)
    return folder


def write_project(folder: Path) -> None:
    """Writes an MLflow model, a pickle, and a scoring script."""
    models = {"models/mlflow/model.pkl": "blue", "models/custom/model.pkl": "green"}
    write_files(folder, {**PROJECT_FILES, **models})
