"""Unweighted means over the classes."""

from __future__ import annotations

from collections.abc import Callable

from medimg.core.scored import (
    Array,
    Scored,
    Value,
    missing_class,
    ratio_or_zero,
    where_defined,
)

# (right answers, images, answers) of each class, Float[..., K], to a value of each
OfClass = Callable[[Array, Array, Array], Array]


def mean_over_classes(scored: Scored, weights: Array | None, of_class: OfClass) -> Value:
    """The mean of what each class has.

    Undefined where a class has no image: a mean over the others would be another metric.
    """
    counts = scored.confusion(weights)
    images, answers = counts.sum(axis=-1), counts.sum(axis=-2)
    each = of_class(counts.diagonal(axis1=-2, axis2=-1), images, answers)
    defined = (images > 0).all(axis=-1)
    return where_defined(each.mean(axis=-1), defined, missing_class(scored, images))


def recall(right: Array, images: Array, _answers: Array) -> Array:
    """The share of a class's images that was answered rightly."""
    return ratio_or_zero(right, images)


def f1(right: Array, images: Array, answers: Array) -> Array:
    """The harmonic mean of a class's precision and recall."""
    return ratio_or_zero(2 * right, answers + images)
