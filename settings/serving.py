"""What an online deployment collects of its requests, and how it is tested before it gains traffic."""

from typing import Any, Literal

from pydantic import Field

from settings.base import SettingsModel, Share, Whole


class CollectionSettings(SettingsModel):
    """One collection of a data collector: `model_inputs`, `model_outputs`, `request`, `response`, or one of your own.

    Without `data`, Azure registers what it collects under a name of its own.
    """

    enabled: bool = Field(default=True, description="Whether it is collected.")
    sampling_rate: Share | None = Field(default=None, description="The share collected, 0 to 1; else the collector's.")
    data: str | None = Field(default=None, description="The data asset that is written to: azureml:<name>:<version>.")
    client_id: str | None = Field(default=None, description="The client id of the identity that writes the data.")


class RequestLoggingSettings(SettingsModel):
    """What is logged of the requests themselves."""

    capture_headers: tuple[str, ...] = Field(default=(), description="Request headers that are collected too.")


class DataCollectorSettings(SettingsModel):
    """What a deployment collects of its requests and answers into the workspace's blobs."""

    collections: dict[str, CollectionSettings] = Field(
        min_length=1,
        description="What is collected, by name: model_inputs, model_outputs, request, response, or your own.",
    )
    sampling_rate: Share = Field(default=1, description="The share of all requests that is collected, 0 to 1.")
    rolling_rate: Literal["minute", "hour", "day", "month", "year"] = Field(
        default="hour", description="How often a new folder of blobs is begun."
    )
    request_logging: RequestLoggingSettings | None = Field(
        default=None, description="What is logged of the requests themselves."
    )


class SmokeTestSettings(SettingsModel):
    """A request that a deployment must answer well before it gains traffic. Paths are relative to the project."""

    request: str = Field(description="The file whose content is sent.")
    status: Whole = Field(default=200, ge=100, le=599, description="The status that the answer must have.")
    expected: Any = Field(
        default=None,
        alias="json",
        description="What the answer must hold at least, as a value or as the path of a .json file.",
    )
    schema_file: str | None = Field(
        default=None, alias="schema", description="A file with the JSON schema that the answer must satisfy."
    )
    time_limit: Whole = Field(default=60, ge=1, description="Seconds within which the answer must be there.")

    @property
    def expected_file(self) -> str | None:
        """The .json file that `json` names; none where it is the value itself."""
        return self.expected if isinstance(self.expected, str) and self.expected.endswith(".json") else None
