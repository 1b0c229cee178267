"""Plots of a training run: learning curves, the learning-rate range test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimg.reports.plots import CLASS_COLOURS, GREY, figure, is_phantom, save

HISTORY = "plots/history.png"

if TYPE_CHECKING:
    from medimg.core.types import DatasetIndex
    from medimg.training.experiment import Experiment
    from medimg.training.lr_finder import Agreed
    from medimg.training.run import Finished


def lr_curve(found: Agreed, path: Path, index: DatasetIndex) -> None:
    """Loss against learning rate, the candidates and the suggestion marked.

    Raw losses are the first seed's; every seed's smoothed curve is drawn.
    """
    fig, axes = figure(1, width=7.0, height=4.2)
    axis, test = axes[0], found.tests[0]
    axis.plot(test.learning_rates, test.losses, color=GREY, linewidth=0.8, label="loss a step")
    for number, one in enumerate(found.tests):
        label = f"smoothed, seed {one.seed}" if number < 5 else None
        fade = 1.0 if number == 0 else 0.45
        axis.plot(one.learning_rates, one.smoothed, color=CLASS_COLOURS[0], alpha=fade, label=label)
    axis.set_xscale("log")
    for number, (rule, rate) in enumerate(found.candidates.items()):
        if rate is not None:
            label = "minimum / 10" if rule == "minimum" else rule
            axis.axvline(rate, color=CLASS_COLOURS[number + 1], linestyle=":", label=label)
    if found.suggestion is not None:
        axis.axvline(found.suggestion, color="black", label=f"suggested {found.suggestion:.1e}")
    halves = [t.smoothed[: len(t.smoothed) // 2] for t in found.tests if len(t.smoothed) > 1]
    if halves:
        low = min(float(t.smoothed.min()) for t in found.tests if len(t.smoothed))
        high = max(float(half.max()) for half in halves)
        axis.set_ylim(max(0.0, low - 0.2 * (high - low)), high + 0.8 * (high - low) + 1e-6)
    axis.set_xlabel("learning rate")
    axis.set_ylabel("training loss")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    title = f"Learning-rate range test, {index.name}"
    if found.agreement is not None:
        title += f"; {len(found.tests)} seeds within a factor of {found.agreement:.1f}"
    save(fig, path, title=title, phantom=is_phantom(index))


def run_plots(finished: Finished, experiment: Experiment, folder: Path) -> list[str]:
    """The run's plots; their paths relative to the folder."""
    index = experiment.data.index
    return learning_curves(finished.result, index.name, is_phantom(index), folder)


def learning_curves(
    result: Mapping[str, Any], dataset: str, phantom: bool, folder: Path
) -> list[str]:
    """The learning curves of a training report's `result`; none without an epoch."""
    columns = result.get("history") or {}
    if not columns.get("epoch"):
        return []
    title = f"{result['model']} on {dataset}"
    history(columns, result["best_epoch"], folder / HISTORY, title, phantom)
    return [HISTORY]


def history(
    columns: Mapping[str, list[Any]], best_epoch: int, path: Path, title: str, phantom: bool
) -> None:
    """Loss, validation metrics and learning rate by epoch, the best epoch marked."""
    fig, axes = figure(3, width=11.0, height=3.6)
    epochs = columns["epoch"]
    for axis, names, label in (
        (axes[0], ("loss", "val_loss"), "loss"),
        (axes[1], ("val_accuracy", "val_auroc"), "validation"),
        (axes[2], ("learning_rate",), "learning rate"),
    ):
        for number, name in enumerate(n for n in names if n in columns):
            values = [float("nan") if v is None else v for v in columns[name]]
            words = {"loss": "training", "val_loss": "validation"}.get(
                name, name.removeprefix("val_").replace("_", " ")
            )
            axis.plot(
                epochs, values, marker="o", markersize=3, color=CLASS_COLOURS[number], label=words
            )
        axis.axvline(best_epoch, color=GREY, linestyle=":", label="best epoch")
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_title(label)
        axis.legend(frameon=False)
    axes[2].set_yscale("log")
    save(fig, path, title=title, phantom=phantom)
