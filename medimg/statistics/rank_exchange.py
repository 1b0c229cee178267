"""Two AUROCs where DeLong's variance is 0: exchanging the runs' ranks, image by image."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtr
from scipy.stats import rankdata

from medimg.core.errors import InputError
from medimg.core.scored import Array
from medimg.statistics.comparison import Comparison

METHOD = "exchange of ranks"
REASON = "the difference has no variance among these images: no interval"


def rank_exchange(labels: Any, first: Any, second: Any) -> Comparison:
    """AUROC(first) - AUROC(second) where either run might have ranked each image: p, no interval.

    If the runs are alike, exchanging their ranks of any image changes nothing but chance. The
    variance of the difference over all exchanges is known in closed form, also where the images
    show none (a perfect run beside a constant one).

    Args:
        labels: Bool[N], which images are positive; independent images, some of each kind.
        first, second: Float[N] scores of the same images.
    Source:
        Bandos, Rockette and Gur 2005, A permutation test sensitive to differences in areas for
        comparing ROC curves from a paired design.

    >>> found = rank_exchange([1] * 8 + [0] * 8, [1] * 8 + [0] * 8, [0.3] * 16)
    >>> found.difference, round(found.p, 6)
    (0.5, 6.3e-05)
    """
    positive = np.asarray(labels).astype(bool)
    ranks = [rankdata(scores) for scores in (first, second)]
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n:
        raise InputError(f"{m} positive and {n} negative images can't be ranked")
    above = [[shares_above(a[positive], b[~positive]) for b in ranks] for a in ranks]
    below = [[1 - shares_above(b[~positive], a[positive]) for b in ranks] for a in ranks]
    difference = float(above[0][0].mean() - above[1][1].mean())
    # halves of the pulls of each image as it changes sides; exchanges are independent
    of_positive = (above[0][0] - above[1][1] + above[0][1] - above[1][0]) / (2 * m)
    of_negative = (below[0][0] - below[1][1] - below[0][1] + below[1][0]) / (2 * n)
    variance = float((of_positive**2).sum() + (of_negative**2).sum())
    if variance <= 0:
        return Comparison(difference, None, None, 1.0, METHOD, "the two rank the images alike")
    p = float(2 * ndtr(-abs(difference) / variance**0.5))
    return Comparison(difference, None, None, p, METHOD, REASON)


def shares_above(these: Array, those: Array) -> Array:
    """Float[n], the share of `those` that lie below each of `these`, ties counting half."""
    ordered = np.sort(those)
    left = np.searchsorted(ordered, these, side="left")
    right = np.searchsorted(ordered, these, side="right")
    return (left + right) / (2 * len(ordered))
