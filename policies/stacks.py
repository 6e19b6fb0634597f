"""Which stacks are how strict.

A stack that is not named here is held to be production: whoever makes one up is told more, not less.
"""

from typing import Literal

Level = Literal["advisory", "mandatory"]
PROD = "prod"
STAGING = "staging"
LOOSE = ("local", "dev")


def kind_of_stack(stack: str) -> str:
    """`local`, `dev`, `staging` or `prod`."""
    return stack if stack in (*LOOSE, STAGING) else PROD


def level(stack: str) -> Level:
    """What a finding does: in a loose stack it is printed, in any other it also fails the preview or the update."""
    return "advisory" if stack in LOOSE else "mandatory"
