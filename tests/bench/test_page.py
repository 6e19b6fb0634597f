"""BENCHMARKS.md keeps what is not measured again."""

from __future__ import annotations

from bench import page

HEAD = "# Benchmarks\n\n| a | b |\n|---|---|\n"


def test_a_section_is_put_at_the_end_and_then_replaced_in_its_place() -> None:
    text = page.with_section(page.with_section(HEAD, "One", "first"), "Two", "second")
    assert page.with_section(text, "One", "third") == f"{HEAD}\n## One\n\nthird\n\n## Two\n\nsecond\n"


def test_a_new_head_leaves_the_sections() -> None:
    text = page.with_section(HEAD, "One", "first")
    assert page.with_head(text, "# Other\n\n| c |\n") == "# Other\n\n| c |\n\n## One\n\nfirst\n"
    assert page.with_head(HEAD, "# Other\n") == "# Other\n"
