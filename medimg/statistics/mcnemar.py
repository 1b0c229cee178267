"""McNemar's exact test of two runs' accuracies on the same images."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import bdtr, betaincinv

from medimg.core.errors import InputError
from medimg.statistics.comparison import Comparison

METHOD = "exact McNemar"


def mcnemar(first: Any, second: Any, level: float = 0.95) -> Comparison:
    """Accuracy(first) - accuracy(second), with the exact two-sided p and the interval that goes
    with it.

    The test looks at the images that only one of the two got right; without any, p is 1. Images
    must be independent: where patients have several, use paired_bootstrap with groups.

    Args:
        first, second: Bool[N], whether each run was right on each image.
    Raises:
        InputError: lengths that differ, or no image.
    Source:
        McNemar 1947; the binomial form, without approximation. The interval is Clopper and
        Pearson's of the share of the first among the images that one alone got right.
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
    low, high = (
        (2 * share - 1) * apart / len(one) for share in clopper_pearson(only_first, apart, level)
    )
    return Comparison(difference, low, high, p, METHOD)


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share."""
    tail = (1 - level) / 2
    low = float(betaincinv(successes, n - successes + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, n - successes, 1 - tail)) if successes < n else 1.0
    return low, high
