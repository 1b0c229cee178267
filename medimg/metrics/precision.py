"""Share of the images called positive that are positive (PPV)."""

from __future__ import annotations

from medimg.core.scored import Array, Scored, Value, metric, ratio


@metric(
    tasks=("binary",), vectorised=True, share_of=lambda scored: scored.decided == scored.positive
)
def precision(scored: Scored, weights: Array | None = None) -> Value:
    """Positive predictive value, 0..1. Undefined where no image is called positive."""
    hits, false_alarms, _, _ = scored.outcomes(weights)
    return ratio(hits, hits + false_alarms, "no image was called positive")
