"""Agreement of answers and classes beyond chance."""

from __future__ import annotations

import numpy as np

from medimg.core.scored import NO_IMAGE, Array, Scored, Value, metric, where_defined


@metric(vectorised=True)
def cohen_kappa(scored: Scored, weights: Array | None = None) -> Value:
    """Cohen's kappa, at most 1; 0 is chance.

    Undefined where every image has the same class: there is nothing to agree on beyond chance.

    Source:
        Cohen 1960, A coefficient of agreement for nominal scales.
    """
    counts = scored.confusion(weights)
    true, answered = counts.sum(axis=-1), counts.sum(axis=-2)
    total = true.sum(axis=-1)
    by_chance = (true * answered).sum(axis=-1)
    observed = counts.trace(axis1=-2, axis2=-1) * total
    reason = "every image has the same class" if len(scored) else NO_IMAGE
    several = total > true.max(axis=-1)
    scale = np.where(several, total**2 - by_chance, 1.0)
    return where_defined((observed - by_chance) / scale, several, reason)
