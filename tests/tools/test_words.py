"""What others have written, as it is put into Markdown."""

from __future__ import annotations

import pytest

from tools.words import LATER, LONGEST_VALUE, UNSET, code, cut, plain, quiet


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\tand  more", "two lines and more"),
        ("a `span`", "a 'span'"),
        ("<img src=x>", "‹img src=x>"),
        ("![x](https://evil.example)", "![x] (https://evil.example)"),
        ("@team", "@\u200bteam"),
        ("Standard_F4s_v2", "Standard_F4s_v2"),
    ],
)
def test_text_of_somebody_else_is_on_one_line_and_no_markup(text: str, shown: str) -> None:
    assert plain(text) == shown
    assert plain(plain(text)) == shown, "however often it is applied"


def test_a_value_is_code_and_what_stands_for_one_is_not() -> None:
    assert code("a`b") == "`a'b`"
    assert len(code("x" * 1_000)) == LONGEST_VALUE + 3
    assert code(LATER) == LATER
    assert code(UNSET) == UNSET


def test_nobody_is_called_twice_over() -> None:
    assert quiet(quiet("@a @b")) == "@\u200ba @\u200bb"


@pytest.mark.parametrize(
    ("open_", "ends"),
    [
        ("```\n", "```\n"),
        ("````\n```\n", "````\n"),
        ("~~~ text\n```\n", "~~~\n"),
        ("```\n```\n", ""),
        ("<details><summary>a</summary>\n\n", "\n</details>\n"),
        ("<details>\n\n```\n</details>\n", "```\n\n</details>\n"),
        ("<details>\n</details>\n", ""),
        ("```not a ` fence\n", ""),
    ],
)
def test_what_is_cut_ends_what_is_open(open_: str, ends: str) -> None:
    made = cut(open_ + "x" * 200, 100, "cut")
    assert len(made) <= 100
    assert made.endswith(f"x\n{ends}\ncut\n")


def test_what_fits_is_left_as_it_is() -> None:
    assert cut("```\nab", 6, "cut") == "```\nab"
