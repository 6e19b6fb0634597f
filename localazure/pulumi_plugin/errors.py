"""What can go wrong, as the engine is told. No heavy import: the service must start fast."""

from __future__ import annotations

from typing import Any


class PluginError(Exception):
    """A refusal or failure whose text is meant for the user."""


class NotLocalError(PluginError):
    """The environment does not lead to Local Azure; nothing has been called."""


class UnknownToken(PluginError):
    """The provider knows no such resource type or function."""


class InvalidId(PluginError):
    """An id, or a part of one, that does not belong to the resource type."""


class AlreadyExists(PluginError):
    """The resource to create is in Azure already, outside of the stack."""


class ArmError(PluginError):
    """ARM refused a request, or an operation of it failed.

    Attributes:
        status: HTTP status; 0 if there was no answer.
        code: ARM's error code, empty if there is none.
        accepted: whether the write had been accepted before, so that there may be something in Azure now.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        named = f' Code="{code}"' if code else ""
        super().__init__(f'Status={status}{named} Message="{message}"' if status else message)
        self.status = status
        self.code = code
        self.accepted = False


class Interrupted(PluginError):
    """The engine cancelled, or the time allowed for the resource is over.

    Attributes:
        accepted: as of an ArmError.
    """

    accepted = False


class PartlyDone(PluginError):
    """A write was accepted but its operation failed: the resource may be there, and belongs into the state.

    Attributes:
        id: the resource's id.
        outputs: what of it could be read, empty if nothing.
    """

    def __init__(self, message: str, id: str, outputs: dict[str, Any]) -> None:
        super().__init__(message)
        self.id = id
        self.outputs = outputs
