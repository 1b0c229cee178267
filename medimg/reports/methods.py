"""Which method each interval of a table is by, and why some have none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Rows = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Said:
    """What holds for some metrics in some rows of a table.

    Args:
        what: a method, or why there is no interval.
        metrics: the columns.
        rows: names of the rows; empty where it holds in all that have the metric.
    """

    what: str
    metrics: tuple[str, ...]
    rows: tuple[str, ...] = ()


def methods_said(table: Mapping[str, Rows], metrics: Sequence[str]) -> list[Said]:
    """The methods of the intervals of a table.

    Args:
        table: `{row: {metric: {value, ci95, method, reason}}}`.
        metrics: those that are shown.
    """
    return list(said(table, metrics, "method"))


def reasons_said(table: Mapping[str, Rows], metrics: Sequence[str]) -> list[Said]:
    """Why values of a table, or their intervals, are missing."""
    return list(said(table, metrics, "reason"))


def said(
    table: Mapping[str, Rows], metrics: Sequence[str], about: Literal["method", "reason"]
) -> Iterator[Said]:
    """Each method or reason once, with the metrics that share it in the same rows."""
    held = {m: [row for row, cells in table.items() if m in cells] for m in metrics}
    places: dict[str, dict[tuple[str, ...], list[str]]] = {}
    for metric in metrics:
        for what, rows in by_what(table, metric, about).items():
            shown = () if rows == held[metric] else tuple(rows)
            places.setdefault(what, {}).setdefault(shown, []).append(metric)
    for what, found in places.items():
        for rows_of, names in found.items():
            yield Said(what, tuple(names), rows_of)


def by_what(table: Mapping[str, Rows], metric: str, about: str) -> dict[str, list[str]]:
    """Method or reason to the rows in which it is a metric's."""
    found: dict[str, list[str]] = {}
    for row, cells in table.items():
        cell = cells.get(metric) or {}
        if cell.get(about) and bool(cell.get("ci95")) == (about == "method"):
            found.setdefault(cell[about], []).append(row)
    return found
