"""Share of the images called negative that are negative."""

from __future__ import annotations

from medimg.core.scored import Array, Scored, Value, metric, ratio


@metric(
    tasks=("binary",), vectorised=True, share_of=lambda scored: scored.decided != scored.positive
)
def npv(scored: Scored, weights: Array | None = None) -> Value:
    """Negative predictive value, 0..1. Undefined where no image is called negative."""
    _, _, missed, cleared = scored.outcomes(weights)
    return ratio(cleared, cleared + missed, "no image was called negative")
