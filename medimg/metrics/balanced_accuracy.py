"""Mean over the classes of the share of their images answered rightly."""

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
def balanced_accuracy(scored: Scored, weights: Array | None = None) -> Value:
    """Mean recall over the classes, 0..1; 1 / K is chance.

    Undefined where a class has no image: a mean over the other classes would be another metric.
    """
    counts = scored.confusion(weights)
    images = counts.sum(axis=-1)
    recalls = ratio_or_zero(counts.diagonal(axis1=-2, axis2=-1), images)
    return where_defined(
        recalls.mean(axis=-1), (images > 0).all(axis=-1), missing_class(scored, images)
    )
