"""Mean squared gap between probability and outcome (Brier score)."""

from __future__ import annotations

import numpy as np

from medimg.core.scored import Array, Scored, Value, metric


@metric(higher_is_better=False, threshold_free=True, vectorised=True)
def brier(scored: Scored, weights: Array | None = None) -> Value:
    """Brier score; lower is better. Undefined without images.

    Two classes: mean (p - y)^2 of one class, 0..1. More: the squares are summed over the classes
    before the mean, 0..2. Both as in scikit-learn.

    Source:
        Brier 1950, Verification of forecasts expressed in terms of probability.
    """
    return scored.mean(scored.per_image("brier", lambda: squares(scored)), weights)


def squares(scored: Scored) -> Array:
    """Float[N], the squared gap of each image."""
    gaps = (scored.probabilities - np.eye(scored.outputs)[scored.labels]) ** 2
    return gaps[:, scored.about[0]] if scored.outputs == 2 else gaps.sum(axis=1)
