"""What an online deployment on a Kubernetes cluster is told, in Azure's words."""

from typing import Any

from pulumi_azure_native import machinelearningservices as ml

from components.assets import DeploymentAssets
from components.online_properties import common, seconds
from components.workspace import MLWorkspace
from settings import AutoscaleSettings, OnlineDeploymentSettings
from settings.kubernetes import Amounts, ContainerResources

ScaleSettings = ml.DefaultScaleSettingsArgs | ml.TargetUtilizationScaleSettingsArgs


def on_kubernetes(
    settings: OnlineDeploymentSettings, assets: DeploymentAssets, workspace: MLWorkspace, instance_type: str | None
) -> ml.KubernetesOnlineDeploymentArgs:
    """The properties of a deployment that runs on a cluster, whose `instance_type` it is of."""
    # Said in any case: azure-native would fill in the size of a virtual machine.
    told: dict[str, Any] = {**common(settings, assets, workspace), "instance_type": instance_type}
    return ml.KubernetesOnlineDeploymentArgs(
        endpoint_compute_type="Kubernetes",
        scale_settings=_scale(settings.autoscale),
        container_resource_requirements=_requirements(settings.resources) if settings.resources else None,
        **told,
    )


def _scale(settings: AutoscaleSettings | None) -> ScaleSettings:
    """A fixed number of instances, or what the cluster's router scales by. The defaults are Azure's."""
    if settings is None:
        return ml.DefaultScaleSettingsArgs(scale_type="Default")
    return ml.TargetUtilizationScaleSettingsArgs(
        scale_type="TargetUtilization",
        min_instances=settings.min_instances,
        max_instances=settings.max_instances,
        target_utilization_percentage=settings.target_utilization_percentage or 70,
        polling_interval=seconds(settings.polling_interval or 1),
    )


def _requirements(settings: ContainerResources) -> ml.ContainerResourceRequirementsArgs:
    return ml.ContainerResourceRequirementsArgs(
        container_resource_requests=_amounts(settings.requests), container_resource_limits=_amounts(settings.limits)
    )


def _amounts(amounts: Amounts) -> ml.ContainerResourceSettingsArgs | None:
    given = amounts.model_dump(exclude_none=True)
    return ml.ContainerResourceSettingsArgs(**given) if given else None
