"""How long Azure takes, as far as it is known: the latency profiles that settings name."""

from __future__ import annotations

from collections.abc import Mapping

from localazure.arm.weather import Timing

_ML = "Microsoft.MachineLearningServices/workspaces"
_ONLINE = f"{_ML}/onlineEndpoints"

# Seconds. Recorded traffic of the live service for endpoints, Microsoft's documentation and recorded traffic for
# deployments, users' logs for assets; of a workspace users say "minutes". What is not here takes as long as its work.
_AZURE = (
    Timing("PUT", _ONLINE, 46, 90, new=True),
    Timing("P[UA]T*", _ONLINE, 20, 20),
    Timing("DELETE", _ONLINE, 8, 8),
    Timing("PUT", f"{_ONLINE}/deployments", 420, 600, new=True),
    Timing("P[UA]T*", f"{_ONLINE}/deployments", 300, 300),
    Timing("PUT", f"{_ML}/batchEndpoints", 11, 11, new=True),
    # A node of a compute cluster, which is allocated when a job needs it: what users measure of Azure Batch, which
    # the clusters stand on (Azure/Batch, issue 145).
    Timing("ALLOCATE", f"{_ML}/computes/nodes", 180, 480),
    Timing("PUT", _ML, 120, 300, new=True),
    Timing("PUT", f"{_ML}/models/versions", 1, 1, long=False),
    Timing("PUT", f"{_ML}/codes/versions", 1, 1, long=False),
    Timing("PUT", f"{_ML}/environments/versions", 6, 6, long=False),
    # The `x-request-time` of the live service's answers.
    Timing("*", "*", 0.03, 0.03, long=False),
)

PROFILES: Mapping[str, tuple[Timing, ...]] = {"azure": _AZURE}
