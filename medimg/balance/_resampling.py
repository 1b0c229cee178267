"""What over- and under-sampling share: a resampler of imbalanced-learn put to indices."""

from __future__ import annotations

from typing import Any

import numpy as np

from medimg.api import SamplingPlan


def resampled(sampler: Any, labels: np.ndarray) -> SamplingPlan:
    """The plan of a fitted-by-resampling sampler that keeps `sample_indices_`.

    Args:
        labels: Int[N]; with fewer than two classes there is nothing to balance and all stay.
    """
    labels = np.asarray(labels)
    ones = np.ones(int(labels.max()) + 1 if len(labels) else 0, dtype=np.float32)
    if len(np.unique(labels)) < 2:
        return SamplingPlan(np.arange(len(labels)), ones)
    sampler.fit_resample(np.arange(len(labels)).reshape(-1, 1), labels)
    return SamplingPlan(np.asarray(sampler.sample_indices_, dtype=np.int64), ones)
