"""An interval for the AUROC: DeLong where images are independent, Obuchowski where patients have
several, Newcombe at the edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtri, stdtrit
from scipy.stats import rankdata

from medimg.core.scored import Array, Scored, UndefinedMetric
from medimg.statistics.bootstrap import Interval
from medimg.statistics.resampling import units_of

DELONG = "DeLong, on the logit scale"
OBUCHOWSKI = "Obuchowski (DeLong by patient), on the logit scale"
NEWCOMBE = "Newcombe's score interval"
# of a variance, that is rounding
NONE = 1e-14


def auroc_interval(scored: Scored, groups: Sequence[Any] | None, level: float = 0.95) -> Interval:
    """AUROC of the positive class, or the mean over the classes against the rest, with interval.

    Args:
        groups: the patient of each image; None where images are independent.
    Returns:
        an interval on the logit scale, so that it stays within 0..1; of few patients it is as
        wide as Student's t asks. At an AUROC of 0 or 1, and
        from fewer than two patients of a class, Newcombe's, at the number of patients. No value
        where a class is missing.
    Source:
        DeLong, DeLong and Clarke-Pearson 1988; Obuchowski 1997, Nonparametric analysis of
        clustered ROC curve data; Newcombe 2006, Confidence intervals for an effect size measure
        based on the Mann-Whitney statistic, part 2, method 5.
    """
    method = DELONG if groups is None else OBUCHOWSKI
    try:
        value, pulls = pulls_of(scored)
    except UndefinedMetric as undefined:
        return Interval(None, None, None, method, undefined.reason)
    units = units_of(groups, len(scored))
    counts = units_by_class(scored, units)
    if min(counts) >= 2:
        variance = clustered_variance(scored.labels, pulls, units)
        if variance > NONE and 0 < value < 1:
            reach = quantile(groups, units, level) * variance**0.5 / (value * (1 - value))
            low, high = expit(logit(value) + np.array([-reach, reach]))
            return Interval(value, float(low), float(high), method)
        if 0 < value < 1:
            reason = "the probabilities are alike: the AUROC has no variance"
            return Interval(value, None, None, method, reason)
    smaller = min(counts)
    rest = max(1, len(set(units.tolist())) - smaller) if scored.task != "binary" else max(counts)
    at = "images" if groups is None else "patients"
    low, high = newcombe(value, smaller, rest, level)
    return Interval(value, low, high, f"{NEWCOMBE} ({smaller:,} and {rest:,} {at})")


def quantile(groups: Sequence[Any] | None, units: Array, level: float) -> float:
    """How many standard errors to go: a variance of few patients is itself uncertain."""
    if groups is None:
        return float(ndtri((1 + level) / 2))
    return float(stdtrit(len(np.unique(units)) - 1, (1 + level) / 2))


def pulls_of(scored: Scored) -> tuple[float, Array]:
    """The (mean) AUROC and Float[N], how far each image pulls it: DeLong's placement values.

    Raises:
        UndefinedMetric: a class has no image, or every image.
    """
    pulls = np.zeros(len(scored))
    areas = []
    for number in scored.about:
        inside = scored.labels == number
        m, n = int(inside.sum()), int((~inside).sum())
        if not m or not n:
            name = scored.name(number)
            raise UndefinedMetric(
                f"no image of {name} in this part"
                if not m
                else f"every image in this part is {name}"
            )
        scores = scored.probabilities[:, number]
        ranks = rankdata(scores)
        # share of the rest below each image of the class; of the class above each of the rest
        below = (ranks[inside] - rankdata(scores[inside])) / n
        above = 1 - (ranks[~inside] - rankdata(scores[~inside])) / m
        area = float(below.mean())
        areas.append(area)
        pulls[inside] += (below - area) / m
        pulls[~inside] += (above - area) / n
    return float(np.mean(areas)), pulls / len(areas)


def units_by_class(scored: Scored, units: Array) -> list[int]:
    """Units (patients, or images) that have an image of each class that is there."""
    return [len(np.unique(units[scored.labels == k])) for k in np.unique(scored.labels)]


def clustered_variance(labels: Array, pulls: Array, units: Array) -> float:
    """Obuchowski's variance; DeLong's where every unit is one image.

    Args:
        labels: Int[N]; pulls: Float[N]; units: Int[N], whose image it is.
    """
    total = int(units.max()) + 1
    sums = [np.bincount(units, pulls * (labels == k), total) for k in np.unique(labels)]
    held = [len(np.unique(units[labels == k])) for k in np.unique(labels)]
    variance = 0.0
    for i, one in enumerate(sums):
        for j, other in enumerate(sums):
            number = held[i] if i == j else total
            variance += number / (number - 1) * float(one @ other)
    return variance


def newcombe(value: float, m: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The score interval of an AUROC from m images of one kind and n of the other.

    The bounds are the areas from which `value` lies just within reach, by a variance that depends
    on the area and the numbers alone: an AUROC of 1 gets a lower bound.
    """
    z = float(ndtri((1 + level) / 2))

    def excess(area: float) -> float:
        spread = (1 - area) / (2 - area) + area / (1 + area)
        variance = area * (1 - area) * (1 + ((m + n) / 2 - 1) * spread) / (m * n)
        return (value - area) ** 2 - z * z * variance

    low = (
        0.0 if value <= 0 else float(brentq(excess, 0.0, value - 1e-12 if value < 1 else 1 - 1e-9))
    )
    high = 1.0 if value >= 1 else float(brentq(excess, value + 1e-12 if value > 0 else 1e-9, 1.0))
    return low, high
