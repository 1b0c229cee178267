"""Wilson's interval of a proportion."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

from medimg.core.errors import InputError
from medimg.core.scored import UndefinedMetric


def wilson(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """(low, high) of successes / n, inside 0..1 and never of width 0. Independent images only.

    Raises:
        UndefinedMetric: n is 0.
        InputError: successes outside 0..n.
    Source:
        Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    if n == 0:
        raise UndefinedMetric("a share of no images")
    if not 0 <= successes <= n:
        raise InputError(f"{successes} of {n} is no share")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, widening = successes / n, 1 + z * z / n
    centre = (share + z * z / (2 * n)) / widening
    reach = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / widening
    # the bound at an extreme is exact in the formula, not in floating point
    low = 0.0 if successes == 0 else max(0.0, centre - reach)
    high = 1.0 if successes == n else min(1.0, centre + reach)
    return low, high
