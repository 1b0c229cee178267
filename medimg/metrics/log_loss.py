"""Mean negative log of the probability given to the true class."""

from __future__ import annotations

import numpy as np

from medimg.core.scored import Array, Scored, Value, metric


@metric(higher_is_better=False, threshold_free=True, vectorised=True)
def log_loss(scored: Scored, weights: Array | None = None) -> Value:
    """Cross-entropy in nats, 0 or more; lower is better. Undefined without images.

    Probabilities below 2.2e-16 count as 2.2e-16, as in scikit-learn.
    """
    return scored.mean(scored.per_image("log loss", lambda: losses(scored)), weights)


def losses(scored: Scored) -> Array:
    """Float[N], the loss of each image."""
    given = scored.probabilities[np.arange(len(scored)), scored.labels]
    return -np.log(np.clip(given, np.finfo(np.float64).eps, 1.0))
