"""Metrics with their intervals as rows of a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medimg.core.scored import Scored
from medimg.statistics.bootstrap import Interval
from medimg.statistics.intervals import Metrics, intervals_at

Rows = dict[str, dict[str, Any]]


def metric_rows(
    scored: Scored,
    metrics: Metrics,
    groups: Sequence[Any] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Rows:
    """`{name: {value, ci95, method, n, reason}}` of the metrics that suit the task."""
    return rows_at([(scored, metrics)], groups, resamples, level, seed)[0]


def rows_at(
    several: Sequence[tuple[Scored, Metrics]],
    groups: Sequence[Any] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Rows]:
    """The same of the same images at several thresholds, on the same resamples."""
    return [
        {name: row(interval, len(scored)) for name, interval in found.items()}
        for (scored, _), found in zip(
            several, intervals_at(several, groups, resamples, level, seed), strict=True
        )
    ]


def row(interval: Interval, n: int) -> dict[str, Any]:
    """One metric in the report."""
    return {
        "value": interval.value,
        "ci95": interval.bounds,
        "method": None if interval.bounds is None else interval.method,
        "n": n,
        "reason": interval.reason,
    }
