"""Valid configurations that between them say everything that can be said, small enough to be brought up in a second."""

from typing import Any

from localazure.gateway.identity import developer_id
from localazure.settings import Settings
from tests.localazure.providers.conftest import Cloud
from tests.samples import DATA_COLLECTOR

SUBSCRIPTION = "10ca1a2e-0000-4000-8000-000000000001"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/shared"
CLUSTER = f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/aks"

MLFLOW: dict[str, Any] = {"path": "scoring/models/mlflow", "type": "mlflow_model", "name": "tumor"}
CUSTOM: dict[str, Any] = {
    "model": {"path": "scoring/models/custom/model.pkl", "type": "custom_model"},
    "environment": {
        "image": "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04",
        "condaFile": "scoring/online/conda.yaml",
        "name": "tumor-env",
    },
    "environmentVariables": {"LEVEL": "debug"},
    "description": "the second",
    "tags": {"team": "a"},
    "properties": {"origin": "b"},
    "attempt": 1,
}
PROBE = {"initialDelay": 10, "period": 10, "timeout": 2, "successThreshold": 1, "failureThreshold": 30}
COMMON: dict[str, Any] = {
    "azure-native:location": "eastus",
    "azure-native:subscriptionId": SUBSCRIPTION,
    "workspace": {"name": "aml-test"},
    "nameSuffix": "a1",
}
ONLINE: dict[str, Any] = {
    **COMMON,
    "drainSeconds": 5,
    "roleAssignmentSeconds": 0,
    "purgeOnDestroy": True,
    "onlineEndpoints": {
        "tumor-online": {
            "description": "Benign or malignant",
            "tags": {"team": "a"},
            "authMode": "key",
            "identity": "user",
            "publicNetworkAccess": "enabled",
            "parallelDeployments": False,
            "deployments": {
                "blue": {
                    "model": MLFLOW,
                    "instanceType": "Standard_F4s_v2",
                    "instanceCount": 2,
                    "autoscale": {
                        "minInstances": 2,
                        "maxInstances": 5,
                        "rules": [{"metric": "cpu", "above": 70, "below": 30, "over": 300, "by": 1, "cooldown": 300}],
                        "timeZone": "Europe/London",
                        "timetable": [
                            {
                                "name": "day",
                                "days": ["monday"],
                                "from": "08:00",
                                "until": "18:00",
                                "minInstances": 3,
                                "maxInstances": 9,
                            }
                        ],
                    },
                    "smokeTest": {
                        "request": "scoring/samples/request.json",
                        "status": 200,
                        "json": [0],
                        "timeLimit": 60,
                    },
                },
                "green": {
                    **CUSTOM,
                    "code": {"path": "scoring/online", "script": "score.py"},
                    "instanceType": "Standard_DS2_v2",
                    "instanceCount": 3,
                    "appInsightsEnabled": True,
                    "requestSettings": {
                        "requestTimeoutMs": 60_000,
                        "maxConcurrentRequestsPerInstance": 4,
                        "maxQueueWaitMs": 500,
                    },
                    "livenessProbe": PROBE,
                    "readinessProbe": PROBE,
                    "startupProbe": PROBE,
                    "egressPublicNetworkAccess": "enabled",
                    "modelMountPath": "/var/models",
                    "dataCollector": DATA_COLLECTOR,
                },
            },
            "traffic": {"blue": 100},
            "mirrorTraffic": {"green": 20},
        }
    },
}
BATCH: dict[str, Any] = {
    **COMMON,
    "computeClusters": {
        "aml-cluster": {
            "vmSize": "Standard_DS3_v2",
            "tier": "low_priority",
            "minInstances": 0,
            "maxInstances": 4,
            "idleTimeBeforeScaleDown": 120,
        }
    },
    "batchEndpoints": {
        "tumor-batch": {
            "description": "Benign or malignant",
            "tags": {"team": "a"},
            "deployments": {
                "mlflow": {
                    "model": MLFLOW,
                    "compute": "aml-cluster",
                    "instanceCount": 2,
                    "maxConcurrencyPerInstance": 2,
                    "miniBatchSize": 10,
                    "outputAction": "append_row",
                    "outputFileName": "predictions.csv",
                    "retrySettings": {"maxRetries": 3, "timeout": 300},
                    "errorThreshold": -1,
                    "loggingLevel": "info",
                },
                "custom": {
                    **CUSTOM,
                    "environment": {**CUSTOM["environment"], "condaFile": "scoring/batch/conda.yaml"},
                    "code": {"path": "scoring/batch", "script": "score.py"},
                    "compute": "aml-cluster",
                },
            },
            "defaultDeployment": "mlflow",
            "schedules": {
                "nightly": {
                    "every": "week",
                    "on": ["monday", "friday"],
                    "at": ["02:00", "14:30"],
                    "timeZone": "Europe/London",
                    "start": "2026-04-01",
                    "end": "2027-04-01T08:00",
                    "paused": True,
                    "deployment": "custom",
                    "input": "azureml://datastores/workspaceblobstore/paths/inbox/",
                    "inputType": "uri_folder",
                    "output": "azureml://datastores/workspaceblobstore/paths/outbox/",
                    "instanceCount": 1,
                    "miniBatchSize": 5,
                }
            },
        }
    },
}
KUBERNETES: dict[str, Any] = {
    **COMMON,
    "kubernetesClusters": {
        "edge": {
            "cluster": CLUSTER,
            "namespace": "scoring",
            "instanceTypes": {
                "small": {
                    "requests": {"cpu": "500m", "memory": "1Gi"},
                    "limits": {"cpu": 1, "memory": "2Gi"},
                    "nodeSelector": {"pool": "ml"},
                },
            },
            "defaultInstanceType": "small",
            "identity": "user",
        }
    },
    "onlineEndpoints": {
        "tumor-edge": {
            "kubernetes": "edge",
            "authMode": "aml_token",
            "deployments": {
                "blue": {
                    "model": MLFLOW,
                    "instanceType": "small",
                    "resources": {"requests": {"cpu": "100m", "memory": "0.5Gi"}, "limits": {"cpu": "1"}},
                    "autoscale": {
                        "minInstances": 1,
                        "maxInstances": 3,
                        "targetUtilizationPercentage": 70,
                        "pollingInterval": 10,
                    },
                    "requestSettings": {"requestTimeoutMs": 300_000},
                }
            },
            "traffic": {"blue": 100},
        }
    },
}
MANAGED: dict[str, Any] = {
    **COMMON,
    "resourceGroup": "rg-team",
    "workspace": {
        "name": "aml-prod",
        "storageAccount": {"redundancy": "gzrs"},
        "containerRegistry": {"sku": "premium", "zoneRedundancy": True},
        "imageBuildCompute": "aml-cluster",
    },
    "network": {
        "mode": "managed",
        "publicAccess": "disabled",
        "isolation": "allow_only_approved_outbound",
        "firewallSku": "standard",
        "outboundRules": {
            "pypi": {"fqdn": "pypi.org"},
            "monitor": {"serviceTag": "AzureMonitor", "protocol": "tcp", "portRanges": "443"},
        },
        "virtualNetwork": {"addressSpace": "10.40.0.0/22", "privateEndpoints": "10.40.0.0/26"},
        "privateDnsZones": {"byPolicy": False},
    },
    "security": {
        "keyless": True,
        "workspaceIdentity": "user",
        "purgeProtection": True,
        "softDeleteDays": 30,
        "diagnostics": True,
        "deployers": [developer_id(Settings().tenant_id)],
    },
    "protect": True,
    "computeClusters": {"aml-cluster": {"vmSize": "Standard_DS3_v2", "maxInstances": 4}},
    "onlineEndpoints": {
        "tumor-online": {
            "authMode": "aad_token",
            "publicNetworkAccess": "disabled",
            "deployments": {"blue": {"model": MLFLOW, "instanceType": "Standard_F4s_v2"}},
            "traffic": {"blue": 100},
        }
    },
}
BYO: dict[str, Any] = {
    **COMMON,
    "workspace": {"name": "aml-own", "imageBuildCompute": "aml-cluster", "containerRegistry": {"sku": "premium"}},
    "network": {
        "mode": "byo",
        "virtualNetwork": {
            "addressSpace": "10.40.0.0/22",
            "privateEndpoints": "10.40.0.0/26",
            "clusters": {"addressPrefix": "10.40.2.0/23"},
        },
    },
    "computeClusters": {"aml-cluster": {"vmSize": "Standard_DS3_v2", "minInstances": 1, "maxInstances": 4}},
    "onlineEndpoints": {
        "tumor-online": {
            "publicNetworkAccess": "disabled",
            "deployments": {
                "blue": {
                    **CUSTOM,
                    "code": {"path": "scoring/online", "script": "score.py"},
                    "instanceType": "Standard_DS2_v2",
                    "egressPublicNetworkAccess": "disabled",
                },
            },
            "traffic": {"blue": 100},
        }
    },
}
CONFIGURATIONS = {"online": ONLINE, "batch": BATCH, "kubernetes": KUBERNETES, "managed": MANAGED, "byo": BYO}


def prepare(cloud: Cloud) -> None:
    """Makes what the configurations name as being there already."""
    cloud.put(GROUP, {"location": "eastus"})
    pool = {"name": "system", "count": 1, "vmSize": "Standard_D4ds_v5", "mode": "System"}
    cloud.put(CLUSTER, {"location": "eastus", "properties": {"dnsPrefix": "aks", "agentPoolProfiles": [pool]}})
