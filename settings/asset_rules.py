"""The rules for the names that a deployment gives: to its model, its environment, and the file of its predictions.

Source: https://learn.microsoft.com/azure/machine-learning/reference-yaml-model, reference-yaml-environment and
reference-yaml-deployment-batch.
"""

import re
from collections.abc import Iterator

from settings.models import DeploymentSettings, Settings
from settings.shapes import key_path

ASSET_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")
RULE = "up to 255 letters, digits, hyphens, underscores and full stops, a letter or digit first"

Findings = Iterator[str]


def asset_findings(settings: Settings) -> Findings:
    """What is wrong with the names of models, environments and files of predictions."""
    for kind, endpoints in (
        ("onlineEndpoints", settings.online_endpoints),
        ("batchEndpoints", settings.batch_endpoints),
    ):
        for name, endpoint in endpoints.items():
            for deployment, own in endpoint.deployments.items():
                yield from _names(key_path(kind, name, "deployments", deployment), own)
    for name, endpoint in settings.batch_endpoints.items():
        for deployment, own in endpoint.deployments.items():
            path, file = key_path("batchEndpoints", name, "deployments", deployment), own.output_file_name
            if not file or "/" in file or "\0" in file or file in (".", ".."):
                yield f'{path}.outputFileName: "{file}" is not the name of a file; write one as predictions.csv.'


def _names(path: str, deployment: DeploymentSettings) -> Findings:
    given = {"model": deployment.model.name, "environment": deployment.environment and deployment.environment.name}
    for key, name in given.items():
        if name is not None and not ASSET_NAME.fullmatch(name):
            yield f'{path}.{key}.name: "{name}" ({len(name)} characters) is not a name that Azure takes; use {RULE}.'
