"""Unweighted mean of the classes' precision."""

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
def macro_precision(scored: Scored, weights: Array | None = None) -> Value:
    """Mean precision over the classes, 0..1.

    Undefined where a class has no image, or is never answered: its precision does not exist, and
    a mean over the others would be another metric.
    """
    counts = scored.confusion(weights)
    right = counts.diagonal(axis1=-2, axis2=-1)
    each = ratio_or_zero(right, counts.sum(axis=-2))
    images, answers = counts.sum(axis=-1), counts.sum(axis=-2)
    defined = ((images > 0) & (answers > 0)).all(axis=-1)
    silent = [scored.name(c) for c in range(scored.outputs) if not answers[..., c].all()]
    reason = (
        missing_class(scored, images)
        if not (images > 0).all()
        else f"no image was called {', '.join(silent)}"
    )
    return where_defined(each.mean(axis=-1), defined, reason)
