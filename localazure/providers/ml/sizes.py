"""Sizes of virtual machines that Azure ML runs on: cores, memory, GPUs, and the family that a quota is counted by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

# What Azure counts beside the families of sizes (`usages` of Azure ML names them so).
TOTAL_CLUSTERS, TOTAL_DEDICATED, TOTAL_LOW_PRIORITY = "TotalClusters", "TotalDedicatedCores", "TotalLowPriorityCores"

# A managed online deployment on these needs no cores in reserve for its upgrades
# (learn.microsoft.com/azure/machine-learning/how-to-manage-quotas).
_NO_RESERVE = ("standardncadsa100v4family", "standardncadsh100v5family")
_OS_DISK_MB = 1_047_552


@dataclass(frozen=True)
class Size:
    """A size.

    Attributes:
        name: as Azure spells it.
        family: the name of the quota that its cores count against.
        cores: virtual CPUs.
        memory: GB.
        disk: the temporary disk in GB; 0 without one.
        gpus: GPUs, a part of one counting as one.
    """

    name: str
    family: str
    cores: int
    memory: float
    disk: float
    gpus: int = 0

    @property
    def reserve(self) -> bool:
        """Whether managed online deployments keep a fifth more cores free for their upgrades."""
        return not (self.family.lower() in _NO_RESERVE or self.family.lower().startswith("standardnd"))

    def document(self) -> dict[str, Any]:
        """The entry of `locations/vmSizes`."""
        return {
            "name": self.name,
            "family": self.family,
            "vCPUs": self.cores,
            "gpus": self.gpus,
            "osVhdSizeMB": _OS_DISK_MB,
            "maxResourceVolumeMB": round(self.disk * 1024),
            "memoryGB": self.memory,
            "lowPriorityCapable": True,
            # An `s` in the size (DS3_v2, D4s_v3, NC24ads) is Azure's mark for premium storage.
            "premiumIO": "s" in self.name.removeprefix("Standard_").partition("_")[0].lower(),
            "estimatedVMPrices": None,
            "supportedComputeTypes": ["AmlCompute", "ComputeInstance"],
        }


def _scaled(family: str, name: str, cores: Iterable[int], memory: float, disk: float) -> list[Size]:
    """A series whose memory and disk (GB) grow with the cores."""
    return [Size(name.format(count), family, count, count * memory, count * disk) for count in cores]


def _listed(family: str, *rows: tuple[str, int, float, float] | tuple[str, int, float, float, int]) -> list[Size]:
    return [Size(f"Standard_{name}", family, cores, memory, disk, *gpus) for name, cores, memory, disk, *gpus in rows]


_UP_TO_80 = (8, 16, 32, 48, 64, 80)
_SMALL, _UP_TO_64, _UP_TO_96 = (2, 4, 8, 16, 32), (2, 4, 8, 16, 32, 48, 64), (2, 4, 8, 16, 32, 48, 64, 96)
_D2 = ((1, 1, 3.5), (2, 2, 7), (3, 4, 14), (4, 8, 28), (5, 16, 56))
_D11 = ((11, 2, 14), (12, 4, 28), (13, 8, 56), (14, 16, 112), (15, 20, 140))

_ALL: Sequence[Size] = [
    *_listed(
        "standardAv2Family",
        ("A1_v2", 1, 2, 10),
        ("A2_v2", 2, 4, 20),
        ("A4_v2", 4, 8, 40),
        ("A8_v2", 8, 16, 80),
        ("A2m_v2", 2, 16, 20),
        ("A4m_v2", 4, 32, 40),
        ("A8m_v2", 8, 64, 80),
    ),
    *_listed("standardDv2Family", *((f"D{at}_v2", cores, memory, cores * 50) for at, cores, memory in (*_D2, *_D11))),
    *_listed("standardDSv2Family", *((f"DS{at}_v2", cores, memory, memory * 2) for at, cores, memory in (*_D2, *_D11))),
    *_scaled("standardDv3Family", "Standard_D{}_v3", _UP_TO_64, 4, 25),
    *_scaled("standardDSv3Family", "Standard_D{}s_v3", _UP_TO_64, 4, 8),
    *_scaled("standardDSv4Family", "Standard_D{}s_v4", _UP_TO_64, 4, 0),
    *_scaled("standardDDSv4Family", "Standard_D{}ds_v4", _UP_TO_64, 4, 37.5),
    *_scaled("standardDAv4Family", "Standard_D{}a_v4", _UP_TO_96, 4, 25),
    *_scaled("standardDASv4Family", "Standard_D{}as_v4", _UP_TO_96, 4, 8),
    *_scaled("standardDSv5Family", "Standard_D{}s_v5", _UP_TO_96, 4, 0),
    *_scaled("standardDDSv5Family", "Standard_D{}ds_v5", _UP_TO_96, 4, 37.5),
    *_scaled("standardDASv5Family", "Standard_D{}as_v5", _UP_TO_96, 4, 0),
    *_scaled("standardDADSv5Family", "Standard_D{}ads_v5", _UP_TO_96, 4, 37.5),
    *_scaled("standardEv3Family", "Standard_E{}_v3", (*_SMALL, 48), 8, 25),
    *_scaled("standardESv3Family", "Standard_E{}s_v3", _UP_TO_64, 8, 16),
    *_scaled("standardESv4Family", "Standard_E{}s_v4", (*_SMALL, 48), 8, 0),
    *_scaled("standardEDSv4Family", "Standard_E{}ds_v4", (*_SMALL, 48), 8, 37.5),
    *_scaled("standardEASv4Family", "Standard_E{}as_v4", (*_SMALL, 48), 8, 16),
    *_scaled("standardESv5Family", "Standard_E{}s_v5", (*_SMALL, 48), 8, 0),
    *_scaled("standardEDSv5Family", "Standard_E{}ds_v5", (*_SMALL, 48), 8, 37.5),
    *_scaled("standardFSv2Family", "Standard_F{}s_v2", (*_UP_TO_64, 72), 2, 8),
    *_scaled("standardFXMDVSFamily", "Standard_FX{}mds", (4, 12, 24, 36, 48), 21, 42),
    *_scaled("standardLSv2Family", "Standard_L{}s_v2", _UP_TO_80, 8, 10),
    *_scaled("standardLSv3Family", "Standard_L{}s_v3", _UP_TO_80, 8, 10),
    *_scaled("standardLASv3Family", "Standard_L{}as_v3", _UP_TO_80, 8, 10),
    *_listed(
        "standardNCSv2Family",
        ("NC6s_v2", 6, 112, 736, 1),
        ("NC12s_v2", 12, 224, 1474, 2),
        ("NC24s_v2", 24, 448, 2948, 4),
    ),
    *_listed(
        "standardNCSv3Family",
        ("NC6s_v3", 6, 112, 736, 1),
        ("NC12s_v3", 12, 224, 1474, 2),
        ("NC24s_v3", 24, 448, 2948, 4),
        ("NC24rs_v3", 24, 448, 2948, 4),
    ),
    *_listed(
        "StandardNCASv3_T4Family",
        ("NC4as_T4_v3", 4, 28, 176, 1),
        ("NC8as_T4_v3", 8, 56, 352, 1),
        ("NC16as_T4_v3", 16, 110, 352, 1),
        ("NC64as_T4_v3", 64, 440, 2816, 4),
    ),
    *_listed(
        "standardNCADSA100v4Family",
        ("NC24ads_A100_v4", 24, 220, 64, 1),
        ("NC48ads_A100_v4", 48, 440, 128, 2),
        ("NC96ads_A100_v4", 96, 880, 256, 4),
    ),
    *_listed("standardNCadsH100v5Family", ("NC40ads_H100_v5", 40, 320, 128, 1), ("NC80adis_H100_v5", 80, 640, 256, 2)),
    *_listed("standardNDSv2Family", ("ND40rs_v2", 40, 672, 2948, 8)),
    *_listed("StandardNDASv4_A100Family", ("ND96asr_v4", 96, 900, 6000, 8)),
    *_listed("standardNDAMSv4_A100Family", ("ND96amsr_A100_v4", 96, 1900, 6400, 8)),
    *_listed(
        "standardNDv5H100Family", ("ND96is_H100_v5", 96, 1900, 28_000, 8), ("ND96isr_H100_v5", 96, 1900, 28_000, 8)
    ),
    *_listed("standardNDISRH200V5Family", ("ND96isr_H200_v5", 96, 1850, 28_000, 8)),
    *_listed(
        "StandardNVADSA10v5Family",
        ("NV6ads_A10_v5", 6, 55, 180, 1),
        ("NV12ads_A10_v5", 12, 110, 360, 1),
        ("NV18ads_A10_v5", 18, 220, 720, 1),
        ("NV36ads_A10_v5", 36, 440, 720, 1),
        ("NV36adms_A10_v5", 36, 880, 720, 1),
        ("NV72ads_A10_v5", 72, 880, 1400, 2),
    ),
]

SIZES = {size.name.lower(): size for size in _ALL}
"""The sizes, by name in lower case."""

FAMILIES = {size.family.lower(): size.family for size in _ALL}
"""The families, by name in lower case."""

GPU_FAMILIES = frozenset(size.family.lower() for size in _ALL if size.gpus)
"""Families in lower case whose quota a new subscription has to ask for."""


def find(name: str) -> Size | None:
    """The size of that name in any case, or None."""
    return SIZES.get(name.lower())


def title(family: str) -> str:
    """A family as Azure writes it for people: `standardDSv2Family` is `Standard DSv2`."""
    return "Standard " + family[len("standard") : -len("family")]
