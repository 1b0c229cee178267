"""Holds a way to balance to its promises."""

from __future__ import annotations

import numpy as np

from medimg.api import Sampler


def check_sampler(sampler: Sampler) -> None:
    """Holds a way to balance to its promises on a training part with 40, 12 and 5 images.

    Raises:
        AssertionError: a promise is broken.
    """
    labels = np.repeat([0, 1, 2], [40, 12, 5])
    for groups in (None, np.arange(57) // 2):
        plan, again = (sampler.plan(labels, groups, 4) for _ in range(2))
        indices, weights = np.asarray(plan.indices), np.asarray(plan.class_weights)
        assert indices.ndim == 1 and np.issubdtype(indices.dtype, np.integer), (
            f"indices must be Int[M], not {indices.dtype}{indices.shape}"
        )
        assert len(indices) and indices.min() >= 0 and indices.max() < 57, (
            "indices must point into the training part"
        )
        assert set(labels[indices]) == {0, 1, 2}, "balancing lost a class"
        assert weights.shape == (3,) and np.isfinite(weights).all() and (weights > 0).all(), (
            f"class_weights must be three positive numbers, not {weights}"
        )
        assert np.array_equal(indices, again.indices), "the same seed gives other indices"
        load = np.bincount(labels[indices], minlength=3) * weights
        assert load.max() / load.min() < 8, (
            f"after balancing the classes weigh {load}; before they weighed 40, 12 and 5"
        )
