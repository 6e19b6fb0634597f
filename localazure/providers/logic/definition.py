"""Workflow definitions: checked for the part of the language that is carried out; what is beyond it is refused.

Source: https://learn.microsoft.com/azure/logic-apps/logic-apps-workflow-definition-language and
https://learn.microsoft.com/azure/logic-apps/logic-apps-workflow-actions-triggers
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any
from urllib.parse import urlsplit

from localazure.arm import body as read
from localazure.arm.errors import ArmError, invalid, not_emulated
from localazure.providers.logic.expressions import expressions, parameter_of
from localazure.providers.logic.names import FAILED, SKIPPED, SUCCEEDED
from localazure.providers.ml.time_zones import IANA, zone
from localazure.recurrence import MOST, WEEK_DAYS, Recurrence, instant_of

Json = dict[str, Any]

METHODS = ("GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS")
OUTCOMES = (SUCCEEDED, FAILED, SKIPPED, "TimedOut")
_WHERE = "properties.definition"
_SCHEMA = re.compile(
    r"https?://schema\.management\.azure\.com/.*/schemas/[\w-]+/workflowdefinition\.json#?", re.IGNORECASE
)
# Without an offset: "this trigger doesn't accept UTC offset"; with a Z it is UTC, whatever the time zone says.
_MOMENT = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,7})?)?)(Z?)", re.ASCII)
_YEARS = range(1970, 2200)
_RETRIES = ("none", "fixed", "exponential")
_DAY = 86_400
_LEAST_WAIT = 5


def bad(message: str) -> ArmError:
    """The refusal of a definition."""
    return invalid(f"The template validation failed: {message}", "InvalidTemplate")


def check_definition(definition: Json, parameters: Json, identity: Json | None) -> None:
    """Raises ArmError: 400 for a definition that Logic Apps would refuse, 501 for one that is not carried out here."""
    _known(definition, _WHERE, "$schema", "contentVersion", "description", "metadata", "parameters", "triggers",
           "actions", "outputs", "staticResults")  # fmt: skip
    schema = read.text(definition, "$schema", _WHERE)
    if schema is not None and not _SCHEMA.fullmatch(schema):
        raise bad(f"'{_WHERE}.$schema' is '{schema[:120]}', which is no schema of workflow definitions.")
    read.text(definition, "contentVersion", _WHERE)
    for name in ("outputs", "staticResults"):
        if read.mapping(definition, name, _WHERE):
            raise not_emulated(f"'{_WHERE}.{name}' of a workflow")
    known = values_of(definition, parameters)
    _check_triggers(read.mapping(definition, "triggers", _WHERE))
    _check_actions(read.mapping(definition, "actions", _WHERE), known, identity)


def values_of(definition: Json, parameters: Json) -> Json:
    """What the workflow's parameters are. Raises ArmError (400) where one has no value or is not declared."""
    where = f"{_WHERE}.parameters"
    declared = read.mapping(definition, "parameters", _WHERE)
    if unknown := [name for name in parameters if name not in declared]:
        raise bad(f"the parameter '{unknown[0]}' has a value in 'properties.parameters' and no place in '{where}'.")
    values = {}
    for name in declared:
        own = read.mapping(declared, name, where, required=True)
        kind = read.text(own, "type", f"{where}.{name}", required=True) or ""
        if kind.lower().startswith("secure"):
            raise not_emulated(f"workflow parameters of type {kind}")
        given = read.mapping(parameters, name, "properties.parameters")
        if given.get("value", own.get("defaultValue")) is None:
            raise bad(f"the parameter '{name}' has neither a value in 'properties.parameters' nor a default.")
        values[name] = given.get("value", own.get("defaultValue"))
    return values


def _known(holder: Mapping[str, Any], where: str, *names: str) -> None:
    """Raises ArmError (501) for what is not carried out, so that nothing is dropped in silence."""
    for name, value in holder.items():
        if name not in names and value not in (None, {}, []):
            raise not_emulated(f"'{where}.{name}' of a workflow")


# Triggers ---------------------------------------------------------------------------------------------------------


def trigger_of(definition: Json) -> tuple[str, Json] | None:
    """The name and the recurrence of the trigger; None for a workflow without one."""
    triggers: Json = definition.get("triggers") or {}
    return next(((name, each["recurrence"]) for name, each in triggers.items()), None)


def _check_triggers(triggers: Json) -> None:
    if len(triggers) > 1:
        raise not_emulated("a workflow with more than one trigger")
    for name in triggers:
        trigger, where = _step_of(triggers, name, "triggers", "Recurrence")
        # The portal's designer adds the second, which says what the first one came to.
        _known(trigger, where, "type", "recurrence", "evaluatedRecurrence", "description", "metadata")
        recurrence_of(read.mapping(trigger, "recurrence", where, required=True), datetime.now(UTC), name)


def _step_of(steps: Json, name: str, what: str, known: str) -> tuple[Json, str]:
    """A trigger or an action of the one type that is known, and where it stands. Raises ArmError (400, 501)."""
    where = f"{_WHERE}.{what}.{name}"
    step = read.mapping(steps, name, f"{_WHERE}.{what}", required=True)
    kind = read.text(step, "type", where, required=True) or ""
    if kind.lower() != known.lower():
        raise not_emulated(f"workflow {what} of type '{kind}'; it knows {known}")
    return step, where


def recurrence_of(sent: Json, saved: datetime, trigger: str = "") -> Recurrence:
    """A recurrence, counted from its start, or from when it was saved. Raises ArmError (400, 501)."""
    where = f"{_WHERE}.triggers.{trigger}.recurrence"
    _known(sent, where, "frequency", "interval", "timeZone", "startTime", "endTime", "schedule")
    read.text(sent, "frequency", where, required=True)
    frequency = read.choice(sent, "frequency", tuple(MOST), None, where) or ""
    if sent.get("interval") is None:
        raise bad(f"'{where}.interval' is required.")
    interval = read.integer(sent, "interval", 1, where, least=1, most=MOST[frequency])
    named = read.choice(sent, "timeZone", tuple(IANA), None, where)
    where_clocks = zone(named) if named else UTC
    start = _moment(sent, "startTime", where, where_clocks)
    end = _moment(sent, "endTime", where, where_clocks)
    if start and end and end <= start:
        raise bad(f"'{where}.endTime' ({sent['endTime']}) must come after 'startTime' ({sent['startTime']}).")
    schedule = _schedule(read.mapping(sent, "schedule", where), frequency, f"{where}.schedule")
    if (sent.get("startTime") or "").endswith("Z") and not any(schedule.values()):
        # "If you do, Logic Apps ignores the time zone value because the Z signifies a UTC time format."
        where_clocks = UTC
    return Recurrence(frequency, interval, start or saved, where_clocks, end, **schedule)


def _moment(sent: Json, name: str, where: str, clocks: tzinfo) -> datetime | None:
    text = read.text(sent, name, where)
    if not text:
        return None
    found = _MOMENT.fullmatch(text)
    try:
        clock = datetime.fromisoformat(found[1][:26]) if found else None
    except ValueError:
        clock = None
    if found is None or clock is None or clock.year not in _YEARS:
        raise bad(
            f"'{where}.{name}' is '{text[:80]}'; it must be a time such as 2026-01-31T02:00:00 (by the trigger's time "
            "zone) or 2026-01-31T02:00:00Z (UTC), without an offset."
        )
    return instant_of(clock, UTC if found[2] else clocks)


def _schedule(sent: Json, frequency: str, where: str) -> dict[str, tuple[int, ...]]:
    _known(sent, where, "hours", "minutes", "weekDays")
    found = {
        "hours": _numbers(sent, "hours", where, 23),
        "minutes": _numbers(sent, "minutes", where, 59),
        "week_days": tuple(sorted({WEEK_DAYS.index(each) for each in _days(sent, where)})),
    }
    if any(found.values()) and frequency not in ("Day", "Week"):
        raise bad(f"'{where}' is for the frequencies Day and Week; of {frequency}, give a start time instead.")
    if found["week_days"] and frequency != "Week":
        raise bad(f"'{where}.weekDays' is for the frequency Week, not for {frequency}.")
    return found


def _several(sent: Json, name: str, where: str) -> list[Any]:
    """A list, or the one value that may stand for it."""
    value = sent.get(name)
    return read.sequence(sent, name, where) if value is None or isinstance(value, list) else [value]


def _numbers(sent: Json, name: str, where: str, most: int) -> tuple[int, ...]:
    values = _several(sent, name, where)
    if None in values:
        raise bad(f"'{where}.{name}' has an entry that is null.")
    return tuple(sorted({read.integer({name: each}, name, 0, where, least=0, most=most) for each in values}))


def _days(sent: Json, where: str) -> Iterator[str]:
    for each in _several(sent, "weekDays", where):
        read.text({"weekDays": each}, "weekDays", where, required=True)
        yield read.choice({"weekDays": each}, "weekDays", WEEK_DAYS, None, where) or ""


# Actions ----------------------------------------------------------------------------------------------------------


def _check_actions(actions: Json, parameters: Json, identity: Json | None) -> None:
    for name in actions:
        action, where = _step_of(actions, name, "actions", "Http")
        _known(action, where, "type", "inputs", "runAfter", "description", "metadata", "operationOptions")
        options = read.text(action, "operationOptions", where)
        if options and options.lower() != "disableasyncpattern":
            raise not_emulated(f"'{where}.operationOptions' {options} of a workflow")
        _check_after(actions, action, name, where)
        _check_inputs(read.mapping(action, "inputs", where, required=True), f"{where}.inputs", parameters, identity)
    _check_order(actions)


def _check_after(actions: Json, action: Json, name: str, where: str) -> None:
    after = read.mapping(action, "runAfter", where)
    for other in after:
        if other not in actions or other == name:
            raise bad(f"the 'runAfter' of the action '{name}' names '{other}', which is no other action.")
        for each in read.sequence(after, other, f"{where}.runAfter"):
            read.text({other: each}, other, f"{where}.runAfter", required=True)
            read.choice({other: each}, other, OUTCOMES, None, f"{where}.runAfter")


def _check_order(actions: Json) -> None:
    left = {name: set(each.get("runAfter") or {}) for name, each in actions.items()}
    while ready := [name for name, others in left.items() if not others & left.keys()]:
        for name in ready:
            del left[name]
    if left:
        raise bad(f"the actions {', '.join(left)} run after each other in a circle.")


def _check_inputs(sent: Json, where: str, parameters: Json, identity: Json | None) -> None:
    _known(sent, where, "method", "uri", "headers", "queries", "body", "authentication", "retryPolicy")
    read.text(sent, "method", where, required=True)
    read.choice(sent, "method", METHODS, None, where)
    uri = read.text(sent, "uri", where, required=True) or ""
    for expression in expressions(sent):
        name = parameter_of(expression)
        if name is not None and name not in parameters:
            raise bad(f"'{where}' uses the parameter '{name}', which is not declared.")
    if "@" not in uri:
        _check_uri(uri, where)
    for name in ("headers", "queries"):
        for key, value in read.mapping(sent, name, where).items():
            if not isinstance(value, str | int | float):
                raise bad(f"'{where}.{name}.{key}' must be text.")
    _check_authentication(read.mapping(sent, "authentication", where), f"{where}.authentication", identity)
    waits(sent, where)


def _check_uri(uri: str, where: str) -> None:
    try:
        parts = urlsplit(uri)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or re.search(r"[\x00-\x20\x7f]", uri):
        raise bad(f"'{where}.uri' is '{uri[:120]}', which is no absolute URL of http or https.")


def _check_authentication(sent: Json, where: str, identity: Json | None) -> None:
    if not sent:
        return
    kind = read.text(sent, "type", where, required=True) or ""
    if kind.lower() != "managedserviceidentity":
        raise not_emulated(f"authentication of type '{kind}' in a workflow; it knows ManagedServiceIdentity")
    _known(sent, where, "type", "audience", "identity")
    read.text(sent, "audience", where)
    named = read.text(sent, "identity", where)
    has = identity or {"type": "None"}
    users = {each.lower() for each in has.get("userAssignedIdentities") or {}}
    fits = named.lower() in users if named else "SystemAssigned" in has["type"]
    if not fits:
        wanted = f"the user-assigned identity '{named}'" if named else "a system-assigned identity"
        raise invalid(
            f"'{where}' needs {wanted}, which the workflow does not have (its identity is of type {has['type']}).",
            "InvalidWorkflowManagedIdentitySpecified",
        )


# Retries ----------------------------------------------------------------------------------------------------------


def waits(inputs: Json, where: str = "inputs") -> list[float]:
    """How long an HTTP action waits before each further attempt, in seconds. Raises ArmError (400).

    Azure draws exponential waits at random below these; by default it has four, "scaled by 7.5 seconds but capped
    between 5 and 45": https://learn.microsoft.com/azure/logic-apps/error-exception-handling#retry-policies
    """
    policy = read.mapping(inputs, "retryPolicy", where)
    where = f"{where}.retryPolicy"
    if not policy:
        return [7.5, 15.0, 30.0, 45.0]
    read.text(policy, "type", where, required=True)
    kind = read.choice(policy, "type", _RETRIES, None, where)
    if kind == "none":
        return []
    count = read.integer(policy, "count", 0, where, least=1, most=90)
    text = read.text(policy, "interval", where, required=True) or ""
    if not count:
        raise bad(f"'{where}.count' is required: how often to try again, 1 to 90.")
    first = _wait(text, f"{where}.interval")
    if kind == "fixed":
        return [first] * count
    least = _wait(read.text(policy, "minimumInterval", where) or f"PT{_LEAST_WAIT}S", f"{where}.minimumInterval")
    most = _wait(read.text(policy, "maximumInterval", where) or "P1D", f"{where}.maximumInterval")
    return [min(max(first * 2**number, least), most) for number in range(count)]


def _wait(text: str, where: str) -> float:
    seconds = read.seconds(text, where)
    if not _LEAST_WAIT <= seconds <= _DAY:
        raise bad(f"'{where}' is {text}; it must lie between PT5S and P1D.")
    return seconds
