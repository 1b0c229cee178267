"""Predictions beside the truth, and what makes a function of them a metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from medimg.core.errors import InputError

Array = np.ndarray
Value = float | Array
Function = TypeVar("Function", bound=Callable[..., Any])

TASKS = ("binary", "multiclass")
NO_IMAGE = "no image in this part"
NO_POSITIVE_CLASS = "this task has no positive class"


class UndefinedMetric(Exception):
    """A metric has no value here; `reason` says why, in words for the report."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def metric(
    tasks: tuple[str, ...] = TASKS,
    higher_is_better: bool = True,
    *,
    threshold_free: bool = False,
    vectorised: bool = False,
    share_of: Callable[[Any], Any] | None = None,
    area: bool = False,
    binned: Callable[[Any], Any] | None = None,
) -> Callable[[Function], Function]:
    """Says of a function `(scored, weights=None) -> float` what the reports need to know.

    Args:
        tasks: `binary` (two classes, one of them positive), `multiclass`, or both.
        higher_is_better: which way to rank runs.
        threshold_free: it looks at probabilities only, never at `scored.decided`.
        vectorised: it also takes weights Float[R, N] and returns Float[R], NaN where undefined.
            Without it, resamples are computed one by one: right, but slower.
        share_of: for a plain share of images: Scored to Bool[N], the images that it is a share
            of. It then has Wilson's interval where images are independent.
        area: it is the area under the ROC curve, which has intervals of its own.
        binned: for a sum of |mean gap| over bins: Scored to Float[N] gaps and Int[N] bins. Noise
            alone lifts it above 0, which its interval allows for.
    """

    def attach(function: Function) -> Function:
        for name, value in (
            ("tasks", tuple(tasks)),
            ("higher_is_better", higher_is_better),
            ("threshold_free", threshold_free),
            ("vectorised", vectorised),
            ("share_of", share_of),
            ("area", area),
            ("binned", binned),
        ):
            setattr(function, name, value)
        return function

    return attach


def suited(
    metrics: Mapping[str, Callable[..., Any]], scored: Scored
) -> dict[str, Callable[..., Any]]:
    """The metrics that are about this kind of task; an undecorated function suits both."""
    return {n: f for n, f in metrics.items() if scored.task in getattr(f, "tasks", TASKS)}


@dataclass(frozen=True, eq=False)
class Scored:
    """Class probabilities of N images beside their true classes.

    Args:
        labels: Int[N], true classes in 0..K-1.
        probabilities: Float[N, K], rows summing to 1 (within 1e-3).
        positive: the class that sensitivity is about, in a two-class task.
        threshold: with `positive`, an image is called positive where
            probabilities[:, positive] >= threshold; without, the likeliest class is the answer.
        classes: K names, for reasons in words.

    Raises:
        InputError: shapes that don't fit, labels out of range, rows that are no probabilities.

    Weights, wherever a metric takes them, are non-negative multiplicities Float[N] (how often
    each image was drawn) and give what repeating the rows would give. Float[R, N] asks for R
    resamples at once.
    """

    labels: Array
    probabilities: Array
    positive: int | None = None
    threshold: float | None = None
    classes: tuple[str, ...] = ()
    _values: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _memo: list[tuple[Any, dict[Any, Any]]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        probabilities = np.asarray(self.probabilities, dtype=np.float64)
        check_shapes(labels, probabilities)
        check_probabilities(probabilities)
        object.__setattr__(self, "labels", labels.astype(np.int64))
        object.__setattr__(self, "probabilities", probabilities)
        if self.positive is not None and not 0 <= self.positive < self.outputs:
            raise InputError(f"class {self.positive} is positive, of {self.outputs} classes")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def outputs(self) -> int:
        """K, the number of classes."""
        return int(self.probabilities.shape[1])

    @property
    def task(self) -> str:
        """`binary` where two classes have a positive one, else `multiclass`."""
        return "binary" if self.outputs == 2 and self.positive is not None else "multiclass"

    @property
    def about(self) -> tuple[int, ...]:
        """The classes a ranking metric is about: the positive one, or each against the rest."""
        if self.task == "binary" and self.positive is not None:
            return (self.positive,)
        return tuple(range(self.outputs))

    def name(self, number: int) -> str:
        """A class in words."""
        return self.classes[number] if self.classes else f"class {number}"

    @cached_property
    def decided(self) -> Array:
        """Int[N], the class answered for each image."""
        if self.task == "binary" and self.positive is not None and self.threshold is not None:
            called = self.probabilities[:, self.positive] >= self.threshold
            return np.where(called, self.positive, 1 - self.positive).astype(np.int64)
        return self.probabilities.argmax(axis=1)

    def weights_or_ones(self, weights: Array | None) -> Array:
        """Weights Float[N] or Float[R, N]; ones where there are none."""
        if weights is None:
            return self._ones
        weights = np.asarray(weights, dtype=np.float64)
        if weights.ndim not in (1, 2) or weights.shape[-1] != len(self):
            raise InputError(f"weights of shape {weights.shape} for {len(self)} images")
        return weights

    @cached_property
    def _ones(self) -> Array:
        ones = np.ones(len(self))
        ones.setflags(write=False)
        return ones

    def _kept(self, weights: Array, key: Any, compute: Callable[[], Any]) -> Any:
        """`compute()`, kept while the same weights are asked about.

        A dozen metrics share one confusion matrix. Only read-only weights are kept: others may
        change under the same identity.
        """
        if weights.flags.writeable:
            return compute()
        owner, kept = self._memo[0] if self._memo else (None, {})
        if owner is not weights:
            kept = {}
            self._memo[:] = [(weights, kept)]
        if key not in kept:
            kept[key] = compute()
        return kept[key]

    def confusion(self, weights: Array | None = None) -> Array:
        """Float[K, K] (or Float[R, K, K]): rows are true classes, columns the answers."""
        weights = self.weights_or_ones(weights)
        return self._kept(weights, "confusion", lambda: self._confusion(weights))

    def _confusion(self, weights: Array) -> Array:
        size = self.outputs
        cells = sums_by(self._cell, size * size, weights)
        return cells.reshape(*weights.shape[:-1], size, size)

    @cached_property
    def _cell(self) -> Array:
        return self.labels * self.outputs + self.decided

    def outcomes(self, weights: Array | None = None) -> tuple[Array, Array, Array, Array]:
        """True positives, false positives, false negatives, true negatives: Float[] or Float[R].

        Raises:
            UndefinedMetric: the task has no positive class.
        """
        if self.task != "binary" or self.positive is None:
            raise UndefinedMetric(NO_POSITIVE_CLASS)
        counts, yes, no = self.confusion(weights), self.positive, 1 - self.positive
        return (
            counts[..., yes, yes],
            counts[..., no, yes],
            counts[..., yes, no],
            counts[..., no, no],
        )

    def mean(self, values: Array, weights: Array | None = None) -> Value:
        """Weighted mean of Float[N] over the images."""
        weights = self.weights_or_ones(weights)
        return ratio(weights @ values, weights.sum(axis=-1), NO_IMAGE)

    def per_image(self, key: str, compute: Callable[[], Any]) -> Any:
        """`compute()`, once for this object: what doesn't depend on weights (losses, bins)."""
        if key not in self._values:
            self._values[key] = compute()
        return self._values[key]

    def ranking(self, number: int) -> tuple[Array, Array]:
        """Images from the highest probability of a class to the lowest: Int[N], and where each
        run of equal probabilities starts: Int[D]."""
        return self.per_image(f"ranking {number}", lambda: self._ranking(number))

    def _ranking(self, number: int) -> tuple[Array, Array]:
        scores = self.probabilities[:, number]
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]][: len(ranked)])
        return order, starts

    def by_score(self, number: int, weights: Array | None = None) -> tuple[Array, Array]:
        """Weight of a class and of the rest at each distinct probability of it, falling.

        Returns:
            two arrays Float[D] (or Float[R, D]), D distinct probabilities, the highest first.
        """
        weights = self.weights_or_ones(weights)
        return self._kept(weights, number, lambda: self._by_score(number, weights))

    def _by_score(self, number: int, weights: Array) -> tuple[Array, Array]:
        order, starts = self.ranking(number)
        ranked = weights.take(order, axis=-1)
        inside = ranked * (self.labels[order] == number)
        outside = ranked - inside
        if len(starts) == len(order):
            return inside, outside
        return np.add.reduceat(inside, starts, axis=-1), np.add.reduceat(outside, starts, axis=-1)


def check_shapes(labels: Array, probabilities: Array) -> None:
    """Raises InputError where labels and probabilities don't belong together."""
    if labels.ndim != 1 or probabilities.ndim != 2 or len(labels) != len(probabilities):
        raise InputError(
            f"labels of shape {labels.shape} and probabilities of shape {probabilities.shape}: "
            "one label and one row of probabilities an image are needed"
        )
    if len(labels) and not np.issubdtype(labels.dtype, np.integer) and labels.dtype != bool:
        raise InputError(f"labels are class numbers, not {labels.dtype}")
    if len(labels) and not (labels.min() >= 0 and labels.max() < probabilities.shape[1]):
        raise InputError(
            f"labels run from {labels.min()} to {labels.max()}, "
            f"probabilities have {probabilities.shape[1]} columns"
        )


def check_probabilities(probabilities: Array) -> None:
    """Raises InputError naming the first row that is no probability distribution."""
    with np.errstate(invalid="ignore"):
        fine = (probabilities >= 0).all(axis=1) & (abs(probabilities.sum(axis=1) - 1) <= 1e-3)
    if not fine.all():
        row = int(np.argmin(fine))
        shown = ", ".join(f"{p:.4g}" for p in probabilities[row][:8])
        raise InputError(
            f"row {row} is not a set of probabilities that sum to 1: {shown} "
            f"({int((~fine).sum())} such rows)"
        )


def sums_by(index: Array, size: int, weights: Array) -> Array:
    """Sums of weights Float[N] (or Float[R, N]) over equal index: Float[size] (or [R, size]).

    A loop of bincounts: it reads each row once whatever the size, where a product with a one-hot
    matrix would read N * size.
    """
    if weights.ndim == 1:
        return np.bincount(index, weights, size)
    return np.stack([np.bincount(index, row, size) for row in weights])


def where_defined(values: Any, defined: Any, reason: str) -> Value:
    """A metric's value; where it has none, UndefinedMetric (or NaN in a set of resamples)."""
    if np.ndim(defined) == 0:
        if not defined:
            raise UndefinedMetric(reason)
        return float(values)
    return np.where(defined, values, np.nan)


def ratio(numerator: Any, denominator: Any, reason: str) -> Value:
    """numerator / denominator; undefined for `reason` where the denominator is 0."""
    defined = np.asarray(denominator) > 0
    return where_defined(numerator / np.where(defined, denominator, 1.0), defined, reason)


def ratio_or_zero(numerator: Any, denominator: Any) -> Array:
    """numerator / denominator, 0 where the denominator is 0 (scikit-learn's zero_division)."""
    defined = np.asarray(denominator) > 0
    return np.where(defined, numerator / np.where(defined, denominator, 1.0), 0.0)


def missing_class(scored: Scored, images: Array) -> str:
    """Which class has no image, in words; `images` Float[..., K]."""
    absent = [scored.name(k) for k in range(scored.outputs) if not images[..., k].all()]
    return f"no image of {', '.join(absent)} in this part" if len(scored) else NO_IMAGE
