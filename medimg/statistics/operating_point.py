"""Choosing the threshold at which an image is called positive, on validation predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from medimg.core.errors import InputError, UsageError, near_misses
from medimg.core.scored import Array

RULES = ("youden", "sensitivity=0.95", "specificity=0.95", "fbeta=2", "cost=10:1")
# shares of whole images: 19 / 20 must meet a target of 0.95
SLACK = 1e-12


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Every threshold that divides the images differently, rising, each Float[D + 1]."""

    values: Array
    sensitivity: Array
    specificity: Array


def thresholds(labels: Any, probabilities: Any) -> Thresholds:
    """The candidates: midway between neighbouring probabilities, one below all, one above all.

    Args:
        labels: Bool[N] (or 0 and 1), which images are positive.
        probabilities: Float[N] of the positive class; an image is called positive where its
            probability >= threshold.
    Raises:
        InputError: not both kinds of image are there, or a number that is no probability.
    """
    positive = np.asarray(labels).astype(bool)
    scores = np.asarray(probabilities, dtype=np.float64)
    if positive.shape != scores.shape or positive.all() or not positive.any():
        raise InputError(
            f"a threshold needs positive and negative images: {int(positive.sum())} of "
            f"{len(positive)} are positive",
            "Give a value instead: --threshold 0.5",
        )
    if not ((scores >= 0) & (scores <= 1)).all():
        raise InputError("a threshold is chosen on probabilities between 0 and 1")
    distinct, place = np.unique(scores, return_inverse=True)
    called_away = np.bincount(place, positive), np.bincount(place, ~positive)
    missed, cleared = (np.r_[0.0, np.cumsum(counts)] for counts in called_away)
    return Thresholds(cuts(distinct), 1 - missed / positive.sum(), cleared / (~positive).sum())


def cuts(distinct: Array) -> Array:
    """Float[D + 1] for D rising probabilities; cut i calls positive what is >= distinct[i]."""
    between = (distinct[:-1] + distinct[1:]) / 2
    # halfway between neighbouring floats rounds down onto the lower one, which would be called
    between = np.where(between > distinct[:-1], between, distinct[1:])
    above = (distinct[-1] + 1) / 2
    above = above if above > distinct[-1] else np.nextafter(distinct[-1], 2)
    return np.r_[distinct[0] / 2, between, above]


def youden(labels: Any, probabilities: Any) -> float:
    """The threshold of the greatest sensitivity + specificity - 1; of equals, nearest to 0.5.

    Where no threshold beats chance it calls every image the same.

    Raises:
        InputError: not both kinds of image are there.
    Source:
        Youden 1950, Index for rating diagnostic tests.
    """
    found = thresholds(labels, probabilities)
    gain = found.sensitivity + found.specificity
    return nearest_to_half(found, gain)


def at_sensitivity(labels: Any, probabilities: Any, target: float) -> float:
    """The highest threshold with at least this sensitivity, so the best specificity with it."""
    found = thresholds(labels, probabilities)
    return float(found.values[np.flatnonzero(found.sensitivity >= target - SLACK)[-1]])


def at_specificity(labels: Any, probabilities: Any, target: float) -> float:
    """The lowest threshold with at least this specificity, so the best sensitivity with it."""
    found = thresholds(labels, probabilities)
    return float(found.values[np.flatnonzero(found.specificity >= target - SLACK)[0]])


def fbeta(labels: Any, probabilities: Any, beta: float) -> float:
    """The threshold of the greatest F-beta of the positive class; of equals, nearest to 0.5.

    F-beta is (1 + beta^2) TP / ((1 + beta^2) TP + beta^2 FN + FP): sensitivity counts beta times
    as much as precision.

    Raises:
        InputError: not both kinds of image are there.
    Source:
        van Rijsbergen 1979, Information Retrieval, chapter 7.
    """
    found, positives, negatives = counted(labels, probabilities)
    hits = found.sensitivity * positives
    false_alarms = (1 - found.specificity) * negatives
    weight = beta * beta
    gain = (1 + weight) * hits / (hits + weight * positives + false_alarms)
    return nearest_to_half(found, gain)


def least_cost(labels: Any, probabilities: Any, missed: float, false_alarm: float) -> float:
    """The threshold of the least total cost, at the prevalence of these images; of equals, nearest
    to 0.5.

    Args:
        missed: what a positive image that is called negative costs.
        false_alarm: what a negative image that is called positive costs.
    Raises:
        InputError: not both kinds of image are there.
    """
    found, positives, negatives = counted(labels, probabilities)
    cost = missed * (1 - found.sensitivity) * positives
    cost = cost + false_alarm * (1 - found.specificity) * negatives
    return nearest_to_half(found, -cost)


def counted(labels: Any, probabilities: Any) -> tuple[Thresholds, int, int]:
    """The candidates, and how many images are positive and negative."""
    positives = int(np.asarray(labels).astype(bool).sum())
    return thresholds(labels, probabilities), positives, len(np.asarray(labels)) - positives


def nearest_to_half(found: Thresholds, gain: Array) -> float:
    """The candidate of the greatest gain; of equals, the one nearest to 0.5."""
    best = np.flatnonzero(gain >= gain.max() - SLACK * max(1.0, abs(gain.max())))
    return float(found.values[best[np.argmin(abs(found.values[best] - 0.5))]])


def operating_point(rule: str, labels: Any, probabilities: Any) -> float:
    """The threshold by a rule: `youden`, `sensitivity=X` or `specificity=X` (X in 0..1),
    `fbeta=B`, or `cost=MISSED:FALSE_ALARM`.

    Raises:
        UsageError: no such rule.
        InputError: not both kinds of image are there.
    """
    name, equals, text = rule.partition("=")
    if rule == "youden":
        return youden(labels, probabilities)
    if name == "fbeta" and equals:
        return fbeta(labels, probabilities, *numbers(rule, text, 1, "fbeta=2"))
    if name == "cost" and equals:
        return least_cost(labels, probabilities, *numbers(rule, text, 2, "cost=10:1"))
    if name not in ("sensitivity", "specificity") or not equals:
        raise UsageError(f"no threshold rule is called {rule!r}", near_misses(rule, list(RULES)))
    target = share(rule, text)
    choose = at_sensitivity if name == "sensitivity" else at_specificity
    return choose(labels, probabilities, target)


def numbers(rule: str, text: str, count: int, example: str) -> list[float]:
    """The positive numbers of `fbeta=B` and `cost=A:B`."""
    try:
        values = [float(part) for part in text.split(":")]
    except ValueError:
        values = []
    if len(values) != count or not all(0 < value < np.inf for value in values):
        told = "a number above 0" if count == 1 else "two numbers above 0"
        raise UsageError(f"{rule!r} needs {told}", f"For example {example}")
    return values


def share(rule: str, text: str) -> float:
    """The number of `sensitivity=X`, in 0..1."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise UsageError(f"{rule!r} needs a number from 0 to 1", "For example sensitivity=0.95")
    return value
