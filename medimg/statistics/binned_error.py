"""An interval for the calibration error, which noise alone lifts above 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medimg.core.scored import Array
from medimg.statistics.bootstrap import Interval
from medimg.statistics.resampling import units_of


def binned_error_interval(
    gaps: Array,
    bins: Array,
    groups: Sequence[Any] | None = None,
    level: float = 0.95,
    seed: int = 0,
    draws: int = 2000,
) -> Interval:
    """The interval of sum over bins |mean gap| * share, as the expected calibration error is one.

    A mean of absolute values is lifted by noise, in the data as in every resample, so that the
    percentiles of resamples lie above the value itself. Here the bins' errors are drawn from the
    normal distribution of their covariance, the bias that this adds is taken off (the basic
    bootstrap), and the interval starts at 0 where noise alone would give as much. It holds the
    value itself and, unlike a bootstrap within classes, the uncertainty of the prevalence.

    Args:
        gaps: Float[N], confidence less outcome.
        bins: Int[N], the bin of each image.
        groups: the patient of each image; None where images are independent.
    Source:
        Davison and Hinkley 1997, Bootstrap Methods and their Application, section 5.2 (basic
        intervals); Broecker and Smith 2007, Increasing the reliability of reliability diagrams
        (what noise alone gives).
    """
    units = units_of(groups, len(gaps))
    size, people, count = int(bins.max()) + 1, int(units.max()) + 1, len(gaps)
    sums = np.bincount(units * size + bins, gaps, people * size).reshape(people, size)
    means = sums.sum(axis=0) / count
    value = float(abs(means).sum())
    unit = "image" if groups is None else "patient"
    method = f"simulated errors of the bins by {unit}, less their bias"
    if people < 2:
        return Interval(value, None, None, method, f"one {unit} tells nothing of others")
    pulls = (sums - np.bincount(units, minlength=people)[:, None] * means) / count
    spread = people / (people - 1) * pulls.T @ pulls
    noise = np.random.default_rng(seed).multivariate_normal(
        np.zeros(size), spread, draws, method="eigh"
    )
    drawn, by_noise = abs(means + noise).sum(axis=1), abs(noise).sum(axis=1)
    tail = (1 - level) / 2
    lowest, highest = np.quantile(drawn, [tail, 1 - tail])
    if np.ptp(drawn) <= 1e-12:
        return Interval(value, None, None, method, "all images have the same error")
    low = 0.0 if value <= np.quantile(by_noise, 1 - tail) else max(0.0, 2 * value - highest)
    return Interval(value, float(low), float(min(1.0, max(value, 2 * value - lowest))), method)
