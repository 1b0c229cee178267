"""Average precision: the step-wise area under the precision-recall curve."""

from __future__ import annotations

import numpy as np

from medimg.core.scored import Array, Scored, Value, metric, where_defined


@metric(threshold_free=True, vectorised=True)
def average_precision(scored: Scored, weights: Array | None = None) -> Value:
    """Sum over falling thresholds of precision times the gain in recall, 0..1.

    Two classes: of the positive class, whose prevalence is chance. More: the unweighted mean over
    the classes, each against the rest. Undefined where a class has no image or every image:
    it is then 1 whatever the ranking.
    """
    each = [of_class(scored, number, weights) for number in scored.about]
    return sum(each[1:], start=each[0]) / len(each)


def of_class(scored: Scored, number: int, weights: Array | None) -> Value:
    """Average precision of one class against the rest.

    Precision counts only where an image of the class stands, so that only these are looked at.
    """
    weights = scored.weights_or_ones(weights)
    order, own, last_own, last = scored.per_image(
        f"places {number}", lambda: places(scored, number)
    )
    reason = f"no image of {scored.name(number)} in this part"
    ranked = weights.take(order, axis=-1)
    inside = ranked.take(own, axis=-1)
    called = np.cumsum(ranked, axis=-1, out=ranked).take(last, axis=-1)
    hits = np.cumsum(inside, axis=-1)
    total = hits[..., -1] if len(own) else np.zeros(weights.shape[:-1])
    # nothing is called before the first image with weight; its precision then weighs 0
    np.maximum(called, np.finfo(np.float64).tiny, out=called)
    steps = np.einsum("...d,...d->...", inside, hits.take(last_own, axis=-1) / called)
    found = where_defined(steps / np.where(total > 0, total, 1.0), total > 0, reason)
    # both summed in one order, so that they are equal to the last bit where nothing else has weight
    others = ranked[..., -1] > total if len(order) else total > 0
    return where_defined(found, others, f"every image in this part is {scored.name(number)}")


def places(scored: Scored, number: int) -> tuple[Array, Array, Array, Array]:
    """The images from the highest probability to the lowest, and where those of the class stand.

    Returns:
        order Int[N]; own Int[M], ranks of the M images of the class; last_own Int[M] (into own)
        and last Int[M] (a rank), the ends of each one's run of equal probabilities.
    """
    order, starts = scored.ranking(number)
    run = np.searchsorted(starts, np.arange(len(order)), side="right") - 1
    ends = np.append(starts[1:], len(order)) - 1
    own = np.flatnonzero(scored.labels[order] == number)
    last_own = np.searchsorted(run[own], run[own], side="right") - 1
    return order, own, last_own, ends[run[own]]
