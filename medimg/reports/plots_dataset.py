"""Plots of a dataset: classes by part, sample pictures, grey levels, sizes, images a patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medimg.core.images import decode_to_input
from medimg.reports.narrow_tables import shortened
from medimg.reports.plots import CLASS_COLOURS, figure, is_phantom, save

if TYPE_CHECKING:
    from medimg.core.scan import ScanRecord
    from medimg.core.types import DatasetIndex, Sample

SAMPLES_A_CLASS = 8
MOST_CLASSES = 16
MOST_NUMBERED_BARS = 40
LEGEND_ROWS = 16
# bins of a histogram of 64: JPEG noise lifts a black surrounding to levels of this kind
BLACK_BINS = 4
# colours come again after eight classes
LINE_STYLES = ("-", "--", ":", "-.")
THUMBNAIL_PX = 160


def dataset_plots(
    index: DatasetIndex, records: Mapping[str, ScanRecord], folder: Path, seed: int = 0
) -> list[str]:
    """All of them; paths relative to the folder."""
    phantom = is_phantom(index)
    readable = [s for s in index.samples if not records[s.path].error]
    drawn = ["plots/classes.png"]
    class_bars(index, folder / drawn[0], phantom)
    if not readable:
        return drawn
    drawn += ["plots/samples.png", "plots/intensities.png", "plots/sizes.png"]
    sample_grid(index, readable, folder / drawn[1], seed, phantom)
    intensities(index, readable, records, folder / drawn[2], phantom)
    size_scatter(index, readable, records, folder / drawn[3], phantom)
    if index.groups():
        drawn.append("plots/patients.png")
        images_a_patient(index, folder / drawn[4], phantom)
    return drawn


def colour(number: int) -> str:
    return CLASS_COLOURS[number % len(CLASS_COLOURS)]


def legend_beside(axis: Any) -> Any:
    """A legend that hides nothing, in as many columns as keep it no taller than the plot."""
    names = len(axis.get_legend_handles_labels()[1])
    columns = -(-names // LEGEND_ROWS)
    return axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), ncols=columns)


def more_legend(index: DatasetIndex) -> float:
    """Inches that a legend of several columns takes beyond its first."""
    return 2.3 * ((len(index.classes) - 1) // LEGEND_ROWS)


def class_bars(index: DatasetIndex, path: Path, phantom: bool) -> None:
    """Images by class, a bar a part."""
    parts = index.split_counts() or {"all": index.class_counts()}
    fig, axes = figure(1, width=min(16.0, max(5.0, 1.2 * len(index.classes) + 2)), height=3.8)
    width = 0.8 / len(parts)
    places = np.arange(len(index.classes))
    for number, (part, counts) in enumerate(parts.items()):
        bars = axes[0].bar(
            places + number * width, list(counts.values()), width, label=part, color=colour(number)
        )
        if len(parts) * len(index.classes) <= MOST_NUMBERED_BARS:
            axes[0].bar_label(bars, fmt="{:,.0f}", fontsize=8)
    names = [shortened(name) for name in index.classes]
    axes[0].set_xticks(places + 0.4 - width / 2, names, **turned(names))
    axes[0].grid(False, axis="x")
    axes[0].set_ylabel("images")
    axes[0].yaxis.get_major_locator().set_params(integer=True)
    # room for the numbers on the tallest bars
    axes[0].margins(y=0.08)
    if len(parts) > 1:
        legend_beside(axes[0])
    save(fig, path, title=f"{index.name}: images by class", phantom=phantom)


def turned(names: list[str]) -> dict[str, Any]:
    """How class names are set under their bars: level where they fit beside each other."""
    if len(names) > 12:
        return {"rotation": 90}
    return {"rotation": 25, "ha": "right"} if max(map(len, names), default=0) > 12 else {}


def sample_grid(
    index: DatasetIndex, readable: list[Sample], path: Path, seed: int, phantom: bool
) -> None:
    """Pictures of each class, drawn at random."""
    random = np.random.default_rng(seed)
    shown = [c for c in index.classes if any(s.label == c for s in readable)]
    more_classes = len(shown) > MOST_CLASSES
    shown = shown[:MOST_CLASSES]
    own = {name: [s for s in readable if s.label == name] for name in shown}
    columns = min(SAMPLES_A_CLASS, max(map(len, own.values())))
    fig, axes = figure(
        len(shown) * columns,
        # room for the title above a single column
        width=max(4.0, 1.35 * columns),
        height=1.5 * len(shown) + 0.4,
        rows=len(shown),
    )
    for row, name in enumerate(shown):
        line = axes[row * columns : (row + 1) * columns]
        line[0].set_title(shortened(name), fontsize=9, loc="left")
        picked = random.choice(len(own[name]), min(columns, len(own[name])), replace=False)
        for axis in line:
            axis.axis("off")
        for axis, place in zip(line, picked, strict=False):
            axis.imshow(thumbnail(index, own[name][place]))
    which = f" of {len(shown)} of {len(index.classes)} classes" if more_classes else ""
    title = f"{index.name}: samples{which} drawn at random"
    save(fig, path, title=title, phantom=phantom)


def thumbnail(index: DatasetIndex, sample: Sample) -> np.ndarray:
    """UInt8[160, 160, 3], the aspect ratio kept."""
    data = index.source.read(sample.path)
    return decode_to_input(data, THUMBNAIL_PX, THUMBNAIL_PX, 3, "pad")


def intensities(
    index: DatasetIndex,
    readable: list[Sample],
    records: Mapping[str, ScanRecord],
    path: Path,
    phantom: bool,
) -> None:
    """Shares of grey levels by class: classes that differ here may be told by exposure alone."""
    fig, axes = figure(1, width=7.0 + more_legend(index), height=3.8)
    curves = []
    for number, name in enumerate(index.classes):
        kept = (records[s.path].histogram for s in readable if s.label == name)
        own = [histogram for histogram in kept if histogram is not None]
        if own:
            shares = np.mean(own, axis=0) / 65535
            levels = (np.arange(len(shares)) + 0.5) * 256 / len(shares)
            style = LINE_STYLES[number // len(CLASS_COLOURS) % len(LINE_STYLES)]
            axes[0].plot(levels, shares, style, color=colour(number), label=shortened(name))
            curves.append(shares)
    axes[0].set_xlabel("grey level")
    axes[0].set_ylabel("share of pixels")
    axes[0].set_ylim(bottom=0)
    cut_off_black(axes[0], np.array(curves))
    legend_beside(axes[0])
    save(fig, path, title=f"{index.name}: grey levels by class", phantom=phantom)


def cut_off_black(axis: Any, curves: np.ndarray) -> None:
    """Black surroundings would press all else to the ground: their share is written instead.

    Args:
        curves: Float[K, 64], shares of grey levels by class.
    """
    dark, rest = curves[:, :BLACK_BINS], curves[:, BLACK_BINS:].max()
    if dark.max() <= 2 * rest or rest == 0:
        return
    axis.set_ylim(0, 1.25 * rest)
    low, high = (f"{100 * share:.0f}" for share in (dark.sum(1).min(), dark.sum(1).max()))
    share = f"{low} % of the pixels"
    if low != high:
        share = f"{low} to {high} % of the pixels, by class"
    level = BLACK_BINS * 256 // curves.shape[1]
    axis.annotate(
        f"levels 0 to {level - 1}: {share}",
        (level, 1.22 * rest),
        (8, 0),
        fontsize=8,
        va="top",
        textcoords="offset points",
    )


def size_scatter(
    index: DatasetIndex,
    readable: list[Sample],
    records: Mapping[str, ScanRecord],
    path: Path,
    phantom: bool,
) -> None:
    """Width against height; a dot's area is the number of images of that size."""
    distinct = {(records[s.path].width, records[s.path].height) for s in readable}
    if len(distinct) == 1:
        one_size(index, readable, *distinct.pop(), path, phantom)
        return
    fig, axes = figure(1, width=5.6 + more_legend(index), height=4.6)
    for number, name in enumerate(index.classes):
        counts = Counter(
            (records[s.path].width, records[s.path].height) for s in readable if s.label == name
        )
        if counts:
            sizes = np.array(list(counts))
            area = 12 + 160 * np.sqrt(np.array(list(counts.values())) / len(readable))
            axes[0].scatter(
                sizes[:, 0],
                sizes[:, 1],
                s=area,
                alpha=0.5,
                color=colour(number),
                label=shortened(name),
                linewidth=0,
            )
    axes[0].set_xlabel("width (px)")
    axes[0].set_ylabel("height (px)")
    for axis in (axes[0].xaxis, axes[0].yaxis):
        axis.get_major_locator().set_params(integer=True)
    legend = legend_beside(axes[0])
    for handle in legend.legend_handles:
        handle.set_sizes([30])
    save(fig, path, title=f"{index.name}: {len(distinct):,} sizes", phantom=phantom)


def one_size(
    index: DatasetIndex, readable: list[Sample], width: int, height: int, path: Path, phantom: bool
) -> None:
    """The picture's outline with its sides written on: a scatter would be a single dot."""
    fig, axes = figure(1, width=5.6, height=3.2)
    axis = axes[0]
    axis.bar([0], [height], width, color="#e8eef4", edgecolor=colour(0))
    axis.text(0, height / 2, f"{width}×{height} px", ha="center", va="center")
    axis.set_xlim(-0.6 * width, 0.6 * width)
    axis.set_ylim(-0.1 * height, 1.1 * height)
    axis.set_aspect("equal")
    axis.axis("off")
    title = f"{index.name}: all {len(readable):,} images have one size"
    save(fig, path, title=title, phantom=phantom)


def images_a_patient(index: DatasetIndex, path: Path, phantom: bool) -> None:
    """How many patients have how many images."""
    counts = Counter(s.group for s in index.samples if s.group is not None)
    fig, axes = figure(1, width=5.6, height=3.6)
    most = max(counts.values())
    bins = np.arange(0.5, most + 1.5) if most <= 40 else np.linspace(0.5, most + 0.5, 41)
    axes[0].hist(list(counts.values()), bins=bins, color=colour(0), edgecolor="white")
    axes[0].set_xlabel("images a patient")
    axes[0].set_ylabel("patients")
    axes[0].yaxis.get_major_locator().set_params(integer=True)
    save(fig, path, title=f"{index.name}: {len(counts):,} patients", phantom=phantom)
