"""What others have written, put into Markdown: as text that is on one line, is no markup and calls nobody.

Names and values come from Azure, where not only the authors of the repository write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

LATER = "known only during `up`"
UNSET = "unset"
LONGEST_VALUE = 200
# A fence of a block of code: how it begins, and what may follow.
FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")


def plain(text: object) -> str:
    """Text on one line, which neither ends a code span nor is HTML, a link or a picture."""
    found = " ".join(str(text).split()).replace("`", "'").replace("<", "‹")
    return quiet(found.replace("](", "] ("))


def code(text: str) -> str:
    """A value in a code span; what we say instead of one is shown as it is."""
    if text in (LATER, UNSET):
        return text
    found = plain(text)
    return f"`{found if len(found) <= LONGEST_VALUE else found[:LONGEST_VALUE] + '…'}`"


def quiet(text: str) -> str:
    """Text that calls nobody: each @ is followed by what cannot be seen, and is no mention."""
    return re.sub("@(?!\u200b)", "@\u200b", text)


def cut(text: str, room: int, remark: str) -> str:
    """Text of so many characters at most; where something is cut off, what is open is closed, and a remark says so."""
    if len(text) <= room:
        return text
    shown = text[:room]
    while len(made := f"{shown}\n{''.join(_closing(shown))}\n{remark}\n") > room:
        shown = shown[: len(shown) - (len(made) - room)]
    return made


def _closing(text: str) -> Iterator[str]:
    """What ends the block of code and the folded parts that are open at the end of a text."""
    fence, folded = "", 0
    for line in text.splitlines():
        found = FENCE.fullmatch(line)
        if fence:
            if found and found[1].startswith(fence) and not found[2].strip():
                fence = ""
        elif found and not (found[1][0] == "`" and "`" in found[2]):
            fence = found[1]
        else:
            folded += line.count("<details>") - line.count("</details>")
    if fence:
        yield f"{fence}\n"
    yield "\n</details>\n" * folded
