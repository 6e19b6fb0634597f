"""The words that serving shares with its callers: what to run, how to route to it, and how it fails."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

AuthMode = Literal["key", "aml_token", "aad_token"]
Container = Literal["InferenceServer", "StorageInitializer"]


class ServingError(Exception):
    """A deployment cannot be served; `code` and `message` are what Azure's failed operation would carry.

    Codes: https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class EnvironmentSpec:
    """A registered environment version. Only its conda file can be run; the image is named in messages."""

    name: str
    version: str
    image: str | None = None
    conda: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Probe:
    """How an instance is asked how it is, and what its answers come to. Times are in seconds; the defaults are Azure's.

    Source: https://learn.microsoft.com/azure/machine-learning/reference-yaml-deployment-managed-online#probesettings
    """

    initial_delay: float = 10.0
    period: float = 10.0
    timeout: float = 2.0
    success_threshold: int = 1
    failure_threshold: int = 30

    @property
    def patience(self) -> float:
        """How long after its start an instance may fail this probe before the probe gives up."""
        return self.initial_delay + self.period * self.failure_threshold


@dataclass(frozen=True)
class Probes:
    """What is asked of every instance of a deployment."""

    liveness: Probe = Probe()
    """Giving up on it restarts the instance."""
    readiness: Probe = Probe()
    """Giving up on it takes the instance out of the routes until it answers again."""
    startup: Probe | None = None
    """Until it has succeeded the other two are not asked."""


@dataclass(frozen=True)
class DeploymentSpec:
    """One online deployment, with everything it needs already on this machine."""

    endpoint: str
    name: str
    model_dir: Path | None = None
    """What AZUREML_MODEL_DIR names: a model's folder lies below it, a single file directly in it."""
    mlflow: bool = False
    mlflow_path: Path | None = None
    """The folder with the MLmodel file."""
    code_dir: Path | None = None
    script: str | None = None
    environment: EnvironmentSpec | None = None
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    instances: int = 1
    timeout_ms: int = 5000
    max_concurrent: int = 1
    probes: Probes = Probes()


@dataclass(frozen=True)
class EndpointRoute:
    """How one endpoint's requests are let in and split. Weights are percentages."""

    name: str
    hosts: tuple[str, ...]
    auth: AuthMode = "key"
    keys: tuple[str, ...] = field(default=(), repr=False)
    traffic: Mapping[str, int] = field(default_factory=dict)
    mirror: Mapping[str, int] = field(default_factory=dict)
    deployments: tuple[str, ...] = ()
    """The deployments that may be reached: those that are ready."""
    known: tuple[str, ...] = ()
    """Deployments that there are, ready or not. One with a weight is known without being named here."""
    callers: frozenset[str] | None = None
    """The object ids whose Entra tokens may score; None lets every identity in. For `aad_token` alone."""
