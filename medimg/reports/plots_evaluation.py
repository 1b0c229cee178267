"""Plots of an evaluation: confusion, ROC, precision-recall, reliability."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medimg.reports.plots import CLASS_COLOURS, GREY, figure, save

if TYPE_CHECKING:
    from medimg.core.runs import Predictions


def evaluation_plots(
    predictions: Predictions,
    numbers: dict[str, Any],
    positive: str | None,
    folder: Path,
    phantom: bool = False,
) -> list[str]:
    """The evaluation's plots; their paths relative to the folder."""
    drawn = ["plots/confusion.png", "plots/reliability.png"]
    confusion(numbers["confusion_matrix"], folder / drawn[0], phantom)
    reliability(numbers["calibration"], folder / drawn[1], phantom)
    curves = class_curves(predictions, positive)
    if curves:
        drawn += ["plots/roc.png", "plots/precision-recall.png"]
        roc(curves, numbers, folder / drawn[2], phantom)
        precision_recall(curves, folder / drawn[3], phantom)
    return drawn


def class_curves(
    predictions: Predictions, positive: str | None
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(class, Bool[N] whether it is, Float[N] probability) of the positive class, or of each."""
    labels = predictions.label_numbers()
    shown = [positive] if positive and len(predictions.classes) == 2 else predictions.classes
    found = []
    for name in shown:
        place = predictions.classes.index(str(name))
        truth = labels == place
        if truth.any() and not truth.all():
            found.append((str(name), truth, predictions.probabilities[:, place]))
    return found


def confusion(matrix: dict[str, Any], path: Path, phantom: bool) -> None:
    """Counts, shaded by the share of their row."""
    counts = np.array(matrix["counts"])
    labels = matrix["labels"]
    side = 3.2 + 0.6 * len(labels)
    fig, axes = figure(1, width=side, height=side * 0.9)
    axis = axes[0]
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(labels)):
        for column in range(len(labels)):
            axis.text(
                column,
                row,
                f"{counts[row, column]:,}\n{share[row, column]:.0%}",
                ha="center",
                va="center",
                color="white" if share[row, column] > 0.6 else "black",
            )
    axis.set_xticks(range(len(labels)), labels, rotation=30 if len(labels) > 3 else 0)
    axis.set_yticks(range(len(labels)), labels)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    axis.grid(False)
    save(fig, path, title="Confusion matrix", phantom=phantom)


def roc(
    curves: list[tuple[str, np.ndarray, np.ndarray]],
    numbers: dict[str, Any],
    path: Path,
    phantom: bool,
) -> None:
    from sklearn.metrics import auc, roc_curve

    fig, axes = figure(1, width=5.0, height=4.8)
    for number, (name, truth, score) in enumerate(curves):
        false, true, _ = roc_curve(truth, score)
        label = f"{name}: {auc(false, true):.3f}"
        cell = numbers["metrics"].get("auroc") or {}
        if len(curves) == 1 and cell.get("ci95"):
            label += f" ({cell['ci95'][0]:.3f} to {cell['ci95'][1]:.3f})"
        axes[0].plot(false, true, color=CLASS_COLOURS[number % len(CLASS_COLOURS)], label=label)
    axes[0].plot([0, 1], [0, 1], color=GREY, linestyle=":")
    axes[0].set_xlabel("1 − specificity")
    axes[0].set_ylabel("sensitivity")
    axes[0].legend(frameon=False, loc="lower right", title="AUROC")
    save(fig, path, title="ROC curve", phantom=phantom)


def precision_recall(
    curves: list[tuple[str, np.ndarray, np.ndarray]], path: Path, phantom: bool
) -> None:
    from sklearn.metrics import average_precision_score, precision_recall_curve

    fig, axes = figure(1, width=5.0, height=4.8)
    for number, (name, truth, score) in enumerate(curves):
        precision, recall, _ = precision_recall_curve(truth, score)
        colour = CLASS_COLOURS[number % len(CLASS_COLOURS)]
        label = f"{name}: {average_precision_score(truth, score):.3f}"
        axes[0].step(recall, precision, where="post", color=colour, label=label)
        axes[0].axhline(truth.mean(), color=colour, linestyle=":", linewidth=0.8)
    axes[0].set_xlabel("sensitivity (recall)")
    axes[0].set_ylabel("precision")
    axes[0].set_ylim(0, 1.03)
    axes[0].legend(frameon=False, loc="lower left", title="average precision; dotted: prevalence")
    save(fig, path, title="Precision against recall", phantom=phantom)


def reliability(calibration: dict[str, Any], path: Path, phantom: bool) -> None:
    """Observed share against predicted probability, with the counts underneath."""
    bins = [b for b in calibration["bins"] if b["count"]]
    fig, axes = figure(2, width=8.6, height=4.0)
    axes[0].plot([0, 1], [0, 1], color=GREY, linestyle=":")
    confidence = [b["confidence"] for b in bins]
    observed = [b["observed"] for b in bins]
    # shares of 0 and 1 are whole dots, not halves
    axes[0].plot(confidence, observed, marker="o", color=CLASS_COLOURS[0], clip_on=False)
    axes[0].set_xlabel("predicted probability")
    axes[0].set_ylabel("observed share")
    axes[0].set_xlim(0, 1)
    axes[0].set_ylim(0, 1)
    axes[1].bar(confidence, [b["count"] for b in bins], width=0.05, color=CLASS_COLOURS[0])
    axes[1].set_xlabel("predicted probability")
    axes[1].set_ylabel("images")
    axes[1].set_xlim(0, 1)
    ece = calibration.get("ece")
    title = "Reliability" + ("" if ece is None else f" (ECE {ece:.3f})")
    save(fig, path, title=title, phantom=phantom)
