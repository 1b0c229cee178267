"""Difference of any metric between two runs on the same images, by patient where known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr

from medimg.core.errors import InputError
from medimg.core.scored import Scored, UndefinedMetric
from medimg.statistics.comparison import Comparison
from medimg.statistics.resampling import percentiles, replicates, resampled, why_no_interval


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
        the difference with a percentile interval; p is two-sided from the difference over the
        resamples' standard deviation, taken as normal.
    Raises:
        InputError: the two are not about the same images.
    Source:
        Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 13 and 16.
    """
    check_paired(first, second, groups)
    method = "paired bootstrap by " + ("image" if groups is None else "patient")
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
    reason = why_no_interval(drawn)
    if reason is not None:
        return Comparison(difference, None, None, None, method, reason)
    error = float(np.std(drawn[np.isfinite(drawn)], ddof=1))
    p = float(2 * ndtr(-abs(difference) / error))
    return Comparison(difference, *percentiles(drawn, level), p, method)


def check_paired(first: Scored, second: Scored, groups: Sequence[Any] | None) -> None:
    """Raises InputError where two sets of predictions are not about the same images."""
    if first.labels.shape != second.labels.shape or (first.labels != second.labels).any():
        raise InputError(
            "the two runs' predictions are not about the same images in the same order"
        )
    if groups is not None and len(groups) != len(first):
        raise InputError(f"{len(groups)} groups for {len(first)} images")
