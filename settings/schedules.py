"""When a batch endpoint scores by itself, what, and where the predictions go."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from settings.base import SettingsModel, Whole
from settings.scale import Day

# A full hour, which is what `every: hour` is without a word more.
ON_THE_HOUR = ":00"
# The start where none is given: without one a Logic App would also run at once, when it is saved. Any in the past will
# do; this is a Monday.
LONG_AGO = datetime(2024, 1, 1)
CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
MINUTE = re.compile(r":([0-5][0-9])")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?)?")


def _listed(value: object) -> object:
    # One may write a single one without the brackets of a list.
    items = value if isinstance(value, list | tuple) else [value]
    # YAML 1.1 reads 02:00 as the number of its minutes, and nobody would find that out.
    if not all(isinstance(item, str) for item in items):
        raise PydanticCustomError("clock", 'Input should be times of day in quotes, as "02:00"')
    return tuple(items)


Times = Annotated[tuple[str, ...], BeforeValidator(_listed, json_schema_input_type=tuple[str, ...] | str)]


class Marks(NamedTuple):
    """Each of these hours with each of these minutes; without hours, these minutes of every hour."""

    hours: tuple[int, ...]
    minutes: tuple[int, ...]

    @property
    def digits(self) -> str:
        """The first of the times, for a name: 1430, or 15 for a minute of every hour."""
        return "".join(f"{marks[0]:02}" for marks in self if marks)


class ScheduleSettings(SettingsModel):
    """A timetable on which a batch endpoint scores an input.

    `at` are times of day (`"02:00"`) or, with `every: hour`, minutes of the hour (`":15"`). They and `start` and `end`
    are on the clock of `time_zone`. `deployment` names one of the configuration; without it the default answers.

    `input` is read as the identity of the schedules (`id-<endpoint>-schedules`) and that of the cluster: on another
    storage account than the workspace's both need Storage Blob Data Reader. Each run writes into a folder of its own
    below `output`, called by the run's name, since a job fails whose output file is there already.
    """

    every: Literal["hour", "day", "week"] = Field(description="How often.")
    on: Annotated[tuple[Day, ...], Field(description="The days of a week.")] = ()
    at: Times = Field(
        default=(), description='Times of day ("02:00"), or minutes of the hour (":15") with every: hour; in quotes.'
    )
    time_zone: str = Field(default="UTC", description="The time zone of at, start and end, as Europe/London.")
    start: str | None = Field(default=None, description="Nothing runs before, as 2026-04-01 or 2026-04-01T08:00.")
    end: str | None = Field(default=None, description="Nothing runs after.")
    paused: bool = Field(default=False, description="Whether it is kept without running.")
    deployment: str | None = Field(default=None, description="A deployment of the endpoint; its default without it.")
    input: str = Field(description="A path of a datastore, a data asset (azureml:<name>:<version>) or an https URL.")
    input_type: Literal["uri_folder", "uri_file"] = Field(
        default="uri_folder", description="Whether the input is a folder or one file."
    )
    output: str | None = Field(default=None, description="A folder of a datastore, for one a run; else Azure chooses.")
    instance_count: Annotated[Whole, Field(ge=1, le=50)] | None = Field(
        default=None, description="Machines for this run, instead of the deployment's."
    )
    mini_batch_size: Annotated[Whole, Field(ge=1)] | None = Field(
        default=None, description="Files a mini-batch for this run, instead of the deployment's."
    )

    def times(self) -> tuple[str, ...]:
        """`at`, or what it is without a word."""
        return self.at or ((ON_THE_HOUR,) if self.every == "hour" else ())

    def marks(self) -> list["Marks"]:
        """The times, by as few timetables of Azure's as they take.

        One of those is each of some hours with each of some minutes: 02:00 and 14:00 are one, and so are 02:00, 02:30,
        14:00 and 14:30, but 02:00 and 14:30 are two. With `every: hour` each minute is one.
        """
        if self.every == "hour":
            return [Marks((), (int(time[1:]),)) for time in sorted(set(self.times()))]
        clocks = sorted({(int(time[:2]), int(time[3:])) for time in self.times()})
        swapped = sorted((minute, hour) for hour, minute in clocks)
        found = min(_pairs(clocks), [(hours, minutes) for minutes, hours in _pairs(swapped)], key=len)
        return sorted(Marks(hours, minutes) for hours, minutes in found)

    def workflows(self, name: str) -> dict[str, "Marks"]:
        """The Logic Apps, by their names: `name` itself, and `name-1430` for a further timetable that begins 14:30."""
        first, *others = self.marks()
        return {name: first} | {f"{name}-{marks.digits}": marks for marks in others}

    def first(self) -> datetime | None:
        """`start`, as a moment on the clock of `time_zone`."""
        return moment(self.start)

    def last(self) -> datetime | None:
        """`end`, as a moment on the clock of `time_zone`."""
        return moment(self.end)


def _pairs(clocks: Iterable[tuple[int, int]]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Firsts that go with the same seconds, with those: 2:0, 2:30, 14:0, 14:30 is (2, 14) with (0, 30)."""
    seconds: dict[int, tuple[int, ...]] = {}
    for first, second in clocks:
        seconds[first] = (*seconds.get(first, ()), second)
    groups = dict.fromkeys(seconds.values())
    return [(tuple(first for first in seconds if seconds[first] == group), group) for group in groups]


def moment(text: str | None) -> datetime | None:
    """A date, or a date and a time, without a time zone of its own; None for anything else."""
    if text is None or not MOMENT.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def next_minute(after: datetime, minute: int) -> datetime:
    """The first moment from `after` on whose minute it is."""
    found = after.replace(minute=minute, second=0)
    return found if found >= after else found + timedelta(hours=1)
