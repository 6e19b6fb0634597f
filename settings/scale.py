"""How a deployment may grow and shrink: by what is measured, and by the clock."""

from typing import Annotated, Literal

from pydantic import Field

from settings.base import Number, SettingsModel, Whole

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
# Azure allows 50 instances a deployment.
Instances = Annotated[Whole, Field(ge=1, le=50)]
Clock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
_DAY = 24 * 60
WEEK = 7 * _DAY


class ScaleRuleSettings(SettingsModel):
    """One measure that instances are added and removed by.

    `cpu` in per cent and `latency` in milliseconds are means over the instances, `requests_per_minute` is a count per
    instance. `over` and `cooldown` are in seconds: how long the mean is taken, and how long nothing is changed after a
    change. A rule without `below` only adds. The bounds are Azure Monitor's.
    """

    metric: Literal["cpu", "latency", "requests_per_minute"] = Field(
        description="cpu in per cent, latency in milliseconds, requests_per_minute per instance."
    )
    above: Number = Field(gt=0, description="Instances are added when the mean is above this.")
    below: Number | None = Field(
        default=None,
        ge=0,
        description="Instances are removed when the mean is below this; without it the rule only adds.",
    )
    over: Whole = Field(
        default=300,
        ge=300,
        le=43_200,
        multiple_of=60,
        description="Seconds over which the mean is taken, in whole minutes.",
    )
    by: Instances = Field(default=1, description="How many instances are added or removed at a time.")
    cooldown: Whole = Field(
        default=300, ge=60, le=604_800, description="Seconds after a change in which nothing is changed."
    )


class TimetableEntry(SettingsModel):
    """Other bounds at certain hours of certain days; `until` is on the next day where it is not after `from`."""

    name: str = Field(min_length=1, max_length=60, description="What Azure shows these hours as.")
    days: tuple[Day, ...] = Field(default=DAYS, description="The days of the week; all of them without it.")
    from_: Clock = Field(alias="from", description="When they begin, as 08:00, in quotes.")
    until: Clock = Field(description="When they end; on the next day where it is not after from.")
    min_instances: Instances | None = Field(default=None, description="The fewest instances meanwhile; else the usual.")
    max_instances: Instances | None = Field(default=None, description="The most instances meanwhile; else the usual.")

    def spans(self) -> list[tuple[int, int]]:
        """When it begins and ends, in minutes since Monday 0:00; an end may lie in the week after."""
        begin, end = _minutes(self.from_), _minutes(self.until)
        length = end - begin if end > begin else end - begin + _DAY
        starts = sorted(DAYS.index(day) * _DAY + begin for day in set(self.days))
        return [(start, start + length) for start in starts]


class AutoscaleSettings(SettingsModel):
    """The bounds of a deployment, and what moves it between them.

    On a managed endpoint Azure Monitor goes by `rules` and by a `timetable`, on whose clock `time_zone` says. On a
    Kubernetes endpoint the cluster's own router goes by `target_utilization_percentage`, asked every `polling_interval`
    seconds.
    """

    min_instances: Instances = Field(default=1, description="The fewest instances.")
    max_instances: Instances = Field(description="The most instances; Azure allows 50 a deployment.")
    rules: tuple[ScaleRuleSettings, ...] = Field(
        default=(), description="What is measured, and when instances are added and removed. Managed endpoints only."
    )
    time_zone: str = Field(default="UTC", description="The time zone of the timetable, as Europe/London.")
    timetable: tuple[TimetableEntry, ...] = Field(
        default=(), description="Other bounds at certain hours. Managed endpoints only."
    )
    target_utilization_percentage: Annotated[Whole, Field(ge=1, le=100)] | None = Field(
        default=None, description="How busy instances are kept, in per cent. Kubernetes only."
    )
    polling_interval: Annotated[Whole, Field(ge=1)] | None = Field(
        default=None, description="Seconds between two looks at how busy they are. Kubernetes only."
    )

    def bounds(self, entry: TimetableEntry | None = None) -> tuple[int, int]:
        """The fewest and the most instances, usually or during an entry of the timetable."""
        least, most = (entry.min_instances, entry.max_instances) if entry else (None, None)
        return least or self.min_instances, most or self.max_instances

    def most(self) -> int:
        """The most instances that there may be at any time."""
        return max(most for _, most in map(self.bounds, (None, *self.timetable)))


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)
