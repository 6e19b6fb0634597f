"""Online serving: environments, inference-server processes, and Envoy in front of them."""

from localazure.serving.model import DeploymentSpec, EndpointRoute, EnvironmentSpec, Probe, Probes, ServingError
from localazure.serving.service import Serving

__all__ = ["DeploymentSpec", "EndpointRoute", "EnvironmentSpec", "Probe", "Probes", "Serving", "ServingError"]
