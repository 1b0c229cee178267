"""Confidence against outcome in bins: what the calibration error and the diagram share."""

from __future__ import annotations

import numpy as np

from medimg.core.scored import Array, Scored

BINS = 15


def confidence_and_outcome(scored: Scored) -> tuple[Array, Array]:
    """What was promised and what came: Float[N] in 0..1 and Float[N] of 0 and 1.

    In a two-class task the probability of the positive class and whether the image is positive;
    otherwise the probability of the likeliest class and whether it was right.
    """
    if scored.task == "binary" and scored.positive is not None:
        confidence = scored.probabilities[:, scored.positive]
        return confidence, (scored.labels == scored.positive).astype(np.float64)
    confidence = scored.probabilities.max(axis=1)
    right = scored.probabilities.argmax(axis=1) == scored.labels
    return confidence, right.astype(np.float64)


def bin_edges(bins: int = BINS) -> Array:
    """Float[bins + 1], equal widths from 0 to 1."""
    return np.linspace(0.0, 1.0, bins + 1)


def bin_of(confidence: Array, bins: int = BINS) -> Array:
    """Int[N]: bin i holds edges[i] < confidence <= edges[i + 1], the first one 0 as well."""
    return np.searchsorted(bin_edges(bins)[1:-1], confidence, side="left")
