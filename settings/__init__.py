"""The stack configuration, typed: the only reader of `pulumi.Config`.

`load()` reads the configuration of the selected stack once, checks everything that can be known without Azure, and
raises one `SettingsError` that lists all that is wrong, each with its key path, the value received and the way out.
When it appears nothing has been created.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
from pydantic import ValidationError

from settings.kubernetes import KubernetesClusterSettings
from settings.models import (
    AUTO,
    BatchDeploymentSettings,
    BatchEndpointSettings,
    CodeSettings,
    ComputeClusterSettings,
    DeploymentSettings,
    EndpointSettings,
    EnvironmentSettings,
    ModelSettings,
    OnlineDeploymentSettings,
    OnlineEndpointSettings,
    ProbeSettings,
    RequestSettings,
    RetrySettings,
    Settings,
)
from settings.platform import NetworkSettings, SecuritySettings, WorkspaceSettings
from settings.quota import need_lines
from settings.regions import region_warning
from settings.rules import CLUSTER_NAME, Rules, traffic_findings
from settings.scale import AutoscaleSettings
from settings.schedules import ScheduleSettings
from settings.serving import CollectionSettings, DataCollectorSettings, RequestLoggingSettings, SmokeTestSettings
from settings.shapes import prune, shape_finding
from settings.sizes import size_warnings

__all__ = [
    "CLUSTER_NAME",
    "AutoscaleSettings",
    "BatchDeploymentSettings",
    "BatchEndpointSettings",
    "CodeSettings",
    "CollectionSettings",
    "ComputeClusterSettings",
    "DataCollectorSettings",
    "DeploymentSettings",
    "EndpointSettings",
    "EnvironmentSettings",
    "KubernetesClusterSettings",
    "ModelSettings",
    "NetworkSettings",
    "OnlineDeploymentSettings",
    "OnlineEndpointSettings",
    "ProbeSettings",
    "RequestLoggingSettings",
    "RequestSettings",
    "RetrySettings",
    "ScheduleSettings",
    "SecuritySettings",
    "Settings",
    "SettingsError",
    "SmokeTestSettings",
    "WorkspaceSettings",
    "load",
    "name_suffix",
    "parse",
    "traffic_findings",
    "warnings",
]


class SettingsError(pulumi.RunError):
    """What is wrong with the stack configuration; Pulumi prints it without a traceback."""

    def __init__(self, findings: list[str]) -> None:
        self.findings = findings
        count = "1 problem" if len(findings) == 1 else f"{len(findings)} problems"
        lines = "\n".join(f"  {finding}" for finding in findings)
        super().__init__(f"The stack configuration has {count}; nothing has been changed.\n{lines}")


def load() -> Settings:
    """Reads and checks the configuration of the selected stack. Raises `SettingsError`."""
    config = pulumi.Config()
    prefix = f"{config.name}:"
    keys = [key.removeprefix(prefix) for key in _configured_keys() if key.startswith(prefix)]
    # Before anything is read: no finding may show what is secret.
    if secrets := [_secret_finding(key) for key in keys if _is_secret(f"{prefix}{key}")]:
        raise SettingsError(secrets)
    raw = {key: _value(config.get(key)) for key in keys}
    azure = pulumi.Config("azure-native")
    raw["azure-native:location"] = azure.get("location")
    subscription = azure.get("subscriptionId") or os.environ.get("ARM_SUBSCRIPTION_ID")
    derived = raw.get("nameSuffix", AUTO) == AUTO
    if derived:
        raw.pop("nameSuffix", None)
        if subscription:
            raw["nameSuffix"] = name_suffix(subscription, pulumi.get_project(), pulumi.get_stack())
    stack = parse(raw, derived_suffix=derived)
    for line in warnings(stack):
        pulumi.log.warn(line)
    for line in need_lines(stack):
        pulumi.log.info(line)
    return stack


def parse(raw: Mapping[str, Any], root: Path | None = None, *, derived_suffix: bool = False) -> Settings:
    """Turns raw configuration values into `Settings`; paths are relative to `root`. Raises `SettingsError`.

    With `derived_suffix` a finding on a name says where its end comes from, since the user did not write it.
    """
    findings: list[str] = []
    rest: Any = json.loads(json.dumps(raw))
    while True:
        try:
            settings = Settings.model_validate(rest)
            break
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=True)
            # Only the first round speaks of what the user wrote; later rounds are about holes that pruning left.
            findings = findings or [shape_finding(problem) for problem in problems]
            if not prune(rest, problems):
                raise SettingsError(findings) from None
    findings += Rules(settings, raw, root or Path(), derived_suffix).findings()
    if findings:
        raise SettingsError(findings)
    return settings


def warnings(stack: Settings) -> list[str]:
    """A line for each thing that a list of ours lacks, and that Azure may have nevertheless."""
    region = region_warning("azure-native:location", stack.location) if stack.location else None
    return [*([region] if region else []), *size_warnings(stack)]


def name_suffix(subscription_id: str, project: str, stack: str) -> str:
    """Six characters that keep two stacks of one region apart; a letter first, since no cluster ends in -<digits>."""
    return "s" + hashlib.sha256(f"{subscription_id}/{project}/{stack}".lower().encode()).hexdigest()[:5]


def _configured_keys() -> list[str]:
    # pulumi.Config cannot list its keys, and a key that nobody reads would be a typing error that nobody sees.
    runtime = pulumi.runtime.config
    return sorted({*runtime.CONFIG.get(), *runtime.get_config_env()})


def _is_secret(key: str) -> bool:
    runtime = pulumi.runtime.config
    return runtime.is_config_secret(key) or key in runtime.get_config_secret_keys_env()


def _secret_finding(key: str) -> str:
    return (
        f"{key}: holds a secret, which would be stored and shown in plain text, in the stack's state and in Azure; "
        "take it out of the stack configuration, keep it in a key vault, and let the scoring script read it there with "
        "the endpoint's identity."
    )


def _value(text: str | None) -> Any:
    """Objects arrive as JSON; everything else stays the text that pydantic converts by the field's type."""
    try:
        value = json.loads(text or "")
    except ValueError:
        return text
    return value if isinstance(value, dict | list) else text
