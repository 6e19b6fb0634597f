"""WHAT is deployed: one component a file."""

from components import interrupt, lean

interrupt.end_quietly()

# Before a component imports azure-native: it is what the program spends most of its time on.
lean.use(
    "applicationinsights",
    "authorization",
    "containerregistry",
    "keyvault",
    "logic",
    "machinelearningservices",
    "managedidentity",
    "monitor",
    "network",
    "operationalinsights",
    "privatedns",
    "resources",
    "storage",
)
