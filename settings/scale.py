"""How a deployment may grow and shrink: by what is measured, and by the clock."""

from typing import Annotated, Literal

from pydantic import Field

from settings.base import SettingsModel, Whole

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

    metric: Literal["cpu", "latency", "requests_per_minute"]
    above: float = Field(gt=0)
    below: float | None = Field(default=None, ge=0)
    over: Whole = Field(default=300, ge=300, le=43_200, multiple_of=60)
    by: Instances = 1
    cooldown: Whole = Field(default=300, ge=60, le=604_800)


class TimetableEntry(SettingsModel):
    """Other bounds at certain hours of certain days; `until` is on the next day where it is not after `from`."""

    name: str = Field(min_length=1, max_length=60)
    days: tuple[Day, ...] = DAYS
    from_: Clock = Field(alias="from")
    until: Clock
    min_instances: Instances | None = None
    max_instances: Instances | None = None

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

    min_instances: Instances = 1
    max_instances: Instances
    rules: tuple[ScaleRuleSettings, ...] = ()
    time_zone: str = "UTC"
    timetable: tuple[TimetableEntry, ...] = ()
    target_utilization_percentage: Annotated[Whole, Field(ge=1, le=100)] | None = None
    polling_interval: Annotated[Whole, Field(ge=1)] | None = None

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
