"""Add pictures blended from two neighbours of a class until all classes are equally large."""

from __future__ import annotations

import numpy as np

from medimg.api import SamplingPlan
from medimg.balance._synthetic import LEAST_IMAGES, NEIGHBOURS, noted_by, noting, synthetic_plan


class Sampler:
    """imbalanced-learn's SMOTE on an embedding; its draws become pairs of parents.

    Source:
        Chawla et al. 2002, SMOTE: Synthetic Minority Over-sampling Technique.
    """

    needs_embedding = True
    least_images = LEAST_IMAGES

    def plan(
        self, labels: np.ndarray, groups: np.ndarray | None, seed: int, *, embedding: np.ndarray
    ) -> SamplingPlan:
        """
        Args:
            labels: Int[N] of the training part, 0..K-1.
            groups: not used: both parents stand in the training part, so no patient moves.
            seed: of the images, their neighbours and the shares.
            embedding: Float32[N, D], where neighbours are looked for.
        Returns:
            every index once, and the parents and shares of K * largest class - N pictures.
        Raises:
            InputError: a class has fewer than 6 images.
        """

        def draw(points: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            from imblearn.over_sampling import SMOTE

            kind = noting(SMOTE, lambda sampler, k: np.flatnonzero(sampler.labels == k))
            return noted_by(kind(random_state=seed, k_neighbors=NEIGHBOURS), points, labels)

        return synthetic_plan(draw, "smote", labels, embedding)
