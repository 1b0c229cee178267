"""Unweighted mean of the classes' F1."""

from __future__ import annotations

from medimg.core.scored import Array, Scored, Value, metric
from medimg.metrics._class_means import f1, mean_over_classes


@metric(vectorised=True)
def macro_f1(scored: Scored, weights: Array | None = None) -> Value:
    """Mean F1 over the classes, 0..1. Undefined where one has no image."""
    return mean_over_classes(scored, weights, f1)
