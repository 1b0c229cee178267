"""ROC and precision-recall curves, with pointwise bands from the bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medimg.core.scored import Array, Scored
from medimg.statistics.resampling import resampled

POINTS = 101
# numbers that are drawn in all: a picture needs no more resamples of large parts
DRAWN = 20_000_000


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve and its band.

    Args:
        x, y: the curve itself, Float[D].
        grid, low, high: Float[101], the band over x; NaN where too few resamples reach.
    """

    x: Array
    y: Array
    grid: Array
    low: Array
    high: Array


def roc(
    scored: Scored, number: int, groups: Sequence[Any] | None, seed: int = 0, level: float = 0.95
) -> Curve:
    """Sensitivity against 1 - specificity of one class against the rest."""
    x, y = roc_points(*scored.by_score(number))
    return with_band(scored, number, groups, x, y, roc_at, seed, level)


def precision_recall(
    scored: Scored, number: int, groups: Sequence[Any] | None, seed: int = 0, level: float = 0.95
) -> Curve:
    """Precision against recall of one class against the rest."""
    inside, outside = scored.by_score(number)
    x, y = precision_recall_points(inside, outside)
    return with_band(scored, number, groups, x, y, precision_at, seed, level)


def with_band(
    scored: Scored,
    number: int,
    groups: Sequence[Any] | None,
    x: Array,
    y: Array,
    at: Any,
    seed: int,
    level: float,
) -> Curve:
    """Args: at: (inside, outside, grid) to Float[POINTS], the curve of one resample."""
    grid = np.linspace(0, 1, POINTS)
    resamples = int(np.clip(DRAWN // max(1, len(scored)), 50, 1000))
    rows = [
        at(*scored.by_score(number, weights[i]), grid)
        for weights in resampled(scored.labels, groups, resamples, seed)
        for i in range(len(weights))
    ]
    tail = (1 - level) / 2
    low, high = np.quantile(np.array(rows), [tail, 1 - tail], axis=0)
    return Curve(x, y, grid, low, high)


def roc_points(inside: Array, outside: Array) -> tuple[Array, Array]:
    """1 - specificity and sensitivity, from (0, 0) to (1, 1), for weights at falling scores."""
    x = np.r_[0.0, np.cumsum(outside) / max(outside.sum(), 1e-300)]
    y = np.r_[0.0, np.cumsum(inside) / max(inside.sum(), 1e-300)]
    return x, y


def roc_at(inside: Array, outside: Array, grid: Array) -> Array:
    """Sensitivity at each 1 - specificity of the grid."""
    x, y = roc_points(inside, outside)
    # a step goes up before it goes right
    return np.interp(grid, x, y)


def precision_recall_points(inside: Array, outside: Array) -> tuple[Array, Array]:
    """Recall and precision at falling scores, where anything is called."""
    hits, called = np.cumsum(inside), np.cumsum(inside + outside)
    some = called > 0
    return hits[some] / max(inside.sum(), 1e-300), hits[some] / called[some]


def precision_at(inside: Array, outside: Array, grid: Array) -> Array:
    """Precision at the highest score that reaches each recall of the grid."""
    recall, precision = precision_recall_points(inside, outside)
    place = np.searchsorted(recall, grid - 1e-12, side="left")
    return precision[np.minimum(place, len(precision) - 1)]
