"""The regions of Azure's public cloud that Azure ML is in. One that the list lacks may be a new one: a warning.

Source: https://learn.microsoft.com/azure/reliability/regions-list and `az account list-locations`.
"""

import difflib
import re
from collections.abc import Iterator

DATE = "October 2025"
REGIONS = frozenset(
    [
        "australiaeast",
        "australiasoutheast",
        "brazilsouth",
        "canadacentral",
        "canadaeast",
        "centralindia",
        "centralus",
        "eastasia",
        "eastus",
        "eastus2",
        "francecentral",
        "germanywestcentral",
        "israelcentral",
        "italynorth",
        "japaneast",
        "japanwest",
        "koreacentral",
        "koreasouth",
        "mexicocentral",
        "newzealandnorth",
        "northcentralus",
        "northeurope",
        "norwayeast",
        "polandcentral",
        "qatarcentral",
        "southafricanorth",
        "southcentralus",
        "southeastasia",
        "southindia",
        "spaincentral",
        "swedencentral",
        "switzerlandnorth",
        "switzerlandwest",
        "uaenorth",
        "uksouth",
        "ukwest",
        "westcentralus",
        "westeurope",
        "westus",
        "westus2",
        "westus3",
    ]
)
# Of sovereign clouds, with their own regions.
OTHER_CLOUDS = ("china", "usgov", "usdod", "ussec", "usnat")


# However it is called: `East US` and `eastus` are one.
FORM = re.compile(r"[a-z]{4,}[a-z0-9]*")


def region_findings(path: str, location: str) -> Iterator[str]:
    """The finding on what is no name of a region."""
    if not FORM.fullmatch(_name(location)):
        yield f'{path}: "{location}" is no region of Azure; {_near(location) or "write one as eastus or westeurope."}'


def region_warning(path: str, location: str) -> str | None:
    """The line for a region that the list lacks, which may be a new one; none for those of other clouds."""
    name = _name(location)
    if not FORM.fullmatch(name) or name in REGIONS or name.startswith(OTHER_CLOUDS):
        return None
    hint = f"{near} " if (near := _near(location)) else ""
    return f'{path}: "{location}" is not in the list of Azure ML\'s regions of {DATE}; {hint}If it is new, go on.'


def _name(location: str) -> str:
    return location.replace(" ", "").lower()


def _near(location: str) -> str:
    close = difflib.get_close_matches(_name(location), sorted(REGIONS), n=1)
    return f'did you mean "{close[0]}"?' if close else ""
