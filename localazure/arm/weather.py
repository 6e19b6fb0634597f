"""Azure's weather on request: slow answers, throttling, faults and long operations that fail, by rules that are data.

The application asks `Weather.call` once a call, and `Operations` asks `Weather.outlook` once an operation; nothing else
knows of it. Everything is off unless somebody asks for it, and the same seed and the same calls give the same weather.
"""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from localazure.arm.errors import ArmError
from localazure.errors import SettingsInvalid

if TYPE_CHECKING:
    from localazure.arm.store import Store

log = logging.getLogger(__name__)

_NOTE = "weather"
_REMEMBERED = 200
# What Azure says in general; a rule may say it in other words.
_TEXTS = {
    429: ("TooManyRequests", "The request is being throttled as the limit has been reached for this operation."),
    500: ("InternalServerError", "The server encountered an internal error. Please retry the request."),
    503: ("ServiceUnavailable", "The service is temporarily unavailable. Please retry the request."),
    504: ("GatewayTimeout", "The gateway did not receive a response within the specified time period."),
}
_OPERATION_TEXT = ("InternalServerError", "An internal server error occurred. Please try again.")


class Rule(BaseModel):
    """What happens to which calls. The first rule that strikes decides; delays of several rules add up."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str = "*"
    """HTTP method of the call, or that began the operation; `*` and `?` stand for anything."""
    type: str = "*"
    """ARM type in any case, such as `Microsoft.MachineLearningServices/workspaces/*`; an action is its last part."""
    path: str = ""
    """A regular expression that is found in the path, in any case."""
    do: Literal["answer", "drop", "delay", "fail", "prolong"]
    """`answer` an error, `drop` the connection without an answer, `delay` the answer; of the long operation that the
    call begins: `fail` it, or `prolong` it."""
    when: Literal["before", "after"] = "before"
    """Whether an `answer` or a `drop` comes in place of the work, or after it: then it is done and nobody is told (what
    is refused is told as ever)."""
    status: int = Field(default=503, ge=400, le=599)
    """HTTP status of an `answer`."""
    retry_after: float | None = Field(default=None, ge=0)
    """Seconds of an `answer`'s `Retry-After`; a fraction goes as `retry-after-ms`, for clients read whole seconds."""
    code: str = ""
    message: str = ""
    """Error code and message of an `answer` or of a failed operation; empty for Azure's usual ones."""
    seconds: float = Field(default=0.0, ge=0)
    """How long a `delay` is, how long an operation takes at least, or after how long it fails."""
    probability: float = Field(default=1.0, ge=0, le=1)
    skip: int = Field(default=0, ge=0)
    """How many matching calls are let through first."""
    count: int | None = Field(default=None, ge=1)
    """How many matching calls after those can be struck; all, where it is not given."""
    per: Literal["rule", "operation", "resource"] = "rule"
    """What `skip` and `count` count: the rule's calls, or apart for each route of the API, or for each path."""

    @field_validator("path")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        return value

    def error(self) -> ArmError:
        """The refusal that an `answer` is."""
        code, message = _TEXTS.get(self.status, ("Fault", "A fault that was asked for."))
        return ArmError(self.status, self.code or code, self.message or message, headers=self._pause())

    def failure(self) -> dict[str, str]:
        """How an operation that is made to fail ends."""
        code, message = _OPERATION_TEXT
        return {"code": self.code or code, "message": self.message or message}

    def _pause(self) -> dict[str, str]:
        if self.retry_after is None:
            return {}
        if self.retry_after.is_integer():
            return {"Retry-After": str(int(self.retry_after))}
        return {"retry-after-ms": str(round(self.retry_after * 1000))}


class Latency(BaseModel):
    """How long things take."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: Literal["none", "azure"] = "none"
    """`azure`: long operations take as long as in Azure before they succeed; `none`: as long as their work."""
    factor: float = Field(default=1.0, ge=0)
    """Times of the profile are multiplied by this."""
    calls: bool = False
    """Whether calls that are no long operation take their time, too."""


class WeatherSettings(BaseModel):
    """The weather that is asked for: none, by default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    latency: Latency = Latency()
    rules: tuple[Rule, ...] = ()

    @property
    def calm(self) -> bool:
        """Whether nothing at all is asked for."""
        return not self.rules and self.latency.profile == "none"


@dataclass(frozen=True)
class Timing:
    """A line of a profile: the first that matches holds.

    Attributes:
        method, type: as in a rule.
        low, high: seconds between which it takes.
        new: whether it is about a resource that does not exist yet; None for either.
        long: whether it is a long operation or a call that is answered at once.
    """

    method: str
    type: str
    low: float
    high: float
    new: bool | None = None
    long: bool = True


@dataclass(frozen=True)
class Occasion:
    """A call as rules see it.

    Attributes:
        method: HTTP method.
        path: as it was sent.
        operation: method and template of the route: what one operation of the API is.
        new: whether what it is about does not exist yet.
    """

    method: str
    path: str
    operation: str
    new: bool = False


@dataclass(frozen=True)
class Strike:
    """What happens to one call: first the delay in seconds, then the fault, if any."""

    seconds: float = 0.0
    fault: Rule | None = None


@dataclass
class _Tally:
    matched: int = 0
    struck: int = 0


@dataclass(frozen=True)
class _State:
    """One weather, and what it has done so far."""

    settings: WeatherSettings
    source: str
    tallies: dict[tuple[int, str], _Tally] = field(default_factory=dict)
    struck: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))


_occasion: ContextVar[Occasion | None] = ContextVar("occasion", default=None)


class Weather:
    """The weather of one Local Azure. Thread-safe; what is set holds across restarts, its counts begin anew there."""

    def __init__(
        self,
        settings: WeatherSettings | None = None,
        profiles: Mapping[str, Sequence[Timing]] | None = None,
        store: Store | None = None,
    ) -> None:
        """`settings` hold until others are set, which `store` keeps; `profiles` are the latency profiles by name."""
        self._default = settings or WeatherSettings()
        self._profiles = profiles or {}
        self._store = store
        self._lock = threading.Lock()
        kept = store.note(_NOTE) if store else None
        self._state = _State(_read(kept), "request") if kept else self._by_default()

    @property
    def calm(self) -> bool:
        """Whether nothing is asked for: then nobody else needs to be asked."""
        return self._state.settings.calm

    # Set and show --------------------------------------------------------------------------------------------

    def set(self, values: Mapping[str, Any]) -> None:
        """Asks for a weather in place of the settings', with all counts at zero.

        Raises:
            SettingsInvalid: an unknown key or a bad value, naming all of them.
        """
        settings = _checked(values)
        if self._store:
            self._store.put_note(_NOTE, settings.model_dump_json())
        self._state = _State(settings, "request")

    def reset(self) -> None:
        """Goes back to the settings' weather, with all counts at zero."""
        if self._store:
            self._store.put_note(_NOTE, None)
        self._state = self._by_default()

    def _by_default(self) -> _State:
        return _State(self._default, "settings")

    def report(self) -> dict[str, Any]:
        """What is asked for, by whom, how often each rule matched and struck, and the last strikes."""
        with self._lock:
            state = self._state
            counts = [
                {"rule": rule, "what": what, "matched": tally.matched, "struck": tally.struck}
                for (rule, what), tally in state.tallies.items()
            ]
            struck = list(state.struck)
        settings = state.settings.model_dump(exclude_defaults=True, mode="json")
        return {"weather": settings, "source": state.source, "counts": counts, "struck": struck}

    # Ask -----------------------------------------------------------------------------------------------------

    def call(self, occasion: Occasion) -> Strike:
        """What happens to a call, whatever it begins."""
        kind = resource_type(occasion.path)
        seconds = self._takes(occasion, kind, long=False)
        for rule in self._striking(occasion, kind, ("answer", "drop", "delay")):
            if rule.do != "delay":
                return Strike(seconds, rule)
            seconds += rule.seconds
        return Strike(seconds)

    def outlook(self, resource_id: str) -> dict[str, Any] | None:
        """What happens to a long operation on a resource that begins now: `due`, the moment of `time.time()` before
        which it does not end, and `failure`, the code and message with which it does."""
        began = _occasion.get() or Occasion("", resource_id, "")
        kind = resource_type(resource_id)
        seconds, failure = self._takes(began, kind, long=True), None
        for rule in self._striking(began, kind, ("fail", "prolong")):
            seconds = max(seconds, rule.seconds)
            if rule.do == "fail":
                seconds, failure = rule.seconds, rule.failure()
                break
        return {"due": time.time() + seconds, "failure": failure} if seconds or failure else None

    @contextmanager
    def during(self, occasion: Occasion) -> Iterator[None]:
        """Operations that begin inside belong to this call."""
        token = _occasion.set(occasion)
        try:
            yield
        finally:
            _occasion.reset(token)

    def _striking(self, occasion: Occasion, kind: str, does: Sequence[str]) -> Iterator[Rule]:
        """The rules that strike, each counted when it is asked for."""
        state = self._state
        for number, rule in enumerate(state.settings.rules):
            if rule.do in does and _matches(rule, occasion, kind) and self._strikes(state, number, rule, occasion):
                log.warning("weather: rule %d (%s) strikes %s %s", number, rule.do, occasion.method, occasion.path)
                yield rule

    def _strikes(self, state: _State, number: int, rule: Rule, occasion: Occasion) -> bool:
        what = {"rule": "", "operation": occasion.operation, "resource": f"{occasion.method} {occasion.path}"}[rule.per]
        with self._lock:
            tally = state.tallies.setdefault((number, what), _Tally())
            tally.matched += 1
            turn = tally.matched - rule.skip
            if turn < 1 or (rule.count is not None and turn > rule.count):
                return False
            # Of seed, rule and turn alone: what other calls do in between changes nothing.
            if random.Random(f"{state.settings.seed}/{number}/{what}/{turn}").random() >= rule.probability:
                return False
            tally.struck += 1
            status = rule.status if rule.do == "answer" else None
            state.struck.append(
                {
                    "rule": number,
                    "do": rule.do,
                    "when": rule.when,
                    "status": status,
                    "method": occasion.method,
                    "path": occasion.path,
                    "operation": occasion.operation,
                }
            )
            return True

    def _takes(self, occasion: Occasion, kind: str, *, long: bool) -> float:
        """Seconds by the profile: the same for the same seed, method and path."""
        settings = self._state.settings
        latency = settings.latency
        if not (long or latency.calls):
            return 0.0
        for line in self._profiles.get(latency.profile, ()):
            if line.long == long and line.new in (None, occasion.new) and _fits(line, occasion.method, kind):
                chance = random.Random(f"{settings.seed}/{occasion.method}/{occasion.path}").random()
                return (line.low + chance * (line.high - line.low)) * latency.factor
        return 0.0


def resource_type(path: str) -> str:
    """The ARM type that a path is about, such as `Microsoft.KeyVault/vaults`; an action's name is its last part."""
    _, provider, after = path.rstrip("/").rpartition("/providers/")
    if provider:
        namespace, *rest = after.split("/")
        return "/".join([namespace, *rest[::2]])
    parts = after.strip("/").split("/")
    return f"Microsoft.Resources/{'/'.join(parts[2::2]) or parts[0]}" if parts[0].lower() == "subscriptions" else ""


def _matches(rule: Rule, occasion: Occasion, kind: str) -> bool:
    return _fits(rule, occasion.method, kind) and bool(re.search(rule.path, occasion.path, re.IGNORECASE))


def _fits(pattern: Rule | Timing, method: str, kind: str) -> bool:
    return fnmatchcase(method, pattern.method.upper()) and fnmatchcase(kind.lower(), pattern.type.lower())


def _checked(values: Mapping[str, Any]) -> WeatherSettings:
    try:
        return WeatherSettings.model_validate(values)
    except ValidationError as error:
        problems = [
            f"weather.{'.'.join(map(str, item['loc']))}: {item['msg']} (got {item['input']!r})"
            for item in error.errors(include_url=False)
        ]
        raise SettingsInvalid("\n".join(["This weather cannot be had:", *problems])) from None


def _read(kept: str) -> WeatherSettings:
    try:
        return WeatherSettings.model_validate_json(kept)
    except ValidationError:
        # Of another version, which had other rules: calm is safe, and the log says so.
        log.warning("the weather that was set earlier is not understood any more: %s", kept)
        return WeatherSettings()
