"""What the providers share: the store, the operations, and the real parts behind them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localazure.arm.operations import Operations
from localazure.arm.store import Store
from localazure.gateway.identity import developer_id
from localazure.home import Home
from localazure.locks import KeyedLocks
from localazure.settings import Settings

if TYPE_CHECKING:
    from localazure.gateway.azurite import AzuriteFleet
    from localazure.gateway.tokens import TokenIssuer
    from localazure.serving import Serving


@dataclass(frozen=True)
class Cloud:
    """One Local Azure, as the providers see it."""

    settings: Settings
    home: Home
    store: Store
    operations: Operations
    tokens: TokenIssuer
    fleet: AzuriteFleet
    serving: Serving
    folders: KeyedLocks = field(default_factory=KeyedLocks)
    """Who is filling which folder of downloaded content."""

    @property
    def caller(self) -> str:
        """The object id of the identity that `localazure env` hands out."""
        return developer_id(self.settings.tenant_id)

    def assets(self, *parts: str) -> Path:
        """A folder for downloaded model and code, below the state folder."""
        return self.home.assets.joinpath(*parts)

    def system_data(self, caller: Mapping[str, Any], created: str | None, moment: str) -> dict[str, Any]:
        """The six keys of `systemData`; `created` is the time of an existing resource."""
        who = str(caller.get("oid") or self.caller)
        return {
            "createdAt": created or moment,
            "createdBy": who,
            "createdByType": "Application",
            "lastModifiedAt": moment,
            "lastModifiedBy": who,
            "lastModifiedByType": "Application",
        }


def stable_id(*parts: str) -> str:
    """A GUID that the same parts always give."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(parts)))
