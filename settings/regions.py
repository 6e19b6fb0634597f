"""The regions of Azure's public cloud that Azure ML is in, of which one must be the stack's.

Source: https://learn.microsoft.com/azure/reliability/regions-list and `az account list-locations`, October 2025.
"""

import difflib
from collections.abc import Iterator

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


def region_findings(path: str, location: str) -> Iterator[str]:
    """The finding on what is no region, however it is spelt: `East US` and `eastus` are one."""
    name = location.replace(" ", "").lower()
    if name in REGIONS or name.startswith(OTHER_CLOUDS):
        return
    close = difflib.get_close_matches(name, sorted(REGIONS), n=1)
    hint = f'did you mean "{close[0]}"?' if close else "write one as eastus or westeurope."
    yield (
        f'{path}: "{location}" is no region of Azure; {hint} (One that is newer than settings/regions.py belongs into '
        "that list.)"
    )
