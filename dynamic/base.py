"""What all dynamic providers share: who they are, how they reach Azure, and what counts as a change."""

import io
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pulumi.dynamic import ConfigureRequest, CreateResult, DiffResult, ReadResult, ResourceProvider, UpdateResult
from pulumi.output import Unknown

from dynamic.login import Login

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

Props = dict[str, Any]

# azure-ai-ml asks every 30 s about an operation where the service names no time; 5 s is what it uses for deployments.
POLLING_INTERVAL = 5


def _is_provider_process() -> bool:
    """Whether this is the process in which Pulumi runs dynamic providers, and nothing else."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return getattr(spec, "name", None) == "pulumi.dynamic.__main__"


class Refusal(Exception):
    """Something that a user can put right. The message says what, which value, and the way out."""

    def __init__(self, message: str) -> None:
        # Pulumi prints the traceback of whatever a dynamic provider raises; that of a refusal helps nobody.
        if _is_provider_process():
            sys.tracebacklimit = 0
        super().__init__(message)


class NotYet(Exception):
    """Azure refused what it may take a moment later. The message is Azure's own."""


@dataclass(frozen=True)
class Pace:
    """How long to wait for Azure, and how often to ask: `timeout` and `longest` in seconds."""

    timeout: float = 1800.0
    first: float = 0.1
    longest: float = 5.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Asks again, ever more slowly, until `done` says so and while it raises `NotYet`.

        Raises `Refusal` when the time is up, with what Azure answered last.
        """
        deadline, pause, last = self.clock() + self.timeout, self.first, ""
        while True:
            try:
                if done():
                    return
            except NotYet as error:
                last = f" Azure's last answer: {error}"
            if self.clock() >= deadline:
                raise Refusal(
                    f"{what} after {self.timeout:.0f} s; look at it in Azure ML studio, then run pulumi up again.{last}"
                )
            self.sleep(pause)
            pause = min(pause * 1.5, self.longest)


class AzureProvider(ResourceProvider):
    """The lifecycle of one kind of dynamic resource; Azure itself is in client functions beside each provider.

    `compared` names the inputs whose change is an update. Nothing is replaced, but what removes a cluster under its old
    name: what these resources stand for can be changed in place, and an unknown value is taken as unchanged, so that
    they survive the replacement of what they depend on.
    """

    # No provider holds a secret: logins are read when a provider is configured, not when it is pickled.
    serialize_as_secret_always = False
    compared: ClassVar[tuple[str, ...]] = ()

    def configure(self, req: ConfigureRequest) -> None:
        """Reads who we are. Called in the provider's process, once."""
        self.login = Login.read(req.config.get, os.environ)

    def diff(self, _id: str, _olds: Props, _news: Props) -> DiffResult:
        """Compares the inputs that count; Pulumi's own `__provider` never does."""
        changed = any(differs(_olds.get(key), _news.get(key)) for key in self.compared)
        return DiffResult(changes=changed, replaces=[])

    def read(self, id_: str, props: Props) -> ReadResult:
        """Keeps what is recorded: what can drift is compared with azure-native's refreshed outputs, not read again."""
        return ReadResult(id_, props)

    def ml_client(self, props: Mapping[str, Any], *, show_progress: bool = False) -> "MLClient":
        """azure-ai-ml for the workspace that the inputs name."""
        from azure.ai.ml import MLClient

        if _is_provider_process():
            # azure-ai-ml prints dots while it waits, which Pulumi would show as messages of the stack.
            sys.stdout = io.StringIO()
        return MLClient(
            self.login.credential(),
            props["subscriptionId"],
            props["resourceGroupName"],
            props["workspaceName"],
            cloud=self.login.cloud.name,
            show_progress=show_progress,
            polling_interval=POLLING_INTERVAL,
        )


class WaitingProvider(AzureProvider):
    """Waits on creation and on each update, and stands for nothing in Azure."""

    def name_of(self, props: Props) -> str:
        """The id of the resource in the state."""
        raise NotImplementedError

    def wait(self, props: Props) -> None:
        """Blocks until what depends on this may begin."""
        raise NotImplementedError

    def create(self, props: Props) -> CreateResult:
        self.wait(props)
        return CreateResult(self.name_of(props), props)

    def update(self, _id: str, _olds: Props, _news: Props) -> UpdateResult:
        self.wait(_news)
        return UpdateResult(_news)


def differs(old: Any, new: Any) -> bool:
    """Whether two values differ, where what is not known yet counts as unchanged and 90.0 is 90."""
    return not any(map(is_unknown, (old, new))) and old != new


def is_unknown(value: Any) -> bool:
    """Whether a value, or anything in it, is not known yet."""
    if isinstance(value, Mapping):
        return any(map(is_unknown, value.values()))
    if isinstance(value, list | tuple):
        return any(map(is_unknown, value))
    return isinstance(value, Unknown)


def known(items: Mapping[str, Any] | None) -> dict[str, Any]:
    """The items whose values are known."""
    pairs: Iterable[tuple[str, Any]] = (items or {}).items()
    return {key: value for key, value in pairs if not is_unknown(value)}
