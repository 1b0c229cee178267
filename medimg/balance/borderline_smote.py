"""Add blended pictures like smote, but from images whose neighbours are mostly of other classes."""

from __future__ import annotations

import numpy as np

from medimg.api import InputError, SamplingPlan
from medimg.balance._synthetic import LEAST_IMAGES, NEIGHBOURS, noted_by, noting, synthetic_plan

# neighbours of any class that tell whether an image lies at the border
AROUND = 10


class Sampler:
    """imbalanced-learn's BorderlineSMOTE ("borderline-1": both parents are of one class).

    Source:
        Han, Wang & Mao 2005, Borderline-SMOTE.
    """

    needs_embedding = True
    least_images = LEAST_IMAGES

    def plan(
        self, labels: np.ndarray, groups: np.ndarray | None, seed: int, *, embedding: np.ndarray
    ) -> SamplingPlan:
        """
        Args:
            labels: Int[N] of the training part, 0..K-1.
            groups: not used.
            seed: of the images, their neighbours and the shares.
            embedding: Float32[N, D], where neighbours are looked for.
        Returns:
            every index once, and parents and shares; nothing is added to a class that has no image
            at its border.
        Raises:
            InputError: a class has fewer than 6 images, or no class has an image at its border.
        """

        def draw(points: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            from imblearn.over_sampling import BorderlineSMOTE

            kind = noting(BorderlineSMOTE, lambda sampler, k: sampler.in_danger_indices[k])
            around = min(AROUND, len(labels) - 1)
            sampler = kind(random_state=seed, k_neighbors=NEIGHBOURS, m_neighbors=around)
            parents, shares = noted_by(sampler, points, labels)
            if not len(parents):
                raise InputError(
                    "borderline-smote finds no image at the border of its class: of the "
                    f"{around} nearest images too few, or all, are of other classes",
                    "Take smote, which blends all images of a class.",
                )
            return parents, shares

        return synthetic_plan(draw, "borderline-smote", labels, embedding)
