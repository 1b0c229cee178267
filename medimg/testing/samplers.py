"""Holds a way to balance to its promises."""

from __future__ import annotations

import numpy as np

from medimg.api import Sampler, SamplingPlan


def check_sampler(sampler: Sampler) -> None:
    """Holds a way to balance to its promises on a training part with 40, 12 and 5 images.

    A sampler that needs an embedding is given points around a centre for each class; where it
    needs more images of a class (`least_images`), the smaller classes have so many.

    Raises:
        AssertionError: a promise is broken.
    """
    least = getattr(sampler, "least_images", 1)
    sizes = [40, max(12, least), max(5, least)]
    labels = np.repeat([0, 1, 2], sizes)
    count = len(labels)
    options = {}
    if getattr(sampler, "needs_embedding", False):
        noise = np.random.default_rng(0).normal(size=(count, 8))
        options["embedding"] = (noise + labels[:, None]).astype(np.float32)
    for groups in (None, np.arange(count) // 2):
        plan, again = (sampler.plan(labels, groups, 4, **options) for _ in range(2))
        indices, weights = np.asarray(plan.indices), np.asarray(plan.class_weights)
        assert indices.ndim == 1 and np.issubdtype(indices.dtype, np.integer), (
            f"indices must be Int[M], not {indices.dtype}{indices.shape}"
        )
        assert len(indices) and indices.min() >= 0 and indices.max() < count, (
            "indices must point into the training part"
        )
        assert set(labels[indices]) == {0, 1, 2}, "balancing lost a class"
        assert weights.shape == (3,) and np.isfinite(weights).all() and (weights > 0).all(), (
            f"class_weights must be three positive numbers, not {weights}"
        )
        assert np.array_equal(indices, again.indices), "the same seed gives other indices"
        made = labels[check_parents(plan, again, labels)]
        load = np.bincount(np.r_[labels[indices], made], minlength=3) * weights
        assert load.max() / load.min() < 8, (
            f"after balancing the classes weigh {load}; before they weighed {sizes}"
        )


def check_parents(plan: SamplingPlan, again: SamplingPlan, labels: np.ndarray) -> np.ndarray:
    """Int[S], the first parents of a plan's synthetic pictures.

    Raises:
        AssertionError: they are no pairs of one class, or the shares are none.
    """
    if plan.parents is None:
        return np.zeros(0, np.int64)
    parents, shares = np.asarray(plan.parents), np.asarray(plan.shares)
    assert parents.ndim == 2 and parents.shape[1] == 2 and shares.shape == (len(parents),), (
        f"parents must be Int[S, 2] beside shares Float[S], not {parents.shape} and {shares.shape}"
    )
    assert not len(parents) or (parents.min() >= 0 and parents.max() < len(labels)), (
        "parents must point into the training part"
    )
    assert (labels[parents[:, 0]] == labels[parents[:, 1]]).all(), "parents of two classes"
    assert ((shares >= 0) & (shares <= 1)).all(), "shares must lie between 0 and 1"
    same = np.array_equal(parents, np.asarray(again.parents))
    assert same and np.array_equal(shares, np.asarray(again.shares)), (
        "the same seed gives other synthetic pictures"
    )
    return parents[:, 0]
