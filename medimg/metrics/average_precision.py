"""Average precision: the step-wise area under the precision-recall curve."""

from __future__ import annotations

import numpy as np

from medimg.core.scored import Array, Scored, Value, metric, where_defined


@metric(threshold_free=True, vectorised=True)
def average_precision(scored: Scored, weights: Array | None = None) -> Value:
    """Sum over falling thresholds of precision times the gain in recall, 0..1.

    Two classes: of the positive class, whose prevalence is chance. More: the unweighted mean over
    the classes, each against the rest. Undefined where a class has no image.
    """
    each = [of_class(scored, number, weights) for number in scored.about]
    return sum(each[1:], start=each[0]) / len(each)


def of_class(scored: Scored, number: int, weights: Array | None) -> Value:
    """Average precision of one class against the rest."""
    inside, outside = scored.by_score(number, weights)
    hits = np.cumsum(inside, axis=-1)
    called = np.cumsum(outside, axis=-1)
    called += hits
    # nothing is called before the first image with weight; its precision then weighs 0
    np.maximum(called, np.finfo(np.float64).tiny, out=called)
    np.divide(hits, called, out=hits)
    total = inside.sum(axis=-1)
    steps = np.einsum("...d,...d->...", inside, hits)
    reason = f"no image of {scored.name(number)} in this part"
    return where_defined(steps / np.where(total > 0, total, 1.0), total > 0, reason)
