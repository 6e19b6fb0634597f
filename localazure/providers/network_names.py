"""Names that `Microsoft.Network` knows: services that subnets are delegated to, and tags for the addresses of services.

Source: `az network vnet subnet list-available-delegations`, and
https://learn.microsoft.com/azure/virtual-network/service-tags-overview.
"""

from __future__ import annotations

_DELEGATED = """
GitHub.Network/networkSettings
Informatica.DataManagement/organizations
Microsoft.ApiManagement/service
Microsoft.App/environments testClients
Microsoft.Apollo/npu
Microsoft.AVS/PrivateClouds
Microsoft.AzureCommunicationsGateway/networkSettings
Microsoft.AzureCosmosDB/clusters
Microsoft.BareMetal/AzureHostedService AzureHPC AzurePaymentHSM AzureVMware CrayServers MonitoringServers
Microsoft.Batch/batchAccounts
Microsoft.CloudTest/hostedpools images pools
Microsoft.ContainerInstance/containerGroups
Microsoft.ContainerService/managedClusters TestClients
Microsoft.Databricks/workspaces
Microsoft.DBforMySQL/flexibleServers servers serversv2
Microsoft.DBforPostgreSQL/flexibleServers serversv2 singleServers
Microsoft.DelegatedNetwork/controller
Microsoft.DevCenter/networkConnection
Microsoft.DevOpsInfrastructure/pools
Microsoft.DocumentDB/cassandraClusters
Microsoft.Fidalgo/networkSettings
Microsoft.HardwareSecurityModules/dedicatedHSMs
Microsoft.Kusto/clusters
Microsoft.LabServices/labplans
Microsoft.Logic/integrationServiceEnvironments
Microsoft.MachineLearningServices/workspaces workspaceComputes
Microsoft.Netapp/volumes scaleVolumes
Microsoft.Network/applicationGateways dnsResolvers fpgaNetworkInterfaces managedResolvers networkWatchers virtualNetworkGateways
Microsoft.Orbital/orbitalGateways
Microsoft.PowerAutomate/hostedRpa
Microsoft.PowerPlatform/enterprisePolicies vnetaccesslinks
Microsoft.ServiceFabricMesh/networks
Microsoft.ServiceNetworking/trafficControllers
Microsoft.Singularity/accounts/networks accounts/npu accounts/jobs
Microsoft.Sql/managedInstances managedInstancesOnebox managedInstancesStage managedInstancesTest servers
Microsoft.StoragePool/diskPools
Microsoft.StreamAnalytics/streamingJobs
Microsoft.Synapse/workspaces
Microsoft.Web/hostingEnvironments serverFarms
NGINX.NGINXPLUS/nginxDeployments
Oracle.Database/networkAttachments
PaloAltoNetworks.Cloudngfw/firewalls
PureStorage.Block/storagePools
Qumulo.Storage/fileSystems
"""  # noqa: E501
_TAGS = """
ActionGroup ApiManagement AppConfiguration ApplicationInsightsAvailability AppService AppServiceManagement
AutonomousDevelopmentPlatform AzureActiveDirectory AzureActiveDirectoryDomainServices AzureAdvancedThreatProtection
AzureArcInfrastructure AzureAttestation AzureBackup AzureBotService AzureCloud AzureCognitiveSearch AzureConnectors
AzureContainerAppsService AzureContainerRegistry AzureCosmosDB AzureDatabricks AzureDataExplorerManagement
AzureDeviceUpdate AzureDevOps AzureDigitalTwins AzureEventGrid AzureFrontDoor AzureHealthcareAPIs
AzureInformationProtection AzureIoTHub AzureKeyVault AzureLoadBalancer AzureLoadTestingInstanceManagement
AzureMachineLearning AzureMachineLearningInference AzureManagedGrafana AzureMonitor AzureMonitorForSAP AzureOpenDatasets
AzurePlatformDNS AzurePlatformIMDS AzurePlatformLKM AzureResourceManager AzureSecurityCenter AzureSentinel AzureSignalR
AzureSiteRecovery AzureSphere AzureSpringCloud AzureStack AzureTrafficManager AzureUpdateDelivery AzureVideoAnalyzerForMedia
AzureWebPubSub BatchNodeManagement ChaosStudio CognitiveServicesFrontend CognitiveServicesManagement DataFactory
DataFactoryManagement Dynamics365BusinessCentral Dynamics365ForMarketingEmail EOPExternalPublishedIPs EventHub
GatewayManager GenevaActions GuestAndHybridManagement HDInsight Internet KustoAnalytics LogicApps LogicAppsManagement
M365ManagementActivityApi M365ManagementActivityApiWebhook Marketplace MicrosoftAzureFluidRelay MicrosoftCloudAppSecurity
MicrosoftContainerRegistry MicrosoftDefenderForEndpoint MicrosoftPurviewPolicyDistribution OneDsCollector PowerBI
PowerPlatformInfra PowerPlatformPlex PowerQueryOnline SCCservice Scuba SecurityCopilot SerialConsole ServiceBus
ServiceFabric Sql SqlManagement Storage StorageMover StorageSyncService TrafficManager VideoIndexer VirtualNetwork
WindowsAdminCenter WindowsVirtualDesktop
"""  # noqa: E501


def _services() -> frozenset[str]:
    found: set[str] = set()
    for line in _DELEGATED.split("\n"):
        provider, _, kinds = line.partition("/")
        found |= {f"{provider}/{kind}".lower() for kind in kinds.split()}
    return frozenset(found)


_SERVICES = _services()
_KNOWN_TAGS = frozenset(each.lower() for each in _TAGS.split())


def is_delegated_service(name: str) -> bool:
    """Whether subnets can be delegated to a service."""
    return name.lower() in _SERVICES


def is_service_tag(name: str) -> bool:
    """Whether a security rule can name addresses so: by a tag, of all regions or of one (`Storage.EastUS`)."""
    return name.partition(".")[0].lower() in _KNOWN_TAGS
