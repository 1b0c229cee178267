"""McNemar's exact test of two runs' accuracies on the same images."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import bdtr, betaincinv, ndtri

from medimg.core.errors import InputError
from medimg.statistics.comparison import Comparison

METHOD = "exact McNemar"
BONETT_PRICE = "Bonett-Price"
EXACT = "Clopper-Pearson of the images that tell the two apart"


def mcnemar(first: Any, second: Any, level: float = 0.95) -> Comparison:
    """Accuracy(first) - accuracy(second), with the exact two-sided p and an interval.

    The test looks at the images that only one of the two got right; without any, p is 1. The
    interval also allows for how many such images there are. Where it would hold 0 and p not, or
    the other way round, it is reconciled with the exact one for the images that count. Images
    must be independent: where patients have several, use paired_bootstrap with groups.

    Args:
        first, second: Bool[N], whether each run was right on each image.
    Raises:
        InputError: lengths that differ, or no image.
    Source:
        McNemar 1947; the binomial form, without approximation. Bonett and Price 2012, Adjusted
        Wald confidence interval for a difference of binomial proportions based on paired data.
    """
    one, other = np.asarray(first).astype(bool), np.asarray(second).astype(bool)
    if one.shape != other.shape or one.ndim != 1 or not len(one):
        raise InputError(f"answers of shapes {one.shape} and {other.shape} can't be paired")
    only_first, only_second = int((one & ~other).sum()), int((other & ~one).sum())
    apart = only_first + only_second
    p = min(1.0, 2 * float(bdtr(min(only_first, only_second), apart, 0.5))) if apart else 1.0
    difference = (only_first - only_second) / len(one)
    if not apart:
        return Comparison(difference, None, None, p, METHOD, "the two are right on the same images")
    low, high = bonett_price(only_first, only_second, len(one), level)
    interval = BONETT_PRICE
    exact = [(2 * s - 1) * apart / len(one) for s in clopper_pearson(only_first, apart, level)]
    if (low <= 0 <= high) and p < 1 - level:
        (low, high), interval = exact, EXACT
    elif not low <= 0 <= high and p >= 1 - level:
        low, high = min(low, exact[0]), max(high, exact[1])
        interval = f"{BONETT_PRICE}, widened to the exact test"
    return Comparison(difference, low, high, p, METHOD, interval=interval)


def bonett_price(
    only_first: int, only_second: int, n: int, level: float = 0.95
) -> tuple[float, float]:
    """The adjusted Wald interval of a difference of paired shares, within -1..1.

    Fagerland, Lydersen and Laake 2014 give -0.508 to -0.013 for 1 and 7 of 21:

    >>> [round(bound, 3) for bound in bonett_price(1, 7, 21)]
    [-0.508, -0.013]
    """
    one, other = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    error = np.sqrt((one + other - (one - other) ** 2) / (n + 2))
    reach = float(ndtri((1 + level) / 2) * error)
    return max(-1.0, one - other - reach), min(1.0, one - other + reach)


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share."""
    tail = (1 - level) / 2
    low = float(betaincinv(successes, n - successes + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, n - successes, 1 - tail)) if successes < n else 1.0
    return low, high
