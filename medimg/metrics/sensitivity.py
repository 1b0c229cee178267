"""Share of the positive images that are called positive (recall)."""

from __future__ import annotations

from medimg.core.scored import Array, Scored, Value, metric, ratio


@metric(
    tasks=("binary",), vectorised=True, share_of=lambda scored: scored.labels == scored.positive
)
def sensitivity(scored: Scored, weights: Array | None = None) -> Value:
    """Recall of the positive class, 0..1. Undefined without a positive image."""
    hits, _, missed, _ = scored.outcomes(weights)
    return ratio(hits, hits + missed, "no positive image in this part")
