"""Repeat random images of the smaller classes until all are as large as the largest."""

from __future__ import annotations

import numpy as np

from medimg.api import SamplingPlan
from medimg.balance._resampling import resampled


class Sampler:
    """imbalanced-learn's RandomOverSampler on the training part's indices."""

    at_random = True

    def plan(self, labels: np.ndarray, groups: np.ndarray | None, seed: int) -> SamplingPlan:
        """
        Args:
            labels: Int[N] of the training part, 0..K-1.
            groups: not used; a copy stands in the part of its original, so no patient moves.
            seed: which images are repeated.
        Returns:
            every index once, then the repeats: Int[M], M = classes * largest class.

        >>> plan = Sampler().plan(np.array([0, 0, 0, 1]), None, 0)
        >>> plan.indices.tolist(), plan.class_weights.tolist()
        ([0, 1, 2, 3, 3, 3], [1.0, 1.0])
        """
        from imblearn.over_sampling import RandomOverSampler

        return resampled(RandomOverSampler(random_state=seed), labels)
