"""What SMOTE, Borderline-SMOTE and ADASYN share: imbalanced-learn's draws as pairs of parents.

imbalanced-learn returns points of the embedding; a picture is made from its two parents, so they
are noted as they are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from medimg.api import InputError, SamplingPlan

# imbalanced-learn's defaults, as in the papers
NEIGHBOURS = 5
LEAST_IMAGES = NEIGHBOURS + 1


def check_enough(labels: np.ndarray, least: int, method: str, classes: Sequence[str] = ()) -> None:
    """Raises InputError where a class that would be added to has too few images.

    Args:
        labels: Int[N]; the largest class is not added to and may be of any size.
        classes: their names.
    """
    counts = np.bincount(labels)
    short = [int(k) for k in np.flatnonzero(counts) if counts[k] < min(least, counts.max())]
    if not short:
        return
    names = {k: classes[k] if len(classes) else k for k in short}
    told = ", ".join(f"class {names[k]} has {counts[k]}" for k in short)
    raise InputError(
        f"{method} needs {least} images of each class in the training part, one and its "
        f"{least - 1} nearest: {told}",
        "Repeat images or weigh them instead (oversample, class-weight)"
        # of two classes, one alone would be left
        + (", or leave the class out: -o classes=…" if np.count_nonzero(counts) > 2 else ""),
    )


def synthetic_plan(
    draw: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    method: str,
    labels: Any,
    embedding: Any,
    least: int = LEAST_IMAGES,
) -> SamplingPlan:
    """Every image once, and what `draw(embedding, labels)` adds: (Int[S, 2], Float[S]).

    Raises:
        InputError: a class is too small, or nothing can be drawn from these images.
    """
    labels = np.asarray(labels)
    ones = np.ones(int(labels.max()) + 1 if len(labels) else 0, dtype=np.float32)
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    if len(counts) < 2 or counts.min() == counts.max():
        return SamplingPlan(np.arange(len(labels)), ones)
    check_enough(labels, least, method)
    points = np.ascontiguousarray(embedding, dtype=np.float32)
    parents, shares = draw(points, labels)
    return SamplingPlan(np.arange(len(labels)), ones, parents.astype(np.int64), shares)


def noting(base: type, chosen: Callable[[Any, int], np.ndarray]) -> type:
    """A class of imbalanced-learn's SMOTE family that notes the parents of what it makes.

    Args:
        chosen: (sampler, class) to Int[n], which images the samples of a class start from.
    """

    class Noting(base):  # type: ignore[misc]
        def _fit_resample(self, X: np.ndarray, y: np.ndarray) -> Any:
            self.noted: list[tuple[np.ndarray, np.ndarray]] = []
            self.labels = y
            return super()._fit_resample(X, y)

        def _generate_samples(
            self,
            X: np.ndarray,
            nn_data: np.ndarray,
            nn_num: np.ndarray,
            rows: np.ndarray,
            cols: np.ndarray,
            steps: np.ndarray,
            y_type: Any = None,
            y: Any = None,
        ) -> np.ndarray:
            own = np.flatnonzero(self.labels == y_type)
            first = chosen(self, y_type)[rows]
            self.noted.append((np.stack([first, own[nn_num[rows, cols]]], axis=1), steps[:, 0]))
            return super()._generate_samples(X, nn_data, nn_num, rows, cols, steps, y_type, y)

    return Noting


def noted_by(sampler: Any, points: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
    """(parents Int[S, 2], shares Float[S]) of what a `noting` sampler draws."""
    sampler.fit_resample(points, labels)
    if not sampler.noted:
        return np.zeros((0, 2), np.int64), np.zeros(0)
    return tuple(np.concatenate(parts) for parts in zip(*sampler.noted, strict=True))  # type: ignore[return-value]
