"""Plots of an evaluation: confusion, ROC, precision-recall, reliability, thresholds, scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medimg.reports.plots import CLASS_COLOURS, GREY, figure, save

if TYPE_CHECKING:
    from medimg.core.runs import Predictions
    from medimg.core.scored import Scored
    from medimg.core.types import DatasetIndex
    from medimg.statistics.curves import Curve

# more bands than this hide one another
MOST_BANDS = 3
MOST_HISTOGRAMS = 9
BINS = 25


def evaluation_plots(
    predictions: Predictions,
    numbers: Mapping[str, Any],
    positive: str | None,
    folder: Path,
    *,
    threshold: Mapping[str, Any] | None = None,
    index: DatasetIndex | None = None,
    phantom: bool = False,
) -> list[str]:
    """The evaluation's plots; their paths relative to the folder.

    Args:
        numbers: of an evaluate report's `result`.
        index: whose pictures are shown as examples; None shows none.
    """
    from medimg.reports.plots_examples import example_plots

    scored = scored_of(predictions, positive, threshold)
    drawn = ["plots/confusion.png", "plots/reliability.png", "plots/scores.png"]
    confusion(numbers["confusion_matrix"], folder / drawn[0], phantom)
    reliability(numbers["calibration"], folder / drawn[1], phantom)
    histograms(scored, threshold, folder / drawn[2], phantom)
    shown = [k for k in scored.about if 0 < int((scored.labels == k).sum()) < len(scored)]
    if shown:
        groups = predictions.group_names()
        drawn += ["plots/roc.png", "plots/precision-recall.png"]
        roc(scored, shown, groups, numbers, folder / drawn[-2], phantom)
        precision_recall(scored, shown, groups, numbers, folder / drawn[-1], phantom)
        if scored.task == "binary":
            drawn.append("plots/thresholds.png")
            threshold_sweep(scored, threshold, folder / drawn[-1], phantom)
    if index is not None:
        drawn += example_plots(predictions, scored, index, folder, phantom)
    return drawn


def scored_of(
    predictions: Predictions, positive: str | None, threshold: Mapping[str, Any] | None
) -> Scored:
    """Predictions beside the truth, as the evaluation judged them."""
    from medimg.core.scored import Scored

    two = len(predictions.classes) == 2 and positive is not None
    return Scored(
        predictions.label_numbers(),
        predictions.probabilities,
        predictions.classes.index(str(positive)) if two else None,
        threshold["value"] if two and threshold else None,
        predictions.classes,
    )


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
    scored: Scored,
    shown: list[int],
    groups: list[str] | None,
    numbers: Mapping[str, Any],
    path: Path,
    phantom: bool,
) -> None:
    """ROC curves with bands, and where the threshold stands."""
    from medimg.statistics.curves import roc as curve_of

    fig, axes = figure(1, width=5.2 if len(shown) == 1 else 7.6, height=5.0)
    for place, number in enumerate(shown):
        label = labelled(scored, number, numbers, "auroc")
        draw(axes[0], curve_of(scored, number, groups), place, len(shown), label)
    if scored.threshold is not None:
        said, ill = scored.decided == scored.positive, scored.labels == scored.positive
        axes[0].plot(
            said[~ill].mean(), said[ill].mean(), "o", color="black", zorder=5, clip_on=False,
            label=f"threshold {scored.threshold:.3g}",
        )  # fmt: skip
    axes[0].plot([0, 1], [0, 1], color=GREY, linestyle=":")
    axes[0].set_xlim(-0.01, 1.01)
    axes[0].set_ylim(-0.01, 1.01)
    axes[0].set_aspect("equal")
    axes[0].set_xlabel("1 − specificity")
    axes[0].set_ylabel("sensitivity")
    beside(axes[0], "lower right", "AUROC", len(shown))
    save(fig, path, title=f"ROC curve{band_note(shown, groups)}", phantom=phantom)


def precision_recall(
    scored: Scored,
    shown: list[int],
    groups: list[str] | None,
    numbers: Mapping[str, Any],
    path: Path,
    phantom: bool,
) -> None:
    """Precision against recall with bands; chance is the prevalence."""
    from medimg.statistics.curves import precision_recall as curve_of

    fig, axes = figure(1, width=5.2 if len(shown) == 1 else 7.6, height=5.0)
    for place, number in enumerate(shown):
        label = labelled(scored, number, numbers, "average_precision")
        draw(axes[0], curve_of(scored, number, groups), place, len(shown), label)
        colour = CLASS_COLOURS[place % len(CLASS_COLOURS)]
        prevalence = float((scored.labels == number).mean())
        axes[0].axhline(prevalence, color=colour, linestyle=":", linewidth=0.8)
    axes[0].set_xlim(-0.01, 1.01)
    axes[0].set_ylim(-0.01, 1.03)
    axes[0].set_aspect("equal")
    axes[0].set_xlabel("sensitivity (recall)")
    axes[0].set_ylabel("precision")
    title = "average precision; dotted: prevalence"
    beside(axes[0], "lower left", title, len(shown))
    save(fig, path, title=f"Precision against recall{band_note(shown, groups)}", phantom=phantom)


def beside(axis: Any, inside: str, title: str, curves: int) -> None:
    """The legend: in a corner of one curve, beside several."""
    place = {"loc": inside} if curves == 1 else {"loc": "upper left", "bbox_to_anchor": (1, 1)}
    axis.legend(frameon=False, title=title, fontsize=8, **place)


def draw(axis: Any, curve: Curve, place: int, count: int, label: str) -> None:
    """A curve, and its band where there are few enough."""
    colour = CLASS_COLOURS[place % len(CLASS_COLOURS)]
    if count <= MOST_BANDS:
        axis.fill_between(curve.grid, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
    axis.plot(curve.x, curve.y, color=colour, label=label)


def labelled(scored: Scored, number: int, numbers: Mapping[str, Any], name: str) -> str:
    """`PNEUMONIA: 0.91 (0.85 to 0.95)`; of several classes each one's own value."""
    from medimg.metrics.average_precision import of_class
    from medimg.statistics.ranking import auroc_or_none

    cell = numbers["metrics"].get(name) or {}
    if len(scored.about) == 1 and cell.get("value") is not None:
        low, high = cell["ci95"] or (None, None)
        interval = "" if low is None else f" ({low:.3f} to {high:.3f})"
        return f"{scored.name(number)}: {cell['value']:.3f}{interval}"
    if name == "auroc":
        value = auroc_or_none(scored.labels == number, scored.probabilities[:, number])
    else:
        value = float(of_class(scored, number, None))
    return scored.name(number) if value is None else f"{scored.name(number)}: {value:.3f}"


def band_note(shown: list[int], groups: list[str] | None) -> str:
    if len(shown) > MOST_BANDS:
        return ""
    return f" (pointwise 95 % band, bootstrap by {'image' if groups is None else 'patient'})"


def threshold_sweep(
    scored: Scored, threshold: Mapping[str, Any] | None, path: Path, phantom: bool
) -> None:
    """What each threshold would give on these images, the chosen one marked."""
    from medimg.statistics.operating_point import thresholds

    assert scored.positive is not None
    ill = scored.labels == scored.positive
    found = thresholds(ill, scored.probabilities[:, scored.positive])
    hits, false_alarms = found.sensitivity * ill.sum(), (1 - found.specificity) * (~ill).sum()
    called = hits + false_alarms
    with np.errstate(invalid="ignore"):
        precision = np.where(called > 0, hits / called, np.nan)
    lines = {
        "sensitivity": found.sensitivity,
        "specificity": found.specificity,
        "precision": precision,
        "F1": 2 * hits / (called + ill.sum()),
    }
    fig, axes = figure(1, width=7.0, height=4.0)
    for place, (name, values) in enumerate(lines.items()):
        axes[0].plot(
            np.clip(found.values, 0, 1), values, color=CLASS_COLOURS[place], label=name,
            drawstyle="steps-post",
        )  # fmt: skip
    mark_threshold(axes[0], threshold)
    axes[0].set_xlim(0, 1)
    axes[0].set_ylim(-0.01, 1.03)
    axes[0].set_xlabel(f"threshold on the probability of {scored.name(scored.positive)}")
    axes[0].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    save(fig, path, title="Thresholds (to look at; choose on validation)", phantom=phantom)


def mark_threshold(axis: Any, threshold: Mapping[str, Any] | None) -> None:
    if threshold:
        label = f"{threshold['rule']}: {threshold['value']:.3g}"
        axis.axvline(min(threshold["value"], 1.0), color="black", linestyle="--", label=label)


def histograms(
    scored: Scored, threshold: Mapping[str, Any] | None, path: Path, phantom: bool
) -> None:
    """The probability of a class among the images that are of it and among the rest."""
    shown = scored.about[:MOST_HISTOGRAMS]
    rows = -(-len(shown) // 3)
    wide = 6.4 if len(shown) == 1 else 3.6 * min(3, len(shown))
    fig, axes = figure(len(shown), width=wide, height=0.6 + 3.0 * rows, rows=rows)
    edges = np.linspace(0, 1, BINS + 1)
    for axis, number in zip(axes, shown, strict=True):
        inside, name = scored.labels == number, scored.name(number)
        other = scored.name(1 - number) if scored.outputs == 2 else "others"
        p = scored.probabilities[:, number]
        for rows_of, label, colour in (
            (~inside, other, CLASS_COLOURS[0]),
            (inside, name, CLASS_COLOURS[1]),
        ):
            counted = f"{label} ({int(rows_of.sum()):,})"
            axis.hist(p[rows_of], edges, color=colour, alpha=0.55, label=counted)
        mark_threshold(axis, threshold)
        axis.set_xlim(0, 1)
        axis.set_xlabel(f"probability of {name}")
        axis.set_ylabel("images")
        axis.legend(frameon=False, fontsize=8)
    save(fig, path, title="Probabilities by true class", phantom=phantom)


def reliability(calibration: dict[str, Any], path: Path, phantom: bool) -> None:
    """Observed share against predicted probability, and the counts beside it."""
    bins = [b for b in calibration["bins"] if b["count"]]
    fig, axes = figure(2, width=8.6, height=4.0)
    axes[0].plot([0, 1], [0, 1], color=GREY, linestyle=":")
    confidence = [b["confidence"] for b in bins]
    observed = [b["observed"] for b in bins]
    reach = [reach_of(b["observed"], b["count"]) for b in bins]
    # shares of 0 and 1 are whole dots, not halves
    axes[0].errorbar(
        confidence, observed, yerr=np.array(reach).T.reshape(2, -1), marker="o", clip_on=False,
        color=CLASS_COLOURS[0], ecolor="#9CC4DE", label="bars: Wilson 95 %, images as independent",
    )  # fmt: skip
    axes[0].legend(frameon=False, loc="upper left", fontsize=7)
    axes[0].set_xlabel("predicted probability")
    axes[0].set_ylabel("observed share")
    axes[0].set_xlim(0, 1)
    axes[0].set_ylim(0, 1)
    middle = [(b["low"] + b["high"]) / 2 for b in bins]
    width = bins[0]["high"] - bins[0]["low"] if bins else 0.05
    bars = axes[1].bar(middle, [b["count"] for b in bins], width * 0.92, color=CLASS_COLOURS[0])
    axes[1].bar_label(bars, fontsize=7)
    axes[1].set_xlabel("predicted probability")
    axes[1].set_ylabel("images")
    axes[1].set_xlim(0, 1)
    ece = calibration.get("ece")
    title = "Reliability" + ("" if ece is None else f" (ECE {ece:.3f})")
    save(fig, path, title=title, phantom=phantom)


def reach_of(share: float, count: int) -> tuple[float, float]:
    """From a share down and up to the ends of its Wilson interval."""
    from medimg.statistics.wilson import wilson

    low, high = wilson(round(share * count), count)
    return max(0.0, share - low), max(0.0, high - share)
