"""What an online deployment is told, in Azure's words: from settings to the properties that ARM takes."""

from typing import Any

import pulumi
from pulumi_azure_native import machinelearningservices as ml

from components.assets import DeploymentAssets
from components.workspace import MLWorkspace
from settings import (
    CollectionSettings,
    DataCollectorSettings,
    OnlineDeploymentSettings,
    ProbeSettings,
    RequestSettings,
)


def managed(
    settings: OnlineDeploymentSettings, assets: DeploymentAssets, workspace: MLWorkspace
) -> ml.ManagedOnlineDeploymentArgs:
    """The properties of a deployment that runs on Azure's own machines."""
    return ml.ManagedOnlineDeploymentArgs(
        endpoint_compute_type="Managed",
        scale_settings=ml.DefaultScaleSettingsArgs(scale_type="Default"),
        **common(settings, assets, workspace),
    )


def common(settings: OnlineDeploymentSettings, assets: DeploymentAssets, workspace: MLWorkspace) -> dict[str, Any]:
    """What managed deployments and those on a Kubernetes cluster are told alike."""
    code = settings.code and ml.CodeConfigurationArgs(code_id=assets.code_id, scoring_script=settings.code.script)
    return {
        "model": assets.model_id,
        "model_mount_path": settings.model_mount_path,
        "code_configuration": code,
        "environment_id": assets.environment_id,
        "environment_variables": dict(settings.environment_variables),
        "description": settings.description,
        "properties": dict(settings.properties) or None,
        "instance_type": settings.instance_type,
        "app_insights_enabled": settings.app_insights_enabled,
        "egress_public_network_access": settings.egress_public_network_access.capitalize(),
        "request_settings": _requests(settings.request_settings),
        "liveness_probe": _probe(settings.liveness_probe),
        "readiness_probe": _probe(settings.readiness_probe),
        "startup_probe": _probe(settings.startup_probe) if settings.startup_probe else None,
        "data_collector": _collector(settings.data_collector, workspace) if settings.data_collector else None,
    }


def _requests(settings: RequestSettings) -> ml.OnlineRequestSettingsArgs:
    return ml.OnlineRequestSettingsArgs(
        request_timeout=seconds(settings.request_timeout_ms / 1000),
        max_queue_wait=seconds(settings.max_queue_wait_ms / 1000),
        max_concurrent_requests_per_instance=settings.max_concurrent_requests_per_instance,
    )


def _probe(settings: ProbeSettings) -> ml.ProbeSettingsArgs:
    return ml.ProbeSettingsArgs(
        initial_delay=seconds(settings.initial_delay),
        period=seconds(settings.period),
        timeout=seconds(settings.timeout),
        success_threshold=settings.success_threshold,
        failure_threshold=settings.failure_threshold,
    )


def _collector(settings: DataCollectorSettings, workspace: MLWorkspace) -> ml.DataCollectorArgs:
    logging = settings.request_logging
    return ml.DataCollectorArgs(
        collections={
            name: _collection(collection, settings.sampling_rate, workspace)
            for name, collection in settings.collections.items()
        },
        rolling_rate=settings.rolling_rate.capitalize(),
        request_logging=logging and ml.RequestLoggingArgs(capture_headers=list(logging.capture_headers)),
    )


def _collection(settings: CollectionSettings, sampling_rate: float, workspace: MLWorkspace) -> ml.CollectionArgs:
    return ml.CollectionArgs(
        data_collection_mode="Enabled" if settings.enabled else "Disabled",
        sampling_rate=sampling_rate if settings.sampling_rate is None else settings.sampling_rate,
        data_id=_data_id(settings.data, workspace) if settings.data else None,
        client_id=settings.client_id,
    )


def _data_id(reference: str, workspace: MLWorkspace) -> pulumi.Output[str]:
    _, name, version = reference.split(":")
    return workspace.asset_id(f"data/{name}/versions/{version}")


def seconds(number: float) -> str:
    """A duration as ISO 8601 writes it: 5 is `PT5S`, 0.5 is `PT0.5S`."""
    return f"PT{f'{number:.3f}'.rstrip('0').rstrip('.')}S"
