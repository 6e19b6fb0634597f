"""The rules for the timetables of a batch endpoint.

Source: https://learn.microsoft.com/azure/connectors/connectors-native-recurrence and
https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from settings.models import BatchEndpointSettings
from settings.schedules import CLOCK, LONG_AGO, MINUTE, ScheduleSettings, moment, next_minute
from settings.shapes import key_path
from settings.time_zones import known_name

SCHEDULE_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
# Of a Logic App, which is called `<endpoint>-<schedule>`.
MAX_NAME = 43
DATASTORE_PATH = re.compile(
    r"azureml://(subscriptions/[^/]+/resourcegroups/[^/]+/(providers/[^/]+/)?workspaces/[^/]+/)?datastores/[^/]+/paths/.*",
    re.IGNORECASE,
)
DATA_ASSET = re.compile(r"azureml:[^:@/]+:[^:@/]+")
URL = re.compile(r"https://[^/\s]+/\S*")
# What the moments of a timetable are taken from.
YEARS = range(1970, 2200)

Findings = Iterator[str]


def schedule_findings(
    path: str, endpoint: str, name: str, schedule: ScheduleSettings, written: Collection[str]
) -> Findings:
    """What is wrong with a schedule; `endpoint` is the endpoint's name in Azure, `written` are the keys of the user."""
    # Of what is not sound itself more is not said.
    lost = {key for key in ("at", "on") if key in written and key not in schedule.model_fields_set}
    if "on" not in lost:
        yield from _days(path, schedule)
    if "at" not in lost:
        yield from _times(path, schedule) or _name(path, name, [*schedule.workflows(f"{endpoint}-{name}")])
        yield from _hours(path, schedule)
    if known_name(schedule.time_zone) is None:
        yield f'{path}.timeZone: "{schedule.time_zone}" is no time zone of Azure\'s; write one as Europe/London or UTC.'
    yield from _span(path, schedule)
    yield from _places(path, schedule)


def twin_findings(endpoints: Mapping[str, BatchEndpointSettings]) -> Findings:
    """Schedules that would be one Logic App: `a-b` of endpoint `tumor` and `b` of endpoint `tumor-a`."""
    taken: dict[str, str] = {}
    for name, endpoint in endpoints.items():
        for schedule, settings in endpoint.schedules.items():
            path = key_path("batchEndpoints", name, "schedules", schedule)
            # Where the times are wrong, that is said already.
            names = [] if _times(path, settings) else settings.workflows(f"{name}-{schedule}")
            for workflow in names:
                other = taken.setdefault(workflow.lower(), path)
                if other != path:
                    yield f"{path}: its Logic App would be called {workflow}, as that of {other}: rename one."


def _name(path: str, name: str, workflows: Sequence[str]) -> Findings:
    longest = max(workflows, key=len)
    if not SCHEDULE_NAME.fullmatch(name):
        yield f'{path}: "{name}" is no name of a schedule; use lower-case letters, digits and hyphens, a letter first.'
    elif len(longest) > MAX_NAME:
        yield (
            f"{path}: its Logic App would be called {longest}, which has {len(longest)} characters; Azure takes "
            f"{MAX_NAME}: shorten the name of the schedule or of the endpoint."
        )


def _days(path: str, schedule: ScheduleSettings) -> Findings:
    own = key_path(path, "on")
    if schedule.every == "week" and not schedule.on:
        yield f"{own}: is missing; name the days, as [monday], or say every: day."
    if schedule.every != "week" and schedule.on:
        yield f"{own}: is for every: week; remove it, or say every: week instead of every: {schedule.every}."
    yield from _twice(own, schedule.on)


def _times(path: str, schedule: ScheduleSettings) -> list[str]:
    own = key_path(path, "at")
    if not schedule.times():
        return [f'{own}: is missing; give a time of day, as "02:00", or several, as ["02:00", "14:30"].']
    form, example = (MINUTE, '":15"') if schedule.every == "hour" else (CLOCK, '"02:00"')
    what = "minute of the hour" if schedule.every == "hour" else "time of day"
    wrong = [time for time in schedule.at if not form.fullmatch(time)]
    said = [f'{own}: "{time}" is no {what}; with every: {schedule.every} write it as {example}.' for time in wrong]
    return [*said, *_twice(own, schedule.at)]


def _twice(path: str, names: Sequence[str]) -> Findings:
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        yield f"{path}: names {name} twice; keep it once."


def _span(path: str, schedule: ScheduleSettings) -> Findings:
    for key, given in (("start", schedule.start), ("end", schedule.end)):
        if given is not None and moment(given) is None:
            yield (
                f'{path}.{key}: "{given}" is no moment on the clock of timeZone; write it in quotes, without a time '
                'zone of its own, as "2026-04-01" or "2026-04-01T08:00".'
            )
        elif (found := moment(given)) and found.year not in YEARS:
            yield f"{path}.{key}: {given} is not in the years {YEARS[0]} to {YEARS[-1]}; write one that is."
    first, last = schedule.first(), schedule.last()
    if first and last and last <= first:
        yield f"{path}.end: {schedule.end} is not after start ({schedule.start}); nothing would ever run: move one."
    elif last and last.year in YEARS and last <= (first or LONG_AGO):
        yield f"{path}.end: {schedule.end} is long past; nothing would ever run: move it."


def _hours(path: str, schedule: ScheduleSettings) -> Findings:
    """Minutes of the hour that do not come before the end. A Logic App that would begin after its end is refused."""
    first, last = schedule.first(), schedule.last()
    if schedule.every != "hour" or not first or not last or last <= first or first.year not in YEARS:
        return
    # What is no minute is said already.
    for time in (time for time in schedule.times() if MINUTE.fullmatch(time)):
        if (begins := next_minute(first, int(time[1:]))) >= last:
            yield (
                f"{path}.end: {schedule.end} is not after the first {time} from start on ({begins:%Y-%m-%dT%H:%M}); "
                "nothing would run then: move it."
            )


def _places(path: str, schedule: ScheduleSettings) -> Findings:
    given = schedule.input
    if not any(form.fullmatch(given) for form in (DATASTORE_PATH, DATA_ASSET, URL)):
        yield (
            f'{path}.input: "{given}" is nothing that Azure can read when the time has come; write '
            "azureml://datastores/<datastore>/paths/<folder>/, azureml:<data asset>:<version>, or an https URL."
        )
    elif schedule.input_type == "uri_file" and given.endswith("/"):
        yield f'{path}.inputType: is uri_file, but input "{given}" is a folder; name a file, or remove inputType.'
    if schedule.output is not None and not DATASTORE_PATH.fullmatch(schedule.output):
        yield (
            f'{path}.output: "{schedule.output}" is no folder of a datastore; write '
            "azureml://datastores/<datastore>/paths/<folder>/."
        )
