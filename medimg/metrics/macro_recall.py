"""Unweighted mean of the classes' recall."""

from __future__ import annotations

from medimg.core.scored import NO_IMAGE, Array, Scored, Value, metric, ratio, ratio_or_zero


@metric(vectorised=True)
def macro_recall(scored: Scored, weights: Array | None = None) -> Value:
    """Mean recall over the classes, 0..1.

    A class that is answered but has no image, or has images but is never answered, counts as 0,
    and a class with neither is left out of the mean, as in scikit-learn (zero_division=0).
    Undefined without images.
    """
    counts = scored.confusion(weights)
    right = counts.diagonal(axis1=-2, axis2=-1)
    each = ratio_or_zero(right, counts.sum(axis=-1))
    present = counts.sum(axis=-1) + counts.sum(axis=-2) > 0
    return ratio(each.sum(axis=-1), present.sum(axis=-1), NO_IMAGE)
