"""The scoring script of the benchmark: as much arithmetic as the variable WORK says, and the file's name."""

import os
from pathlib import Path


def init():
    pass


def run(mini_batch):
    total = 0
    for number in range(int(os.environ["WORK"])):
        total += number * number
    return [Path(path).name for path in mini_batch]
