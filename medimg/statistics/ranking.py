"""AUROC by midranks: the Mann-Whitney statistic of two kinds of image."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import rankdata


def auroc_or_none(labels: Any, scores: Any) -> float | None:
    """Chance that a positive image is ranked above a negative one, ties counting half.

    Args:
        labels: Bool[N], which images are positive.
        scores: Float[N].
    Returns:
        0..1; None without positive or without negative images.
    """
    positive = np.asarray(labels).astype(bool)
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n:
        return None
    above = rankdata(scores)[positive].sum() - m * (m + 1) / 2
    return float(above / (m * n))
