"""Weigh each image by how rare its class is; every image is used once an epoch."""

from __future__ import annotations

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from medimg.api import SamplingPlan


class Sampler:
    """Class weights N / (K * N_k), so that every class carries the same share of the loss.

    Source:
        King & Zeng 2001, Logistic Regression in Rare Events Data; scikit-learn's "balanced".
    """

    at_random = True

    def plan(self, labels: np.ndarray, groups: np.ndarray | None, seed: int) -> SamplingPlan:
        """
        Args:
            labels: Int[N] of the training part, 0..K-1; K counts the classes that have images.
            groups, seed: not used.
        Returns:
            every index once, and Float32[max label + 1]; 1 for a class without images.

        >>> plan = Sampler().plan(np.array([0, 0, 0, 1]), None, 0)
        >>> [round(float(weight), 3) for weight in plan.class_weights]
        [0.667, 2.0]
        """
        labels = np.asarray(labels)
        present = np.unique(labels)
        weights = np.ones(int(present.max()) + 1 if len(present) else 0, dtype=np.float32)
        if len(present):
            weights[present] = compute_class_weight("balanced", classes=present, y=labels)
        return SamplingPlan(np.arange(len(labels)), weights)
