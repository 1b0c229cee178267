"""Expected calibration error: the gap between promised and observed frequency."""

from __future__ import annotations

from medimg.core.reliability import BINS, bin_of, confidence_and_outcome
from medimg.core.scored import NO_IMAGE, Array, Scored, Value, metric, ratio, sums_by


@metric(
    higher_is_better=False,
    threshold_free=True,
    vectorised=True,
    binned=lambda scored: gaps_and_bins(scored),
)
def ece(scored: Scored, weights: Array | None = None) -> Value:
    """Mean gap between confidence and outcome over 15 equal-width bins, 0..1; lower is better.

    Two classes: of the positive class. More: of the likeliest class. Undefined without images.
    Noise lifts it: of few images even perfect probabilities have an error above 0.

    Source:
        Guo et al. 2017, On Calibration of Modern Neural Networks, section 2.
    """
    gaps, bins = scored.per_image("ece", lambda: gaps_and_bins(scored))
    weights = scored.weights_or_ones(weights)
    sums = sums_by(bins, BINS, weights * gaps)
    return ratio(abs(sums).sum(axis=-1), weights.sum(axis=-1), NO_IMAGE)


def gaps_and_bins(scored: Scored) -> tuple[Array, Array]:
    """Float[N], confidence less outcome, and Int[N], the bin of each image."""
    confidence, outcome = confidence_and_outcome(scored)
    return confidence - outcome, bin_of(confidence)
