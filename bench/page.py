"""BENCHMARKS.md: a table of figures, and after it sections of their own, each of which is measured by itself."""

from __future__ import annotations

import re

_SECTION = re.compile(r"^(?=## )", re.MULTILINE)


def parts(page: str) -> tuple[str, list[str]]:
    """What is before the first section, and the sections."""
    head, *sections = _SECTION.split(page)
    return head, sections


def with_head(page: str, head: str) -> str:
    """The page with another head; its sections stay."""
    return _joined(head, parts(page)[1])


def with_section(page: str, title: str, text: str) -> str:
    """The page with this section, in place of the one that has its title, or at the end."""
    head, sections = parts(page)
    new = f"## {title}\n\n{text}\n"
    names = [section.partition("\n")[0].removeprefix("## ") for section in sections]
    if title not in names:
        return _joined(head, [*sections, new])
    sections[names.index(title)] = new
    return _joined(head, sections)


def _joined(head: str, sections: list[str]) -> str:
    return "\n\n".join(part.strip("\n") for part in (head, *sections)) + "\n"
