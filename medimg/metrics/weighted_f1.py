"""Mean of the classes' F1, weighted by their images."""

from __future__ import annotations

from medimg.core.scored import NO_IMAGE, Array, Scored, Value, metric, ratio, ratio_or_zero


@metric(vectorised=True)
def weighted_f1(scored: Scored, weights: Array | None = None) -> Value:
    """F1 averaged over the classes by their number of images, 0..1. Undefined without images."""
    counts = scored.confusion(weights)
    images = counts.sum(axis=-1)
    right = counts.diagonal(axis1=-2, axis2=-1)
    each = ratio_or_zero(2 * right, counts.sum(axis=-2) + images)
    return ratio((each * images).sum(axis=-1), images.sum(axis=-1), NO_IMAGE)
