"""Azure's regions, as `az account list-locations` names them. Data, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Region:
    """One region: what the portal calls it, the group of geographies that it lies in, and its pair (or "")."""

    display: str
    geography: str
    pair: str = ""


REGIONS: Mapping[str, Region] = {
    "eastus": Region("East US", "US", "westus"),
    "eastus2": Region("East US 2", "US", "centralus"),
    "southcentralus": Region("South Central US", "US", "northcentralus"),
    "westus2": Region("West US 2", "US", "westcentralus"),
    "westus3": Region("West US 3", "US", "eastus"),
    "centralus": Region("Central US", "US", "eastus2"),
    "northcentralus": Region("North Central US", "US", "southcentralus"),
    "westus": Region("West US", "US", "eastus"),
    "westcentralus": Region("West Central US", "US", "westus2"),
    "canadacentral": Region("Canada Central", "Canada", "canadaeast"),
    "canadaeast": Region("Canada East", "Canada", "canadacentral"),
    "brazilsouth": Region("Brazil South", "South America", "southcentralus"),
    "mexicocentral": Region("Mexico Central", "Mexico"),
    "northeurope": Region("North Europe", "Europe", "westeurope"),
    "westeurope": Region("West Europe", "Europe", "northeurope"),
    "uksouth": Region("UK South", "UK", "ukwest"),
    "ukwest": Region("UK West", "UK", "uksouth"),
    "francecentral": Region("France Central", "Europe", "francesouth"),
    "germanywestcentral": Region("Germany West Central", "Europe", "germanynorth"),
    "italynorth": Region("Italy North", "Europe"),
    "norwayeast": Region("Norway East", "Europe", "norwaywest"),
    "polandcentral": Region("Poland Central", "Europe"),
    "spaincentral": Region("Spain Central", "Europe"),
    "swedencentral": Region("Sweden Central", "Europe", "swedensouth"),
    "switzerlandnorth": Region("Switzerland North", "Europe", "switzerlandwest"),
    "switzerlandwest": Region("Switzerland West", "Europe", "switzerlandnorth"),
    "eastasia": Region("East Asia", "Asia Pacific", "southeastasia"),
    "southeastasia": Region("Southeast Asia", "Asia Pacific", "eastasia"),
    "australiaeast": Region("Australia East", "Asia Pacific", "australiasoutheast"),
    "australiasoutheast": Region("Australia Southeast", "Asia Pacific", "australiaeast"),
    "centralindia": Region("Central India", "Asia Pacific", "southindia"),
    "southindia": Region("South India", "Asia Pacific", "centralindia"),
    "japaneast": Region("Japan East", "Asia Pacific", "japanwest"),
    "japanwest": Region("Japan West", "Asia Pacific", "japaneast"),
    "koreacentral": Region("Korea Central", "Asia Pacific", "koreasouth"),
    "koreasouth": Region("Korea South", "Asia Pacific", "koreacentral"),
    "newzealandnorth": Region("New Zealand North", "Asia Pacific"),
    "israelcentral": Region("Israel Central", "Middle East"),
    "qatarcentral": Region("Qatar Central", "Middle East"),
    "uaenorth": Region("UAE North", "Middle East", "uaecentral"),
    "southafricanorth": Region("South Africa North", "Africa", "southafricawest"),
}
"""Physical regions that anybody may use, by name."""
