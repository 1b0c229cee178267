"""Unweighted mean of the classes' F1."""

from __future__ import annotations

from medimg.core.scored import (
    Array,
    Scored,
    Value,
    metric,
    missing_class,
    ratio_or_zero,
    where_defined,
)


@metric(vectorised=True)
def macro_f1(scored: Scored, weights: Array | None = None) -> Value:
    """Mean F1 over the classes, 0..1.

    Undefined where a class has no image: a mean over the others would be another metric.
    """
    counts = scored.confusion(weights)
    right = counts.diagonal(axis1=-2, axis2=-1)
    each = ratio_or_zero(2 * right, counts.sum(axis=-2) + counts.sum(axis=-1))
    images = counts.sum(axis=-1)
    return where_defined(
        each.mean(axis=-1), (images > 0).all(axis=-1), missing_class(scored, images)
    )
