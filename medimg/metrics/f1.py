"""Harmonic mean of precision and sensitivity."""

from __future__ import annotations

from medimg.core.scored import Array, Scored, Value, metric, ratio


@metric(tasks=("binary",), vectorised=True)
def f1(scored: Scored, weights: Array | None = None) -> Value:
    """F1 of the positive class, 0..1: 2 TP / (2 TP + FP + FN).

    0 where positive images exist and none is called positive, as in scikit-learn. Undefined where
    there is neither a positive image nor a positive answer.
    """
    hits, false_alarms, missed, _ = scored.outcomes(weights)
    reason = "no positive image in this part, and none was called positive"
    return ratio(2 * hits, 2 * hits + false_alarms + missed, reason)
