"""Online serving: environments, inference-server processes, and Envoy in front of them."""

from localazure.serving.model import DeploymentSpec, EndpointRoute, EnvironmentSpec, ServingError
from localazure.serving.service import Serving

__all__ = ["DeploymentSpec", "EndpointRoute", "EnvironmentSpec", "Serving", "ServingError"]
