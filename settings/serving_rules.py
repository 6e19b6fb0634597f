"""The rules for what an online endpoint works under, and for how its deployments are run, watched and tested.

Source: https://learn.microsoft.com/azure/machine-learning/reference-yaml-deployment-managed-online,
how-to-collect-production-data, how-to-deploy-mlflow-models-online-endpoints and concept-endpoints-online-auth.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from settings.files import found
from settings.models import ModelSettings, OnlineDeploymentSettings, OnlineEndpointSettings
from settings.serving import DataCollectorSettings, SmokeTestSettings
from settings.shapes import key_path

IDENTITY_ID = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.ManagedIdentity/userAssignedIdentities/[^/]+",
    re.IGNORECASE,
)
COLLECTION_NAME = re.compile(r"[A-Za-z0-9_-]+")
DATA_REFERENCE = re.compile(r"azureml:[^:@/]+:[^:@/]+")
CLIENT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# What HTTP takes as the name of a header.
HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
# Of bytes, as Linux takes them: in a path, and in each part of it.
LONGEST_PATH, LONGEST_PART = 1024, 255

Findings = Iterator[str]


def identity_findings(path: str, endpoint: OnlineEndpointSettings) -> Findings:
    """What is wrong with the identities that an endpoint is given; that they exist only Azure knows."""
    if isinstance(endpoint.identity, str):
        return
    for at, identity in enumerate(endpoint.identity):
        if not IDENTITY_ID.fullmatch(identity):
            yield (
                f'{path}.identity.{at}: "{identity}" is not the ARM id of a user-assigned identity; it has the form '
                "/subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.ManagedIdentity/"
                "userAssignedIdentities/<name>."
            )
    if len({identity.lower() for identity in endpoint.identity}) < len(endpoint.identity):
        yield f"{path}.identity: names an identity twice; keep it once."


def serving_findings(path: str, deployment: OnlineDeploymentSettings, root: Path) -> Findings:
    """What is wrong with how a deployment is run, watched and tested; files are relative to `root`."""
    yield from _container(path, deployment)
    yield from _probes(path, deployment)
    if deployment.data_collector:
        yield from _collector(key_path(path, "dataCollector"), deployment.data_collector)
    if deployment.smoke_test:
        yield from _smoke_test(key_path(path, "smokeTest"), deployment.smoke_test, root)


def _container(path: str, deployment: OnlineDeploymentSettings) -> Findings:
    mount = deployment.model_mount_path
    if mount is not None and not _is_folder(mount):
        yield f'{path}.modelMountPath: "{mount}" is not a folder in a container; write one like /var/models.'
    if not _is_served_by_azure(deployment.model):
        return
    if mount is not None:
        yield (
            f"{path}.modelMountPath: an mlflow_model without code runs in a container of Azure's, which looks for it "
            "at its own place; remove it, or set model.type to custom_model to score with a script of your own."
        )
    if deployment.egress_public_network_access == "disabled":
        yield (
            f"{path}.egressPublicNetworkAccess: the environment of an mlflow_model without code is built from public "
            "package indexes, which the deployment would not reach; set it to enabled, or set model.type to "
            "custom_model, with code and an environment of your own."
        )


def _is_folder(mount: str) -> bool:
    parts = mount.removesuffix("/").split("/")[1:]
    plain = all(len(part.encode()) <= LONGEST_PART and part.isprintable() for part in parts)
    named = parts and all(part not in ("", ".", "..") for part in parts)
    return bool(mount.startswith("/") and named and plain and len(mount.encode()) <= LONGEST_PATH)


def _probes(path: str, deployment: OnlineDeploymentSettings) -> Findings:
    for key, probe in (("livenessProbe", deployment.liveness_probe), ("startupProbe", deployment.startup_probe)):
        if probe is not None and probe.success_threshold != 1:
            yield (
                f"{path}.{key}.successThreshold: is {probe.success_threshold}; only a readinessProbe can want more "
                "than 1: remove it."
            )


def _is_served_by_azure(model: ModelSettings) -> bool:
    return model.reference is None and model.type == "mlflow_model"


def _collector(path: str, collector: DataCollectorSettings) -> Findings:
    for name, collection in collector.collections.items():
        own = key_path(path, "collections", name)
        if not COLLECTION_NAME.fullmatch(name):
            yield f'{own}: "{name}" becomes part of a path of blobs; use letters, digits, - and _.'
        if collection.data is not None and not DATA_REFERENCE.fullmatch(collection.data):
            yield f'{own}.data: "{collection.data}" is no data asset; write azureml:<name>:<version>.'
        if collection.client_id is not None and not CLIENT_ID.fullmatch(collection.client_id):
            yield f'{own}.clientId: "{collection.client_id}" is no client id; it is a GUID, which the identity shows.'
    logging = collector.request_logging
    for at, header in enumerate(logging.capture_headers if logging else ()):
        if not HEADER.fullmatch(header):
            yield f'{path}.requestLogging.captureHeaders.{at}: "{header}" is not the name of a header; correct it.'


def _smoke_test(path: str, test: SmokeTestSettings, root: Path) -> Findings:
    files = {"request": test.request, "json": test.expected_file, "schema": test.schema_file}
    for key, name in files.items():
        if name is None:
            continue
        if not found(root / name, "file"):
            yield f'{path}.{key}: there is no file "{name}"; correct the path (it is relative to the project).'
        elif key != "request" or name.endswith(".json"):
            yield from _not_json(f"{path}.{key}", name, root, schema=key == "schema")


def _not_json(path: str, name: str, root: Path, *, schema: bool) -> Findings:
    try:
        content = json.loads((root / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield f'{path}: "{name}" holds no JSON: {error}; correct the file.'
        return
    except RecursionError:
        yield f'{path}: "{name}" is nested too deeply to be read; correct the file.'
        return
    if schema:
        yield from _no_schema(path, name, content)


def _no_schema(path: str, name: str, content: object) -> Findings:
    # Here, since most stacks have no schema, and importing it takes longer than reading all of the configuration.
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    if not isinstance(content, dict):
        yield f'{path}: "{name}" is not a JSON schema, which is an object; correct the file.'
        return
    if not isinstance(content.get("$schema", ""), str):
        yield f'{path}: "$schema" of "{name}" is no text; name the version of JSON schema by its URL, or leave it out.'
        return
    try:
        validator_for(content).check_schema(content)
    except SchemaError as error:
        yield f'{path}: "{name}" is not a JSON schema: {error.message} ({error.json_path}); correct the file.'
