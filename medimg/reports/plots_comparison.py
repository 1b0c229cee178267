"""Plots of a comparison: ROC overlay, differences, metric against cost, heat map of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medimg.reports.plots import CLASS_COLOURS, GREY, figure, save

if TYPE_CHECKING:
    from medimg.training.comparison import Entry
    from medimg.training.configurations import Grid

# curves and rows that can still be told apart by eye
MOST_CURVES = 6
MOST_ROWS = 40


def comparison_plots(
    entries: Sequence[Entry], result: dict[str, Any], grid: Grid | None, folder: Path
) -> list[str]:
    """The plots of a comparison; their paths relative to the folder.

    Args:
        entries: in the order of the result's runs.
        grid: the sweep that they are, where they are one.
    """
    metric, phantom = result["ranked_by"], result["phantom"]
    drawn = []

    def at(name: str) -> Path:
        drawn.append(f"plots/{name}.png")
        return folder / drawn[-1]

    if curves := roc_curves(entries):
        more = len(entries) - len(curves)
        roc_overlay(curves, more, at("roc-overlay"), phantom)
    shown = [p for p in result["pairs"] if p["difference"] is not None and p["ci95"]]
    if shown:
        shown.sort(key=lambda p: p["metric"] != metric)
        forest(shown[:MOST_ROWS], len(shown) - MOST_ROWS, at("differences"), phantom)
    if metric and (dots := cost_dots(result["runs"], metric)):
        against_cost(dots, metric, at("metric-against-cost"), phantom)
    if grid is not None and metric:
        heat_map(grid, metric, at("heat-map"), phantom)
    return drawn


def roc_curves(entries: Sequence[Entry]) -> list[tuple[str, np.ndarray, np.ndarray, float | None]]:
    """(run, 1 − specificity, sensitivity, AUROC) of the first runs, in a task with a positive
    class that has images of both kinds."""
    from sklearn.metrics import roc_curve

    place = entries[0].place()
    if place is None:
        return []
    positive = entries[0].samples.labels == place
    if positive.all() or not positive.any():
        return []
    found = []
    for entry in entries[:MOST_CURVES]:
        false, true, _ = roc_curve(positive, entry.probabilities[:, place])
        value = (entry.metrics.get("auroc") or {}).get("value")
        found.append((entry.name, false, true, value))
    return found


def roc_overlay(curves: list[Any], more: int, path: Path, phantom: bool) -> None:
    fig, axes = figure(1, width=5.6, height=5.2)
    axis = axes[0]
    axis.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    for number, (name, false, true, value) in enumerate(curves):
        label = name if value is None else f"{name}: {value:.3f}"
        axis.plot(false, true, color=CLASS_COLOURS[number % len(CLASS_COLOURS)], label=label)
    axis.set_xlabel("1 − specificity")
    axis.set_ylabel("sensitivity")
    axis.set_aspect("equal")
    title = "AUROC" if more <= 0 else f"AUROC; {more} more runs not drawn"
    axis.legend(frameon=False, loc="lower right", title=title, fontsize=8)
    save(fig, path, title="ROC curves on the same samples", phantom=phantom)


def forest(pairs: list[dict[str, Any]], more: int, path: Path, phantom: bool) -> None:
    """Each difference with its interval; zero is no difference."""
    fig, axes = figure(1, width=8.0, height=1.5 + 0.32 * len(pairs))
    axis = axes[0]
    metrics = list(dict.fromkeys(p["metric"] for p in pairs))
    one_reference = len({p["b"] for p in pairs}) == 1
    for row, pair in enumerate(reversed(pairs)):
        low, high = pair["ci95"]
        colour = CLASS_COLOURS[metrics.index(pair["metric"]) % len(CLASS_COLOURS)]
        told = pair["p_holm"] is not None and pair["p_holm"] < 0.05
        axis.plot([low, high], [row, row], color=colour)
        axis.plot(
            pair["difference"],
            row,
            marker="s",
            color=colour,
            markerfacecolor=colour if told else "w",
        )
    labels = [
        f"{p['metric'].replace('_', ' ')}: {p['a']}" + ("" if one_reference else f" − {p['b']}")
        for p in reversed(pairs)
    ]
    axis.set_yticks(range(len(pairs)), labels, fontsize=8)
    axis.axvline(0, color=GREY, linestyle=":")
    minus = f" to {pairs[0]['b']}" if one_reference else ""
    note = f"; {more} more in the report" if more > 0 else ""
    axis.set_xlabel(f"difference{minus}, 95 % interval; filled: told apart (Holm, 5 %){note}")
    save(fig, path, title="Differences on the same samples", phantom=phantom)


def cost_dots(runs: Sequence[dict[str, Any]], metric: str) -> list[tuple[float, dict[str, Any]]]:
    """(seconds, run) of the runs whose training time is known, where it is of more than one."""
    found = [
        (run["cost"]["seconds"], run)
        for run in runs
        if run["cost"].get("seconds")
        and (run["metrics"].get(metric) or {}).get("value") is not None
    ]
    return found if len(found) > 1 else []


def against_cost(
    dots: list[tuple[float, dict[str, Any]]], metric: str, path: Path, phantom: bool
) -> None:
    """What more training time bought."""
    fig, axes = figure(1, width=6.4, height=4.6)
    axis = axes[0]
    for seconds, run in dots:
        cell = run["metrics"][metric]
        colour = CLASS_COLOURS[0] if run["mark"] else GREY
        if cell["ci95"]:
            axis.plot([seconds, seconds], cell["ci95"], color=colour, alpha=0.5, linewidth=1)
        filled = colour if run["mark"] == "best" else "w"
        axis.plot(seconds, cell["value"], marker="o", color=colour, markerfacecolor=filled)
        if len(dots) <= 12:
            axis.annotate(
                run["name"],
                (seconds, cell["value"]),
                (5, 4),
                textcoords="offset points",
                fontsize=8,
            )
    times = [seconds for seconds, _ in dots]
    if max(times) > 10 * min(times):
        axis.set_xscale("log")
    axis.margins(x=0.15)
    axis.set_xlabel("training, seconds (filled: best; blue: can't be told from it)")
    axis.set_ylabel(f"{metric.replace('_', ' ')}, 95 % interval")
    save(fig, path, title=f"{metric.replace('_', ' ')} against training time", phantom=phantom)


def heat_map(grid: Grid, metric: str, path: Path, phantom: bool) -> None:
    """A sweep of two settings; seeds of one cell are averaged."""
    fig, axes = figure(1, width=2.6 + 0.9 * len(grid.columns), height=1.8 + 0.6 * len(grid.rows))
    axis = axes[0]
    picture = axis.imshow(np.ma.masked_invalid(grid.values), cmap="viridis", aspect="auto")
    middle = (np.nanmin(grid.values) + np.nanmax(grid.values)) / 2
    for (row, column), value in np.ndenumerate(grid.values):
        if np.isfinite(value):
            colour = "black" if value > middle else "white"
            axis.text(column, row, f"{value:.3f}", ha="center", va="center", color=colour)
    axis.set_xticks(range(len(grid.columns)), [str(c) for c in grid.columns])
    axis.set_yticks(range(len(grid.rows)), [str(r) for r in grid.rows])
    axis.set_xlabel(grid.column_setting.replace("_", " "))
    axis.set_ylabel(grid.row_setting.replace("_", " "))
    axis.grid(False)
    fig.colorbar(picture, ax=axis, label=metric.replace("_", " "))
    save(fig, path, title=f"{metric.replace('_', ' ')} over the sweep", phantom=phantom)
