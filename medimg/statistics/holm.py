"""Holm's correction of p values for several tests."""

from __future__ import annotations

from collections.abc import Sequence

from medimg.core.errors import InputError


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values in the order given; reject where one is below the family's level.

    Raises:
        InputError: a p value outside 0..1.
    Source:
        Holm 1979, A simple sequentially rejective multiple test procedure.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise InputError(f"p values lie between 0 and 1: {list(p_values)}")
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for done, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - done) * p_values[place]))
        adjusted[place] = running
    return adjusted
