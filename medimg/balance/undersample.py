"""Leave out random images of the larger classes until all are as small as the smallest."""

from __future__ import annotations

import numpy as np

from medimg.api import SamplingPlan
from medimg.balance._resampling import resampled


class Sampler:
    """imbalanced-learn's RandomUnderSampler on the training part's indices."""

    at_random = True

    def plan(self, labels: np.ndarray, groups: np.ndarray | None, seed: int) -> SamplingPlan:
        """
        Args:
            labels: Int[N] of the training part, 0..K-1.
            groups: not used.
            seed: which images are left out.
        Returns:
            indices Int[M] in rising order, M = classes * smallest class.

        >>> len(Sampler().plan(np.array([0, 0, 0, 1]), None, 0).indices)
        2
        """
        from imblearn.under_sampling import RandomUnderSampler

        plan = resampled(RandomUnderSampler(random_state=seed), labels)
        return SamplingPlan(np.sort(plan.indices), plan.class_weights)
