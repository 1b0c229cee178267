"""Share of the negative images that are called negative."""

from __future__ import annotations

from medimg.core.scored import Array, Scored, Value, metric, ratio


@metric(
    tasks=("binary",), vectorised=True, share_of=lambda scored: scored.labels != scored.positive
)
def specificity(scored: Scored, weights: Array | None = None) -> Value:
    """Recall of the negative class, 0..1. Undefined without a negative image."""
    _, false_alarms, _, cleared = scored.outcomes(weights)
    return ratio(cleared, cleared + false_alarms, "no negative image in this part")
