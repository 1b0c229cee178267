"""Difference of any metric between two runs on the same images, by patient where known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr

from medimg.core.errors import InputError
from medimg.core.scored import Scored, UndefinedMetric
from medimg.statistics.comparison import Comparison
from medimg.statistics.resampling import (
    SAME_VALUE,
    percentiles,
    replicates,
    resampled,
    why_no_interval,
)

ALIKE = "the runs say the same of every image that this is about"


def paired_bootstrap(
    first: Scored,
    second: Scored,
    metric: Callable[..., Any],
    groups: Sequence[Any] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """metric(first) - metric(second), both computed on the same resamples.

    Args:
        groups: the patient of each image; whole patients are drawn, as in bootstrap_intervals.
    Returns:
        the difference with a percentile interval, and a two-sided p (`told_apart`).
    Raises:
        InputError: the two are not about the same images.
    Source:
        Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 13 and 16.
    """
    check_paired(first, second, groups)
    method = method_of(groups)
    try:
        difference = float(metric(first)) - float(metric(second))
    except UndefinedMetric as undefined:
        return Comparison(None, None, None, None, method, undefined.reason)
    drawn = np.concatenate(
        [
            replicates(metric, first, weights) - replicates(metric, second, weights)
            for weights in resampled(first.labels, groups, resamples, seed)
        ]
    )
    return told_apart(difference, drawn, units_apart(first, second, metric, groups), groups, level)


def method_of(groups: Sequence[Any] | None) -> str:
    """The name of the test, for reports."""
    return "paired bootstrap by " + ("image" if groups is None else "patient")


def told_apart(
    difference: float,
    drawn: np.ndarray,
    apart: int,
    groups: Sequence[Any] | None = None,
    level: float = 0.95,
) -> Comparison:
    """Interval and p of a difference from its resamples.

    p comes from the difference over its bootstrap standard error, so that it doesn't stop at one
    in the number of resamples. Where that p and the percentile interval would disagree about 0,
    p is twice the smaller share of the resamples on either side of 0, (k + 1) / (R + 1). Where
    the runs differ on d images (patients), no exchange of the two can show more than p = 2 / 2^d:
    p is never below it, and where it is above 1 - level there is no interval. Where every resample
    gives the same difference, which is not 0, p is that of the exchange.

    Args:
        drawn: Float[R], the difference in each resample, NaN where it is undefined.
        apart: d, images or patients on which the two runs give something else.
        groups: what was drawn, for the words.
    """
    method = method_of(groups)
    if not apart:
        return Comparison(difference, None, None, None, method, ALIKE)
    floor = min(1.0, 2.0 ** (1 - apart))
    unit = ("image" if groups is None else "patient") + ("s" if apart > 1 else "")
    few = f"the runs differ on {apart} {unit}: too few for an interval"
    reason = why_no_interval(drawn)
    if reason == SAME_VALUE and difference:
        return Comparison(
            difference, None, None, floor, method, few if floor > 1 - level else reason
        )
    if reason is not None:
        return Comparison(difference, None, None, None, method, reason)
    low, high = percentiles(drawn, level)
    error = float(drawn[np.isfinite(drawn)].std(ddof=1))
    p = float(2 * ndtr(-abs(difference) / error))
    if (p < 1 - level) != (low > 0 or high < 0):
        p = two_sided(drawn)
    if floor > 1 - level:
        return Comparison(difference, None, None, max(p, floor), method, few)
    interval = method.replace("paired", "percentile")
    return Comparison(difference, low, high, max(p, floor), method, interval=interval)


def two_sided(drawn: np.ndarray) -> float:
    """The achieved significance level of no difference, Float[R] resampled differences given."""
    defined = drawn[np.isfinite(drawn)]
    fewer = min((defined <= 0).sum(), (defined >= 0).sum())
    return float(min(1.0, 2 * (fewer + 1) / (len(defined) + 1)))


def units_apart(
    first: Scored, second: Scored, metric: Callable[..., Any], groups: Sequence[Any] | None
) -> int:
    """Images, or patients, on which the two give something else: another answer, or another
    probability where the metric looks at probabilities alone. Of a share of images (of the
    positive ones, say) only these count."""
    if getattr(metric, "threshold_free", False):
        apart = (first.probabilities != second.probabilities).any(axis=1)
    else:
        apart = first.decided != second.decided
    if share_of := getattr(metric, "share_of", None):
        about, same = share_of(first), share_of(second)
        apart = apart & about if (about == same).all() else apart
    if groups is None:
        return int(apart.sum())
    return len({group for group, differs in zip(groups, apart, strict=True) if differs})


def check_paired(first: Scored, second: Scored, groups: Sequence[Any] | None) -> None:
    """Raises InputError where two sets of predictions are not about the same images."""
    if first.labels.shape != second.labels.shape or (first.labels != second.labels).any():
        raise InputError(
            "the two runs' predictions are not about the same images in the same order"
        )
    if groups is not None and len(groups) != len(first):
        raise InputError(f"{len(groups)} groups for {len(first)} images")
