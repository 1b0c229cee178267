"""Add blended pictures like smote, more where an image's neighbours are of other classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from medimg.api import InputError, SamplingPlan
from medimg.balance._synthetic import LEAST_IMAGES, NEIGHBOURS, synthetic_plan

# pairs of an image and a neighbour that are looked at together
CHUNK = 16_384


class Sampler:
    """imbalanced-learn's ADASYN on an embedding; what it makes is traced to its parents.

    Source:
        He et al. 2008, ADASYN: Adaptive synthetic sampling approach for imbalanced learning.
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
            seed: of the neighbours and the shares.
            embedding: Float32[N, D], where neighbours are looked for.
        Returns:
            every index once, and parents and shares; the classes come out nearly equal.
        Raises:
            InputError: a class has fewer than 6 images, or no neighbour of another class.
        """

        def draw(points: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            from imblearn.over_sampling import ADASYN

            sampler = ADASYN(random_state=seed, n_neighbors=asked())
            try:
                made, of_class = sampler.fit_resample(points, labels)
            except (RuntimeError, ValueError) as error:
                raise InputError(
                    "adasyn adds pictures where classes meet, and in this training part an image's "
                    f"{NEIGHBOURS} nearest are all of its own class",
                    "Take smote, which blends all images of a class.",
                ) from error
            added = slice(len(points), None)
            return traced(points, labels, made[added], of_class[added], sampler)

        return synthetic_plan(draw, "adasyn", labels, embedding)


def asked() -> Any:
    """scikit-learn's neighbours, which keep what they answered."""
    from sklearn.neighbors import NearestNeighbors

    class Asked(NearestNeighbors):
        def fit(self, X: np.ndarray, y: Any = None) -> Any:
            if not hasattr(self, "answers"):
                self.answers: list[np.ndarray] = []
            return super().fit(X, y)

        def kneighbors(self, *arguments: Any, **options: Any) -> Any:
            found = super().kneighbors(*arguments, **options)
            self.answers.append(found)
            return found

    return Asked(n_neighbors=NEIGHBOURS + 1)


def traced(
    points: np.ndarray, labels: np.ndarray, made: np.ndarray, of_class: np.ndarray, sampler: Any
) -> tuple[np.ndarray, np.ndarray]:
    """(parents Int[S, 2], shares Float[S]) of the points that ADASYN made.

    For each class it asked for the neighbours among all, which say how many pictures an image
    starts, and then within the class; a new point lies on the way to one of these.
    """
    parents, shares = [], []
    answers: Iterator[np.ndarray] = iter(sampler.nn_.answers)
    for k, wanted in sampler.sampling_strategy_.items():
        if not wanted:
            continue
        own = np.flatnonzero(labels == k)
        foreign = (labels[next(answers)[:, 1:]] != k).sum(axis=1) / NEIGHBOURS
        rows = np.repeat(
            np.arange(len(own)), np.rint(foreign / foreign.sum() * wanted).astype(np.int64)
        )
        near = next(answers)[:, 1:]
        new = made[of_class == k]
        for start in range(0, len(rows), CHUNK):
            some = rows[start : start + CHUNK]
            column, share = on_the_way(points[own], some, near[some], new[start : start + CHUNK])
            second = near[some, column]
            parents.append(np.stack([own[some], own[second]], axis=1))
            shares.append(share)
    return np.concatenate(parents), np.concatenate(shares)


def on_the_way(
    points: np.ndarray, rows: np.ndarray, near: np.ndarray, new: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which neighbour each new point lies towards, Int[B], and how far, Float[B] in 0..1."""
    start = points[rows].astype(np.float64)
    ways = points[near] - start[:, None]
    gone = new - start
    lengths = np.maximum((ways**2).sum(axis=2), np.finfo(np.float64).tiny)
    share = np.clip((ways * gone[:, None]).sum(axis=2) / lengths, 0, 1)
    missed = ((gone[:, None] - share[:, :, None] * ways) ** 2).sum(axis=2)
    column = missed.argmin(axis=1)
    return column, share[np.arange(len(rows)), column]
