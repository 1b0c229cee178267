"""Harmonic mean of precision and sensitivity."""

from __future__ import annotations

from medimg.core.scored import Array, Scored, Value, metric, ratio_or_zero, where_defined


@metric(tasks=("binary",), vectorised=True)
def f1(scored: Scored, weights: Array | None = None) -> Value:
    """F1 of the positive class, 0..1: 2 TP / (2 TP + FP + FN).

    0 where positive images exist and none is called positive, as in scikit-learn. Undefined where
    there is no positive image, as sensitivity is.
    """
    hits, false_alarms, missed, _ = scored.outcomes(weights)
    positive = hits + missed
    value = ratio_or_zero(2 * hits, hits + false_alarms + positive)
    return where_defined(value, positive > 0, "no positive image in this part")
