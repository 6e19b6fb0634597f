"""Settings of one Local Azure: from `<home>/settings.json` and `LOCALAZURE_*` variables, which win."""

import json
import os
from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from localazure.arm.weather import WeatherSettings
from localazure.errors import SettingsInvalid
from localazure.home import Home
from localazure.providers.ml import sizes

PREFIX = "LOCALAZURE_"
# Marks of processes and of evaluated shells, which are not settings.
NOT_SETTINGS = ("home_id", "run_id", "worker_id", "proxy", "bundle", "outer_proxy", "outer_no_proxy", "outer_bundle")


def _default_instances() -> int:
    # A small machine cannot run ten scoring processes; two still show that requests are balanced.
    return max(2, os.cpu_count() or 2)


class Settings(BaseModel):
    """What can be chosen about a Local Azure. Every field has a default that suits a laptop."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subscription_id: str = "10ca1a2e-0000-4000-8000-000000000001"
    tenant_id: str = "10ca1a2e-0000-4000-8000-0000000000aa"
    location: str = "eastus"
    max_instances_per_deployment: int = Field(default_factory=_default_instances, ge=1)
    """Scoring processes really started for a deployment, whatever its instance count."""
    max_batch_workers: int = Field(default_factory=_default_instances, ge=1)
    """Worker processes really started for a batch job, whatever its instance count and concurrency."""
    max_batch_jobs: int = Field(default=4, ge=1)
    """Batch jobs carried out at a time, whatever nodes their clusters have: further ones have theirs and wait."""
    batch_worker_memory_mb: int | None = Field(default=None, ge=1)
    """What a worker process of a batch job may hold before it is ended; by default a job's workers share four fifths of
    the machine's memory."""
    python_fallback: bool = True
    """Another Python may stand in for one that cannot be had, with a warning."""
    relax_pins: bool = False
    """A pin without a wheel may be replaced by the nearest newer version, with a warning."""
    operation_retry_after_ms: int = Field(default=50, ge=1)
    """How soon a client is told to poll a long operation again, in milliseconds."""
    quota: dict[str, Annotated[int, Field(ge=0)]] = {}
    """Cores that families of VM sizes may hold in a region, such as `{"standardDSv2Family": 6}`; also
    `TotalDedicatedCores`, `TotalLowPriorityCores`, `TotalClusters`. As a variable, in JSON."""
    default_quota: int = Field(default=300, ge=0)
    """Cores of what `quota` does not name. Azure gives a subscription 24 to 300 by its kind, and of GPU families none:
    they have none here either until `quota` names them."""
    role_assignment_delay: float = Field(default=0.0, ge=0)
    """How long after its creation a role assignment is effective, in seconds; in Azure 60 to 120."""
    client_network: Literal["private", "public"] = "private"
    """Where clients are: in the virtual network that private endpoints are in, or on the internet."""
    client_address: IPv4Address = IPv4Address("203.0.113.10")
    """What a client on the internet comes from, for the address rules of firewalls."""
    autoscale_seconds: float = Field(default=5.0, gt=0)
    """How often autoscale settings are looked at; Azure does so every 30 to 60 seconds."""
    weather: WeatherSettings = WeatherSettings()
    """Slow answers, throttling, faults and operations that fail: none, unless asked for. As a variable, in JSON."""

    @field_validator("weather", "quota", mode="before")
    @classmethod
    def _from_json(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"is not JSON: {error}") from None

    @field_validator("quota")
    @classmethod
    def _known_families(cls, value: dict[str, int]) -> dict[str, int]:
        totals = (sizes.TOTAL_CLUSTERS, sizes.TOTAL_DEDICATED, sizes.TOTAL_LOW_PRIORITY)
        known = {name.lower(): name for name in (*totals, *sizes.FAMILIES.values())}
        if unknown := [name for name in value if name.lower() not in known]:
            raise ValueError(f"no such family: {', '.join(unknown)}; there are {', '.join(known.values())}")
        return {known[name.lower()]: cores for name, cores in value.items()}

    @classmethod
    def load(cls, home: Home, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read the settings that hold for this home.

        Raises:
            SettingsInvalid: an unknown key or a bad value, naming all of them.
        """
        try:
            return cls.model_validate(
                _file_values(home) | _environment_values(os.environ if environ is None else environ)
            )
        except ValidationError as error:
            raise SettingsInvalid(_explain(home, error)) from None


def _file_values(home: Home) -> dict[str, object]:
    if not home.settings_file.is_file():
        return {}
    try:
        values = json.loads(home.settings_file.read_text())
    except ValueError as error:
        raise SettingsInvalid(f"{home.settings_file} is not JSON: {error}.") from None
    if not isinstance(values, dict):
        raise SettingsInvalid(f"{home.settings_file} must hold one JSON object of settings.")
    return values


def _environment_values(environ: Mapping[str, str]) -> dict[str, object]:
    named = {key[len(PREFIX) :].lower(): value for key, value in environ.items() if key.startswith(PREFIX)}
    return {key: value for key, value in named.items() if key not in NOT_SETTINGS}


def _explain(home: Home, error: ValidationError) -> str:
    problems = [
        f"{'.'.join(map(str, item['loc']))}: {item['msg']} (got {item['input']!r})"
        for item in error.errors(include_url=False)
    ]
    known = ", ".join(Settings.model_fields)
    return "\n".join([f"Settings ({home.settings_file} or {PREFIX}*) do not hold:", *problems, f"Known: {known}."])
