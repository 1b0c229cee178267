"""Confidence intervals of metrics by the percentile bootstrap, by patient where known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medimg.core.errors import InputError
from medimg.core.scored import Array, Scored, UndefinedMetric, suited
from medimg.statistics.resampling import (
    all_replicates,
    method_of,
    percentiles,
    units_of,
    why_no_interval,
)

# patients, of whom resamples are hardly more than permutations
FEWEST = 5


@dataclass(frozen=True, slots=True)
class Interval:
    """A metric with its confidence interval.

    Args:
        value: the metric itself, None where it is undefined.
        low, high: the bounds, both None where there is no interval.
        method: how it was computed, in words.
        reason: why there is no value or no interval, in words.
        undefined: resamples in which the metric had no value; they are left out.
    """

    value: float | None
    low: float | None
    high: float | None
    method: str
    reason: str | None = None
    undefined: int = 0

    @property
    def bounds(self) -> tuple[float, float] | None:
        """(low, high), or None."""
        return None if self.low is None or self.high is None else (self.low, self.high)


def bootstrap_intervals(
    scored: Scored,
    metrics: Mapping[str, Callable[..., Any]],
    groups: Sequence[Any] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Percentile intervals of the metrics that suit the task.

    Args:
        metrics: name to function `(scored, weights=None) -> float`.
        groups: the patient of each image, length N (None: unknown, drawn alone). Patients are
            drawn whole, within those whose images show the same classes. Without groups, images
            are drawn within their class.
        level: coverage in 0..1.
    Returns:
        an Interval by name; no interval of fewer than five patients, where more than 5 % of the
        resamples have no value, or
        where all have the same one (an AUROC of 1, say), which is no sign of certainty.
    Raises:
        InputError: not as many groups as images.
    Source:
        Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13; Field and Welsh
        2007, Bootstrapping clustered data (drawing whole clusters).
    """
    return several_intervals([(scored, metrics)], groups, resamples, level, seed)[0]


def several_intervals(
    several: Sequence[tuple[Scored, Mapping[str, Callable[..., Any]]]],
    groups: Sequence[Any] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> list[dict[str, Interval]]:
    """`bootstrap_intervals` of several predictions of the same images, on the same resamples."""
    images = len(several[0][0])
    if groups is not None and len(groups) != images:
        raise InputError(f"{len(groups)} groups for {images} images")
    told = [points(suited(metrics, scored), scored) for scored, metrics in several]
    defined = [
        (scored, {name: f for name, f in metrics.items() if values.get(name) is not None})
        for (scored, metrics), (values, _) in zip(several, told, strict=True)
    ]
    method = method_of(groups)
    few = too_few(groups, images)
    rare = shown_by_one(several[0][0], groups)
    return [
        {
            name: interval(value, drawn[name], level, method, few, rare)
            if name in drawn
            else Interval(None, None, None, method, reasons[name])
            for name, value in values.items()
        }
        for (values, reasons), drawn in zip(
            told, all_replicates(defined, groups, resamples, seed), strict=True
        )
    ]


def points(
    metrics: Mapping[str, Callable[..., Any]], scored: Scored
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Each metric's value, None where undefined, and then the reason."""
    values: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    for name, function in metrics.items():
        values[name] = None
        try:
            value = float(function(scored))
        except UndefinedMetric as undefined:
            reasons[name] = undefined.reason
            continue
        if np.isfinite(value):
            values[name] = value
        else:
            reasons[name] = f"the metric gave {value}"
    return values, reasons


def too_few(groups: Sequence[Any] | None, images: int) -> str | None:
    """Why patients are too few to draw among; None where they are enough, or images are drawn."""
    if groups is None:
        return None
    people = len(np.unique(units_of(groups, images)))
    if people >= FEWEST:
        return None
    told = "1 patient" if people == 1 else f"{people} patients"
    return f"{told}: an interval by patient needs {FEWEST} or more"


def shown_by_one(scored: Scored, groups: Sequence[Any] | None) -> str | None:
    """Which class a single patient (or image) shows, in words; None where there is none.

    It can't be drawn among others that show it: many resamples are without the class.
    """
    units = units_of(groups, len(scored))
    for number in range(scored.outputs):
        inside = np.unique(units[scored.labels == number])
        if len(inside) == 1:
            unit = "image" if groups is None else "patient"
            return f"only 1 {unit} shows {scored.name(number)}"
    return None


def interval(
    value: float | None,
    drawn: Array,
    level: float,
    method: str,
    few: str | None = None,
    rare: str | None = None,
) -> Interval:
    """The percentile interval of the replicates, or the reason for none."""
    left_out = int((~np.isfinite(drawn)).sum())
    reason = few or why_no_interval(drawn)
    if reason is not None:
        if rare and not few and left_out:
            reason = f"{reason}: {rare}"
        return Interval(value, None, None, method, reason, left_out)
    return Interval(value, *percentiles(drawn, level), method, None, left_out)
