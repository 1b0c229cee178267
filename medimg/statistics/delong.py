"""DeLong's variance of an AUROC, and the paired test of two AUROCs on the same images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from medimg.core.errors import InputError
from medimg.core.scored import Array, UndefinedMetric
from medimg.statistics.comparison import Comparison
from medimg.statistics.rank_exchange import rank_exchange

METHOD = "DeLong"
INTERVAL = "Wald with DeLong's variance"


@dataclass(frozen=True, slots=True)
class Areas:
    """M AUROCs on the same images: `values` Float[M] and their `covariance` Float[M, M]."""

    values: Array
    covariance: Array


def delong(labels: Any, *scores: Any) -> Areas:
    """AUROCs of M sets of scores and their covariance, in O(M N log N).

    Args:
        labels: Bool[N] (or 0 and 1), which images are positive.
        scores: Float[N] each, higher means more likely positive; ties count half.
    Raises:
        UndefinedMetric: fewer than two positive or two negative images.
        InputError: lengths that differ.
    Source:
        DeLong, DeLong and Clarke-Pearson 1988; Sun and Xu 2014, Fast implementation of DeLong's
        algorithm (midranks).
    """
    positive = np.asarray(labels).astype(bool)
    rows = np.asarray(scores, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(positive):
        raise InputError(f"scores of shape {rows.shape[1:]} for {len(positive)} labels")
    m, n = int(positive.sum()), int((~positive).sum())
    if min(m, n) < 2:
        raise UndefinedMetric(f"needs two images of each kind: {m} positive, {n} negative")
    ranks = rankdata(rows, axis=1)
    # share of the negatives below each positive, and of the positives above each negative
    below = (ranks[:, positive] - rankdata(rows[:, positive], axis=1)) / n
    above = 1 - (ranks[:, ~positive] - rankdata(rows[:, ~positive], axis=1)) / m
    covariance = np.atleast_2d(np.cov(below)) / m + np.atleast_2d(np.cov(above)) / n
    return Areas(below.mean(axis=1), covariance)


def paired_delong(labels: Any, first: Any, second: Any, level: float = 0.95) -> Comparison:
    """AUROC(first) - AUROC(second), with interval and two-sided p. Images must be independent.

    Where patients have several images use paired_bootstrap with groups.

    Args:
        labels: Bool[N], which images are positive.
        first, second: Float[N] scores of the same images.
    Returns:
        p is 1 where the two rank every pair of images alike; no interval and a reason where the
        variance is 0; p then comes from `rank_exchange`.
    """
    try:
        areas = delong(labels, first, second)
    except UndefinedMetric as undefined:
        return Comparison(None, None, None, None, METHOD, undefined.reason)
    found = apart(areas, 0, 1, level)
    return found if found.p is not None else rank_exchange(labels, first, second)


def apart(areas: Areas, first: int, second: int, level: float = 0.95) -> Comparison:
    """Two of several AUROCs: the first minus the second, as `paired_delong` gives it; without p
    where they differ and the variance is 0."""
    difference = float(areas.values[first] - areas.values[second])
    covariance = areas.covariance
    variance = float(
        covariance[first, first] + covariance[second, second] - 2 * covariance[first, second]
    )
    if variance <= 1e-16:
        same = abs(difference) <= 1e-12
        reason = "the two rank the images alike" if same else "the difference has no variance"
        return Comparison(difference, None, None, 1.0 if same else None, METHOD, reason)
    error = float(np.sqrt(variance))
    reach = float(ndtri((1 + level) / 2)) * error
    p = float(2 * ndtr(-abs(difference) / error))
    low, high = difference - reach, difference + reach
    return Comparison(difference, low, high, p, METHOD, interval=INTERVAL)
