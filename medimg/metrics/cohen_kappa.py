"""Agreement of answers and classes beyond chance."""

from __future__ import annotations

from medimg.core.scored import NO_IMAGE, Array, Scored, Value, metric, ratio


@metric(vectorised=True)
def cohen_kappa(scored: Scored, weights: Array | None = None) -> Value:
    """Cohen's kappa, at most 1; 0 is chance.

    Undefined where chance alone agrees on every image (one class, and always that answer).

    Source:
        Cohen 1960, A coefficient of agreement for nominal scales.
    """
    counts = scored.confusion(weights)
    true, answered = counts.sum(axis=-1), counts.sum(axis=-2)
    total = true.sum(axis=-1)
    by_chance = (true * answered).sum(axis=-1)
    observed = counts.trace(axis1=-2, axis2=-1) * total
    reason = "every image has the same class and gets the same answer" if len(scored) else NO_IMAGE
    return ratio(observed - by_chance, total**2 - by_chance, reason)
