"""Written exemptions: what a stack does not keep to on purpose, why, and until when that holds."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from policies.pack import RULES
from policies.rule import AnyRule, Finding, is_called

FILE = Path(__file__).with_name("exemptions.yaml")
KEYS = {"rule", "resources", "stacks", "reason", "review"}
# How far ahead the day of review may be: an exemption that nobody looks at again is a rule that was dropped.
LONGEST = timedelta(days=2 * 365)
# Rules that the real Checkov has and the pack has not: tests/policies/test_checkov.py holds their exemptions.
CHECKOV = ("CKV_AZURE_", "CKV2_AZURE_")


class ExemptionError(Exception):
    """The file of exemptions cannot be used; the message says where, why, and the way out."""


@dataclass(frozen=True)
class Exemption:
    """One entry. `resources` is a pattern over Pulumi's names (`workspace-*`), `stacks` are names or patterns."""

    rule: str
    resources: str
    stacks: tuple[str, ...]
    reason: str
    review: date

    def holds_in(self, stack: str) -> bool:
        return any(fnmatch.fnmatchcase(stack, pattern) for pattern in self.stacks)

    def covers(self, stack: str, rule: AnyRule, resource: str) -> bool:
        return self.holds_in(stack) and is_called(rule, self.rule) and fnmatch.fnmatchcase(resource, self.resources)

    def is_the_packs(self) -> bool:
        """Whether the pack has the rule; else it is one of Checkov's own."""
        return any(is_called(rule, self.rule) for rule in RULES)

    def __str__(self) -> str:
        return f"{self.rule} on {self.resources} in {', '.join(self.stacks)}"


def load(file: Path = FILE, today: date | None = None) -> list[Exemption]:
    """Reads the exemptions. Raises `ExemptionError` with all that is wrong in the file."""
    try:
        entries = yaml.safe_load(file.read_text(encoding="utf-8")) or []
    except yaml.YAMLError as error:
        raise ExemptionError(f"{file.name} is no YAML: {error}") from None
    if not isinstance(entries, list):
        raise ExemptionError(f"{file.name} is no list; each exemption begins with `- rule:`.")
    latest = (today or datetime.now(UTC).date()) + LONGEST
    found = ((at, problem) for at, entry in enumerate(entries) for problem in _wrong_with(entry, latest))
    if problems := [f"{file.name}[{at}]: {problem}" for at, problem in found]:
        raise ExemptionError("\n".join(problems))
    return [Exemption(**{**entry, "stacks": tuple(entry["stacks"])}) for entry in entries]


def _wrong_with(entry: Any, latest: date) -> Iterator[str]:
    if not isinstance(entry, dict) or set(entry) != KEYS:
        given = ", ".join(map(str, entry)) if isinstance(entry, dict) else repr(entry)
        yield f"has {given}; each exemption has exactly {', '.join(sorted(KEYS))}."
        return
    stacks, resources, review = entry["stacks"], entry["resources"], entry["review"]
    if not (isinstance(stacks, list) and stacks and all(isinstance(each, str) for each in stacks)):
        yield f"stacks is {stacks!r}; list the names of the stacks it holds in, as [prod]."
    if not isinstance(resources, str) or not resources.strip("*?"):
        yield f"resources is {resources!r}; name what is exempted, or a part of it, as workspace-*."
    if not (isinstance(entry["reason"], str) and entry["reason"].strip()):
        yield "reason is empty; say why the rule does not hold here."
    # Not isinstance: a moment is a date to Python, and cannot be compared with one.
    if type(review) is not date:
        yield f"review is {review!r}; it is the day by which somebody looks at it again, as 2027-01-31."
    elif review > latest:
        yield f"review is {review}; nobody knows so far ahead: {latest} at the latest."
    name = str(entry["rule"])
    if not name.startswith(CHECKOV) and not any(is_called(rule, name) for rule in RULES):
        yield f"rule {name} is none of the pack's, nor of Checkov's; docs/guides/policy.md lists them."


class Exempting:
    """Exemptions at work on one stack: it keeps account of which were needed."""

    def __init__(self, stack: str, exemptions: Iterable[Exemption], today: date) -> None:
        self._stack, self._today = stack, today
        self._exemptions = [each for each in exemptions if each.holds_in(stack)]
        self._needed: set[Exemption] = set()

    def exempts(self, rule: AnyRule, resource: str) -> bool:
        """Whether a finding is exempted; that exemption counts as needed from here on."""
        covering = [each for each in self._exemptions if each.covers(self._stack, rule, resource)]
        self._needed.update(covering)
        return bool(covering)

    def left_over(self, found: Iterable[Finding]) -> list[Finding]:
        """The findings that no exemption covers."""
        return [each for each in found if not self.exempts(each.rule, each.resource.name)]

    def needless(self) -> Sequence[str]:
        """An error for each exemption that covered nothing: what it excuses has been mended, or never was."""
        return [
            f"{FILE.name}: the exemption of {each} covers nothing in {self._stack}; remove it."
            for each in self._exemptions
            if each.is_the_packs() and each not in self._needed
        ]

    def expired(self) -> Sequence[str]:
        """A warning for each exemption whose day of review is past."""
        return [
            f"{FILE.name}: the exemption of {each} was to be reviewed by {each.review}; see whether its reason still "
            f"holds ({each.reason.strip()}), and set a new date or remove it."
            for each in self._exemptions
            if each.review < self._today
        ]
