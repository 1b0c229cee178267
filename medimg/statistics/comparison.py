"""What a paired test of two runs says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Comparison:
    """A difference (first minus second) on the same images.

    Args:
        difference: None where one of the two has no value.
        low, high: its confidence interval, both None where there is none.
        p: two-sided, None where the test has none.
        method: the test, in words.
        reason: why a number is missing, in words.
        interval: how (low, high) was computed, in words; None where there is none.
    """

    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    method: str
    reason: str | None = None
    interval: str | None = None

    @property
    def ci95(self) -> tuple[float, float] | None:
        """(low, high), or None; at whatever level was asked for, 95 % unless told."""
        return None if self.low is None or self.high is None else (self.low, self.high)
