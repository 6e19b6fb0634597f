"""What nobody ships: rules for what serves, and for what is kept in production."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from policies.resource import UNKNOWN, Resource, get
from policies.rule import RuleSet
from policies.secret_looks import looks_secret
from policies.stacks import PROD, STAGING

ONLINE_ENDPOINT = "machinelearningservices:OnlineEndpoint"
ONLINE_DEPLOYMENT = "machinelearningservices:OnlineDeployment"
BATCH_DEPLOYMENT = "machinelearningservices:BatchDeployment"
SCHEDULE = "machinelearningservices:Schedule"
ENVIRONMENTS = ("machinelearningservices:EnvironmentVersion", "azureml:Environment")
AUTOSCALE = "monitor:AutoscaleSetting"
LOGIC_APP = "logic:Workflow"
HOLD_DATA = (
    "storage:StorageAccount",
    "keyvault:Vault",
    "containerregistry:Registry",
    "operationalinsights:Workspace",
    "machinelearningservices:Workspace",
)
# One in each zone of a region that has zones; and two, so that one serves while the other is renewed.
PROD_FLOOR, STAGING_FLOOR = 3, 2
LATEST = re.compile(r"(?i)(@|/labels/)latest$")

RULES = RuleSet()


@RULES.rule("endpoint-aad-token", ONLINE_ENDPOINT, stacks=[PROD])
def endpoint_aad_token(endpoint: Resource) -> bool:
    """In production an endpoint takes identities, which can be revoked, not keys: authMode: aad_token."""
    return endpoint.says("properties.authMode", "AADToken")


@RULES.rule("endpoint-private", ONLINE_ENDPOINT, stacks=[PROD])
def endpoint_private(endpoint: Resource) -> bool:
    """In production an endpoint takes no public requests: publicNetworkAccess: disabled."""
    return endpoint.says("properties.publicNetworkAccess", "Disabled")


@RULES.rule("instances-prod", ONLINE_DEPLOYMENT, AUTOSCALE, stacks=[PROD])
def instances_prod(resource: Resource) -> bool:
    """In production a deployment never has fewer than 3 instances: instanceCount, or autoscale.minInstances."""
    return all(count >= PROD_FLOOR for count in least_instances(resource))


@RULES.rule("instances-staging", ONLINE_DEPLOYMENT, AUTOSCALE, stacks=[STAGING])
def instances_staging(resource: Resource) -> bool:
    """In staging a deployment never has fewer than 2 instances: instanceCount, or autoscale.minInstances."""
    return all(count >= STAGING_FLOOR for count in least_instances(resource))


@RULES.rule("image-pinned", *ENVIRONMENTS)
def image_pinned(environment: Resource) -> bool:
    """An environment's image is named by a version, so that what is built today is built again tomorrow: image: with a
    tag other than latest, or with a digest."""
    image = environment.get("properties.image") or environment.get("image")
    return not isinstance(image, str) or is_pinned(image)


@RULES.rule("assets-pinned", ONLINE_DEPLOYMENT, BATCH_DEPLOYMENT)
def assets_pinned(deployment: Resource) -> bool:
    """A deployment names the versions of its model and its environment, so that what is rolled out again is the same:
    not @latest, nor /labels/latest."""
    model = deployment.get("properties.model")
    # An online deployment has an id there, a batch deployment a reference that holds one.
    named = (get(model, "assetId") if isinstance(model, Mapping) else model, deployment.get("properties.environmentId"))
    return not any(isinstance(asset, str) and LATEST.search(asset) for asset in named)


@RULES.rule("batch-retries-explicit", BATCH_DEPLOYMENT)
def batch_retries_explicit(deployment: Resource) -> bool:
    """A batch deployment says how often a mini-batch is tried and how long it may take: retrySettings."""
    # The program writes both always, Azure's defaults where the configuration has none.
    stated = deployment.stated
    retries = deployment.get("properties.retrySettings") if stated is None else stated.get("retrySettings")
    return get(retries, "maxRetries") is not None and get(retries, "timeout") is not None


@RULES.rule("batch-threshold-explicit", BATCH_DEPLOYMENT)
def batch_threshold_explicit(deployment: Resource) -> bool:
    """A batch deployment says how many files may fail before its job does; -1, which is Azure's default, means all of
    them: errorThreshold: 0 or more."""
    threshold = deployment.get("properties.errorThreshold")
    return threshold is UNKNOWN or (threshold is not None and threshold >= 0)


@RULES.rule("environment-variables-secret", ONLINE_DEPLOYMENT, BATCH_DEPLOYMENT)
def environment_variables_secret(deployment: Resource) -> bool:
    """No environment variable holds a secret, which whoever reads the deployment would read too: keep it in the key
    vault, and let the scoring script get it by the deployment's identity."""
    variables = deployment.get("properties.environmentVariables")
    found = variables.items() if isinstance(variables, Mapping) else ()
    return not any(isinstance(value, str) and looks_secret(name, value) for name, value in found)


@RULES.rule("schedule-time-zone", LOGIC_APP, SCHEDULE, AUTOSCALE)
def schedule_time_zone(resource: Resource) -> bool:
    """A timetable says by which time zone's clock it goes; Azure's own is UTC: timeZone."""
    return all(timetable is UNKNOWN or get(timetable, "timeZone") for timetable in timetables(resource))


@RULES.rule("data-protected", *HOLD_DATA, stacks=[PROD])
def data_protected(resource: Resource) -> bool:
    """In production what holds data is protected, so that no edit of a configuration deletes it: protect: true."""
    return resource.protect


def least_instances(resource: Resource) -> Iterator[float]:
    """The smallest numbers of instances that a deployment or an autoscale setting allows, as far as they are known."""
    if resource.kind == AUTOSCALE:
        counts = [get(profile, "capacity.minimum") for profile in known(resource.get("profiles"))]
    elif resource.says("properties.scaleSettings.scaleType", "TargetUtilization"):
        counts = [resource.get("properties.scaleSettings.minInstances")]
    else:
        counts = [resource.get("sku.capacity")]
    # Without a number Azure takes one instance.
    yield from (float(count or 1) for count in counts if count is not UNKNOWN)


def is_pinned(image: str) -> bool:
    """Whether an image is named by a digest or by a tag that stays what it is."""
    name, _, digest = image.partition("@")
    _, _, tag = name.rpartition("/")[2].partition(":")
    return bool(digest) or tag not in ("", "latest")


def timetables(resource: Resource) -> Iterator[Any]:
    """Everything in a resource that happens at certain times."""
    if resource.kind == LOGIC_APP:
        triggers = resource.get("definition.triggers")
        each = triggers.values() if isinstance(triggers, Mapping) else ()
        yield from (get(trigger, "recurrence") for trigger in each if get(trigger, "type") == "Recurrence")
    elif resource.kind == SCHEDULE:
        yield resource.get("properties.trigger")
    else:
        for profile in known(resource.get("profiles")):
            found = (get(profile, "recurrence.schedule"), get(profile, "fixedDate"))
            yield from (timetable for timetable in found if timetable is not None)


def known(values: Any) -> list[Any]:
    return list(values) if isinstance(values, list | tuple) else []
