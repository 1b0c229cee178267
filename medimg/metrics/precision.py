"""Share of the images called positive that are positive (PPV)."""

from __future__ import annotations

from medimg.core.scored import Array, Scored, Value, metric
from medimg.metrics._predictive_value import predictive_value


@metric(
    tasks=("binary",), vectorised=True, share_of=lambda scored: scored.decided == scored.positive
)
def precision(scored: Scored, weights: Array | None = None) -> Value:
    """Positive predictive value, 0..1.

    Undefined where no image is called positive, and where all are of one class.
    """
    hits, false_alarms, missed, cleared = scored.outcomes(weights)
    ill, well = hits + missed, false_alarms + cleared
    return predictive_value(hits, false_alarms, ill, well, "positive")
