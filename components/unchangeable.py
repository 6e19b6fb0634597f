"""What Azure takes only when it makes a resource: an edit of it is refused by the preview, in the settings' words.

azure-native plans such an edit as an update like any other, and Azure refuses it in the midst of an `up`, when others
have been made. A hook sees what the resource is and what it would become. Resources that are not there yet, and those
that are deleted, are none of its business; nor, as a rule, is a value that only an `up` will know.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.output import Unknown


def same(before: Any, after: Any) -> bool:
    """Whether two values are the same to ARM, which knows no case in words and names."""
    return str(before).lower() == str(after).lower()


def both_or_neither(value: bool | str) -> Callable[[Any, Any], bool]:
    """Holds where the property has this value before and after, or neither; what is not set is the other one."""
    return lambda before, after: (before == value) == (after == value)


@dataclass(frozen=True)
class Unchangeable:
    """A property that stays: `key` is the setting, `at` is where the inputs of the resource have it.

    `way_out` ends the error. `may_become` says which changes are none, or are taken; what is not set is None. What is
    `made_once` may not become something that is still to be made, either.
    """

    key: str
    at: str
    way_out: str
    may_become: Callable[[Any, Any], bool] = same
    made_once: bool = False

    def finding(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
        """What is wrong with an update from these inputs to those."""
        old, new = _value(before, self.at), _value(after, self.at)
        if _is_open(old) or (_is_open(new) and not self.made_once) or self.may_become(old, new):
            return None
        return f"{self.key}: is {_shown(old)} in Azure, and Azure does not let it become {_shown(new)}; {self.way_out}"


def kept(resource: str, *properties: Unchangeable) -> pulumi.ResourceHookBinding:
    """The `hooks` of a resource of this name that has such properties. A change raises `pulumi.RunError`."""

    def refuse(args: pulumi.ResourceHookArgs) -> None:
        before, after = args.old_inputs or {}, args.new_inputs or {}
        if found := [finding for each in properties if (finding := each.finding(before, after))]:
            raise pulumi.RunError("\n".join(found))

    hook = pulumi.ResourceHook(f"{resource}-kept", refuse, pulumi.ResourceHookOptions(on_dry_run=True))
    return pulumi.ResourceHookBinding(before_update=[hook])


def _is_open(value: Any) -> bool:
    """Whether this is not known yet, or not to be known."""
    parts = value if isinstance(value, list | dict) else [value]
    return any(isinstance(part, Unknown | pulumi.Output) for part in parts)


def _value(inputs: Any, at: str) -> Any:
    for key in at.split("."):
        if not isinstance(inputs, Mapping):
            return inputs if isinstance(inputs, Unknown) else None
        inputs = inputs.get(key)
    return inputs


def _shown(value: Any) -> str:
    if _is_open(value):
        return "a new one"
    return "unset" if value is None else str(value)
