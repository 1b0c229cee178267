"""The interval that fits a metric: Wilson for shares, DeLong or Obuchowski for AUROC, else the
bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from medimg.core.scored import Array, Scored, suited
from medimg.statistics.auroc_interval import auroc_interval
from medimg.statistics.binned_error import binned_error_interval
from medimg.statistics.bootstrap import Interval, points, several_intervals
from medimg.statistics.wilson import wilson

WILSON = "Wilson"
Metrics = Mapping[str, Callable[..., Any]]


def intervals(
    scored: Scored,
    metrics: Metrics,
    groups: Sequence[Any] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """An interval for each metric that suits the task, by the method that fits it.

    Images are independent where patients are unknown or have one image each. Then shares of
    images have Wilson's interval and AUROC DeLong's; else AUROC has Obuchowski's and all others
    the bootstrap by patient. A share of 0 or 1, at which the bootstrap stands still, has Wilson's
    interval at the number of patients. The calibration error has that of `binned_error_interval`.

    Args:
        metrics: name to function; `share_of` and `area` of `medimg.core.scored.metric` tell what
            it is.
        groups: the patient of each image, length N, None where patients are unknown.
        resamples, level, seed: of the bootstrap.
    """
    return intervals_at([(scored, metrics)], groups, resamples, level, seed)[0]


def intervals_at(
    several: Sequence[tuple[Scored, Metrics]],
    groups: Sequence[Any] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> list[dict[str, Interval]]:
    """`intervals` of the same images at several thresholds, on the same resamples."""
    patients = None if independent(groups) else groups
    known = [by_formula(scored, metrics, patients, level, seed) for scored, metrics in several]
    rest = [
        (scored, {n: f for n, f in suited(metrics, scored).items() if n not in found})
        for (scored, metrics), found in zip(several, known, strict=True)
    ]
    drawn = several_intervals(rest, patients, resamples, level, seed)
    for (scored, wanted), found, known_here in zip(rest, drawn, known, strict=True):
        for name, interval in found.items():
            share_of = getattr(wanted[name], "share_of", None)
            if share_of is not None and patients is not None and interval.value in (0.0, 1.0):
                interval = at_the_edge(interval, share_of(scored), patients, level)
            known_here[name] = interval
    return [
        {name: found[name] for name in suited(metrics, scored)}
        for (scored, metrics), found in zip(several, known, strict=True)
    ]


def by_formula(
    scored: Scored, metrics: Metrics, patients: Sequence[Any] | None, level: float, seed: int = 0
) -> dict[str, Interval]:
    """The intervals that need no resampling."""
    fitting = suited(metrics, scored)
    exact = {
        name: f
        for name, f in fitting.items()
        if getattr(f, "area", False)
        or getattr(f, "binned", None)
        or (getattr(f, "share_of", None) and patients is None)
    }
    values, _ = points(exact, scored)
    found: dict[str, Interval] = {}
    for name, value in values.items():
        if value is None:
            continue
        if getattr(exact[name], "area", False):
            found[name] = auroc_interval(scored, patients, level)
        elif binned := getattr(exact[name], "binned", None):
            gaps, bins = binned(scored)
            found[name] = binned_error_interval(gaps, bins, patients, level, seed)
        else:
            images = int(exact[name].share_of(scored).sum())  # type: ignore[attr-defined]
            found[name] = share_interval(value, images, level, WILSON)
    return found


def independent(groups: Sequence[Any] | None) -> bool:
    """Whether no patient has two images, as far as patients are known."""
    if groups is None:
        return True
    known = [group for group in groups if group is not None]
    return len(set(known)) == len(known)


def share_interval(value: float, n: int, level: float, method: str) -> Interval:
    """Wilson's interval of a share of n images."""
    return Interval(value, *wilson(round(value * n), n, level), method)


def at_the_edge(
    interval: Interval,
    about: Array,
    groups: Sequence[Any],
    level: float,
) -> Interval:
    """All or none right: every resample says the same, which is no sign of certainty.

    A patient counts once, as if all images of a patient were one answer: the widest that the
    clustering can make it.

    Args:
        about: Bool[N], the images that the share is of.
    """
    rows = np.flatnonzero(about).tolist()
    people = len({("alone", i) if groups[i] is None else ("of", groups[i]) for i in rows})
    value = interval.value or 0.0
    found = share_interval(value, people, level, f"{WILSON} at the number of patients ({people:,})")
    return replace(found, undefined=interval.undefined)
