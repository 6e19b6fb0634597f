"""Types, paths and spellings of Logic Apps."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta

from localazure.arm.ids import GROUP, SUBSCRIPTION

NAMESPACE = "Microsoft.Logic"
WORKFLOW_TYPE = f"{NAMESPACE}/workflows"
RUN_TYPE = f"{WORKFLOW_TYPE}/runs"
ACTION_TYPE = f"{RUN_TYPE}/actions"
TRIGGER_TYPE = f"{WORKFLOW_TYPE}/triggers"
HISTORY_TYPE = f"{TRIGGER_TYPE}/histories"
VERSION_TYPE = f"{WORKFLOW_TYPE}/versions"

WORKFLOW = GROUP + f"/providers/{WORKFLOW_TYPE}/{{workflow}}"
LOCATION = f"{SUBSCRIPTION}/providers/{NAMESPACE}/locations/{{location}}"
TRIGGER = WORKFLOW + "/triggers/{trigger}"
HISTORY = TRIGGER + "/histories/{history}"
RUN = WORKFLOW + "/runs/{run}"
ACTION = RUN + "/actions/{action}"

ENABLED, DISABLED = "Enabled", "Disabled"
WAITING, RUNNING, SUCCEEDED, FAILED = "Waiting", "Running", "Succeeded", "Failed"
CANCELLED, SKIPPED = "Cancelled", "Skipped"

_FIRST = datetime(1, 1, 1, tzinfo=UTC)
# .NET's DateTime.MaxValue, in ticks of 100 ns.
_LAST_TICK = 3155378975999999999


def stamp(moment: datetime) -> str:
    """A moment as Logic Apps write it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


def moment_of(text: str) -> datetime:
    """What `stamp` wrote."""
    return datetime.fromisoformat(text[:26] + "+00:00")


def reversed_ticks(moment: datetime) -> str:
    """What versions and runs are named by, so that the newest comes first in a list by name."""
    return f"{_LAST_TICK - (moment - _FIRST) // timedelta(microseconds=1) * 10:020d}"


def run_name(moment: datetime, *of: str) -> str:
    """The name of a run: one name for one instant of one trigger, so that there cannot be two of it."""
    return f"{reversed_ticks(moment)}{zlib.crc32('/'.join(of).lower().encode()):012d}CU00"
