"""What is measured: a figure beside its reference."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measurement beside its reference, in seconds or, where `unit` says so, in megabytes."""

    what: str
    value: float
    reference: str
    reference_value: float
    unit: str = "s"

    @property
    def row(self) -> str:
        """A row of the table."""
        ratio = self.value / self.reference_value
        mine, other = self._said(self.value), self._said(self.reference_value)
        return f"| {self.what} | {mine} | {self.reference} | {other} | {ratio:.2f} |"

    def _said(self, value: float) -> str:
        if self.unit == "MB":
            return f"{value:.0f} MB"
        return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.1f} s"


def timed(work: Callable[[], object]) -> float:
    """The seconds that something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def median(seconds: Iterable[float]) -> float:
    """The middle one."""
    return statistics.median(seconds)
