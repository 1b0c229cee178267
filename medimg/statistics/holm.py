"""Holm's correction of p values for several tests."""

from __future__ import annotations

from collections.abc import Sequence

from medimg.core.errors import InputError


def holm(p_values: Sequence[float], tests: int | None = None) -> list[float]:
    """Adjusted p values in the order given; reject where one is below the family's level.

    Args:
        tests: in the family, those that are not given among them: they count as if their p were
            1, which can only make the others larger. Default: as many as are given.
    Raises:
        InputError: a p value outside 0..1, or fewer tests than p values.
    Source:
        Holm 1979, A simple sequentially rejective multiple test procedure.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    >>> holm([0.01, 0.2], tests=3)
    [0.03, 0.4]
    """
    family = len(p_values) if tests is None else tests
    if family < len(p_values):
        raise InputError(f"{len(p_values)} p values in a family of {family}")
    if not all(0 <= p <= 1 for p in p_values):
        raise InputError(f"p values lie between 0 and 1: {list(p_values)}")
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for done, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (family - done) * p_values[place]))
        adjusted[place] = running
    return adjusted
