"""Share of images answered rightly."""

from __future__ import annotations

import numpy as np

from medimg.core.scored import NO_IMAGE, Array, Scored, Value, metric, ratio


@metric(vectorised=True, share_of=lambda scored: np.ones(len(scored), dtype=bool))
def accuracy(scored: Scored, weights: Array | None = None) -> Value:
    """Share of images whose answer is their class, 0..1. Undefined without images."""
    counts = scored.confusion(weights)
    right = counts.trace(axis1=-2, axis2=-1)
    return ratio(right, counts.sum(axis=(-2, -1)), NO_IMAGE)
