"""Unweighted mean of the classes' recall."""

from __future__ import annotations

from medimg.core.scored import Array, Scored, Value, metric
from medimg.metrics._class_means import mean_over_classes, recall


@metric(vectorised=True)
def macro_recall(scored: Scored, weights: Array | None = None) -> Value:
    """Mean recall over the classes, 0..1. Undefined where one has no image."""
    return mean_over_classes(scored, weights, recall)
