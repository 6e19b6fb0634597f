"""What a rule is, and how one is written down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from policies.resource import Resource

Check = Callable[[Resource], bool]
StackCheck = Callable[[Sequence[Resource]], Iterator[Resource]]


@dataclass(frozen=True)
class Rule:
    """A rule about resources of some kinds.

    Attributes:
        id: its name, by which exemptions call it.
        text: what is to be, in one sentence; and, after it, the way out.
        sources: the public rules that ask for it, by their own ids; empty for those that nobody ships.
        kinds: what it is about.
        keeps: whether a resource keeps to it.
        stacks: the stacks it holds in (`policies.stacks`); empty for all.
    """

    id: str
    text: str
    kinds: tuple[str, ...]
    keeps: Check
    sources: tuple[str, ...] = ()
    stacks: frozenset[str] = frozenset()

    def breaks(self, resource: Resource) -> bool:
        return resource.kind in self.kinds and not self.keeps(resource)


@dataclass(frozen=True)
class StackRule:
    """A rule about what resources are to each other. `broken_by` yields the resources that do not keep to it."""

    id: str
    text: str
    broken_by: StackCheck
    sources: tuple[str, ...] = ()
    stacks: frozenset[str] = frozenset()


AnyRule = Rule | StackRule


def is_called(rule: AnyRule, name: str) -> bool:
    """Whether a name means a rule: its own id, or that of a public rule that it stands for."""
    return name == rule.id or name in rule.sources


@dataclass(frozen=True)
class Finding:
    """A resource that does not keep to a rule."""

    rule: AnyRule
    resource: Resource


class RuleSet(list[AnyRule]):
    """Rules, in the order in which a module writes them; each of its functions becomes one by a decorator."""

    def rule(
        self, id_: str, *kinds: str, sources: Iterable[str] = (), stacks: Iterable[str] = ()
    ) -> Callable[..., Check]:
        """The function says whether a resource of these kinds keeps to the rule; its docstring is the rule's text."""

        def add(keeps: Check) -> Check:
            self.append(Rule(id_, _text(keeps), kinds, keeps, tuple(sources), frozenset(stacks)))
            return keeps

        return add

    def stack_rule(
        self, id_: str, *, sources: Iterable[str] = (), stacks: Iterable[str] = ()
    ) -> Callable[..., StackCheck]:
        """The function yields what does not keep to the rule, of all resources of a stack."""

        def add(broken_by: StackCheck) -> StackCheck:
            self.append(StackRule(id_, _text(broken_by), broken_by, tuple(sources), frozenset(stacks)))
            return broken_by

        return add


def _text(function: Callable[..., object]) -> str:
    return " ".join((function.__doc__ or "").split())
