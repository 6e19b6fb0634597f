"""`Microsoft.Insights/autoscaleSettings`: checked as Azure checks them; `autoscaler.py` carries them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from localazure.arm import body as read
from localazure.arm import ids
from localazure.arm.errors import ArmError, invalid
from localazure.arm.ids import GROUP
from localazure.arm.routes import Call, Route
from localazure.arm.store import Resource
from localazure.providers.cloud import Cloud
from localazure.providers.common import Composed, Plain, check_name, envelope, keep_hidden
from localazure.providers.metrics import metric_of
from localazure.providers.ml.kubernetes import MANAGED
from localazure.providers.ml.names import ONLINE_DEPLOYMENT_TYPE
from localazure.providers.ml.time_zones import IANA

TYPE = "Microsoft.Insights/autoscaleSettings"
SETTING = GROUP + "/providers/Microsoft.Insights/autoscaleSettings/{setting}"

Json = dict[str, Any]


class Autoscale:
    """`Microsoft.Insights/autoscaleSettings`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._settings = Plain(cloud, TYPE, SETTING, self._compose)

    def routes(self) -> list[Route]:
        short = "online deployments only; notifications and predictive autoscale are stored and do nothing"
        return [
            replace(route, simplified=short) if route.method in ("PUT", "PATCH") else route
            for route in self._settings.routes()
        ]

    def _compose(self, _call: Call, body: Json, existing: Resource | None, resource_id: str) -> Composed:
        name = ids.name(resource_id)
        rule = "1 to 260 characters, none of <>*%&:\\?+/ or a control character, and not ending with a period or space"
        check_name(name, r"[^<>*%&:\\?+/\x00-\x1f]{0,259}[^<>*%&:\\?+/\x00-\x1f. ]", "autoscale setting", rule)
        sent = read.mapping(body, "properties", required=True)
        target = self._target(sent, resource_id)
        properties: Json = {
            "name": read.text(sent, "name", "properties") or name,
            "enabled": read.flag(sent, "enabled", False, "properties"),
            "targetResourceUri": target.id,
            "targetResourceLocation": read.text(sent, "targetResourceLocation", "properties")
            or target.document.get("location"),
            "profiles": self._profiles(sent),
            "notifications": _notifications(sent),
            "predictiveAutoscalePolicy": _predictive(sent),
        }
        # A setting that is changed still waits for what it scaled last.
        return Composed(envelope(resource_id, TYPE, body, properties=properties), keep_hidden(existing))

    def _target(self, sent: Json, resource_id: str) -> Resource:
        """What is scaled: an online deployment that no other setting scales."""
        uri = read.text(sent, "targetResourceUri", "properties")
        if not uri:
            raise invalid("'properties.targetResourceUri' is required.", "UnsupportedRequestContent")
        target = self._existing(uri, "properties.targetResourceUri")
        if target.type.lower() != ONLINE_DEPLOYMENT_TYPE.lower():
            raise _bad(
                f"'properties.targetResourceUri' names a {target.document['type']}, which cannot be scaled; it must "
                f"name a {ONLINE_DEPLOYMENT_TYPE}."
            )
        if (kind := target.properties["endpointComputeType"]) != MANAGED:
            raise _bad(f"'{target.name}' is a deployment of kind {kind}, which is scaled by its scaleSettings only.")
        for other in self._cloud.store.of_type(TYPE):
            if not ids.same(other.id, resource_id) and ids.same(other.properties["targetResourceUri"], target.id):
                raise ArmError(
                    409,
                    "Conflict",
                    f"The resource '{target.id}' is scaled by the autoscale setting '{other.name}' already; a resource "
                    "can have one.",
                )
        return target

    def _existing(self, uri: str, where: str) -> Resource:
        found = self._cloud.store.get(uri)
        if found is None:
            raise ArmError(404, "ResourceNotFound", f"'{where}' names '{uri}', which was not found.")
        return found

    # Profiles ------------------------------------------------------------------------------------------------

    def _profiles(self, sent: Json) -> list[Json]:
        profiles = read.sequence(sent, "profiles", "properties")
        if not 1 <= len(profiles) <= 20:
            raise _bad(f"'properties.profiles' has {len(profiles)} profiles; it must have 1 to 20.")
        whole = [self._profile(_object(each, f"properties.profiles[{at}]"), at) for at, each in enumerate(profiles)]
        names = [each["name"].lower() for each in whole]
        for name in names:
            if names.count(name) > 1:
                raise _bad(f"Two profiles are called '{name}'; the name of a profile must be unique in the setting.")
        usual = [each["name"] for each in whole if "fixedDate" not in each and "recurrence" not in each]
        if len(usual) > 1:
            raise _bad(
                f"The profiles {', '.join(usual)} have neither fixedDate nor recurrence; only one profile may be "
                "the usual one."
            )
        return whole

    def _profile(self, sent: Json, at: int) -> Json:
        where = f"properties.profiles[{at}]"
        profile: Json = {
            "name": read.text(sent, "name", where, required=True),
            "capacity": _capacity(read.mapping(sent, "capacity", where, required=True), f"{where}.capacity"),
        }
        rules = read.sequence(sent, "rules", where)
        if len(rules) > 10:
            raise _bad(f"'{where}.rules' has {len(rules)} rules; a profile can have 10.")
        profile["rules"] = [
            self._rule(_object(each, f"{where}.rules[{number}]"), f"{where}.rules[{number}]")
            for number, each in enumerate(rules)
        ]
        if sent.get("fixedDate") is not None and sent.get("recurrence") is not None:
            raise _bad(f"'{where}' has both fixedDate and recurrence; it can have one of them.")
        if sent.get("fixedDate") is not None:
            profile["fixedDate"] = _fixed_date(read.mapping(sent, "fixedDate", where), f"{where}.fixedDate")
        if sent.get("recurrence") is not None:
            profile["recurrence"] = _recurrence(read.mapping(sent, "recurrence", where), f"{where}.recurrence")
        return profile

    def _rule(self, sent: Json, where: str) -> Json:
        trigger = read.mapping(sent, "metricTrigger", where, required=True)
        action = read.mapping(sent, "scaleAction", where, required=True)
        return {
            "metricTrigger": self._trigger(trigger, f"{where}.metricTrigger"),
            "scaleAction": _action(action, f"{where}.scaleAction"),
        }

    def _trigger(self, sent: Json, where: str) -> Json:
        name = read.text(sent, "metricName", where, required=True) or ""
        source = self._existing(
            read.text(sent, "metricResourceUri", where, required=True) or "", f"{where}.metricResourceUri"
        )
        known = metric_of(source, name)
        if known is None:
            raise invalid(f"Metric '{name}' of '{source.document['type']}' is not supported.", "UnsupportedMetric")
        grain = _span(sent, "timeGrain", where, 60, 43200)
        window = _span(sent, "timeWindow", where, 300, 43200)
        if read.seconds(window, where) < read.seconds(grain, where):
            raise _bad(f"'{where}.timeWindow' is {window}; it cannot be shorter than timeGrain, which is {grain}.")
        return {
            "metricName": known,
            "metricNamespace": read.text(sent, "metricNamespace", where) or "",
            "metricResourceUri": source.id,
            "timeGrain": grain,
            "statistic": _choice(sent, "statistic", _STATISTICS, where),
            "timeWindow": window,
            "timeAggregation": _choice(sent, "timeAggregation", _AGGREGATIONS, where),
            "operator": _choice(sent, "operator", _OPERATORS, where),
            "threshold": read.number(sent, "threshold", None, where, least=-_LARGEST, most=_LARGEST),
            "dimensions": _dimensions(sent, where),
            "dividePerInstance": read.flag(sent, "dividePerInstance", False, where),
        }


_STATISTICS = ("Average", "Min", "Max", "Sum", "Count")
_LARGEST = 1e300  # ours: what JSON can hold beyond it, arithmetic cannot
_AGGREGATIONS = ("Average", "Minimum", "Maximum", "Total", "Count", "Last")
_OPERATORS = (
    "Equals",
    "NotEquals",
    "GreaterThan",
    "GreaterThanOrEqual",
    "LessThan",
    "LessThanOrEqual",
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_WEEK = 7 * 24 * 3600
_ZONE = "'GMT Standard Time'"


def _bad(message: str) -> ArmError:
    return invalid(message, "BadRequest")


def _object(value: Any, where: str) -> Json:
    return read.mapping({where: value}, where, required=True)


def _choice(sent: Mapping[str, Any], name: str, values: tuple[str, ...], where: str) -> str:
    read.text(sent, name, where, required=True)
    return read.choice(sent, name, values, None, where) or ""


def _whole(sent: Mapping[str, Any], name: str, where: str, default: str | None = None) -> str:
    """A whole number, which ARM has as a string here."""
    value = sent.get(name)
    if value is None and default is not None:
        return default
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or read.natural(text, -1) < 0:
        raise _bad(f"'{where}.{name}' must be a whole number as a string, such as \"2\".")
    return str(int(text))


def _span(sent: Mapping[str, Any], name: str, where: str, least: int, most: int) -> str:
    text = read.text(sent, name, where, required=True) or ""
    length = read.seconds(text, f"{where}.{name}")
    if not least <= length <= most:
        raise _bad(f"'{where}.{name}' is {text}; it must lie between {least // 60} minutes and {most // 3600} hours.")
    return text


def _capacity(sent: Json, where: str) -> Json:
    """Azure's own words where one bound is above another."""
    capacity = {name: _whole(sent, name, where) for name in ("minimum", "maximum", "default")}
    least, most, usual = (int(capacity[name]) for name in ("minimum", "maximum", "default"))
    if least > most:
        raise _bad(
            f"The minimum capacity value '{least}' that you specified in the autoscale setting is greater than the "
            f"maximum capacity of '{most}'.  Enter a minimum capacity less than '{most}'."
        )
    if least > usual:
        raise _bad(
            f"The minimum capacity value '{least}' that you specified in the autoscale setting is greater than the "
            f"default capacity of '{usual}'.  Enter a minimum capacity less than '{usual}'."
        )
    if usual > most:
        raise _bad(
            f"The default capacity value '{usual}' that you specified in the autoscale setting is greater than the "
            f"maximum capacity of '{most}'.  Enter a default capacity less than '{most}'."
        )
    return capacity


def _action(sent: Json, where: str) -> Json:
    return {
        "direction": _choice(sent, "direction", ("None", "Increase", "Decrease"), where),
        "type": _choice(
            sent, "type", ("ChangeCount", "PercentChangeCount", "ExactCount", "ServiceAllowedNextValue"), where
        ),
        "value": _whole(sent, "value", where, "1"),
        "cooldown": _span(sent, "cooldown", where, 60, _WEEK),
    }


def _dimensions(sent: Json, where: str) -> list[Json]:
    found = []
    for at, each in enumerate(read.sequence(sent, "dimensions", where)):
        place = f"{where}.dimensions[{at}]"
        dimension = _object(each, place)
        found.append(
            {
                "DimensionName": read.text(dimension, "DimensionName", place, required=True),
                "Operator": _choice(dimension, "Operator", ("Equals", "NotEquals"), place),
                "Values": read.sequence(dimension, "Values", place),
            }
        )
    return found


def _fixed_date(sent: Json, where: str) -> Json:
    zone = _time_zone(sent, where) if sent.get("timeZone") is not None else "UTC"
    start, end = (read.text(sent, name, where, required=True) or "" for name in ("start", "end"))
    if _moment(start, f"{where}.start") >= _moment(end, f"{where}.end"):
        raise _bad(f"'{where}.start' is {start}; it must be earlier than end, which is {end}.")
    return {"timeZone": zone, "start": start, "end": end}


def _time_zone(sent: Json, where: str) -> str:
    """A time zone as Windows names it, the only names that autoscale takes."""
    name = read.text(sent, "timeZone", where, required=True) or ""
    if name not in IANA:
        raise _bad(f"'{where}.timeZone' is '{name[:80]}'; it must be a time zone of Windows', such as {_ZONE}.")
    return name


def _moment(text: str, where: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        raise _bad(f"'{where}' is '{text[:40]}'; it must be a time such as 2026-01-31T09:00:00Z.") from None


def _recurrence(sent: Json, where: str) -> Json:
    """When a profile begins each week: `Week` is the one frequency that Azure takes."""
    frequency = read.text(sent, "frequency", where, required=True) or ""
    if frequency.lower() != "week":
        raise _bad(f"'{where}.frequency' is '{frequency}'; it must be Week.")
    schedule = read.mapping(sent, "schedule", where, required=True)
    place = f"{where}.schedule"
    days = [_day(each, place) for each in read.sequence(schedule, "days", place)]
    if not days:
        raise _bad(f"'{place}.days' is required: one or more of {', '.join(_DAYS)}.")
    return {
        "frequency": "Week",
        "schedule": {
            "timeZone": _time_zone(schedule, place),
            "days": days,
            "hours": _clock(schedule, "hours", place, 23),
            "minutes": _clock(schedule, "minutes", place, 59),
        },
    }


def _day(value: Any, where: str) -> str:
    return _choice({"days": value}, "days", _DAYS, where)


def _clock(schedule: Json, name: str, where: str, most: int) -> list[int]:
    """The one hour or minute at which a profile begins."""
    values = read.sequence(schedule, name, where)
    if len(values) != 1 or values[0] is None:
        raise _bad(f"'{where}.{name}' must have one value, not {len(values)}.")
    return [read.integer({name: values[0]}, name, 0, where, least=0, most=most)]


def _notifications(sent: Json) -> list[Json]:
    found = []
    for at, each in enumerate(read.sequence(sent, "notifications", "properties")):
        where = f"properties.notifications[{at}]"
        notification = _object(each, where)
        _choice(notification, "operation", ("Scale",), where)
        email = read.mapping(notification, "email", where)
        read.sequence(email, "customEmails", f"{where}.email")
        for number, hook in enumerate(read.sequence(notification, "webhooks", where)):
            place = f"{where}.webhooks[{number}]"
            read.text(_object(hook, place), "serviceUri", place, required=True)
        found.append({**notification, "operation": "Scale"})
    return found


def _predictive(sent: Json) -> Json | None:
    policy = read.mapping(sent, "predictiveAutoscalePolicy", "properties")
    if not policy:
        return None
    where = "properties.predictiveAutoscalePolicy"
    ahead = read.text(policy, "scaleLookAheadTime", where)
    if ahead:
        _span(policy, "scaleLookAheadTime", where, 60, 3600)
    return {
        "scaleMode": _choice(policy, "scaleMode", ("Disabled", "ForecastOnly", "Enabled"), where),
        "scaleLookAheadTime": ahead,
    }
